// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks with a seed and a sprout, judged by the kernel, btrfs-progs, xorriso and cpio.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use livestick::record::place;
use livestick::table::{Kind, Table};
use livestick::units::Extent;
use support::device::patiently;
use support::lab::{iso, livestick, scratch};
use support::program::{command, root, run, text, unshared};
use tempfile::TempDir;

const SPROUT: [&str; 4] = ["--persistence", "sprout", "--overlay-size-mb", "256"];

struct Stick {
    dir: TempDir,
    path: PathBuf,
    image: PathBuf,
}

impl Stick {
    fn write(layout: &str, options: &[&str], more: &[&str]) -> (Stick, String) {
        let dir = TempDir::new_in(scratch()).unwrap();
        let (path, image) = (dir.path().join("stick.img"), iso(layout, options));
        let all = [
            &[
                "write",
                text(&image),
                text(&path),
                "--size",
                "640MiB",
                "--yes",
            ],
            &SPROUT[..],
            more,
        ];
        let out = livestick(&all.concat());
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}{err}");
        (Stick { dir, path, image }, said)
    }

    /// The new partitions but the record's, in the order of the medium.
    fn parts(&self) -> Vec<Extent> {
        let table = |path: &Path| Table::read(&fs::read(path).unwrap()).unwrap();
        let old = table(&self.image).partitions.len();
        let records = [Kind::Gpt(place::GPT_TYPE), Kind::Mbr(place::MBR_TYPE)];
        let mut parts: Vec<Extent> = table(&self.path).partitions[old..]
            .iter()
            .filter(|partition| !records.contains(&partition.kind))
            .map(|partition| partition.extent)
            .filter(|extent| extent.at.0 > fs::metadata(&self.image).unwrap().len())
            .collect();
        parts.sort();
        parts
    }

    /// Runs a script with the seed and the sprout attached as `$seed` and `$sprout`, in a mount namespace of its own.
    fn judge(&self, script: &str) -> String {
        let parts = self.parts();
        let attach = |name: &str, extent: &Extent| {
            format!(
                "{name}=$(losetup -f --show --offset {} --sizelimit {} stick.img)\n",
                extent.at, extent.len
            )
        };
        let script = format!(
            "set -e\nmkdir -p mnt\n{}{}trap 'umount -q mnt || :; losetup -d $seed $sprout' EXIT\n{script}",
            attach("seed", &parts[0]),
            attach("sprout", &parts[1]),
        );
        unshared(&script, self.dir.path())
    }

    fn file(&self, path: &str) -> Vec<u8> {
        let to = self.dir.path().join("out");
        let _ = fs::remove_file(&to);
        run(
            "xorriso",
            &[
                "-indev",
                text(&self.path),
                "-osirrox",
                "on",
                "-extract",
                path,
                text(&to),
            ],
        );
        fs::read(to).unwrap()
    }
}

/// The file whose place the initrd takes, and the menu of BIOS.
fn places(layout: &str) -> (&'static str, &'static str) {
    match layout {
        "isolinux" => ("/EFI/BOOT/BOOT.conf", "/isolinux/isolinux.cfg"),
        "kiwi" => ("/boot/grub2/loopback.cfg", "/boot/grub2/grub.cfg"),
        _ => ("/EFI/BOOT/BOOT.conf", "/boot/grub2/grub.cfg"),
    }
}

