// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plan goes from a process that is not root to one that is: what comes back, what is refused, and what a disk is
//! afterwards. The disks are loop devices, the tools that ask for a password are sudo itself and scripts in its place.

// clippy.toml's leave for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use livestick::capacity::Probe;
use livestick::disk::direct::{Kind, Medium};
use livestick::event::Event;
use livestick::plan::Plan;
use livestick::report::StickState;
use livestick::ui::json;
use livestick::units::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

const PERSISTENCE: [&str; 6] = [
    "--overlay-size-mb",
    "128",
    "--home-size-mb",
    "64",
    "--home-fs",
    "ext4",
];

fn run(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small image of this layout, made once; "grub2-btrfs" has a root that a sprout can grow from.
fn small_iso(layout: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let dir = DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("privilege");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    });
    let _held = LOCK
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let iso = dir.join(format!("{layout}.iso"));
    if !iso.exists() {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/small-iso");
        match layout.strip_suffix("-btrfs") {
            None => run(text(&tool), &[layout, text(&iso)]),
            Some(layout) => run(text(&tool), &[layout, text(&iso), "--rootfs", "btrfs"]),
        };
    }
    iso
}

/// Whether these tests can run; if not, why is said.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// A folder that everybody can look into, with an image, the program, and a disk.
struct Lab {
    dir: TempDir,
    disks: Vec<String>,
}

impl Lab {
    fn new() -> Lab {
        Lab::of("grub2")
    }

