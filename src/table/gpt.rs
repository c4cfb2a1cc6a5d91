// SPDX-License-Identifier: MIT OR Apache-2.0
//! GUID partition table: read as the kernel reads it, entries added, the backup moved to the end of the medium.
//!
//! Rules:
//!
//! * The primary header stays at LBA 1 and the primary array where it is: xorriso puts it behind an Apple partition
//!   map, at LBA 12 or 20, with 176 to 248 entries.
//! * Used entries keep number, bytes and attributes; new ones get the numbers behind the last used one.
//! * The backup array is a copy of the primary's bytes, at the end of the medium.
//!
//! The backup that the image brought along stays where it was, inside the image: nothing points to it any more, and
//! the fewer bytes differ, the better.
//!
//! Source: UEFI 2.10, 5.3 (tables 5.5 and 5.6); which tables are believed: Linux, block/partitions/efi.c
//! `is_gpt_valid`.

use serde::Serialize;
use uuid::Uuid;

use super::{Added, Behind, Kind, LINUX_DATA, NewPartition, Partition, TableError, Use};
use super::{put, u32_at, u64_at};
use crate::patch::{Draft, Why};
use crate::read::{ReadAt, ReadError};
use crate::record::place::GPT_TYPE;
use crate::units::{Bytes, Extent, Sector};

/// Where the primary header is: LBA 1.
const HEADER: Bytes = Bytes(512);
const SECTOR: usize = 512;
/// The smallest header, and the size of an entry that the kernel insists on.
const HEADER_SIZE: usize = 92;
const ENTRY: usize = 128;
/// The kernel allocates no larger array (KMALLOC_MAX_SIZE with 4 KiB pages is 4 MiB).
const MOST_ENTRIES: u32 = 32768;
/// The kernel reads no more entries (block/partitions/check.h `parsed_partitions.limit`, DISK_MAX_PARTS less one).
const SEEN_ENTRIES: u32 = 255;
/// Sectors to reserve for an array however few entries it has: 16 KiB (UEFI 2.10, 5.3.1).
const LEAST_RESERVED: u64 = 32;

/// Attributes of a new partition: bit 63, "no automount" to systemd-gpt-auto-generator and systemd-dissect
/// (Discoverable Partitions Specification, "Partition Attribute Flags"). The type "Linux data" alone keeps the
/// generator off; the bit also keeps a sole Linux data partition from being taken for the root of an image.
/// What mounts the partitions is the boot arguments, which name filesystems.
const NO_AUTO: u64 = 1 << 63;

/// Facts about a GPT whose header and array are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gpt {
    /// The disk's GUID.
    pub disk: Uuid,
    /// Where the primary entry array starts.
    pub array: Sector,
    /// How many entries it has, used or not.
    pub entries: u32,
    /// The first sector that partitions may use.
    pub first_usable: Sector,
    /// The last sector that partitions may use.
    pub last_usable: Sector,
    /// Where the header says the backup is.
    pub backup: Sector,
    /// Length of the header that the checksum covers.
    #[serde(skip)]
    header_size: usize,
}

impl Gpt {
    /// Reads and checks the primary header and array, by the kernel's criteria; only that the usable range ends
    /// inside the disk is left out, because the disk is not the image.
    ///
    /// Errors: [`ReadError::Malformed`] if there is none that the kernel would believe.
    pub fn read(image: &dyn ReadAt) -> Result<Gpt, ReadError> {
        let wrong = |why: String| Err(ReadError::malformed("GPT header", HEADER, why));
        if image.len() < HEADER + Bytes(SECTOR as u64) {
            return wrong("the image ends before it".to_owned());
        }
        let mut header = image.read_vec(HEADER, SECTOR)?;
        if !header.starts_with(b"EFI PART") {
            return wrong("it does not start with \"EFI PART\"".to_owned());
        }
        let size = u32_at(&header, 12);
        let header_size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(HEADER_SIZE..=SECTOR).contains(&header_size) {
            return wrong(format!("its size is given as {size} bytes"));
        }
        let stated = u32_at(&header, 16);
        seal(&mut header, header_size);
        if u32_at(&header, 16) != stated {
            return wrong("its checksum is wrong".to_owned());
        }
        if u64_at(&header, 24) != 1 {
            return wrong("it says it is elsewhere".to_owned());
        }
        let gpt = Gpt {
            disk: guid_at(&header, 56),
            array: Sector(u64_at(&header, 72)),
            entries: u32_at(&header, 80),
            first_usable: Sector(u64_at(&header, 40)),
            last_usable: Sector(u64_at(&header, 48)),
            backup: Sector(u64_at(&header, 32)),
            header_size,
        };
        if gpt.last_usable < gpt.first_usable {
            return wrong("its usable range ends before it starts".to_owned());
        }
        let entry = u32_at(&header, 84);
        if usize::try_from(entry) != Ok(ENTRY) {
            return wrong(format!("its entries are given as {entry} bytes"));
        }
        if gpt.entries == 0 || gpt.entries > MOST_ENTRIES {
            return wrong(format!("it is said to have {} entries", gpt.entries));
        }
        let end = Extent {
            at: gpt.array.bytes(),
            len: Bytes(gpt.array_len() as u64),
        }
        .end();
        if gpt.array.0 < 2 || end > image.len() {
            return wrong(format!("its entries are said to be at LBA {}", gpt.array));
        }
        if crc32fast::hash(&gpt.array_bytes(image)?) != u32_at(&header, 88) {
            return wrong("the checksum of its entries is wrong".to_owned());
        }
        Ok(gpt)
    }

