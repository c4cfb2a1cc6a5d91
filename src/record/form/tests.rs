// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies that are made, read, cut and edited.

use proptest::prelude::*;

use uuid::Uuid;

use super::*;
use crate::record::{Change, EspFile, Kept, Origin, Part, REGION_GRAIN, RecordedImage, tree};
use crate::units::Extent;
use crate::units::GIB;

/// A record of a stick with `chunks` whole chunks and a short one, with one item at least of everything.
pub(crate) fn made_up(chunks: u64, generation: u64) -> Record {
    let size = Bytes(chunks * CHUNK.0 + 2048);
    let region = Extent {
        at: size.align_up(REGION_GRAIN),
        len: Bytes::mib(2),
    };
    let change = |at: u64, len: usize| Change {
        at: Bytes(at),
        before: vec![1; len],
        after: vec![2; len],
        why: "the partition's entry".into(),
    };
    let behind = region.end().align_up(Bytes::mib(4));
    let part = Part {
        purpose: "overlay".into(),
        number: 4,
        extent: Extent {
            at: behind,
            len: Bytes::mib(8),
        },
        kind: "ext4".into(),
        uuid: Uuid::from_u128(0x1234_5678),
        partuuid: "6e2d6a0c-4b2f-4a3b-9a53-6dcb3a5e8f01".into(),
    };
    let medium = behind + Bytes::mib(16);
    Record {
        generation,
        tool: "livestick 1.0.0".into(),
        written: 1_763_700_000,
        image: RecordedImage {
            name: "Lab – Live.iso".into(),
            label: "Lab".into(),
            size,
            sha256: [7; 32],
            origin: Origin {
                standing: OriginStanding::Signed,
                words: "published by Lab (good signature)".into(),
            },
        },
        medium,
        region,
        changes: vec![change(446, 16), change(4096, 700)],
        kept: vec![Kept {
            at: medium - Bytes(33 * 512),
            bytes: vec![3; 33 * 512],
            what: "the table's backup".into(),
        }],
        parts: vec![part],
        making: r#"{"filesystems":[]}"#.into(),
        esp: vec![EspFile {
            path: "/EFI/BOOT/grub.cfg".into(),
            size: Bytes(4711),
            sha256: [9; 32],
        }],
        chunks: (0..=chunks).map(|i| tree::leaf(&i.to_le_bytes())).collect(),
    }
}

/// The first copy of a record.
fn copy(record: &Record) -> Vec<u8> {
    let region = record.region;
    encode(record, region.at, region.at + Bytes(region.len.0 / 2))
}

/// Both digests of the header made right again, as somebody would who edits a copy.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len() as u64;
    bytes[field::LENGTH..][..8].copy_from_slice(&length.to_le_bytes());
    let body = Sha256::digest(&bytes[HEADER..]);
    bytes[field::BODY_DIGEST..][..32].copy_from_slice(&body);
    let seal = Sha256::digest(&bytes[..field::HEADER_DIGEST]);
    bytes[field::HEADER_DIGEST..][..32].copy_from_slice(&seal);
    bytes
}

