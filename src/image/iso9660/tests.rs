// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judged by xorriso, blkid and hadris-iso; then by images that lie.

mod edits;
mod hostile;
mod lab;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hadris_fs::sync::FileSystem;
use hadris_fs::{MountOptions, Resolve};
use hadris_iso::sync::IsoFs;
use hadris_storage::{BlockSize, MemDevice};

use self::lab::{JOLIET, LORAX, Lab, ONLY_JOLIET, PLAIN, ROCK};
use super::*;
use crate::image::eltorito::Platform;
use crate::read::Source;
use crate::units::Block;

/// What xorriso says of an image: path, and (block, bytes) of each extent.
fn report_lba(path: &Path, how: &str) -> BTreeMap<String, Vec<(u64, u64)>> {
    let out = Command::new("xorriso")
        .args(["-read_fs", how, "-indev"])
        .arg(path)
        .args(["-find", "/", "-type", "f", "-exec", "report_lba", "--"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let mut found: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let text = String::from_utf8(out.stdout).unwrap();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("File data lba:"))
    {
        let fields: Vec<&str> = line.splitn(5, ',').map(str::trim).collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        let name = fields[4].trim_matches('\'').to_owned();
        // The size is that of the whole file, in each of its lines.
        found.entry(name).or_default().push((number(1), number(3)));
    }
    assert!(found.len() > 90, "{text}");
    found
}

fn ours(iso: &Iso) -> BTreeMap<String, Vec<(u64, u64)>> {
    let entry = |file: &File| {
        let places = file
            .extents
            .iter()
            .map(|extent| (extent.at.0 / 2048, file.size.0));
        (file.path.clone(), places.collect())
    };
    iso.files().iter().map(entry).collect()
}

#[test]
fn every_file_lies_where_xorriso_says() {
    let lab = Lab::new();
    for (label, options, how) in [
        ("LORAX", LORAX, "any"),
        ("RJ", JOLIET, "any"),
        ("R", ROCK, "any"),
        ("J", ONLY_JOLIET, "norock"),
        ("PLAIN", PLAIN, "any"),
    ] {
        let (path, image) = lab.make(label, options);
        let iso = Iso::read(&image).unwrap();
        assert_eq!(iso.flaws(), []);
        let mut theirs = report_lba(&path, how);
        // xorriso gives empty files a place, which means nothing.
        for places in theirs.values_mut() {
            places.retain(|(_, size)| *size > 0);
        }
        // It shows the hidden catalogue of boot images as a file of its own where there is one.
        theirs.retain(|name, _| iso.file(name).is_some() || !name.contains("boot.cat"));
        assert_eq!(ours(&iso), theirs, "{label}");
        assert_eq!(iso.partition().is_some(), label == "LORAX");
        for file in iso.files().iter().filter(|file| file.size.0 > 0) {
            let found = iso
                .owner(file.extents[0].at + file.size - Bytes(1))
                .unwrap();
            assert_eq!(found.extents, file.extents);
        }
    }
}

/// Where hadris-iso finds a file's bytes and records in one tree; `base` bytes are cut off the image's front.
fn hadris(
    image: &[u8],
    base: Bytes,
    tree: hadris_iso::Namespace,
    path: &str,
) -> (Vec<Extent>, Vec<Bytes>) {
    let cut = image[base.index().unwrap()..].to_vec();
    let device = MemDevice::new(cut, BlockSize::new(2048).unwrap());
    let mut fs = IsoFs::mount_namespace(device, MountOptions::new(), tree).unwrap();
    let node = fs.resolve(path.as_bytes(), Resolve::Lexical).unwrap();
    let mut out = [hadris_fs::Extent::new(0, 0); 8];
    let count = fs.extents(node, 0, &mut out).unwrap();
    let extent = |found: &hadris_fs::Extent| Extent {
        at: base + Bytes(found.offset()),
        len: Bytes(found.len()),
    };
    let extents = out[..count].iter().map(extent).collect();
    let count = fs.records(node, &mut out).unwrap();
    (
        extents,
        out[..count].iter().map(|found| extent(found).at).collect(),
    )
}

#[test]
fn every_record_is_found_where_another_reader_finds_it() {
    use hadris_iso::Namespace::{Joliet, RockRidge};
    let lab = Lab::new();
    let (_, image) = lab.make("LORAX", LORAX);
    let iso = Iso::read(&image).unwrap();
    let views = [
        (Bytes(0), RockRidge),
        (Bytes(0), Joliet),
        (PARTITION, RockRidge),
        (PARTITION, Joliet),
    ];
    for names in [
        &["/boot/grub2/grub.cfg", "/EFI/BOOT/grub.cfg"][..],
        &["/images/pxeboot/vmlinuz"],
        &["/LiveOS/squashfs.img"],
        &["/deep/below/below/below/leaf"],
    ] {
        let file = iso.file(names[0]).unwrap();
        let known: Vec<Bytes> = file.records.iter().map(|record| record.at).collect();
        for (base, tree) in views {
            for name in names {
                // Of hard links it shows the records of the first.
                let (extents, at) = hadris(&image, base, tree, name);
                assert_eq!(extents, file.extents, "{name}");
                assert!(at.len() == 1 && known.contains(&at[0]));
            }
        }
        // Nowhere else in the image are the file's place and length written as a record writes them.
        let mut written = Vec::new();
        for base in [0, PARTITION.0] {
            let block = u32::try_from((file.extents[0].at.0 - base) / 2048).unwrap();
            let len = u32::try_from(file.size.0).unwrap();
            let halves = [
                block.to_le_bytes(),
                block.to_be_bytes(),
                len.to_le_bytes(),
                len.to_be_bytes(),
            ];
            let pattern = halves.concat();
            let places = image.windows(16).enumerate();
            let places = places.filter(|(_, window)| *window == pattern);
            written.extend(places.map(|(at, _)| Bytes(at as u64 - 2)));
        }
        written.sort_unstable();
        assert_eq!(known, written, "{names:?}");
        assert_eq!(known.len(), 4 * names.len());
    }
}

#[test]
fn the_volume_is_called_what_blkid_calls_it() {
    let lab = Lab::new();
    for (label, options) in [
        ("Fedora-WS-Live-44", LORAX),
        ("UPPER_CASE", JOLIET),
        ("lower case and longer than 16", JOLIET),
        ("Grün-éß", JOLIET),
        ("Grün-éß ohne Joliet", ROCK),
        ("a_b_c", ONLY_JOLIET),
        ("Ж-кириллица", JOLIET),
        ("plain", PLAIN),
    ] {
        let (path, image) = lab.make(label, options);
        let blkid = |tag: &str| {
            let out = Command::new("blkid")
                .args(["-p", "-o", "value", "-s", tag])
                .arg(&path)
                .output()
                .unwrap();
            assert!(out.status.success());
            String::from_utf8_lossy(&out.stdout)
                .trim_end_matches('\n')
                .to_owned()
        };
        let iso = Iso::read(&image).unwrap();
        // On a terminal blkid writes bytes that are no UTF-8 in another way; so does it where a label holds any.
        if iso.volume().label.is_ascii() || options.contains(&"-J") {
            assert_eq!(iso.volume().label, blkid("LABEL"), "{label}");
        }
        assert_eq!(iso.volume().uuid.clone().unwrap(), blkid("UUID"), "{label}");
        // The creation date where the modification date is not set.
        let mut older = image.clone();
        older[32768 + 813..32768 + 830].copy_from_slice(b"2001020304050607\0");
        older[32768 + 830..32768 + 847].copy_from_slice(b"0000000000000000\0");
        std::fs::write(&path, &older).unwrap();
        let uuid = Iso::read(&older).unwrap().volume().uuid.clone();
        assert_eq!(uuid.as_deref(), Some("2001-02-03-04-05-06-07"));
        assert_eq!(uuid.unwrap(), blkid("UUID"));
        older[32768 + 813..32768 + 830].copy_from_slice(b"0000000000000000\0");
        std::fs::write(&path, &older).unwrap();
        assert_eq!(Iso::read(&older).unwrap().volume().uuid, None);
        assert_eq!(blkid("UUID"), "");
    }
}

#[test]
fn firmware_finds_what_xorriso_put_in_the_catalogue() {
    let lab = Lab::new();
    let (path, image) = lab.make("LORAX", LORAX);
    let iso = Iso::read(&image).unwrap();
    let boot = iso.boot().unwrap();
    let out = Command::new("xorriso")
        .arg("-indev")
        .arg(&path)
        .args(["-report_el_torito", "plain"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let catalogue = text
        .lines()
        .find_map(|line| line.strip_prefix("El Torito catalog  :"))
        .unwrap();
    let block: u64 = catalogue
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        boot.extent,
        Extent {
            at: Bytes(block * 2048),
            len: Bytes(2048)
        }
    );
    let theirs: Vec<(String, u64, u64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("El Torito boot img :"))
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (
                fields[1].to_owned(),
                fields[6].parse().unwrap(),
                fields[7].parse().unwrap(),
            )
        })
        .collect();
    let ours: Vec<(String, u64, u64)> = boot
        .entries
        .iter()
        .map(|entry| {
            assert!(entry.bootable && !entry.emulated);
            let platform = match entry.platform {
                Platform::Bios => "BIOS",
                Platform::Efi => "UEFI",
                _ => "other",
            };
            (
                platform.to_owned(),
                entry.load.len.0 / 512,
                entry.load.at.0 / 2048,
            )
        })
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 2);
    assert_eq!(
        iso.owner(boot.entries[0].load.at).unwrap().path,
        "/images/eltorito.img"
    );
    let (_, image) = lab.make("NOBOOT", JOLIET);
    assert_eq!(Iso::read(&image).unwrap().boot(), None);
}

