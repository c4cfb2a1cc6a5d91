// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks with a seed and a sprout as they are written, judged by the kernel, btrfs-progs, xorriso and cpio.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use support::grown::{SPROUT, Stick, link, nothing_left, verified};
use support::lab::{iso, livestick, scratch};
use support::program::{command, root, run, text};
use tempfile::TempDir;

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
