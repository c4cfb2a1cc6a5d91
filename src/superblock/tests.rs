// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judged by blkid(8), on filesystems made by their own tools.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::read::Source;

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What `blkid -p` says.
fn blkid(path: &Path) -> BTreeMap<String, String> {
    // One value at a time: "export" quotes what is not ASCII.
    let value = |name: &str| {
        let args = ["-p", "-o", "value", "-s", name, path.to_str().unwrap()];
        let line = run("blkid", &args);
        (name.to_owned(), line.trim_end_matches('\n').to_owned())
    };
    let all = ["TYPE", "LABEL", "UUID"].map(value);
    all.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn open(path: &Path) -> Source {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    Source::new(file, Bytes(len))
}

/// Makes an image of `mib` MiB with a command whose "IMAGE" is its path, and compares.
fn same(mib: u64, command: &[&str]) -> Superblock {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let content = directory.path().join("content");
    std::fs::create_dir(&content).unwrap();
    std::fs::write(content.join("file"), vec![b'x'; 100_000]).unwrap();
    if mib > 0 {
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
    }
    let path_name = path.to_str().unwrap();
    let content_name = content.to_str().unwrap();
    let args: Vec<String> = command
        .iter()
        .map(|arg| {
            arg.replace("IMAGE", path_name)
                .replace("CONTENT", content_name)
        })
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(args[0], &args[1..]);
    let said = blkid(&path);
    let found = identify(&open(&path)).unwrap().unwrap();
    assert_eq!(
        Some(found.kind.name()),
        said.get("TYPE").map(String::as_str)
    );
    assert_eq!(found.label.as_ref(), said.get("LABEL"), "{command:?}");
    assert_eq!(found.uuid.as_ref(), said.get("UUID"), "{command:?}");
    found
}

#[test]
fn ext_is_told_apart() {
    let found = same(8, &["mkfs.ext4", "-q", "-L", "a label", "IMAGE"]);
    assert_eq!(found.kind, Kind::Ext4);
    assert_eq!(found.size, Some(Bytes::mib(8)));
    let details = Details::Ext {
        needs_recovery: false,
        clean: true,
    };
    assert_eq!(found.details, details);
    assert_eq!(same(8, &["mkfs.ext3", "-q", "IMAGE"]).kind, Kind::Ext3);
    assert_eq!(
        same(8, &["mkfs.ext2", "-q", "-L", "x", "IMAGE"]).kind,
        Kind::Ext2
    );
    let journal = ["mke2fs", "-q", "-O", "journal_dev", "-b", "4096", "IMAGE"];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    File::create(&path).unwrap().set_len(16 << 20).unwrap();
    run(
        journal[0],
        &[&journal[1..6], &[path.to_str().unwrap()]].concat(),
    );
    assert_eq!(identify(&open(&path)).unwrap().unwrap().kind, Kind::Jbd);
}

#[test]
fn xfs_and_btrfs() {
    let found = same(300, &["mkfs.xfs", "-q", "-L", "a label", "IMAGE"]);
    assert_eq!((found.kind, found.size), (Kind::Xfs, Some(Bytes::mib(300))));
    let found = same(
        128,
        &[
            "mkfs.btrfs",
            "-q",
            "-L",
            "seed",
            "--csum",
            "xxhash",
            "IMAGE",
        ],
    );
    assert_eq!(found.size, Some(Bytes::mib(128)));
    let details = |seeding| Details::Btrfs {
        seeding,
        devices: 1,
        checksum: Some("xxhash64"),
    };
    assert_eq!(found.details, details(false));
    let seed = "mkfs.btrfs -q --csum xxhash IMAGE && btrfstune -S 1 IMAGE";
    assert_eq!(same(128, &["sh", "-c", seed]).details, details(true));
}

#[test]
fn fat_of_every_width() {
    for (mib, bits) in [(4, 12_u8), (32, 16), (64, 32)] {
        let width = bits.to_string();
        let labelled = ["mkfs.vfat", "-F", &width, "-n", "A LABEL", "IMAGE"];
        assert_eq!(same(mib, &labelled).details, Details::Fat { bits });
        let bare = ["mkfs.vfat", "-F", &width, "-i", "00AB12CD", "IMAGE"];
        assert_eq!(same(mib, &bare).uuid.as_deref(), Some("00AB-12CD"));
    }
}

#[test]
fn swap_of_every_page() {
    for page in ["4096", "65536"] {
        let found = same(4, &["mkswap", "-q", "-p", page, "-L", "a swap", "IMAGE"]);
        assert_eq!((found.kind, found.size), (Kind::Swap, Some(Bytes::mib(4))));
    }
}

#[test]
fn luks_of_both_versions() {
    for version in ["1", "2"] {
        let line = format!(
            "echo secret | cryptsetup luksFormat -q --type luks{version} --pbkdf-force-iterations 1000 --pbkdf pbkdf2 {} IMAGE -",
            if version == "2" {
                "--label 'a label'"
            } else {
                ""
            }
        );
        let version = version.parse().unwrap();
        assert_eq!(
            same(20, &["sh", "-c", &line]).details,
            Details::Luks { version }
        );
    }
}

#[test]
fn packed_filesystems() {
    for compression in ["gzip", "lzo", "lz4", "xz", "zstd"] {
        let found = same(
            0,
            &[
                "mksquashfs",
                "CONTENT",
                "IMAGE",
                "-quiet",
                "-no-progress",
                "-comp",
                compression,
            ],
        );
        let details = Details::Packed {
            compression: Some(compression),
        };
        assert_eq!((found.kind, found.details), (Kind::Squashfs, details));
    }
    let found = same(0, &["mkfs.erofs", "--quiet", "-zlz4hc", "IMAGE", "CONTENT"]);
    let details = Details::Packed {
        compression: Some("lz4"),
    };
    assert_eq!((found.kind, found.details), (Kind::Erofs, details));
}

#[test]
fn iso9660_with_and_without_joliet() {
    let make = [
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-V",
        "Fedora-WS-Live_44",
        "-o",
        "IMAGE",
        "CONTENT",
    ];
    same(0, &make);
    let joliet = [
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-J",
        "-R",
        "-V",
        "an_ö_label",
        "-o",
        "IMAGE",
        "CONTENT",
    ];
    assert_eq!(same(0, &joliet).kind, Kind::Iso9660);
}

#[test]
fn the_two_names_of_a_disc_make_one_label() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let content = directory.path().join("content");
    std::fs::create_dir(&content).unwrap();
    let names = [path.to_str().unwrap(), content.to_str().unwrap()];
    run(
        "xorriso",
        &[
            "-as", "mkisofs", "-quiet", "-J", "-V", "x", "-o", names[0], names[1],
        ],
    );
    let image = std::fs::read(&path).unwrap();
    for (narrow, wide) in [
        ("an_x_label", "an\u{e9}x\u{e9}label"),
        ("an_x_label", "other"),
        ("AN_X_LABEL", "an x label"),
        ("AN_X_LABEL_THAT_IS_LONGER_THAN16", "an x label that "),
        ("FEDORA-WS-LIVE-X86_64-44", "Fedora-WS-Live_x"),
        ("AN_X_LABEL", ""),
        ("AN_X_LABEL", "                "),
        ("a_b", "a\u{1f426}b"),
        ("an_x_label", "an_x_label and"),
    ] {
        let mut image = image.clone();
        for block in image.chunks_mut(2048).skip(16) {
            let name = match block[0] {
                1 => format!("{narrow:32}").into_bytes(),
                2 => wide
                    .encode_utf16()
                    .chain([0; 16])
                    .take(16)
                    .flat_map(u16::to_be_bytes)
                    .collect(),
                _ => break,
            };
            block[40..72].copy_from_slice(&name);
        }
        std::fs::write(&path, &image).unwrap();
        let said = blkid(&path)
            .remove("LABEL")
            .filter(|label| !label.is_empty());
        assert_eq!(
            identify(&image).unwrap().unwrap().label,
            said,
            "{narrow} {wide}"
        );
    }
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(identify(&vec![0_u8; 1 << 20]).unwrap(), None);
    assert_eq!(identify(&Vec::new()).unwrap(), None);
}

