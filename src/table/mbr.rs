// SPDX-License-Identifier: MIT OR Apache-2.0
//! Master boot record: read as the kernel reads it, partitions entered in free slots, as logical ones if those run out.
//!
//! Rules:
//!
//! * A slot is free only if it has neither a type nor sectors: on isohybrids the partition that holds the whole image
//!   has type 0x00.
//! * Boot code, disk signature and used slots keep their bytes. Only a signature of zero is replaced, because without
//!   one udev knows no PARTUUID.
//! * Each logical partition has its boot record 4 MiB before it, in a gap that is its own, so that it is aligned.
//!
//! Cylinders, heads and sectors of new records say "beyond" (1023/254/63), as is done for anything behind 8 GB.
//!
//! Source: Linux, block/partitions/msdos.c `msdos_partition` and `parse_extended`; UEFI 2.10, 5.2.1 and 5.2.3.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Added, Behind, GRAIN, Kind, NewPartition, Partition, TableError, Use};
use super::{put, u32_at};
use crate::patch::{Draft, Why};
use crate::read::{ReadAt, ReadError};
use crate::record::place::MBR_TYPE;
use crate::units::{Bytes, Extent, Sector};

const SECTOR: usize = 512;
/// Where the disk signature is.
const SIGNATURE: usize = 440;
/// Where the four records are, and how long each is.
const RECORDS: usize = 446;
const RECORD: usize = 16;
/// The end of what 32-bit sector numbers reach.
pub(super) const LIMIT: Bytes = Bytes(512 << 32);
/// Type of the record that protects a GPT.
const PROTECTIVE: u8 = 0xEE;
/// Links that the chain of logical partitions may have: more than the kernel has partition numbers.
const MOST_LINKS: usize = 256;

/// A record of the MBR, or of a logical partition's boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// The boot indicator: 0x80 if active, else 0.
    pub indicator: u8,
    /// The type byte.
    pub kind: u8,
    /// The first sector.
    pub start: Sector,
    /// How many sectors.
    pub sectors: Sector,
}

/// Facts about a first sector that ends in 0x55 0xAA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mbr {
    /// The disk signature: the first half of the PARTUUIDs.
    pub signature: u32,
    /// Whether there is boot code: a byte that is not zero before the signature.
    pub boot_code: bool,
    /// The four records.
    pub slots: [Slot; 4],
}

impl Slot {
    /// Whether a partition may be entered here.
    pub fn is_free(self) -> bool {
        self.kind == 0 && self.sectors == Sector(0)
    }

    /// Whether it is a partition that holds logical ones (DOS, Windows 95 with LBA, Linux).
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0F | 0x85) && self.sectors > Sector(0)
    }

    fn read(record: &[u8]) -> Slot {
        Slot {
            indicator: record[0],
            kind: record[4],
            start: Sector(u32_at(record, 8).into()),
            sectors: Sector(u32_at(record, 12).into()),
        }
    }

    fn to_bytes(self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[0] = self.indicator;
        put(&mut record, 1, &[0xFE, 0xFF, 0xFF]);
        record[4] = self.kind;
        put(&mut record, 5, &[0xFE, 0xFF, 0xFF]);
        // Every extent was checked against LIMIT, so neither number is cut.
        put(&mut record, 8, &self.start.0.to_le_bytes()[..4]);
        put(&mut record, 12, &self.sectors.0.to_le_bytes()[..4]);
        record
    }

    /// A record for `extent`, counted from sector `base`.
    fn for_extent(kind: u8, extent: Extent, base: Sector) -> Slot {
        Slot {
            indicator: 0,
            kind,
            start: Sector((extent.at.0 / 512).saturating_sub(base.0)),
            sectors: Sector(extent.len.0 / 512),
        }
    }

    fn partition(self, number: u32, base: Sector) -> Partition {
        Partition {
            number,
            extent: Extent {
                at: Sector(base.0 + self.start.0).bytes(),
                len: self.sectors.bytes(),
            },
            kind: Kind::Mbr(self.kind),
            name: None,
            unique: None,
            attributes: 0,
            active: self.indicator == 0x80,
        }
    }
}

impl Mbr {
    /// Reads the first sector; `None` if it does not end in 0x55 0xAA.
    pub fn read(image: &dyn ReadAt) -> Result<Option<Mbr>, ReadError> {
        if image.len() < Bytes(SECTOR as u64) {
            return Ok(None);
        }
        let sector = image.read_vec(Bytes::ZERO, SECTOR)?;
        Ok(slots(&sector).map(|slots| Mbr {
            signature: u32_at(&sector, SIGNATURE),
            boot_code: sector[..SIGNATURE].iter().any(|byte| *byte != 0),
            slots,
        }))
    }