#[test]
fn directories_list_what_is_in_them() {
    let lab = Lab::new();
    let (_, image) = lab.make("LORAX", LORAX);
    let iso = Iso::read(&image).unwrap();
    let names = |path: &str| -> Vec<&str> {
        let directory = iso.directory(path).unwrap();
        iso.children(directory)
            .map(|file| file.path.rsplit('/').next().unwrap())
            .collect()
    };
    // A symbolic link is no file.
    assert_eq!(
        names("/EFI/BOOT"),
        ["BOOT.conf", "empty", "empty2", "grub.cfg"]
    );
    assert_eq!(
        names("/efi/boot/"),
        ["BOOT.conf", "empty", "empty2", "grub.cfg"]
    );
    assert_eq!(names("/"), Vec::<&str>::new());
    assert_eq!(names("/deep/below"), ["leaf"]);
    assert_eq!(names("/many").len(), 90);
    assert_eq!(iso.directory("/ef"), None);
    assert!(iso.file("/efi/boot/GRUB.CFG").is_some());
    assert!(iso.file("/EFI/BOOT").is_none());
    let file = iso.file("/LiveOS/squashfs.img").unwrap();
    assert_eq!(
        iso.contents(&image, file, Bytes::mib(1)).unwrap(),
        "s".repeat(200_001).as_bytes()
    );
    assert!(iso.contents(&image, file, Bytes(200_000)).is_err());
}

