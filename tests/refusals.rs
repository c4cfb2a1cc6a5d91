// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is refused, from outside: each with the exit status that is documented, one line that says why and what to do,
//! and nothing written or made. With `--json` the same as one event.
//!
//! Those that need loop devices and mounts need root, and say that they are skipped without.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use livestick::apply;
use livestick::command::plan;
use livestick::host::Host;
use livestick::plan::Plan;
use livestick::refusal::Refusal;
use livestick::report::{Exit, Failure, StickState};
use livestick::request::{Request, Size, Wanted};
use livestick::units::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use support::bench::{Bench, Print, ask, finish, livestick as command, peek, poke, sha256};
use support::lab::iso;
use support::program::{output, root as is_root, run, text};

const LIVESTICK: &str = env!("CARGO_BIN_EXE_livestick");
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

const MODULES: &str = "bash systemd dm dmsquash-live overlayfs rootfs-block img-lib";

/// `write` with these arguments refuses, in both forms, and leaves the target as it is; gives its reason.
fn refuses(exit: u8, args: &[&str], target: &Path, words: &[&str]) -> String {
    refuses_as(exit, args, target, words, command)
}

fn refuses_as(
    exit: u8,
    args: &[&str],
    target: &Path,
    words: &[&str],
    start: impl Fn(&[&str]) -> Command,
) -> String {
    let before = Print::of(target);
    let around = Print::of(target.parent().unwrap());
    let args = [&["write"], args].concat();
    let plain = finish(start(&args));
    assert_eq!(plain.code, Some(exit.into()), "{args:?}: {plain:?}");
    assert_eq!(plain.out, "", "{args:?}");
    assert_eq!(plain.err.lines().count(), 1, "{args:?}: {}", plain.err);
    let reason = plain.err.strip_prefix("livestick: ").unwrap().trim_end();
    for word in words {
        assert!(reason.contains(word), "no '{word}' in: {reason}");
    }

    let json = finish(start(&[&args[..], &["--json"]].concat()));
    assert_eq!(json.code, plain.code, "{args:?}: {json:?}");
    assert_eq!(json.err, "", "{args:?}");
    let events = json.events();
    let failed = events.last().unwrap();
    assert_eq!(failed["event"], "failed");
    assert_eq!(failed["failure"]["state"], "untouched");
    let word = match exit {
        2 => "usage",
        3 => "refused",
        _ => "damaged",
    };
    assert_eq!(failed["failure"]["exit"], word);
    // The plan may have been told before the target turned out to be taken.
    assert!(events.len() == 1 || (events.len() == 2 && events[0]["event"] == "planned"));
    let message = failed["failure"]["message"].as_str().unwrap();
    assert!(reason.starts_with(message), "{message}\n{reason}");

    assert_eq!(Print::of(target), before, "{args:?}");
    if target.parent() != Some(Path::new("/dev")) {
        assert_eq!(Print::of(target.parent().unwrap()), around, "{args:?}");
    }
    reason.to_owned()
}

/// The same for a stick image file that would be made.
fn refuses_image(exit: u8, image: &Path, more: &[&str], words: &[&str]) -> String {
    let bench = Bench::new();
    let target = bench.path("stick.img");
    let args = [text(image), text(&target), "--size", "2GiB", "--yes"];
    let reason = refuses(exit, &[&args, more].concat(), &target, words);
    assert!(!target.exists());
    reason
}