/// The number of sections changed by `more`.
fn sections_more(bytes: &mut [u8], more: u32) {
    let field: [u8; 4] = bytes[field::SECTIONS..][..4].try_into().unwrap();
    let number = u32::from_le_bytes(field) + more;
    bytes[field::SECTIONS..][..4].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn what_is_written_is_what_is_read() {
    let mut record = made_up(3, 5);
    for standing in [
        OriginStanding::None,
        OriginStanding::Listed,
        OriginStanding::Signed,
    ] {
        record.image.origin.standing = standing;
        let mut bytes = copy(&record);
        let (header, read) = decode(&bytes).unwrap();
        assert_eq!(read, record);
        assert_eq!(
            (header.minor, header.header, header.generation),
            (MINOR, HEADER, 5)
        );
        assert_eq!(header.length, bytes.len());
        assert_eq!(header.here, record.region.at);
        assert_eq!(header.other, record.region.at + Bytes::mib(1));
        // What follows is somebody else's.
        bytes.extend([0xAA; 100]);
        assert_eq!(decode(&bytes).unwrap().1, record);
    }
    record.changes.clear();
    record.kept.clear();
    record.parts.clear();
    record.making.clear();
    record.esp.clear();
    assert_eq!(decode(&copy(&record)).unwrap().1, record);
}

#[test]
fn every_byte_that_is_another_one_is_noticed() {
    let bytes = copy(&made_up(2, 1));
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn a_newer_form_is_called_that() {
    let mut bytes = copy(&made_up(1, 1));
    bytes[field::MAJOR] = 2;
    bytes[field::MINOR] = 3;
    let newer = FormError::NewerVersion { major: 2, minor: 3 };
    // Whatever it seals its header with.
    assert_eq!(decode(&bytes), Err(newer.clone()));
    assert_eq!(decode(&sealed(bytes)), Err(newer.clone()));
    assert!(newer.to_string().contains("use that one"));
    // No form was older than the first one.
    let mut bytes = copy(&made_up(1, 1));
    bytes[field::MAJOR] = 0;
    assert!(matches!(
        decode(&sealed(bytes)),
        Err(FormError::Damaged { .. })
    ));
}

#[test]
fn a_newer_minor_form_is_read() {
    let record = made_up(1, 1);
    let mut bytes = copy(&record);
    bytes[field::MINOR] = 9;
    // A section nobody knows, in front of the others, and a header that has grown.
    let new = [b"NEW!".as_slice(), &3_u32.to_le_bytes(), b"abc", &[0; 5]].concat();
    bytes.splice(HEADER..HEADER, new);
    bytes.splice(HEADER..HEADER, [0x55; 64]);
    bytes[field::HEADER] = 192;
    sections_more(&mut bytes, 1);
    let bytes = sealed(bytes);
    let (header, read) = decode(&bytes).unwrap();
    assert_eq!((header.minor, header.header), (9, 192));
    assert_eq!(read, record);
    // The digests cover what has grown.
    let mut flipped = bytes.clone();
    flipped[HEADER + 5] ^= 1;
    assert!(decode(&flipped).is_err());
}

/// The digests are right, the numbers are not.
#[test]
fn a_record_that_contradicts_itself_is_refused() {
    type Lie = fn(&mut Record);
    let lies: &[(&str, Lie)] = &[
        ("chunks", |r| {
            r.chunks.pop();
        }),
        ("empty", |r| {
            r.image.size = Bytes::ZERO;
            r.chunks.clear();
        }),
        ("chunks", |r| r.image.size = Bytes(u64::MAX)),
        ("as long", |r| {
            r.changes[0].after.push(0);
        }),
        ("as long", |r| {
            r.changes[0].after.clear();
            r.changes[0].before.clear();
        }),
        ("order", |r| r.changes.swap(0, 1)),
        ("order", |r| r.changes[1].at = r.changes[0].at),
        ("inside the image", |r| r.changes[1].at = r.image.size),
        ("inside the image", |r| r.changes[1].at = Bytes(u64::MAX)),
        ("its region", |r| r.region.at = Bytes::ZERO),
        ("its region", |r| r.region.at += Bytes(512)),
        ("its region", |r| r.region.len = Bytes::mib(3)),
        ("its region", |r| r.region.len = Bytes::ZERO),
        ("its region", |r| r.region.len = Bytes(u64::MAX)),
        ("its region", |r| r.medium = r.region.at + Bytes::mib(1)),
        ("keeps", |r| r.kept[0].at = Bytes(0)),
        ("keeps", |r| r.kept[0].at = r.medium),
        ("keeps", |r| r.kept[0].at = r.parts[0].extent.at),
        ("keeps", |r| {
            let len = r.kept[0].bytes.len() as u64;
            r.kept[0].at = r.parts[0].extent.at - Bytes(len) + Bytes(1);
        }),
        ("keeps", |r| r.kept[0].at = Bytes(u64::MAX)),
        ("keeps", |r| r.kept[0].at = r.region.at + Bytes::mib(1)),
        ("partition", |r| r.parts[0].extent.at = Bytes(512)),
        ("partition", |r| r.parts[0].extent.at = r.region.at),
        ("partition", |r| r.parts[0].extent.len = Bytes(u64::MAX)),
    ];
    for (index, (about, lie)) in lies.iter().enumerate() {
        let honest = made_up(2, 1);
        let (here, other) = (honest.region.at, honest.region.at + Bytes::mib(1));
        let mut record = honest;
        lie(&mut record);
        let error = decode(&encode(&record, here, other)).unwrap_err();
        assert!(error.to_string().contains(about), "{index}: {error}");
    }
    // A copy in one half of the region that says it is elsewhere.
    let record = made_up(2, 1);
    let [first, second] = [record.region.at, record.region.at + Bytes::mib(1)];
    for (here, other) in [
        (first, first),
        (first, Bytes::ZERO),
        (second + Bytes::mib(1), first),
    ] {
        assert!(decode(&encode(&record, here, other)).is_err());
    }
    assert!(decode(&encode(&record, second, first)).is_ok());
}

#[test]
fn a_copy_edited_by_hand_is_refused() {
    let bytes = copy(&made_up(2, 1));
    let damaged = |bytes: Vec<u8>, about: &str| {
        let error = decode(&bytes).unwrap_err();
        assert!(matches!(error, FormError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(about), "{error}");
    };
    let name = bytes.windows(4).position(|w| w == b"Live").unwrap();
    let mut edited = bytes.clone();
    edited[name] = b'F';
    damaged(edited.clone(), "follows the header");
    // With digests that are right it is another record, which is as good as any: the digest of the image is what
    // has to be compared.
    assert!(decode(&sealed(edited)).is_ok());

    let section = |tag: &[u8; 4]| bytes.windows(4).position(|w| w == tag).unwrap();
    let lie = |at: usize, with: &[u8]| {
        let mut edited = bytes.clone();
        edited[at..at + with.len()].copy_from_slice(with);
        sealed(edited)
    };
    damaged(lie(field::HEADER, &[0; 4]), "impossible length");
    damaged(lie(field::HEADER, &[129]), "impossible length");
    damaged(lie(field::SECTIONS, &[9]), "behind its last section");
    damaged(lie(field::SECTIONS, &[0xFF; 4]), "said to follow");
    damaged(lie(section(b"TIME"), b"TIMF"), "TIME is missing");
    damaged(lie(section(b"TIME"), b"TOOL"), "TOOL is there twice");
    damaged(lie(section(b"TOOL") + 4, &[18]), "padded with zeros");
    damaged(lie(section(b"CHNG") + 8, &[0xFF; 4]), "said to follow");
    damaged(lie(section(b"CHNG") + 8, &[1]), "longer than its fields");
    damaged(lie(section(b"CHNK") + 8, &[1]), "1 MiB");
    damaged(lie(section(b"CHNK") + 16, &[1]), "its root");
    damaged(lie(section(b"IMAG") + 8 + 40, &[3]), "unknown standing");
    damaged(lie(section(b"TOOL") + 12, &[0xFF]), "UTF-8");
    let mut long = bytes.clone();
    long.extend([0; 8]);
    damaged(sealed(long), "behind its last section");
    let mut length = bytes.clone();
    length[field::LENGTH..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let seal = Sha256::digest(&length[..field::HEADER_DIGEST]);
    length[field::HEADER_DIGEST..][..32].copy_from_slice(&seal);
    damaged(length, "impossible length");
}

/// An image of 4 GiB, a table whose backup has 32 KiB, the usual files of a system partition.
#[test]
fn a_copy_takes_less_than_200_kib() {
    let mut record = made_up(1, 1);
    record.image.size = Bytes(4 * GIB);
    record.region.at = Bytes(4 * GIB);
    record.medium = Bytes(32 * GIB);
    record.parts.clear();
    record.chunks.clear();
    let change = |i: u64| Change {
        at: Bytes(i * 1_000_000),
        before: vec![1; 600],
        after: vec![2; 600],
        why: "boot configuration /EFI/BOOT/grub.cfg: arguments of the persistent entries".into(),
    };
    record.changes = (0..20).map(change).collect();
    record.kept = vec![Kept {
        at: record.medium - Bytes(65 * 512),
        bytes: vec![3; 65 * 512],
        what: "backup of the partition table".into(),
    }];
    let file = |name: &str| EspFile {
        path: format!("/EFI/BOOT/{name}"),
        size: Bytes::mib(1),
        sha256: [1; 32],
    };
    let names = [
        "BOOTX64.EFI",
        "BOOTIA32.EFI",
        "BOOTAA64.EFI",
        "grubx64.efi",
        "grubia32.efi",
        "mmx64.efi",
        "mmia32.efi",
        "BOOT.conf",
        "grub.cfg",
        "fonts/unicode.pf2",
    ];
    record.esp = names.iter().map(|name| file(name)).collect();
    record.chunks = vec![[5; 32]; 4096];
    let bytes = copy(&record);
    assert!(bytes.len() < 200 * 1024, "{} bytes", bytes.len());
    assert!(decode(&bytes).is_ok());
}

/// The page is what other programs are written from.
#[test]
fn the_page_says_what_the_code_does() {
    let page = include_str!("../../../man/livestick-record.5").replace("\\-", "-");
    // Rows of the tables: number, tab, length, tab, name.
    let at = |name: &str| {
        let row = page.lines().find_map(|line| {
            let (at, rest) = line.split_once('\t')?;
            rest.split('\t').any(|cell| cell == name).then_some(at)
        });
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        row.parse::<usize>().unwrap()
    };
    for (name, offset) in [
        ("magic", 0),
        ("major", field::MAJOR),
        ("minor", field::MINOR),
        ("header", field::HEADER),
        ("generation", field::GENERATION),
        ("length", field::LENGTH),
        ("here", field::HERE),
        ("other", field::OTHER),
        ("sections", field::SECTIONS),
        ("zero", field::SECTIONS + 4),
        ("body", field::BODY_DIGEST),
        ("seal", field::HEADER_DIGEST),
    ] {
        assert_eq!(at(name), offset, "{name}");
    }
    // The tags and their order are those of what is written.
    let bytes = copy(&made_up(1, 1));
    let mut walk = HEADER;
    let mut written = Vec::new();
    while walk < bytes.len() {
        written.push(String::from_utf8_lossy(&bytes[walk..walk + 4]).into_owned());
        let len: [u8; 4] = bytes[walk + 4..walk + 8].try_into().unwrap();
        walk += 8 + (u32::from_le_bytes(len) as usize).next_multiple_of(8);
    }
    let told: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SS "))
        .filter_map(|line| line.split(' ').next())
        .filter(|tag| tag.len() == 4 && tag.bytes().all(|b| b.is_ascii_uppercase()))
        .collect();
    assert_eq!(told, written);

    let magic = std::str::from_utf8(MAGIC).unwrap();
    for said in [
        magic.to_owned(),
        crate::record::place::GPT_TYPE.to_string(),
        format!("0x{:02X}", crate::record::place::MBR_TYPE),
        crate::record::place::NAME.to_owned(),
        format!("form {MAJOR}.{MINOR}"),
        format!("{HEADER} bytes"),
        format!("{LONGEST} bytes at most"),
        format!("{LONGEST_HEADER} at most"),
        format!("chunks of {} bytes", CHUNK.0),
        format!("multiple of {} bytes", REGION_GRAIN.0),
        format!("multiple of {} bytes", PLACE_GRAIN.0),
    ] {
        assert!(page.contains(&said), "the page does not say {said:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes).is_err());
        let bytes = [MAGIC.as_slice(), &bytes].concat();
        prop_assert!(decode(&bytes).is_err());
    }

    /// Changed bytes under digests that are right: whatever comes of it, it is no panic, and what is read is sound.
    #[test]
    fn changed_bytes_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = copy(&made_up(1, 1));
        // The longest items say little, and would take most of the changes.
        let from = bytes.len();
        for (at, value) in changes {
            let at = at.index(from);
            bytes[at] = value;
        }
        prop_assert!(cuts || decode(&bytes).is_err() || bytes == copy(&made_up(1, 1)));
        if cuts {
            bytes.truncate(HEADER + cut.index(from - HEADER));
        }
        if let Ok((header, record)) = decode(&sealed(bytes)) {
            prop_assert!(record.region.at >= record.image.size);
            prop_assert!(record.region.end() <= record.medium);
            prop_assert_eq!(record.chunks.len() as u64, record.image.size.0.div_ceil(CHUNK.0));
            let copies = [header.here, header.other];
            let again = encode(&record, copies[0], copies[1]);
            prop_assert_eq!(decode(&again).unwrap().1, record);
        }
    }
}