#[test]
fn directories_moved_by_rock_ridge_are_found_where_they_belong() {
    let lab = Lab::new();
    lab.put(&format!("{}cfg", "d/".repeat(12)), "deep");
    let (path, image) = lab.make(
        "MOVED",
        &["-R", "-rr_reloc_dir", "/rr_moved", "-iso-level", "2", "-D"],
    );
    let iso = Iso::read(&image).unwrap();
    assert_eq!(iso.flaws(), []);
    assert_eq!(
        ours(&iso)
            .keys()
            .filter(|name| name.ends_with("/cfg"))
            .count(),
        1
    );
    assert!(report_lba(&path, "any").contains_key(&format!("/{}cfg", "d/".repeat(12))));
    let file = iso.file(&format!("/{}cfg", "d/".repeat(12))).unwrap();
    assert_eq!(iso.contents(&image, file, Bytes(100)).unwrap(), b"deep");
}

#[test]
fn a_file_of_several_extents_has_all_of_them_and_the_image_is_not_read() {
    let lab = Lab::new();
    let big = std::fs::File::create(lab.path("tree/big.img")).unwrap();
    let size = (4 << 30) + 12_345;
    big.set_len(size).unwrap();
    let path = lab.path("big.iso");
    // The image goes into a sparse file: the zeros are not written.
    let script = "xorrisofs -quiet -R -J -iso-level 3 -V BIG -o - tree | dd of=big.iso bs=1M iflag=fullblock conv=sparse status=none; truncate -s %2048 big.iso";
    let made = Command::new("bash")
        .current_dir(lab.dir.path())
        .args(["-c", script])
        .status()
        .unwrap();
    assert!(made.success());
    let file = std::fs::File::open(&path).unwrap();
    let len = Bytes(file.metadata().unwrap().len());
    let source = Source::new(file, len);
    let start = Instant::now();
    let iso = Iso::read(&source).unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(iso.flaws(), []);
    let file = iso.file("/big.img").unwrap();
    assert_eq!(file.size, Bytes(size));
    assert!(file.extents.len() > 1);
    assert!(
        file.extents
            .windows(2)
            .all(|pair| pair[0].end() == pair[1].at)
    );
    let theirs = &report_lba(&path, "any")["/big.img"];
    let ours: Vec<(u64, u64)> = file
        .extents
        .iter()
        .map(|extent| (extent.at.0 / 2048, size))
        .collect();
    assert_eq!(&ours, theirs);
    assert!(!iso.fits(file, Bytes(10)));
    assert_eq!(iso.truncated(len), None);
    assert_eq!(
        iso.truncated(len - Bytes(2048)),
        Some((len, len - Bytes(2048)))
    );
}