/// What a dry run plans.
fn plans(image: &Path, more: &[&str]) -> Value {
    let bench = Bench::new();
    let target = bench.path("stick.img");
    let args = [
        "write",
        text(image),
        text(&target),
        "--size",
        "2GiB",
        "-n",
        "--json",
    ];
    let outcome = ask(&[&args, more].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(!target.exists());
    outcome.events().remove(0)
}

// ---- images

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

// ---- sizes

#[test]
fn a_size_that_is_none_is_a_usage_error() {
    let image = iso("grub2", &[]);
    let words = [
        ("--overlay-size", "0", "'0' has no unit"),
        ("--overlay-size", "0MiB", "size of 0"),
        ("--overlay-size", "-1GiB", "is not a size"),
        ("--overlay-size", "4Q", "is not a size"),
        ("--overlay-size", "4096", "write 4096MiB"),
        ("--overlay-size", "1.5GiB", "whole number"),
        (
            "--overlay-size",
            "99999999999999999999GiB",
            "more bytes than",
        ),
        (
            "--overlay-size",
            "18446744073709551615TiB",
            "more bytes than",
        ),
        ("--overlay-size", "", "is not a size"),
        ("--overlay-size-mb", "0", "size of 0"),
        ("--overlay-size-mb", "-5", "is not a size"),
        ("--overlay-size-mb", "rest", "is not a size"),
        ("--overlay-size-mb", "4G", "is not a size"),
        ("--overlay-size-mb", "17592186044416", "more bytes than"),
        ("--home-size", "4Q", "is not a size"),
        ("--home-size-mb", "0x10", "is not a size"),
        ("--overlay-fs", "ntfs", "btrfs, ext4, xfs"),
        ("--overlay-fs", "ext4", "makes nothing without"),
        ("--no-such-option", "1", "unexpected argument"),
    ];
    for (option, value, word) in words {
        refuses_image(2, &image, &[option, value], &[word]);
    }
    let bench = Bench::new();
    let target = bench.path("stick.img");
    let args = [text(&image), text(&target), "-y", "--size", "rest"];
    refuses(2, &args, &target, &["needs a size"]);
    let rests = ["--overlay-size", "rest", "--home-size", "rest"];
    refuses_image(2, &image, &rests, &["cannot both have the rest"]);
    let twice = ["--overlay-size", "1GiB", "--overlay-size-mb", "1024"];
    refuses_image(2, &image, &twice, &["cannot be used with"]);
    let outcome = ask(&["write", text(&image)]);
    assert_eq!((outcome.code, outcome.err.lines().count()), (Some(2), 1));
    assert!(
        outcome
            .err
            .starts_with("livestick: the following required arguments")
    );
}

#[test]
fn a_filesystem_below_its_least_size_is_refused_and_the_least_works() {
    let image = iso("grub2", &[]);
    for (fs, least) in [("btrfs", 128), ("ext4", 16), ("xfs", 304)] {
        for what in ["overlay", "home"] {
            let (size, kind) = (format!("--{what}-size-mb"), format!("--{what}-fs"));
            let below = (least - 1).to_string();
            let words = [&*format!("ask for at least {least}.0 MiB"), what];
            refuses_image(3, &image, &[&size, &below, &kind, fs], &words);
        }
        let bench = Bench::new();
        let target = bench.path("stick.img");
        let args = [
            "write",
            text(&image),
            text(&target),
            "--size",
            "400MiB",
            "-y",
        ];
        let least = least.to_string();
        let more = ["--overlay-size-mb", &least, "--overlay-fs", fs];
        let outcome = ask(&[&args[..], &more].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn a_size_that_does_not_fit_is_refused_with_the_largest_that_does() {
    let image = iso("grub2", &[]);
    let bench = Bench::new();
    let target = bench.used("stick.img", 100);
    let ask_for = |overlay: &str, home: &str| {
        let args = [
            text(&image),
            text(&target),
            "-y",
            "--overlay-size-mb",
            overlay,
            "--overlay-fs",
            "ext4",
            "--home-fs",
            "ext4",
        ];
        [&args[..], &["--home-size-mb", home]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let refuse = |args: &Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        refuses(3, &args, &target, &["behind the image", "at most"])
    };
    let args: Vec<String> = ask_for("60", "50");
    let reason = refuse(&args);
    // "...; overlay can be 34 MiB at most, or home can be 24 MiB at most, all else unchanged"
    let largest = |what: &str| {
        let (_, rest) = reason.split_once(&format!("{what} can be ")).unwrap();
        let (number, _) = rest.split_once(" MiB at most").unwrap();
        number.parse::<f64>().unwrap()
    };
    for (overlay, home, grow) in [
        (largest("overlay"), 50.0, [1.0, 0.0]),
        (60.0, largest("home"), [0.0, 1.0]),
    ] {
        let fits: Vec<String> = ask_for(&overlay.to_string(), &home.to_string());
        let fits: Vec<&str> = fits.iter().map(String::as_str).collect();
        let outcome = ask(&[&["write", "-n"], &fits[..]].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let over: Vec<String> = ask_for(
            &(overlay + grow[0]).to_string(),
            &(home + grow[1]).to_string(),
        );
        refuse(&over);
    }
    // The largest is not only planned.
    let fits: Vec<String> = ask_for(&largest("overlay").to_string(), "50");
    let fits: Vec<&str> = fits.iter().map(String::as_str).collect();
    let outcome = ask(&[&["write"], &fits[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let small = bench.used("small.img", 20);
    let args = [text(&image), text(&small), "-y", "--overlay-size", "rest"];
    refuses(3, &args, &small, &["there are", "larger medium"]);
}

#[test]
fn a_target_smaller_than_the_image_is_refused() {
    let image = iso("grub2", &[]);
    let size = fs::metadata(&image).unwrap().len();
    let bench = Bench::new();
    let target = bench.used("stick.img", 4);
    for len in [0, 512, size - 512, size - 1] {
        fs::File::options()
            .write(true)
            .open(&target)
            .unwrap()
            .set_len(len)
            .unwrap();
        refuses(
            3,
            &[text(&image), text(&target), "-y"],
            &target,
            &["the image needs", "larger stick"],
        );
    }
    fs::remove_file(&target).unwrap();
    let args = [text(&image), text(&target), "-y"];
    refuses(3, &args, &target, &["does not exist", "--size 8GiB"]);
    refuses(
        3,
        &[&args[..], &["--size", "8MiB"]].concat(),
        &target,
        &["larger stick"],
    );
    // More than the filesystem allows a file to have.
    refuses(
        3,
        &[&args[..], &["--size", "8000000TiB"]].concat(),
        &target,
        &["length"],
    );
    let existing = bench.used("other.img", 32);
    let args = [text(&image), text(&existing), "-y", "--size", "64MiB"];
    refuses(
        3,
        &args,
        &existing,
        &["exists and has 32.0 MiB", "leave out --size"],
    );
}

// ---- tables and boot configurations

#[test]
fn a_full_partition_table_is_refused() {
    let bench = Bench::new();
    let full = bench.copy(&iso("isolinux", &[]), "full.iso");
    let table = peek(&full, 446, 64);
    let free: Vec<u64> = (0..4)
        .filter(|i| table[i * 16..][..16] == [0; 16])
        .map(|i| i as u64)
        .collect();
    assert!(!free.is_empty());
    for slot in &free {
        let entry = [0, 0, 2, 0, 0x83, 0, 2, 0, 200, 0, 0, 0, 1, 0, 0, 0];
        poke(&full, 446 + 16 * slot, &entry);
    }
    let shown = run("sfdisk", &["-d", text(&full)]);
    assert_eq!(
        shown.lines().filter(|line| line.contains("start=")).count(),
        4
    );
    refuses_image(
        3,
        &full,
        &["--overlay-size", "1GiB"],
        &["no partition can be added"],
    );
    // As it is it can be written.
    let target = bench.used("stick.img", 32);
    assert_eq!(
        ask(&["write", text(&full), text(&target), "-y"]).code,
        Some(0)
    );
    if free.len() == 2 {
        let half = bench.copy(&iso("isolinux", &[]), "half.iso");
        poke(
            &half,
            446 + 16 * free[0],
            &[0, 0, 2, 0, 0x83, 0, 2, 0, 200, 0, 0, 0, 1, 0, 0, 0],
        );
        plans(&half, &["--overlay-size", "1GiB"]);
    }
}

#[test]
fn a_full_system_partition_is_refused() {
    let bench = Bench::new();
    let full = bench.copy(&iso("grub2", &["--incompressible"]), "full.iso");
    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(&full)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let esp = partitions
        .iter()
        .find(|p| p["type"].as_str().unwrap().starts_with("C12A7328"));
    let at = esp.unwrap()["start"].as_u64().unwrap() * 512;
    let drive = format!("{}@@{at}", text(&full));
    let config = bench.path("grub.cfg");
    run(
        "mcopy",
        &["-i", &drive, "-n", "::/EFI/BOOT/grub.cfg", text(&config)],
    );
    // Bytes in a cluster: sectors in one, of 512.
    let cluster = usize::from(peek(&full, at + 13, 1)[0]) * 512;
    let mut menu = fs::read(&config).unwrap();
    let fill = (cluster - (menu.len() + 11) % cluster) % cluster;
    menu.extend(format!("set lab='{}'\n", "x".repeat(fill)).bytes());
    assert!(menu.len().is_multiple_of(cluster));
    fs::write(&config, menu).unwrap();
    run(
        "mcopy",
        &["-i", &drive, "-o", text(&config), "::/EFI/BOOT/grub.cfg"],
    );
    let free = || {
        let listing = run("mdir", &["-i", &drive, "::/"]);
        let line = listing
            .lines()
            .rfind(|line| line.contains("bytes free"))
            .unwrap();
        let digits = line
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>();
        digits.parse::<usize>().unwrap()
    };
    let ballast = bench.path("ballast");
    fs::write(&ballast, vec![0xA5; free()]).unwrap();
    run("mcopy", &["-i", &drive, text(&ballast), "::/BALLAST"]);
    assert_eq!(free(), 0);

    let words = [
        "/EFI/BOOT/grub.cfg on the EFI system partition needs",
        "0 are free there",
        "shorter arguments",
    ];
    refuses_image(3, &full, &["--overlay-size", "1GiB"], &words);
    refuses_image(
        3,
        &full,
        &["--extra-kernel-args", "one.more=argument"],
        &words,
    );
    let target = bench.used("stick.img", 32);
    assert_eq!(
        ask(&["write", text(&full), text(&target), "-y"]).code,
        Some(0)
    );
    // One cluster is enough.
    run("mdel", &["-i", &drive, "::/BALLAST"]);
    fs::write(&ballast, vec![0xA5; free() - cluster]).unwrap();
    run("mcopy", &["-i", &drive, text(&ballast), "::/BALLAST"]);
    plans(&full, &["--overlay-size", "1GiB"]);
}

// ---- targets that are none

#[test]
fn what_is_no_disk_and_no_file_is_refused() {
    let image = iso("grub2", &[]);
    let bench = Bench::new();
    let of = |target: &Path, words: &[&str]| {
        refuses(
            3,
            &[
                text(&image),
                text(target),
                "-y",
                "--allow-disk",
                text(target),
            ],
            target,
            words,
        )
    };
    of(bench.dir.path(), &["is a directory"]);
    of(Path::new("/dev/null"), &["is a character device"]);
    let fifo = bench.path("fifo");
    run("mkfifo", &[text(&fifo)]);
    of(&fifo, &["is a fifo"]);
    for typo in [
        "/dev/sdzz",
        "/dev/livestick/typo",
        "/dev/disk/by-id/usb-typo",
    ] {
        of(Path::new(typo), &["no device", "livestick list"]);
        assert!(!Path::new(typo).exists());
        let sized = [text(&image), typo, "-y", "--size", "64MiB"];
        refuses(3, &sized, Path::new(typo), &["no device"]);
    }
    let link = bench.path("link");
    std::os::unix::fs::symlink("/dev/sdzz", &link).unwrap();
    of(&link, &["is a link to /dev/sdzz"]);
    of(&bench.path("no/such/directory/stick.img"), &["looking at"]);
    // A name that would be more than one line.
    let odd = OsString::from_vec(b"two\nlines\x1b[2J".to_vec());
    refuses(
        3,
        &[text(&image), odd.to_str().unwrap(), "-y"],
        &bench.path(""),
        &["\\n"],
    );
}

#[test]
fn the_image_itself_is_no_target_by_any_name() {
    let bench = Bench::new();
    let image = bench.copy(&iso("grub2", &[]), "image.iso");
    let (hard, soft) = (bench.path("hard"), bench.path("soft"));
    fs::hard_link(&image, &hard).unwrap();
    std::os::unix::fs::symlink("image.iso", &soft).unwrap();
    for target in [&image, &hard, &soft] {
        refuses(
            3,
            &[text(&image), text(target), "-y"],
            target,
            &["is the image itself"],
        );
        refuses(
            3,
            &[text(&soft), text(target), "-y"],
            target,
            &["is the image itself"],
        );
    }
}

// ---- disks that are taken

/// An image, and a loop device that could be written.
fn disk(bench: &mut Bench, options: &[&str]) -> (std::path::PathBuf, std::path::PathBuf) {
    let file = bench.used("disk.img", 64);
    (iso("grub2", &[]), bench.attach(&file, options))
}

fn refuses_disk(image: &Path, disk: &Path, more: &[&str], words: &[&str]) {
    let args = [text(image), text(disk), "-y", "--allow-disk", text(disk)];
    refuses(3, &[&args, more].concat(), disk, words);
}

#[test]
fn a_disk_that_does_not_look_like_a_stick_must_be_named() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    let node = text(&disk);
    let words = ["does not look like a stick", "--allow-disk", node];
    refuses(3, &[text(&image), node, "-y"], &disk, &words);
    for wrong in ["/dev/sda", "loop", "", "yes"] {
        refuses(
            3,
            &[text(&image), node, "-y", "--allow-disk", wrong],
            &disk,
            &words,
        );
    }
    let sized = [
        text(&image),
        node,
        "-y",
        "--allow-disk",
        node,
        "--size",
        "64MiB",
    ];
    refuses(3, &sized, &disk, &["leave out --size"]);
    let args = ["write", text(&image), node, "-y", "--allow-disk", node];
    let outcome = ask(&args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_disk_in_use_is_refused() {
    if !is_root() {
        return;
    }
    // Mounted as a whole.
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    run("mkfs.ext4", &["-q", "-F", text(&disk)]);
    let point = bench.mount(&[], text(&disk));
    run("sync", &[]);
    let words = ["mounted at", text(&point), "--unmount"];
    refuses_disk(&image, &disk, &[], &words);
    // With the wish to unmount, but somebody is there.
    let busy = fs::File::open(&point).unwrap();
    let args = [
        "write",
        text(&image),
        text(&disk),
        "-y",
        "--unmount",
        "--allow-disk",
        text(&disk),
    ];
    let outcome = ask(&args);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.err.contains("close what uses it"),
        "{}",
        outcome.err
    );
    drop(busy);
    let outcome = ask(&args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(!output("mountpoint", &[text(&point)]).status.success());
    // Not in a place for sticks: nobody is told to unmount it.
    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &[]);
    run("mkfs.ext4", &["-q", "-F", text(&disk)]);
    let point = bench.path("srv");
    fs::create_dir(&point).unwrap();
    run("mount", &[text(&disk), text(&point)]);
    bench.undone_by("umount", &[text(&point)]);
    run("sync", &[]);
    refuses_disk(
        &image,
        &disk,
        &["--unmount"],
        &["holds", text(&point), "choose another disk"],
    );
}

#[test]
fn a_disk_with_a_mounted_partition_is_refused_and_so_is_the_partition() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    let node = text(&disk);
    let script =
        format!("printf 'label: gpt\\nstart=2048, size=65536\\n' | sfdisk -q --no-reread {node}");
    run("sh", &["-c", &script]);
    run("partx", &["-a", node]);
    bench.undone_by("partx", &["-d", node]);
    let part = format!("{node}p1");
    run("mkfs.ext4", &["-q", "-F", &part]);
    let args = [text(&image), &part, "-y", "--allow-disk", &part];
    refuses(
        3,
        &args,
        Path::new(&part),
        &["is a partition", "give the whole disk", node],
    );
    let point = bench.mount(&[], &part);
    run("sync", &[]);
    refuses_disk(&image, &disk, &[], &["mounted at", text(&point)]);
    // The image on the stick that it would be written to.
    let own = point.join("image.iso");
    fs::copy(&image, &own).unwrap();
    run("sync", &[]);
    refuses_disk(&own, &disk, &["--unmount"], &["holds the image"]);
}

#[test]
fn swap_holders_read_only_disks_and_other_sectors_are_refused() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    run("mkswap", &[text(&disk)]);
    if output("swapon", &[text(&disk)]).status.success() {
        bench.undone_by("swapoff", &[text(&disk)]);
        refuses_disk(&image, &disk, &[], &["swap", "choose another disk"]);
    } else {
        panic!("swapon failed");
    }
    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &[]);
    let upper = bench.attach(&disk, &[]);
    let name = upper.file_name().unwrap().to_str().unwrap();
    refuses_disk(&image, &disk, &[], &["in use as", name]);
    let file = bench.path("disk.img");
    let args = [text(&image), text(&file), "-y"];
    refuses(3, &args, &file, &["is in use as"]);

    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &["--read-only"]);
    refuses_disk(&image, &disk, &[], &["read-only"]);
    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &["--sector-size", "4096"]);
    refuses_disk(&image, &disk, &[], &["4096-byte sectors"]);
    let mut bench = Bench::new();
    let own = bench.copy(&image, "own.iso");
    let disk = bench.attach(&own, &[]);
    refuses_disk(&own, &disk, &[], &["is the image itself"]);
    // Taken exclusively by somebody whom nothing lists.
    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &[]);
    let lock = Command::new("flock")
        .args(["-x", text(&disk), "sleep", "60"])
        .spawn();
    let mut lock = lock.unwrap();
    sleep(Duration::from_millis(200));
    let args = [
        "write",
        text(&image),
        text(&disk),
        "-y",
        "--allow-disk",
        text(&disk),
    ];
    let before = Print::of(&disk);
    let outcome = ask(&args);
    run("pkill", &["-P", &lock.id().to_string()]);
    lock.wait().unwrap();
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(
        outcome.err.contains("locked by another program"),
        "{}",
        outcome.err
    );
    assert_eq!(Print::of(&disk), before);
}

#[test]
fn an_empty_loop_device_is_refused() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    run("losetup", &["-d", text(&disk)]);
    let args = [
        "write",
        text(&image),
        text(&disk),
        "-y",
        "--allow-disk",
        text(&disk),
    ];
    let outcome = ask(&args);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert_eq!(outcome.err.lines().count(), 1);
}

// ---- the machine

#[test]
fn a_missing_program_is_named_with_its_package() {
    if !is_root() {
        return;
    }
    let image = iso("grub2", &[]);
    for (program, fs, package) in [
        ("mkfs.btrfs", "btrfs", "btrfs-progs"),
        ("btrfs", "btrfs", "btrfs-progs"),
        ("mkfs.xfs", "xfs", "xfsprogs"),
        ("xfs_repair", "xfs", "xfsprogs"),
        ("mkfs.ext4", "ext4", "e2fsprogs"),
        ("e2fsck", "ext4", "e2fsprogs"),
    ] {
        // Hidden from this process and nobody else: something that is no file lies on it in a mount namespace.
        let hide = format!(
            "for f in /usr/sbin/{program} /usr/bin/{program} /sbin/{program} /bin/{program} /usr/local/sbin/{program}; do \
             if [ -f \"$f\" ]; then mount --bind /dev/null \"$f\"; fi; done; exec \"$@\""
        );
        let start = |args: &[&str]| {
            let mut command = Command::new("unshare");
            command.args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &hide,
                "hide",
                LIVESTICK,
            ]);
            command.args(args).env("PATH", PATH).stdin(Stdio::null());
            command
        };
        let bench = Bench::new();
        let target = bench.path("stick.img");
        let args = [
            text(&image),
            text(&target),
            "-y",
            "--size",
            "1GiB",
            "--overlay-size",
            "400MiB",
            "--overlay-fs",
            fs,
        ];
        let words = [program, "was not found", "install the package", package];
        refuses_as(3, &args, &target, &words, start);
    }
}

