// SPDX-License-Identifier: MIT OR Apache-2.0
//! One flipped bit in each region: it is found, named, and cured where anything has what belongs there.

use std::fs;

use crate::stick::Stick;
use crate::support::program::{root, text};

#[test]
fn a_sound_stick_is_verified_and_its_report_saved() {
    for layout in ["grub2", "isolinux", "kiwi", "apm"] {
        let stick = Stick::persistent(layout);
        let verified = stick.verify(&[]);
        verified.must(verified.code == Some(0));
        verified.must(verified.cause() == "sound" && verified.damage().is_empty());
        for link in [
            "image",
            "record",
            "partition table",
            "boot files",
            "overlay",
            "home",
        ] {
            verified.must(verified.holds(link) == "proven");
        }
        let with_image = stick.verify(&[text(&stick.image)]);
        with_image.must(with_image.code == Some(0) && with_image.holds("image file") == "proven");
        assert!(stick.is_pristine(), "verifying wrote to it");
    }
}

#[test]
fn the_report_is_a_table_for_people_and_json_for_programs() {
    let stick = Stick::new("grub2", &[]);
    let (words, data) = (
        stick.bench.path("report.txt"),
        stick.bench.path("report.json"),
    );
    for file in [&words, &data] {
        let args = ["verify", text(&stick.path), "--report", text(file)];
        let outcome = crate::support::bench::ask(&args);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(
            outcome.out.contains("identical to the image"),
            "{outcome:?}"
        );
    }
    let words = fs::read_to_string(words).unwrap();
    for word in [
        "image ",
        "verified",
        "record ",
        "partition table",
        "the kernel fetched",
        "verdict",
    ] {
        assert!(words.contains(word), "no {word} in {words}");
    }
    let data: serde_json::Value = serde_json::from_str(&fs::read_to_string(data).unwrap()).unwrap();
    assert_eq!(
        (&data["task"], &data["exit"]),
        (&"verify".into(), &"verified".into())
    );
}

