// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filesystems of other systems, as far as a used stick may hold them: NTFS, exFAT, BitLocker, HFS+, APFS.

use super::{Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// NTFS.
///
/// Linux, `fs/ntfs3/ntfs.h`, `struct NTFS_BOOT`: "NTFS    " at 3, bytes per sector 11, sectors 40, serial 72.
pub(super) fn ntfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 0, 512)?.and_then(|block| {
        if block.get(3..11)? != b"NTFS    " {
            return None;
        }
        let sector = u64::from(field::le16(&block, 11)?);
        Some(Superblock {
            uuid: Some(format!("{:016X}", field::le64(&block, 72)?)),
            size: field::le64(&block, 40)?.checked_mul(sector).map(Bytes),
            ..Superblock::of(Kind::Ntfs)
        })
    }))
}

/// BitLocker.
///
/// libbde, `BitLocker Drive Encryption (BDE) format`, section 3: "-FVE-FS-" at 3.
pub(super) fn bitlocker(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    Ok(part(image, 0, 512)?
        .filter(|block| block.get(3..11) == Some(b"-FVE-FS-"))
        .map(|_| Superblock::of(Kind::BitLocker)))
}

/// HFS+ and APFS.
///
/// Apple, TN1150, "Volume Header" (at 1024: "H+" or "HX"); Apple File System Reference, `nx_superblock_t` ("NXSB" at
/// 32, block size 36, blocks 40, uuid 72).
pub(super) fn apple(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(block) = part(image, 0, 1536)? else {
        return Ok(None);
    };
    let version = field::be16(&block, 1026);
    if (block.get(1024..1026) == Some(b"H+") && version == Some(4))
        || (block.get(1024..1026) == Some(b"HX") && version == Some(5))
    {
        return Ok(Some(Superblock::of(Kind::HfsPlus)));
    }
    if block.get(32..36) != Some(b"NXSB") {
        return Ok(None);
    }
    let unit = field::le32(&block, 36).map_or(0, u64::from);
    Ok(Some(Superblock {
        uuid: field::uuid(&block, 72),
        size: field::le64(&block, 40)
            .and_then(|blocks| blocks.checked_mul(unit))
            .map(Bytes),
        ..Superblock::of(Kind::Apfs)
    }))
}

/// exFAT.
///
/// Microsoft, exFAT file system specification 1.00, 3.1 (main boot sector: "EXFAT   " at 3, volume length 72, cluster
/// heap 88, root cluster 96, serial 100, shifts 108 and 109) and 7.3 (volume label entry, type 0x83).
pub(super) fn exfat(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(boot) = part(image, 0, 512)? else {
        return Ok(None);
    };
    if boot.get(3..11) != Some(b"EXFAT   ") {
        return Ok(None);
    }
    let serial = field::le32(&boot, 100);
    let shift = field::u8(&boot, 108).filter(|shift| (9..=12).contains(shift));
    let size = shift.and_then(|shift| field::le64(&boot, 72)?.checked_mul(1 << shift));
    let root = root_directory(&boot).map(|(at, len)| part(image, at, len));
    let label = root.transpose()?.flatten().and_then(|entries| {
        let entry = entries
            .chunks_exact(32)
            .take_while(|entry| entry.first() != Some(&0))
            .find(|entry| entry.first() == Some(&0x83))?;
        let len = usize::from(field::u8(entry, 1)?).min(11) * 2;
        field::utf16le(entry.get(2..2 + len)?)
    });
    Ok(Some(Superblock {
        label,
        uuid: serial.map(|serial| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)),
        size: size.map(Bytes),
        ..Superblock::of(Kind::Exfat)
    }))
}

/// Where the root directory's first cluster lies, and how much of it is worth reading.
fn root_directory(boot: &[u8]) -> Option<(u64, usize)> {
    let sector = field::u8(boot, 108).filter(|shift| (9..=12).contains(shift))?;
    let cluster =
        field::u8(boot, 109).filter(|shift| u32::from(*shift) + u32::from(sector) <= 25)?;
    let heap = u64::from(field::le32(boot, 88)?);
    let index = u64::from(field::le32(boot, 96)?.checked_sub(2)?);
    let at = heap
        .checked_add(index << cluster)?
        .checked_mul(1 << sector)?;
    Some((at, (1_usize << (cluster + sector)).min(32 << 10)))
}
