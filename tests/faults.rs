// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes wrong while a stick is written, made to go wrong: media that fail or lie, an image that changes, a user who
//! stops, a program that is killed. Afterwards the stick is as it was, blank, or complete, the words say which, and
//! nothing is left on the machine.
//!
//! Most of it needs loop devices and mounts, so root; the rest runs for everybody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use livestick::apply;
use livestick::command::plan;
use livestick::event::{Event, Work};
use livestick::host::Host;
use livestick::plan::Plan;
use livestick::report::{Exit, Failure, Report, StickState, Verdict};
use livestick::request::{FsKind, Request, Size, Wanted};
use livestick::units::Bytes;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use support::bench::{Bench, Outcome, ask, finish, livestick, peek, poke, sha256};
use support::device::left_behind;
use support::lab::iso;
use support::program::{output, root, run, text};

const BLANK: &str = "the stick is blank: it has no partition table and does not boot";

// ---- what a stick is

/// Nothing starts from it, and nobody sees a partition table or a filesystem on it.
fn judge_blank(target: &Path) {
    assert!(
        peek(target, 0, 1 << 20) == vec![0; 1 << 20],
        "the first MiB is not zero"
    );
    let seen = output("blkid", &["-p", text(target)]);
    assert_eq!(seen.status.code(), Some(2), "blkid: {seen:?}");
    no_table(target);
}

fn no_table(target: &Path) {
    let seen = output("sfdisk", &["-d", text(target)]);
    assert!(!seen.status.success(), "sfdisk: {seen:?}");
    let seen = output("blkid", &["-p", text(target)]);
    assert!(
        !String::from_utf8_lossy(&seen.stdout).contains("PTTYPE"),
        "blkid: {seen:?}"
    );
}

