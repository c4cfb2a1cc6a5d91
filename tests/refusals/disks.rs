// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks that are taken, and machines that lack something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::bench::{Bench, Print, ask};
use crate::support::lab::iso;
use crate::support::program::{output, root, run, text};
use crate::{LIVESTICK, PATH, refuses, refuses_as};

/// An image, and a loop device that could be written.
pub fn disk(bench: &mut Bench, options: &[&str]) -> (PathBuf, PathBuf) {
    let file = bench.used("disk.img", 64);
    (iso("grub2", &[]), bench.attach(&file, options))
}

fn refuses_disk(image: &Path, disk: &Path, more: &[&str], words: &[&str]) {
    let args = [text(image), text(disk), "-y", "--allow-disk", text(disk)];
    refuses(3, &[&args, more].concat(), disk, words);
}

#[test]
fn a_disk_that_does_not_look_like_a_stick_must_be_named() {
    if !root() {
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
    if !root() {
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
    if !root() {
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
    if !root() {
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
    if !root() {
        return;
    }
    let bench = Bench::new();
    let image = iso("kiwi", &[]);
    // The last one that is idle: losetup gives out the first.
    let all = std::fs::read_dir("/sys/block").unwrap().flatten();
    let numbers = all.filter_map(|entry| {
        let idle = !entry.path().join("loop/backing_file").exists();
        let number = entry.file_name().into_string().ok()?;
        number
            .strip_prefix("loop")?
            .parse()
            .ok()
            .filter(|_: &u32| idle)
    });
    let disk = if let Some(number) = numbers.max() {
        PathBuf::from(format!("/dev/loop{number}"))
    } else {
        // All are taken by other tests: a node of a device that is not there.
        let node = bench.path("loop250");
        run("mknod", &[text(&node), "b", "7", "250"]);
        node
    };
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

#[test]
fn a_missing_program_is_named_with_its_package() {
    if !root() {
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