/// A place, and what it must be called.
type Place = (u64, &'static str);

/// Places in the image's range of a stick with a GPT.
fn in_image(stick: &Stick) -> Vec<Place> {
    let iso = stick.iso();
    let esp = stick.partition("c12a7328").0;
    let directory = |path: &str| iso.directory(path).unwrap().extent.at.0 + 40;
    let mut all = vec![
        (3, "the boot code of the MBR"),
        (446 + 8, "the partition records of the MBR"),
        (510, "the signature of the MBR"),
        (512 + 56, "the header of the GPT"),
        (1024 + 20, "the entries of the GPT"),
        (32768 + 40, "the primary volume descriptor"),
        (34816 + 10, "the boot record volume descriptor"),
        (directory("/"), "the directory /"),
        (
            directory("/images/pxeboot"),
            "the directory /images/pxeboot",
        ),
        (
            stick.file("/images/pxeboot/vmlinuz") + 1000,
            "images/pxeboot/vmlinuz",
        ),
        (
            stick.file("/images/pxeboot/initrd.img") + 1000,
            "images/pxeboot/initrd.img",
        ),
        (
            stick.file("/LiveOS/squashfs.img") + (1 << 20),
            "LiveOS/squashfs.img",
        ),
        (esp + 100, "the boot sector (EFI system partition)"),
        (stick.image_size() - 1, ""),
    ];
    // Every other kind of metadata: Joliet's directories, those as seen from partition 1, path tables.
    let known = |at: u64| iso.directories().iter().any(|d| d.extent.at.0 == at);
    for extent in iso.metadata().iter().filter(|extent| !known(extent.at.0)) {
        let at = extent.at.0;
        let name = if at < 131_072 && stick_byte(stick, at + 1, 5) == b"CD001" {
            "volume descriptor"
        } else if stick_byte(stick, at, 2) == [1, 0] {
            "a path table"
        } else if stick_byte(stick, at + 32, 2) == [1, 0] {
            "a directory of another tree"
        } else {
            "a continuation area"
        };
        if !matches!(stick_byte(stick, at, 1)[..], [255]) {
            all.push((at + 45, name));
        }
    }
    all
}

fn stick_byte(stick: &Stick, at: u64, len: usize) -> Vec<u8> {
    crate::support::bench::peek(&stick.path, at, len)
}

#[test]
fn a_flipped_bit_anywhere_in_the_image_is_found_named_and_cured() {
    let stick = Stick::new("grub2", &[]);
    for (number, (at, name)) in in_image(&stick).into_iter().enumerate() {
        stick.flip(at);
        let verified = stick.verify(&[]);
        verified.must(verified.code == Some(6) && verified.holds("image") == "broken");
        assert!(
            verified.names(name),
            "byte {at}: no '{name}' in {:?}",
            verified.places()
        );
        // With the image the very byte is known.
        let exact = stick.verify(&[text(&stick.image)]);
        let [damage] = exact.damage() else {
            panic!("byte {at}: {:#}", exact.report)
        };
        exact.must(damage["extent"]["at"] == at && damage["extent"]["len"] == 1);
        exact.must(damage["kind"] == "flips" && damage["bits"] == 1 && damage["again"] == "same");
        assert!(
            exact.names(name),
            "byte {at}: no '{name}' in {:?}",
            exact.places()
        );
        if number % 3 != 0 {
            // Cures take their time, and are all alike.
            stick.flip(at);
            continue;
        }
        let repaired = stick.repair(&[]);
        repaired.must(repaired.code == Some(0) && repaired.cause() == "cured");
        assert!(stick.is_pristine(), "byte {at} is not cured");
    }
}

#[test]
fn a_flipped_bit_behind_the_image_is_found_named_and_cured() {
    let stick = Stick::persistent("grub2");
    let end = fs::metadata(&stick.path).unwrap().len();
    let copies = copies(&stick);
    for (at, name, link) in [
        (end - 512 + 30, "the backup of the GPT", "partition table"),
        (
            end - 512 - 16384 + 30,
            "the backup of the GPT",
            "partition table",
        ),
        (copies[0] + 20, "the first copy of the record", "record"),
        (copies[0] + 300, "the first copy of the record", "record"),
        (copies[1] + 4, "the second copy of the record", "record"),
        (copies[1] + 500, "the second copy of the record", "record"),
    ] {
        stick.flip(at);
        let verified = stick.verify(&[]);
        verified.must(verified.code == Some(6) && verified.holds(link) == "broken");
        verified.must(verified.holds("image") == "proven");
        assert!(
            verified.names(name),
            "byte {at}: no '{name}' in {:?}",
            verified.places()
        );
        let repaired = stick.repair(&[]);
        repaired.must(repaired.code == Some(0) && repaired.cause() == "cured");
        assert!(stick.is_pristine(), "byte {at} is not cured");
    }
}

/// Where the copies of the record are.
pub fn copies(stick: &Stick) -> [u64; 2] {
    let bytes = fs::read(&stick.path).unwrap();
    let found: Vec<u64> = bytes
        .chunks(1 << 20)
        .enumerate()
        .filter(|(_, chunk)| chunk.starts_with(b"LIVESTICK-RECORD"))
        .map(|(index, _)| (index as u64) << 20)
        .collect();
    found.try_into().unwrap()
}

#[test]
fn damage_to_what_users_save_is_found_and_not_cured() {
    if !root() {
        return;
    }
    let stick = Stick::persistent("grub2");
    // The primary superblock of a btrfs is at 64 KiB, with its checksum over all of it; an ext4's at 1 KiB.
    let start = |name: &str| stick.part(name).0;
    for (at, link) in [
        (start("overlay") + 65536 + 200, "overlay"),
        (start("home") + 1024 + 16, "home"),
    ] {
        stick.flip(at);
        let verified = stick.verify(&[]);
        verified.must(verified.code == Some(6) && verified.holds(link) == "broken");
        verified.must(verified.holds("image") == "proven");
        verified.must(verified.cause() == "filesystem-damaged");
        let repaired = stick.repair(&[]);
        repaired.must(repaired.code == Some(6) && repaired.cause() == "filesystem-damaged");
        stick.restore();
    }
}
