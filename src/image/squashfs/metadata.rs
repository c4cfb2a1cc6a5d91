// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metadata blocks: a two-byte length, then up to 8 KiB, compressed or not. What lies in them may run on into the next.

use std::rc::Rc;

use super::decode::Compression;
use super::malformed;
use crate::image::root::TreeError;
use crate::read::ReadAt;
use crate::superblock::field;
use crate::units::Bytes;

/// What a metadata block holds. Linux, `fs/squashfs/squashfs_fs.h`, `SQUASHFS_METADATA_SIZE`.
pub(super) const SIZE: u64 = 8192;
/// Blocks kept: 512 KiB.
const KEPT: usize = 64;

/// A place in the stream of metadata: a block's offset in the image, and an offset in what it unpacks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u64,
    pub(super) offset: u64,
}

impl Place {
    /// The place that a reference names: 48 bits of block, from a table's start, and 16 of offset.
    pub(super) fn of(table: u64, reference: u64) -> Place {
        Place {
            block: table.saturating_add(reference >> 16),
            offset: reference & 0xffff,
        }
    }
}

struct Block {
    at: u64,
    next: u64,
    bytes: Rc<[u8]>,
}

/// The blocks that were used last, the newest at the end.
#[derive(Default)]
pub(super) struct Blocks(Vec<Block>);

impl Blocks {
    /// `len` bytes at `place`, which moves behind them.
    pub(super) fn read(
        &mut self,
        image: &dyn ReadAt,
        compression: Compression,
        place: &mut Place,
        len: usize,
    ) -> Result<Vec<u8>, TreeError> {
        let mut out = Vec::new();
        while out.len() < len {
            let (bytes, next) = self.block(image, compression, place.block)?;
            let offset = usize::try_from(place.offset).unwrap_or(usize::MAX);
            let Some(rest) = bytes.get(offset..) else {
                let why = format!("offset {offset} in a block of {} bytes", bytes.len());
                return Err(malformed("squashfs metadata", place.block, why));
            };
            if bytes.is_empty() {
                return Err(malformed(
                    "squashfs metadata",
                    place.block,
                    "an empty block",
                ));
            }
            let take = rest.len().min(len - out.len());
            out.extend_from_slice(rest.get(..take).unwrap_or_default());
            if take == rest.len() {
                *place = Place {
                    block: next,
                    offset: 0,
                };
            } else {
                place.offset += take as u64;
            }
        }
        Ok(out)
    }

    fn block(
        &mut self,
        image: &dyn ReadAt,
        compression: Compression,
        at: u64,
    ) -> Result<(Rc<[u8]>, u64), TreeError> {
        if let Some(index) = self.0.iter().position(|block| block.at == at) {
            let block = self.0.remove(index);
            let answer = (Rc::clone(&block.bytes), block.next);
            self.0.push(block);
            return Ok(answer);
        }
        let head = image.read_vec(Bytes(at), 2)?;
        let head = field::le16(&head, 0).unwrap_or(0);
        // The top bit says "as it is"; a length of zero stands for 32 KiB, which cannot be.
        let len = usize::from(head & 0x7fff);
        let start = at.saturating_add(2);
        let packed = image.read_vec(Bytes(start), len)?;
        let bytes = if head & 0x8000 == 0 {
            compression
                .decode(&packed, 8192)
                .map_err(|why| malformed("squashfs metadata", at, why.to_string()))?
        } else if len > 8192 {
            return Err(malformed("squashfs metadata", at, format!("{len} bytes")));
        } else {
            packed
        };
        let block = Block {
            at,
            next: start + len as u64,
            bytes: bytes.into(),
        };
        let answer = (Rc::clone(&block.bytes), block.next);
        if self.0.len() >= KEPT {
            self.0.remove(0);
        }
        self.0.push(block);
        Ok(answer)
    }
}
