// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the record lies on a medium: how it is found, and how it is put there.
//!
//! Rules:
//!
//! * The region starts at the first multiple of 4 MiB at or after the end of the image and of its partitions. Both
//!   copies have equal places of whole MiB in it: one at its start, one at its middle.
//! * Finding needs no mount, no partition table and no volume descriptor; it only takes longer without them.
//! * A copy counts only where it says it lies: the stick image file in somebody's home has a record too.
//! * A record may be left from what was on the medium before. The one that describes what is there now is told from
//!   it by the volume descriptor and by some chunks that are read and compared; one that describes neither is stale.
//!   So nothing has to be wiped when a stick is written without room for a record.
//! * A copy is written, flushed and read back before the other one is touched.

use uuid::{Uuid, uuid};

use crate::image::iso9660::Volume;
use crate::read::{ReadAt, ReadError, WriteAt};
use crate::record::form::{self, FormError, HEADER, PLACE_GRAIN};
use crate::record::{REGION_GRAIN, Record, tree};
use crate::table::{Kind, Table};
use crate::units::{Bytes, Extent};

/// The GPT type of the record's partition: a random GUID (RFC 9562, version 4) that means this and nothing else.
pub const GPT_TYPE: Uuid = uuid!("6ac07b1e-06eb-453d-9d4e-48eff4e16f70");
/// The MBR type of the record's partition: "non-filesystem data", the type of raw data of an application.
pub const MBR_TYPE: u8 = 0xDA;
/// The name of the record's partition.
pub const NAME: &str = "livestick record";

/// How far behind the volume's end it is looked for first.
const NEAR: Bytes = Bytes::mib(64);
/// Chunks that are read to know whether a record describes what is there.
const SAMPLES: usize = 8;

/// What a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Whole, of this generation.
    Good(u64),
    /// Torn, cut, edited, or not to be read; why.
    Damaged(String),
    /// Nothing there looks like a copy.
    Absent,
    /// Of a newer form: major and minor version.
    Newer(u16, u16),
}

/// A copy and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it is, or would have to be.
    pub at: Bytes,
    /// What is there.
    pub condition: Condition,
}

/// How far a record describes what is on the medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    /// Whether the volume descriptor on the medium has the record's label and fits its size.
    pub volume: bool,
    /// Of the chunks that were compared, how many are as recorded.
    pub equal: usize,
    /// How many chunks were compared.
    pub compared: usize,
}

impl Fit {
    /// Whether the record is of something else that was on the medium before.
    pub fn is_stale(self) -> bool {
        !self.volume && self.equal * 2 < self.compared
    }
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The valid copy of the highest generation.
    pub record: Record,
    /// Both copies, in the order of the medium.
    pub copies: [Placed; 2],
    /// How far it describes what is there; it is not stale.
    pub fit: Fit,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// A record of what is on the medium.
    Found(Box<Found>),
    /// Places that look like copies, none of which can be read (damaged, or of a newer form).
    Unreadable(Vec<Placed>),
    /// Only records of what was on the medium before.
    Stale(Vec<Found>),
    /// Nothing.
    Nothing,
}

/// Looks for the record at the places where it should be, and if it is not there and `thorough`, at every MiB.
/// Places that cannot be read are passed over; `go_on` is asked at every one of them and ends the search with `false`.
pub fn find(medium: &dyn ReadAt, thorough: bool, go_on: &mut dyn FnMut(Bytes) -> bool) -> Search {
    let volume = Volume::read(medium).ok().flatten();
    let mut seen = Seen::default();
    for at in likely(medium, volume.as_ref()) {
        if !go_on(at) {
            break;
        }
        seen.look(medium, at);
    }
    let mut ended = seen.end(medium, volume.as_ref());
    if thorough && !matches!(ended, Search::Found(_)) {
        let mut at = Bytes::ZERO;
        while at < medium.len() && go_on(at) {
            seen.look(medium, at);
            at += PLACE_GRAIN;
        }
        ended = seen.end(medium, volume.as_ref());
    }
    ended
}

/// Where the region of a record starts, if the image and its partitions end at `end`.
pub fn region_start(end: Bytes) -> Bytes {
    end.align_up(REGION_GRAIN)
}

