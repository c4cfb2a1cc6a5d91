// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filesystems at home on Linux, and swap.

use super::{Details, Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// ext2, ext3, ext4 and their external journals.
///
/// Linux, `Documentation/filesystems/ext4/super.rst`: at 1024; magic 0xef53 at 0x38, state at 0x3a, features at 0x5c
/// (compatible), 0x60 (incompatible), 0x64 (read-only), uuid at 0x68, label at 0x78. Which of the three it is follows
/// libblkid, `libblkid/src/superblocks/ext.c`: the oldest that can read all features.
pub(super) fn ext(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 1024, 1024)?.and_then(|block| ext_block(&block)))
}

fn ext_block(block: &[u8]) -> Option<Superblock> {
    const HAS_JOURNAL: u32 = 0x4;
    const RECOVER: u32 = 0x4;
    const JOURNAL_DEV: u32 = 0x8;
    const SIXTY_FOUR: u32 = 0x80;
    /// sparse_super, large_file, btree_dir.
    const EXT3_READ_ONLY: u32 = 0x7;
    /// filetype, meta_bg.
    const EXT2_INCOMPATIBLE: u32 = 0x12;

    if field::le16(block, 0x38)? != 0xef53 {
        return None;
    }
    let compatible = field::le32(block, 0x5c)?;
    let incompatible = field::le32(block, 0x60)?;
    let read_only = field::le32(block, 0x64)?;
    let ext3_reads = read_only & !EXT3_READ_ONLY == 0
        && incompatible & !(EXT2_INCOMPATIBLE | RECOVER | JOURNAL_DEV) == 0;
    let kind = if incompatible & JOURNAL_DEV != 0 {
        Kind::Jbd
    } else if !ext3_reads {
        Kind::Ext4
    } else if compatible & HAS_JOURNAL != 0 {
        Kind::Ext3
    } else {
        Kind::Ext2
    };
    let high = if incompatible & SIXTY_FOUR == 0 {
        0
    } else {
        field::le32(block, 0x150)?
    };
    let blocks = u64::from(high) << 32 | u64::from(field::le32(block, 4)?);
    let size = 1024_u64
        .checked_shl(field::le32(block, 0x18)?)
        .and_then(|size| size.checked_mul(blocks));
    Some(Superblock {
        kind,
        label: field::text(block, 0x78, 16),
        uuid: field::uuid(block, 0x68),
        size: size.map(Bytes),
        details: Details::Ext {
            needs_recovery: incompatible & RECOVER != 0,
            clean: field::le16(block, 0x3a)? & 1 != 0,
        },
    })
}

/// btrfs.
///
/// btrfs-progs, `Documentation/dev/On-disk-format.rst`, "Superblock": at 64 KiB; fsid 0x20, flags 0x38, magic 0x40,
/// devices 0x88, checksum type 0xc4, this device's item 0xc9 (its size at 8), label 0x12b. Seeding is bit 32 of the
/// flags (Linux, `include/uapi/linux/btrfs_tree.h`, `BTRFS_SUPER_FLAG_SEEDING`).
pub(super) fn btrfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 64 << 10, 4096)?.and_then(|block| btrfs_block(&block)))
}

fn btrfs_block(block: &[u8]) -> Option<Superblock> {
    if block.get(0x40..0x48)? != b"_BHRfS_M" {
        return None;
    }
    Some(Superblock {
        kind: Kind::Btrfs,
        label: field::text(block, 0x12b, 256),
        uuid: field::uuid(block, 0x20),
        size: Some(Bytes(field::le64(block, 0xd1)?)),
        details: Details::Btrfs {
            seeding: field::le64(block, 0x38)? & (1 << 32) != 0,
            devices: field::le64(block, 0x88)?,
            checksum: match field::le16(block, 0xc4)? {
                0 => Some("crc32c"),
                1 => Some("xxhash64"),
                2 => Some("sha256"),
                3 => Some("blake2b"),
                _ => None,
            },
        },
    })
}

/// XFS.
///
/// Linux, `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`, big-endian: "XFSB", block size 4, data blocks 8, uuid 32,
/// label 108.
pub(super) fn xfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 0, 512)?.and_then(|block| xfs_block(&block)))
}

fn xfs_block(block: &[u8]) -> Option<Superblock> {
    let unit = field::be32(block, 4)?;
    let plausible = unit.is_power_of_two() && (512..=65536).contains(&unit);
    if !block.starts_with(b"XFSB") || !plausible {
        return None;
    }
    Some(Superblock {
        label: field::text(block, 108, 12),
        uuid: field::uuid(block, 32),
        size: field::be64(block, 8)?
            .checked_mul(u64::from(unit))
            .map(Bytes),
        ..Superblock::of(Kind::Xfs)
    })
}

/// F2FS.
///
/// Linux, `include/linux/f2fs_fs.h`, `struct f2fs_super_block` at 1024: magic 0, block size's logarithm 16, blocks 36,
/// uuid 108, label 124 in UTF-16.
pub(super) fn f2fs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 1024, 1148)?.and_then(|block| f2fs_block(&block)))
}

fn f2fs_block(block: &[u8]) -> Option<Superblock> {
    if field::le32(block, 0)? != 0xf2f5_2010 {
        return None;
    }
    let size = 1_u64
        .checked_shl(field::le32(block, 16)?)
        .and_then(|unit| unit.checked_mul(field::le64(block, 36)?));
    Some(Superblock {
        label: block.get(124..1148).and_then(field::utf16le),
        uuid: field::uuid(block, 108),
        size: size.map(Bytes),
        ..Superblock::of(Kind::F2fs)
    })
}

/// Swap, in use or holding a hibernated system.
///
/// Linux, `include/linux/swap.h`, `union swap_header`: the signature in the last ten bytes of a page, whatever a page is
/// on the machine that made it; at 1024 version, last page, bad pages, uuid (1036), label (1052).
pub(super) fn swap(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    const SUSPENDED: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
    for shift in 12..=16_u32 {
        let page = 1_u64 << shift;
        let Some(signature) = part(image, page - 10, 10)? else {
            break;
        };
        let kind = if signature == b"SWAPSPACE2" {
            Kind::Swap
        } else if SUSPENDED.iter().any(|word| signature.starts_with(word)) {
            Kind::Swsuspend
        } else {
            continue;
        };
        let Some(block) = part(image, 1024, 512)? else {
            break;
        };
        let last = field::le32(&block, 4).map_or(0, u64::from);
        return Ok(Some(Superblock {
            label: field::text(&block, 28, 16),
            uuid: field::uuid(&block, 12),
            size: Some(Bytes((last + 1).saturating_mul(page))),
            ..Superblock::of(kind)
        }));
    }
    Ok(None)
}