// ---- asking

/// Runs `livestick` on a terminal of its own, types a line there, and gives the status and what was shown.
fn on_a_terminal(args: &[&str], line: &str) -> (Option<i32>, String) {
    let quoted: Vec<String> = [&[LIVESTICK], args]
        .concat()
        .iter()
        .map(|arg| format!("'{arg}'"))
        .collect();
    let mut script = Command::new("script");
    script.args([
        "--quiet",
        "--return",
        "--command",
        &quoted.join(" "),
        "/dev/null",
    ]);
    script.env("PATH", PATH).env("SHELL", "/bin/sh");
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Only a question may be answered: what is typed before would be an echo above it.
    sleep(Duration::from_secs(1));
    stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"),
    )
}

#[test]
fn without_a_terminal_there_is_no_yes() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = iso("grub2", &[]);
    let args = [text(&image), text(&target)];
    refuses(3, &args, &target, &["no terminal to ask on", "--yes"]);
    // A yes on a pipe is none.
    let start = |args: &[&str]| {
        let mut command = command(args);
        let mut yes = Command::new("yes")
            .arg("stick.img")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        command.stdin(yes.stdout.take().unwrap());
        std::thread::spawn(move || yes.wait());
        command
    };
    refuses_as(3, &args, &target, &["no terminal"], start);
}