/// Everything is on it and good: the media check, the table, every filesystem behind the image.
fn judge_complete(target: &Path) {
    run("checkisomd5", &[text(target)]);
    let verdict = run("sgdisk", &["-v", text(target)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(target)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let new: Vec<_> = partitions
        .iter()
        .filter(|p| {
            p["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("livestick-"))
        })
        .collect();
    assert_eq!(new.len(), 2);
    for partition in new {
        let bytes = |field: &str| partition[field].as_u64().unwrap() * 512;
        let part = target.with_extension("part");
        // The checkers want the filesystem alone.
        let mut from = File::open(target).unwrap();
        std::io::Seek::seek(&mut from, std::io::SeekFrom::Start(bytes("start"))).unwrap();
        let mut to = File::create(&part).unwrap();
        std::io::copy(&mut std::io::Read::take(from, bytes("size")), &mut to).unwrap();
        let kind = run("blkid", &["-p", "-o", "value", "-s", "TYPE", text(&part)]);
        match kind.trim() {
            "btrfs" => run(
                "btrfs",
                &["check", "--readonly", "--check-data-csum", text(&part)],
            ),
            "ext4" => run("e2fsck", &["-f", "-n", text(&part)]),
            other => panic!("a filesystem of kind '{other}'"),
        };
        fs::remove_file(part).unwrap();
    }
}

// ---- a medium that fails

/// A disk whose storage is full after `mib` MiB: writes behind that fail.
fn failing_disk(bench: &mut Bench, mib: u64) -> PathBuf {
    let memory = bench.mount(&["-t", "tmpfs", "-o", &format!("size={mib}M")], "none");
    let file = memory.join("disk.img");
    File::create(&file).unwrap().set_len(400 << 20).unwrap();
    bench.attach(&file, &[])
}

fn write_to(image: &Path, disk: &Path, more: &[&str]) -> Outcome {
    let args = [
        "write",
        text(image),
        text(disk),
        "-y",
        "--allow-disk",
        text(disk),
    ];
    ask(&[&args, more].concat())
}

#[test]
fn a_write_error_half_way_leaves_a_blank_stick_and_says_where() {
    if !root() {
        return;
    }
    let image = iso("grub2", &["--size", "64"]);
    let mut bench = Bench::new();
    let disk = failing_disk(&mut bench, 30);
    let outcome = write_to(&image, &disk, &[]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    assert!(!outcome.out.contains("verified"), "{}", outcome.out);
    let (_, rest) = outcome.err.split_once("at byte ").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let at: u64 = digits.parse().unwrap();
    // The chunk in which the 30 MiB end, as the tmpfs counts them.
    assert!((20 << 20..=30 << 20).contains(&at), "{}", outcome.err);
    assert!(outcome.err.contains(BLANK), "{}", outcome.err);
    judge_blank(&disk);

    let outcome = write_to(&image, &disk, &["--json"]);
    let last = outcome.events().pop().unwrap();
    assert_eq!(
        (&last["event"], &last["failure"]["exit"]),
        (&"failed".into(), &"write-failed".into())
    );
    assert_eq!(last["failure"]["state"], "blank");
    assert_eq!(outcome.err, "");
    judge_blank(&disk);
}

#[test]
fn a_filesystem_that_cannot_be_made_leaves_a_blank_stick() {
    if !root() {
        return;
    }
    let image = iso("grub2", &[]);
    for (fs, room) in [("btrfs", "200MiB"), ("ext4", "200MiB")] {
        let mut bench = Bench::new();
        // Enough for the image, and not for what mkfs writes.
        let disk = failing_disk(&mut bench, 14);
        let outcome = write_to(&image, &disk, &["--overlay-size", room, "--overlay-fs", fs]);
        assert_eq!(outcome.code, Some(5), "{outcome:?}");
        assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
        assert!(outcome.err.contains(BLANK), "{}", outcome.err);
        judge_blank(&disk);
    }
}

#[test]
fn a_first_write_that_fails_is_not_called_blank() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let memory = bench.mount(&["-t", "tmpfs", "-o", "size=1M"], "none");
    let file = memory.join("disk.img");
    File::create(&file).unwrap().set_len(400 << 20).unwrap();
    fs::write(memory.join("ballast"), vec![1; (1 << 20) - 8192]).unwrap();
    let disk = bench.attach(&file, &[]);
    let outcome = write_to(&iso("grub2", &[]), &disk, &[]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert!(outcome.err.contains("at byte 0 of"), "{}", outcome.err);
    assert!(
        outcome.err.contains("the state of the stick is not known"),
        "{}",
        outcome.err
    );
}

#[test]
fn a_full_filesystem_under_a_stick_image_is_a_write_error() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let memory = bench.mount(&["-t", "tmpfs", "-o", "size=10M"], "none");
    let target = memory.join("stick.img");
    let image = iso("grub2", &[]);
    let outcome = ask(&[
        "write",
        text(&image),
        text(&target),
        "-y",
        "--size",
        "64MiB",
    ]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert!(outcome.err.contains("No space left"), "{}", outcome.err);
    judge_blank(&target);
}

// ---- a medium that lies

/// A plan for `target` with an overlay that takes no time to make.
fn planned(image: &Path, target: &Path) -> (Plan, Host) {
    let host = Host::look();
    let wanted = |size| {
        Some(Wanted {
            size,
            fs: Some(FsKind::Ext4),
        })
    };
    let request = Request {
        image: image.into(),
        target: target.into(),
        allow_disk: Some(text(target).into()),
        overlay: wanted(Size::Fixed(Bytes::mib(16))),
        home: wanted(Size::Rest),
        ..Request::default()
    };
    (plan(&request, &host).unwrap(), host)
}

fn applied(plan: &Plan, host: &Host, mut seen: impl FnMut(&Event)) -> Result<Report, Failure> {
    let never = AtomicBool::new(false);
    apply::run(plan, host, &never, &mut |event| seen(&event))
}

/// When the medium changes what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After the last write of everything but the first MiB.
    BeforeReadBack,
    /// After the very last write.
    AfterTheHead,
}

/// Writes through `plan` to `target`; the storage (`backing`) inverts the byte at `at` behind the writer's back.
fn flipped(
    plan: &Plan,
    host: &Host,
    backing: &Path,
    at: u64,
    when: When,
) -> Result<Report, Failure> {
    let mut work = Work::Blank;
    let mut last = Bytes::ZERO;
    let mut flips = 0;
    let total: Bytes = plan.steps().iter().map(|step| step.bytes).sum();
    let head: Bytes = plan.steps().last().unwrap().bytes;
    // The first MiB is counted twice in its step: written, and read back.
    let written = total.0 - head.0 / 2;
    let mut flip = || {
        let was = peek(backing, at, 1)[0];
        poke(backing, at, &[!was]);
        File::open(backing).unwrap().sync_all().unwrap();
        flips += 1;
    };
    let ended = applied(plan, host, |event| match event {
        Event::Started { step } => {
            work = plan.steps()[*step].work;
            if work == Work::ReadBack && when == When::BeforeReadBack {
                flip();
            }
        }
        Event::Progress { done, .. } => {
            let complete = done.0 >= written && last.0 < written;
            if work == Work::FirstMib && complete && when == When::AfterTheHead {
                flip();
            }
            last = *done;
        }
        _ => {}
    });
    assert_eq!(flips, 1, "the byte was not changed at the right moment");
    ended
}

/// Places of a stick where a wrong byte has to be found, by name.
fn places(plan: &Plan, image: &Path) -> Vec<(&'static str, u64, When)> {
    use When::{AfterTheHead, BeforeReadBack};
    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(image)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let esp = partitions
        .iter()
        .find(|p| p["type"].as_str().unwrap().starts_with("C12A7328"));
    let esp = esp.unwrap();
    let (start, sectors) = (
        esp["start"].as_u64().unwrap(),
        esp["size"].as_u64().unwrap(),
    );
    let size = fs::metadata(image).unwrap().len();
    let patched = |from: u64, to: u64| {
        let inside = plan
            .patches
            .iter()
            .filter(|p| p.at.0 >= from && p.at.0 < to);
        // The longest is the text of the menu, not its length or its clusters.
        inside
            .max_by_key(|patch| patch.extent().len)
            .unwrap_or_else(|| panic!("no change between {from} and {to}"))
            .at
            .0
    };
    let esp = (start * 512, (start + sectors) * 512);
    let mut places = vec![
        ("the boot code", 0, AfterTheHead),
        ("the signature of the MBR", 510, AfterTheHead),
        ("the head of the GPT", 512 + 56, AfterTheHead),
        ("the volume descriptor", 32768 + 40, AfterTheHead),
        (
            "the last byte of the first MiB",
            (1 << 20) - 1,
            AfterTheHead,
        ),
        (
            "the first byte behind the first MiB",
            1 << 20,
            BeforeReadBack,
        ),
        ("the ISO area", 3 << 20, BeforeReadBack),
        (
            "a changed menu in the ISO area",
            patched(1 << 20, esp.0),
            BeforeReadBack,
        ),
        ("the system partition", esp.1 - 512, BeforeReadBack),
        (
            "a changed menu in the system partition",
            patched(esp.0, esp.1),
            BeforeReadBack,
        ),
        ("the last byte of the image", size - 1, BeforeReadBack),
    ];
    for behind in &plan.behind {
        places.push(("the backup GPT", behind.at.0, BeforeReadBack));
        let end = behind.at.0 + behind.bytes.len() as u64;
        places.push(("the end of the backup GPT", end - 1, BeforeReadBack));
    }
    places
}

fn judge_flips(image: &Path, target: &Path, backing: &Path) {
    let (first, _) = planned(image, target);
    assert!(!first.behind.is_empty());
    for (place, at, when) in places(&first, image) {
        let (plan, host) = planned(image, target);
        let failure = flipped(&plan, &host, backing, at, when);
        let failure = failure.map(|report| report.to_string()).expect_err(place);
        assert_eq!(failure.exit, Exit::NotVerified, "{place}: {failure}");
        assert_eq!(failure.state, StickState::Blank, "{place}: {failure}");
        assert!(!failure.message.contains("verified"), "{place}: {failure}");
        judge_blank(backing);
    }
    // And with nothing changed it is complete.
    let (plan, host) = planned(image, target);
    let report = applied(&plan, &host, |_| {}).unwrap();
    assert_eq!(
        (report.exit, report.state),
        (Exit::Verified, StickState::Complete)
    );
}

#[test]
fn a_wrong_byte_anywhere_in_a_stick_image_is_found() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    judge_flips(&iso("grub2", &[]), &target, &target);
}

#[test]
fn a_wrong_byte_anywhere_on_a_disk_is_found() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let backing = bench.used("disk.img", 64);
    let disk = bench.attach(&backing, &["--direct-io=on"]);
    judge_flips(&iso("grub2", &[]), &disk, &backing);
}

/// Waits until the storage holds `good` at `at`, then inverts it, until told to give up.
fn saboteur(
    backing: &Path,
    at: u64,
    good: Vec<u8>,
    give_up: &Arc<AtomicBool>,
) -> thread::JoinHandle<bool> {
    let (backing, give_up) = (backing.to_owned(), Arc::clone(give_up));
    thread::spawn(move || {
        while !give_up.load(Ordering::Relaxed) {
            if peek(&backing, at, good.len()) == good {
                let bad: Vec<u8> = good.iter().map(|byte| !byte).collect();
                poke(&backing, at, &bad);
                File::open(&backing).unwrap().sync_all().unwrap();
                return true;
            }
            sleep(Duration::from_micros(200));
        }
        false
    })
}

#[test]
fn a_medium_that_loses_what_was_written_is_caught_though_caches_hold_it() {
    if !root() {
        return;
    }
    let image = iso("grub2", &[]);
    let at = 2 << 20;
    let good = peek(&image, at, 4096);
    assert!(good.iter().any(|byte| *byte != good[0]));
    for held in [false, true] {
        let mut bench = Bench::new();
        let backing = bench.used("disk.img", 64);
        let disk = bench.attach(&backing, &["--direct-io=on"]);
        // Somebody has the disk open and reads it all the time: its page cache never goes away.
        let give_up = Arc::new(AtomicBool::new(false));
        let holder = held.then(|| {
            let (file, stop) = (File::open(&disk).unwrap(), Arc::clone(&give_up));
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while !stop.load(Ordering::Relaxed) {
                    let _ = file.read_at(&mut buffer, at);
                    sleep(Duration::from_millis(1));
                }
            })
        });
        let saboteur = saboteur(&backing, at, good.clone(), &give_up);
        // Filesystems are made between writing and reading back: there is time.
        let more = ["--overlay-size", "16MiB", "--overlay-fs", "ext4"];
        let outcome = write_to(&image, &disk, &more);
        give_up.store(true, Ordering::Relaxed);
        assert!(saboteur.join().unwrap(), "the medium was never changed");
        if let Some(holder) = holder {
            holder.join().unwrap();
        }
        assert_eq!(outcome.code, Some(6), "held {held}: {outcome:?}");
        assert!(outcome.err.contains(BLANK), "{}", outcome.err);
        assert!(!outcome.out.contains("verified"), "{}", outcome.out);
        judge_blank(&backing);
    }
}

