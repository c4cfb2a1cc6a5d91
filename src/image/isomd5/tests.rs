// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sum and its check, judged by checkisomd5.

use std::path::Path;
use std::process::Command;

use super::*;

/// An image of some size made by xorriso, bytes that compress badly in it.
fn image(dir: &Path, name: &str, payload: usize, options: &[&str]) -> Vec<u8> {
    let tree = dir.join(format!("{name}.tree"));
    std::fs::create_dir(&tree).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(payload)
    .collect();
    std::fs::write(tree.join("payload"), noise).unwrap();
    let path = dir.join(name);
    let made = Command::new("xorrisofs")
        .args(["-quiet", "-R", "-J", "-V", "SUM", "-o"])
        .arg(&path)
        .args(options)
        .arg(&tree)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    std::fs::read(path).unwrap()
}

fn implant(dir: &Path, name: &str, supported: bool) -> Vec<u8> {
    let mut command = Command::new("implantisomd5");
    if supported {
        command.arg("--supported-iso");
    }
    let done = command.arg(dir.join(name)).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    std::fs::read(dir.join(name)).unwrap()
}

fn checkisomd5(path: &Path) -> bool {
    Command::new("checkisomd5")
        .arg(path)
        .output()
        .unwrap()
        .status
        .success()
}

fn space(image: &[u8]) -> Block {
    Block(u32::from_be_bytes(image[32852..32856].try_into().unwrap()))
}

fn field(image: &[u8]) -> [u8; 512] {
    image.read_vec(FIELD.at, 512).unwrap().try_into().unwrap()
}

fn sum(image: &[u8], supported: bool, sizes: &[usize]) -> [u8; 512] {
    let mut sum = MediaSum::new(space(image), supported);
    let mut at = 0;
    for size in sizes.iter().cycle() {
        let end = (at + size).min(image.len());
        sum.update(Bytes(at as u64), &image[at..end]);
        at = end;
        if at == image.len() {
            break;
        }
    }
    sum.finish().unwrap()
}

const OFFSET: &[&str] = &["-partition_offset", "16", "-iso_mbr_part_type", "0x83"];

/// Layouts and payloads: small ones whose fragments are skipped, sizes beside multiples of 32768, larger ones.
const CASES: &[(&str, usize, &[&str])] = &[
    ("tiny", 2000, &["-no-pad"]),
    ("small", 300_000, &[]),
    ("odd", 1_000_001, &[]),
    ("offset", 3_000_000, OFFSET),
    ("offset-odd", 5_123_457, OFFSET),
    ("unpadded", 2_500_000, &["-no-pad"]),
    ("large", 40_000_000, OFFSET),
];

#[test]
fn what_implantisomd5_implants_is_what_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (name, payload, options)) in CASES.iter().enumerate() {
        let blank = image(dir.path(), name, *payload, options);
        let supported = number % 2 == 0;
        let implanted = implant(dir.path(), name, supported);
        assert_ne!(field(&blank), field(&implanted));
        for sizes in [
            &[32768][..],
            &[1 << 20],
            &[1, 4095, 100_003],
            &[883, 33_000, 2048],
        ] {
            // The field itself does not count, so summing the implanted image gives the same.
            for source in [&blank, &implanted] {
                let ours = sum(source, supported, sizes);
                assert_eq!(
                    String::from_utf8_lossy(&ours),
                    String::from_utf8_lossy(&field(&implanted)),
                    "{name} in chunks of {sizes:?}"
                );
            }
        }
        let parsed = Implanted::parse(&field(&implanted)).unwrap();
        assert_eq!((parsed.skip_sectors, parsed.supported), (15, supported));
    }
}

