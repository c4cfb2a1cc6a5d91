// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions added to isohybrids, judged by the programs and crates of others.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod isohybrid;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use livestick::patch::Draft;
use livestick::request::Size;
use livestick::table::{GRAIN, Kind, NewPartition, Scheme, Table, TableError, Use};
use livestick::units::{Bytes, GIB, MIB};
use tempfile::TempDir;
use uuid::Uuid;

use isohybrid::stick::{make, make_from, make_with};
use isohybrid::{Shape, build};
use support::program::{root, run, text};
use support::stick::{judge_backup, judge_gpt, judge_mbr, sfdisk};

const FOUR_GIB: u64 = 4 * GIB;
const GPT_SHAPES: [Shape; 4] = [
    Shape::Grub2,
    Shape::Kiwi,
    Shape::ForceBootable,
    Shape::Mkrescue,
];
const MBR_SHAPES: [Shape; 5] = [
    Shape::Isolinux,
    Shape::IsolinuxMac,
    Shape::Debian,
    Shape::Arch,
    Shape::KiwiMbr,
];

const TWO: [Size; 2] = [Size::Fixed(Bytes(700 * MIB)), Size::Rest];

#[test]
fn the_table_that_counts_is_the_one_sfdisk_reads() {
    for shape in GPT_SHAPES.into_iter().chain(MBR_SHAPES) {
        let dir = TempDir::new().unwrap();
        let image = build(shape, dir.path());
        let table = Table::read(&fs::read(&image).unwrap()).unwrap();
        let (label, partitions) = sfdisk(&image);
        let scheme = match label["label"].as_str() {
            Some("gpt") => Scheme::Gpt,
            _ => Scheme::Mbr,
        };
        assert_eq!(table.scheme, scheme, "{shape:?}");
        assert_eq!(GPT_SHAPES.contains(&shape), scheme == Scheme::Gpt);
        assert_eq!(table.why_none, None);
        assert!(table.is_isohybrid() && table.boots_bios() && table.boots_uefi());
        assert_eq!(table.partitions.len(), partitions.len(), "{shape:?}");
        for (ours, (number, theirs)) in table.partitions.iter().zip(&partitions) {
            assert_eq!(ours.number, *number);
            assert_eq!(theirs["start"], ours.extent.at.0 / 512);
            assert_eq!(theirs["size"], ours.extent.len.0 / 512);
            match ours.kind {
                Kind::Mbr(kind) => assert_eq!(theirs["type"], format!("{kind:x}")),
                Kind::Gpt(kind) => {
                    assert_eq!(theirs["type"], kind.to_string().to_uppercase());
                    assert_eq!(theirs["name"], ours.name.clone().unwrap());
                    let unique = ours.unique.unwrap().to_string().to_uppercase();
                    assert_eq!(theirs["uuid"], unique);
                }
            }
            assert_eq!(theirs["bootable"].as_bool().unwrap_or(false), ours.active);
        }
        if scheme == Scheme::Gpt {
            let gpt = table.gpt.unwrap();
            let dump = run("sfdisk", &["-d", text(&image)]);
            assert!(dump.contains(&format!("\ntable-length: {}\n", gpt.entries)));
            assert_eq!(label["firstlba"], gpt.first_usable.0);
        }
    }
}

#[test]
fn facts_of_the_shapes_in_the_wild() {
    let facts = |shape| {
        let dir = TempDir::new().unwrap();
        let table = Table::read(&fs::read(build(shape, dir.path())).unwrap()).unwrap();
        let gpt = table.gpt.map(|gpt| (gpt.array.0, gpt.entries));
        (gpt, table.apm.is_some(), table.esp().map(|p| p.number))
    };
    assert_eq!(facts(Shape::Grub2), (Some((2, 248)), false, Some(2)));
    assert_eq!(facts(Shape::Mkrescue), (Some((20, 176)), true, Some(2)));
    assert_eq!(facts(Shape::Isolinux), (Some((12, 208)), true, Some(2)));
    assert_eq!(facts(Shape::KiwiMbr), (None, false, Some(2)));
}

#[test]
fn a_disc_only_image_has_no_table_and_gets_none() {
    let dir = TempDir::new().unwrap();
    let image = fs::read(build(Shape::DiscOnly, dir.path())).unwrap();
    let table = Table::read(&image).unwrap();
    assert_eq!(table.scheme, Scheme::None);
    assert!(!table.is_isohybrid());
    let mut draft = Draft::new(&image);
    let refused = table.add(&mut draft, Bytes(FOUR_GIB), &[]);
    assert!(matches!(refused, Err(TableError::NoTable { .. })));
}

#[test]
fn gpt_images_get_partitions_on_a_4_gib_stick() {
    for shape in GPT_SHAPES {
        let stick = make(shape, FOUR_GIB, &TWO);
        judge_gpt(&stick);
    }
}

#[test]
fn mbr_images_get_partitions_on_a_4_gib_stick() {
    for shape in MBR_SHAPES {
        let stick = make(shape, FOUR_GIB, &TWO);
        judge_mbr(&stick);
    }
}

