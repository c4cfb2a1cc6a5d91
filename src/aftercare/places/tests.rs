// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use crate::plan::filesystem::{Backing, Filesystem, Filling};
use crate::record::form::tests::made_up;
use crate::request::FsKind;
use crate::sprout::{Checksum, Driver, Home, Source, Sprout};

fn filesystem(purpose: Purpose, part: &Part) -> Filesystem {
    Filesystem {
        purpose,
        number: part.number,
        extent: part.extent,
        partuuid: part.partuuid.clone(),
        kind: FsKind::Ext4,
        label: "ovl-1".into(),
        uuid: part.uuid,
        backing: Backing::Loop,
        filling: Filling::Mkfs,
        subvolume: None,
        compressed: false,
        encryption: None,
        tree: Vec::new(),
    }
}

/// What is said of a record with these parts, each a filesystem of its purpose, by way of the text in the record.
fn judged(record: &Record, filesystems: &[Filesystem]) -> Result<(), &'static str> {
    let making = Making::of(filesystems, None);
    let read = Making::parse(&making.text()).unwrap();
    assert_eq!(read, making);
    sound(&read, record, record.medium)
}

/// A record with an overlay and a home, one behind the other.
fn two() -> (Record, [Filesystem; 2]) {
    let mut record = made_up(3, 1);
    let home = Part {
        purpose: "home".into(),
        number: 5,
        extent: Extent {
            at: record.parts[0].extent.end(),
            len: Bytes::mib(4),
        },
        ..record.parts[0].clone()
    };
    record.parts.push(home);
    let filesystems = [
        filesystem(Purpose::Overlay, &record.parts[0]),
        filesystem(Purpose::Home, &record.parts[1]),
    ];
    (record, filesystems)
}

#[test]
fn what_a_stick_has_is_sound() {
    let (record, filesystems) = two();
    assert_eq!(judged(&record, &filesystems), Ok(()));
    assert_eq!(Making::default().text(), "");
    assert_eq!(Making::parse("{}"), None);
}

type Place = fn(&Record) -> Extent;
type Change = fn(&mut Record, &mut [Filesystem; 2]);

#[test]
fn what_a_record_says_elsewhere_is_not_written_over() {
    let both = |record: &mut Record, filesystems: &mut [Filesystem; 2], extent| {
        record.parts[1].extent = extent;
        filesystems[1].extent = extent;
    };
    // What would be harmful, and is the same in both halves of the record.
    let places: [(&str, Place); 6] = [
        ("the image", |_| Extent {
            at: Bytes::mib(1),
            len: Bytes::mib(1),
        }),
        ("the record", |record| record.region),
        ("the table's backup", |record| Extent {
            at: record.kept[0].at,
            len: Bytes(512),
        }),
        ("the other one", |record| record.parts[0].extent),
        ("behind the medium", |record| Extent {
            at: record.medium - Bytes(512),
            len: Bytes(1024),
        }),
        ("beyond all numbers", |_| Extent {
            at: Bytes(u64::MAX),
            len: Bytes(1024),
        }),
    ];
    for (what, place) in places {
        let (mut record, mut filesystems) = two();
        let extent = place(&record);
        both(&mut record, &mut filesystems, extent);
        assert!(judged(&record, &filesystems).is_err(), "{what}");
    }
    // What is not the same in both.
    let changes: [(&str, Change); 6] = [
        ("another place", |_, filesystems| {
            filesystems[0].extent.at = Bytes::ZERO;
        }),
        ("another number", |_, filesystems| filesystems[0].number = 1),
        ("another kind", |_, filesystems| {
            filesystems[0].kind = FsKind::Xfs;
        }),
        ("another purpose", |_, filesystems| {
            filesystems[0].purpose = Purpose::Home;
        }),
        ("the seed", |record, filesystems| {
            record.parts[0].purpose = "seed".into();
            filesystems[0].purpose = Purpose::Seed;
        }),
        ("two homes", |record, filesystems| {
            record.parts[0].purpose = "home".into();
            filesystems[0].purpose = Purpose::Home;
        }),
    ];
    for (what, change) in changes {
        let (mut record, mut filesystems) = two();
        change(&mut record, &mut filesystems);
        assert!(judged(&record, &filesystems).is_err(), "{what}");
    }
    // Good for the medium that it was written to, and too long for this one.
    let (record, filesystems) = two();
    let making = Making::of(&filesystems, None);
    assert!(sound(&making, &record, Bytes::mib(12)).is_err());
}

#[test]
fn a_seed_may_lie_in_the_image_and_a_sprout_may_not() {
    let mut record = made_up(3, 1);
    let seed = Extent {
        at: Bytes::mib(1),
        len: Bytes::mib(1),
    };
    let part = |number, extent| crate::sprout::Part {
        number,
        extent,
        partuuid: String::new(),
        label: "x".into(),
    };
    let mut sprout = Sprout {
        source: Source {
            extent: seed,
            driver: Driver::Btrfs,
            nested: None,
        },
        seed: part(3, seed),
        seed_uuid: uuid::Uuid::from_u128(1),
        checksum: Checksum::Crc32c,
        within: true,
        sprout: part(4, record.parts[0].extent),
        home: Home::Subvolume,
    };
    let listed = |purpose: &str, part: &crate::sprout::Part| Part {
        purpose: purpose.into(),
        number: part.number,
        extent: part.extent,
        kind: "btrfs".into(),
        uuid: uuid::Uuid::from_u128(2),
        partuuid: part.partuuid.clone(),
    };
    let mut judged = |sprout: &Sprout| {
        record.parts = vec![
            listed("seed", &sprout.seed),
            listed("sprout", &sprout.sprout),
        ];
        sound(&Making::of(&[], Some(sprout)), &record, record.medium)
    };
    assert_eq!(judged(&sprout), Ok(()));
    sprout.within = false;
    assert!(judged(&sprout).is_err());
    sprout.within = true;
    sprout.sprout.extent = seed;
    assert!(judged(&sprout).is_err());
}