#[test]
fn what_cannot_be_proven_is_never_called_verified() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    // A filesystem in memory: there is no medium to read from, whether or not it takes O_DIRECT.
    let memory = bench.mount(&["-t", "tmpfs"], "none");
    let image = iso("grub2", &[]);
    let more = ["--overlay-size", "16MiB", "--overlay-fs", "ext4"];
    for (target, more) in [("plain.img", &[][..]), ("overlay.img", &more)] {
        let target = memory.join(target);
        let args = [
            "write",
            text(&image),
            text(&target),
            "-y",
            "--size",
            "64MiB",
        ];
        let outcome = ask(&[&args, more].concat());
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let words = outcome.out.replace("not verified", "");
        assert!(words.len() < outcome.out.len(), "{}", outcome.out);
        for word in ["verified", "identical", "past the caches"] {
            assert!(!words.contains(word), "'{word}' in: {}", outcome.out);
        }
        if more.is_empty() {
            let size = fs::metadata(&image).unwrap().len();
            assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
        }
        let again = ["write", text(&image), text(&target), "-y", "--json"];
        let outcome = ask(&[&again, more].concat());
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let done = outcome.events().pop().unwrap();
        assert_eq!(done["event"], "done");
        assert_eq!(done["report"]["exit"], "not-verified");
        assert_eq!(done["report"]["state"], "complete");
        assert_eq!(done["report"]["read_back"]["verdict"], "not-verified");
    }
    // The same through a disk that is kept in memory is proven as far as the disk goes.
    let file = memory.join("disk.img");
    File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let disk = bench.attach(&file, &[]);
    let outcome = write_to(&image, &disk, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_report_of_a_verified_stick_has_the_digest_that_others_compute() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = iso("grub2", &[]);
    let (plan, host) = planned(&image, &target);
    let report = applied(&plan, &host, |_| {}).unwrap();
    assert!(matches!(report.read_back.verdict, Verdict::Verified { .. }));
    let size = fs::metadata(&image).unwrap().len();
    assert_eq!(report.sha256, sha256(&image, None));
    assert_eq!(report.read_back.restored, report.sha256);
    assert_eq!(report.read_back.as_written, sha256(&target, Some(size)));
    judge_complete(&target);
}

