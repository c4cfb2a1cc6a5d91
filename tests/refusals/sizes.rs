// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes that are none, or that do not fit.

use std::fs;

use crate::support::bench::{Bench, ask};
use crate::support::lab::iso;
use crate::support::program::text;
use crate::{refuses, refuses_image};

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
