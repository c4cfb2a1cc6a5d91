// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions added to isohybrids, judged by the programs and crates of others.

mod isohybrid;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use livestick::patch::{After, Draft};
use livestick::plan::layout::{Ask, Purpose, Size, lay_out};
use livestick::table::{Added, GRAIN, Kind, NewPartition, Scheme, Table, TableError, Use};
use livestick::units::{Bytes, GIB, MIB};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use isohybrid::{Shape, build, run, text};

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

/// An image and the stick made from it.
struct Stick {
    _dir: TempDir,
    image: PathBuf,
    stick: PathBuf,
    before: Table,
    added: Added,
    new: Vec<NewPartition>,
}

fn wanted(sizes: &[Size]) -> Vec<Ask> {
    let ask = |(i, size): (usize, &Size)| Ask {
        what: [Purpose::Overlay, Purpose::Home][i % 2],
        size: *size,
        smallest: Bytes::mib(1),
    };
    sizes.iter().enumerate().map(ask).collect()
}

/// Plans the partitions on a medium of `medium` bytes and makes the stick as the plan says. The medium was used before:
/// its end is full of other things, a backup GPT at the very end among them.
fn make(shape: Shape, medium: u64, sizes: &[Size]) -> Stick {
    let dir = TempDir::new().unwrap();
    let image = build(shape, dir.path());
    make_from(dir, image, medium, sizes)
}

fn make_from(dir: TempDir, image: PathBuf, medium: u64, sizes: &[Size]) -> Stick {
    let bytes = fs::read(&image).unwrap();
    let before = Table::read(&bytes).unwrap();
    let space = before
        .space(Bytes(bytes.len() as u64), Bytes(medium), sizes.len())
        .unwrap();
    let slots = lay_out(&space, &wanted(sizes)).unwrap();
    let new: Vec<NewPartition> = slots
        .iter()
        .enumerate()
        .map(|(i, slot)| NewPartition {
            extent: slot.extent,
            name: format!("live-{}-{i}", slot.what),
            what: Use::LinuxData,
            unique: Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_0000 + i as u128),
        })
        .collect();
    let mut draft = Draft::new(&bytes);
    let added = before.add(&mut draft, Bytes(medium), &new).unwrap();
    let patches = draft.patches().unwrap();

    let stick = dir.path().join("stick.img");
    fs::copy(&image, &stick).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&stick)
        .unwrap();
    file.set_len(medium).unwrap();
    let stale = medium.saturating_sub(MIB).max(bytes.len() as u64);
    let mut rubbish = vec![0xA5; usize::try_from(medium - stale).unwrap()];
    let last = rubbish.len() / 512 * 512 - 512;
    rubbish[last..last + 8].copy_from_slice(b"EFI PART");
    file.write_all_at(&rubbish, stale).unwrap();
    for patch in &patches {
        let After::Bytes(after) = &patch.after else {
            panic!("{patch:?}");
        };
        file.write_all_at(after, patch.at.0).unwrap();
    }
    for piece in &added.behind {
        assert!(piece.at.0 >= bytes.len() as u64);
        assert!(piece.at.0 + piece.bytes.len() as u64 <= medium);
        for partition in &new {
            let piece = livestick::units::Extent {
                at: piece.at,
                len: Bytes(piece.bytes.len() as u64),
            };
            assert!(!partition.extent.overlaps(piece));
        }
        file.write_all_at(&piece.bytes, piece.at.0).unwrap();
    }
    drop(file);

    // Inside the image, exactly the plan's ranges differ.
    let mut now = vec![0; bytes.len()];
    let file = File::open(&stick).unwrap();
    file.read_exact_at(&mut now, 0).unwrap();
    for patch in &patches {
        let range = patch.extent().range();
        let (from, to) = (range.start as usize, range.end as usize);
        assert_ne!(now[from], bytes[from]);
        assert_ne!(now[to - 1], bytes[to - 1]);
        assert_eq!(bytes[from..to], patch.before);
        now[from..to].copy_from_slice(&bytes[from..to]);
    }
    assert!(now == bytes, "something outside the patches changed");
    assert!(patches.iter().map(|p| p.before.len()).sum::<usize>() < 300 * (1 + new.len()));
    Stick {
        _dir: dir,
        image,
        stick,
        before,
        added,
        new,
    }
}

