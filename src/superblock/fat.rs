// SPDX-License-Identifier: MIT OR Apache-2.0
//! FAT12, FAT16 and FAT32.
//!
//! The label is that of the root directory's volume entry, as blkid and Windows take it; the one in the boot sector is
//! often stale.

use super::{Details, Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// How many directory entries are looked at for a label.
const MAX_ENTRIES: usize = 16_384;
/// How many clusters of a FAT32 root directory are followed.
const MAX_CLUSTERS: usize = 256;

/// What a boot sector says. Microsoft, FAT32 File System Specification 1.03, "Boot Sector and BPB".
struct Volume {
    sector: u64,
    cluster: u64,
    reserved: u64,
    fat: u64,
    /// Where the directory of FAT12/16 starts, in bytes, and how many entries it has.
    root: u64,
    entries: usize,
    data: u64,
    clusters: u64,
    root_cluster: u32,
    bits: u8,
    sectors: u64,
    serial: u32,
}

/// A FAT volume.
pub(super) fn vfat(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let Some(boot) = part(image, 0, 512)? else {
        return Ok(None);
    };
    let Some(volume) = boot_sector(&boot) else {
        return Ok(None);
    };
    Ok(Some(Superblock {
        kind: Kind::Vfat,
        label: label(image, &volume)?,
        uuid: Some(format!(
            "{:04X}-{:04X}",
            volume.serial >> 16,
            volume.serial & 0xffff
        )),
        size: volume.sectors.checked_mul(volume.sector).map(Bytes),
        details: Details::Fat { bits: volume.bits },
    }))
}

/// The boot sector, if all that it says can be true: FAT has no magic number of its own.
fn boot_sector(boot: &[u8]) -> Option<Volume> {
    if boot.get(510..512)? != [0x55, 0xaa] || matches!(boot.get(3..11)?, b"NTFS    " | b"EXFAT   ")
    {
        return None;
    }
    let sector = field::le16(boot, 11)?;
    let per_cluster = field::u8(boot, 13)?;
    let reserved = u64::from(field::le16(boot, 14)?);
    let fats = u64::from(field::u8(boot, 16)?);
    let media = field::u8(boot, 21)?;
    if !sector.is_power_of_two()
        || !(512..=4096).contains(&sector)
        || !per_cluster.is_power_of_two()
        || reserved == 0
        || fats == 0
        || !(media >= 0xf8 || media == 0xf0)
    {
        return None;
    }
    let sector = u64::from(sector);
    let entries = field::le16(boot, 17)?;
    let short = field::le16(boot, 22)?;
    let fat = if short == 0 {
        u64::from(field::le32(boot, 36)?)
    } else {
        u64::from(short)
    };
    let sectors = match field::le16(boot, 19)? {
        0 => u64::from(field::le32(boot, 32)?),
        few => u64::from(few),
    };
    let directory = (u64::from(entries) * 32).div_ceil(sector);
    let before = reserved + fats * fat + directory;
    let clusters = sectors.checked_sub(before)? / u64::from(per_cluster);
    if fat == 0 || clusters == 0 {
        return None;
    }
    let bits = match clusters {
        _ if short == 0 => 32,
        ..4085 => 12,
        _ => 16,
    };
    Some(Volume {
        sector,
        cluster: sector * u64::from(per_cluster),
        reserved: reserved * sector,
        fat: fat * sector,
        root: (reserved + fats * fat) * sector,
        entries: usize::from(entries),
        data: before * sector,
        clusters,
        root_cluster: field::le32(boot, 44)?,
        bits,
        sectors,
        serial: field::le32(boot, if bits == 32 { 67 } else { 39 })?,
    })
}

/// The root directory's volume label.
fn label(image: &dyn ReadAt, volume: &Volume) -> Result<Option<String>, ReadError> {
    if volume.bits != 32 {
        let len = volume.entries.min(MAX_ENTRIES) * 32;
        let directory = part(image, volume.root, len)?;
        return Ok(directory.and_then(|entries| match in_entries(&entries) {
            Entry::Label(label) => Some(label),
            Entry::End | Entry::Nothing => None,
        }));
    }
    let mut cluster = volume.root_cluster;
    for _ in 0..MAX_CLUSTERS {
        let Some(index) = u64::from(cluster)
            .checked_sub(2)
            .filter(|index| *index < volume.clusters)
        else {
            break;
        };
        let len = usize::try_from(volume.cluster).unwrap_or(0);
        let Some(entries) = part(image, volume.data + index * volume.cluster, len)? else {
            break;
        };
        match in_entries(&entries) {
            Entry::Label(label) => return Ok(Some(label)),
            Entry::End => break,
            Entry::Nothing => {}
        }
        let at = u64::from(cluster) * 4;
        if at + 4 > volume.fat {
            break;
        }
        let Some(next) = part(image, volume.reserved + at, 4)? else {
            break;
        };
        cluster = field::le32(&next, 0).unwrap_or(0) & 0x0fff_ffff;
    }
    Ok(None)
}

/// What a piece of directory has to say about the label.
enum Entry {
    Label(String),
    End,
    Nothing,
}

fn in_entries(entries: &[u8]) -> Entry {
    for entry in entries.chunks_exact(32) {
        let Some((&first, &attributes)) = entry.first().zip(entry.get(11)) else {
            break;
        };
        if first == 0 {
            return Entry::End;
        }
        // A label is no part of a long name (all four low bits), no directory, and has no data.
        let has_data = field::le16(entry, 20) != Some(0) || field::le16(entry, 26) != Some(0);
        if first == 0xe5 || attributes & 0x0f == 0x0f || attributes & 0x18 != 0x08 || has_data {
            continue;
        }
        return match field::text(entry, 0, 11) {
            Some(label) => Entry::Label(label),
            None => Entry::End,
        };
    }
    Entry::Nothing
}
