// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filesystems of other systems, as far as a used stick may hold them: NTFS, exFAT, BitLocker, HFS+, APFS.

use super::{Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// NTFS.
///
/// Linux, `fs/ntfs3/ntfs.h`, `struct NTFS_BOOT`: "NTFS    " at 3, bytes per sector 11, sectors per cluster 13, sectors
/// 40, cluster of the MFT 48, size of its records 64, serial 72.
pub(super) fn ntfs(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(boot) = part(image, 0, 512)? else {
        return Ok(None);
    };
    if boot.get(3..11) != Some(b"NTFS    ") {
        return Ok(None);
    }
    let sector = field::le16(&boot, 11).map_or(0, u64::from);
    let record = match volume_record(&boot) {
        Some((at, len)) => part(image, at, len)?,
        None => None,
    };
    Ok(Some(Superblock {
        label: record.and_then(|record| volume_name(&record)),
        uuid: field::le64(&boot, 72).map(|serial| format!("{serial:016X}")),
        size: field::le64(&boot, 40)
            .and_then(|sectors| sectors.checked_mul(sector))
            .map(Bytes),
        ..Superblock::of(Kind::Ntfs)
    }))
}

/// Where the record of `$Volume` is, and how long: the fourth of the MFT (`ntfs.h`, `MFT_REC_VOL`). Sizes from 128 on
/// are powers of two, the exponent negated: of sectors for the cluster, of bytes for the record.
fn volume_record(boot: &[u8]) -> Option<(u64, usize)> {
    let power = |byte: u8| 1_u64.checked_shl(u32::from(byte.wrapping_neg()));
    let sector = u64::from(field::le16(boot, 11)?);
    let cluster = match field::u8(boot, 13)? {
        sectors @ 0..=128 => u64::from(sectors),
        byte => power(byte)?,
    };
    let cluster = cluster.checked_mul(sector)?;
    let record = match field::u8(boot, 64)? {
        clusters @ 0..=127 => cluster.checked_mul(u64::from(clusters))?,
        byte => power(byte)?,
    };
    // As the kernel has it; a record is one or four KiB.
    if !(512..=4096).contains(&record) {
        return None;
    }
    let table = field::le64(boot, 48)?.checked_mul(cluster)?;
    Some((
        table.checked_add(3 * record)?,
        usize::try_from(record).ok()?,
    ))
}

/// The name in the record of `$Volume`.
///
/// `ntfs.h`, `struct MFT_REC` ("FILE", first attribute 20) and `struct ATTRIB` (type 0, length 4, 8 is 0 for one that
/// lies in the record, length of its value 16, place of that 20); the volume's name has type 0x60. That the last two bytes
/// of a sector are kept elsewhere is passed over, as libblkid does: the name is in the first.
fn volume_name(record: &[u8]) -> Option<String> {
    const NAME: u32 = 0x60;
    if !record.starts_with(b"FILE") {
        return None;
    }
    let mut rest = record.get(usize::from(field::le16(record, 20)?)..)?;
    loop {
        let kind = field::le32(rest, 0)?;
        if kind == NAME && field::u8(rest, 8)? == 0 {
            let len = usize::try_from(field::le32(rest, 16)?).ok()?;
            let at = usize::from(field::le16(rest, 20)?);
            return field::utf16le(rest.get(at..at.checked_add(len)?)?);
        }
        // They are in the order of their types; the last one has none.
        let len = usize::try_from(field::le32(rest, 4)?).ok()?;
        if kind > NAME || len == 0 {
            return None;
        }
        rest = rest.get(len..)?;
    }
}

/// BitLocker, on a disk of the machine and on a stick ("To Go").
///
/// libbde, `BitLocker Drive Encryption (BDE) format`, section 3: "-FVE-FS-" at 3; on a stick that also Windows before 7
/// can open, "MSWIN4.1" there and the format's identifier at 424.
pub(super) fn bitlocker(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    const TO_GO: [u8; 16] = [
        0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0,
        0x01,
    ];
    Ok(part(image, 0, 512)?
        .filter(|block| match block.get(3..11) {
            Some(b"-FVE-FS-") => true,
            Some(b"MSWIN4.1") => block.get(424..440) == Some(&TO_GO),
            _ => false,
        })
        .map(|_| Superblock::of(Kind::BitLocker)))
}

/// HFS+ and APFS; of HFS+ nothing but the type, for its label is in a tree of its own.
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
