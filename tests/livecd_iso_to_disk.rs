// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scripts that call `livecd-iso-to-disk`: the link, its options on real sticks, its refusals, its exit status.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::bench::{Bench, Outcome, Print, finish};
use support::lab::iso;
use support::program::{command, root, run, text};

const LINK: &str = "livecd-iso-to-disk";

/// The program under its old name, as a package installs it.
fn link(bench: &Bench) -> PathBuf {
    let link = bench.path(LINK);
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_livestick"), &link).unwrap();
    }
    link
}

fn call(bench: &Bench, args: &[&str]) -> Outcome {
    let mut program = command(text(&link(bench)));
    program.args(args).stdin(std::process::Stdio::null());
    finish(program)
}

fn file_in(stick: &Path, path: &str, to: &Path) -> String {
    run(
        "xorriso",
        &[
            "-osirrox",
            "on",
            "-indev",
            text(stick),
            "-extract",
            path,
            text(to),
        ],
    );
    fs::read_to_string(to).unwrap()
}

/// `key value` lines of a menu, in any case.
fn lines<'a>(menu: &'a str, key: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in menu.lines().map(str::trim) {
        let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
        if word.eq_ignore_ascii_case(key) {
            found.push(rest.trim());
        }
    }
    found
}

#[test]
fn a_script_of_old_makes_a_stick() {
    if !root() {
        return;
    }
    let bench = Bench::new();
    let stick = bench.used("stick.img", 700);
    let image = iso("isolinux", &[]);
    let outcome = call(
        &bench,
        &[
            "--format",
            "4096,ext4",
            "--reset-mbr",
            "--efi",
            "--noverify",
            "--force",
            "--timeout",
            "50",
            "--totaltimeout",
            "900",
            "--nobootmsg",
            "--extra-kernel-args",
            "audit=0 mitigations=off",
            "--overlay-size-mb",
            "160,btrfs",
            "--home-size-mb",
            "64,ext4",
            "--unencrypted-home",
            text(&image),
            text(&stick),
        ],
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    for said in ["--format: ", "--reset-mbr: ", "--noverify: "] {
        assert!(outcome.err.contains(said), "{said} in {}", outcome.err);
    }
    let menu = file_in(&stick, "/isolinux/isolinux.cfg", &bench.path("menu"));
    assert_eq!(lines(&menu, "timeout"), ["50"]);
    assert_eq!(lines(&menu, "totaltimeout"), ["900"]);
    assert!(lines(&menu, "display").is_empty(), "{menu}");
    let appended = lines(&menu, "append");
    let live: Vec<_> = appended
        .iter()
        .filter(|line| line.contains("rd.live.image"))
        .collect();
    assert!(!live.is_empty());
    for line in live {
        assert!(line.contains("audit=0 mitigations=off"), "{line}");
    }
    let menu = file_in(&stick, "/EFI/BOOT/grub.cfg", &bench.path("grub"));
    assert!(menu.contains("set timeout=5\n"), "{menu}");
    // Both filesystems, as another program finds them.
    let table = run("sfdisk", &["--json", text(&stick)]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let kinds: Vec<String> = table["partitiontable"]["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            let at = part["start"].as_u64().unwrap() * 512;
            let probed = support::program::output(
                "blkid",
                &[
                    "-p",
                    "-O",
                    &at.to_string(),
                    "-o",
                    "value",
                    "-s",
                    "TYPE",
                    text(&stick),
                ],
            );
            String::from_utf8_lossy(&probed.stdout).trim().to_owned()
        })
        .collect();
    assert!(
        kinds.contains(&"btrfs".into()) && kinds.contains(&"ext4".into()),
        "{kinds:?}"
    );
    // And it is a stick like any other.
    let verified = support::bench::ask(&["verify", text(&stick)]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);

    // A /home is there now: no force deletes it unasked.
    let before = Print::of(&stick);
    let again = ["--format", "--force", text(&image), text(&stick)];
    let outcome = call(&bench, &again);
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    assert!(outcome.err.contains("--delete-home"), "{}", outcome.err);
    assert!(Print::of(&stick) == before);
    let outcome = call(&bench, &[&["--delete-home"], &again[..]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
}

#[test]
fn a_partition_means_its_disk_only_together_with_format() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let file = bench.used("disk.img", 256);
    run("sh", &["-c", "echo ,64M | sfdisk -q \"$0\"", text(&file)]);
    let disk = bench.attach(&file, &[]);
    // The kernel may have seen it already.
    support::program::output("partx", &["--add", text(&disk)]);
    let partition = format!("{}p1", text(&disk));
    let image = iso("grub2", &[]);
    let allow = ["--force", "--allow-disk", text(&disk)];
    let before = Print::of(&file);
    let args = [text(&image), &partition];
    let outcome = call(&bench, &[&allow[..], &args].concat());
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    for word in ["is a partition", "--format", text(&disk)] {
        assert!(outcome.err.contains(word), "{}", outcome.err);
    }
    assert!(Print::of(&file) == before);
    // Nobody is asked here, but what would be asked about is the whole disk.
    let outcome = call(&bench, &[&["--format"], &allow[1..], &args].concat());
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    let said = format!("the whole disk {} is meant", text(&disk));
    assert!(outcome.err.contains(&said), "{}", outcome.err);
    assert!(Print::of(&file) == before);
    let outcome = call(&bench, &[&["--format"], &allow[..], &args].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let size = fs::metadata(&image).unwrap().len().to_string();
    run("cmp", &["-n", &size, text(&image), text(&disk)]);
}

#[test]
fn a_disk_keeps_what_is_on_it_unless_format_is_given() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let file = bench.used("disk.img", 256);
    let disk = bench.attach(&file, &[]);
    let image = iso("grub2", &[]);
    let before = Print::of(&file);
    let outcome = call(
        &bench,
        &[
            "--force",
            "--allow-disk",
            text(&disk),
            text(&image),
            text(&disk),
        ],
    );
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    assert!(outcome.err.contains("--format"), "{}", outcome.err);
    assert!(Print::of(&file) == before);
    let outcome = call(
        &bench,
        &[
            "--format",
            "--force",
            "--allow-disk",
            text(&disk),
            text(&image),
            text(&disk),
        ],
    );
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let size = fs::metadata(&image).unwrap().len().to_string();
    run("cmp", &["-n", &size, text(&image), text(&disk)]);
}

#[test]
fn a_refusal_is_never_an_exit_status_of_zero() {
    let bench = Bench::new();
    let stick = bench.used("stick.img", 64);
    let image = iso("grub2", &[]);
    let before = Print::of(&stick);
    for (args, code, why) in [
        (&["--multi"][..], 3, "holds one image"),
        // It is encrypted, and there is no terminal to ask on, or else no overlay.
        (&["--home-size-mb", "64"], 3, "/home"),
        (
            &["--home-size-mb", "64", "--home-passphrase-file", "/none"],
            2,
            "/none",
        ),
        (&["--totaltimeout", "90"], 3, "no isolinux menu"),
        (&["--overlay-size-mb", "64"], 3, ""),
        (&["--frobnicate"], 2, "is no option"),
        (&["--timeout", "soon"], 2, "no number"),
        (&[], 3, "there is no terminal to ask on; add --force"),
    ] {
        let args = [args, &[text(&image), text(&stick)]].concat();
        let outcome = call(&bench, &args);
        assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(why), "{args:?}: {}", outcome.err);
        assert!(Print::of(&stick) == before, "{args:?}");
    }
    let outcome = call(
        &bench,
        &["--force", text(&image), text(&bench.path("new.img"))],
    );
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    assert!(outcome.err.contains("truncate"), "{}", outcome.err);
}

#[test]
fn the_name_can_be_a_subcommand_and_help_is_no_failure() {
    let bench = Bench::new();
    let link = call(&bench, &["--help"]);
    let sub = support::bench::ask(&[LINK, "--help"]);
    assert_eq!((link.code, sub.code), (Some(0), Some(0)));
    assert_eq!(link.out, sub.out);
    for row in livestick::livecd_iso_to_disk::rows::ROWS {
        assert!(link.out.contains(row.word()), "{}", row.word());
    }
}
