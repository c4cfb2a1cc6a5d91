// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record, judged by a program that was written from its man page alone (`tests/lab/record-reader`), and by the
//! commands in the page's own example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use livestick::digest::hex;
use livestick::read::{ReadAt, ReadError, Source};
use livestick::record::place::{self, WriteAt};
use livestick::record::{CHUNK, Change, Kept, REGION_GRAIN, Record, tree};
use livestick::record::{EspFile, Origin, OriginStanding, Part, RecordedImage};
use livestick::units::{Bytes, Extent, MIB};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use support::program::{command, run, text};

/// A file that is written to as a stick would be.
struct Stick(Source);

impl ReadAt for Stick {
    fn len(&self) -> Bytes {
        self.0.len()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact_at(at, buf)
    }
}

impl WriteAt for Stick {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        self.0.file().write_all_at(bytes, at.0).unwrap();
        Ok(())
    }

    fn flush(&self) -> Result<(), ReadError> {
        self.0.file().sync_all().unwrap();
        Ok(())
    }
}

/// An image of five and a half chunks on a stick that was changed at three places, one of them across two chunks.
fn made_up(dir: &TempDir) -> (PathBuf, Record) {
    let image: Vec<u8> = (0..5 * MIB + MIB / 2)
        .map(|i| (i % 251).to_le_bytes()[0] ^ (i >> 10).to_le_bytes()[0])
        .collect();
    let change = |at: u64, len: usize| {
        let from = usize::try_from(at).unwrap();
        let before = image[from..from + len].to_vec();
        Change {
            at: Bytes(at),
            after: before.iter().map(|byte| !byte).collect(),
            before,
            why: "für den Test".into(),
        }
    };
    let changes = vec![change(446, 16), change(MIB - 100, 300), change(4 * MIB, 1)];
    let mut stick = image.clone();
    for change in &changes {
        let at = change.at.index().unwrap();
        stick[at..at + change.after.len()].copy_from_slice(&change.after);
    }
    let chunks = stick.chunks(CHUNK.index().unwrap()).map(tree::leaf);
    let medium = Bytes::mib(24);
    let size = Bytes(image.len() as u64);
    let record = Record {
        generation: 3,
        tool: "livestick 1.0.0".into(),
        written: 1_763_700_000,
        image: RecordedImage {
            name: "lab.iso".into(),
            label: "Lab".into(),
            size,
            sha256: Sha256::digest(&image).into(),
            origin: Origin {
                standing: OriginStanding::Listed,
                words: "listed in an unsigned file".into(),
            },
        },
        medium,
        region: Extent {
            at: size.align_up(REGION_GRAIN),
            len: Bytes::mib(2),
        },
        kept: vec![Kept {
            at: Bytes(medium.0 - 1024),
            bytes: vec![0xCC; 1024],
            what: "backup".into(),
        }],
        parts: vec![Part {
            purpose: "home".into(),
            number: 3,
            extent: Extent {
                at: Bytes::mib(12),
                len: Bytes::mib(8),
            },
            kind: "ext4".into(),
            uuid: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            partuuid: "1234abcd-03".into(),
        }],
        making: "{}".into(),
        esp: vec![EspFile {
            path: "/EFI/BOOT/grub.cfg".into(),
            size: Bytes(5),
            sha256: [8; 32],
        }],
        changes,
        chunks: chunks.collect(),
    };
    let path = dir.path().join("stick");
    fs::write(&path, &stick).unwrap();
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    file.set_len(medium.0).unwrap();
    for kept in &record.kept {
        file.write_all_at(&kept.bytes, kept.at.0).unwrap();
    }
    place::store(&Stick(Source::new(file, medium)), &record).unwrap();
    (path, record)
}

/// Whether the reader says that everything holds, and what it says.
fn read(arguments: &[&str]) -> (bool, Value) {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");
    let out = support::program::output(reader, arguments);
    let said = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
    (out.status.success(), said)
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn another_program_reads_what_was_stored() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, record) = made_up(&dir);
    let (holds, said) = read(&["--check", text(&path)]);
    assert!(holds, "{said}");
    let at = record.region.at.0;
    assert_eq!(said["copies"][0]["at"], at);
    assert_eq!(said["copies"][1]["at"], at + MIB);
    let told = &said["record"];
    assert_eq!(told["generation"], record.generation);
    assert_eq!(told["written"], record.written);
    assert_eq!(told["tool"], record.tool);
    assert_eq!(told["image"]["name"], record.image.name);
    assert_eq!(told["image"]["label"], record.image.label);
    assert_eq!(told["image"]["words"], record.image.origin.words);
    assert_eq!(told["image"]["standing"], 1);
    assert_eq!(told["image"]["size"], record.image.size.0);
    assert_eq!(told["image"]["sha256"], hex(&record.image.sha256));
    assert_eq!(told["medium"], record.medium.0);
    assert_eq!(told["region"]["length"], record.region.len.0);
    assert_eq!(told["changes"][1]["at"], MIB - 100);
    assert_eq!(told["changes"][1]["before"], hex(&record.changes[1].before));
    assert_eq!(told["changes"][1]["after"], hex(&record.changes[1].after));
    assert_eq!(told["changes"][1]["why"], record.changes[1].why);
    assert_eq!(told["kept"][0]["bytes"], hex(&record.kept[0].bytes));
    assert_eq!(told["kept"][0]["what"], "backup");
    let part = &told["partitions"][0];
    assert_eq!(part["uuid"], "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(
        (&part["number"], &part["at"]),
        (&3.into(), &(12 * MIB).into())
    );
    assert_eq!(
        (&part["purpose"], &part["kind"]),
        (&"home".into(), &"ext4".into())
    );
    assert_eq!(part["partuuid"], "1234abcd-03");
    assert_eq!(told["esp"][0]["path"], "/EFI/BOOT/grub.cfg");
    assert_eq!(told["root"], hex(&record.root()));
    let (holds, _) = read(&["--at", &(at + MIB).to_string(), "--check", text(&path)]);
    assert!(holds);
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");
    let size = record.image.size.to_string();
    let root = run(reader, &["--tree", text(&path), &size]);
    assert_eq!(root.trim(), hex(&record.root()));
}