// ---- an image that changes

#[test]
fn an_image_that_changes_while_it_is_read_leaves_a_blank_stick() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let size = fs::metadata(&original).unwrap().len();
    let changes: [fn(&Path, u64); 3] = [
        |image, size| {
            poke(image, size / 2, b"?");
        },
        |image, size| {
            poke(image, size - 1, b"?");
        },
        |image, size| {
            File::options()
                .write(true)
                .open(image)
                .unwrap()
                .set_len(size / 2)
                .unwrap();
        },
    ];
    for change in changes {
        let image = bench.copy(&original, "image.iso");
        let target = bench.used("stick.img", 64);
        let (plan, host) = planned(&image, &target);
        let mut changed = false;
        let failure = applied(&plan, &host, |event| {
            if let (Event::Finished { .. }, false) = (event, changed) {
                // The stick was blanked, the image not yet read.
                change(&image, size);
                changed = true;
            }
        });
        let failure = failure.unwrap_err();
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::WriteFailed, StickState::Blank)
        );
        assert!(failure.message.contains("image"), "{failure}");
        judge_blank(&target);
    }
}

// ---- a user who stops

/// `livestick` at work: its events as they come, a directory of its own for what is temporary, a mark on every
/// process that it starts.
struct AtWork {
    child: Child,
    said: Option<BufReader<std::process::ChildStdout>>,
    temporary: PathBuf,
    mark: String,
}