#[test]
fn the_verdict_is_that_of_checkisomd5() {
    let dir = tempfile::tempdir().unwrap();
    for (name, payload, options) in CASES {
        let path = dir.path().join(name);
        image(dir.path(), name, *payload, options);
        assert_eq!(
            check(&std::fs::read(&path).unwrap()).unwrap(),
            Verdict::Absent
        );
        assert!(!checkisomd5(&path));
        let good = implant(dir.path(), name, false);
        let total = usize::try_from(space(&good).bytes().0).unwrap() - 15 * 2048;
        // Nothing, the system area, the middle, the last byte that counts, the first that does not, the field.
        let flips = [
            None,
            Some(5),
            Some(total / 2),
            Some(total - 1),
            Some(total),
            Some(33_700),
        ];
        for flip in flips {
            let mut image = good.clone();
            if let Some(byte) = flip.and_then(|flip| image.get_mut(flip)) {
                *byte ^= 1;
            }
            std::fs::write(&path, &image).unwrap();
            let ours = check(&image).unwrap();
            assert_eq!(
                ours == Verdict::Pass,
                checkisomd5(&path),
                "{name}, byte {flip:?}: {ours:?}"
            );
            if let (Some(flip), true) = (flip, *payload > 1_000_000)
                && flip < total
                && flip != 33_700
            {
                let Verdict::Fail { within } = ours else {
                    panic!("{ours:?}")
                };
                assert!(
                    within.range().contains(&(flip as u64)),
                    "{name}: {flip} not in {within:?}"
                );
            }
        }
    }
}

#[test]
fn a_check_in_passing_says_what_checkisomd5_says() {
    let dir = tempfile::tempdir().unwrap();
    image(dir.path(), "whole.iso", 1_500_000, &[]);
    let good = implant(dir.path(), "whole.iso", false);
    let passes = |image: &[u8]| {
        let implanted = Implanted::parse(&field(&good)).unwrap();
        let mut check = Check::new(space(&good), &implanted);
        for (i, piece) in image.chunks(100_000).enumerate() {
            check.update(Bytes(i as u64 * 100_000), piece);
        }
        check.passes()
    };
    assert!(checkisomd5(&dir.path().join("whole.iso")));
    assert!(passes(&good));
    let mut bad = good.clone();
    bad[1_000_000] ^= 1;
    let path = dir.path().join("bad.iso");
    std::fs::write(&path, &bad).unwrap();
    assert!(!checkisomd5(&path));
    assert!(!passes(&bad));
    assert!(!passes(&good[..1_000_000]));
}

#[test]
fn a_missing_chunk_gives_no_sum() {
    let image = vec![0; 200 * 2048];
    let mut gap = MediaSum::new(Block(200), false);
    gap.update(Bytes(0), &image[..1000]);
    gap.update(Bytes(1001), &image[1001..]);
    assert_eq!(gap.finish(), None);
    let mut short = MediaSum::new(Block(200), false);
    short.update(Bytes(0), &image[..100 * 2048]);
    assert_eq!(short.finish(), None);
    let mut whole = MediaSum::new(Block(200), false);
    whole.update(Bytes(0), &image);
    assert!(whole.finish().is_some());
}

#[test]
fn both_rules_for_the_current_fragment_agree() {
    for blocks in (1..2_000_000u64).step_by(997) {
        let total = blocks * 2048;
        for fragment in 1..=21u64 {
            // The chunks around every boundary; elsewhere both are constant.
            let near = fragment * total / 21 / CHUNK * CHUNK;
            for offset in [near.saturating_sub(CHUNK), near, near + CHUNK] {
                if offset < total {
                    assert_eq!(offset / (total / 21), offset * 21 / total);
                }
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_field_is_worth_a_panic(text in "[ -~]{0,400}", noise in proptest::collection::vec(0u8.., 0..400)) {
        let start = b"ISO MD5SUM = 0123456789abcdef0123456789abcdef;SKIPSECTORS = 15;FRAGMENT COUNT = ";
        for bytes in [text.as_bytes(), &noise] {
            let mut field = [b' '; 512];
            field[..bytes.len()].copy_from_slice(bytes);
            let _ = Implanted::parse(&field);
            field[..start.len()].copy_from_slice(start);
            field[start.len()..start.len() + bytes.len()].copy_from_slice(bytes);
            proptest::prop_assert!(Implanted::parse(&field).is_some());
            let mut image = vec![0; 65536];
            image[32768..32775].copy_from_slice(b"\x01CD001\x01");
            image[32855] = 32;
            image[33651..34163].copy_from_slice(&field);
            proptest::prop_assert!(check(&image).is_ok());
        }
    }
}