fn whole(layout: &str, more: &[&str]) {
    if !root() {
        return;
    }
    let (stick, said) = Stick::write(layout, &[], more);
    assert!(said.contains("files compared with the image's"), "{said}");
    let partition = more.iter().any(|word| word.starts_with("--home"));
    assert_eq!(stick.parts().len(), if partition { 3 } else { 2 });
    let said = stick.judge(
        "btrfs check --readonly --check-data-csum $seed 2>&1
         btrfs inspect-internal dump-super $seed | grep -E 'SEEDING|csum_type|num_devices'
         echo label=$(blkid -p -s LABEL -o value $sprout) seed=$(blkid -p -s UUID -o value $seed)
         mount -o device=$seed,subvol=@ $sprout mnt
         cat mnt/etc/udev/rules.d/65-livestick-sprout.rules mnt/etc/systemd/system/home.mount
         rm -rf mnt/usr; umount mnt
         mount -o device=$seed,subvol=@image $sprout mnt
         test -d mnt/usr; umount mnt",
    );
    assert!(said.contains("no error found"), "{said}");
    assert!(said.contains("SEEDING"), "{said}");
    let word = |name: &str| {
        let found = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name));
        found.unwrap_or_default().to_owned()
    };
    let (label, seed) = (word("label="), word("seed="));
    assert!(label.starts_with("sprout-") && seed.len() == 36, "{said}");
    let rule = format!("ENV{{ID_FS_LABEL}}==\"{label}\"");
    assert!(
        said.contains(&rule) && said.contains(&format!("by-uuid/{seed}")),
        "{said}"
    );
    let home = if more.is_empty() {
        "subvol=@home"
    } else {
        "/dev/disk/by-uuid/"
    };
    assert!(said.contains(home), "{said}");

    // What the loaders read.
    let (initrd, menu) = places(layout);
    let archive = stick.dir.path().join("initrd");
    fs::write(&archive, stick.file(initrd)).unwrap();
    let mut cpio = command("cpio");
    cpio.args(["-i", "--quiet", "--to-stdout"])
        .stdin(fs::File::open(&archive).unwrap());
    let unpacked = String::from_utf8(cpio.output().unwrap().stdout).unwrap();
    assert!(unpacked.contains(&rule), "{unpacked}");
    let menu = String::from_utf8(stick.file(menu)).unwrap();
    assert!(menu.contains(&format!("root=LABEL={label}")), "{menu}");
    assert!(menu.contains(initrd), "{menu}");
    assert!(menu.contains("root=live:CDLABEL="), "{menu}");
    run("checkisomd5", &[text(&stick.path)]);
    nothing_left(&stick.path);
}

/// What scans for filesystems may hold a loop device open for a moment; it goes when the last one closes it.
fn nothing_left(stick: &Path) {
    let held = || run("losetup", &["-a"]).contains(text(stick));
    assert!(patiently(|| !held()), "{}", run("losetup", &["-a"]));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("sprout-"), "{mounts}");
}

#[test]
fn isolinux() {
    whole("isolinux", &[]);
}

#[test]
fn grub2_with_a_home_partition() {
    whole("grub2", &["--home-size-mb", "64", "--home-fs", "ext4"]);
}

#[test]
fn kiwi() {
    whole("kiwi", &["--csum", "sha256"]);
}

