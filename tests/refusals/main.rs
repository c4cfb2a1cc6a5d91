// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is refused, from outside: each with the exit status that is documented, one line that says why and what to do,
//! and nothing written or made. With `--json` the same as one event.
//!
//! Those that need loop devices and mounts need root, and say that they are skipped without.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod asking;
mod changed;
mod disks;
mod hostile;
mod images;
mod room;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod targets;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::bench::{Bench, Print, ask};
use support::bench::{finish, livestick};
use support::program::text;

const LIVESTICK: &str = env!("CARGO_BIN_EXE_livestick");
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const MODULES: &str = "bash systemd dm dmsquash-live overlayfs rootfs-block img-lib";

/// `write` with these arguments refuses, in both forms, and leaves the target as it is; gives its reason.
fn refuses(exit: u8, args: &[&str], target: &Path, words: &[&str]) -> String {
    refuses_as(exit, args, target, words, livestick)
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
    // Other tests are at work in these two.
    let shared = [Path::new("/dev"), support::lab::scratch()];
    if target
        .parent()
        .is_some_and(|parent| !shared.contains(&parent))
    {
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
