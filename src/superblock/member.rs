// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members of something larger: LUKS, LVM, Linux RAID, ZFS, bcache.

use super::{Details, Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// Linux RAID, metadata 0.90, 1.0, 1.1 and 1.2.
///
/// Linux, `include/uapi/linux/raid/md_p.h`: `struct mdp_superblock_1` (magic at 0, major at 4, `set_uuid` at 16,
/// `set_name` at 32), `struct mdp_superblock_s` (words: magic 0, major 1, uuid 5, 13, 14, 15). Places: mdadm,
/// `super1.c` (the last 8 KiB rounded down to 4 KiB; 0; 4096) and `super0.c` (the last whole 64 KiB).
pub(super) fn raid(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    const MAGIC: u32 = 0xa92b_4efc;
    let size = image.len().0;
    let end = size.checked_sub(8192).map(|at| at & !4095);
    for at in [Some(0), Some(4096), end] {
        let Some(block) = at.map(|at| part(image, at, 256)).transpose()?.flatten() else {
            continue;
        };
        // `super_offset` (at 144, in sectors) must agree, or an old copy would be taken for a member.
        let here = at.map(|at| at / 512);
        if field::le32(&block, 0) == Some(MAGIC)
            && field::le32(&block, 4) == Some(1)
            && field::le64(&block, 144) == here
        {
            return Ok(Some(Superblock {
                uuid: field::uuid(&block, 16),
                label: field::text(&block, 32, 32),
                ..Superblock::of(Kind::LinuxRaidMember)
            }));
        }
    }
    let old = (size & !65535).checked_sub(65536);
    let Some(block) = old.map(|at| part(image, at, 256)).transpose()?.flatten() else {
        return Ok(None);
    };
    if field::le32(&block, 0) != Some(MAGIC) || field::le32(&block, 4) != Some(0) {
        return Ok(None);
    }
    let mut id = Vec::with_capacity(16);
    id.extend_from_slice(block.get(20..24).unwrap_or_default());
    id.extend_from_slice(block.get(52..64).unwrap_or_default());
    Ok(Some(Superblock {
        uuid: field::uuid(&id, 0),
        ..Superblock::of(Kind::LinuxRaidMember)
    }))
}

/// A physical volume of LVM2.
///
/// lvm2, `lib/format_text/layout.h` and `lib/label/label.h`: a label in one of the first four sectors: "LABELONE", its
/// sector at 8, the offset of the `pv_header` at 20, type "LVM2 001" at 24; the header starts with 32 letters of
/// identifier, then the size of the device.
pub(super) fn lvm(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    for sector in 0..4_u64 {
        let Some(block) = part(image, sector * 512, 512)? else {
            break;
        };
        if !block.starts_with(b"LABELONE")
            || block.get(24..32) != Some(b"LVM2 001")
            || field::le64(&block, 8) != Some(sector)
        {
            continue;
        }
        let at = field::le32(&block, 20).and_then(|at| usize::try_from(at).ok());
        let id = at.and_then(|at| field::text(&block, at, 32));
        let size = at.and_then(|at| field::le64(&block, at.checked_add(32)?));
        return Ok(Some(Superblock {
            uuid: id.and_then(|id| dashed(&id)),
            size: size.map(Bytes),
            ..Superblock::of(Kind::Lvm2Member)
        }));
    }
    Ok(None)
}

/// LVM's 32 letters in its groups of 6-4-4-4-4-4-6.
fn dashed(id: &str) -> Option<String> {
    let mut groups = Vec::with_capacity(7);
    let mut at = 0;
    for len in [6, 4, 4, 4, 4, 4, 6] {
        groups.push(id.get(at..at + len)?);
        at += len;
    }
    Some(groups.join("-"))
}

/// LUKS 1 and 2.
///
/// cryptsetup, LUKS1 On-Disk Format 1.2.3 (`uuid` at 168) and LUKS2 On-Disk Format 1.1.2, section 2.1 (`label` at 24,
/// `uuid` at 168). The second header of a LUKS 2 whose first is gone is not looked for.
pub(super) fn luks(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(block) = part(image, 0, 512)? else {
        return Ok(None);
    };
    let Some(version @ 1..=2) = field::be16(&block, 6) else {
        return Ok(None);
    };
    if !block.starts_with(b"LUKS\xba\xbe") {
        return Ok(None);
    }
    let label = (version == 2).then(|| field::text(&block, 24, 48));
    Ok(Some(Superblock {
        label: label.flatten(),
        uuid: field::text(&block, 168, 40),
        details: Details::Luks { version },
        ..Superblock::of(Kind::CryptoLuks)
    }))
}

/// A disk of a ZFS pool: four uberblocks or more in the first label.
///
/// OpenZFS, `include/sys/vdev_impl.h` (uberblocks from 128 KiB to 256 KiB of a label) and
/// `include/sys/uberblock_impl.h` (magic 0x00bab10c, in the pool's byte order). That several are wanted is libblkid's
/// rule, against remains.
pub(super) fn zfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(ring) = part(image, 128 << 10, 128 << 10)? else {
        return Ok(None);
    };
    let found = ring
        .chunks(1024)
        .filter(|block| {
            field::le64(block, 0) == Some(0x00ba_b10c) || field::be64(block, 0) == Some(0x00ba_b10c)
        })
        .count();
    Ok((found >= 4).then(|| Superblock::of(Kind::ZfsMember)))
}

/// bcache.
///
/// Linux, `drivers/md/bcache/bcache_ondisk.h`, `struct cache_sb_disk` at 4096: offset (in sectors) at 8, magic at 24,
/// uuid at 40.
pub(super) fn bcache(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    const MAGIC: [u8; 16] = [
        0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d,
        0x81,
    ];
    let Some(block) = part(image, 4096, 512)? else {
        return Ok(None);
    };
    if block.get(24..40) != Some(&MAGIC) || field::le64(&block, 8) != Some(8) {
        return Ok(None);
    }
    Ok(Some(Superblock {
        uuid: field::uuid(&block, 40),
        ..Superblock::of(Kind::Bcache)
    }))
}