#[test]
fn the_question_shows_what_will_be_lost_and_takes_the_name_only() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    run("mkfs.ext4", &["-q", "-F", "-L", "precious", text(&target)]);
    let image = iso("grub2", &[]);
    let args = ["write", text(&image), text(&target)];
    let before = Print::of(&target);
    for wrong in ["yes", "y", "", "stick", "STICK.IMG", text(&target)] {
        let (code, shown) = on_a_terminal(&args, wrong);
        assert_eq!(code, Some(3), "{wrong}: {shown}");
        assert!(
            shown.contains("ext4") && shown.contains("'precious'"),
            "{shown}"
        );
        assert!(
            shown.contains("will be lost") && shown.contains("Type stick.img to go on"),
            "{shown}"
        );
        assert!(
            shown.contains("'stick.img' was not typed; nothing was written"),
            "{shown}"
        );
        assert_eq!(Print::of(&target), before, "{wrong}");
    }
    let (code, shown) = on_a_terminal(&args, "stick.img");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("verified"), "{shown}");
    assert_ne!(Print::of(&target), before);
}

#[test]
fn what_changes_while_the_question_stands_is_noticed() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = bench.copy(&iso("grub2", &[]), "image.iso");
    let changed = |what: &Path| {
        let args = [LIVESTICK, "write", text(&image), text(&target)].map(|arg| format!("'{arg}'"));
        let mut script = Command::new("script");
        script.args([
            "--quiet",
            "--return",
            "--command",
            &args.join(" "),
            "/dev/null",
        ]);
        script.env("PATH", PATH).env("SHELL", "/bin/sh");
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        sleep(Duration::from_secs(1));
        let new = bench.copy(what, "new");
        fs::rename(&new, what).unwrap();
        let before = Print::of(&target);
        stdin.write_all(b"stick.img\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(Print::of(&target), before);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = changed(&target);
    assert!(
        shown.contains("not the one the plan was made for"),
        "{shown}"
    );
    let shown = changed(&image);
    assert!(shown.contains("changed after the plan was made"), "{shown}");
}

// ---- between plan and write

fn planned(image: &Path, target: &Path, more: impl FnOnce(&mut Request)) -> (Plan, Host) {
    let host = Host::look();
    let mut request = Request {
        image: image.into(),
        target: target.into(),
        allow_disk: Some(text(target).into()),
        ..Request::default()
    };
    more(&mut request);
    (plan(&request, &host).unwrap(), host)
}

fn applied(plan: &Plan, host: &Host) -> Failure {
    let cancel = std::sync::atomic::AtomicBool::new(false);
    apply::run(plan, host, &cancel, &mut |_| {}).unwrap_err()
}

#[test]
fn a_target_that_changed_since_the_plan_is_refused() {
    let bench = Bench::new();
    let image = iso("grub2", &[]);
    let target = bench.used("stick.img", 64);
    let overlay = |request: &mut Request| {
        request.overlay = Some(Wanted {
            size: Size::Rest,
            fs: Some(livestick::request::FsKind::Ext4),
        });
    };
    let refused = |plan: &Plan, host: &Host, words: &str| {
        let before = Print::of(&target);
        let failure = applied(plan, host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(Print::of(&target), before);
    };
    let (plan, host) = planned(&image, &target, overlay);
    fs::File::options()
        .write(true)
        .open(&target)
        .unwrap()
        .set_len(65 << 20)
        .unwrap();
    refused(&plan, &host, "size");
    let (plan, host) = planned(&image, &target, overlay);
    let other = bench.used("other.img", 65);
    fs::rename(other, &target).unwrap();
    refused(&plan, &host, "inode");
    let (plan, host) = planned(&image, &target, overlay);
    fs::remove_file(&target).unwrap();
    refused(&plan, &host, "looking at");
    assert!(!target.exists());
    // A file that was to be made is there now.
    let (plan, host) = planned(&image, &target, |request| {
        request.create = Some(Bytes::mib(64));
    });
    fs::write(&target, "precious").unwrap();
    refused(&plan, &host, "File exists");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_disk_that_changed_since_the_plan_is_refused() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disk(&mut bench, &[]);
    let (plan, host) = planned(&image, &disk, |_| {});
    // Another medium behind the same name, of the same size.
    let other = bench.used("other.img", 64);
    run("losetup", &["-d", text(&disk)]);
    let failure = applied(&plan, &host);
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Refused, StickState::Untouched)
    );
    let again = output("losetup", &[text(&disk), text(&other)]);
    if again.status.success() {
        let before = Print::of(&other);
        let failure = applied(&plan, &host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(
            failure.message.contains("disk sequence number"),
            "{failure}"
        );
        assert_eq!(Print::of(&other), before);
    }
    // Mounted meanwhile.
    let mut bench = Bench::new();
    let (_, disk) = self::disk(&mut bench, &[]);
    let (plan, host) = planned(&image, &disk, |_| {});
    run("mkfs.ext4", &["-q", "-F", text(&disk)]);
    bench.mount(&[], text(&disk));
    let failure = applied(&plan, &host);
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Refused, StickState::Untouched)
    );
    assert!(failure.message.contains("is mounted at"), "{failure}");
}

