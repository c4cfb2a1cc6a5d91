// SPDX-License-Identifier: MIT OR Apache-2.0
//! A patch: a range of the image that will differ on the stick, with what was there, what will be, and why.
//!
//! Every change to the image, whatever format it is in, is made on a [`Draft`]: it reads from the image, keeps what
//! is written to it in memory, and becomes a list of patches. So partition tables, directory records, boot
//! configurations and the FAT system partition are all edited by ordinary read-modify-write code at planning time,
//! and all that is ever applied to a stick is the list.
//!
//! Rules:
//!
//! * Patches are sorted and do not overlap; each starts and ends with a byte that really differs.
//! * `before` is what the image holds, so that applying the list backwards gives the image again.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

/// Why a range of the image changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Why {
    /// Entries for the new partitions, and a table that fits the medium.
    PartitionTable,
    /// Kernel arguments, default entry and the entry without persistence, in this boot configuration file.
    BootArguments {
        /// The file, as it is named inside the image.
        file: String,
    },
    /// The length or place of a boot configuration file, in a directory that names it.
    Directory {
        /// The file, as it is named inside the image.
        file: String,
    },
    /// The flag that makes the btrfs of the image's root a seed, and the checksum that covers it.
    SeedFlag,
    /// The label of that btrfs, where it would be taken for the volume's.
    SeedLabel,
    /// The implanted isomd5sum, computed again for the medium as written.
    MediaCheck,
}

impl Why {
    /// The kind of reason, without the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Why::PartitionTable => "partition table",
            Why::BootArguments { .. } => "boot arguments",
            Why::Directory { .. } => "directory records",
            Why::SeedFlag => "seed flag",
            Why::SeedLabel => "seed label",
            Why::MediaCheck => "media check",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::PartitionTable => write!(f, "partition table"),
            Why::BootArguments { file } => write!(f, "boot arguments in {file}"),
            Why::Directory { file } => write!(f, "directory record of {file}"),
            Why::SeedFlag => write!(f, "seed flag of the root image, and its checksum"),
            Why::SeedLabel => write!(f, "label of the root image"),
            Why::MediaCheck => write!(f, "media check"),
        }
    }
}

/// What a range will hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// These bytes, as many as there were.
    Bytes(Vec<u8>),
    /// The isomd5sum of everything else, known when the last byte of the image went by.
    MediaCheck,
}

/// A range of the image that will differ on the stick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the first byte that differs.
    pub at: Bytes,
    /// What the image holds there.
    pub before: Vec<u8>,
    /// What the stick will hold there.
    pub after: After,
    /// What for.
    pub why: Why,
}

impl Patch {
    /// The range.
    pub fn extent(&self) -> Extent {
        Extent {
            at: self.at,
            len: Bytes(self.before.len() as u64),
        }
    }
}

/// The part of `bytes` (which belong at `range`) that falls into a chunk of `len` bytes at `at`: its index in the
/// chunk, and the part.
pub fn part(at: Bytes, len: usize, range: Bytes, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let from = at.0.max(range.0);
    let to = (at.0 + len as u64).min(range.0 + bytes.len() as u64);
    if from >= to {
        return None;
    }
    let bytes = bytes.get(Bytes(from - range.0).index()?..Bytes(to - range.0).index()?)?;
    Some((Bytes(from - at.0).index()?, bytes))
}

/// Puts the part of `bytes` (which belong at `range`) that falls into `chunk`, which starts at `at`, into it.
pub fn lay(chunk: &mut [u8], at: Bytes, range: Bytes, bytes: &[u8]) {
    if let Some((index, bytes)) = part(at, chunk.len(), range, bytes) {
        chunk[index..index + bytes.len()].copy_from_slice(bytes);
    }
}

/// An image with changes that exist in memory only.
pub struct Draft<'a> {
    image: &'a dyn ReadAt,
    /// Sectors of 512 bytes that were written to, whole.
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    /// What was written, in the order of writing.
    pieces: Vec<(Extent, Why)>,
}

const SECTOR: usize = 512;

