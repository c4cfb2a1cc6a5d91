// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot configurations on FAT system partitions: made by mkfs.vfat and mtools, judged by fsck.vfat and mtools.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use livestick::boot::esp::{self, EspError};
use livestick::patch::{After, Draft, Why, lay};
use livestick::units::{Bytes, Extent};
use proptest::prelude::*;

/// Where the partition starts in the image.
const AT: u64 = 512 * 67;
const GRUB: &str = "/EFI/BOOT/grub.cfg";

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program} judges these tests: {e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let erred = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {said}{erred}"
    );
    output.stdout
}

struct Kind {
    width: &'static str,
    kib: u64,
    /// Sectors in a cluster.
    cluster: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        width: "12",
        kib: 2048,
        cluster: "4",
    },
    Kind {
        width: "16",
        kib: 9216,
        cluster: "1",
    },
    Kind {
        width: "16",
        kib: 30720,
        cluster: "4",
    },
    Kind {
        width: "32",
        kib: 34816,
        cluster: "1",
    },
];

/// An image with a system partition that has a grub.cfg of `len` bytes and `leave` bytes free, or all.
fn image(kind: &Kind, len: usize, leave: Option<u64>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (volume, config) = (path("esp"), path("grub.cfg"));
    let count = kind.kib.to_string();
    run(
        "mkfs.vfat",
        &[
            "-C",
            "-F",
            kind.width,
            "-s",
            kind.cluster,
            "-n",
            "ANACONDA",
            &volume,
            &count,
        ],
    );
    run(
        "mmd",
        &[
            "-i",
            &volume,
            "::EFI",
            "::EFI/BOOT",
            "::EFI/A folder with a long name",
        ],
    );
    fs::write(&config, "a".repeat(len)).unwrap();
    for to in [
        "::EFI/BOOT/grub.cfg",
        "::EFI/BOOT/BOOT.conf",
        "::EFI/BOOT/BOOTX64.EFI",
    ] {
        run("mcopy", &["-i", &volume, &config, to]);
    }
    run(
        "mcopy",
        &[
            "-i",
            &volume,
            &config,
            "::EFI/A folder with a long name/Some other.cfg",
        ],
    );
    if let Some(leave) = leave {
        let info = String::from_utf8(run("minfo", &["-i", &volume, "::"])).unwrap();
        assert!(info.contains("FAT"), "{info}");
        let listing = String::from_utf8(run("mdir", &["-i", &volume, "::"])).unwrap();
        let free = listing
            .lines()
            .find(|line| line.contains("bytes free"))
            .unwrap();
        let digits: String = free.chars().filter(char::is_ascii_digit).collect();
        let filler = path("filler");
        let file = fs::File::create(&filler).unwrap();
        file.set_len(digits.parse::<u64>().unwrap() - leave)
            .unwrap();
        run("mcopy", &["-i", &volume, &filler, "::filler"]);
    }
    let mut image = vec![0xEE; usize::try_from(AT).unwrap()];
    image.extend(fs::read(&volume).unwrap());
    image.extend([0xEE; 4096]);
    image
}

fn extent(image: &[u8]) -> Extent {
    Extent {
        at: Bytes(AT),
        len: Bytes(image.len() as u64 - AT - 4096),
    }
}

/// The image with the draft's patches applied, after fsck.vfat has seen the partition; and the patches' bytes.
fn patched(image: &[u8], draft: &Draft) -> (Vec<u8>, usize) {
    let mut out = image.to_vec();
    let mut bytes = 0;
    for patch in draft.patches().unwrap() {
        assert!(extent(image).contains(patch.extent()));
        assert_eq!(
            patch.why,
            Why::BootArguments {
                file: GRUB.to_owned()
            }
        );
        let After::Bytes(after) = &patch.after else {
            panic!("{patch:?}");
        };
        bytes += after.len();
        lay(&mut out, Bytes::ZERO, patch.at, after);
    }
    (out, bytes)
}

fn volume(image: &[u8], path: &Path) {
    let at = usize::try_from(AT).unwrap();
    fs::write(path, &image[at..image.len() - 4096]).unwrap();
}

/// What mtools read in the grub.cfg of an image that fsck.vfat finds clean.
fn read_back(image: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    volume(image, file.path());
    let path = file.path().to_str().unwrap();
    run("fsck.vfat", &["-n", path]);
    run("mtype", &["-i", path, "::EFI/BOOT/grub.cfg"])
}

#[test]
fn configurations_are_found_by_their_long_names() {
    for kind in &KINDS {
        let image = image(kind, 3000, None);
        let found = esp::read(&image, extent(&image)).unwrap();
        let mut paths: Vec<&str> = found.iter().map(|c| c.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "/EFI/A folder with a long name/Some other.cfg",
                "/EFI/BOOT/BOOT.conf",
                GRUB
            ]
        );
        assert!(
            found
                .iter()
                .all(|c| c.text == "a".repeat(3000).into_bytes())
        );
    }
}

#[test]
fn a_replaced_file_is_what_others_read_and_little_else_changes() {
    for kind in &KINDS {
        let image = image(kind, 1200, None);
        // Shorter, as long, across the borders of clusters, and nothing.
        for len in [700, 1200, 1536, 2048, 2049, 9000, 0] {
            let text = vec![b'b'; len];
            let mut draft = Draft::new(&image);
            esp::replace(&mut draft, extent(&image), GRUB, &text).unwrap();
            let (after, bytes) = patched(&image, &draft);
            assert_eq!(read_back(&after), text, "FAT{} {len}", kind.width);
            // The text, its directory entry, its chain in two tables, the FAT32 count of free clusters.
            assert!(bytes <= len + 600, "FAT{} {len}: {bytes}", kind.width);
        }
    }
}

