// SPDX-License-Identifier: MIT OR Apache-2.0
//! Targets that are none.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::refuses;
use crate::support::bench::Bench;
use crate::support::lab::iso;
use crate::support::program::{run, text};

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