    fn of(layout: &str) -> Lab {
        let dir = TempDir::new_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::copy(small_iso(layout), dir.path().join("live.iso")).unwrap();
        fs::copy(
            env!("CARGO_BIN_EXE_livestick"),
            dir.path().join("livestick"),
        )
        .unwrap();
        let mut lab = Lab {
            dir,
            disks: Vec::new(),
        };
        lab.attach();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Adds a disk that holds something; gives its node.
    fn attach(&mut self) -> String {
        let file = self.path(&format!("disk{}.img", self.disks.len()));
        let disk = File::create(&file).unwrap();
        disk.set_len(SIZE).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-L", "OLD", text(&file)]);
        let node = run("losetup", &["--find", "--show", text(&file)]);
        self.disks.push(node.clone());
        node
    }

    fn disk(&self) -> &str {
        &self.disks[0]
    }

    /// What is on the disks, by another program.
    fn sums(&self) -> Vec<String> {
        self.disks
            .iter()
            .map(|disk| run("cksum", &[disk]))
            .collect()
    }

    /// A plan for the first disk, as one line.
    fn plan(&self, options: &[&str]) -> String {
        let output = Command::new(self.path("livestick"))
            .args(["write", "--json", "--dry-run", "--allow-disk", self.disk()])
            .args(options)
            .arg(self.path("live.iso"))
            .arg(self.disk())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives the writer `line` and waits for its end.
    fn apply(&self, line: &str) -> (Option<i32>, Vec<Event>) {
        let mut writer = Writer::start(&self.path("livestick"), line);
        let events = writer.rest();
        (writer.child.wait().unwrap().code(), events)
    }

    /// Runs a command line in a terminal as a user who may nothing, with `tool` in the place of sudo.
    fn as_nobody(&self, tool: &str, options: &str) -> Output {
        let script = format!(
            "cd {dir} && export LIVESTICK_SU={tool} && exec {NOBODY} ./livestick write live.iso {disk} --allow-disk {disk} --yes {options}",
            dir = text(self.dir.path()),
            disk = self.disk(),
        );
        let typescript = ["-qec", &script, "/dev/null"];
        Command::new("script")
            .args(typescript)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn tool(&self, script: &str) -> String {
        let path = self.path("ask");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        text(&path).to_owned()
    }

    fn first_mib(&self) -> Vec<u8> {
        let mut head = vec![0; 1 << 20];
        File::open(self.disk())
            .unwrap()
            .read_exact(&mut head)
            .unwrap();
        head
    }

    /// What of the image's bytes the disk holds, by cmp: the number of bytes that differ.
    fn differing(&self) -> usize {
        let iso = self.path("live.iso");
        let size = fs::metadata(&iso).unwrap().len().to_string();
        let output = Command::new("cmp")
            .args(["-l", "-n", &size, text(&iso), self.disk()])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().count()
    }
}

/// Of the disks.
const SIZE: u64 = 320 << 20;

const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

impl Drop for Lab {
    fn drop(&mut self) {
        for disk in &self.disks {
            let _ = Command::new("umount").arg(disk).output();
            let _ = Command::new("losetup").args(["--detach", disk]).output();
        }
    }
}

/// `livestick apply-plan` with both ends in hand.
struct Writer {
    child: Child,
    events: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(program: &Path, line: &str) -> Writer {
        let mut child = Command::new(program)
            .arg("apply-plan")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        // A writer that refuses need not have read all.
        let _ = child.stdin.as_mut().unwrap().write_all(line.as_bytes());
        Writer { child, events }
    }

    fn next(&mut self) -> Option<Event> {
        let mut line = Vec::new();
        self.events.read_until(b'\n', &mut line).unwrap();
        if line.is_empty() {
            return None;
        }
        let event = json::parse(&line).unwrap();
        assert_eq!(json::line(&event).as_bytes(), line);
        Some(event)
    }

    fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn failure(events: &[Event]) -> (StickState, String) {
    match events {
        [.., Event::Failed { failure }] => (failure.state, failure.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_comes_back_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let target = dir.path().join("stick.img");
    for layout in ["isolinux", "isolinux-mac", "grub2", "kiwi", "debian-live"] {
        let iso = small_iso(layout);
        for options in [
            &[][..],
            &PERSISTENCE[..],
            &["--extra-kernel-args", "a=1 ß"][..],
        ] {
            if layout == "debian-live" && !options.is_empty() {
                // Nothing can be added to it.
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_livestick"))
                .args(["write", "--dry-run", "--json", "--size", "1GiB"])
                .args(options)
                .args([&iso, &target])
                .output()
                .unwrap();
            assert!(output.status.success(), "{layout}: {output:?}");
            let plan: Plan = json::parse(&output.stdout).unwrap();
            assert_eq!(json::line(&plan), String::from_utf8(output.stdout).unwrap());
            let again: Plan = json::parse(json::line(&plan).as_bytes()).unwrap();
            assert_eq!(again, plan);
            assert_eq!(again.to_string(), plan.to_string());
            let wants_sum = !options.is_empty();
            assert_eq!(plan.image.media_sum.is_some(), wants_sum, "{layout}");
        }
    }
}

/// What somebody does to a plan.
type Change = dyn Fn(&mut Value);

const SPROUT: [&str; 4] = ["--persistence", "sprout", "--overlay-size-mb", "256"];

#[test]
fn a_plan_with_a_sprout_comes_back_too_and_is_judged() {
    if !is_root() {
        return;
    }
    let lab = Lab::of("grub2-btrfs");
    let line = lab.plan(&SPROUT);
    let plan: Plan = json::parse(line.as_bytes()).unwrap();
    assert_eq!(json::line(&plan), line);
    assert!(plan.sprout.as_ref().is_some_and(|sprout| sprout.within));
    let tampers: [(&str, &Change); 6] = [
        ("not the image's root", &|p| {
            p["sprout"]["seed"]["extent"]["at"] = json!(0);
        }),
        ("not the image's root", &|p| {
            let len = p["sprout"]["seed"]["extent"]["len"].as_u64().unwrap();
            p["sprout"]["seed"]["extent"]["len"] = json!(len + 512);
        }),
        ("not the image's root", &|p| {
            p["sprout"]["source"]["driver"] = json!("ext4");
        }),
        ("identifier of its seed", &|p| {
            p["sprout"]["seed"]["partuuid"] = json!("a\", RUN+=\"x");
        }),
        ("over something else", &|p| {
            p["sprout"]["sprout"]["extent"]["at"] = json!(8 << 20);
        }),
        // A seed that is made is not one that is there.
        ("not aligned", &|p| p["sprout"]["within"] = json!(false)),
    ];
    for (why, tamper) in tampers {
        let mut tampered: Value = serde_json::from_str(&line).unwrap();
        tamper(&mut tampered);
        let tampered = format!("{tampered}\n");
        let tampered =
            json::parse::<Plan>(tampered.as_bytes()).map_or(tampered, |p| json::line(&p));
        let (_, events) = lab.apply(&tampered);
        let (state, message) = failure(&events);
        assert!(message.contains(why), "'{why}' was to be in: {message}");
        assert_eq!(state, StickState::Untouched, "{message}");
    }
    let (code, events) = lab.apply(&line);
    assert_eq!(code, Some(0), "{events:?}");
    let sprout = plan.sprout.unwrap();
    for (part, label) in [
        (&sprout.seed, "Anaconda"),
        (&sprout.sprout, &sprout.sprout.label),
    ] {
        let at = part.extent.at.to_string();
        let how = ["-p", "-o", "value", "-s", "LABEL", "-O", &at, lab.disk()];
        assert_eq!(run("blkid", &how), label);
    }
}

#[test]
fn root_applies_what_was_planned() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let plan = lab.plan(&PERSISTENCE);
    let (code, events) = lab.apply(&plan);
    assert_eq!(code, Some(0), "{events:?}");
    let Some(Event::Planned { plan: told, .. }) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!(json::line(told.as_ref()), plan);
    assert!(matches!(events.last(), Some(Event::Done { .. })));
    // Others find the image but for the patches, and both filesystems.
    let changed = usize::try_from(told.changed().0).unwrap();
    assert!((1..=changed).contains(&lab.differing()));
    for filesystem in &told.filesystems {
        let offset = filesystem.extent.at.to_string();
        let found = run(
            "blkid",
            &["-p", "-o", "value", "-s", "UUID", "-O", &offset, lab.disk()],
        );
        assert_eq!(found, filesystem.uuid.to_string());
    }
}

/// A published digest, as plans have it.
fn given(value: &str) -> Value {
    json!({"state": "given", "sum": {"algorithm": "sha256", "value": value}})
}

#[test]
fn root_compares_the_image_with_the_published_digest_again() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let sum = run("sha256sum", &[text(&lab.path("live.iso"))]);
    let (sum, _) = sum.split_once(' ').unwrap();
    let line = lab.plan(&["--checksum", &format!("sha256:{sum}")]);
    assert!(line.contains(&given(sum).to_string()), "{line}");
    let before = lab.sums();
    let other = "5".repeat(64);
    let (code, events) = lab.apply(&line.replace(sum, &other));
    let (state, message) = failure(&events);
    assert_eq!((code, state), (Some(4), StickState::Untouched), "{message}");
    assert!(
        message.contains(sum) && message.contains(&other),
        "{message}"
    );
    assert_eq!(lab.sums(), before);
    let (code, events) = lab.apply(&line);
    assert_eq!(code, Some(0), "{events:?}");
    assert_eq!(lab.differing(), 0);
}

/// What the refusal says, and what was done to the plan.
type Tamper<'a> = (&'a str, Box<dyn Fn(&mut Value) + 'a>);

#[test]
#[allow(clippy::too_many_lines, reason = "most of it is a table")]
fn a_plan_that_was_tampered_with_is_refused_and_nothing_is_written() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let (other, mounted) = (lab.attach(), lab.attach());
    let point = lab.path("mnt");
    fs::create_dir(&point).unwrap();
    run("mount", &["-o", "ro,noload", &mounted, text(&point)]);
    let line = lab.plan(&PERSISTENCE);
    let plan: Value = serde_json::from_str(&line).unwrap();
    let before = lab.sums();
    let number = |node: &str| run("lsblk", &["-dno", "MAJ:MIN", node]);
    let seq = |node: &str| {
        let name = node.strip_prefix("/dev/").unwrap();
        let text = fs::read_to_string(format!("/sys/block/{name}/diskseq")).unwrap_or_default();
        text.trim().parse::<u64>().ok()
    };
    let aimed = |plan: &mut Value, node: &str| {
        plan["target"]["path"] = json!(node);
        plan["target"]["identity"]["dev"] = json!(number(node));
        plan["target"]["identity"]["diskseq"] = json!(seq(node));
    };
    let file = lab.path("disk0.img");
    let image = fs::metadata(lab.path("live.iso")).unwrap().len();
    let entry = |path: &str| {
        json!({"path": path, "kind": "file", "text": "x",
            "attributes": {"mode": 420, "uid": 0, "gid": 0, "xattrs": {}}})
    };
    let push = |list: &mut Value, entry: Value| list.as_array_mut().unwrap().push(entry);
    let tampers: Vec<Tamper<'_>> = vec![
        (
            "not the one",
            Box::new(|p| p["target"]["path"] = json!(other)),
        ),
        ("mounted at", Box::new(|p| aimed(p, &mounted))),
        ("NEEDS", Box::new(|p| p["target"]["stick"] = json!(true))),
        (
            "is a file",
            Box::new(|p| p["target"]["kind"] = json!("file")),
        ),
        (
            "is a file",
            Box::new(|p| {
                p["target"]["kind"] = json!("new-file");
                p["target"]["path"] = json!(lab.path("new"));
            }),
        ),
        (
            "not the one",
            Box::new(|p| p["target"]["identity"]["size"] = json!(4096)),
        ),
        (
            "not as the plan saw it",
            Box::new(|p| p["target"]["size"] = json!(1_u64 << 40)),
        ),
        (
            "not as the plan saw it",
            Box::new(|p| p["target"]["unmount"] = json!([text(&point)])),
        ),
        (
            "which disk",
            Box::new(|p| p["target"]["identity"] = json!(null)),
        ),
        (
            "not inside the target",
            Box::new(|p| {
                p["filesystems"][1]["extent"]["at"] = json!(SIZE);
            }),
        ),
        (
            "not inside the target",
            Box::new(|p| {
                p["filesystems"][1]["extent"]["at"] = json!(u64::MAX - (4 << 20) + 1);
            }),
        ),
        (
            "over something else",
            Box::new(|p| p["filesystems"][1]["extent"]["at"] = json!(4 << 20)),
        ),
        (
            "over something else",
            Box::new(|p| p["behind"][0]["at"] = json!(1_000_000)),
        ),
        (
            "not aligned",
            Box::new(|p| p["filesystems"][0]["extent"]["len"] = json!(300_000_007)),
        ),
        (
            "no path",
            Box::new(|p| push(&mut p["filesystems"][0]["tree"], entry("../../etc/x"))),
        ),
        (
            "no path",
            Box::new(|p| push(&mut p["filesystems"][1]["tree"], entry("/etc/x"))),
        ),
        (
            "in no directory",
            Box::new(|p| {
                let tree = &mut p["filesystems"][1]["tree"];
                let mut link = entry("a");
                link["kind"] = json!("symlink");
                link["target"] = json!("../../../../etc");
                push(tree, link);
                push(tree, entry("a/x"));
            }),
        ),
        (
            "label",
            Box::new(|p| p["filesystems"][0]["label"] = json!("-x")),
        ),
        (
            "be made like this",
            Box::new(|p| p["filesystems"][0]["backing"] = json!("scratch")),
        ),
        (
            "be made like this",
            Box::new(|p| p["filesystems"][0]["subvolume"] = json!("../x")),
        ),
        (
            "two overlay",
            Box::new(|p| p["filesystems"][1]["purpose"] = json!("overlay")),
        ),
        (
            "not inside the image",
            Box::new(|p| {
                let last = p["patches"].as_array().unwrap().len() - 1;
                p["patches"][last]["at"] = json!(image - 1);
            }),
        ),
        (
            "over another",
            Box::new(|p| p["patches"][0]["at"] = p["patches"][1]["at"].clone()),
        ),
        ("length", Box::new(|p| p["patches"][0]["len"] = json!(9))),
        (
            "media check",
            Box::new(|p| p["image"]["media_sum"] = json!(null)),
        ),
        (
            "media check",
            Box::new(|p| p["image"]["media_sum"]["volume"] = json!(1 << 30)),
        ),
        (
            "the image changed at byte",
            Box::new(|p| {
                let before = p["patches"][0]["before"].as_str().unwrap();
                p["patches"][0]["before"] = json!(before.chars().rev().collect::<String>());
            }),
        ),
        (
            "not an ISO",
            Box::new(|p| p["image"]["path"] = json!("/etc/passwd")),
        ),
        (
            "is the image itself",
            Box::new(|p| p["image"]["path"] = json!(file)),
        ),
        (
            "marks are not where",
            Box::new(|p| {
                let size = Bytes(p["target"]["size"].as_u64().unwrap());
                p["probe"] = serde_json::to_value(Probe::of(size)).unwrap();
                p["probe"]["places"][0] = json!(0);
            }),
        ),
        (
            "relative",
            Box::new(|p| p["image"]["path"] = json!("live.iso")),
        ),
        (
            "changed after the plan",
            Box::new(|p| p["image"]["version"]["inode"] = json!(7)),
        ),
        (
            "published digest that is none",
            Box::new(|p| p["image"]["published"] = given("12")),
        ),
        (
            "odd",
            Box::new(|p| {
                let note = json!(["a\u{1b}[2J"]);
                p["image"]["published"] = json!({"state": "not-found", "notes": note});
            }),
        ),
        ("version", Box::new(|p| p["version"] = json!(2))),
        (
            "form of this version",
            Box::new(|p| p["more"] = json!("unknown")),
        ),
    ];
    for (why, tamper) in &tampers {
        let mut tampered = plan.clone();
        tamper(&mut tampered);
        // As livestick would write it down, if it is a plan at all.
        let line = format!("{tampered}\n");
        let line = match json::parse::<Plan>(line.as_bytes()) {
            Ok(plan) if tampered.get("more").is_none() => json::line(&plan),
            _ => line,
        };
        let (code, events) = lab.apply(&line);
        let (state, message) = failure(&events);
        let why = why.replace("NEEDS", "--allow-disk");
        assert!(message.contains(&why), "'{why}' was to be in: {message}");
        assert_eq!(state, StickState::Untouched, "{message}");
        assert!(matches!(code, Some(3 | 4)), "{message}");
        let started = |event: &Event| matches!(event, Event::Started { .. });
        assert!(!events.iter().any(started), "{message}");
    }
    for line in [
        String::new(),
        "\n".into(),
        line.trim_end().into(),
        format!("{plan:#}\n"),
        format!(" {line}"),
        "{\"version\":1}\n".into(),
        "[".repeat(100_000) + "\n",
    ] {
        let mut writer = Writer::start(&lab.path("livestick"), &line);
        drop(writer.child.stdin.take());
        assert_eq!(failure(&writer.rest()).0, StickState::Untouched);
        assert_eq!(writer.child.wait().unwrap().code(), Some(3));
    }
    assert_eq!(lab.sums(), before);
    assert!(!lab.path("new").exists() && !Path::new("/etc/x").exists());
    assert!(run("findmnt", &["-no", "TARGET", &mounted]).contains("mnt"));
}

/// A byte here and there is another one: whatever still is a plan is audited without a panic, and what passes writes
/// inside the disk and nowhere twice, as counted here.
#[test]
fn no_damaged_plan_passes_that_writes_elsewhere() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let line = lab.plan(&PERSISTENCE);
    let host = livestick::host::Host::look();
    let system = livestick::disk::System::real();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let (mut plans, mut passed) = (0, 0);
    for _ in 0..600 {
        let mut bytes = line.clone().into_bytes();
        for _ in 0..=random(2) {
            let digits: Vec<usize> = (0..bytes.len())
                .filter(|i| bytes[*i].is_ascii_digit())
                .collect();
            bytes[digits[random(digits.len())]] = b'0' + u8::try_from(random(10)).unwrap();
        }
        let Ok(plan) = json::parse::<Plan>(&bytes) else {
            continue;
        };
        plans += 1;
        if plan.audit(&system, &host).is_err() {
            continue;
        }
        passed += 1;
        assert_eq!(plan.target.path, Path::new(lab.disk()));
        let mut ends: Vec<(u64, u64)> = vec![(0, plan.image.size.0)];
        ends.extend(
            plan.filesystems
                .iter()
                .map(|fs| (fs.extent.at.0, fs.extent.len.0)),
        );
        ends.extend(plan.behind.iter().map(|b| (b.at.0, b.bytes.len() as u64)));
        ends.sort_unstable();
        for (one, next) in ends.iter().zip(ends.iter().skip(1)) {
            assert!(one.0 + one.1 <= next.0, "{ends:?}");
        }
        let (at, len) = *ends.last().unwrap();
        assert!(at.checked_add(len).unwrap() <= SIZE, "{ends:?}");
    }
    assert!(plans > 300 && passed > 10, "{plans} {passed}");
}

#[test]
fn an_image_that_changed_after_the_plan_is_refused() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let iso = lab.path("live.iso");
    let plan = lab.plan(&PERSISTENCE);
    let before = lab.sums();
    let refused = |why: &str| {
        let (code, events) = lab.apply(&plan);
        let (state, message) = failure(&events);
        assert_eq!((code, state), (Some(3), StickState::Untouched));
        assert!(message.contains("changed"), "{why}: {message}");
    };
    let then = fs::metadata(&iso).unwrap().modified().unwrap();
    let set = |time| {
        let file = File::options().write(true).open(&iso).unwrap();
        file.set_modified(time).unwrap();
    };
    set(then + Duration::from_millis(1));
    refused("another time");
    // A byte under a patch, and the time set back.
    let planned: Plan = json::parse(plan.as_bytes()).unwrap();
    let at = planned.patches[0].at.0;
    let poke = |value: u8| {
        use std::os::unix::fs::FileExt;
        let file = File::options().read(true).write(true).open(&iso).unwrap();
        let mut old = [0];
        file.read_exact_at(&mut old, at).unwrap();
        file.write_all_at(&[value], at).unwrap();
        old[0]
    };
    let old = poke(0);
    poke(!old);
    set(then);
    refused("another byte");
    poke(old);
    set(then);
    fs::copy(&iso, lab.path("copy")).unwrap();
    fs::rename(lab.path("copy"), &iso).unwrap();
    set(then);
    refused("another file");
    assert_eq!(lab.sums(), before);
}

#[test]
fn a_writer_that_is_cancelled_or_left_alone_leaves_a_blank_stick() {
    if !is_root() {
        return;
    }
    for word in [None, Some("cancel\n")] {
        let lab = Lab::new();
        let plan = lab.plan(&PERSISTENCE);
        let mut writer = Writer::start(&lab.path("livestick"), &plan);
        while !matches!(writer.next().unwrap(), Event::Started { step: 1 }) {}
        match word {
            None => drop(writer.child.stdin.take()),
            Some(word) => {
                let stdin = writer.child.stdin.as_mut().unwrap();
                stdin.write_all(word.as_bytes()).unwrap();
            }
        }
        assert_eq!(failure(&writer.rest()).0, StickState::Blank);
        assert_eq!(writer.child.wait().unwrap().code(), Some(130));
        assert!(lab.first_mib().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn without_the_right_nothing_is_written() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.sums();
    let denied = |script: &str| {
        let output = lab.as_nobody(&lab.tool(script), "--json");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(r#""exit":"denied""#), "{said}");
        assert!(said.contains(r#""state":"untouched""#), "{said}");
        said
    };
    let said = denied("echo 'ask: 3 incorrect password attempts' >&2; exit 1");
    assert!(said.contains("(3 incorrect password attempts)"), "{said}");
    let said = denied("sleep 1; echo 'ask: timed out reading password' >&2; exit 1");
    assert!(said.contains("(timed out reading password)"), "{said}");
    let said = denied("exit 126");
    assert!(said.contains("exit status: 126"), "{said}");
    denied("kill -9 $$");
    let output = lab.as_nobody("/no/such/tool", "--json");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("/no/such/tool, which is no program"),
        "{said}"
    );
    assert_eq!(lab.sums(), before);
}

#[test]
fn scripts_are_refused_and_not_asked() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.sums();
    let asked = lab.path("asked");
    let tool = lab.tool(&format!("touch {}", text(&asked)));
    fs::set_permissions(lab.dir.path(), Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("setsid");
    command.arg("--wait").args(NOBODY.split(' '));
    let output = command
        .arg(lab.path("livestick"))
        .args(["write", "--yes", "--allow-disk", lab.disk()])
        .arg(lab.path("live.iso"))
        .arg(lab.disk())
        .env("LIVESTICK_SU", tool)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no terminal on which ask could"), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    assert!(!asked.exists());
    assert_eq!(lab.sums(), before);
}

#[test]
fn the_tool_is_given_the_program_and_no_plan() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.sums();
    fs::set_permissions(lab.dir.path(), Permissions::from_mode(0o777)).unwrap();
    // A tool that gives no right at all, but starts the writer: whose own words come through.
    let args = lab.path("args");
    let tool = lab.tool(&format!("echo \"$@\" > {}; exec \"$@\"", text(&args)));
    let output = lab.as_nobody(&tool, "--json");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = format!("{} apply-plan\n", text(&lab.path("livestick")));
    assert_eq!(fs::read_to_string(args).unwrap(), program);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(r#""event":"planned""#), "{said}");
    assert!(said.contains("ermission denied"), "{said}");
    assert!(said.contains(r#""exit":"refused""#), "{said}");
    // A writer that dies in the middle.
    let events = r#"{"version":1,"event":"started","step":0}"#;
    let output = lab.as_nobody(&lab.tool(&format!("echo '{events}'; exit 9")), "--json");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("ended without a word"), "{said}");
    assert!(said.contains(r#""state":"blank""#), "{said}");
    assert_eq!(lab.sums(), before);
}

/// A command line as a user whom sudo lets run livestick, for as long as the command runs and nowhere else.
/// With `pty` sudo runs it in a terminal of its own, as it does by default since 1.9.14, without it in this one.
fn with_sudo(lab: &Lab, pty: bool, rule: &str, command: &str) -> Command {
    let pty = if pty { "" } else { "!" };
    let rules = lab.path("sudoers");
    let program = lab.path("livestick");
    fs::write(
        &rules,
        format!(
            "Defaults {pty}use_pty\nnobody ALL=(root) {rule}{} apply-plan\n",
            text(&program)
        ),
    )
    .unwrap();
    fs::set_permissions(&rules, Permissions::from_mode(0o440)).unwrap();
    let disk = lab.disk();
    let inner = format!(
        "cd {}; echo $$ > pid; exec {NOBODY} env LIVESTICK_SU=sudo ./livestick write live.iso {disk} --allow-disk {disk} --yes --json {command}",
        text(lab.dir.path()),
    );
    let outer = format!(
        "mount --bind {} /etc/sudoers && exec script -qec '{inner}' /dev/null",
        text(&rules)
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &outer]);
    command.stdin(Stdio::null());
    command
}

#[test]
fn sudo_lets_an_ordinary_user_write_a_stick() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let options = PERSISTENCE.join(" ");
    let output = with_sudo(&lab, false, "NOPASSWD: ", &options)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let last = said.lines().last().unwrap();
    let Event::Done { report } = json::parse(last.as_bytes()).unwrap() else {
        panic!("{last}");
    };
    assert_eq!(report.state, StickState::Complete);
    assert_eq!(report.made.len(), 2);
    let changed = usize::try_from(report.read_back.as_ref().unwrap().changed.0).unwrap();
    assert!((1..=changed).contains(&lab.differing()));
}

const SECRET: &str = "Nobody-Reads-This";

/// A lab whose image can open an encrypted home, and the options that ask for one.
fn encrypted() -> (Lab, Vec<String>) {
    let lab = Lab::new();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/small-iso");
    let image = lab.path("live.iso");
    let parts = ["--cryptsetup", "generator program library module"];
    run(
        text(&tool),
        &[&["grub2", text(&image)], &parts[..]].concat(),
    );
    let secret = lab.path("secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let encrypt = ["--home-encrypt", "--home-passphrase-file", text(&secret)];
    let options = PERSISTENCE.iter().chain(&encrypt).copied();
    let options = options.map(str::to_owned).collect();
    (lab, options)
}

/// Whether a process was called with the passphrase.
fn is_told() -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut told =
        processes.flat_map(|one| ["cmdline", "environ"].map(|name| one.path().join(name)));
    told.any(|path| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(SECRET)
    })
}

#[test]
fn a_passphrase_follows_the_plan_down_the_pipe_and_is_told_to_nobody_else() {
    if !is_root() {
        return;
    }
    let (lab, options) = encrypted();
    let mut child = with_sudo(&lab, false, "NOPASSWD: ", &options.join(" "))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        out.read_to_string(&mut said).unwrap();
        said
    });
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        assert!(!is_told());
        looks += 1;
        sleep(Duration::from_millis(10));
    }
    let said = reader.join().unwrap();
    assert!(looks > 10 && child.wait().unwrap().success(), "{said}");
    assert!(
        !said.contains(SECRET) && said.contains("encryption"),
        "{said}"
    );
    let first = said.lines().find(|line| line.starts_with('{')).unwrap();
    let Event::Planned { plan, .. } = json::parse(first.as_bytes()).unwrap() else {
        panic!("{first}");
    };
    let home = &plan.filesystems[1];
    let part = lab.path("home");
    let mut bytes = vec![0; home.extent.len.index().unwrap()];
    let disk = File::open(lab.disk()).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&disk, &mut bytes, home.extent.at.0).unwrap();
    fs::write(&part, bytes).unwrap();
    let secret = lab.path("only");
    fs::write(&secret, SECRET).unwrap();
    let open = ["open", "--test-passphrase", "--disable-locks", "--key-file"];
    run(
        "cryptsetup",
        &[&open[..], &[text(&secret), text(&part)]].concat(),
    );
}

#[test]
fn an_encrypted_home_without_a_passphrase_or_in_the_wrong_place_is_refused() {
    if !is_root() {
        return;
    }
    let (lab, options) = encrypted();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let line = lab.plan(&options);
    let before = lab.sums();
    let tampered = |change: &dyn Fn(&mut Plan)| {
        let mut plan: Plan = json::parse(line.as_bytes()).unwrap();
        change(&mut plan);
        format!("{}{SECRET}\n", json::line(&plan))
    };
    let encryption = |plan: &Plan| plan.filesystems[1].encryption.clone();
    for (input, why) in [
        (line.clone(), "no passphrase"),
        (format!("{line}{SECRET}"), "no passphrase"),
        (format!("{line}\n"), "empty"),
        (format!("{line}{}\n", "x".repeat(513)), "no passphrase"),
        (format!("{line}a\tb\n"), "control character"),
        (
            tampered(&|plan| plan.filesystems[0].encryption = encryption(plan)),
            "its overlay is encrypted",
        ),
        (
            tampered(&|plan| plan.filesystems[1].extent.len = Bytes::mib(16)),
            "no room",
        ),
    ] {
        let mut writer = Writer::start(&lab.path("livestick"), &input);
        // Nothing more comes.
        drop(writer.child.stdin.take());
        let events = writer.rest();
        let (state, message) = failure(&events);
        assert_eq!(writer.child.wait().unwrap().code(), Some(3), "{message}");
        assert_eq!(state, StickState::Untouched);
        assert!(message.contains(why), "{why}: {message}");
        assert!(!message.contains(SECRET) && !message.contains("xxx"));
    }
    assert_eq!(lab.sums(), before);
}

#[test]
fn a_password_that_sudo_does_not_take_ends_in_a_refusal() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let before = lab.sums();
    let output = with_sudo(&lab, true, "", "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("password for nobody"), "{said}");
    assert!(said.contains(r#""exit":"denied""#), "{said}");
    assert_eq!(lab.sums(), before);
}

#[test]
fn a_writer_whose_user_interface_was_killed_leaves_a_blank_stick() {
    if !is_root() {
        return;
    }
    for pty in [true, false] {
        kill_the_interface(&Lab::new(), pty);
    }
}

fn kill_the_interface(lab: &Lab, pty: bool) {
    let mut child = with_sudo(lab, pty, "NOPASSWD: ", &PERSISTENCE.join(" "))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let copying = r#"{"version":1,"event":"started","step":1}"#;
    assert!(lines.any(|line| line.unwrap().trim() == copying));
    let pid = fs::read_to_string(lab.path("pid")).unwrap();
    run("kill", &["-KILL", pid.trim()]);
    child.wait().unwrap();
    let patience = Instant::now();
    let medium = loop {
        match Medium::open(Path::new(lab.disk()), Kind::Disk) {
            Ok(medium) => break medium,
            Err(error) => assert!(patience.elapsed() < Duration::from_secs(20), "{error}"),
        }
        sleep(Duration::from_millis(50));
    };
    drop(medium);
    assert!(lab.first_mib().iter().all(|byte| *byte == 0));
}
