// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cannot be encrypted, or not opened at boot: refused before anything is made, with the reason.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::lab::{iso, livestick, scratch};
use crate::support::program::{command, text};
use crate::{ABLE, SECRET, SIZES};

/// Runs a write with these options, without a terminal; nothing may be made.
fn refused(image: &Path, options: &[&str]) -> Output {
    let dir = TempDir::new_in(scratch()).unwrap();
    let stick = dir.path().join("stick.img");
    let out = command("setsid")
        .arg("--wait")
        .arg(env!("CARGO_BIN_EXE_livestick"))
        .args([
            "write",
            text(image),
            text(&stick),
            "--size",
            "256MiB",
            "--yes",
        ])
        .args(options)
        .output()
        .unwrap();
    assert!(!stick.exists());
    out
}

#[test]
fn what_cannot_be_is_refused_with_the_reason_and_the_next_move() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        text(&path).to_owned()
    };
    let secret = file("secret", SECRET.as_bytes());
    let able = iso("grub2", &ABLE);
    let encrypt = ["--home-encrypt", "--home-passphrase-file", &secret];
    let all = [&SIZES[..], &encrypt].concat();
    let (long, empty, lines) = (
        file("long", &[b'x'; 513]),
        file("empty", b"\n"),
        file("lines", b"one\ntwo\n"),
    );
    let of = |path: &str| -> Vec<String> {
        let encrypt = ["--home-encrypt", "--home-passphrase-file", path];
        SIZES
            .iter()
            .chain(&encrypt)
            .map(|&word| word.to_owned())
            .collect()
    };
    let cases: Vec<(&Path, Vec<String>, i32, &str)> = vec![
        (
            &able,
            SIZES[4..]
                .iter()
                .chain(&encrypt)
                .map(|&w| w.into())
                .collect(),
            3,
            "add --overlay-size-mb",
        ),
        (
            &able,
            encrypt.iter().map(|&w| w.into()).collect(),
            2,
            "--home-size-mb",
        ),
        (
            &able,
            SIZES
                .iter()
                .chain(&encrypt[1..])
                .map(|&w| w.into())
                .collect(),
            2,
            "--home-encrypt",
        ),
        (
            &able,
            SIZES
                .iter()
                .chain(&encrypt[..1])
                .map(|&w| w.into())
                .collect(),
            3,
            "give --home-passphrase-file",
        ),
        (&able, of("/nonexistent/file"), 2, "/nonexistent/file"),
        (&able, of(&long), 2, "more than 512 bytes"),
        (&able, of(&empty), 2, "empty"),
        (&able, of(&lines), 2, "line end"),
    ];
    for (image, options, code, why) in cases {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let out = refused(image, &options);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{options:?}: {said}");
        assert!(said.contains(why), "{options:?}: {said}");
        assert!(!said.contains("Horse"));
    }
    for (parts, lacks) in [
        ("program library module", "systemd-cryptsetup-generator"),
        ("generator library module", "systemd-cryptsetup"),
        ("generator program module", "libcryptsetup.so.12"),
        ("generator program library", "dm-crypt"),
        ("", "systemd-cryptsetup"),
    ] {
        let image = iso("grub2", &["--cryptsetup", parts]);
        let out = refused(&image, &all);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(3), "{parts}: {said}");
        assert!(
            said.contains("the image lacks") && said.contains(lacks),
            "{said}"
        );
        assert!(said.contains("leave out --home-encrypt"), "{said}");
    }
    let taken = iso(
        "grub2",
        &[&ABLE[..], &["--crypttab", "stickhome UUID=x none"]].concat(),
    );
    let out = refused(&taken, &all);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("'stickhome' already"), "{said}");
}

#[test]
fn every_root_filesystem_tells_whether_it_can_open_it_and_keeps_its_own_lines() {
    let own = "other UUID=1-2 none luks";
    for kind in ["squashfs", "squashfs-ext4", "erofs"] {
        let options = [&ABLE[..], &["--rootfs", kind, "--crypttab", own]].concat();
        let image = iso("grub2", &options);
        let dry = ["--size", "256MiB", "--dry-run", "--json", "--home-encrypt"];
        let out = livestick(&[&["write", text(&image), "new.img"], &dry[..], &SIZES].concat());
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{kind}: {said}");
        let plan: Value = serde_json::from_str(&said).unwrap();
        let tree = plan["filesystems"][0]["tree"].as_array().unwrap();
        let is_table = |entry: &&Value| entry["path"].as_str().unwrap().ends_with("etc/crypttab");
        let table = tree.iter().find(is_table).unwrap()["text"]
            .as_str()
            .unwrap();
        assert!(
            table.starts_with(&format!("{own}\nstickhome UUID=")),
            "{table}"
        );
    }
}