/// Writes both copies of `record` into its region: first the one that is worth less now. The generation is the
/// caller's: one more than that of the record that is there.
pub fn store(medium: &dyn WriteAt, record: &Record) -> Result<(), ReadError> {
    let [first, second] = places(record.region);
    // Equals in worth: the second goes first, so that the first, which is looked at first, stays valid meanwhile.
    let worth = |at| match look_at(&medium, at).map(|copy| copy.0) {
        Some(Condition::Good(generation)) => generation.saturating_add(1),
        _ => 0,
    };
    let order = if worth(first) < worth(second) {
        [(first, second), (second, first)]
    } else {
        [(second, first), (first, second)]
    };
    for (here, other) in order {
        let copy = form::encode(record, here, other);
        if Bytes(copy.len() as u64) > Bytes(record.region.len.0 / 2) {
            let why = "it is longer than its place";
            return Err(ReadError::malformed("record", here, why));
        }
        medium.write_all_at(here, &copy)?;
        medium.make_permanent()?;
        if medium.read_vec(here, copy.len())? != copy {
            let why = "what is read back is not what was written; replace the stick";
            return Err(ReadError::malformed("record", here, why));
        }
    }
    Ok(())
}

/// Where the copies of a region are.
pub fn places(region: Extent) -> [Bytes; 2] {
    [region.at, region.at + Bytes(region.len.0 / 2)]
}

/// What is at `at`, if it looks like a copy at all.
fn look_at(medium: &dyn ReadAt, at: Bytes) -> Option<(Condition, Option<Record>)> {
    let damaged = |why: String| Some((Condition::Damaged(why), None));
    let head = medium.read_vec(at, HEADER).ok()?;
    let header = match form::header(&head) {
        Ok(header) if header.here != at => return None,
        Ok(header) => header,
        Err(FormError::Absent) => return None,
        Err(FormError::NewerVersion { major, minor }) => {
            return Some((Condition::Newer(major, minor), None));
        }
        Err(error) => return damaged(error.to_string()),
    };
    let copy = match medium.read_vec(at, header.length) {
        Ok(copy) => copy,
        Err(error) => return damaged(error.to_string()),
    };
    match form::decode(&copy) {
        Ok((_, record)) if record.region.end() > medium.len() => {
            damaged("its region reaches beyond the end of the medium".into())
        }
        Ok((header, record)) => Some((Condition::Good(header.generation), Some(record))),
        Err(error) => damaged(error.to_string()),
    }
}

/// The copies that were seen.
#[derive(Default)]
struct Seen {
    /// Places that were looked at.
    places: Vec<Bytes>,
    /// The record of the highest generation in each region.
    records: Vec<Record>,
    /// Copies that cannot be read.
    unreadable: Vec<Placed>,
}

impl Seen {
    fn look(&mut self, medium: &dyn ReadAt, at: Bytes) {
        if self.places.contains(&at) {
            return;
        }
        let Some((condition, record)) = look_at(medium, at) else {
            return;
        };
        self.places.push(at);
        let Some(record) = record else {
            self.unreadable.push(Placed { at, condition });
            return;
        };
        // The other copy may lie where nobody would have looked, and may be newer.
        let [first, second] = places(record.region);
        match self
            .records
            .iter_mut()
            .find(|known| known.region == record.region)
        {
            Some(known) if known.generation < record.generation => *known = record,
            Some(_) => {}
            None => self.records.push(record),
        }
        self.look(medium, first);
        self.look(medium, second);
    }

    fn end(&self, medium: &dyn ReadAt, volume: Option<&Volume>) -> Search {
        let mut all: Vec<Found> = self
            .records
            .iter()
            .map(|record| found(medium, volume, record))
            .collect();
        all.sort_by_key(|found| (found.fit, found.record.generation));
        match all.last() {
            Some(best) if !best.fit.is_stale() => Search::Found(Box::new(best.clone())),
            _ if !self.unreadable.is_empty() => Search::Unreadable(self.unreadable.clone()),
            Some(_) => Search::Stale(all),
            None => Search::Nothing,
        }
    }
}