/// sfdisk's view: label, and per partition number its attributes without the file's name.
fn sfdisk(path: &Path) -> (Value, Vec<(u32, Value)>) {
    let dump: Value = serde_json::from_str(&run("sfdisk", &["-J", text(path)])).unwrap();
    let mut table = dump["partitiontable"].clone();
    let partitions = table["partitions"].take();
    let numbered = partitions.as_array().unwrap().iter().map(|partition| {
        let mut partition = partition.clone();
        let node = partition["node"].take();
        let number = node.as_str().unwrap().rsplit(|c: char| !c.is_ascii_digit());
        (
            number.into_iter().next().unwrap().parse().unwrap(),
            partition,
        )
    });
    let partitions = numbered.collect();
    (table, partitions)
}

/// What everyone must agree on, whatever the table.
fn judge(stick: &Stick) {
    // sfdisk: the old lines unchanged, the new ones as planned.
    let (old_label, old) = sfdisk(&stick.image);
    let (label, now) = sfdisk(&stick.stick);
    assert_eq!(old_label["label"], label["label"]);
    if old_label["id"] == "0x00000000" {
        assert_ne!(label["id"], old_label["id"]);
    } else {
        assert_eq!(old_label["id"], label["id"]);
    }
    for (number, partition) in &old {
        let same = now.iter().find(|(n, _)| n == number);
        assert_eq!(same.map(|(_, p)| p), Some(partition), "partition {number}");
    }
    let of = |number: &u32| {
        now.iter()
            .find(|(n, _)| n == number)
            .map(|(_, p)| p)
            .unwrap()
    };
    for (number, new) in stick.added.numbers.iter().zip(&stick.new) {
        let seen = of(number);
        assert!(!old.iter().any(|(n, _)| n == number));
        assert_eq!(seen["start"], new.extent.at.0 / 512);
        assert_eq!(seen["size"], new.extent.len.0 / 512);
        assert!(new.extent.at.0.is_multiple_of(4 * MIB));
    }
    // libblkid, through partx: numbers, places, PARTUUIDs.
    let listing = run(
        "partx",
        &[
            "-r",
            "-g",
            "-o",
            "NR,START,SECTORS,UUID",
            text(&stick.stick),
        ],
    );
    for ((number, new), partuuid) in stick
        .added
        .numbers
        .iter()
        .zip(&stick.new)
        .zip(&stick.added.partuuids)
    {
        let (start, sectors) = (new.extent.at.0 / 512, new.extent.len.0 / 512);
        let line = format!("{number} {start} {sectors} {partuuid}");
        assert!(
            listing.lines().any(|l| l == line),
            "no {line:?} in:\n{listing}"
        );
    }
    let probed = run("blkid", &["-p", "-o", "export", text(&stick.stick)]);
    let kind = match stick.before.scheme {
        Scheme::Gpt => "PTTYPE=gpt",
        _ => "PTTYPE=dos",
    };
    assert!(probed.contains(kind), "{probed}");
    assert!(probed.contains("TYPE=iso9660"), "{probed}");
    // xorriso: system area, Apple map and boot catalog as they were; only what was entered and fitted differs.
    let (before, after) = (reports(&stick.image), reports(&stick.stick));
    for line in &before {
        assert!(after.contains(line), "lost: {line}\n{after:#?}");
    }
    // livestick itself reads back what it wrote.
    let file = File::open(&stick.stick).unwrap();
    let size = Bytes(file.metadata().unwrap().len());
    let table = Table::read(&livestick::read::Source::new(file, size)).unwrap();
    assert_eq!(table.scheme, stick.before.scheme);
    assert_eq!(table.apm, stick.before.apm);
    assert_eq!(table.is_isohybrid(), stick.before.is_isohybrid());
    for partition in &stick.before.partitions {
        assert!(table.partitions.contains(partition));
    }
    for (number, new) in stick.added.numbers.iter().zip(&stick.new) {
        let seen = table.partitions.iter().find(|p| p.number == *number);
        assert_eq!(seen.unwrap().extent, new.extent);
    }
}

