// SPDX-License-Identifier: MIT OR Apache-2.0
//! A medium that fails.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::support::bench::{Bench, Outcome, ask};
use crate::support::fake::{Fake, Lie};
use crate::support::lab::iso;
use crate::support::program::{root, text};
use crate::{BLANK, judge_blank};

/// A disk whose storage is full after `mib` MiB: writes behind that fail.
fn failing_disk(bench: &mut Bench, mib: u64) -> PathBuf {
    let memory = bench.mount(&["-t", "tmpfs", "-o", &format!("size={mib}M")], "none");
    let file = memory.join("disk.img");
    File::create(&file).unwrap().set_len(400 << 20).unwrap();
    bench.attach(&file, &[])
}

pub fn write_to(image: &Path, disk: &Path, more: &[&str]) -> Outcome {
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
    // Within the first MiB, each time: a nearly full filesystem takes it now and then when it is tried again.
    let fake = Fake::new(400 << 20, Lie::FailsWriting(1 << 19));
    let outcome = write_to(&iso("grub2", &[]), fake.node(), &[]);
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