/// The judge can say no.
#[test]
fn another_program_notices_what_was_damaged() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, record) = made_up(&dir);
    let region = record.region.at.0;
    for (at, what, found) in [
        (3 * MIB + 7, "chunks", Value::from(vec![3])),
        (3 * MIB + 7, "changes", Value::from(Vec::<u64>::new())),
        (MIB + 5, "changes", Value::from(vec![MIB - 100])),
        (
            record.medium.0 - 3,
            "kept",
            Value::from(vec![record.kept[0].at.0]),
        ),
    ] {
        flip(&path, at);
        let (holds, said) = read(&["--check", text(&path)]);
        assert!(!holds, "{at}");
        assert_eq!(said["check"][what], found, "{at}");
        flip(&path, at);
    }
    for at in [region + 20, region + 500, region + MIB + 130] {
        flip(&path, at);
        let (holds, said) = read(&["--check", text(&path)]);
        assert!(!holds && said["record"]["generation"] == 3, "{said}");
        let copies = said["copies"].as_array().unwrap();
        let damaged = copies.iter().filter(|copy| copy["state"] == "damaged");
        assert_eq!(damaged.count(), 1, "{said}");
        flip(&path, at);
    }
    assert!(read(&["--check", text(&path)]).0);
}

/// The commands of the page do what the page says.
#[test]
fn the_example_of_the_page_proves_the_image() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (path, record) = made_up(&dir);
    let page = include_str!("../man/livestick-record.5");
    let mut script = "set -eu\n".to_owned();
    let mut example = false;
    for line in page.lines() {
        match line {
            ".EX" => example = true,
            ".EE" => example = false,
            _ if example => script += &(line.replace("\\-", "-").replace("\\e", "\\") + "\n"),
            _ => {}
        }
    }
    let out = command("sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("STICK", &path)
        .env("FIRST", record.region.at.to_string())
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let said = String::from_utf8(out.stdout).unwrap();
    let digests: Vec<&str> = said.lines().map(|line| &line[..64]).collect();
    let [
        seal,
        sealed,
        body,
        digested,
        leaf,
        recorded,
        image,
        published,
    ] = digests[..]
    else {
        panic!("{said}");
    };
    assert_eq!(seal, sealed);
    assert_eq!(body, digested);
    assert_eq!(leaf, recorded);
    assert_eq!(image, published);
    assert_eq!(image, hex(&record.image.sha256));
    assert_eq!(leaf, hex(&record.chunks[0]));
}

/// What `livestick write` makes of each layout, alone and with partitions behind it, in a file and on rubbish.
#[test]
fn every_stick_that_is_written_has_a_record_that_holds() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for layout in ["grub2", "isolinux", "isolinux-mac", "kiwi"] {
        let image = support::lab::iso(layout, &[]);
        let size = fs::metadata(&image).unwrap().len();
        let digest = hex(&Sha256::digest(fs::read(&image).unwrap()));
        for (plain, more) in [
            (true, &[][..]),
            (
                false,
                &["--overlay-size-mb", "32", "--home-size-mb", "32"][..],
            ),
        ] {
            let path = dir.path().join("stick.img");
            let room = size.next_multiple_of(4 * MIB) + 100 * MIB;
            let room = format!("{room}B");
            let arguments = [
                &["write", text(&image), text(&path), "--size", &room, "--yes"][..],
                &[
                    "--seed",
                    layout,
                    "--overlay-fs",
                    "ext4",
                    "--home-fs",
                    "ext4",
                ][..if plain { 2 } else { 6 }],
                more,
            ]
            .concat();
            let out = support::lab::livestick(&arguments);
            assert!(out.status.success(), "{arguments:?}: {out:?}");
            let (holds, said) = read(&["--check", text(&path)]);
            assert!(holds, "{layout}: {}", said["check"]);
            let told = &said["record"];
            assert_eq!(told["image"]["sha256"], digest);
            assert_eq!(told["image"]["size"], size);
            assert_eq!(told["medium"], fs::metadata(&path).unwrap().len());
            let purposes: Vec<_> = told["partitions"]
                .as_array()
                .unwrap()
                .iter()
                .map(|part| part["purpose"].as_str().unwrap())
                .collect();
            if plain {
                assert_eq!(told["changes"], Value::from(Vec::<u64>::new()), "{layout}");
                assert!(purposes.is_empty());
            } else {
                assert_eq!(purposes, ["overlay", "home"]);
                assert!(!told["changes"].as_array().unwrap().is_empty());
                // The filesystems are those that are there.
                for part in told["partitions"].as_array().unwrap() {
                    let at = part["at"].to_string();
                    let arguments = ["-p", "-O", &at, "-s", "UUID", "-o", "value", text(&path)];
                    assert_eq!(run("blkid", &arguments).trim(), part["uuid"]);
                }
            }
            fs::remove_file(&path).unwrap();
        }
    }
}
