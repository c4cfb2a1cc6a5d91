// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick, the image it was made from, and what others must say of its partition table.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use livestick::table::{NewPartition, Scheme, Table};
use livestick::units::{Bytes, MIB};
use serde_json::Value;
use tempfile::TempDir;

use super::program::{run, text};

/// An image and the stick made from it.
pub struct Stick {
    pub image: PathBuf,
    pub path: PathBuf,
    pub before: Table,
    /// The kernel's number of each new partition.
    pub numbers: Vec<u32>,
    /// The PARTUUID of each, as udev shows it.
    pub partuuids: Vec<String>,
    pub new: Vec<NewPartition>,
    /// Where both lie, if they are to go away with this.
    pub dir: Option<TempDir>,
}

/// sfdisk's view: label, and per partition number its attributes without the file's name.
pub fn sfdisk(path: &Path) -> (Value, Vec<(u32, Value)>) {
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
    let (label, now) = sfdisk(&stick.path);
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
    for (number, new) in stick.numbers.iter().zip(&stick.new) {
        let seen = of(number);
        assert!(!old.iter().any(|(n, _)| n == number));
        assert_eq!(seen["start"], new.extent.at.0 / 512);
        assert_eq!(seen["size"], new.extent.len.0 / 512);
        assert!(new.extent.at.0.is_multiple_of(4 * MIB));
    }
    // libblkid, through partx: numbers, places, PARTUUIDs.
    let listing = run(
        "partx",
        &["-r", "-g", "-o", "NR,START,SECTORS,UUID", text(&stick.path)],
    );
    for ((number, new), partuuid) in stick.numbers.iter().zip(&stick.new).zip(&stick.partuuids) {
        let (start, sectors) = (new.extent.at.0 / 512, new.extent.len.0 / 512);
        let line = format!("{number} {start} {sectors} {partuuid}");
        assert!(
            listing.lines().any(|l| l == line),
            "no {line:?} in:\n{listing}"
        );
    }
    let probed = run("blkid", &["-p", "-o", "export", text(&stick.path)]);
    let kind = match stick.before.scheme {
        Scheme::Gpt => "PTTYPE=gpt",
        _ => "PTTYPE=dos",
    };
    assert!(probed.contains(kind), "{probed}");
    assert!(probed.contains("TYPE=iso9660"), "{probed}");
    // xorriso: system area, Apple map and boot catalog as they were; only what was entered and fitted differs.
    let (before, after) = (reports(&stick.image), reports(&stick.path));
    for line in &before {
        assert!(after.contains(line), "lost: {line}\n{after:#?}");
    }
    // livestick itself reads back what it wrote.
    let file = File::open(&stick.path).unwrap();
    let size = Bytes(file.metadata().unwrap().len());
    let table = Table::read(&livestick::read::Source::new(file, size)).unwrap();
    assert_eq!(table.scheme, stick.before.scheme);
    assert_eq!(table.apm, stick.before.apm);
    assert_eq!(table.is_isohybrid(), stick.before.is_isohybrid());
    for partition in &stick.before.partitions {
        assert!(table.partitions.contains(partition));
    }
    for (number, new) in stick.numbers.iter().zip(&stick.new) {
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

/// The backup: at the very end, directly behind what partitions may use, of 16 KiB at least, and good enough that
/// sfdisk reads the same table when the primary is gone.
pub fn judge_backup(stick: &Stick) {
    let disk = gpt::GptConfig::new().writable(false);
    let disk = disk.open(&stick.path).unwrap();
    let (primary, backup) = (disk.primary_header(), disk.backup_header());
    let (primary, backup) = (primary.unwrap(), backup.unwrap());
    let last = fs::metadata(&stick.path).unwrap().len() / 512 - 1;
    let array = u64::from(primary.num_parts) * 128;
    assert_eq!(primary.backup_lba, last);
    assert_eq!((backup.current_lba, backup.backup_lba), (last, 1));
    assert_eq!(backup.part_start, last - array.div_ceil(512).max(32));
    assert_eq!(backup.crc32_parts, primary.crc32_parts);
    assert_eq!(primary.last_usable, backup.part_start - 1);
    assert_eq!(backup.last_usable, primary.last_usable);

    let whole = sfdisk(&stick.path);
    let mut file = OpenOptions::new();
    let file = file.read(true).write(true).open(&stick.path).unwrap();
    let mut header = [0; 512];
    file.read_exact_at(&mut header, 512).unwrap();
    file.write_all_at(&[0; 512], 512).unwrap();
    let recovered = sfdisk(&stick.path);
    file.write_all_at(&header, 512).unwrap();
    assert_eq!(whole, recovered);
}

/// Everything that must hold of a GPT stick.
pub fn judge_gpt(stick: &Stick) {
    judge(stick);
    judge_backup(stick);
    let verdict = run("sgdisk", &["-v", text(&stick.path)]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    // The one thing it may remark is how the image's own array lies behind an Apple map.
    let gap = "Warning: There is a gap between the main metadata";
    let remarks = verdict.matches("Warning").count() - verdict.matches(gap).count();
    assert_eq!(remarks, 0, "{verdict}");
    let disk = gpt::GptConfig::new()
        .writable(false)
        .open(&stick.path)
        .unwrap();
    let primary = disk.primary_header().unwrap();
    let last = fs::metadata(&stick.path).unwrap().len() / 512 - 1;
    let facts = stick.before.gpt.unwrap();
    assert_eq!(primary.part_start, facts.array.0);
    assert_eq!(primary.num_parts, facts.entries);
    assert_eq!(primary.first_usable, facts.first_usable.0);
    for (number, new) in stick.numbers.iter().zip(&stick.new) {
        let seen = &disk.partitions()[number];
        assert_eq!(seen.name, new.name);
        assert_eq!(seen.part_guid, new.unique);
        assert_eq!(seen.part_type_guid, gpt::partition_types::LINUX_FS);
        assert_eq!(seen.flags, 1 << 63);
    }
    let mut head = [0; 512];
    File::open(&stick.path)
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
pub fn judge_mbr(stick: &Stick) {
    judge(stick);
    let mut file = File::open(&stick.path).unwrap();
    let mbr = mbrman::MBR::read_from(&mut file, 512).unwrap();
    for (number, new) in stick.numbers.iter().zip(&stick.new) {
        let seen = mbr.get(*number as usize).unwrap();
        assert_eq!(u64::from(seen.starting_lba), new.extent.at.0 / 512);
        assert_eq!(u64::from(seen.sectors), new.extent.len.0 / 512);
        assert_eq!(seen.sys, 0x83);
        assert!(!seen.is_active());
    }
    // What of a GPT and an Apple map is there is not touched.
    let mut sectors = [vec![0; 32256], vec![0; 32256]];
    for (path, bytes) in [&stick.image, &stick.path].into_iter().zip(&mut sectors) {
        File::open(path).unwrap().read_exact_at(bytes, 512).unwrap();
    }
    assert!(sectors[0] == sectors[1]);
}
