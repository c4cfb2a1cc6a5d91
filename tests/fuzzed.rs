// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bodies of the fuzzer on a stable compiler: small files of every format, made by the programs that make the real
//! ones, with some bytes changed, cut out or doubled. The fuzzer itself goes further: see `fuzz/`.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

static SEEDS: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let made = Command::new(script).arg(dir.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    dir
});

/// What is done to a file: where, as a share of it, and what.
type Change = (u16, u8, u8);

fn change(mut bytes: Vec<u8>, changes: &[Change], near: usize) -> Vec<u8> {
    for (share, what, value) in changes {
        // Half of the changes go where a format keeps its heads.
        let range = if share % 2 == 0 {
            bytes.len().min(near)
        } else {
            bytes.len()
        };
        if range == 0 {
            break;
        }
        let at = usize::from(*share) * range / (usize::from(u16::MAX) + 1);
        let end = (at + usize::from(*value) + 1).min(bytes.len());
        match what % 6 {
            0 | 1 => bytes[at] = *value,
            2 => bytes[at] ^= 1 << (value % 8),
            3 => bytes[at..(at + 4).min(end)].fill(*value | 0xF0),
            4 => {
                bytes.drain(at..end);
            }
            _ => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// Runs `body` on every seed as it is, then on changed ones.
fn fuzzed(target: &str, near: usize, cases: u32, body: fn(&[u8])) {
    let directory = fs::read_dir(SEEDS.path().join(target)).unwrap();
    let seeds: Vec<Vec<u8>> = directory
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    body(&[]);
    for seed in &seeds {
        body(seed);
    }
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let one = (
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<Change>(), 1..8),
    );
    proptest!(config, |((seed, changes) in one)| {
        body(&change(seed.get(&seeds).clone(), &changes, near));
    });
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(bytes in prop::collection::vec(any::<u8>(), 0..2048))| body(&bytes));
}

#[test]
fn iso9660() {
    fuzzed("iso9660", 262_144, 200, bodies::iso9660);
}

#[test]
fn gpt_mbr() {
    fuzzed("gpt_mbr", 34 * 512, 300, bodies::gpt_mbr);
}

#[test]
fn initrd() {
    fuzzed("initrd", 128, 1000, bodies::initrd);
}

#[test]
fn root() {
    fuzzed("root", 512, 1000, bodies::root);
}

#[test]
fn grub() {
    fuzzed("grub", 1200, 500, bodies::grub);
}

#[test]
fn isolinux() {
    fuzzed("isolinux", 1200, 500, bodies::isolinux);
}

#[test]
fn fat() {
    fuzzed("fat", 16384, 200, bodies::fat);
}

#[test]
fn record() {
    fuzzed("record", 4096, 200, bodies::record);
}

#[test]
fn luks() {
    fuzzed("luks", 600, 300, bodies::luks);
}

/// Written by another program from the man page.
#[test]
fn the_seeds_of_the_record_are_records() {
    for entry in fs::read_dir(SEEDS.path().join("record")).unwrap() {
        let copy = fs::read(entry.unwrap().path()).unwrap();
        let (header, record) = livestick::record::form::decode(&copy).unwrap();
        assert_eq!((header.generation, header.length), (7, copy.len()));
        assert_eq!(
            livestick::record::form::encode(&record, header.here, header.other),
            copy
        );
    }
}

#[test]
fn published() {
    fuzzed("published", 200, 1000, bodies::published);
}

/// Found by the fuzzer: what is not quite a directory's name for itself is one like any other, and may lie anywhere.
#[test]
fn a_directory_that_only_looks_like_itself_is_followed_with_care() {
    let seed = fs::read(SEEDS.path().join("fat/fat12")).unwrap();
    let record = seed
        .windows(11)
        .position(|name| name == b".          ")
        .unwrap();
    for name in [
        b".          ",
        b". X        ",
        b"..         ",
        b".. X       ",
    ] {
        for cluster in [0, 1, 2, 3, 5, 300, 0xFF7, 0xFFF, 0xFFFF_u16] {
            let mut hostile = seed.clone();
            hostile[record..record + 11].copy_from_slice(name);
            hostile[record + 26..record + 28].copy_from_slice(&cluster.to_le_bytes());
            bodies::fat(&hostile);
        }
    }
}

/// Found by the fuzzer: two live entries share the arguments in front of them, and one is there to do without.
#[test]
fn a_menu_that_cannot_be_made_persistent_is_not_called_edited() {
    let menu = "default menu.c32\nkernel vmlinuz\nappend initrd=initrd.img root=live:CDLABEL=Lab rd.live.image\n\
        label a\n  menu label Start without persistence\nlabel b\n  menu label Start\n";
    bodies::isolinux(menu.as_bytes());
}