/// xorriso's reports, without the lines that are meant to change, and without its guess at a disk geometry, which it
/// takes from the ends of partitions.
fn reports(path: &Path) -> Vec<String> {
    let args = [
        "-indev",
        text(path),
        "-report_el_torito",
        "plain",
        "-report_system_area",
        "plain",
    ];
    let meant = [
        "GPT lba range",
        "GPT backup problems",
        "GPT CRC",
        "ISO image size/512",
        "System area options",
        "MBR heads per cyl",
        "MBR secs per head",
    ];
    let protective = |line: &str| line.starts_with("MBR partition") && line.contains("0xee");
    run("xorriso", &args)
        .lines()
        .filter(|line| !meant.iter().any(|start| line.starts_with(start)) && !protective(line))
        .map(|line| {
            let words = line.split(' ');
            let words: Vec<_> = words.filter(|w| !w.starts_with("cyl-align")).collect();
            words.join(" ")
        })
        .collect()
}

/// Everything that must hold of a GPT stick.
fn judge_gpt(stick: &Stick) {
    judge(stick);
    let verdict = run("sgdisk", &["-v", text(&stick.stick)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    // The one thing it may remark is how the image's own array lies behind an Apple map.
    let gap = "Warning: There is a gap between the main metadata";
    let remarks = verdict.matches("Warning").count() - verdict.matches(gap).count();
    assert_eq!(remarks, 0, "{verdict}");
    let disk = gpt::GptConfig::new()
        .writable(false)
        .open(&stick.stick)
        .unwrap();
    let (primary, backup) = (
        disk.primary_header().unwrap(),
        disk.backup_header().unwrap(),
    );
    let last = fs::metadata(&stick.stick).unwrap().len() / 512 - 1;
    let facts = stick.before.gpt.unwrap();
    assert_eq!(primary.backup_lba, last);
    assert_eq!(primary.part_start, facts.array.0);
    assert_eq!(primary.num_parts, facts.entries);
    assert_eq!(primary.first_usable, facts.first_usable.0);
    assert_eq!((backup.current_lba, backup.backup_lba), (last, 1));
    assert_eq!(backup.crc32_parts, primary.crc32_parts);
    assert_eq!(backup.last_usable, primary.last_usable);
    for (number, new) in stick.added.numbers.iter().zip(&stick.new) {
        let seen = &disk.partitions()[number];
        assert_eq!(seen.name, new.name);
        assert_eq!(seen.part_guid, new.unique);
        assert_eq!(seen.part_type_guid, gpt::partition_types::LINUX_FS);
        assert_eq!(seen.flags, 1 << 63);
    }
    let mut head = [0; 512];
    File::open(&stick.stick)
        .unwrap()
        .read_exact_at(&mut head, 0)
        .unwrap();
    let protective = (0..4)
        .map(|i| &head[446 + 16 * i..][..16])
        .find(|r| r[4] == 0xEE);
    let sectors = u32::from_le_bytes(protective.unwrap()[12..].try_into().unwrap());
    assert_eq!(u64::from(sectors), last.min(0xFFFF_FFFF));
}

/// Everything that must hold of an MBR stick.
fn judge_mbr(stick: &Stick) {
    judge(stick);
    let mut file = File::open(&stick.stick).unwrap();
    let mbr = mbrman::MBR::read_from(&mut file, 512).unwrap();
    for (number, new) in stick.added.numbers.iter().zip(&stick.new) {
        let seen = mbr.get(*number as usize).unwrap();
        assert_eq!(u64::from(seen.starting_lba), new.extent.at.0 / 512);
        assert_eq!(u64::from(seen.sectors), new.extent.len.0 / 512);
        assert_eq!(seen.sys, 0x83);
        assert!(!seen.is_active());
    }
    // What of a GPT and an Apple map is there is not touched.
    let mut sectors = [vec![0; 32256], vec![0; 32256]];
    for (path, bytes) in [&stick.image, &stick.stick].into_iter().zip(&mut sectors) {
        File::open(path).unwrap().read_exact_at(bytes, 512).unwrap();
    }
    assert!(sectors[0] == sectors[1]);
}

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
    assert_eq!(stick.added.numbers, [4]);
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
        let stick = make(shape, FOUR_GIB, &sizes);
        assert_eq!(stick.added.numbers, numbers);
        judge_mbr(&stick);
        let logical = numbers.iter().filter(|n| **n > 4).count();
        assert_eq!(stick.added.behind.len(), logical);
        let (_, seen) = sfdisk(&stick.stick);
        let extended = seen.iter().find(|(_, p)| p["type"] == "f").unwrap();
        let end = stick.new.last().unwrap().extent.end().0 / 512;
        let length = &extended.1["size"];
        let start = &extended.1["start"];
        assert_eq!(length.as_u64().unwrap() + start.as_u64().unwrap(), end);
        assert_eq!(start.as_u64().unwrap() * 512 % GRAIN.0, 0);
        assert!(run("sfdisk", &["-V", text(&stick.stick)]).len() < 4000);
    }
}

