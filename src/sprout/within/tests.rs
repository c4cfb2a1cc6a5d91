// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::patch::After;

/// What a program says; it has to end well.
fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let out = command.args(arguments).env("LC_ALL", "C").output();
    let out = out.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program}: {text}{err}");
    text
}

/// An image with a btrfs at byte 4096, and where that is.
fn image(directory: &Path, options: &[&str]) -> (Vec<u8>, Extent) {
    let path = directory.join("btrfs");
    fs::write(&path, []).unwrap();
    let size = fs::File::options().write(true).open(&path).unwrap();
    size.set_len(120 << 20).unwrap();
    let name = path.to_str().unwrap();
    let mut all = vec!["-q", "-f", "-L", "Own label", "-m", "single"];
    all.extend(options);
    all.push(name);
    run("mkfs.btrfs", &all);
    let mut image = vec![0xAA; 4096];
    image.extend(fs::read(&path).unwrap());
    let extent = Extent {
        at: Bytes(4096),
        len: Bytes(120 << 20),
    };
    (image, extent)
}

fn read_all(image: &[u8], extent: Extent) -> Result<Within, String> {
    read(&image.to_vec(), extent).unwrap()
}

#[test]
fn btrfs_progs_take_what_was_changed_with_every_checksum() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["crc32c", "xxhash", "sha256", "blake2"] {
        let (mut image, extent) = image(directory.path(), &["--csum", kind]);
        let within = read_all(&image, extent).unwrap();
        assert_eq!(within.checksum.name(), kind);
        assert_eq!(within.label.as_deref(), Some("Own label"));
        assert!(!within.seeding);
        let mut draft = Draft::new(&image);
        within.change(&mut draft, Some("seed-1234")).unwrap();
        let patches = draft.patches().unwrap();
        // Two superblocks, in each the checksum, the flag and the label.
        assert_eq!(patches.len(), 6, "{kind}");
        for patch in &patches {
            let at = usize::try_from(patch.at.0).unwrap();
            let After::Bytes(after) = &patch.after else {
                panic!("bytes are known");
            };
            image[at..at + after.len()].copy_from_slice(after);
        }
        let path = directory.path().join("changed");
        fs::write(&path, &image[4096..]).unwrap();
        let name = path.to_str().unwrap();
        let said = run(
            "btrfs",
            &["inspect-internal", "dump-super", "-f", "-a", name],
        );
        assert_eq!(said.matches("SEEDING").count(), 2, "{said}");
        assert!(said.contains("[match]"), "{said}");
        assert!(!said.contains("DON'T MATCH"), "{said}");
        assert_eq!(said.matches("seed-1234").count(), 2, "{said}");
        run("btrfs", &["check", "--readonly", name]);

        // Once more is no change.
        let within = read_all(&image, extent).unwrap();
        assert!(within.seeding);
        let mut draft = Draft::new(&image);
        within.change(&mut draft, None).unwrap();
        assert_eq!(draft.patches().unwrap(), []);
    }
}

/// Changes a field of every superblock, and makes the checksums right again.
fn with(image: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    for place in [PLACES[0], PLACES[1]] {
        let start = usize::try_from(4096 + place.0).unwrap();
        let block = &mut image[start..start + LEN];
        block[at..at + field.len()].copy_from_slice(field);
        let right = sum(checksum(block).unwrap(), block);
        block[..COVERED].copy_from_slice(&right);
    }
    image
}

#[test]
fn what_no_sprout_can_grow_from_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (image, extent) = image(directory.path(), &[]);
    let cases: [(usize, u64, &str); 9] = [
        (0x88, 2, "2 devices"),
        (0x60, 1 << 20, "log to replay"),
        (FLAGS, WRITTEN | 1 << 2, "damaged or half converted"),
        (FLAGS, WRITTEN | 1 << 36, "damaged or half converted"),
        (0xbc, 0x341 | METADATA_UUID, "metadata_uuid"),
        (0xbc, 0x341 | 1 << 12, "features that are not known"),
        (0x70, 121 << 20, "by its own words"),
        (0x48, 0, "cannot be"),
        (0xc9, 2, "devices"),
    ];
    for (at, value, words) in cases {
        let refused = read_all(&with(&image, at, &value.to_le_bytes()), extent).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    // A file that ends too early, a byte that is another, and a copy that is.
    let short = Extent {
        len: Bytes(119 << 20),
        ..extent
    };
    assert!(read_all(&image, short).unwrap_err().contains("by its own"));
    for (place, words) in [(PLACES[0], "superblock is damaged"), (PLACES[1], "copy")] {
        let mut damaged = image.clone();
        damaged[usize::try_from(4096 + place.0).unwrap() + 0x200] ^= 1;
        let refused = read_all(&damaged, extent).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    let stale = with(&image, 0x48, &99_u64.to_le_bytes());
    let mut stale = stale[..64 << 20].to_vec();
    stale.extend_from_slice(&image[64 << 20..]);
    let refused = read_all(&stale, extent).unwrap_err();
    assert!(refused.contains("not like the first"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever a superblock with a right checksum says: no panic, and a change that reads back.
    #[test]
    fn any_superblock(seed in prop::collection::vec(any::<u8>(), 400), kind in 0..5_u16, cut in 0..80_000_u64) {
        let mut image = vec![0; 80_000];
        let start = 65536;
        image[start + 0x20..start + 0x20 + seed.len()].copy_from_slice(&seed);
        let put = |image: &mut Vec<u8>, at: usize, field: &[u8]| {
            image[start + at..start + at + field.len()].copy_from_slice(field);
        };
        put(&mut image, 0x40, b"_BHRfS_M");
        put(&mut image, 0x30, &65536_u64.to_le_bytes());
        put(&mut image, 0xc4, &kind.to_le_bytes());
        if seed[0] & 1 == 0 {
            for (at, value) in [(FLAGS, 1), (0x88, 1), (0xc9, 1), (0x60, 0), (0xbc, 0x341), (0x70, 79_000), (0xd1, 79_000)] {
                put(&mut image, at, &u64::to_le_bytes(value));
            }
        }
        let block = image[start..start + LEN].to_vec();
        if let Some(kind) = checksum(&block) {
            put(&mut image, 0, &sum(kind, &block));
        }
        let extent = Extent { at: Bytes::ZERO, len: Bytes(80_000 - cut / 8) };
        if let Ok(Ok(within)) = read(&image, extent) {
            let mut draft = Draft::new(&image);
            within.change(&mut draft, Some("x")).unwrap();
            let again = read(&draft, extent).unwrap().unwrap();
            prop_assert!(again.seeding);
            prop_assert_eq!(again.label.as_deref(), Some("x"));
        }
    }
}
