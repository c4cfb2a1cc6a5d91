// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes wrong while a stick is written, made to go wrong: media that fail or lie, an image that changes, a user who
//! stops, a program that is killed. Afterwards the stick is as it was, blank, or complete, the words say which, and
//! nothing is left on the machine.
//!
//! Most of it needs loop devices and mounts, so root; the rest runs for everybody.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changing;
mod counterfeit;
mod failing;
mod killed;
mod lying;
mod stopped;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::fs::File;
use std::path::Path;

use serde_json::Value;

use support::bench::peek;
use support::program::{output, run, text};

const BLANK: &str = "the stick is blank: it has no partition table and does not boot";

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