#[test]
fn all_four_slots_taken_is_a_refusal() {
    let stick = make(Shape::IsolinuxMac, FOUR_GIB, &[Size::Rest]);
    let file = File::open(&stick.stick).unwrap();
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
        let stick = make_from(dir, image, FOUR_GIB, &TWO);
        assert_eq!(stick.added.numbers, numbers);
        let verdict = run("sgdisk", &["-v", text(&stick.stick)]);
        assert!(verdict.contains("No problems found"), "{length}: {verdict}");
        let disk = gpt::GptConfig::new().writable(false);
        let disk = disk.open(&stick.stick).unwrap();
        assert_eq!(disk.backup_header().unwrap().num_parts, length);
        let seen: Vec<u32> = disk.partitions().keys().copied().collect();
        assert_eq!(seen, [&[last][..], &numbers].concat());
        let (_, seen) = sfdisk(&stick.stick);
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
    let stick = make_from(dir, image, FOUR_GIB, &TWO);
    assert_eq!(stick.before.scheme, Scheme::Gpt);
    let mut head = vec![0; 512];
    let file = File::open(&stick.stick).unwrap();
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == before[..512]);
    let verdict = run("sgdisk", &["-v", text(&stick.stick)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
}

#[test]
fn a_gpt_is_fitted_to_the_medium_without_new_partitions() {
    let stick = make(Shape::Grub2, FOUR_GIB, &[]);
    judge_gpt(&stick);
    let stick = make(Shape::Isolinux, FOUR_GIB, &[]);
    assert_eq!(fs::metadata(&stick.stick).unwrap().len(), FOUR_GIB);
    assert!(stick.added.behind.is_empty());
    judge_mbr(&stick);
}

#[test]
#[ignore = "needs root and a loop device"]
fn the_kernel_takes_the_partitions() {
    for (shape, sizes) in [
        (Shape::Grub2, &TWO[..]),
        (Shape::Isolinux, &TWO[..]),
        (Shape::IsolinuxMac, &TWO[..]),
    ] {
        let stick = make(shape, FOUR_GIB, sizes);
        let device = run("losetup", &["-f", "--show", text(&stick.stick)]);
        let device = device.trim();
        let name = device.rsplit('/').next().unwrap();
        // One at a time: BLKPG, unlike the kernel's own scan, refuses the overlapping partitions of the image.
        let seen: Vec<_> = stick
            .added
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
