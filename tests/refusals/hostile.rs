// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images made to harm.

use std::fs;
use std::path::Path;

use livestick::command::plan;
use livestick::host::Host;
use livestick::refusal::Refusal;
use livestick::request::{Request, Size, Wanted};
use livestick::units::Bytes;
use proptest::prelude::*;

use crate::support::bench::{Bench, ask, peek, poke};
use crate::support::lab::iso;
use crate::support::program::text;

/// Directory records of a directory's block, by where they are: (offset, name).
fn records(image: &[u8], block: usize) -> Vec<(usize, Vec<u8>)> {
    let mut at = block * 2048;
    let mut found = Vec::new();
    while at < image.len() && image[at] != 0 {
        let name = usize::from(image[at + 32]);
        found.push((at, image[at + 33..][..name].to_vec()));
        at += usize::from(image[at]);
    }
    found
}

fn both_endian(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// Inspecting and writing it ends soon, with a documented status and without a panic.
fn survives(image: &Path) {
    let bench = Bench::new();
    let target = bench.path("stick.img");
    let args = [
        "write",
        text(image),
        text(&target),
        "--size",
        "300MiB",
        "-y",
    ];
    let all: [&[&str]; 4] = [
        &["inspect", text(image)],
        &["inspect", "--json", text(image)],
        &args,
        &[
            &args[..],
            &["-n", "--overlay-size", "rest", "--overlay-fs", "ext4"],
        ]
        .concat(),
    ];
    for args in all {
        let outcome = ask(args);
        assert!(
            matches!(outcome.code, Some(0 | 3 | 4)),
            "{args:?}: {outcome:?}"
        );
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
        if outcome.code != Some(0) {
            assert_eq!(
                outcome.err.lines().count() + outcome.out.lines().count(),
                1,
                "{outcome:?}"
            );
            assert!(!target.exists());
        }
        let _ = fs::remove_file(&target);
    }
}

#[test]
fn hostile_directories_end_in_a_refusal_or_in_facts() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let bytes = fs::read(&original).unwrap();
    let root = |descriptor: usize| {
        let at = descriptor * 2048 + 156 + 2;
        u32::from_le_bytes(bytes[at..][..4].try_into().unwrap())
    };
    for what in ["loop", "beyond", "endless", "zero", "self"] {
        let hostile = bench.copy(&original, "hostile.iso");
        // The primary and the Joliet tree.
        for descriptor in [16, 18] {
            let root = root(descriptor);
            if root == 0 || bytes[descriptor * 2048] == 255 {
                continue;
            }
            for (at, name) in records(&bytes, root as usize) {
                let itself = name == [0] || name == [1];
                match what {
                    "loop" if !itself && bytes[at + 25] & 2 != 0 => {
                        poke(&hostile, at as u64 + 2, &both_endian(root));
                    }
                    "beyond" if !itself => {
                        poke(&hostile, at as u64 + 2, &both_endian(u32::MAX - 15));
                    }
                    "endless" => {
                        poke(&hostile, at as u64 + 10, &both_endian(u32::MAX));
                    }
                    "zero" if !itself => {
                        poke(&hostile, at as u64, &[1]);
                    }
                    "self" => {
                        poke(&hostile, at as u64 + 25, &[2]);
                        poke(&hostile, at as u64 + 2, &both_endian(root));
                    }
                    _ => {}
                }
            }
        }
        survives(&hostile);
    }
}

#[test]
fn hostile_partition_tables_end_in_a_refusal_or_in_facts() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let header = peek(&original, 512, 92);
    assert_eq!(&header[..8], b"EFI PART");
    let fields: [(usize, Vec<u8>); 12] = [
        (80, u32::MAX.to_le_bytes().to_vec()),
        (80, 0u32.to_le_bytes().to_vec()),
        (84, u32::MAX.to_le_bytes().to_vec()),
        (84, 0u32.to_le_bytes().to_vec()),
        (84, 1u32.to_le_bytes().to_vec()),
        (12, u32::MAX.to_le_bytes().to_vec()),
        (12, 0u32.to_le_bytes().to_vec()),
        (72, u64::MAX.to_le_bytes().to_vec()),
        (72, 0u64.to_le_bytes().to_vec()),
        (40, u64::MAX.to_le_bytes().to_vec()),
        (48, u64::MAX.to_le_bytes().to_vec()),
        (24, u64::MAX.to_le_bytes().to_vec()),
    ];
    for (at, value) in fields {
        let hostile = bench.copy(&original, "hostile.iso");
        let mut changed = header.clone();
        changed[at..at + value.len()].copy_from_slice(&value);
        changed[16..20].fill(0);
        let sum = crc32fast::hash(&changed);
        changed[16..20].copy_from_slice(&sum.to_le_bytes());
        poke(&hostile, 512, &changed);
        survives(&hostile);
    }
    // An MBR whose partitions are everywhere and nowhere; a boot catalogue of 255 entries each.
    let hostile = bench.copy(&original, "hostile.iso");
    poke(&hostile, 446, &[0xFF; 64]);
    survives(&hostile);
    let hostile = bench.copy(&iso("isolinux", &[]), "hostile.iso");
    let extended = [0x80, 0, 0, 0, 0x05, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    poke(&hostile, 446 + 32, &extended);
    survives(&hostile);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes changed wherever something is parsed: there is a plan or a refusal, and never a panic.
    #[test]
    fn a_mutated_image_is_planned_or_refused(
        layout in prop::sample::select(vec!["grub2", "isolinux", "kiwi"]),
        changes in prop::collection::vec((0u8..6, any::<u32>(), any::<u8>()), 1..12),
    ) {
        let original = iso(layout, &[]);
        let bench = Bench::new();
        let copy = bench.copy(&original, "mutated.iso");
        let size = fs::metadata(&original).unwrap().len();
        for (where_, offset, byte) in changes {
            // The tables, the descriptors and directories, anywhere, the end.
            let (from, len) = match where_ {
                0 => (0, 2048),
                1 => (32768, 8192),
                2 | 3 => (32768, 262_144),
                4 => (0, size),
                _ => (size - 65536, 65536),
            };
            poke(&copy, from + u64::from(offset) % len, &[byte]);
        }
        let host = Host::look();
        let request = Request {
            image: copy,
            target: bench.path("stick.img"),
            create: Some(Bytes::mib(600)),
            overlay: Some(Wanted { size: Size::Rest, fs: None }),
            ..Request::default()
        };
        let seen = plan(&request, &host);
        prop_assert!(!matches!(seen, Err(Refusal::Target(_))));
        prop_assert!(!bench.path("stick.img").exists());
    }
}
