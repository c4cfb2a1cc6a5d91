// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the EFI system partition shows of who wrote to it: desktops mount it without asking, and leave traces.
//!
//! Sources: Microsoft, "FAT: General Overview of On-Disk Format" 1.03 (the clean shutdown bit of the second entry of
//! the table; directory entries and their dates); kernel, fs/fat/inode.c `fat_set_state` (bit 0 of the state byte in
//! the boot sector, offset 37 or, in FAT32, 65).

use sha2::{Digest, Sha256};

use crate::boot::fat::{self, Piece};
use crate::diagnosis::atlas::Atlas;
use crate::diagnosis::verdict::EspSigns;
use crate::read::{ReadAt, Window};
use crate::record::{EspFile, Record};
use crate::units::{Bytes, Extent};

/// What systems leave where they mounted something.
const TRACES: [&str; 7] = [
    ".fseventsd",
    ".Spotlight-V100",
    ".Trashes",
    "._.Trashes",
    "System Volume Information",
    "$RECYCLE.BIN",
    ".Trash-1000",
];

/// The longest file of a system partition that is digested.
const LONGEST: Bytes = Bytes::mib(256);
/// The longest directory that is looked at.
const DIRECTORY: u64 = 1 << 20;

/// Looks at the partition.
pub fn signs(stick: &dyn ReadAt, atlas: &Atlas, record: &Record) -> EspSigns {
    let Some(extent) = atlas.esp() else {
        return EspSigns::default();
    };
    let partition = Window::new(stick, extent);
    let pieces = fat::pieces(&partition);
    let intact = |file: &EspFile| digest(&partition, &pieces, file) == Some(file.sha256);
    let mut signs = Vec::new();
    if marked(&partition) {
        signs.push("its FAT is marked as in use".to_owned());
    }
    for trace in TRACES {
        let there = |(_, name): &&Piece| {
            name.strip_prefix("the directory ")
                .unwrap_or(name)
                .split('/')
                .any(|part| part.eq_ignore_ascii_case(trace))
        };
        if pieces.iter().any(|piece| there(&piece)) {
            signs.push(format!("'{trace}' was made on it"));
        }
    }
    if let Some(day) = newest(&partition, &pieces)
        && day >= dos_date(record.written)
    {
        let (year, month, day) = (1980 + (day >> 9), day >> 5 & 15, day & 31);
        signs.push(format!(
            "files on it were read or written on {year}-{month:02}-{day:02}"
        ));
    }
    EspSigns {
        extent: Some(extent),
        files_intact: !record.esp.is_empty() && record.esp.iter().all(intact),
        signs,
    }
}

/// SHA-256 of a file, by its clusters.
fn digest(partition: &dyn ReadAt, pieces: &[Piece], file: &EspFile) -> Option<[u8; 32]> {
    if file.size > LONGEST {
        return None;
    }
    let mut left = file.size;
    let mut digest = Sha256::new();
    let path = file.path.trim_start_matches('/');
    let own = |name: &str| name.trim_start_matches('/').eq_ignore_ascii_case(path);
    for (extent, _) in pieces.iter().filter(|(_, name)| own(name)) {
        let len = extent.len.min(left);
        digest.update(partition.read_vec(extent.at, len.index()?).ok()?);
        left = left - len;
    }
    (left == Bytes::ZERO).then(|| digest.finalize().into())
}

/// Whether the volume says that it is mounted, or was not unmounted.
fn marked(partition: &dyn ReadAt) -> bool {
    let Ok(boot) = partition.read_vec(Bytes::ZERO, 512) else {
        return false;
    };
    let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let wide = word(22) == 0;
    let state = if wide { 65 } else { 37 };
    if boot[state] & 1 != 0 {
        return true;
    }
    // FAT12 has no such bits. Its second entry is whole ones; a FAT16 begins with one that is a media byte and ones.
    let table = Bytes(word(14) * word(11));
    let Ok(head) = partition.read_vec(table, 8) else {
        return false;
    };
    if wide {
        head[3] & 0x0F == 0x0F && head[7] & 0x08 == 0
    } else {
        head[1] == 0xFF && head[2] == 0xFF && head[3] == 0x7F
    }
}

/// The newest day on which something was written or read, as FAT writes dates.
fn newest(partition: &dyn ReadAt, pieces: &[Piece]) -> Option<u16> {
    let directories = pieces
        .iter()
        .filter(|(_, name)| name.starts_with("the directory ") || name == "the root directory");
    let mut newest = None;
    for (Extent { at, len }, _) in directories {
        let len = usize::try_from(len.0.min(DIRECTORY)).ok()?;
        let Ok(bytes) = partition.read_vec(*at, len) else {
            continue;
        };
        for record in bytes.as_chunks::<32>().0 {
            match record[0] {
                0 => break,
                0xE5 => continue,
                _ if record[11] & 0x0F == 0x0F => continue,
                _ => {}
            }
            let access = u16::from_le_bytes([record[18], record[19]]);
            let write = u16::from_le_bytes([record[24], record[25]]);
            newest = newest.max(Some(access)).max(Some(write));
        }
    }
    newest
}

/// The day of a time in seconds since 1970, as FAT writes dates: years since 1980, months, days.
pub(super) fn dos_date(seconds: u64) -> u16 {
    // Civil from days: H. Hinnant's algorithm for the proleptic Gregorian calendar, for days since 0000-03-01.
    let days = seconds / 86400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = (year_of_era + era * 400 + carry)
        .saturating_sub(1980)
        .min(127);
    u16::try_from(year << 9 | month << 5 | day).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_fat_writes_them() {
        // date -u -d @…
        let date = |day: u16| (1980 + (day >> 9), day >> 5 & 15, day & 31);
        assert_eq!(date(dos_date(951_782_400)), (2000, 2, 29));
        assert_eq!(date(dos_date(1_740_000_000)), (2025, 2, 19));
        assert_eq!(date(dos_date(4_107_542_399)), (2100, 2, 28));
    }
}