#[test]
fn slots_that_have_type_0_and_an_extent_are_taken() {
    let stick = make(Shape::IsolinuxMac, FOUR_GIB, &[Size::Rest]);
    assert_eq!(stick.numbers, [4]);
    judge_mbr(&stick);
    let old = &stick.before.partitions;
    assert!(old.iter().any(|p| p.number == 3 && p.kind == Kind::Mbr(0)));
}

#[test]
fn logical_partitions_when_slots_run_out() {
    let fixed = Size::Fixed(Bytes::mib(101));
    for (shape, numbers) in [
        (Shape::IsolinuxMac, vec![5, 6]),
        (Shape::IsolinuxMac, vec![5, 6, 7, 8]),
        (Shape::Isolinux, vec![3, 5, 6]),
        (Shape::Isolinux, vec![3, 5, 6, 7]),
    ] {
        let mut sizes = vec![fixed; numbers.len() - 1];
        sizes.push(Size::Rest);
        let (stick, behind) = make_with(shape, FOUR_GIB, &sizes);
        assert_eq!(stick.numbers, numbers);
        judge_mbr(&stick);
        let logical = numbers.iter().filter(|n| **n > 4).count();
        assert_eq!(behind.len(), logical);
        let (_, seen) = sfdisk(&stick.path);
        let extended = seen.iter().find(|(_, p)| p["type"] == "f").unwrap();
        let end = stick.new.last().unwrap().extent.end().0 / 512;
        let length = &extended.1["size"];
        let start = &extended.1["start"];
        assert_eq!(length.as_u64().unwrap() + start.as_u64().unwrap(), end);
        assert_eq!(start.as_u64().unwrap() * 512 % GRAIN.0, 0);
        run("sfdisk", &["-V", text(&stick.path)]);
        // No program looks at how long a link says the next partition is: from its boot record to its end.
        let new = &stick.new[numbers.len() - logical..];
        for (record, next) in behind.iter().zip(&new[1..]) {
            let field = |at: usize| {
                let field = record.bytes[at..at + 4].try_into().unwrap();
                u64::from(u32::from_le_bytes(field))
            };
            assert_eq!(record.bytes[466], 5);
            let at = start.as_u64().unwrap() + field(470);
            assert_eq!(at * 512, next.extent.at.0 - GRAIN.0);
            assert_eq!((at + field(474)) * 512, next.extent.end().0);
        }
    }
}