impl AtWork {
    fn start(bench: &Bench, args: &[&str], wrap: &[&str]) -> AtWork {
        let temporary = bench.path("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mark = format!("LIVESTICK_TEST={}", text(bench.dir.path()));
        let (name, value) = mark.split_once('=').unwrap();
        let words = [wrap, &[env!("CARGO_BIN_EXE_livestick")], args, &["--json"]].concat();
        let mut command = support::program::command(words[0]);
        command
            .args(&words[1..])
            .env(name, value)
            .env("TMPDIR", &temporary);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, as a shell makes one for each command.
        let child = command.process_group(0).spawn().unwrap();
        AtWork {
            child,
            said: None,
            temporary,
            mark,
        }
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let stdout = &mut self.child.stdout;
        let said = self
            .said
            .get_or_insert_with(|| BufReader::new(stdout.take().unwrap()));
        said.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Waits for an event.
    fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) {
        while let Some(event) = self.next() {
            if wanted(&event) {
                return;
            }
        }
        panic!("it ended before what was waited for");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The last event and the status.
    fn end(&mut self) -> (Value, Option<i32>) {
        let mut last = Value::Null;
        while let Some(event) = self.next() {
            last = event;
        }
        (last, self.child.wait().unwrap().code())
    }

    /// Processes that carry the mark.
    fn started(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|entry| {
                let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|one| one == self.mark.as_bytes())
            })
            .map(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).replace('\0', " ")
            })
            .collect()
    }

    /// Nothing of it is there any more: at once where it ended by itself, and where it was killed as soon as the
    /// kernel has cleaned up. Only a few directories in the place for temporary files outlive a SIGKILL.
    fn leaves_nothing(&self, bench: &Bench, target: &Path, killed: bool) {
        let start = Instant::now();
        let left = loop {
            let mut left = self.started();
            left.extend(left_behind(target, bench.dir.path()));
            if left.is_empty() || start.elapsed() > Duration::from_secs(5) {
                break left;
            }
            sleep(Duration::from_millis(10));
        };
        assert!(left.is_empty(), "left behind: {left:?}");
        let beside = fs::read_dir(target.parent().unwrap()).unwrap().flatten();
        let names = beside.map(|entry| entry.file_name().into_string().unwrap());
        let odd: Vec<_> = names.filter(|name| name.contains("livestick-")).collect();
        assert!(odd.is_empty(), "beside the target: {odd:?}");
        let temporary: Vec<_> = fs::read_dir(&self.temporary).unwrap().flatten().collect();
        assert!(killed || temporary.is_empty(), "{temporary:?}");
    }
}