#[test]
fn foreign_filesystems() {
    same(64, &["mkfs.exfat", "-L", "a stick", "IMAGE"]);
    same(64, &["mkfs.f2fs", "-q", "-l", "a stick", "IMAGE"]);
    for (cluster, label) in [
        ("512", "a"),
        ("4096", "a stick"),
        ("65536", "B\u{fc}cher und \u{6f22}\u{5b57}"),
    ] {
        same(
            64,
            &[
                "mkfs.ntfs",
                "-F",
                "-Q",
                "-q",
                "-c",
                cluster,
                "-L",
                label,
                "IMAGE",
            ],
        );
    }
    same(64, &["mkfs.ntfs", "-F", "-Q", "-q", "IMAGE"]);
}

/// Something of each kind to damage.
fn seeds() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let name = path.to_str().unwrap();
    let mut all = Vec::new();
    for (mib, command) in [
        (4, &["mkfs.vfat", "-F", "12", "-n", "LABEL"][..]),
        (64, &["mkfs.vfat", "-F", "32", "-n", "LABEL"]),
        (2, &["mkfs.ext4", "-q"]),
        (1, &["mkswap", "-q"]),
        (2, &["mkfs.ntfs", "-F", "-Q", "-q", "-L", "label"]),
    ] {
        File::create(&path).unwrap().set_len(mib << 20).unwrap();
        run(command[0], &[&command[1..], &[name]].concat());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(2 << 20);
        all.push(bytes);
    }
    for (at, magic) in [
        (3, b"EXFAT   ".as_slice()),
        (65600, b"_BHRfS_M"),
        (0, b"XFSB"),
        (1024, &[0x10, 0x20, 0xf5, 0xf2]),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        (0, b"hsqs"),
        (32769, b"CD001"),
        (512, b"LABELONE"),
        (0, b"LUKS\xba\xbe\0\x02"),
        (4096, &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]),
    ] {
        let mut bytes = vec![0; 128 << 10];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        all.push(bytes);
    }
    all
}

#[test]
fn damage_never_panics() {
    for seed in seeds() {
        // Where the structures are.
        let places: Vec<usize> = [0, 1024, 4096, 32768, 65536]
            .into_iter()
            .flat_map(|start| start..start + 512)
            .collect();
        proptest!(ProptestConfig::with_cases(100), |(edits in proptest::collection::vec((proptest::sample::select(places), any::<u8>()), 1..24))| {
            let mut bytes = seed.clone();
            for (at, value) in edits {
                bytes[at] = value;
            }
            let _ = identify(&bytes).unwrap();
        });
    }
}