impl<'a> Draft<'a> {
    /// A draft in which nothing differs yet.
    pub fn new(image: &'a dyn ReadAt) -> Draft<'a> {
        Draft {
            image,
            sectors: BTreeMap::new(),
            pieces: Vec::new(),
        }
    }

    /// Writes `bytes` at `at`; beyond the end of the image is an error.
    pub fn write(&mut self, at: Bytes, bytes: &[u8], why: &Why) -> Result<(), ReadError> {
        let mut done = 0;
        while done < bytes.len() {
            let place = at + Bytes(done as u64);
            let number = place.0 / SECTOR as u64;
            let start = Bytes(number * SECTOR as u64);
            let offset = usize::try_from(place.0 - start.0).unwrap_or(0);
            let take = (SECTOR - offset).min(bytes.len() - done);
            let mut sector = [0; SECTOR];
            let there = (self.image.len() - start)
                .index()
                .unwrap_or(SECTOR)
                .min(SECTOR);
            if offset + take > there {
                return Err(ReadError::malformed(
                    "draft",
                    place,
                    "a change would lie beyond the end of the image",
                ));
            }
            if let Some(known) = self.sectors.get(&number) {
                sector = *known;
            } else {
                self.image.read_exact_at(start, &mut sector[..there])?;
            }
            sector[offset..offset + take].copy_from_slice(&bytes[done..done + take]);
            self.sectors.insert(number, sector);
            done += take;
        }
        self.pieces.push((
            Extent {
                at,
                len: Bytes(bytes.len() as u64),
            },
            why.clone(),
        ));
        Ok(())
    }

    /// The differences from the image, sorted. Where two pieces were written over each other, the later one's
    /// reason counts.
    pub fn patches(&self) -> Result<Vec<Patch>, ReadError> {
        // Later pieces first, each cut to what no later one covers.
        let mut covered: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        for (index, (extent, _)) in self.pieces.iter().enumerate().rev() {
            let mut at = extent.range().start;
            let end = extent.range().end;
            while at < end {
                let before = covered.range(..=at).next_back().map(|(_, (to, _))| *to);
                if let Some(to) = before.filter(|to| *to > at) {
                    at = to;
                    continue;
                }
                let next = covered
                    .range(at..)
                    .next()
                    .map_or(end, |(from, _)| (*from).min(end));
                covered.insert(at, (next, index));
                at = next;
            }
        }
        let mut patches = Vec::new();
        for (from, (to, index)) in covered {
            let len = Bytes(to - from).index().unwrap_or(0);
            let before = self.image.read_vec(Bytes(from), len)?;
            let after = self.read_vec(Bytes(from), len)?;
            let differs = |i: &usize| before[*i] != after[*i];
            let (Some(first), Some(last)) = ((0..len).find(differs), (0..len).rfind(differs))
            else {
                continue;
            };
            patches.push(Patch {
                at: Bytes(from + first as u64),
                before: before[first..=last].to_vec(),
                after: After::Bytes(after[first..=last].to_vec()),
                why: self.pieces[index].1.clone(),
            });
        }
        Ok(patches)
    }
}

impl ReadAt for Draft<'_> {
    fn len(&self) -> Bytes {
        self.image.len()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.image.read_exact_at(at, buf)?;
        let first = at.0 / SECTOR as u64;
        let last = (at.0 + buf.len() as u64).div_ceil(SECTOR as u64);
        for (number, sector) in self.sectors.range(first..last) {
            lay(buf, at, Bytes(number * SECTOR as u64), sector);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_reads_back_what_was_written_and_keeps_the_image() {
        let image: Vec<u8> = vec![7; 2000];
        let mut draft = Draft::new(&image);
        draft
            .write(Bytes(500), &[1; 100], &Why::PartitionTable)
            .unwrap();
        let seen = draft.read_vec(Bytes(499), 102).unwrap();
        assert_eq!(seen[0], 7);
        assert_eq!(seen[1..101], [1; 100]);
        assert_eq!(seen[101], 7);
        assert!(
            draft
                .write(Bytes(1999), &[1, 1], &Why::PartitionTable)
                .is_err()
        );
    }

    #[test]
    fn patches_cover_the_difference_and_nothing_else() {
        let image: Vec<u8> = vec![7; 4096];
        let mut draft = Draft::new(&image);
        draft
            .write(Bytes(1000), &[7, 8, 7, 8, 7], &Why::PartitionTable)
            .unwrap();
        draft
            .write(Bytes(3000), &[7; 10], &Why::PartitionTable)
            .unwrap();
        let patches = draft.patches().unwrap();
        assert_eq!(patches.len(), 1);
        assert_eq!(patches[0].at, Bytes(1001));
        assert_eq!(patches[0].after, After::Bytes(vec![8, 7, 8]));
        assert_eq!(patches[0].before, [7, 7, 7]);
    }

    #[test]
    fn the_later_reason_counts_where_pieces_overlap() {
        let image: Vec<u8> = vec![0; 4096];
        let mut draft = Draft::new(&image);
        draft
            .write(Bytes(100), &[1; 100], &Why::PartitionTable)
            .unwrap();
        draft.write(Bytes(150), &[2; 10], &Why::MediaCheck).unwrap();
        let patches = draft.patches().unwrap();
        let seen: Vec<_> = patches
            .iter()
            .map(|p| (p.at.0, p.before.len(), p.why.clone()))
            .collect();
        assert_eq!(
            seen,
            [
                (100, 50, Why::PartitionTable),
                (150, 10, Why::MediaCheck),
                (160, 40, Why::PartitionTable)
            ]
        );
    }
}