    /// Whether the kernel looks for a GPT: a record of type 0xEE starts at LBA 1 (Linux, block/partitions/efi.c
    /// `is_pmbr_valid`).
    pub fn is_protective(&self) -> bool {
        self.protective().is_some()
    }

    /// Why the kernel would not use this as a partition table.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        if self.slots.iter().any(|slot| slot.kind == PROTECTIVE) {
            return Some("the MBR's record of type 0xee does not start at LBA 1");
        }
        let strange = |slot: &Slot| slot.indicator & 0x7F != 0;
        let why = "the first sector is a boot sector without a partition table";
        self.slots.iter().any(strange).then_some(why)
    }

    /// The partitions: the slots with an extent, whatever their type, then the logical ones.
    pub(super) fn partitions(&self, image: &dyn ReadAt) -> Result<Vec<Partition>, ReadError> {
        let used = self.slots.iter().zip(1..).filter(|(s, _)| s.sectors.0 > 0);
        let mut all: Vec<Partition> = used.map(|(s, n)| s.partition(n, Sector(0))).collect();
        for extended in self.slots.iter().filter(|slot| slot.is_extended()) {
            logical(image, extended.start, &mut all)?;
        }
        Ok(all)
    }

    /// What must stay free before each of `count` new partitions.
    pub(super) fn gaps(&self, count: usize) -> Result<Vec<Bytes>, TableError> {
        let primary = self.primary(count)?;
        let gap = |index| if index < primary { Bytes::ZERO } else { GRAIN };
        Ok((0..count).map(gap).collect())
    }

    /// Refuses `count` partitions behind the image and one inside it, if that one gets no slot of its own.
    pub(super) fn need_slot_inside(&self, count: usize) -> Result<(), TableError> {
        if self.primary(count + 1)? > 0 {
            return Ok(());
        }
        let taken = 4 - self.slots.iter().filter(|slot| slot.is_free()).count();
        Err(TableError::NoFreeSlot {
            taken,
            asked: count + 1,
        })
    }

    /// Whether that many partitions get a slot of their own.
    pub(super) fn takes(&self, count: usize) -> bool {
        self.slots.iter().filter(|slot| slot.is_free()).count() >= count
    }

    /// How many of `count` new partitions get a slot of their own. The others are logical ones, in the slot after.
    fn primary(&self, count: usize) -> Result<usize, TableError> {
        let free = self.slots.iter().filter(|slot| slot.is_free()).count();
        if count <= free {
            return Ok(count);
        }
        if free == 0 || self.slots.iter().any(|slot| slot.is_extended()) {
            let (taken, asked) = (4 - free, count);
            return Err(TableError::NoFreeSlot { taken, asked });
        }
        Ok(free - 1)
    }

    /// Enters the partitions. Places were checked by the caller. `sign`: the disk gets a new signature.
    pub(super) fn add(
        &self,
        draft: &mut Draft<'_>,
        new: &[NewPartition],
        sign: bool,
    ) -> Result<Added, TableError> {
        let why = Why::PartitionTable;
        let (primary, logical) = new.split_at(self.primary(new.len())?);
        let mut records: Vec<Slot> = Vec::new();
        for partition in primary {
            let kind = kind(partition.what);
            records.push(Slot::for_extent(kind, partition.extent, Sector(0)));
        }
        let mut behind = Vec::new();
        if let (Some(first), Some(last)) = (logical.first(), logical.last()) {
            let at = first.extent.at - GRAIN;
            let len = last.extent.end() - at;
            // 0x0F: extended, by LBA.
            records.push(Slot::for_extent(0x0F, Extent { at, len }, Sector(0)));
            behind = chain(logical);
        }
        let free = self.slots.iter().zip(1_u32..).filter(|(s, _)| s.is_free());
        let mut numbers = Vec::new();
        for ((_, number), record) in free.zip(&records) {
            let at = Bytes(RECORDS as u64 + RECORD as u64 * u64::from(number - 1));
            draft.write(at, &record.to_bytes(), &why)?;
            numbers.push(number);
        }
        numbers.truncate(primary.len());
        numbers.extend((5..).take(logical.len()));

        let mut signature = self.signature;
        if let Some(first) = new.first().filter(|_| sign || signature == 0) {
            signature = first.unique.as_fields().0.max(1);
            draft.write(Bytes(SIGNATURE as u64), &signature.to_le_bytes(), &why)?;
        }
        let partuuid = |number: &u32| format!("{signature:08x}-{number:02x}");
        Ok(Added {
            partuuids: numbers.iter().map(partuuid).collect(),
            numbers,
            behind,
        })
    }

    /// Makes the record that protects a GPT cover the medium, or as much as it can (UEFI 2.10, table 5.4). In a hybrid
    /// MBR (another record has a type; see `is_pmbr_valid`) its length is someone's choice and stays.
    pub(super) fn protect(&self, draft: &mut Draft<'_>, medium: Bytes) -> Result<(), ReadError> {
        let hybrid = |slot: &Slot| slot.kind != 0 && slot.kind != PROTECTIVE;
        let (Some(index), false) = (self.protective(), self.slots.iter().any(hybrid)) else {
            return Ok(());
        };
        let sectors = (medium.0 / 512).saturating_sub(1);
        let sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
        let at = Bytes((RECORDS + RECORD * index + 12) as u64);
        draft.write(at, &sectors.to_le_bytes(), &Why::PartitionTable)
    }

    fn protective(&self) -> Option<usize> {
        let protects = |slot: &Slot| slot.kind == PROTECTIVE && slot.start == Sector(1);
        self.slots.iter().position(protects)
    }
}

