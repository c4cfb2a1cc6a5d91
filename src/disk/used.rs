// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of a file system is used, from its superblock: for the confirmation, to say what would be lost.
//!
//! The figures are what was written at the last clean unmount. A file system whose superblock does not say (NTFS,
//! FAT12 and FAT16, swap) gets no figure.

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes};

/// The used bytes of the file system that blkid calls `kind`.
pub(super) fn used(kind: &str, source: &dyn ReadAt) -> Option<Bytes> {
    let used = match kind {
        "ext2" | "ext3" | "ext4" => ext(source),
        "btrfs" => btrfs(source),
        "vfat" => fat32(source),
        "exfat" => exfat(source),
        "iso9660" => iso9660(source),
        "squashfs" => le64(source, 40),
        _ => return None,
    };
    used.ok().flatten().filter(|used| *used <= source.len())
}

/// ext2 to ext4 (kernel, Documentation/filesystems/ext4/super.rst; the superblock is at byte 1024).
fn ext(source: &dyn ReadAt) -> Result<Option<Bytes>, ReadError> {
    let sb = source.read_vec(Bytes(1024), 1024)?;
    let (Some(log), Some(incompat)) = (u32_at(&sb, 24), u32_at(&sb, 96)) else {
        return Ok(None);
    };
    // INCOMPAT_64BIT: the counts have upper halves.
    let wide = incompat & 0x80 != 0;
    let count = |low: usize, high: usize| {
        let high = if wide { u32_at(&sb, high)? } else { 0 };
        Some(u64::from(high) << 32 | u64::from(u32_at(&sb, low)?))
    };
    let (blocks, free) = (count(4, 0x150), count(12, 0x158));
    let used = blocks
        .zip(free)
        .and_then(|(all, free)| all.checked_sub(free));
    let size = 1024_u64.checked_shl(log);
    Ok(used
        .zip(size)
        .and_then(|(used, size)| used.checked_mul(size))
        .map(Bytes))
}

/// btrfs: `bytes_used` of the superblock at 64 KiB (btrfs-progs, Documentation/dev/On-disk-format.rst).
fn btrfs(source: &dyn ReadAt) -> Result<Option<Bytes>, ReadError> {
    le64(source, 0x1_0000 + 0x78)
}

/// FAT32: the free count of the FSInfo sector (Microsoft, FAT32 File System Specification 1.03, FSInfo).
fn fat32(source: &dyn ReadAt) -> Result<Option<Bytes>, ReadError> {
    let boot = source.read_vec(Bytes::ZERO, 512)?;
    let fields = || {
        let sector = u64::from(u16_at(&boot, 11)?);
        let cluster = sector * u64::from(*boot.get(13)?);
        let fats = u64::from(*boot.get(16)?) * u64::from(u32_at(&boot, 36)?);
        let reserved = u64::from(u16_at(&boot, 14)?);
        let data = u64::from(u32_at(&boot, 32)?).checked_sub(reserved + fats)?;
        // FAT32 has neither a root directory of fixed size nor a 16-bit FAT size.
        let is_fat32 = u16_at(&boot, 17)? == 0 && u16_at(&boot, 22)? == 0 && cluster > 0;
        let info = sector * u64::from(u16_at(&boot, 48)?);
        is_fat32.then(|| (info, cluster, data * sector / cluster))
    };
    let Some((info, cluster, clusters)) = fields() else {
        return Ok(None);
    };
    let info = source.read_vec(Bytes(info), 512)?;
    let signed = info.starts_with(b"RRaA") && info.get(484..488) == Some(b"rrAa");
    let free = u32_at(&info, 488).filter(|_| signed).map(u64::from);
    let used = free.and_then(|free| clusters.checked_sub(free));
    Ok(used.map(|used| Bytes(used * cluster)))
}

/// exFAT: PercentInUse of the boot sector, 0xFF if unknown (Microsoft, exFAT File System Specification, 3.1.18).
fn exfat(source: &dyn ReadAt) -> Result<Option<Bytes>, ReadError> {
    let boot = source.read_vec(Bytes::ZERO, 512)?;
    let percent = Some(boot[112]).filter(|percent| *percent <= 100);
    let size = u64_at(&boot, 72).and_then(|sectors| {
        let shift = u32::from(boot[108]);
        (shift <= 12).then(|| sectors.checked_mul(1 << shift))?
    });
    let used = size.zip(percent);
    Ok(used.map(|(size, percent)| Bytes(size / 100 * u64::from(percent))))
}

/// ISO 9660: the Volume Space Size of the primary descriptor (ECMA-119, 8.4.8).
fn iso9660(source: &dyn ReadAt) -> Result<Option<Bytes>, ReadError> {
    let descriptor = source.read_vec(Block(16).bytes(), 512)?;
    Ok(u32_at(&descriptor, 80).map(|blocks| Block(blocks).bytes()))
}

/// SquashFS 4 has its length at byte 40 (kernel, fs/squashfs/squashfs_fs.h).
fn le64(source: &dyn ReadAt, at: u64) -> Result<Option<Bytes>, ReadError> {
    let raw = source.read_vec(Bytes(at), 8)?;
    Ok(u64_at(&raw, 0).map(Bytes))
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_measured_without_panic(
            seed in proptest::collection::vec(any::<u8>(), 0..4096),
            at in 0usize..0x1_1000,
        ) {
            let mut data = vec![0u8; 0x1_1000];
            let end = (at + seed.len()).min(data.len());
            data[at..end].copy_from_slice(&seed[..end - at]);
            for kind in ["ext4", "btrfs", "vfat", "exfat", "iso9660", "squashfs", "ntfs"] {
                used(kind, &data);
                used(kind, &seed);
            }
        }
    }
}