/// Refused with these words, and no file made.
fn refused(options: &[&str], arguments: &[&str], words: &str) {
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = dir.path().join("stick.img");
    let image = iso("grub2", options);
    let all = [&["write", text(&image), text(&path), "--yes"], arguments];
    let out = livestick(&all.concat());
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && err.contains(words), "{err}");
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_is_refused() {
    if !root() {
        return;
    }
    let size = ["--size", "640MiB"];
    let with = |more: &[&'static str]| [&size[..], &SPROUT[..], more].concat();
    refused(
        &["--drivers", "erofs ext4 overlay squashfs"],
        &with(&[]),
        "lacks a btrfs driver",
    );
    refused(&[], &with(&["--overlay-fs", "ext4"]), "always btrfs");
    let sprout = ["--persistence", "sprout", "--overlay-size-mb"];
    refused(
        &[],
        &[&size[..], &sprout, &["100"]].concat(),
        "ask for at least 256.0 MiB",
    );
    let small = [&["--size", "300MiB"][..], &sprout, &["256"]].concat();
    refused(&[], &small, "behind the image");
    refused(
        &[],
        &[&size[..], &sprout[..2]].concat(),
        "--overlay-size-mb",
    );
}

#[test]
fn a_kill_at_any_moment_leaves_a_blank_stick_and_nothing_behind() {
    if !root() {
        return;
    }
    let image = iso("grub2", &["--size", "48"]);
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = dir.path().join("stick.img");
    let program = env!("CARGO_BIN_EXE_livestick");
    let mut complete = 0;
    for round in 0..12 {
        let _ = fs::remove_file(&path);
        let mut child = Command::new(program)
            .args([
                "write",
                text(&image),
                text(&path),
                "--size",
                "640MiB",
                "--yes",
            ])
            .args(SPROUT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(150 + round * 300));
        child.kill().unwrap();
        let done = child.wait().unwrap().success();
        complete += u32::from(done);
        // The kernel ends what the program had started, and lets go of its loop devices and mounts.
        nothing_left(&path);
        if !done && path.exists() {
            let head = fs::read(&path).unwrap();
            assert!(
                head.iter().take(1 << 20).all(|byte| *byte == 0),
                "round {round}"
            );
        }
    }
    println!("{complete} of 12 came to their end");
}

/// The report of `livestick verify` as JSON, and its exit status.
fn verified(stick: &Stick) -> (i32, serde_json::Value) {
    let report = stick.dir.path().join("verify.json");
    let out = livestick(&["verify", text(&stick.path), "--report", text(&report)]);
    let report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    (out.status.code().unwrap(), report)
}

/// A link of a report: how far it holds, and everything it says.
fn link(report: &serde_json::Value, name: &str) -> (String, String) {
    let links = report["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["name"] == name).unwrap();
    let said = format!("{} {}", link["result"], link["how"]);
    (link["holds"].as_str().unwrap().into(), said)
}

#[test]
fn a_flipped_byte_of_the_seed_is_named_and_one_of_the_sprout_too() {
    if !root() {
        return;
    }
    let (stick, said) = Stick::write("grub2", &[], &["--home-size-mb", "64", "--home-fs", "ext4"]);
    assert!(said.contains("every read of / is compared"), "{said}");
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");
    let record: serde_json::Value =
        serde_json::from_str(&run(reader, &["--check", text(&stick.path)])).unwrap();
    let record = &record["record"];
    let purposes = record["partitions"].as_array().unwrap().iter();
    let purposes: Vec<&str> = purposes
        .map(|part| part["purpose"].as_str().unwrap())
        .collect();
    assert_eq!(purposes, ["seed", "sprout", "home"]);
    let label = &record["making"]["sprout"]["sprout"]["label"];
    assert!(label.as_str().unwrap().starts_with("sprout-"), "{record}");

    // As after a start: something is changed.
    let place = stick.judge(
        "mount -o device=$seed,subvol=@ $sprout mnt
         rm mnt/etc/os-release; head -c 3000000 /dev/urandom >mnt/usr/new; sync
         filefrag -v mnt/usr/new | sed -n 's/^ *0: *[0-9]*\\.\\. *[0-9]*: *\\([0-9]*\\)\\.\\..*/new \\1/p'
         umount mnt
         btrfs check --readonly $sprout >/dev/null 2>&1
         mount -o ro $seed mnt
         file=$(find mnt/@image -type f -size +64k | head -1)
         filefrag -v $file | sed -n 's/^ *0: *[0-9]*\\.\\. *[0-9]*: *\\([0-9]*\\)\\.\\..*/old \\1/p'
         echo file ${file#mnt/@image}
         umount mnt
         btrfs inspect-internal dump-tree -t chunk $sprout | sed -n '/CHUNK_ITEM/{s/.*CHUNK_ITEM \\([0-9]*\\)).*/chunk \\1/p}; s/.*length \\([0-9]*\\) owner.*/length \\1/p; s/.*stripe [0-9]* devid \\([0-9]*\\) offset \\([0-9]*\\)/stripe \\1 \\2/p'",
    );
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");
    for name in ["seed", "sprout"] {
        let (holds, said) = link(&report, name);
        assert_eq!(holds, "proven", "{report}");
        assert!(said.contains("at every read"), "{said}");
    }

    let word = |name: &str| {
        let mut lines = place.lines().filter_map(|line| line.strip_prefix(name));
        lines
            .next()
            .unwrap_or_else(|| panic!("{name}: {place}"))
            .trim()
            .to_owned()
    };
    let logical = |name: &str| word(name).parse::<u64>().unwrap() * 4096;
    let parts = stick.parts();
    flip(
        &stick.path,
        parts[0].at.0 + physical(&place, logical("old "), 1) + 50,
    );
    let (status, report) = verified(&stick);
    assert_eq!(status, 6, "{report}");
    let (holds, said) = link(&report, "seed");
    let file = word("file ");
    assert!(holds == "broken" && said.contains(&file), "{file}: {said}");
    assert_eq!(link(&report, "sprout").0, "proven", "{report}");

    flip(
        &stick.path,
        parts[1].at.0 + physical(&place, logical("new "), 2) + 50,
    );
    let (status, report) = verified(&stick);
    assert_eq!(status, 6);
    let (holds, said) = link(&report, "sprout");
    assert!(holds == "broken" && said.contains("/usr/new"), "{said}");
    assert_eq!(link(&report, "home").0, "proven", "{report}");
    nothing_left(&stick.path);
}

/// Where a place of a btrfs is on its device, by what dump-tree told of the chunks.
fn physical(told: &str, logical: u64, device: u64) -> u64 {
    let mut chunk = (0, 0);
    for line in told.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "chunk" => chunk.0 = number(1),
            "length" => chunk.1 = number(1),
            "stripe" if (chunk.0..chunk.0 + chunk.1).contains(&logical) => {
                assert_eq!(number(1), device, "{told}");
                return number(2) + (logical - chunk.0);
            }
            _ => {}
        }
    }
    panic!("{logical} is in no chunk: {told}");
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_btrfs_root_gets_a_sprout_by_itself_and_others_an_overlay() {
    if !root() {
        return;
    }
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = dir.path().join("stick.img");
    for (options, persistence, sprout) in [
        (&["--rootfs", "btrfs"][..], "", true),
        (&["--rootfs", "btrfs"], "overlay", false),
        (&[], "", false),
    ] {
        let image = iso("grub2", options);
        let mut all = vec![
            "write",
            text(&image),
            text(&path),
            "--size",
            "1GiB",
            "--dry-run",
        ];
        all.extend(["--json", "--overlay-size-mb", "256"]);
        if !persistence.is_empty() {
            all.extend(["--persistence", persistence]);
        }
        let out = livestick(&all);
        let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let made = plan["sprout"].is_object();
        assert_eq!(made, sprout, "{options:?} {persistence}: {plan}");
    }
    let out = livestick(&[
        "write",
        "a.iso",
        text(&path),
        "--persistence",
        "none",
        "--overlay-size-mb",
        "9",
    ]);
    assert_eq!(out.status.code(), Some(2));
}

/// Runs `livestick` with these words and the stick, which has to succeed.
fn done(stick: &Stick, words: &[&str]) -> String {
    let all = [&words[..1], &[text(&stick.path), "--yes"], &words[1..]].concat();
    let out = livestick(&all);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {said}{err}");
    nothing_left(&stick.path);
    said
}

/// Refused, with these words, and not a byte of the stick changed.
fn not_done(stick: &Stick, words: &[&str], why: &str) {
    let before = fs::read(&stick.path).unwrap();
    let all = [&words[..1], &[text(&stick.path), "--yes"], &words[1..]].concat();
    let out = livestick(&all);
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{words:?}: {err}");
    assert!(err.contains(why), "{words:?}: {err}");
    assert!(fs::read(&stick.path).unwrap() == before, "{words:?} wrote");
}

/// What a system that ran from the stick could have left behind.
const CHANGE: &str = "mount -o device=$seed $sprout mnt
    rm mnt/@/etc/os-release; head -c 3000000 /dev/urandom >mnt/@/usr/new
    btrfs -q subvolume create mnt/@/var/machines; btrfs -q subvolume create mnt/@/var/machines/one
    echo mine >mnt/@/var/machines/one/file; echo mine >mnt/@home/mine; umount mnt";
/// Whether it is gone, but for people's files.
const AS_NEW: &str = "mount -o device=$seed $sprout mnt
    test -e mnt/@/etc/os-release; test ! -e mnt/@/usr/new; test ! -e mnt/@/var/machines
    test -f mnt/@/etc/udev/rules.d/65-livestick-sprout.rules
    test -L mnt/@/etc/systemd/system/local-fs.target.wants/home.mount
    diff -r --no-dereference -x 65-livestick-sprout.rules -x home.mount mnt/@ mnt/@image >diff || :
    ! grep -v '^Only in mnt/@.*: \\(udev\\|rules.d\\|systemd\\|system\\|local-fs.target.wants\\)$' diff
    btrfs subvolume list mnt; ls mnt/@home; umount mnt";

#[test]
fn reset_puts_the_first_day_back_and_detach_needs_no_seed() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    stick.judge(CHANGE);
    let plan = done(&stick, &["reset", "--dry-run"]);
    assert!(plan.contains("stays      /home, in the sprout"), "{plan}");
    done(&stick, &["reset"]);
    let said = stick.judge(AS_NEW);
    assert!(said.contains("mine"), "{said}");
    assert_eq!(said.matches("path @").count(), 3, "{said}");
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");

    // With /home the sprout is grown anew, and the record tells its new name.
    stick.judge(CHANGE);
    let said = done(&stick, &["reset", "--home"]);
    assert!(said.contains("sprout"), "{said}");
    assert!(!stick.judge(AS_NEW).contains("mine"));
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");
    let (_, said) = link(&report, "sprout");
    assert!(!said.contains("made anew since"), "{said}");

    // In use.
    let part = stick.parts()[1];
    let held = run(
        "losetup",
        &[
            "-f",
            "--show",
            "-o",
            &part.at.to_string(),
            text(&stick.path),
        ],
    );
    for words in [&["reset"][..], &["detach"]] {
        not_done(&stick, words, held.trim().trim_start_matches("/dev/"));
    }
    run("losetup", &["-d", held.trim()]);

    let said = done(&stick, &["detach"]);
    assert!(
        said.contains("nothing that starts needs it any more"),
        "{said}"
    );
    // The seed's partition is wiped, and everything is there.
    let seed = stick.parts()[0];
    let before = fs::read(&stick.path).unwrap();
    let file = fs::File::options().write(true).open(&stick.path).unwrap();
    file.write_all_at(&vec![0; seed.len.index().unwrap()], seed.at.0)
        .unwrap();
    let alone = "btrfs check --readonly --check-data-csum $sprout >/dev/null 2>&1
        mount -o subvol=@ $sprout mnt; find mnt -type f -exec cat {} + | wc -c; test -f mnt/etc/os-release; umount mnt";
    stick.judge(alone);
    file.write_all_at(
        &before[seed.at.index().unwrap()..][..seed.len.index().unwrap()],
        seed.at.0,
    )
    .unwrap();
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");
    not_done(&stick, &["detach"], "needs no seed any more");
    stick.judge(&CHANGE.replace("-o device=$seed ", ""));
    done(&stick, &["reset", "--home"]);
    let said = stick.judge(&AS_NEW.replace("-o device=$seed ", ""));
    assert!(!said.contains("mine"), "{said}");
}

#[test]
fn reset_makes_an_overlay_anew_and_leaves_home() {
    if !root() {
        return;
    }
    let dir = TempDir::new_in(scratch()).unwrap();
    for (fs_kind, home) in [("ext4", "btrfs"), ("btrfs", "ext4")] {
        let (path, image) = (dir.path().join("stick.img"), iso("grub2", &[]));
        let _ = fs::remove_file(&path);
        let words = [
            "write",
            text(&image),
            text(&path),
            "--size",
            "640MiB",
            "--yes",
        ];
        let more = [
            "--overlay-size-mb",
            "128",
            "--overlay-fs",
            fs_kind,
            "--home-size-mb",
            "128",
            "--home-fs",
            home,
        ];
        assert!(livestick(&[&words[..], &more].concat()).status.success());
        let stick = Stick {
            dir: TempDir::new_in(scratch()).unwrap(),
            path: path.clone(),
            image,
        };
        let parts = stick.parts();
        let both = |script: &str| {
            let mount = |name: &str, extent: &Extent| {
                format!(
                    "d=$(losetup -f --show -o {} --sizelimit {} {}); all=\"$all $d\"; mkdir -p {name}; mount $d {name}\n",
                    extent.at,
                    extent.len,
                    text(&path)
                )
            };
            let script = format!(
                "set -e; all=; trap 'umount upper home || :; losetup -d $all' EXIT\n{}{}{script}",
                mount("upper", &parts[0]),
                mount("home", &parts[1])
            );
            let mut unshare = command("unshare");
            unshare
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg(script)
                .current_dir(dir.path());
            let out = unshare.output().unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            String::from_utf8(out.stdout).unwrap()
        };
        let list = "find upper -printf '%P %m %U %y\\n' | sort; blkid -p -o export $d | grep UUID=";
        let first = both(list);
        let junk =
            "f=$(find upper -name 'overlay-*' | head -1); echo x >$f/junk; echo mine >home/mine";
        both(junk);
        done(&stick, &["reset"]);
        assert_eq!(both(list), first);
        assert_eq!(both("cat home/mine"), "mine\n");
        let (status, report) = verified(&stick);
        assert_eq!(status, 0, "{report}");
        done(&stick, &["reset", "--home"]);
        assert_eq!(both("ls home | grep mine || :"), "");
        assert_eq!(verified(&stick).0, 0);
        not_done(&stick, &["detach"], "no sprout");
    }
    // Nothing is kept, or nobody tells.
    let path = dir.path().join("plain.img");
    let image = iso("grub2", &[]);
    let words = [
        "write",
        text(&image),
        text(&path),
        "--size",
        "64MiB",
        "--yes",
    ];
    assert!(livestick(&words).status.success());
    let stick = Stick {
        dir: TempDir::new_in(scratch()).unwrap(),
        path,
        image,
    };
    not_done(&stick, &["reset"], "plain image");
    fs::write(&stick.path, fs::read(&stick.image).unwrap()).unwrap();
    not_done(&stick, &["reset"], "no record");
}

#[test]
fn a_reset_that_is_killed_leaves_a_root_and_nothing_behind() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &["--size", "48"], &[]);
    stick.judge(CHANGE);
    let program = env!("CARGO_BIN_EXE_livestick");
    for round in 0..8 {
        let mut child = Command::new(program)
            .args(["reset", text(&stick.path), "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(40 + round * 90));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_left(&stick.path);
        stick.judge("mount -o device=$seed,subvol=@ $sprout mnt; test -d mnt/usr; umount mnt");
    }
    done(&stick, &["reset"]);
    let said = stick.judge(AS_NEW);
    assert!(said.contains("mine"), "{said}");
    assert_eq!(said.matches("path @").count(), 3, "{said}");
}

/// Nothing mixes them up: each has a seed of its own name, and grows from that.
#[test]
fn two_sticks_of_one_image_are_two() {
    if !root() {
        return;
    }
    let (one, _) = Stick::write("grub2", &[], &[]);
    let (two, _) = Stick::write("grub2", &[], &[]);
    let names = "for d in $seed $sprout; do blkid -p -s UUID -o value $d; blkid -p -s LABEL -o value $d; done";
    let mut all: Vec<String> = [&one, &two]
        .iter()
        .flat_map(|stick| {
            stick
                .judge(names)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(all.len(), 8);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8, "{all:?}");
    // Both mounted at once, while the seed of the other one is damaged.
    let seed = two.parts()[0];
    let damage = vec![0x5a; 4 << 20];
    let file = fs::File::options().write(true).open(&two.path).unwrap();
    let intact = fs::read(&two.path).unwrap();
    let held = run(
        "losetup",
        &[
            "-f",
            "--show",
            "-r",
            "-o",
            &seed.at.to_string(),
            text(&two.path),
        ],
    );
    run("btrfs", &["device", "scan", held.trim()]);
    file.write_all_at(&damage, seed.at.0 + (20 << 20)).unwrap();
    assert_eq!(verified(&one).0, 0);
    one.judge("mount -o device=$seed,subvol=@ $sprout mnt; cat mnt/etc/os-release; echo one >mnt/one; umount mnt");
    run("btrfs", &["device", "scan", "--forget", held.trim()]);
    run("losetup", &["-d", held.trim()]);
    assert_eq!(verified(&two).0, 6);
    fs::write(&two.path, intact).unwrap();
    assert_eq!(verified(&two).0, 0);
    two.judge("mount -o device=$seed,subvol=@ $sprout mnt; test ! -e mnt/one; umount mnt");
}
