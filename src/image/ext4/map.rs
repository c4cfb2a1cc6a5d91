// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which block of the medium a block of a file is. `Documentation/filesystems/ext4/ifork.rst`.

use super::{EXTENTS, Ext4, Inode, malformed};
use crate::image::root::TreeError;
use crate::superblock::field;
use crate::units::Bytes;

/// The deepest extent tree (`ifork.rst`: five levels hold every file).
const MAX_DEPTH: u16 = 5;

/// The block that holds block `logical` of the file; `None` is a hole.
pub(super) fn block(
    ext4: &Ext4<'_>,
    inode: &Inode,
    logical: u64,
) -> Result<Option<u64>, TreeError> {
    let root = inode.bytes.get(0x28..0x64).unwrap_or_default();
    if inode.flags & EXTENTS == 0 {
        indirect(ext4, root, logical)
    } else {
        extents(ext4, root, logical)
    }
}

fn load(ext4: &Ext4<'_>, block: u64) -> Result<Vec<u8>, TreeError> {
    let len = usize::try_from(ext4.layout.block).unwrap_or(0);
    let at = Bytes(block.saturating_mul(ext4.layout.block));
    Ok(ext4.image.read_vec(at, len)?)
}

/// "Extent Tree": a header of twelve bytes (magic 0, entries 2, depth 6), then entries of twelve bytes.
fn extents(ext4: &Ext4<'_>, root: &[u8], logical: u64) -> Result<Option<u64>, TreeError> {
    let mut node = root.to_vec();
    let mut above = MAX_DEPTH + 1;
    loop {
        let depth = field::le16(&node, 6).unwrap_or(u16::MAX);
        if field::le16(&node, 0) != Some(0xf30a) || depth >= above {
            return Err(malformed(
                "ext4 extent tree",
                logical,
                "its header cannot be",
            ));
        }
        above = depth;
        let count = usize::from(field::le16(&node, 2).unwrap_or(0));
        // Sorted by first block: the last that does not begin behind the wanted one.
        let entry = node
            .get(12..)
            .unwrap_or_default()
            .chunks_exact(12)
            .take(count)
            .take_while(|entry| field::le32(entry, 0).is_some_and(|at| u64::from(at) <= logical))
            .last();
        let Some(entry) = entry else { return Ok(None) };
        let first = field::le32(entry, 0).map_or(0, u64::from);
        if depth == 0 {
            let len = u64::from(field::le16(entry, 4).unwrap_or(0));
            let start = place(entry, 8, 6);
            // Above 32768 the blocks are there but not written.
            let written = len <= 32768 && logical - first < len;
            return Ok(written.then(|| start + (logical - first)));
        }
        node = load(ext4, place(entry, 4, 8))?;
    }
}

/// A block number of 48 bits, in a lower and an upper part.
fn place(entry: &[u8], low: usize, high: usize) -> u64 {
    let high = field::le16(entry, high).map_or(0, u64::from);
    high << 32 | field::le32(entry, low).map_or(0, u64::from)
}

/// "Direct/Indirect Block Addressing": twelve blocks, then one of blocks, one of those, and one of those.
fn indirect(ext4: &Ext4<'_>, root: &[u8], logical: u64) -> Result<Option<u64>, TreeError> {
    let per = ext4.layout.block / 4;
    let pointer = |node: &[u8], index: u64| {
        let at = usize::try_from(index * 4).unwrap_or(usize::MAX);
        field::le32(node, at).map_or(0, u64::from)
    };
    let Some(mut rest) = logical.checked_sub(12) else {
        let block = pointer(root, logical);
        return Ok((block != 0).then_some(block));
    };
    let mut span = per;
    for level in 0..3 {
        if rest < span {
            let mut block = pointer(root, 12 + level);
            for _ in 0..=level {
                if block == 0 {
                    return Ok(None);
                }
                span /= per;
                block = pointer(&load(ext4, block)?, rest / span);
                rest %= span;
            }
            return Ok((block != 0).then_some(block));
        }
        rest -= span;
        span *= per;
    }
    Err(malformed(
        "ext4 file",
        logical,
        "a block behind the last there can be",
    ))
}
