// SPDX-License-Identifier: MIT OR Apache-2.0

use std::cell::{Cell, RefCell};
use std::io;

use proptest::prelude::*;

use super::*;
use crate::record::CHUNK;
use crate::record::form::tests::made_up;
use crate::units::MIB;

/// How long the media of these tests are.
const SIZE: u64 = 12 * MIB;

/// A medium in memory that takes so many more sectors and then fails, like a stick that is pulled out.
struct Medium {
    bytes: RefCell<Vec<u8>>,
    sectors: Cell<usize>,
    flushes: Cell<usize>,
}

impl Medium {
    fn new(bytes: Vec<u8>) -> Medium {
        Medium {
            bytes: RefCell::new(bytes),
            sectors: Cell::new(usize::MAX),
            flushes: Cell::new(0),
        }
    }
}

impl ReadAt for Medium {
    fn len(&self) -> Bytes {
        ReadAt::len(&*self.bytes.borrow())
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.bytes.borrow().read_exact_at(at, buf)
    }
}

impl WriteAt for Medium {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        let mut here = at.index().unwrap();
        for sector in bytes.chunks(512) {
            let left = self.sectors.get();
            if left == 0 {
                return Err(ReadError::Io {
                    at,
                    len: bytes.len(),
                    source: io::Error::other("pulled out"),
                });
            }
            self.sectors.set(left - 1);
            self.bytes.borrow_mut()[here..here + sector.len()].copy_from_slice(sector);
            here += sector.len();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), ReadError> {
        self.flushes.set(self.flushes.get() + 1);
        Ok(())
    }
}

/// What an image of three chunks has, with a volume descriptor.
fn image(label: &str, seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..3 * CHUNK.0 + 2048)
        .map(|i: u64| (i % 249).to_le_bytes()[0] ^ (i >> 9).to_le_bytes()[0] ^ seed)
        .collect();
    let blocks = u32::try_from(bytes.len() / 2048).unwrap();
    let descriptor = &mut bytes[32768..32768 + 2048];
    descriptor.fill(0);
    descriptor[..7].copy_from_slice(b"\x01CD001\x01");
    descriptor[40..72].fill(b' ');
    descriptor[40..40 + label.len()].copy_from_slice(label.as_bytes());
    descriptor[80..84].copy_from_slice(&blocks.to_le_bytes());
    bytes
}

/// The record of that image, at the first place there is for it.
fn record(image: &[u8], label: &str, generation: u64) -> Record {
    let mut record = made_up(3, generation);
    assert_eq!(record.image.size, Bytes(image.len() as u64));
    record.image.label = label.into();
    record.chunks = image
        .chunks(CHUNK.index().unwrap())
        .map(tree::leaf)
        .collect();
    record.medium = Bytes(SIZE);
    record.parts.clear();
    record.kept[0].at = Bytes(SIZE - 33 * 512);
    record
}

/// A medium with the image and its record, both copies of that generation.
fn stick(image: &[u8], record: &Record) -> Medium {
    let mut bytes = image.to_vec();
    bytes.resize(usize::try_from(SIZE).unwrap(), 0);
    let medium = Medium::new(bytes);
    store(&medium, record).unwrap();
    medium
}

fn search(medium: &dyn ReadAt, thorough: bool) -> Search {
    find(medium, thorough, &mut |_| true)
}

