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

use std::collections::BTreeSet;

use uuid::{Uuid, uuid};

use crate::image::iso9660;
use crate::read::{ReadAt, ReadError};
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
/// Records that are kept at a time, of which the one that fits worst goes: a hostile medium could be full of them.
const MOST: usize = 16;

/// What can be written to at any place.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` at `at`.
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError>;

    /// Makes everything written permanent, and lets later reads come from the medium.
    fn flush(&self) -> Result<(), ReadError>;
}

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
        let other_image = self.equal == 0 && self.compared >= SAMPLES / 2;
        other_image || (!self.volume && self.equal * 2 < self.compared)
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
    let volume = Volume::read(medium);
    let mut seen = Seen::default();
    for at in likely(medium, volume.as_ref()) {
        if !go_on(at) {
            break;
        }
        seen.look(medium, volume.as_ref(), at);
    }
    let mut ended = seen.end(medium);
    if thorough && !matches!(ended, Search::Found(_)) {
        let mut at = Bytes::ZERO;
        while at < medium.len() && go_on(at) {
            seen.look(medium, volume.as_ref(), at);
            at += PLACE_GRAIN;
        }
        ended = seen.end(medium);
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
        medium.write_at(here, &copy)?;
        medium.flush()?;
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
    /// Places where something was.
    places: BTreeSet<Bytes>,
    /// The record of the highest generation in each region, and how far it describes what is there.
    records: Vec<(Fit, Record)>,
    /// Copies that cannot be read.
    unreadable: Vec<Placed>,
}

impl Seen {
    /// Looks at one place, and where a record is, at those of its two copies: the other one may lie where nobody would
    /// have looked, and may be newer.
    fn look(&mut self, medium: &dyn ReadAt, volume: Option<&Volume>, at: Bytes) {
        // A list, not a recursion: on a hostile medium each copy could name the next one.
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            if self.places.contains(&at) {
                continue;
            }
            let Some((condition, record)) = look_at(medium, at) else {
                continue;
            };
            self.places.insert(at);
            let Some(record) = record else {
                self.unreadable.push(Placed { at, condition });
                continue;
            };
            open.extend(places(record.region));
            self.keep(medium, volume, record);
        }
    }

    fn keep(&mut self, medium: &dyn ReadAt, volume: Option<&Volume>, record: Record) {
        let same = |known: &(Fit, Record)| known.1.region == record.region;
        match self.records.iter().position(same) {
            Some(known) if self.records[known].1.generation >= record.generation => {}
            Some(known) => self.records[known] = (fit(medium, volume, &record), record),
            None => self.records.push((fit(medium, volume, &record), record)),
        }
        if self.records.len() > MOST {
            self.sort();
            self.records.remove(0);
        }
    }

    /// The one that fits best last, and of equals the one that was changed most often.
    fn sort(&mut self) {
        self.records
            .sort_by_key(|(fit, record)| (*fit, record.generation));
    }

    fn end(&mut self, medium: &dyn ReadAt) -> Search {
        self.sort();
        match self.records.last() {
            Some((fit, record)) if !fit.is_stale() => {
                Search::Found(Box::new(found(medium, *fit, record)))
            }
            _ if !self.unreadable.is_empty() => Search::Unreadable(self.unreadable.clone()),
            Some(_) => {
                let all = self.records.iter();
                Search::Stale(
                    all.map(|(fit, record)| found(medium, *fit, record))
                        .collect(),
                )
            }
            None => Search::Nothing,
        }
    }
}

fn found(medium: &dyn ReadAt, fit: Fit, record: &Record) -> Found {
    let copies = places(record.region).map(|at| Placed {
        at,
        condition: look_at(medium, at).map_or(Condition::Absent, |copy| copy.0),
    });
    Found {
        record: record.clone(),
        copies,
        fit,
    }
}

fn fit(medium: &dyn ReadAt, volume: Option<&Volume>, record: &Record) -> Fit {
    let same =
        |volume: &Volume| volume.label == record.image.label && volume.size <= record.image.size;
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
    fit
}

/// What the primary volume descriptor on the medium says (ECMA-119, 8.4).
struct Volume {
    label: String,
    size: Bytes,
}

impl Volume {
    fn read(medium: &dyn ReadAt) -> Option<Volume> {
        let descriptor = medium.read_vec(Bytes(16 * 2048), 2048).ok()?;
        if !descriptor.starts_with(b"\x01CD001\x01") {
            return None;
        }
        let blocks = descriptor
            .get(80..84)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)?;
        // The record has the label as blkid gives it, which can have Joliet's part in it. Where the descriptors are too
        // damaged for that, the field alone is still of use.
        let primary = || {
            Some(
                String::from_utf8_lossy(descriptor.get(40..72)?)
                    .trim_end()
                    .to_owned(),
            )
        };
        let whole = iso9660::Volume::read(medium).ok().flatten();
        Some(Volume {
            label: whole.map(|volume| volume.label).or_else(primary)?,
            size: Bytes(u64::from(blocks) * 2048),
        })
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
        let mut at = volume.size.align_up(PLACE_GRAIN);
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
mod tests;