#[test]
fn time_stamps_stay_and_edits_repeat() {
    let image = image(&KINDS[3], 1200, None);
    let stamps = |image: &[u8]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        volume(image, file.path());
        let path = file.path().to_str().unwrap();
        let listing = run("mdir", &["-i", path, "::EFI/BOOT/grub.cfg"]);
        let listing = String::from_utf8(listing).unwrap();
        let line = listing
            .lines()
            .find(|l| l.to_lowercase().starts_with("grub"))
            .unwrap();
        line.split_whitespace()
            .skip(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let edit = || {
        let mut draft = Draft::new(&image);
        esp::replace(&mut draft, extent(&image), "efi/boot/GRUB.CFG", b"new").unwrap();
        draft.patches().unwrap()
    };
    assert_eq!(edit(), edit());
    let mut draft = Draft::new(&image);
    esp::replace(&mut draft, extent(&image), GRUB, &[b'c'; 5000]).unwrap();
    assert_eq!(stamps(&patched(&image, &draft).0), stamps(&image));
}

#[test]
fn a_full_partition_is_refused_before_the_first_write() {
    for kind in &KINDS {
        let cluster = 512 * kind.cluster.parse::<u64>().unwrap();
        let image = image(kind, 1000, Some(cluster));
        let held = 1000_u64.div_ceil(cluster);
        let most = usize::try_from((held + 1) * cluster).unwrap();
        let mut draft = Draft::new(&image);
        let refused = esp::replace(&mut draft, extent(&image), GRUB, &vec![b'd'; most + 1]);
        match refused.unwrap_err() {
            EspError::Full { need, have, .. } => {
                assert_eq!(
                    (need.0, have.0),
                    (2 * cluster, cluster),
                    "FAT{}",
                    kind.width
                );
            }
            other => panic!("{other}"),
        }
        assert!(draft.patches().unwrap().is_empty());
        let text = vec![b'd'; most];
        esp::replace(&mut draft, extent(&image), GRUB, &text).unwrap();
        let after = patched(&image, &draft).0;
        let file = tempfile::NamedTempFile::new().unwrap();
        volume(&after, file.path());
        run("fsck.vfat", &["-n", file.path().to_str().unwrap()]);
        // Not by mtools: it takes a chain that leads to the very last cluster of a FAT12 volume for a bad one.
        let found = esp::read(&after, extent(&after)).unwrap();
        assert_eq!(found.iter().find(|c| c.path == GRUB).unwrap().text, text);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let image = image(&KINDS[0], 10, None);
    for path in ["/EFI/BOOT/none.cfg", "/nowhere/grub.cfg", "/EFI/BOOT"] {
        let mut draft = Draft::new(&image);
        let refused = esp::replace(&mut draft, extent(&image), path, b"x").unwrap_err();
        assert!(
            matches!(&refused, EspError::NotFound { path: p } if p == path),
            "{refused:?}"
        );
        assert!(draft.patches().unwrap().is_empty());
    }
}

#[test]
fn loops_and_crossings_are_refused() {
    let image = image(&KINDS[1], 5000, None);
    let at = usize::try_from(AT).unwrap();
    let reserved = usize::from(u16::from_le_bytes([image[at + 14], image[at + 15]])) * 512;
    // Cluster 2 is the directory /EFI: it leads to itself, to a free one, to a foreign one, out of the volume.
    for next in [2_u16, 0, 3, 60_000, 1] {
        let mut bad = image.clone();
        bad[at + reserved + 4..at + reserved + 6].copy_from_slice(&next.to_le_bytes());
        let refused = esp::read(&bad, extent(&bad)).unwrap_err();
        assert!(matches!(refused, EspError::Volume(_)), "{next}: {refused}");
        let mut draft = Draft::new(&bad);
        assert!(esp::replace(&mut draft, extent(&bad), GRUB, b"x").is_err());
        assert!(draft.patches().unwrap().is_empty());
    }
}

#[test]
fn no_mutated_volume_panics_or_hangs() {
    let images: Vec<Vec<u8>> = KINDS.iter().map(|kind| image(kind, 3000, None)).collect();
    // The boot sector, the tables' beginning, and the directories: what numbers are read from.
    let hot = |image: &[u8]| {
        let at = usize::try_from(AT).unwrap();
        let word = |i: usize| usize::from(u16::from_le_bytes([image[at + i], image[at + i + 1]]));
        let fat = word(14) * 512;
        let len = if word(22) == 0 { word(36) } else { word(22) };
        let root = fat + 2 * len * 512;
        vec![
            at..at + 512,
            at + 512..at + 1024,
            at + fat..at + fat + 128,
            at + root..at + root + 16384 + 4096,
        ]
    };
    let spots: Vec<_> = images.iter().map(|image| hot(image)).collect();
    let change = (0..4_usize, any::<prop::sample::Index>(), any::<u8>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let cases = (0..KINDS.len(), prop::collection::vec(change, 1..5));
    runner
        .run(&cases, |(which, changes)| {
            let mut image = images[which].clone();
            for (spot, index, byte) in changes {
                let spot = spots[which][spot].clone();
                let place = spot.start + index.index(spot.len());
                image[place] = byte;
            }
            let _ = esp::read(&image, extent(&image));
            let mut draft = Draft::new(&image);
            let _ = esp::replace(&mut draft, extent(&image), GRUB, &[b'x'; 7000]);
            draft.patches().unwrap();
            Ok(())
        })
        .unwrap();
}