/// The four records of a sector that ends in 0x55 0xAA.
fn slots(sector: &[u8]) -> Option<[Slot; 4]> {
    let slot = |index| Slot::read(&sector[RECORDS + RECORD * index..]);
    sector
        .ends_with(&[0x55, 0xAA])
        .then(|| [0, 1, 2, 3].map(slot))
}

/// Follows the boot records of an extended partition that starts at `extended`.
fn logical(
    image: &dyn ReadAt,
    extended: Sector,
    all: &mut Vec<Partition>,
) -> Result<(), ReadError> {
    let mut seen = BTreeSet::new();
    let mut at = extended;
    loop {
        let wrong = |why: &str| {
            let what = "boot record of a logical partition";
            Err(ReadError::malformed(what, at.bytes(), why))
        };
        if at.bytes() + Bytes(SECTOR as u64) > image.len() {
            return wrong("it would lie beyond the end of the image");
        }
        if !seen.insert(at) {
            return wrong("the chain of boot records leads back to it");
        }
        if seen.len() > MOST_LINKS {
            return wrong("the chain of boot records is too long");
        }
        let Some(records) = slots(&image.read_vec(at.bytes(), SECTOR)?) else {
            return Ok(());
        };
        // The third and fourth record are not used; what is there is garbage or from OS/2.
        let data = records[..2].iter();
        for record in data.filter(|r| r.sectors.0 > 0 && !r.is_extended()) {
            let next = all.iter().map(|p| p.number + 1).max().unwrap_or(5).max(5);
            all.push(record.partition(next, at));
        }
        let Some(link) = records.iter().find(|record| record.is_extended()) else {
            return Ok(());
        };
        at = Sector(extended.0 + link.start.0);
    }
}

/// The boot records of new logical partitions: the partition counted from its record, and the next record, counted
/// from the first.
fn chain(logical: &[NewPartition]) -> Vec<Behind> {
    let base = logical.first().map_or(Bytes::ZERO, |p| p.extent.at - GRAIN);
    let base = Sector(base.0 / 512);
    let mut records = Vec::new();
    for (index, partition) in logical.iter().enumerate() {
        let at = partition.extent.at - GRAIN;
        let mut bytes = vec![0; SECTOR];
        let data = Slot::for_extent(kind(partition.what), partition.extent, Sector(at.0 / 512));
        put(&mut bytes, RECORDS, &data.to_bytes());
        if let Some(next) = logical.get(index + 1) {
            let at = next.extent.at - GRAIN;
            let len = next.extent.end() - at;
            let link = Slot::for_extent(0x05, Extent { at, len }, base);
            put(&mut bytes, RECORDS + RECORD, &link.to_bytes());
        }
        put(&mut bytes, SECTOR - 2, &[0x55, 0xAA]);
        records.push(Behind {
            at,
            bytes,
            what: "boot record of a logical partition",
        });
    }
    records
}

