// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room: blocks that nothing claims and nothing fills, where a file that grew can go.
//!
//! A place must be inside every view of the volume, so that both the medium and partition 1 can reach it: padding
//! behind partition 1 is no room. In images with a partition offset there is mostly room between the two descriptor
//! sets (blocks 20 to 31), which partition 1 sees as its unused system area.

use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

use super::{BLOCK, Iso, PARTITION};

/// Zeros read at most, from the end backwards.
const MAX_READ: u64 = 4 << 20;
/// Bytes at the end of the image that are never room: a backup GPT of up to 248 entries is 63 sectors, mostly zeros.
const TAIL: Bytes = Bytes(64 * 512);

impl Iso {
    /// Ranges of whole blocks inside the volume that nothing claims, neither the image nor `taken` (partitions other
    /// than the image's own, backup tables), and that hold zeros only; sorted. At most 4 MiB are read.
    pub fn unclaimed(
        &self,
        image: &dyn ReadAt,
        taken: &[Extent],
    ) -> Result<Vec<Extent>, ReadError> {
        let mut claims = self.claims();
        claims.extend(taken.iter().map(|extent| whole(*extent)));
        claims.sort_unstable();
        let mut gaps = Vec::new();
        // The system area belongs to boot loaders and partition tables.
        let mut at = Bytes(16 * BLOCK);
        let end = self.end();
        for claim in claims.iter().chain([&Extent {
            at: end,
            len: Bytes::ZERO,
        }]) {
            let to = claim.at.min(end);
            if to > at {
                gaps.push(Extent { at, len: to - at });
            }
            at = at.max(claim.end());
        }
        let mut room = Vec::new();
        let mut budget = Bytes(MAX_READ);
        for gap in gaps.into_iter().rev() {
            let len = gap.len.min(budget).align_down(Bytes(BLOCK));
            budget = budget - len;
            let part = Extent {
                at: gap.end() - len,
                len,
            };
            zeros(image, part, &mut room)?;
        }
        room.sort_unstable();
        Ok(room)
    }

    /// Everything that belongs to something, in whole blocks, unsorted.
    pub(super) fn claims(&self) -> Vec<Extent> {
        let data = self.data.iter().map(|data| data.extent);
        let boot = self.boot.iter().flat_map(|boot| {
            let images = boot.entries.iter().map(|entry| entry.load);
            images.chain([boot.extent])
        });
        let system = Extent {
            at: Bytes::ZERO,
            len: PARTITION,
        };
        let all = data.chain(boot).chain(self.meta.iter().copied());
        all.map(whole).chain([system]).collect()
    }

    /// The end of what every view of the volume can reach, before any backup partition table.
    pub(super) fn end(&self) -> Bytes {
        let medium = self.volume.space.bytes().min(self.size - TAIL);
        let partition = self
            .partition
            .as_ref()
            .map(|volume| PARTITION + volume.space.bytes());
        partition
            .map_or(medium, |partition| partition.min(medium))
            .align_down(Bytes(BLOCK))
    }
}

/// The blocks an extent touches, at least one.
fn whole(extent: Extent) -> Extent {
    let at = extent.at.align_down(Bytes(BLOCK));
    let end = extent
        .end()
        .max(extent.at + Bytes(1))
        .align_up(Bytes(BLOCK));
    Extent { at, len: end - at }
}

/// Adds the runs of zero blocks in `gap`.
fn zeros(image: &dyn ReadAt, gap: Extent, room: &mut Vec<Extent>) -> Result<(), ReadError> {
    let bytes = image.read_vec(gap.at, gap.len.index().unwrap_or(0))?;
    let mut open: Option<Extent> = None;
    for (number, block) in bytes.chunks_exact(2048).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            room.extend(open.take());
            continue;
        }
        let at = gap.at + Bytes(number as u64 * BLOCK);
        let run = open.get_or_insert(Extent {
            at,
            len: Bytes::ZERO,
        });
        run.len += Bytes(BLOCK);
    }
    room.extend(open);
    Ok(())
}
