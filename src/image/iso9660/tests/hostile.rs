// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images that lie: nothing panics, nothing runs away, and what is harmless costs only itself.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::*;
use super::{LORAX, Lab};
use crate::patch::Draft;
use crate::units::Block;

fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| Lab::new().make("LORAX", LORAX).1)
}

/// Reads an image and does with it whatever can be done.
fn use_up(image: &Vec<u8>) {
    let start = Instant::now();
    if let Ok(iso) = Iso::read(image) {
        let _ = iso.unclaimed(image, &[]);
        let _ = iso.truncated(ReadAt::len(image));
        for file in iso.files() {
            let _ = iso.contents(image, file, Bytes::mib(1));
            let _ = iso.owner(file.extents.first().map_or(Bytes::ZERO, |extent| extent.at));
        }
        for file in iso.files().iter().take(20) {
            let mut draft = Draft::new(image);
            let fits = iso.fits(file, Bytes(3));
            let done = iso.replace(&mut draft, file, b"abc");
            assert_eq!(done.is_ok(), fits, "{done:?}");
            let _ = iso.relocate(&mut draft, file, Block(20), b"abc");
            if fits {
                draft.patches().unwrap();
            }
        }
        for directory in iso.directories() {
            let _ = iso.children(directory).count();
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A directory record.
fn record(name: &[u8], block: u32, len: u32, directory: bool) -> Vec<u8> {
    let mut record = vec![0; 33];
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = u8::try_from(record.len()).unwrap();
    record[2..6].copy_from_slice(&block.to_le_bytes());
    record[6..10].copy_from_slice(&block.to_be_bytes());
    record[10..14].copy_from_slice(&len.to_le_bytes());
    record[14..18].copy_from_slice(&len.to_be_bytes());
    record[25] = u8::from(directory) * 2;
    record[28] = 1;
    record[31] = 1;
    record[32] = u8::try_from(name.len()).unwrap();
    record
}

/// An image of `blocks` blocks whose root directory, at block 20, holds `records`.
fn small(blocks: u32, records: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; usize::try_from(blocks).unwrap() * 2048];
    image[32768..32775].copy_from_slice(b"\x01CD001\x01");
    image[32768 + 80..32768 + 84].copy_from_slice(&blocks.to_le_bytes());
    image[32768 + 84..32768 + 88].copy_from_slice(&blocks.to_be_bytes());
    image[32768 + 128..32768 + 132].copy_from_slice(&[0, 8, 8, 0]);
    image[32768 + 156..32768 + 190].copy_from_slice(&record(&[0], 20, 2048, true));
    image[34816..34823].copy_from_slice(b"\xffCD001\x01");
    directory(&mut image, 20, 20, records);
    image
}

fn directory(image: &mut [u8], block: u32, parent: u32, records: &[Vec<u8>]) {
    let own = [
        record(&[0], block, 2048, true),
        record(&[1], parent, 2048, true),
    ];
    let mut at = usize::try_from(block).unwrap() * 2048;
    for record in own.iter().chain(records) {
        image[at..at + record.len()].copy_from_slice(record);
        at += record.len();
    }
}

fn flaw(iso: &Iso, what: &str) -> bool {
    iso.flaws().iter().any(|flaw| flaw.what.contains(what))
}

#[test]
fn a_directory_loop_costs_the_loop() {
    let image = small(
        60,
        &[
            record(b"A.TXT;1", 40, 5, false),
            record(b"LOOP", 20, 2048, true),
            record(b"B.TXT;1", 41, 5, false),
        ],
    );
    let iso = Iso::read(&image).unwrap();
    assert!(flaw(&iso, "/LOOP/ is named twice"), "{:?}", iso.flaws());
    assert_eq!(iso.files().len(), 2);
    assert!(iso.file("/a.txt").is_some() && iso.file("/B.TXT").is_some());
    // A record that was not read might name the file, so it is left alone.
    assert!(!iso.fits(iso.file("/A.TXT").unwrap(), Bytes(5)));
    use_up(&image);
    let sound = small(60, &[record(b"A.TXT;1", 40, 5, false)]);
    let iso = Iso::read(&sound).unwrap();
    assert!(iso.fits(iso.file("/A.TXT").unwrap(), Bytes(5)));
}

#[test]
fn what_lies_beyond_the_end_costs_only_itself() {
    let image = small(
        60,
        &[
            record(b"FAR.IMG;1", 59, 4097, false),
            record(b"FARTHER.IMG;1", u32::MAX, u32::MAX, false),
            record(b"NEAR.CFG;1", 40, 5, false),
        ],
    );
    let iso = Iso::read(&image).unwrap();
    assert_eq!(iso.flaws(), []);
    for name in ["/FAR.IMG", "/FARTHER.IMG"] {
        let far = iso.file(name).unwrap();
        assert!(iso.contents(&image, far, Bytes(u64::MAX)).is_err());
        assert!(!iso.fits(far, Bytes(5)));
    }
    assert!(iso.fits(iso.file("/NEAR.CFG").unwrap(), Bytes(5)));
    use_up(&image);
    let image = small(
        60,
        &[
            record(b"D", 59, 4096, true),
            record(b"NEAR.CFG;1", 40, 5, false),
        ],
    );
    let iso = Iso::read(&image).unwrap();
    assert!(flaw(&iso, "beyond the end"));
    assert!(iso.file("/near.cfg").is_some());
    let image = small(60, &[record(b"D", 0xffff_0000, u32::MAX, true)]);
    assert!(flaw(&Iso::read(&image).unwrap(), "beyond the end"));
    use_up(&image);
}

#[test]
fn records_of_any_length_end_somewhere() {
    for len in [0u8, 1, 32, 33, 34, 40, 254, 255] {
        let mut broken = record(b"X.TXT;1", 40, 5, false);
        broken[0] = len;
        let image = small(60, &[record(b"A.TXT;1", 41, 5, false), broken.clone()]);
        let iso = Iso::read(&image).unwrap();
        assert!(iso.file("/A.TXT").is_some());
        assert_eq!(iso.file("/X.TXT").is_some(), len >= 40, "{len}");
        assert_eq!(
            iso.flaws().is_empty(),
            matches!(len, 0 | 254 | 255) || len == 40,
            "{len}: {:?}",
            iso.flaws()
        );
        use_up(&image);
        // The same in the last bytes of the directory.
        let mut image = small(60, &[]);
        image[21 * 2048 - 40..21 * 2048].copy_from_slice(&broken[..40]);
        use_up(&image);
        image[20 * 2048] = len;
        use_up(&image);
    }
    let mut named = record(b"X.TXT;1", 40, 5, false);
    named[32] = 255;
    assert!(flaw(
        &Iso::read(&small(60, &[named])).unwrap(),
        "name does not fit"
    ));
    for name in ["..;1", "A/B;1", ".;1"] {
        let image = small(60, &[record(name.as_bytes(), 40, 5, false)]);
        assert_eq!(Iso::read(&image).unwrap().files().len(), 0, "{name}");
    }
}

#[test]
fn a_path_of_many_levels_ends() {
    let mut image = small(
        400,
        &[
            record(b"D", 21, 2048, true),
            record(b"A.TXT;1", 399, 5, false),
        ],
    );
    for block in 21..398 {
        directory(
            &mut image,
            block,
            block - 1,
            &[record(b"D", block + 1, 2048, true)],
        );
    }
    let iso = Iso::read(&image).unwrap();
    assert!(flaw(&iso, "nested"));
    assert!(iso.file("/A.TXT").is_some());
    assert!(iso.directories().len() < 70);
    use_up(&image);
}

#[test]
fn a_directory_of_gigabytes_is_refused_not_read() {
    // 40 directories of 8 MiB that overlap in a sparse image: little data, much to read.
    let mut image = small(
        60,
        &(0..40u32)
            .map(|n| record(format!("D{n}").as_bytes(), 21 + n, 8 << 20, true))
            .collect::<Vec<_>>(),
    );
    image.resize(10 << 20, 0);
    let start = Instant::now();
    let error = Iso::read(&image).unwrap_err().to_string();
    assert!(error.contains("larger than any live image's"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    // And a directory full of one and the same small record.
    let mut image = small(60, &[record(b"D", 21, 60 << 20, true)]);
    image.resize(21 * 2048, 0);
    let entry = record(b"F;1", 40, 5, false);
    let block: Vec<u8> = entry
        .iter()
        .copied()
        .cycle()
        .take(entry.len() * (2048 / entry.len()))
        .collect();
    while image.len() < (21 * 2048) + (60 << 20) {
        image.extend(&block);
        image.resize(image.len().next_multiple_of(2048), 0);
    }
    let start = Instant::now();
    assert!(Iso::read(&image).is_err());
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn rock_ridge_continuations_end() {
    // A continuation area that continues itself, and one of 4 GiB.
    for (block, len) in [(45u32, 28u32), (45, u32::MAX), (u32::MAX, 28)] {
        let mut entry = b"CE\x1c\x01".to_vec();
        for number in [block, 0, len] {
            entry.extend(number.to_le_bytes());
            entry.extend(number.to_be_bytes());
        }
        let mut long = record(b"A.TXT;1", 40, 5, false);
        long.extend(&entry);
        long[0] = u8::try_from(long.len()).unwrap();
        let mut image = small(60, &[long]);
        image[45 * 2048..45 * 2048 + 28].copy_from_slice(&entry);
        let iso = Iso::read(&image).unwrap();
        assert!(flaw(&iso, "continuation"), "{:?}", iso.flaws());
        assert!(iso.file("/A.TXT").is_some());
        use_up(&image);
    }
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(Iso::read(&Vec::new()).is_err());
    assert!(Iso::read(&vec![0; 100_000]).is_err());
    let mut image = image().to_vec();
    image[32768 + 129] = 2;
    assert!(
        Iso::read(&image)
            .unwrap_err()
            .to_string()
            .contains("512 bytes")
    );
    // The second set is not believed when it makes no sense; the first is still good.
    let mut image = self::image().to_vec();
    image[65536 + 129] = 2;
    let iso = Iso::read(&image).unwrap();
    assert!(iso.partition().is_none() && flaw(&iso, "512 bytes"));
    assert!(iso.file("/boot/grub2/grub.cfg").is_some());
}

/// Offsets in the metadata of the image: descriptors, directories, records.
fn interesting() -> &'static [usize] {
    static PLACES: OnceLock<Vec<usize>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let iso = Iso::read(&image().to_vec()).unwrap();
        let boot = iso.boot().unwrap().extent;
        let descriptors = [32768..32768 + 4 * 2048, 65536..65536 + 3 * 2048]
            .into_iter()
            .flatten();
        let meta = iso
            .meta
            .iter()
            .chain([&boot])
            .flat_map(|extent| extent.range());
        let meta = meta.map(|at| usize::try_from(at).unwrap());
        descriptors
            .chain(meta)
            .filter(|at| image()[*at] != 0)
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_mutation_is_worth_a_panic(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..40),
        cut in proptest::option::weighted(0.2, 0usize..1_500_000),
    ) {
        let mut image = image().to_vec();
        for (index, byte) in flips {
            image[*index.get(interesting())] = byte;
        }
        if let Some(cut) = cut {
            image.truncate(cut);
        }
        use_up(&image);
    }

    #[test]
    fn no_noise_is_worth_a_panic(noise in proptest::collection::vec(any::<u8>(), 8192), at in 16usize..40) {
        let mut image = image().to_vec();
        image[at * 2048..at * 2048 + noise.len()].copy_from_slice(&noise);
        use_up(&image);
    }
}
