// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filesystems that are packed once and only read: SquashFS, EROFS.

use super::{Details, Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// SquashFS.
///
/// Linux, `fs/squashfs/squashfs_fs.h`, `struct squashfs_super_block`: "hsqs", compression 20, major version 28,
/// bytes used 40.
pub(super) fn squashfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 0, 96)?.and_then(|block| squashfs_block(&block)))
}

fn squashfs_block(block: &[u8]) -> Option<Superblock> {
    if block.starts_with(b"sqsh") || (block.starts_with(b"hsqs") && field::le16(block, 28)? < 4) {
        return Some(Superblock::of(Kind::Squashfs3));
    }
    if !block.starts_with(b"hsqs") {
        return None;
    }
    Some(Superblock {
        size: Some(Bytes(field::le64(block, 40)?)),
        details: Details::Packed {
            compression: squashfs_compression(field::le16(block, 20)?),
        },
        ..Superblock::of(Kind::Squashfs)
    })
}

/// SquashFS' numbers for compressions (`fs/squashfs/squashfs_fs.h`, `ZLIB_COMPRESSION` …).
pub(crate) fn squashfs_compression(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "gzip",
        2 => "lzma",
        3 => "lzo",
        4 => "xz",
        5 => "lz4",
        6 => "zstd",
        _ => return None,
    })
}

/// EROFS.
///
/// Linux, `fs/erofs/erofs_fs.h`, `struct erofs_super_block` at 1024: magic 0, block size's logarithm 12, blocks 36,
/// uuid 48, label 64, incompatible features 80, algorithms 84 (if `COMPR_CFGS`, bit 1).
pub(super) fn erofs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 1024, 128)?.and_then(|block| erofs_block(&block)))
}

fn erofs_block(block: &[u8]) -> Option<Superblock> {
    if field::le32(block, 0)? != 0xe0f5_e1e2 {
        return None;
    }
    let size = 1_u64
        .checked_shl(u32::from(field::u8(block, 12)?))
        .and_then(|unit| unit.checked_mul(u64::from(field::le32(block, 36).unwrap_or(0))));
    Some(Superblock {
        kind: Kind::Erofs,
        label: field::text(block, 64, 16),
        uuid: field::uuid(block, 48),
        size: size.map(Bytes),
        details: Details::Packed {
            compression: erofs_compression(block),
        },
    })
}

/// The strongest algorithm that an EROFS superblock lists.
///
/// `Z_EROFS_COMPRESSION_LZ4` … in `fs/erofs/erofs_fs.h`. Without the list (`COMPR_CFGS`) bit 0 (`LZ4_0PADDING`) says
/// that there may be LZ4, not that there is.
fn erofs_compression(block: &[u8]) -> Option<&'static str> {
    let features = field::le32(block, 80)?;
    if features & 2 == 0 {
        return (features & 1 != 0).then_some("lz4");
    }
    let algorithms = field::le16(block, 84)?;
    [(3, "zstd"), (1, "lzma"), (2, "deflate"), (0, "lz4")]
        .into_iter()
        .find_map(|(bit, name)| (algorithms & (1 << bit) != 0).then_some(name))
}