fn the_one(search: Search) -> Found {
    match search {
        Search::Found(found) => *found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_stored_is_found() {
    let image = image("Lab", 0);
    let record = record(&image, "Lab", 1);
    let medium = stick(&image, &record);
    assert_eq!(medium.flushes.get(), 2);
    let found = the_one(search(&medium, false));
    assert_eq!(found.record, record);
    let [first, second] = places(record.region);
    let good = |at| Placed {
        at,
        condition: Condition::Good(1),
    };
    assert_eq!(found.copies, [good(first), good(second)]);
    let fit = Fit {
        volume: true,
        equal: 4,
        compared: 4,
    };
    assert_eq!(found.fit, fit);
    // Either copy alone will do.
    for gone in [first, second] {
        let mut bytes = medium.bytes.borrow().clone();
        let at = gone.index().unwrap();
        bytes[at..at + 4096].fill(0);
        let found = the_one(search(&bytes, false));
        assert_eq!(found.record, record);
        let absent = found
            .copies
            .iter()
            .find(|copy| copy.condition == Condition::Absent);
        assert_eq!(absent.unwrap().at, gone);
    }
}

/// blkid puts a label together from the primary and the Joliet descriptor, and the record has it so.
#[test]
fn a_label_with_letters_of_joliet_is_known_again() {
    let mut image = image("Lab_Live_for_everyone", 0);
    let descriptors = &mut image[32768..][..3 * 2048];
    descriptors[128..130].copy_from_slice(&2048_u16.to_le_bytes());
    let primary = descriptors[..2048].to_vec();
    descriptors[2048..4096].copy_from_slice(&primary);
    descriptors[2048] = 2;
    descriptors[2048 + 88..2048 + 91].copy_from_slice(b"%/E");
    for (unit, letter) in descriptors[2048 + 40..]
        .chunks_mut(2)
        .zip("Lab Live for eve".bytes())
    {
        unit.copy_from_slice(&[0, letter]);
    }
    descriptors[4096..4096 + 7].copy_from_slice(b"\xFFCD001\x01");
    let label = "Lab Live for everyone";
    assert_eq!(iso9660::Volume::read(&image).unwrap().unwrap().label, label);
    let record = record(&image, label, 1);
    let medium = stick(&image, &record);
    assert!(the_one(search(&medium, false)).fit.volume);
    // Most of the rest is damaged: by its label it is still known.
    medium.bytes.borrow_mut()[MIB.try_into().unwrap()..image.len()].fill(0);
    let found = the_one(search(&medium, false));
    assert!(found.fit.volume && found.fit.equal * 2 < found.fit.compared);
}

/// A new generation over an old one, torn at every sector of both copies, and torn again when it is repeated.
#[test]
fn a_torn_write_never_loses_the_record() {
    let image = image("Lab", 0);
    let old = record(&image, "Lab", 6);
    let new = Record {
        tool: "livestick 1.0.1, which has a longer name so that everything behind it moves".into(),
        ..record(&image, "Lab", 7)
    };
    let [first, _] = places(old.region);
    let whole = stick(&image, &old).bytes.into_inner();
    let sectors = form::encode(&new, first, first).len().div_ceil(512);
    assert!(sectors > 30);
    // The region alone is copied back each time.
    let region = first.index().unwrap()..old.region.end().index().unwrap();
    let medium = Medium::new(whole.clone());
    let mut news = 0;
    for cut in 0..=2 * sectors {
        medium.bytes.borrow_mut()[region.clone()].copy_from_slice(&whole[region.clone()]);
        medium.sectors.set(cut);
        assert_eq!(store(&medium, &new).is_ok(), cut == 2 * sectors);
        let found = the_one(search(&medium, false));
        if cut < sectors {
            assert_eq!(found.record, old, "after {cut} sectors");
        } else {
            assert_eq!(found.record, new, "after {cut} sectors");
            news += 1;
        }
        // And what was torn can be written again, torn again at the same place.
        medium.sectors.set(cut);
        let again = Record {
            generation: found.record.generation + 1,
            ..new.clone()
        };
        let stored = store(&medium, &again).is_ok();
        let now = the_one(search(&medium, false)).record;
        assert!(now == again || (!stored && now == found.record));
    }
    assert_eq!(news, sectors + 1);
}

#[test]
fn a_medium_that_forgets_what_was_written_is_noticed() {
    struct Forgetful(Medium);
    impl ReadAt for Forgetful {
        fn len(&self) -> Bytes {
            self.0.len()
        }
        fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
            self.0.read_exact_at(at, buf)
        }
    }
    impl WriteAt for Forgetful {
        fn write_at(&self, _: Bytes, _: &[u8]) -> Result<(), ReadError> {
            Ok(())
        }
        fn flush(&self) -> Result<(), ReadError> {
            Ok(())
        }
    }
    let image = image("Lab", 0);
    let old = record(&image, "Lab", 1);
    let medium = Forgetful(stick(&image, &old));
    let error = store(&medium, &record(&image, "Lab", 2)).unwrap_err();
    assert!(error.to_string().contains("replace the stick"), "{error}");
    assert_eq!(the_one(search(&medium, false)).record, old);
}

#[test]
fn a_record_too_long_for_its_place_is_not_written() {
    let image = image("Lab", 0);
    let old = record(&image, "Lab", 1);
    let medium = stick(&image, &old);
    let before = medium.bytes.borrow().clone();
    let mut long = record(&image, "Lab", 2);
    long.esp[0].path = "/long".repeat(1 << 18);
    assert!(store(&medium, &long).is_err());
    assert!(*medium.bytes.borrow() == before);
}

#[test]
fn it_is_found_without_table_and_descriptor() {
    let image = image("Lab", 0);
    let record = record(&image, "Lab", 1);
    let medium = stick(&image, &record);
    medium.bytes.borrow_mut()[..64 * 1024].fill(0);
    assert_eq!(search(&medium, false), Search::Nothing);
    let mut asked = 0;
    let found = find(&medium, true, &mut |_| {
        asked += 1;
        true
    });
    let found = the_one(found);
    assert_eq!(found.record, record);
    assert!(!found.fit.volume);
    assert_eq!((found.fit.equal, found.fit.compared), (3, 4));
    assert_eq!(asked, SIZE / MIB);
    // Who is tired of it ends it.
    assert_eq!(find(&medium, true, &mut |_| false), Search::Nothing);
}

#[test]
fn a_record_of_another_image_is_not_taken() {
    let old_image = image("Old", 0x5A);
    let old = record(&old_image, "Old", 9);
    let medium = stick(&old_image, &old);
    // Written over by something that leaves the record alone.
    let new_image = image("New", 0);
    medium.bytes.borrow_mut()[..new_image.len()].copy_from_slice(&new_image);
    for thorough in [false, true] {
        match search(&medium, thorough) {
            Search::Stale(all) => assert!(all.len() == 1 && all[0].record == old),
            other => panic!("{other:?}"),
        }
    }
    // Behind it the record of what is there, with a lower generation: the better one, not the newer one.
    let mut new = record(&new_image, "New", 1);
    new.region.at = Bytes::mib(8);
    store(&medium, &new).unwrap();
    for thorough in [false, true] {
        assert_eq!(the_one(search(&medium, thorough)).record, new);
    }
    // And in its place.
    medium.bytes.borrow_mut()[new.region.at.index().unwrap()..].fill(0);
    let new = record(&new_image, "New", 1);
    store(&medium, &new).unwrap();
    assert_eq!(the_one(search(&medium, false)).record, new);
}

#[test]
fn a_copy_counts_only_where_it_says_it_lies() {
    let image = image("Lab", 0);
    let record = record(&image, "Lab", 1);
    let medium = stick(&image, &record);
    let [first, second] = places(record.region).map(|at| at.index().unwrap());
    let mut bytes = medium.bytes.borrow().clone();
    let copy = bytes[first..first + 65536].to_vec();
    bytes[first..second + 65536].fill(0);
    bytes[second..second + 65536].copy_from_slice(&copy);
    bytes[second + 2 * 1_048_576..][..65536].copy_from_slice(&copy);
    assert_eq!(search(&bytes, true), Search::Nothing);
}

#[test]
fn damaged_and_newer_copies_are_named() {
    let image = image("Lab", 0);
    let record = record(&image, "Lab", 1);
    let medium = stick(&image, &record);
    let [first, second] = places(record.region);
    medium.bytes.borrow_mut()[first.index().unwrap() + 16] = 2;
    let found = the_one(search(&medium, false));
    assert_eq!(found.copies[0].condition, Condition::Newer(2, form::MINOR));
    assert_eq!(found.copies[1].condition, Condition::Good(1));
    medium.bytes.borrow_mut()[second.index().unwrap() + 500] ^= 1;
    let Search::Unreadable(copies) = search(&medium, true) else {
        panic!()
    };
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].condition, Condition::Newer(2, form::MINOR));
    assert!(matches!(&copies[1].condition, Condition::Damaged(why) if why.contains("digest")));
}

