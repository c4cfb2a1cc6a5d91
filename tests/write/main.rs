// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks written by the program, judged from outside: by the partitioners, checkers and readers of others, by the
//! kernel, and byte by byte.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod events;
mod filesystems;
mod images;
mod menus;
mod partitions;
mod ranges;
mod rubbish;
#[path = "../support/mod.rs"]
mod support;
mod written;

use std::fs;

use filesystems::Maker;
use serde_json::Value;
use support::device::{Loop, Mounted};
use support::lab::{iso, livestick, scratch};
use support::program::{output, root, run, text};
use tempfile::TempDir;
use written::{Asked, Backing, number, write};

type Part = (&'static str, u64);
const BTRFS: Part = ("btrfs", 160);
const EXT4: Part = ("ext4", 64);
const XFS: Part = ("xfs", 304);

/// Those whose menus a loader reads on a stick, and whose tables take partitions.
const LAYOUTS: [&str; 5] = ["isolinux", "isolinux-mac", "grub2", "kiwi", "apm"];

/// A stick with overlay and home, and everything that must hold of it.
fn persistent(layout: &str, backing: Backing, overlay: Part, home: Part) {
    if !root() {
        return;
    }
    let asked = Asked {
        backing,
        ..Asked::persistent(layout, overlay, home)
    };
    let written = write(asked);
    ranges::judge(&written);
    partitions::judge(&written);
    menus::judge(&written, layout, &[]);
    filesystems::judge(&written, Maker::Root);
    if backing == Backing::New {
        partitions::golden(&written, layout);
    }
    if layout == "isolinux-mac" {
        // One slot is left in its MBR: both partitions are logical ones.
        let numbers: Vec<u32> = written.partitions().iter().map(|p| p.number).collect();
        assert_eq!(numbers, [5, 6]);
    }
}

macro_rules! persistent {
    ($($name:ident: $layout:literal on $backing:ident with $overlay:ident and $home:ident;)*) => {$(
        #[test]
        fn $name() {
            persistent($layout, Backing::$backing, $overlay, $home);
        }
    )*};
}

persistent! {
    isolinux_in_a_new_file: "isolinux" on New with BTRFS and EXT4;
    isolinux_in_a_used_file: "isolinux" on File with EXT4 and XFS;
    isolinux_on_a_used_device: "isolinux" on Device with XFS and BTRFS;
    isolinux_mac_in_a_new_file: "isolinux-mac" on New with XFS and EXT4;
    isolinux_mac_in_a_used_file: "isolinux-mac" on File with BTRFS and EXT4;
    isolinux_mac_on_a_used_device: "isolinux-mac" on Device with EXT4 and BTRFS;
    grub2_in_a_new_file: "grub2" on New with EXT4 and BTRFS;
    grub2_in_a_used_file: "grub2" on File with XFS and EXT4;
    grub2_on_a_used_device: "grub2" on Device with BTRFS and EXT4;
    kiwi_in_a_new_file: "kiwi" on New with BTRFS and BTRFS;
    kiwi_in_a_used_file: "kiwi" on File with EXT4 and EXT4;
    kiwi_on_a_used_device: "kiwi" on Device with EXT4 and XFS;
    apm_in_a_new_file: "apm" on New with XFS and BTRFS;
    apm_in_a_used_file: "apm" on File with EXT4 and BTRFS;
    apm_on_a_used_device: "apm" on Device with BTRFS and EXT4;
}

#[test]
fn a_plain_stick_is_the_image_and_nothing_else_is_touched() {
    for (layout, backing) in LAYOUTS.into_iter().zip([
        Backing::File,
        Backing::Device,
        Backing::Device,
        Backing::New,
        Backing::File,
    ]) {
        if backing == Backing::Device && !root() {
            continue;
        }
        let written = write(Asked {
            backing,
            ..Asked::plain(layout)
        });
        let size = written.image_size().to_string();
        run(
            "cmp",
            &["-n", &size, text(&written.image), text(&written.path)],
        );
        assert_eq!(written.plan()["patches"], serde_json::json!([]));
        assert_eq!(written.plan()["behind"], serde_json::json!([]));
        // Digests, the media check, and the rest of the target.
        ranges::judge(&written);
        // A new file is as long as asked and has nothing behind the image but the record.
        if backing == Backing::New {
            let mut rest = fs::read(&written.path).unwrap();
            let region = &written.plan()["record"]["region"];
            let from = usize::try_from(number(&region["at"])).unwrap();
            let len = usize::try_from(number(&region["len"])).unwrap();
            assert!(rest[from..].starts_with(b"LIVESTICK-RECORD"));
            rest[from..from + len].fill(0);
            let rest = &rest[usize::try_from(written.image_size()).unwrap()..];
            assert!(rest.iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn the_report_of_a_plain_stick_says_byte_for_byte() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let (path, report) = (dir.path().join("stick.img"), dir.path().join("report.txt"));
    let image = iso("grub2", &[]);
    let arguments = [
        "write",
        text(&image),
        text(&path),
        "--size",
        "32MiB",
        "--yes",
        "--report",
        text(&report),
    ];
    let out = livestick(&arguments);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{said}");
    // The report in a file says the same, as JSON where its name says so.
    assert!(said.ends_with(&fs::read_to_string(&report).unwrap()));
    let mut again = arguments;
    let json = dir.path().join("report.json");
    again[7] = text(&json);
    assert!(livestick(&again).status.success());
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(told["exit"], "verified");
    assert_eq!(told["task"], "write");
    for words in [
        "past the caches: verified",
        "identical to the image, byte for byte",
        "the media check is as published",
    ] {
        assert!(said.contains(words), "no '{words}' in {said}");
    }
}

#[test]
fn a_report_takes_the_place_of_nothing_that_matters() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let (path, link) = (dir.path().join("stick.img"), dir.path().join("link"));
    let image = iso("grub2", &[]);
    std::os::unix::fs::symlink(&image, &link).unwrap();
    let before = run("sha256sum", &[text(&image)]);
    for report in [text(&image), text(&link), text(&path), "/dev/null", "/tmp"] {
        let args = ["write", text(&image), text(&path), "--size", "32MiB"];
        let out = livestick(&[&args[..], &["--yes", "--report", report]].concat());
        assert_eq!(out.status.code(), Some(2), "{report}");
        assert!(!path.exists());
    }
    assert_eq!(run("sha256sum", &[text(&image)]), before);
}

#[test]
fn extra_arguments_reach_every_live_entry_and_make_no_partitions() {
    let extra = ["console=ttyS0,115200", "lab.word"];
    for layout in LAYOUTS {
        let written = write(Asked {
            more: &["--extra-kernel-args", "console=ttyS0,115200  lab.word"],
            ..Asked::plain(layout)
        });
        ranges::judge(&written);
        menus::judge(&written, layout, &extra);
        assert!(written.partitions().is_empty());
        let table = |path| run("sfdisk", &["-J", text(path)]).replace(text(path), "");
        assert_eq!(table(&written.path), table(&written.image));
    }
}

#[test]
fn extra_arguments_reach_the_entry_without_persistence_too() {
    let written = write(Asked {
        more: &["--extra-kernel-args", "lab.word"],
        ..Asked::persistent("grub2", EXT4, EXT4)
    });
    ranges::judge(&written);
    menus::judge(&written, "grub2", &["lab.word"]);
}

#[test]
fn an_ordinary_user_writes_files_that_belong_to_root() {
    if !root() {
        return;
    }
    for (layout, part) in [("grub2", BTRFS), ("kiwi", EXT4), ("isolinux", XFS)] {
        let written = write(Asked {
            ordinary: true,
            backing: Backing::File,
            ..Asked::persistent(layout, part, part)
        });
        ranges::judge(&written);
        partitions::judge(&written);
        menus::judge(&written, layout, &[]);
        filesystems::judge(&written, Maker::Ordinary);
        let notes = written.plan()["notes"].to_string();
        for purpose in ["overlay", "home"] {
            let labels =
                format!("the SELinux labels of what is made in the {purpose} are left out");
            assert!(notes.contains(&labels), "{notes}");
            let plain = format!("what is written to the {purpose} is not compressed");
            assert_eq!(notes.contains(&plain), part == BTRFS, "{notes}");
        }
    }
}

#[test]
fn menus_without_room_are_tightened_or_moved() {
    for layout in ["grub2", "kiwi", "isolinux"] {
        for (options, moves) in [
            (&["--slack", "0"][..], false),
            (&["--slack", "0", "--incompressible"], true),
        ] {
            let written = write(Asked {
                options,
                ..Asked::persistent(layout, EXT4, EXT4)
            });
            ranges::judge(&written);
            menus::judge(&written, layout, &[]);
            if root() {
                partitions::judge(&written);
            }
            let file = &written.plan()["boot"]["files"][0];
            assert_eq!(!file["moved_to"].is_null(), moves, "{file}");
            assert_eq!(file["gave_up"] != serde_json::json!([]), !moves, "{file}");
            images::judge_places(&written);
        }
    }
}

#[test]
fn what_inspect_tells_is_what_others_find() {
    for layout in LAYOUTS {
        images::judge_facts(&iso(layout, &[]));
    }
    for kind in [
        "squashfs",
        "squashfs-ext4",
        "squashfs-btrfs",
        "erofs",
        "ext4",
        "btrfs",
    ] {
        images::judge_root(&iso("grub2", &["--rootfs", kind]), kind);
    }
}

#[test]
fn a_refusal_is_one_object_and_nothing_is_written() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = dir.path().join("stick.img");
    let image = iso("grub2", &[]);
    for (more, exit, why) in [
        (&["--size", "4MiB"][..], 3, "larger stick"),
        (&[], 3, "--size"),
        (&["--size", "64MiB", "--overlay-size-mb", "4096"], 3, ""),
        (
            &["--size", "64MiB", "--overlay-fs", "ext4"],
            2,
            "--overlay-size",
        ),
    ] {
        let out = livestick(
            &[
                &["write", text(&image), text(&path), "--json", "--yes"],
                more,
            ]
            .concat(),
        );
        assert_eq!(out.status.code(), Some(exit), "{more:?}");
        let event: Value = serde_json::from_slice(&out.stdout).expect("one object");
        assert_eq!(
            (&event["version"], &event["event"]),
            (&1.into(), &"failed".into())
        );
        assert_eq!(event["failure"]["state"], "untouched");
        let message = event["failure"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert!(!path.exists());
    }
}

#[test]
fn list_tells_loop_devices_when_asked_and_why_a_mounted_one_is_none() {
    if !root() {
        return;
    }
    let dir = TempDir::new_in(scratch()).unwrap();
    let file = dir.path().join("disk.img");
    fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
    run("mkfs.ext4", &["-q", text(&file)]);
    let device = Loop::over(&file);
    let node = text(&device.node);
    let listed = |options: &[&str]| -> Option<Value> {
        let out = livestick(&[&["list", "--json"], options].concat());
        assert!(out.status.success());
        let all: Value = serde_json::from_slice(&out.stdout).expect("one object");
        assert_eq!(all["version"], 1);
        let disks = all["disks"].as_array().unwrap();
        disks.iter().find(|disk| disk["path"] == node).cloned()
    };
    assert_eq!(listed(&[]), None);
    let free = listed(&["--loops"]).unwrap();
    assert_eq!(
        (&free["standing"], &free["size"]),
        (&"needs-allow".into(), &(64 << 20).into())
    );
    assert_eq!(free["backing"], text(&file));
    let mounted = Mounted::new(node, &[]);
    let point = text(mounted.path());
    let used = listed(&["--loops"]).unwrap();
    assert_eq!(used["standing"], "never");
    assert_eq!(
        used["reasons"][0],
        serde_json::json!({ "reason": "holds", "point": point })
    );
    let said = livestick(&["list", "--loops"]).stdout;
    let said = String::from_utf8(said).unwrap();
    let mut lines = said
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{node} ")));
    let why = format!("cannot be written: holds {point}");
    assert!(lines.nth(1).unwrap().contains(&why), "{said}");
    // Nothing is written to it either.
    let image = iso("grub2", &[]);
    let out = output(
        env!("CARGO_BIN_EXE_livestick"),
        &["write", text(&image), node, "--allow-disk", node, "--yes"],
    );
    assert_eq!(out.status.code(), Some(3));
}
