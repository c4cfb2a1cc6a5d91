// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes into adding partitions to a table, and what comes of it: data only.

use serde::Serialize;
use uuid::Uuid;

use crate::read::ReadError;
use crate::units::{Bytes, Extent};

/// Where partitions may be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// The first byte behind the image and all its partitions.
    pub from: Bytes,
    /// The first byte that partitions may not use: what the table keeps for itself, or cannot address.
    pub to: Bytes,
    /// How much must stay free before the first, second, … partition (boot records of logical partitions).
    pub gaps: Vec<Bytes>,
}

/// What a new partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A Linux filesystem: GPT type 0FC63DAF-…, MBR type 0x83.
    LinuxData,
    /// The record: a GPT type of its own, MBR type 0xDA ([`crate::record::place`]).
    Record,
}

/// A partition to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPartition {
    /// Where: whole sectors, behind the image, in rising order (but see [`super::Table::add_with`]).
    pub extent: Extent,
    /// GPT: its name, at most 36 UTF-16 units. An MBR has no names.
    pub name: String,
    /// What for.
    pub what: Use,
    /// GPT: its own GUID.
    pub unique: Uuid,
}

/// Bytes that belong on the medium behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Where on the medium.
    pub at: Bytes,
    /// What will be there.
    pub bytes: Vec<u8>,
    /// For people.
    pub what: &'static str,
}

/// What came of adding partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The kernel's number of each new partition.
    pub numbers: Vec<u32>,
    /// What must be written behind the image, sorted, none overlapping a new partition.
    pub behind: Vec<Behind>,
    /// PARTUUID of each new partition, as the kernel and udev give it.
    pub partuuids: Vec<String>,
}

/// Why partitions cannot be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The image has no table that the kernel would use.
    #[error(
        "the image has no partition table to add to ({why}); write it without persistence, or use another image"
    )]
    NoTable {
        /// What is wrong with the tables.
        why: String,
    },
    /// The four slots of the MBR do not suffice.
    #[error(
        "{asked} partition(s) cannot be added: {taken} of the 4 slots in the image's MBR are taken; ask for fewer"
    )]
    NoFreeSlot {
        /// Slots with a type or an extent.
        taken: usize,
        /// Partitions that were to be added.
        asked: usize,
    },
    /// The entry array of the GPT does not suffice.
    #[error(
        "{asked} partition(s) cannot be added: the last used of the {entries} GPT entries is number {last}; ask for fewer"
    )]
    ArrayFull {
        /// Entries that the array has and the kernel reads.
        entries: u32,
        /// The number of the last used one.
        last: u32,
        /// Partitions that were to be added.
        asked: usize,
    },
    /// The table cannot address the place.
    #[error(
        "a partition that ends at byte {end} cannot be entered: the image's MBR reaches to byte {limit}; make it smaller"
    )]
    TooLarge {
        /// The end of the partition.
        end: Bytes,
        /// The end of what can be addressed.
        limit: Bytes,
    },
    /// The medium ends before the table does.
    #[error(
        "the medium has {have} bytes, but image and partition table need {need}; use a larger one"
    )]
    MediumTooSmall {
        /// Bytes needed.
        need: Bytes,
        /// Bytes there are.
        have: Bytes,
    },
    /// A new partition is not where one can be. The plan is at fault, not the user.
    #[error("a partition of {} bytes cannot be at byte {}: {why}", extent.len, extent.at)]
    Misplaced {
        /// Where it was to be.
        extent: Extent,
        /// What is wrong with that.
        why: &'static str,
    },
    /// A GPT name is longer than its field.
    #[error("the partition name {name:?} is longer than 36 UTF-16 units")]
    NameTooLong {
        /// The name.
        name: String,
    },
    /// The tables could not be read or changed.
    #[error(transparent)]
    Read(#[from] ReadError),
}
