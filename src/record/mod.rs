// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record: what was written to a stick, kept on the stick itself, so that it can be checked at any time, on any
//! machine, without the image.
//!
//! Rules:
//!
//! * It lies behind the image, from the first multiple of 4 MiB on ([`REGION_GRAIN`]), before the partitions; so it
//!   is found without a mount and without a partition table, and outlives both the overlay and `/home`.
//! * It has two copies, each with its own digest and generation. A copy is written and flushed before the other is
//!   touched, so a torn write costs one copy at most.
//! * It vouches for bytes, never for itself alone: whoever can write to the stick can write a record. What makes it
//!   worth something is the image's digest in it, which the distribution published.
//! * It has an entry in the partition table where the table is changed anyway and has room; a stick that is the plain
//!   image keeps the published table, byte for byte.

pub mod form;
pub mod place;
pub mod tree;

use uuid::Uuid;

use crate::units::{Bytes, Extent, MIB};

/// The image's range is digested in chunks of this size; the last one may be shorter.
pub const CHUNK: Bytes = Bytes(MIB);
/// A record's region starts at a multiple of this.
pub const REGION_GRAIN: Bytes = Bytes::mib(4);

/// A SHA-256, as bytes.
pub type Sha256Sum = [u8; 32];

/// What is known of the image's origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Whether a published digest was found, and how far it can be trusted.
    pub standing: OriginStanding,
    /// The same in words: "published by Fedora (key 0x…, good signature)".
    pub words: String,
}

/// How far the published digest can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginStanding {
    /// None was found, or none was looked for.
    #[default]
    None,
    /// It equals one in a file without a good signature, or one that the user gave.
    Listed,
    /// It equals one in a text with a good signature.
    Signed,
}

/// The image that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedImage {
    /// Its file name.
    pub name: String,
    /// Its volume label.
    pub label: String,
    /// Its size.
    pub size: Bytes,
    /// Its SHA-256, as it was read for writing.
    pub sha256: Sha256Sum,
    /// What is known of its origin.
    pub origin: Origin,
}

/// A range of the image that differs on the stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Offset of the first byte.
    pub at: Bytes,
    /// What the image has there.
    pub before: Vec<u8>,
    /// What the stick has there.
    pub after: Vec<u8>,
    /// What for, in the plan's words.
    pub why: String,
}

/// Bytes that the partition table keeps behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub at: Bytes,
    /// What is there.
    pub bytes: Vec<u8>,
    /// What it is, in the plan's words.
    pub what: String,
}

/// A partition with a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// "overlay", "home", "seed" or "sprout".
    pub purpose: String,
    /// Its number, as the kernel counts; 0 where it has none.
    pub number: u32,
    /// Where it is.
    pub extent: Extent,
    /// The kind of its filesystem, as blkid names it: "crypto_LUKS" where it is encrypted.
    pub kind: String,
    /// The filesystem's identifier.
    pub uuid: Uuid,
    /// The partition's own identifier, as udev shows it.
    pub partuuid: String,
}

/// A file on the EFI system partition: the system that mounts it may write there, and then it is of interest whether
/// the files are still those that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspFile {
    /// "/EFI/BOOT/grub.cfg".
    pub path: String,
    /// Its size.
    pub size: Bytes,
    /// Its SHA-256 as written.
    pub sha256: Sha256Sum,
}

/// What was written to a stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts up with every change of the record; the valid copy with the higher one counts.
    pub generation: u64,
    /// The program and its version.
    pub tool: String,
    /// When, in seconds since 1970.
    pub written: u64,
    /// The image.
    pub image: RecordedImage,
    /// The size of the medium.
    pub medium: Bytes,
    /// Where the record itself lies: both copies.
    pub region: Extent,
    /// The ranges that differ, sorted.
    pub changes: Vec<Change>,
    /// What the partition table keeps behind the image.
    pub kept: Vec<Kept>,
    /// The partitions behind the image.
    pub parts: Vec<Part>,
    /// How these partitions were made, as JSON ([`crate::plan::making::Making`]); empty where nobody said.
    pub making: String,
    /// The files of the EFI system partition.
    pub esp: Vec<EspFile>,
    /// [`tree::leaf`] of each [`CHUNK`] of the image's range, as written.
    pub chunks: Vec<Sha256Sum>,
}

impl Record {
    /// The one digest that stands for the whole image's range as written.
    pub fn root(&self) -> Sha256Sum {
        tree::root(&self.chunks)
    }

    /// Where chunk `index` lies.
    pub fn chunk(&self, index: usize) -> Extent {
        let at = Bytes((index as u64).saturating_mul(CHUNK.0));
        let len = self.image.size.saturating_sub(at).min(CHUNK);
        Extent { at, len }
    }
}
