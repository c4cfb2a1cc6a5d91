// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partitions added to tables of every scheme, and tables that lie.

use proptest::prelude::*;

use super::*;

fn new(at: Bytes, len: Bytes) -> NewPartition {
    NewPartition {
        extent: Extent { at, len },
        name: "x".to_owned(),
        what: Use::LinuxData,
        unique: Uuid::from_u128(1),
    }
}

#[test]
fn a_partition_in_the_wrong_place_changes_nothing() {
    for image in [gpt::tests::image(128, &[(70, 80)]), mbr::tests::chained()] {
        let table = Table::read(&image).unwrap();
        let medium = Bytes::mib(64);
        let four = Bytes::mib(4);
        let cases = [
            vec![new(Bytes(32768), four)],
            vec![new(four + Bytes(1), four)],
            vec![new(four, four + Bytes(1))],
            vec![new(four, Bytes::ZERO)],
            vec![new(four, medium)],
            vec![new(Bytes::mib(8), four), new(four, four)],
            vec![new(four, four), new(Bytes::mib(7), four)],
            vec![new(Bytes(u64::MAX - 511), Bytes(512))],
        ];
        for case in cases {
            let mut draft = Draft::new(&image);
            let refused = table.add(&mut draft, medium, &case).unwrap_err();
            assert!(
                matches!(
                    refused,
                    TableError::Misplaced { .. } | TableError::TooLarge { .. }
                ),
                "{refused}"
            );
            assert_eq!(draft.patches().unwrap(), []);
        }
    }
    let image = gpt::tests::image(128, &[]);
    let table = Table::read(&image).unwrap();
    let mut draft = Draft::new(&image);
    let mut long = new(Bytes::mib(4), Bytes::mib(4));
    long.name = "x".repeat(37);
    let short = new(Bytes::mib(8), Bytes::mib(4));
    long.extent.at = Bytes::mib(12);
    let refused = table.add(&mut draft, Bytes::mib(64), &[short, long]);
    assert!(matches!(refused, Err(TableError::NameTooLong { .. })));
    assert_eq!(draft.patches().unwrap(), []);
    for medium in [0, 511, 65536, 65536 + 32 * 512] {
        let refused = table.add(&mut draft, Bytes(medium), &[]);
        assert!(matches!(refused, Err(TableError::MediumTooSmall { .. })));
    }
}

#[test]
fn one_may_be_laid_over_a_file_of_the_image_and_cuts_no_other() {
    for (image, number) in [
        (gpt::tests::image(128, &[(64, 120), (70, 80)]), 3),
        (
            mbr::tests::sector_and(&[(0x80, 0, 0, 128), (0, 0xEF, 70, 11)]),
            3,
        ),
    ] {
        let table = Table::read(&image).unwrap();
        let medium = Bytes::mib(64);
        let behind = new(Bytes::mib(8), Bytes::mib(4));
        let over = |first: u64, sectors: u64| new(Bytes(first * 512), Bytes(sectors * 512));
        let mut draft = Draft::new(&image);
        for wrong in [
            over(60, 200),
            over(72, 20),
            over(79, 4),
            over(100, 0),
            over(u64::MAX / 512, 4),
        ] {
            let refused = table.add_with(&mut draft, medium, &wrong, std::slice::from_ref(&behind));
            assert!(
                matches!(refused, Err(TableError::Misplaced { .. })),
                "{refused:?}"
            );
        }
        let mut odd = over(100, 8);
        odd.extent.at += Bytes(1);
        assert!(table.add_with(&mut draft, medium, &odd, &[]).is_err());
        // What is not behind the image is still no place for the others.
        let inside = table.add_with(&mut draft, medium, &over(100, 8), &[over(110, 4)]);
        assert!(
            matches!(inside, Err(TableError::Misplaced { .. })),
            "{inside:?}"
        );
        assert_eq!(draft.patches().unwrap(), []);
        let added = table.add_with(&mut draft, medium, &over(100, 8), &[behind]);
        let added = added.unwrap();
        assert_eq!(added.numbers, [number, number + 1]);
        let mut whole = draft.read_vec(Bytes::ZERO, image.len()).unwrap();
        whole.resize(64 << 20, 0);
        for part in added.behind {
            put(&mut whole, usize::try_from(part.at.0).unwrap(), &part.bytes);
        }
        let back = Table::read(&whole).unwrap();
        let seen = back.partitions.iter().find(|p| p.number == number).unwrap();
        assert_eq!(seen.extent, over(100, 8).extent);
    }
}