#[test]
fn all_four_slots_taken_is_a_refusal() {
    let stick = make(Shape::IsolinuxMac, FOUR_GIB, &[Size::Rest]);
    let file = File::open(&stick.path).unwrap();
    let source = livestick::read::Source::new(file, Bytes(FOUR_GIB));
    let table = Table::read(&source).unwrap();
    let refused = table.space(Bytes(FOUR_GIB), Bytes(2 * FOUR_GIB), 1);
    let Err(TableError::NoFreeSlot { taken, asked }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((taken, asked), (4, 1));
}

#[test]
fn media_of_odd_sizes_and_hardly_larger_than_the_image() {
    for shape in [Shape::Grub2, Shape::Mkrescue, Shape::Isolinux] {
        let dir = TempDir::new().unwrap();
        let image = fs::metadata(build(shape, dir.path())).unwrap().len();
        for medium in [
            FOUR_GIB + 512,
            FOUR_GIB - 7 * 512,
            31_914_983_424,
            image.next_multiple_of(4 * MIB) + 4 * MIB + 64 * 512,
        ] {
            let stick = make(shape, medium, &[Size::Rest]);
            match stick.before.scheme {
                Scheme::Gpt => judge_gpt(&stick),
                _ => judge_mbr(&stick),
            }
            let free = medium - stick.new[0].extent.end().0;
            assert!(free < 4 * MIB + 63 * 512, "{free} bytes wasted");
        }
    }
}

#[test]
fn an_mbr_ends_at_2_tib_and_a_gpt_does_not() {
    let medium = 3 << 40;
    let stick = make(Shape::Isolinux, medium, &[Size::Rest]);
    judge_mbr(&stick);
    assert_eq!(stick.new[0].extent.end(), Bytes(2 << 40));
    let stick = make(Shape::Grub2, medium, &TWO);
    judge_gpt(&stick);
    assert!(stick.new[1].extent.end() > Bytes(medium - 4 * MIB - 63 * 512));

    let stick = make(Shape::Isolinux, medium, &[]);
    let image = fs::read(&stick.image).unwrap();
    let mut partition = make(Shape::Isolinux, FOUR_GIB, &[Size::Rest]).new[0].clone();
    partition.extent.at = Bytes((2 << 40) - GRAIN.0);
    partition.extent.len = Bytes(2 * GRAIN.0);
    let mut draft = Draft::new(&image);
    let refused = stick.before.add(&mut draft, Bytes(medium), &[partition]);
    assert!(
        matches!(refused, Err(TableError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(draft.patches().unwrap(), []);
}

/// An image of 64 MiB with the partitions of an sfdisk script.
fn scripted(script: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image");
    File::create(&image).unwrap().set_len(64 * MIB).unwrap();
    let path = dir.path().join("script");
    fs::write(&path, script).unwrap();
    let command = format!("sfdisk -q {} < {}", text(&image), text(&path));
    run("sh", &["-c", &command]);
    (dir, image)
}

#[test]
fn entry_arrays_of_any_length_and_holes_in_the_numbers() {
    for (length, last, numbers) in [
        (4, 2, [3, 4]),
        (128, 77, [78, 79]),
        (130, 1, [2, 3]),
        (1000, 3, [4, 5]),
    ] {
        let first = 2048;
        let (dir, image) = scripted(&format!(
            "label: gpt\ntable-length: {length}\nfirst-lba: {first}\n{last}: start=4096, size=2048, name=x\n"
        ));
        // sfdisk and blkid are asked about an ISO otherwise; here a bare table is enough for sgdisk and the gpt crate.
        let (stick, _) = make_from(dir, image, FOUR_GIB, &TWO);
        assert_eq!(stick.numbers, numbers);
        judge_backup(&stick);
        let verdict = run("sgdisk", &["-v", text(&stick.path)]);
        assert!(verdict.contains("No problems found"), "{length}: {verdict}");
        let disk = gpt::GptConfig::new().writable(false);
        let disk = disk.open(&stick.path).unwrap();
        assert_eq!(disk.backup_header().unwrap().num_parts, length);
        let seen: Vec<u32> = disk.partitions().keys().copied().collect();
        assert_eq!(seen, [&[last][..], &numbers].concat());
        let (_, seen) = sfdisk(&stick.path);
        assert_eq!(seen.len(), 3);
    }
}

#[test]
fn a_full_entry_array_is_a_refusal() {
    let (_dir, image) = scripted("label: gpt\ntable-length: 4\n3: start=4096, size=2048\n");
    let image = fs::read(&image).unwrap();
    let table = Table::read(&image).unwrap();
    let partition = |at| NewPartition {
        extent: livestick::units::Extent {
            at: Bytes::mib(at),
            len: Bytes::mib(4),
        },
        name: "x".repeat(36),
        what: Use::LinuxData,
        unique: Uuid::from_u128(7),
    };
    let mut draft = Draft::new(&image);
    let two = [partition(64), partition(68)];
    let refused = table.add(&mut draft, Bytes(FOUR_GIB), &two);
    assert!(
        matches!(
            refused,
            Err(TableError::ArrayFull {
                entries: 4,
                last: 3,
                asked: 2
            })
        ),
        "{refused:?}"
    );
    assert_eq!(draft.patches().unwrap(), []);
    let added = table.add(&mut draft, Bytes(FOUR_GIB), &two[..1]).unwrap();
    assert_eq!(added.numbers, [4]);
}

#[test]
fn the_protective_record_of_a_hybrid_mbr_keeps_its_length() {
    let (dir, image) = scripted("label: gpt\n1: start=4096, size=2048\n");
    run("sgdisk", &["-h", "1", text(&image)]);
    let before = fs::read(&image).unwrap();
    let (stick, _) = make_from(dir, image, FOUR_GIB, &TWO);
    assert_eq!(stick.before.scheme, Scheme::Gpt);
    let mut head = vec![0; 512];
    let file = File::open(&stick.path).unwrap();
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == before[..512]);
    let verdict = run("sgdisk", &["-v", text(&stick.path)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
}

#[test]
fn a_gpt_is_fitted_to_the_medium_without_new_partitions() {
    let stick = make(Shape::Grub2, FOUR_GIB, &[]);
    judge_gpt(&stick);
    let (stick, behind) = make_with(Shape::Isolinux, FOUR_GIB, &[]);
    assert_eq!(fs::metadata(&stick.path).unwrap().len(), FOUR_GIB);
    assert!(behind.is_empty());
    judge_mbr(&stick);
}

#[test]
fn the_kernel_takes_the_partitions() {
    if !root() {
        return;
    }
    for (shape, sizes) in [
        (Shape::Grub2, &TWO[..]),
        (Shape::Isolinux, &TWO[..]),
        (Shape::IsolinuxMac, &TWO[..]),
    ] {
        let stick = make(shape, FOUR_GIB, sizes);
        let device = run("losetup", &["-f", "--show", text(&stick.path)]);
        let device = device.trim();
        let name = device.rsplit('/').next().unwrap();
        // One at a time: BLKPG, unlike the kernel's own scan, refuses the overlapping partitions of the image.
        let seen: Vec<_> = stick
            .numbers
            .iter()
            .map(|number| {
                run("partx", &["-a", "-n", &number.to_string(), device]);
                let of = |file| {
                    let path = format!("/sys/class/block/{name}p{number}/{file}");
                    fs::read_to_string(path)
                        .unwrap()
                        .trim()
                        .parse::<u64>()
                        .unwrap()
                };
                (of("start"), of("size"))
            })
            .collect();
        run("partx", &["-d", device]);
        run("losetup", &["-d", device]);
        let planned = stick.new.iter().map(|p| p.extent);
        let planned: Vec<_> = planned.map(|e| (e.at.0 / 512, e.len.0 / 512)).collect();
        assert_eq!(seen, planned);
    }
}