    /// The used entries that the kernel reads.
    pub(super) fn partitions(&self, image: &dyn ReadAt) -> Result<Vec<Partition>, ReadError> {
        let array = self.array_bytes(image)?;
        let used = array.chunks_exact(ENTRY).zip(1..=SEEN_ENTRIES);
        used.filter(|(entry, _)| is_used(entry))
            .map(|(entry, number)| {
                let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
                let sectors = last.checked_sub(first).and_then(|len| len.checked_add(1));
                let Some(sectors) = sectors else {
                    return Err(ReadError::malformed(
                        "GPT entry",
                        self.array.bytes() + Bytes(u64::from(number - 1) * ENTRY as u64),
                        format!("it runs from sector {first} to {last}"),
                    ));
                };
                Ok(Partition {
                    number,
                    extent: Extent {
                        at: Sector(first).bytes(),
                        len: Sector(sectors).bytes(),
                    },
                    kind: Kind::Gpt(guid_at(entry, 0)),
                    name: Some(name(&entry[56..])),
                    unique: Some(guid_at(entry, 16)),
                    attributes: u64_at(entry, 48),
                    active: false,
                })
            })
            .collect()
    }

    /// The first byte behind the partitions on a medium of that size: there the backup array starts.
    pub(super) fn usable_end(&self, medium: Bytes) -> Result<Bytes, TableError> {
        let tail = Sector(self.reserved() + 1).bytes();
        let end = medium.align_down(Sector(1).bytes());
        // One sector at least that may be used, wherever the first of them is said to be.
        let least = self.first_usable.bytes() + Sector(1).bytes() + tail;
        if end < least {
            let (need, have) = (least, medium);
            return Err(TableError::MediumTooSmall { need, have });
        }
        Ok(end - tail)
    }

    /// Whether that many entries are free behind the last used one.
    pub(super) fn takes(&self, image: &dyn ReadAt, count: usize) -> Result<bool, ReadError> {
        let array = self.array_bytes(image)?;
        let seen = array.chunks_exact(ENTRY).take(SEEN_ENTRIES as usize);
        Ok(seen.rev().take_while(|entry| !is_used(entry)).count() >= count)
    }

    /// Enters the partitions, and fits header and backup to the medium. Places were checked by the caller.
    pub(super) fn add(
        &self,
        draft: &mut Draft<'_>,
        medium: Bytes,
        new: &[NewPartition],
    ) -> Result<Added, TableError> {
        let usable_end = self.usable_end(medium)?;
        let image = ReadAt::len(draft);
        if usable_end < image {
            let (need, have) = (medium + (image - usable_end), medium);
            return Err(TableError::MediumTooSmall { need, have });
        }
        let why = Why::PartitionTable;
        let mut array = self.array_bytes(draft)?;
        let seen = array.chunks_exact(ENTRY).zip(1..);
        let last = seen.filter(|(entry, _)| is_used(entry)).last();
        let last: u32 = last.map_or(0, |(_, number)| number);
        let entries = self.entries.min(SEEN_ENTRIES);
        let numbers: Vec<u32> = (last + 1..=entries).take(new.len()).collect();
        if numbers.len() < new.len() {
            let asked = new.len();
            return Err(TableError::ArrayFull {
                entries,
                last,
                asked,
            });
        }
        // All of them before the first is written: a refusal leaves the draft as it was.
        let new_entries: Vec<_> = new.iter().map(entry).collect::<Result<_, _>>()?;
        for (entry, number) in new_entries.iter().zip(&numbers) {
            let offset = (*number as usize - 1) * ENTRY;
            put(&mut array, offset, entry);
            draft.write(self.array.bytes() + Bytes(offset as u64), entry, &why)?;
        }

        // The usable end is a multiple of a sector, and at least one sector.
        let backup_array = Sector(usable_end.0 / 512);
        let backup = Sector(backup_array.0 + self.reserved());
        let mut header = draft.read_vec(HEADER, SECTOR)?;
        put(&mut header, 32, &backup.0.to_le_bytes());
        put(&mut header, 48, &(backup_array.0 - 1).to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&array).to_le_bytes());
        seal(&mut header, self.header_size);
        draft.write(HEADER, &header, &why)?;