fn kind(what: Use) -> u8 {
    match what {
        Use::LinuxData => 0x83,
        Use::Record => MBR_TYPE,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::table::{Scheme, Table};

    /// A sector with these records (indicator, type, start, sectors).
    pub fn sector(records: &[(u8, u8, u32, u32)]) -> Vec<u8> {
        let mut sector = vec![0; SECTOR];
        for (i, (indicator, kind, start, sectors)) in records.iter().enumerate() {
            let slot = Slot {
                indicator: *indicator,
                kind: *kind,
                start: Sector((*start).into()),
                sectors: Sector((*sectors).into()),
            };
            put(&mut sector, RECORDS + RECORD * i, &slot.to_bytes());
        }
        put(&mut sector, SECTOR - 2, &[0x55, 0xAA]);
        sector
    }

    /// 64 KiB that begin with such a sector.
    pub fn sector_and(records: &[(u8, u8, u32, u32)]) -> Vec<u8> {
        let mut image = sector(records);
        put(&mut image, SIGNATURE, &0xCAFE_0001_u32.to_le_bytes());
        image.resize(65536, 0);
        image
    }

    /// 64 KiB with a primary, an extended and two logical partitions.
    pub fn chained() -> Vec<u8> {
        let mut image = vec![0; 65536];
        put(
            &mut image,
            0,
            &sector(&[(0x80, 0, 0, 128), (0, 0x0F, 64, 64)]),
        );
        put(
            &mut image,
            64 * 512,
            &sector(&[(0, 0x83, 2, 8), (0, 5, 16, 20)]),
        );
        put(&mut image, 80 * 512, &sector(&[(0, 0x83, 4, 16)]));
        image
    }

    #[test]
    fn logical_partitions_are_counted_from_five() {
        let table = Table::read(&chained()).unwrap();
        let seen: Vec<_> = table
            .partitions
            .iter()
            .map(|p| (p.number, p.extent.at.0 / 512, p.extent.len.0 / 512))
            .collect();
        assert_eq!(seen, [(1, 0, 128), (2, 64, 64), (5, 66, 8), (6, 84, 16)]);
    }

    #[test]
    fn chains_that_loop_or_leave_the_image_are_errors() {
        let mut image = chained();
        put(
            &mut image,
            80 * 512,
            &sector(&[(0, 0x83, 4, 16), (0, 5, 0, 64)]),
        );
        let text = Table::read(&image).unwrap_err().to_string();
        assert!(text.contains("leads back"), "{text}");
        put(&mut image, 80 * 512, &sector(&[(0, 5, u32::MAX, 64)]));
        let text = Table::read(&image).unwrap_err().to_string();
        assert!(text.contains("beyond the end"), "{text}");

        let mut long = vec![0; 512 * 600];
        put(&mut long, 0, &sector(&[(0, 0x0F, 1, 599)]));
        for at in 1..599_usize {
            let next = u32::try_from(at).unwrap();
            put(&mut long, at * 512, &sector(&[(0, 5, next, 1)]));
        }
        let text = Table::read(&long).unwrap_err().to_string();
        assert!(text.contains("too long"), "{text}");
    }

    #[test]
    fn tables_that_the_kernel_does_not_take() {
        let scheme = |sector: &Vec<u8>| Table::read(sector).unwrap().scheme;
        assert_eq!(scheme(&sector(&[(0, 0x83, 1, 1)])), Scheme::Mbr);
        assert_eq!(scheme(&sector(&[(0x12, 0x83, 1, 1)])), Scheme::None);
        // Of type 0xEE, but not at LBA 1: neither the GPT nor the MBR is used.
        let mut image = crate::table::gpt::tests::image(128, &[(70, 80)]);
        image[454] = 2;
        assert_eq!(scheme(&image), Scheme::None);
        image[450] = 0x83;
        let table = Table::read(&image).unwrap();
        assert_eq!(table.scheme, Scheme::Mbr);
        assert!(table.gpt.is_some());
        image[511] = 0;
        assert_eq!(scheme(&image), Scheme::None);
        assert_eq!(scheme(&vec![0; 511]), Scheme::None);
    }

    #[test]
    fn a_signature_of_zero_is_replaced_and_another_one_kept() {
        for (old, now) in [(0_u32, 0x1234_5678_u32), (0xCAFE_0001, 0xCAFE_0001)] {
            let mut image = sector(&[(0x80, 0, 0, 1)]);
            put(&mut image, SIGNATURE, &old.to_le_bytes());
            let table = Table::read(&image).unwrap();
            let mut draft = Draft::new(&image);
            let new = NewPartition {
                extent: Extent {
                    at: Bytes::mib(4),
                    len: Bytes::mib(4),
                },
                name: String::new(),
                what: Use::LinuxData,
                unique: uuid::uuid!("12345678-0000-0000-0000-000000000000"),
            };
            let added = table.add(&mut draft, Bytes::mib(8), &[new]).unwrap();
            assert_eq!(added.partuuids, [format!("{now:08x}-02")]);
            assert_eq!(Mbr::read(&draft).unwrap().unwrap().signature, now);
        }
    }
}
