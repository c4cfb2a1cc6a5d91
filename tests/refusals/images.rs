// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images that cannot be written, or not with persistence.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::bench::{Bench, ask, peek, sha256};
use crate::support::lab::iso;
use crate::support::program::{run, text};
use crate::{MODULES, plans, refuses_image};

#[test]
fn what_is_no_iso_image_is_refused() {
    let bench = Bench::new();
    let (empty, words, fifo) = (bench.path("empty"), bench.path("words"), bench.path("fifo"));
    fs::write(&empty, "").unwrap();
    fs::write(&words, "not an image\n".repeat(10_000)).unwrap();
    run("mkfifo", &[text(&fifo)]);
    refuses_image(3, &empty, &[], &["is not an ISO image"]);
    refuses_image(
        3,
        &words,
        &[],
        &["is not an ISO image", "volume descriptor at byte 32768"],
    );
    refuses_image(3, bench.dir.path(), &[], &["is not a regular file"]);
    refuses_image(3, &bench.path("missing.iso"), &[], &["No such file"]);
    // Opening it would wait for a writer.
    refuses_image(3, &fifo, &[], &["is not a regular file"]);
    refuses_image(3, Path::new("/dev/zero"), &[], &["is not a regular file"]);
}

#[test]
fn an_image_that_starts_from_a_disc_only_is_refused() {
    refuses_image(3, &iso("plain", &[]), &[], &["no isohybrid boot record"]);
}

#[test]
fn a_truncated_image_is_damaged() {
    let bench = Bench::new();
    for layout in ["grub2", "isolinux", "kiwi"] {
        let image = iso(layout, &[]);
        // The volume, that is: kiwi's files end with 48 KiB that belong to nothing (ECMA-119, 8.4.8).
        let blocks = peek(&image, 32768 + 80, 4);
        let whole = u64::from(u32::from_le_bytes(blocks.try_into().unwrap())) * 2048;
        for len in [whole - 1, whole - 2048, whole / 2, 100_000] {
            let cut = bench.copy(&image, "cut.iso");
            fs::File::options()
                .write(true)
                .open(&cut)
                .unwrap()
                .set_len(len)
                .unwrap();
            refuses_image(4, &cut, &[], &["download it again"]);
            refuses_image(4, &cut, &["--overlay-size", "rest"], &["download it again"]);
        }
    }
}

#[test]
fn another_live_system_gets_no_persistence_but_is_written() {
    let live = iso("debian-live", &[]);
    let next = "leave out the overlay and home options";
    for more in [["--overlay-size", "1GiB"], ["--home-size", "1GiB"]] {
        refuses_image(3, &live, &more, &["Debian live-boot", next]);
    }
    let bench = Bench::new();
    let target = bench.used("stick.img", 32);
    let outcome = ask(&["write", text(&live), text(&target), "--yes"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let size = fs::metadata(&live).unwrap().len();
    assert_eq!(sha256(&target, Some(size)), sha256(&live, None));

    let kiwi = MODULES.replace("dmsquash-live", "kiwi-live");
    let kiwi = iso("kiwi", &["--modules", &kiwi]);
    refuses_image(3, &kiwi, &["--overlay-size", "1GiB"], &["kiwi-live", next]);
}

#[test]
fn an_initrd_that_cannot_mount_it_gets_no_overlay() {
    let none = iso("grub2", &["--drivers", "erofs overlay squashfs"]);
    let overlay = ["--overlay-size", "1GiB"];
    refuses_image(
        3,
        &none,
        &overlay,
        &[
            "no driver of btrfs, ext4 or xfs",
            "write the image as it is",
        ],
    );
    let ext4 = iso("grub2", &["--drivers", "erofs ext4 overlay squashfs"]);
    let xfs = ["--overlay-size", "1GiB", "--overlay-fs", "xfs"];
    refuses_image(3, &ext4, &xfs, &["no xfs driver", "choose one of ext4"]);
    assert_eq!(plans(&ext4, &overlay)["filesystems"][0]["kind"], "ext4");
    let built_in = ["--drivers", "erofs overlay squashfs", "--builtin", "xfs"];
    let built_in = iso("grub2", &built_in);
    assert_eq!(plans(&built_in, &overlay)["filesystems"][0]["kind"], "xfs");

    let without = MODULES.replace("dmsquash-live", "");
    let without = iso("grub2", &["--modules", &without]);
    // The list of modules is not all: the script itself lies in this initrd.
    let plan = plans(&without, &overlay);
    assert!(
        plan["boot"]["arguments"][0]
            .as_str()
            .unwrap()
            .contains("overlay=UUID=")
    );
}

#[test]
fn an_initrd_with_autooverlay_is_told_a_label() {
    let modules = format!("{MODULES} dmsquash-live-autooverlay");
    let overlay = ["--overlay-size", "1GiB"];
    let plan = plans(&iso("grub2", &["--modules", &modules]), &overlay);
    let label = plan["filesystems"][0]["label"].as_str().unwrap();
    let argument = format!("rd.live.overlay=LABEL={label}");
    assert_eq!(plan["boot"]["arguments"][0], json!(argument));

    let blank = ["--modules", &modules, "--label", "Lab WS Live 42"];
    let blank = iso("grub2", &blank);
    refuses_image(
        3,
        &blank,
        &overlay,
        &["'Lab WS Live 42'", "characters that it cannot handle"],
    );
}

#[test]
fn home_alone_takes_a_system_that_can_be_told_of_it() {
    let home = ["--home-size", "1GiB"];
    let old = iso("isolinux", &["--systemd", "252"]);
    refuses_image(3, &old, &home, &["systemd 252", "add --overlay-size-mb"]);
    let plan = plans(&old, &["--home-size", "1GiB", "--overlay-size-mb", "512"]);
    assert_eq!(plan["filesystems"][1]["purpose"], "home");
    let plan = plans(&iso("grub2", &["--systemd", "257"]), &home);
    let uuid = plan["filesystems"][0]["uuid"].as_str().unwrap();
    let argument = format!(
        "systemd.mount-extra=UUID={uuid}:/home:btrfs:nofail,x-systemd.before=local-fs.target"
    );
    assert_eq!(plan["boot"]["arguments"], json!([argument]));
}

#[test]
fn without_a_live_entry_there_is_nowhere_to_put_arguments() {
    let words = ["no live entry was found", "grub.cfg"];
    let dead = iso("grub2", &["--args", "root=LABEL=disk"]);
    refuses_image(3, &dead, &["--overlay-size", "1GiB"], &words);
    refuses_image(3, &dead, &["--extra-kernel-args", "quiet"], &words);
}

#[test]
fn arguments_that_cannot_be_arguments_are_refused() {
    let image = iso("grub2", &[]);
    for bad in [
        "a=$(reboot)",
        "a='b",
        "a=\"b",
        "a;b",
        "a{b}",
        "a\\b",
        "a#b",
        "a`b",
    ] {
        let bench = Bench::new();
        let target = bench.path("stick.img");
        let args = [
            "write",
            text(&image),
            text(&target),
            "--size",
            "64MiB",
            "-y",
        ];
        let outcome = ask(&[&args[..], &["--extra-kernel-args", bad]].concat());
        // Either it is refused, or it stands in every menu so that GRUB hands it over as it is.
        match outcome.code {
            Some(2 | 3) => {
                assert_eq!(outcome.err.lines().count(), 1);
                assert!(!target.exists());
            }
            Some(0) => {}
            _ => panic!("{bad}: {outcome:?}"),
        }
    }
}