        put(&mut header, 24, &backup.0.to_le_bytes());
        put(&mut header, 32, &1_u64.to_le_bytes());
        put(&mut header, 72, &backup_array.0.to_le_bytes());
        seal(&mut header, self.header_size);
        let reserved = Sector(self.reserved()).bytes().index().unwrap_or(0);
        array.resize(reserved.max(array.len()), 0);
        array.extend_from_slice(&header);
        Ok(Added {
            numbers,
            behind: vec![Behind {
                at: usable_end,
                bytes: array,
                what: "backup of the GPT",
            }],
            partuuids: new.iter().map(|p| p.unique.to_string()).collect(),
        })
    }

    /// Bytes of the array; at most 4 MiB, see [`Gpt::read`].
    fn array_len(&self) -> usize {
        usize::try_from(self.entries).unwrap_or(0) * ENTRY
    }

    fn array_bytes(&self, image: &dyn ReadAt) -> Result<Vec<u8>, ReadError> {
        image.read_vec(self.array.bytes(), self.array_len())
    }

    /// Sectors that the backup array gets.
    fn reserved(&self) -> u64 {
        (self.array_len() as u64).div_ceil(512).max(LEAST_RESERVED)
    }
}

/// Computes the header's checksum: over its size, with the field itself zero (UEFI 2.10, table 5.5).
fn seal(header: &mut [u8], size: usize) {
    put(header, 16, &[0; 4]);
    let sum = crc32fast::hash(header.get(..size).unwrap_or_default());
    put(header, 16, &sum.to_le_bytes());
}

/// Whether the entry has a type: what is free is decided by that alone (UEFI 2.10, table 5.6).
fn is_used(entry: &[u8]) -> bool {
    entry[..16].iter().any(|byte| *byte != 0)
}

/// The entry of a new partition.
fn entry(new: &NewPartition) -> Result<[u8; ENTRY], TableError> {
    let kind = match new.what {
        Use::LinuxData => LINUX_DATA,
        Use::Record => GPT_TYPE,
    };
    let (first, end) = (new.extent.at.0 / 512, new.extent.end().0 / 512);
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, &kind.to_bytes_le());
    put(&mut entry, 16, &new.unique.to_bytes_le());
    put(&mut entry, 32, &first.to_le_bytes());
    put(&mut entry, 40, &end.saturating_sub(1).to_le_bytes());
    put(&mut entry, 48, &NO_AUTO.to_le_bytes());
    let units: Vec<u16> = new.name.encode_utf16().collect();
    if units.len() > 36 {
        let name = new.name.clone();
        return Err(TableError::NameTooLong { name });
    }
    for (i, unit) in units.iter().enumerate() {
        put(&mut entry, 56 + 2 * i, &unit.to_le_bytes());
    }
    Ok(entry)
}

/// The name field up to its NUL, fit to be shown on a terminal.
fn name(field: &[u8]) -> String {
    let units = field
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    String::from_utf16_lossy(&units)
        .chars()
        .map(shown)
        .collect()
}