/// Steps by kind, from the first event.
fn step(planned: &Value, work: &str) -> u64 {
    let steps = planned["steps"].as_array().unwrap();
    let at = steps
        .iter()
        .position(|step| step["work"] == work || step["work"].get(work).is_some());
    at.unwrap() as u64
}

/// In a /dev without loop devices filesystems are made in a scratch file, also by root.
const NO_LOOPS: &str = "mount -t tmpfs none /dev && for d in null:3 zero:5 random:8 urandom:9; do \
     mknod -m 666 /dev/${d%:*} c 1 ${d#*:}; done && exec \"$@\"";

fn stops(signal: Signal, work: &str, group: bool, loops: bool) {
    let mut bench = Bench::new();
    let image = iso("grub2", &["--size", "160"]);
    let backing = bench.used("disk.img", 600);
    let hide = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        NO_LOOPS,
        "sh",
    ];
    let (target, wrap) = if loops {
        (bench.attach(&backing, &[]), &[][..])
    } else {
        (backing.clone(), &hide[..])
    };
    let args = [
        "write",
        text(&image),
        text(&target),
        "-y",
        "--allow-disk",
        text(&target),
    ];
    let more = [
        "--overlay-size",
        "300MiB",
        "--home-size",
        "16MiB",
        "--home-fs",
        "ext4",
    ];
    let mut at_work = AtWork::start(&bench, &[&args[..], &more].concat(), wrap);
    let planned = at_work.next().unwrap();
    let step = step(&planned, work);
    if work == "copy" {
        let before = planned["steps"][0]["bytes"].as_u64().unwrap();
        at_work.until(|event| {
            event["event"] == "progress"
                && event["step"] == step
                && event["done"].as_u64().unwrap() > before
        });
    } else {
        at_work.until(|event| event["event"] == "started" && event["step"] == step);
    }
    if group {
        kill_process_group(at_work.pid(), signal).unwrap();
    } else {
        kill_process(at_work.pid(), signal).unwrap();
    }
    let (last, code) = at_work.end();
    assert_eq!(code, Some(130), "{signal:?} in {work}: {last}");
    assert_eq!(last["event"], "failed", "{last}");
    assert_eq!(last["failure"]["exit"], "cancelled", "{last}");
    assert_eq!(last["failure"]["state"], "blank", "{last}");
    at_work.leaves_nothing(&bench, &target, false);
    judge_blank(&target);
}

#[test]
fn stopping_in_the_middle_leaves_a_blank_stick_and_no_processes() {
    if !root() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        stops(signal, "copy", false, true);
    }
    // On a terminal the whole group gets it, and a filesystem's maker must not take it for its own.
    stops(Signal::INT, "copy", true, true);
}

#[test]
fn stopping_while_a_filesystem_is_made_leaves_a_blank_stick_and_no_processes() {
    if !root() {
        return;
    }
    stops(Signal::INT, "format", false, true);
    stops(Signal::INT, "format", true, true);
    stops(Signal::TERM, "format", false, true);
    stops(Signal::INT, "format", true, false);
}

#[test]
fn stopping_while_reading_back_leaves_a_blank_stick() {
    if !root() {
        return;
    }
    stops(Signal::INT, "read-back", false, true);
}