/// Each copy names the next one as its other: followed one by one, and few of them kept.
#[test]
fn a_medium_full_of_records_is_no_burden() {
    let image = image("Lab", 0);
    let count = 40;
    let mut bytes = vec![0; usize::try_from((4 * count + 12) * MIB).unwrap()];
    bytes[..image.len()].copy_from_slice(&image);
    for index in (1..=count).rev() {
        let at = Bytes::mib(4 * index);
        let mut record = record(&image, if index == count { "Lab" } else { "Other" }, index);
        record.medium = Bytes((4 * count + 12) * MIB);
        record.region = Extent {
            at,
            len: Bytes::mib(8),
        };
        record.kept.clear();
        if index < count {
            record.chunks.fill([0; 32]);
        }
        let copy = form::encode(&record, at, at + Bytes::mib(4));
        bytes[at.index().unwrap()..][..copy.len()].copy_from_slice(&copy);
    }
    let volume = Volume::read(&bytes);
    let mut seen = Seen::default();
    seen.look(&bytes, volume.as_ref(), Bytes::mib(4));
    assert_eq!(seen.places.len() as u64, count);
    assert_eq!(seen.records.len(), MOST);
    let Search::Found(found) = seen.end(&bytes) else {
        panic!()
    };
    assert_eq!(found.record.generation, count);
}

/// Errors at every place are no records, and no end of the search.
#[test]
fn places_that_cannot_be_read_are_passed_over() {
    struct Bad(Medium, std::ops::Range<u64>);
    impl ReadAt for Bad {
        fn len(&self) -> Bytes {
            self.0.len()
        }
        fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
            if at.0 < self.1.end && self.1.start < at.0 + buf.len() as u64 {
                return Err(ReadError::malformed("medium", at, "bad"));
            }
            self.0.read_exact_at(at, buf)
        }
    }
    let image = image("Lab", 0);
    let record = record(&image, "Lab", 1);
    // The table and the descriptor, and the first copy.
    for bad in [0..65536, 4 * MIB..4 * MIB + 512, 4 * MIB + 4096..5 * MIB] {
        let medium = Bad(stick(&image, &record), bad);
        let found = the_one(search(&medium, true));
        assert_eq!(found.record, record);
        assert_eq!(found.copies[1].condition, Condition::Good(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_in_rubbish_and_nothing_breaks(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let image = image("Lab", 0);
        let record = record(&image, "Lab", 1);
        let mut bytes = stick(&image, &record).bytes.into_inner();
        let [first, second] = places(record.region).map(|at| at.index().unwrap());
        for (at, value) in changes {
            let at = at.index(3 * 4096);
            let at = [0, first, second][at / 4096] + at % 4096;
            bytes[at] = value;
        }
        if let Search::Found(found) = search(&bytes, false) {
            prop_assert_eq!(found.record, record);
        }
    }
}