/// A GUID, whose first three fields are little-endian (UEFI 2.10, appendix A).
fn guid_at(bytes: &[u8], at: usize) -> Uuid {
    let field = bytes
        .get(at..at + 16)
        .and_then(|field| field.try_into().ok());
    field.map_or(Uuid::nil(), Uuid::from_bytes_le)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::table::{Scheme, Table};

    /// 64 KiB with a protective record and a GPT of `count` entries at LBA 4, the used ones (first and last sector) at
    /// the beginning.
    pub fn image(count: u32, used: &[(u64, u64)]) -> Vec<u8> {
        let mut image = vec![0; 65536];
        image[450] = 0xEE;
        image[454] = 1;
        put(&mut image, 458, &127_u32.to_le_bytes());
        put(&mut image, 510, &[0x55, 0xAA]);
        for (i, (first, last)) in used.iter().enumerate() {
            let at = 2048 + i * ENTRY;
            put(&mut image, at, &LINUX_DATA.to_bytes_le());
            put(&mut image, at + 32, &first.to_le_bytes());
            put(&mut image, at + 40, &last.to_le_bytes());
        }
        let header = [(24, 1_u64), (32, 127), (40, 64), (48, 100), (72, 4)];
        put(&mut image, 512, b"EFI PART\0\0\x01\0");
        for (at, number) in header {
            put(&mut image, 512 + at, &number.to_le_bytes());
        }
        for (at, number) in [(12, 92), (80, count), (84, 128)] {
            put(&mut image, 512 + at, &number.to_le_bytes());
        }
        make_sound(&mut image);
        image
    }

    /// Makes the checksums right, whatever the fields say.
    pub fn make_sound(image: &mut [u8]) {
        let at = Sector(u64_at(image, 512 + 72)).bytes().index().unwrap();
        let len = u32_at(image, 512 + 80) as usize * ENTRY;
        let array = at.checked_add(len).and_then(|end| image.get(at..end));
        let sum = array.map_or(0, crc32fast::hash);
        put(image, 512 + 88, &sum.to_le_bytes());
        let size = u32_at(image, 512 + 12) as usize;
        seal(&mut image[512..1024], size);
    }

    type Damage = fn(&mut Vec<u8>);

    #[test]
    fn a_damaged_gpt_is_none_and_the_reason_is_told() {
        assert_eq!(
            Table::read(&image(128, &[(70, 80)])).unwrap().scheme,
            Scheme::Gpt
        );
        let cases: [(&str, bool, Damage); 11] = [
            ("\"EFI PART\"", true, |i| i[512] = 0),
            ("size is given as 91", true, |i| i[512 + 12] = 91),
            ("size is given as 4294967295", true, |i| {
                put(i, 512 + 12, &[0xFF; 4]);
            }),
            ("its checksum", false, |i| i[512 + 60] ^= 1),
            ("elsewhere", true, |i| i[512 + 24] = 2),
            ("usable range", true, |i| i[512 + 48] = 63),
            ("entries are given as 256 bytes", true, |i| {
                put(i, 512 + 84, &256_u32.to_le_bytes());
            }),
            ("4294967295 entries", true, |i| put(i, 512 + 80, &[0xFF; 4])),
            ("0 entries", true, |i| put(i, 512 + 80, &[0; 4])),
            ("said to be at LBA 1", true, |i| i[512 + 72] = 1),
            ("checksum of its entries", false, |i| i[2048 + 33] ^= 1),
        ];
        for (told, sound, damage) in cases {
            let mut image = image(128, &[(70, 80)]);
            damage(&mut image);
            if sound {
                make_sound(&mut image);
            }
            let table = Table::read(&image).unwrap();
            assert_eq!(table.scheme, Scheme::None, "{told}");
            let why = table.why_none.unwrap();
            assert!(why.contains(told), "{why}");
        }
        let mut cut = image(128, &[]);
        cut.truncate(8192);
        assert_eq!(Table::read(&cut).unwrap().scheme, Scheme::None);
    }

    #[test]
    fn an_entry_that_ends_before_it_starts_is_an_error() {
        let refused = Table::read(&image(128, &[(70, 80), (90, 89)])).unwrap_err();
        let text = refused.to_string();
        assert!(text.starts_with("GPT entry at byte 2176"), "{text}");
        let widest = Table::read(&image(128, &[(0, u64::MAX)]));
        assert!(widest.is_err());
        let beyond = Table::read(&image(128, &[(1 << 62, (1 << 62) + 9)])).unwrap();
        assert!(beyond.space(Bytes(65536), Bytes::mib(64), 1).unwrap().from > Bytes::mib(64));
    }

    #[test]
    fn names_are_fit_for_a_terminal() {
        let field: Vec<u8> = "a\x1b[31mü\0rubbish"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(name(&field), "a\u{fffd}[31mü");
        assert_eq!(name(&[0x00, 0xD8]), "\u{fffd}");
    }
}