#[test]
fn an_image_that_changed_since_the_plan_is_refused() {
    let bench = Bench::new();
    let image = bench.copy(&iso("grub2", &[]), "image.iso");
    let target = bench.used("stick.img", 64);
    let before = Print::of(&target);
    let at = fs::metadata(&image).unwrap().len() / 2;
    let changes: [&dyn Fn(); 4] = [
        &|| {
            poke(&image, at, b"!");
        },
        &|| {
            fs::File::options()
                .write(true)
                .open(&image)
                .unwrap()
                .set_len(at)
                .unwrap();
        },
        &|| {
            let new = bench.copy(&iso("grub2", &[]), "new.iso");
            fs::rename(new, &image).unwrap();
        },
        &|| fs::remove_file(&image).unwrap(),
    ];
    for change in changes {
        if fs::metadata(&image).unwrap().len() == at {
            fs::copy(iso("grub2", &[]), &image).unwrap();
        }
        let (plan, host) = planned(&image, &target, |_| {});
        change();
        let failure = applied(&plan, &host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(failure.message.contains("image"), "{failure}");
        assert_eq!(Print::of(&target), before);
    }
}

// ---- hostile images

/// Directory records of a directory's block, by where they are: (offset, name).
fn records(image: &[u8], block: usize) -> Vec<(usize, Vec<u8>)> {
    let mut at = block * 2048;
    let mut found = Vec::new();
    while at < image.len() && image[at] != 0 {
        let name = usize::from(image[at + 32]);
        found.push((at, image[at + 33..][..name].to_vec()));
        at += usize::from(image[at]);
    }
    found
}

fn both_endian(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// Inspecting and writing it ends soon, with a documented status and without a panic.
fn survives(image: &Path) {
    let bench = Bench::new();
    let target = bench.path("stick.img");
    let args = [
        "write",
        text(image),
        text(&target),
        "--size",
        "300MiB",
        "-y",
    ];
    let all: [&[&str]; 4] = [
        &["inspect", text(image)],
        &["inspect", "--json", text(image)],
        &args,
        &[
            &args[..],
            &["-n", "--overlay-size", "rest", "--overlay-fs", "ext4"],
        ]
        .concat(),
    ];
    for args in all {
        let outcome = ask(args);
        assert!(
            matches!(outcome.code, Some(0 | 3 | 4)),
            "{args:?}: {outcome:?}"
        );
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
        if outcome.code != Some(0) {
            assert_eq!(
                outcome.err.lines().count() + outcome.out.lines().count(),
                1,
                "{outcome:?}"
            );
            assert!(!target.exists());
        }
        let _ = fs::remove_file(&target);
    }
}

#[test]
fn hostile_directories_end_in_a_refusal_or_in_facts() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let bytes = fs::read(&original).unwrap();
    let root = |descriptor: usize| {
        let at = descriptor * 2048 + 156 + 2;
        u32::from_le_bytes(bytes[at..][..4].try_into().unwrap())
    };
    for what in ["loop", "beyond", "endless", "zero", "self"] {
        let hostile = bench.copy(&original, "hostile.iso");
        // The primary and the Joliet tree.
        for descriptor in [16, 18] {
            let root = root(descriptor);
            if root == 0 || bytes[descriptor * 2048] == 255 {
                continue;
            }
            for (at, name) in records(&bytes, root as usize) {
                let itself = name == [0] || name == [1];
                match what {
                    "loop" if !itself && bytes[at + 25] & 2 != 0 => {
                        poke(&hostile, at as u64 + 2, &both_endian(root));
                    }
                    "beyond" if !itself => {
                        poke(&hostile, at as u64 + 2, &both_endian(u32::MAX - 15));
                    }
                    "endless" => {
                        poke(&hostile, at as u64 + 10, &both_endian(u32::MAX));
                    }
                    "zero" if !itself => {
                        poke(&hostile, at as u64, &[1]);
                    }
                    "self" => {
                        poke(&hostile, at as u64 + 25, &[2]);
                        poke(&hostile, at as u64 + 2, &both_endian(root));
                    }
                    _ => {}
                }
            }
        }
        survives(&hostile);
    }
}

#[test]
fn hostile_partition_tables_end_in_a_refusal_or_in_facts() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let header = peek(&original, 512, 92);
    assert_eq!(&header[..8], b"EFI PART");
    let fields: [(usize, Vec<u8>); 12] = [
        (80, u32::MAX.to_le_bytes().to_vec()),
        (80, 0u32.to_le_bytes().to_vec()),
        (84, u32::MAX.to_le_bytes().to_vec()),
        (84, 0u32.to_le_bytes().to_vec()),
        (84, 1u32.to_le_bytes().to_vec()),
        (12, u32::MAX.to_le_bytes().to_vec()),
        (12, 0u32.to_le_bytes().to_vec()),
        (72, u64::MAX.to_le_bytes().to_vec()),
        (72, 0u64.to_le_bytes().to_vec()),
        (40, u64::MAX.to_le_bytes().to_vec()),
        (48, u64::MAX.to_le_bytes().to_vec()),
        (24, u64::MAX.to_le_bytes().to_vec()),
    ];
    for (at, value) in fields {
        let hostile = bench.copy(&original, "hostile.iso");
        let mut changed = header.clone();
        changed[at..at + value.len()].copy_from_slice(&value);
        changed[16..20].fill(0);
        let sum = crc32fast::hash(&changed);
        changed[16..20].copy_from_slice(&sum.to_le_bytes());
        poke(&hostile, 512, &changed);
        survives(&hostile);
    }
    // An MBR whose partitions are everywhere and nowhere; a boot catalogue of 255 entries each.
    let hostile = bench.copy(&original, "hostile.iso");
    poke(&hostile, 446, &[0xFF; 64]);
    survives(&hostile);
    let hostile = bench.copy(&iso("isolinux", &[]), "hostile.iso");
    let extended = [0x80, 0, 0, 0, 0x05, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    poke(&hostile, 446 + 32, &extended);
    survives(&hostile);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes changed wherever something is parsed: there is a plan or a refusal, and never a panic.
    #[test]
    fn a_mutated_image_is_planned_or_refused(
        layout in prop::sample::select(vec!["grub2", "isolinux", "kiwi"]),
        changes in prop::collection::vec((0u8..6, any::<u32>(), any::<u8>()), 1..12),
    ) {
        let original = iso(layout, &[]);
        let bench = Bench::new();
        let copy = bench.copy(&original, "mutated.iso");
        let size = fs::metadata(&original).unwrap().len();
        for (where_, offset, byte) in changes {
            // The tables, the descriptors and directories, anywhere, the end.
            let (from, len) = match where_ {
                0 => (0, 2048),
                1 => (32768, 8192),
                2 | 3 => (32768, 262_144),
                4 => (0, size),
                _ => (size - 65536, 65536),
            };
            poke(&copy, from + u64::from(offset) % len, &[byte]);
        }
        let host = Host::look();
        let request = Request {
            image: copy,
            target: bench.path("stick.img"),
            create: Some(Bytes::mib(600)),
            overlay: Some(Wanted { size: Size::Rest, fs: None }),
            ..Request::default()
        };
        let seen = plan(&request, &host);
        prop_assert!(!matches!(seen, Err(Refusal::Target(_))));
        prop_assert!(!bench.path("stick.img").exists());
    }
}