#[test]
fn in_an_mbr_it_has_a_slot_and_the_disk_a_signature_of_its_own() {
    let one_free = [(0x80, 0, 0, 128), (0, 0xEF, 70, 11), (0, 0, 90, 2)];
    let image = mbr::tests::sector_and(&one_free);
    let table = Table::read(&image).unwrap();
    let refused = table.space_with(Bytes(65536), Bytes::mib(64), 1);
    assert!(
        matches!(refused, Err(TableError::NoFreeSlot { .. })),
        "{refused:?}"
    );
    let image = mbr::tests::sector_and(&one_free[..2]);
    let table = Table::read(&image).unwrap();
    // With two more these are logical.
    let space = table.space_with(Bytes(65536), Bytes::mib(64), 2).unwrap();
    assert_eq!(space.gaps, [GRAIN, GRAIN]);
    let mut draft = Draft::new(&image);
    let mut over = new(Bytes(100 * 512), Bytes(4096));
    over.unique = uuid!("12345678-0000-0000-0000-000000000000");
    let parts = [new(Bytes::mib(8), GRAIN), new(Bytes::mib(16), GRAIN)];
    let added = table
        .add_with(&mut draft, Bytes::mib(64), &over, &parts)
        .unwrap();
    assert_eq!(added.numbers, [3, 5, 6]);
    assert_eq!(added.partuuids[0], "12345678-03");
}

/// Reads, and adds as many partitions as wanted behind everything: whatever comes of it, no panic; and if it
/// worked, it reads back.
fn exercise(image: &Vec<u8>, medium: u64, count: usize) {
    let Ok(table) = Table::read(image) else {
        return;
    };
    let Ok(space) = table.space(ReadAt::len(image), Bytes(medium), count) else {
        return;
    };
    let mut at = space.from;
    let mut all = Vec::new();
    for gap in &space.gaps {
        at = (at + *gap).align_up(GRAIN);
        all.push(new(at, GRAIN));
        at += GRAIN;
    }
    let mut draft = Draft::new(image);
    let Ok(added) = table.add(&mut draft, Bytes(medium), &all) else {
        return;
    };
    let mut stick = draft.read_vec(Bytes::ZERO, image.len()).unwrap();
    stick.resize(usize::try_from(medium).unwrap(), 0);
    for piece in &added.behind {
        put(&mut stick, piece.at.index().unwrap(), &piece.bytes);
    }
    let again = Table::read(&stick).unwrap();
    assert_eq!(again.scheme, table.scheme);
    for (number, partition) in added.numbers.iter().zip(&all) {
        let seen = again.partitions.iter().find(|p| p.number == *number);
        assert_eq!(seen.map(|p| p.extent), Some(partition.extent));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut image in prop::collection::vec(any::<u8>(), 0..4096), signed: bool) {
        if signed && image.len() >= 512 {
            image[510..512].copy_from_slice(&[0x55, 0xAA]);
        }
        exercise(&image, 32 << 20, 2);
    }

    #[test]
    fn changed_tables_never_panic(
        gpt: bool,
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 0..6),
        fields in prop::collection::vec((446..510_usize, any::<u8>()), 0..3),
        headers in prop::collection::vec((12..92_usize, any::<u8>()), 0..3),
        count in 0..6_usize,
        medium in 0..48_u64 << 20,
    ) {
        let mut image = if gpt {
            super::gpt::tests::image(16, &[(70, 80), (64, 127)])
        } else {
            super::mbr::tests::chained()
        };
        for (at, byte) in changes {
            image[at] = byte;
        }
        for (at, byte) in fields {
            image[at] = byte;
            image[64 * 512 + at] = byte;
        }
        if gpt {
            for (at, byte) in headers {
                image[512 + at] = byte;
            }
            super::gpt::tests::make_sound(&mut image);
        }
        exercise(&image, medium, count);
    }
}