fn found(medium: &dyn ReadAt, volume: Option<&Volume>, record: &Record) -> Found {
    let copies = places(record.region).map(|at| Placed {
        at,
        condition: look_at(medium, at).map_or(Condition::Absent, |copy| copy.0),
    });
    let same = |volume: &Volume| {
        volume.label == record.image.label && volume.space.bytes() <= record.image.size
    };
    let mut fit = Fit {
        volume: volume.is_some_and(same),
        ..Fit::default()
    };
    let count = record.chunks.len();
    let step = count.div_ceil(SAMPLES).max(1);
    for index in (0..count).step_by(step) {
        let extent = record.chunk(index);
        let bytes = medium.read_vec(extent.at, extent.len.index().unwrap_or(0));
        fit.compared += 1;
        fit.equal +=
            usize::from(bytes.is_ok_and(|bytes| tree::leaf(&bytes) == record.chunks[index]));
    }
    Found {
        record: record.clone(),
        copies,
        fit,
    }
}

/// Places where the record should be, each a multiple of a MiB: its partition, behind every partition, and behind the
/// volume.
fn likely(medium: &dyn ReadAt, volume: Option<&Volume>) -> Vec<Bytes> {
    let mut all = Vec::new();
    let table = Table::read(medium).ok();
    for partition in table.iter().flat_map(Table::partitions) {
        let ours = matches!(partition.kind, Kind::Gpt(GPT_TYPE) | Kind::Mbr(MBR_TYPE));
        let at = if ours {
            partition.extent.at
        } else {
            region_start(partition.extent.end())
        };
        all.push(at);
    }
    if let Some(volume) = volume {
        let mut at = volume.space.bytes().align_up(PLACE_GRAIN);
        let end = at + NEAR;
        while at < end {
            all.push(at);
            at += PLACE_GRAIN;
        }
    }
    all.retain(|at| *at < medium.len());
    all
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::record::form::tests::record;

    /// A medium in memory that stops taking bytes after so many.
    struct Memory {
        bytes: RefCell<Vec<u8>>,
        left: RefCell<usize>,
    }

    impl Memory {
        fn new(record: &Record) -> Memory {
            let mut bytes = vec![0; record.medium.index().unwrap()];
            for (index, _) in record.chunks.iter().enumerate() {
                let extent = record.chunk(index);
                let chunk = &mut bytes[extent.at.index().unwrap()..extent.end().index().unwrap()];
                chunk[..8].copy_from_slice(&(index as u64).to_le_bytes());
            }
            Memory {
                bytes: RefCell::new(bytes),
                left: RefCell::new(usize::MAX),
            }
        }

        fn change(&self, at: Bytes, change: impl Fn(&mut [u8])) {
            change(&mut self.bytes.borrow_mut()[at.index().unwrap()..]);
        }
    }

    impl ReadAt for Memory {
        fn len(&self) -> Bytes {
            ReadAt::len(&*self.bytes.borrow())
        }

        fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
            self.bytes.borrow().read_exact_at(at, buf)
        }
    }

    impl WriteAt for Memory {
        fn write_all_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
            let mut left = self.left.borrow_mut();
            let take = bytes.len().min(*left);
            *left -= take;
            let at = at.index().unwrap();
            self.bytes.borrow_mut()[at..at + take].copy_from_slice(&bytes[..take]);
            if take < bytes.len() {
                return Err(ReadError::malformed(
                    "medium",
                    Bytes(at as u64),
                    "pulled out",
                ));
            }
            Ok(())
        }

        fn make_permanent(&self) -> Result<(), ReadError> {
            Ok(())
        }
    }

    /// A record whose digests are those of what [`Memory::new`] holds.
    fn real(generation: u64) -> Record {
        let mut record = record(3, generation);
        let memory = Memory::new(&record);
        for index in 0..record.chunks.len() {
            let extent = record.chunk(index);
            let bytes = memory
                .read_vec(extent.at, extent.len.index().unwrap())
                .unwrap();
            record.chunks[index] = tree::leaf(&bytes);
        }
        record
    }

    fn search(memory: &Memory, thorough: bool) -> Search {
        find(memory, thorough, &mut |_| true)
    }

    fn one(memory: &Memory) -> Found {
        match search(memory, true) {
            Search::Found(found) => *found,
            _ => panic!("no record was found"),
        }
    }

    #[test]
    fn a_torn_write_costs_one_copy_at_most() {
        let (old, mut new) = (real(4), real(5));
        // Different all over, as the second write of another day is.
        new.changes
            .iter_mut()
            .for_each(|change| change.after.fill(8));
        new.kept[0].bytes.fill(8);
        new.esp.iter_mut().for_each(|file| file.sha256.fill(8));
        let memory = Memory::new(&old);
        store(&memory, &old).unwrap();
        let before = memory.bytes.borrow().clone();
        let [first, second] = places(old.region);
        let copy = |record| form::encode(record, second, first);
        let whole = 2 * copy(&new).len();
        for cut in (0..=whole).step_by(512) {
            memory.bytes.borrow_mut().copy_from_slice(&before);
            *memory.left.borrow_mut() = cut;
            assert!(store(&memory, &new).is_err());
            let found = one(&memory);
            // What is the same in both need not have been written again.
            let torn = [
                &copy(&new)[..cut.min(whole / 2)],
                &copy(&old)[cut.min(whole / 2)..],
            ]
            .concat();
            let expected = if torn == copy(&new) { &new } else { &old };
            assert!(found.record == *expected, "cut at {cut}");
            let good = |placed: &&Placed| matches!(placed.condition, Condition::Good(_));
            assert!(found.copies.iter().filter(good).count() >= 1);
            // The next write heals it.
            *memory.left.borrow_mut() = usize::MAX;
            store(&memory, &new).unwrap();
            let copies = one(&memory).copies;
            assert!(
                copies
                    .iter()
                    .all(|placed| placed.condition == Condition::Good(5))
            );
        }
    }

    #[test]
    fn every_damaged_sector_of_a_copy_is_survived_by_the_other() {
        let record = real(1);
        let memory = Memory::new(&record);
        store(&memory, &record).unwrap();
        let len = form::encode(&record, Bytes::ZERO, Bytes::ZERO).len();
        for (index, copy) in places(record.region).into_iter().enumerate() {
            for sector in 0..len.div_ceil(512) {
                let at = copy + Bytes(sector as u64 * 512);
                let flip =
                    |bytes: &mut [u8]| bytes[..512].iter_mut().for_each(|byte| *byte ^= 0x55);
                memory.change(at, flip);
                let found = one(&memory);
                assert!(found.record == record);
                let conditions = found.copies.map(|placed| placed.condition);
                assert_eq!(conditions[1 - index], Condition::Good(1));
                // A last sector may be behind the copy's end, but not wholly.
                assert_ne!(conditions[index], Condition::Good(1), "sector {sector}");
                memory.change(at, flip);
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_from_nothing() {
        let record = real(1);
        let memory = Memory::new(&record);
        assert!(search(&memory, true) == Search::Nothing);
        store(&memory, &record).unwrap();
        // Nothing else is on the medium that would lead to it.
        assert!(search(&memory, false) == Search::Nothing);
        for copy in places(record.region) {
            memory.change(copy, |bytes| bytes[16] = 2);
        }
        let Search::Unreadable(all) = search(&memory, true) else {
            panic!("unreadable")
        };
        assert_eq!(all.len(), 2);
        assert!(
            all.iter()
                .all(|placed| placed.condition == Condition::Newer(2, 0))
        );
        for copy in places(record.region) {
            memory.change(copy, |bytes| {
                bytes[16] = 1;
                bytes[200] ^= 1;
            });
        }
        let Search::Unreadable(all) = search(&memory, true) else {
            panic!("unreadable")
        };
        assert!(matches!(&all[0].condition, Condition::Damaged(why) if why.contains("digest")));
    }

    #[test]
    fn a_record_of_something_else_is_stale_and_one_in_a_file_is_none() {
        let record = real(1);
        let memory = Memory::new(&record);
        store(&memory, &record).unwrap();
        for index in 0..record.chunks.len() {
            memory.change(record.chunk(index).at, |bytes| bytes[0] ^= 0xFF);
        }
        assert!(matches!(search(&memory, true), Search::Stale(_)));
        // Another stick's record, as it lies in a stick image file at some MiB.
        let bytes = form::encode(&record, Bytes::mib(4), Bytes::mib(5));
        let memory = Memory::new(&record);
        memory.change(Bytes::mib(20), |place| {
            place[..bytes.len()].copy_from_slice(&bytes);
        });
        assert!(search(&memory, true) == Search::Nothing);
    }

    #[test]
    fn the_record_of_what_is_there_goes_before_a_newer_one_of_something_else() {
        let record = real(1);
        let memory = Memory::new(&record);
        store(&memory, &record).unwrap();
        let mut old = real(9);
        old.region.at = Bytes::mib(20);
        old.parts.clear();
        old.chunks[0] = [1; 32];
        old.chunks[1] = [1; 32];
        store(&memory, &old).unwrap();
        assert!(one(&memory).record == record);
    }
}