#[test]
fn room_is_what_nobody_needs() {
    let lab = Lab::new();
    for (label, options) in [("LORAX", LORAX), ("RJ", JOLIET)] {
        let (path, image) = lab.make(label, options);
        let iso = Iso::read(&image).unwrap();
        let room = iso.unclaimed(&image, &[]).unwrap();
        assert!(!room.is_empty(), "{label}");
        // Filled with something else, the image still says the same and holds the same.
        let mut filled = image.clone();
        for extent in &room {
            let range = extent.at.index().unwrap()..extent.end().index().unwrap();
            assert!(image[range.clone()].iter().all(|byte| *byte == 0));
            filled[range].fill(0xa5);
        }
        assert_ne!(filled, image);
        let before = report_lba(&path, "any");
        let sums = |path: &Path| {
            let out = lab.path("out");
            let _ = std::fs::remove_dir_all(&out);
            let mut command = Command::new("xorriso");
            command
                .args(["-osirrox", "on", "-indev"])
                .arg(path)
                .args(["-extract", "/"])
                .arg(&out);
            assert!(command.output().unwrap().status.success());
            let script = "find out -type f -print0 | sort -z | xargs -0 sha256sum";
            let sums = Command::new("bash")
                .current_dir(lab.dir.path())
                .args(["-c", script])
                .output()
                .unwrap();
            String::from_utf8(sums.stdout).unwrap()
        };
        let known = sums(&path);
        assert!(known.lines().count() > 90);
        std::fs::write(&path, &filled).unwrap();
        assert_eq!(report_lba(&path, "any"), before);
        assert_eq!(sums(&path), known);
        assert_eq!(
            Iso::read(&filled).unwrap().unclaimed(&filled, &[]).unwrap(),
            []
        );
        // What the caller needs is left alone.
        let taken = Extent {
            at: room[0].at + Bytes(5),
            len: Bytes(1),
        };
        assert!(
            !iso.unclaimed(&image, &[taken])
                .unwrap()
                .iter()
                .any(|extent| extent.overlaps(taken))
        );
        // Room is reachable from partition 1, too.
        let end = iso
            .partition()
            .map_or(iso.volume().space.bytes(), |volume| {
                PARTITION + volume.space.bytes()
            });
        assert!(
            room.iter()
                .all(|extent| extent.end() <= end && extent.at >= Block(16).bytes())
        );
    }
}