#[test]
fn the_words_of_a_stop_are_one_line() {
    let bench = Bench::new();
    let image = iso("grub2", &["--size", "160"]);
    let target = bench.used("stick.img", 256);
    let mut command = livestick(&["write", text(&image), text(&target), "-y"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("write grub2")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("livestick: stopped as asked; {BLANK}\n"));
    judge_blank(&target);
}

// ---- a program that is killed

/// A small generator (Knuth, TAOCP 2, 3.3.4): the delays are the same in every run with the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn kill_rounds(rounds: u32, seed: u64, loops: bool) {
    let image = iso("grub2", &[]);
    let more = [
        "--overlay-size",
        "128MiB",
        "--home-size",
        "16MiB",
        "--home-fs",
        "ext4",
    ];
    let hide = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        NO_LOOPS,
        "sh",
    ];
    let wrap = if loops { &[][..] } else { &hide };
    let start = |bench: &mut Bench| {
        let backing = bench.used("stick.img", 200);
        let target = if loops {
            bench.attach(&backing, &[])
        } else {
            backing.clone()
        };
        let args = [
            "write",
            text(&image),
            text(&target),
            "-y",
            "--allow-disk",
            text(&target),
        ];
        let before = sha256(&backing, None);
        let at_work = AtWork::start(bench, &[&args[..], &more].concat(), wrap);
        (backing, target, before, at_work)
    };
    let mut bench = Bench::new();
    let (backing, _, _, mut at_work) = start(&mut bench);
    let began = Instant::now();
    let (last, code) = at_work.end();
    assert_eq!(code, Some(0), "{last}");
    judge_complete(&backing);
    let whole = u64::try_from(began.elapsed().as_micros()).unwrap();
    println!("seed {seed}, a whole write takes {whole} us");
    let mut dice = Dice(seed);
    let mut seen = [0; 3];
    for round in 0..rounds {
        let mut bench = Bench::new();
        let (backing, target, before, mut at_work) = start(&mut bench);
        // Spread over the whole time, and a little beyond.
        let share = whole * 11 / 10 / u64::from(rounds);
        let delay = share * u64::from(round) + dice.below(share.max(1));
        // Somebody reads what it says: a full pipe would stop it.
        let mut stdout = at_work.child.stdout.take().unwrap();
        let reader = thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        sleep(Duration::from_micros(delay));
        let _ = kill_process(at_work.pid(), Signal::KILL);
        at_work.child.wait().unwrap();
        reader.join().unwrap().unwrap();
        at_work.leaves_nothing(&bench, &target, true);
        let head = peek(&target, 0, 512);
        let state = if head[0] == 0x5A {
            assert_eq!(
                sha256(&backing, None),
                before,
                "round {round}: changed, but not begun"
            );
            0
        } else if head == [0; 512] {
            no_table(&target);
            1
        } else {
            judge_complete(&backing);
            2
        };
        seen[state] += 1;
        // Whatever it is, it can be written again at once.
        if round % 4 == 0 {
            let args = [
                "write",
                text(&image),
                text(&target),
                "-y",
                "--allow-disk",
                text(&target),
            ];
            let wrapped = [wrap, &[env!("CARGO_BIN_EXE_livestick")], &args, &more].concat();
            let mut command = support::program::command(wrapped[0]);
            command.args(&wrapped[1..]);
            let outcome = finish(command);
            assert_eq!(outcome.code, Some(0), "round {round}: {outcome:?}");
        }
    }
    println!("old {}, blank {}, complete {}", seen[0], seen[1], seen[2]);
    assert!(seen[1] > 0, "never killed in the middle: {seen:?}");
}

#[test]
fn a_kill_at_any_moment_leaves_a_disk_old_blank_or_complete() {
    if !root() {
        return;
    }
    kill_rounds(12, 20_260_917, true);
}

#[test]
fn a_kill_at_any_moment_leaves_a_stick_image_old_blank_or_complete() {
    if !root() {
        return;
    }
    kill_rounds(6, 42, false);
}

// ---- nobody listens

#[test]
fn a_write_goes_on_when_nobody_reads_its_words() {
    let image = iso("grub2", &[]);
    for json in [&[][..], &["--json"]] {
        let bench = Bench::new();
        let target = bench.used("stick.img", 64);
        let mut command = livestick(&["write", text(&image), text(&target), "-y"]);
        let mut child = command
            .args(json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let size = fs::metadata(&image).unwrap().len();
        assert_eq!(sha256(&target, Some(size)), sha256(&image, None));

        let target = bench.used("other.img", 64);
        let script = format!(
            "{{ {} write {} {} -y {}; echo $? >{}; }} | head -1",
            env!("CARGO_BIN_EXE_livestick"),
            text(&image),
            text(&target),
            json.join(" "),
            text(&bench.path("status"))
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        assert_eq!(finish(shell).code, Some(0));
        assert_eq!(fs::read_to_string(bench.path("status")).unwrap(), "0\n");
        assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
    }
    // Descriptors that are closed from the start.
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let mut shell = Command::new("sh");
    let words = format!(
        "{} write {} {} -y >&- 2>&-",
        env!("CARGO_BIN_EXE_livestick"),
        text(&image),
        text(&target)
    );
    shell.args(["-c", &words]);
    assert_eq!(finish(shell).code, Some(0));
    let size = fs::metadata(&image).unwrap().len();
    assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
}
