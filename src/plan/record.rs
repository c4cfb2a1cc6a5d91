// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record's place on the stick, as the plan has it. What will be in it is known when everything else was written
//! and read back.
//!
//! Rules:
//!
//! * It lies between the image and the first partition, and costs the partitions what it needs.
//! * It gets a partition entry only where the table is changed anyway, and only one that nobody else needs: never one
//!   that would make logical partitions of the others. Its number is before theirs, for tools count on entries being
//!   in the order of the medium.
//! * A stick has no record where the medium ends too early; the plan says so.

use serde::{Deserialize, Serialize};

use crate::patch::Patch;
use crate::plan::Behind;
use crate::plan::ids::Ids;
use crate::record::{CHUNK, place};
use crate::refusal::Refusal;
use crate::table::{NewPartition, Space, Table, TableError, Use};
use crate::units::{Bytes, Extent};

/// What is left free at the end of a medium whose table has no place of its own there: tools that repair a GPT put its
/// backup there.
const TAIL: Bytes = Bytes::mib(1);
/// What a copy has room for besides the chunks: texts, changed ranges twice, what the partition table keeps.
const TEXTS: Bytes = Bytes::mib(1);

/// Where the record will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRecord {
    /// Where: both copies.
    pub region: Extent,
    /// The number of its partition, if it has one.
    pub number: Option<u32>,
    /// The EFI system partition, of whose files it will hold digests.
    pub esp: Option<Extent>,
}

impl PlannedRecord {
    /// The place for the record of an image of `size` bytes with `table`, on a medium that can be used up to `end`.
    fn behind(size: Bytes, table: &Table, end: Bytes) -> Option<PlannedRecord> {
        let chunks = Bytes(size.0.div_ceil(CHUNK.0).saturating_mul(32));
        let copy = (chunks + TEXTS).align_up(Bytes::mib(1));
        let region = Extent {
            at: place::region_start(size.max(table.end())),
            len: copy + copy,
        };
        (region.end() <= end).then(|| PlannedRecord {
            region,
            number: None,
            esp: table.esp().map(|esp| esp.extent),
        })
    }

    /// Its entry in the partition table.
    pub fn entry(&self, ids: &Ids) -> NewPartition {
        NewPartition {
            extent: self.region,
            name: place::NAME.into(),
            what: Use::Record,
            unique: ids.uuid("record partition"),
        }
    }

    /// The place on a stick that gets no partitions, and whose table stays as it is.
    pub fn alone(size: Bytes, table: &Table, medium: Bytes) -> Option<PlannedRecord> {
        PlannedRecord::behind(size, table, medium - TAIL)
    }

    /// The place on a stick that gets `count` partitions, and what is left for these.
    pub fn and_space(
        size: Bytes,
        table: &Table,
        medium: Bytes,
        count: usize,
    ) -> Result<(Option<PlannedRecord>, Space), TableError> {
        let space = table.space(size, medium, count)?;
        Ok(PlannedRecord::first(size, table, space))
    }

    /// The same for `count` partitions and an entry over a file of the image.
    pub fn and_space_with(
        size: Bytes,
        table: &Table,
        medium: Bytes,
        count: usize,
    ) -> Result<(Option<PlannedRecord>, Space), TableError> {
        let space = table.space_with(size, medium, count)?;
        Ok(PlannedRecord::first(size, table, space))
    }

    /// The place at the beginning of `space`, and what is left of that.
    fn first(size: Bytes, table: &Table, mut space: Space) -> (Option<PlannedRecord>, Space) {
        let record = PlannedRecord::behind(size, table, space.to);
        if let Some(record) = &record {
            space.from = record.region.end();
        }
        (record, space)
    }

    /// Refuses changes and partitions whose record would not fit: everything in it that can be long is counted.
    pub fn need(&self, patches: &[Patch], behind: &[Behind], making: &str) -> Result<(), Refusal> {
        let patches = patches.iter().map(|patch| 2 * patch.before.len() + 512);
        let behind = behind.iter().map(|behind| behind.bytes.len() + 128);
        let long: usize = patches.chain(behind).sum();
        // Texts and the files of the system partition have a quarter of it for themselves.
        if Bytes((long + 2048 + making.len()) as u64) <= Bytes(TEXTS.0 / 4 * 3) {
            return Ok(());
        }
        Err(Refusal::Impossible {
            what: "the record on the stick",
            why: "so many ranges of this image would change that it has no room for them".into(),
            instead: "write the image as it is".into(),
        })
    }
}
