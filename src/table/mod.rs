// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition tables of an isohybrid: which one counts, what is in it, and how partitions are added behind the image.
//!
//! An isohybrid can carry three tables at once (MBR, GPT, Apple partition map). A partition that is entered in one
//! the kernel does not read does not exist, so the first question is the kernel's own: a valid GPT behind a
//! protective record, else the MBR (Linux, block/partitions/core.c `check_part`, efi.c, msdos.c).
//!
//! Rules:
//!
//! * Tables are edited as bytes, field by field. What is not named here keeps its place and its value: boot code, disk
//!   signature, entry numbers and attributes, the place and size of the GPT entry array, the Apple partition map, and
//!   a GPT that is not in force.
//! * Nothing that has an extent is ever taken for free, whatever its type says.
//! * Partitions of the image may overlap one another (isohybrids do that on purpose); new ones overlap nothing, but for
//!   the one that is laid over a file of the image ([`Table::add_with`]).
//!
//! It does not decide where partitions go (see [`crate::plan::layout`]), and it creates no table where there is none.

mod addition;
pub mod apm;
pub mod gpt;
pub mod mbr;

use serde::Serialize;
use uuid::{Uuid, uuid};

pub use self::addition::{Added, Behind, NewPartition, Space, TableError, Use};
use crate::patch::Draft;
use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

use apm::Apm;
use gpt::Gpt;
use mbr::Mbr;

/// Partitions start at multiples of this: no flash medium's erase block or allocation unit is cut in a bad place.
pub const GRAIN: Bytes = Bytes::mib(4);

/// "EFI system partition" (UEFI 2.10, table 5.7).
const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// "Linux data" (Discoverable Partitions Specification, "generic Linux data partition").
const LINUX_DATA: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// The table that the kernel uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// GUID partition table.
    Gpt,
    /// Master boot record.
    Mbr,
    /// None: the kernel would show the whole disk only.
    None,
}

/// What a partition is for, as its table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// GPT: the type GUID.
    Gpt(Uuid),
    /// MBR: the type byte. Isohybrids have partitions of type 0x00.
    Mbr(u8),
}

/// A partition as the kernel will see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// The number in its device name: the GPT entry or MBR slot counted from 1, from 5 on for logical ones.
    pub number: u32,
    /// Where it is.
    pub extent: Extent,
    /// Its type.
    pub kind: Kind,
    /// GPT: its name, with control characters replaced.
    pub name: Option<String>,
    /// GPT: its own GUID.
    pub unique: Option<Uuid>,
    /// GPT: attribute bits (UEFI 2.10, table 5.8).
    pub attributes: u64,
    /// MBR: whether the boot indicator is 0x80.
    pub active: bool,
}

/// The partition tables of an image, and what the kernel makes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Which table counts.
    pub scheme: Scheme,
    /// Why none counts, if none does.
    pub why_none: Option<String>,
    /// The partitions of the table that counts.
    pub partitions: Vec<Partition>,
    /// A sound GPT, whether it counts or not.
    pub gpt: Option<Gpt>,
    /// The first sector, if it ends in 0x55 0xAA.
    pub mbr: Option<Mbr>,
    /// An Apple partition map.
    pub apm: Option<Apm>,
}

impl Table {
    /// Reads the tables of `image`. A damaged table is no error: the kernel then uses another one or none, and
    /// [`Table::why_none`] says so. An error is an unreadable image, an entry in force that ends before it starts,
    /// and a chain of logical partitions that loops or leaves the image.
    pub fn read(image: &dyn ReadAt) -> Result<Table, ReadError> {
        let mut table = Table {
            scheme: Scheme::None,
            why_none: None,
            partitions: Vec::new(),
            gpt: None,
            mbr: Mbr::read(image)?,
            apm: Apm::read(image)?,
        };
        let gpt = match Gpt::read(image) {
            Ok(gpt) => Ok(gpt),
            Err(damage @ ReadError::Malformed { .. }) => Err(damage.to_string()),
            Err(failure) => return Err(failure),
        };
        let decided = match &table.mbr {
            None => Err("the first sector does not end in 0x55 0xaa".to_owned()),
            Some(mbr) if mbr.is_protective() => match &gpt {
                Ok(gpt) => Ok((Scheme::Gpt, gpt.partitions(image)?)),
                Err(damage) => Err(damage.clone()),
            },
            Some(mbr) => match mbr.refusal() {
                None => Ok((Scheme::Mbr, mbr.partitions(image)?)),
                Some(why) => Err(why.to_owned()),
            },
        };
        match decided {
            Ok((scheme, partitions)) => {
                table.scheme = scheme;
                table.partitions = partitions;
            }
            Err(why) => table.why_none = Some(why),
        }
        table.gpt = gpt.ok();
        Ok(table)
    }

    /// The partitions, in the order of the table.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The EFI system partition that firmware starts from: GPT type C12A7328-…, or MBR type 0xEF (UEFI 2.10,
    /// 13.3.1 and 5.2.2).
    pub fn esp(&self) -> Option<&Partition> {
        let is_esp = |kind| matches!(kind, Kind::Mbr(0xEF)) || kind == Kind::Gpt(ESP);
        self.partitions.iter().find(|p| is_esp(p.kind))
    }

    /// Whether a PC's BIOS would start the image from a stick: boot code, 0x55 0xAA, and a record with an extent
    /// (some firmwares look for one).
    pub fn boots_bios(&self) -> bool {
        let has_extent = |mbr: &Mbr| mbr.slots.iter().any(|slot| slot.sectors.0 > 0);
        self.mbr
            .as_ref()
            .is_some_and(|mbr| mbr.boot_code && has_extent(mbr))
    }

    /// Whether UEFI firmware would find an EFI system partition on a stick.
    pub fn boots_uefi(&self) -> bool {
        self.esp().is_some()
    }

    /// Whether a PC would start the image from a stick, by BIOS or UEFI.
    pub fn is_isohybrid(&self) -> bool {
        self.boots_bios() || self.boots_uefi()
    }

    /// The end of the last partition.
    pub fn end(&self) -> Bytes {
        let ends = self.partitions.iter().map(|p| p.extent.end());
        ends.max().unwrap_or_default()
    }

    /// Where `count` partitions may be added on a medium of `medium` bytes that begins with an image of `image`
    /// bytes.
    ///
    /// Errors: no table, or not enough room in it for that many.
    pub fn space(&self, image: Bytes, medium: Bytes, count: usize) -> Result<Space, TableError> {
        let (to, gaps) = match (self.scheme, &self.gpt, &self.mbr) {
            (Scheme::Gpt, Some(gpt), _) => (gpt.usable_end(medium)?, vec![Bytes::ZERO; count]),
            (Scheme::Mbr, _, Some(mbr)) => (medium.min(mbr::LIMIT), mbr.gaps(count)?),
            _ => return Err(self.no_table()),
        };
        Ok(Space {
            from: image.max(self.end()),
            to,
            gaps,
        })
    }

    /// The same for `count` partitions behind the image that come with one inside it ([`Table::add_with`]): that one
    /// takes an entry, and no room.
    pub fn space_with(
        &self,
        image: Bytes,
        medium: Bytes,
        count: usize,
    ) -> Result<Space, TableError> {
        let mut space = self.space(image, medium, count + 1)?;
        if let (Scheme::Mbr, Some(mbr)) = (self.scheme, &self.mbr) {
            mbr.need_slot_inside(count)?;
        }
        space.gaps.remove(0);
        Ok(space)
    }

    /// Whether `count` partitions can be entered in the table that counts, on the `image` this table was read from,
    /// each with an entry of its own (no logical ones).
    pub fn takes(&self, image: &dyn ReadAt, count: usize) -> Result<bool, TableError> {
        match (self.scheme, &self.gpt, &self.mbr) {
            (Scheme::Gpt, Some(gpt), _) => Ok(gpt.takes(image, count)?),
            (Scheme::Mbr, _, Some(mbr)) => Ok(mbr.takes(count)),
            _ => Err(self.no_table()),
        }
    }

    /// Enters `new` partitions in the table that counts, on a `draft` of the image this table was read from, for a
    /// medium of `medium` bytes. Without new partitions, a GPT is fitted to the medium and an MBR stays as it is.
    ///
    /// To be called once per draft: what goes behind the image is not in the draft.
    pub fn add(
        &self,
        draft: &mut Draft<'_>,
        medium: Bytes,
        new: &[NewPartition],
    ) -> Result<Added, TableError> {
        let space = self.space(ReadAt::len(draft), medium, new.len())?;
        self.check(&space, new)?;
        self.enter(draft, medium, new, false)
    }

    /// The same, with one more partition before those: `inside` lies over a file of the image, and so over the image's
    /// own partition, if there is one. The kernel takes such an entry (Linux, `block/partitions/core.c`, which asks for
    /// no order and no distance; seen with 6.1); partx(8) and the ioctl `BLKPG` do not. In an MBR it gets a slot of its
    /// own, and the disk a new signature, so that its PARTUUID is this medium's alone.
    ///
    /// Errors: as [`Table::add`]; and a place that is not inside the image, or that cuts another partition.
    pub fn add_with(
        &self,
        draft: &mut Draft<'_>,
        medium: Bytes,
        inside: &NewPartition,
        new: &[NewPartition],
    ) -> Result<Added, TableError> {
        let image = ReadAt::len(draft);
        let space = self.space_with(image, medium, new.len())?;
        let extent = inside.extent;
        let misplaced = |why| Err(TableError::Misplaced { extent, why });
        if extent.at.to_sector().is_none()
            || extent.len.to_sector().is_none()
            || extent.len == Bytes::ZERO
        {
            return misplaced("it is not made of whole sectors");
        }
        if extent
            .at
            .checked_add(extent.len)
            .is_none_or(|end| end > image)
        {
            return misplaced("it is not inside the image");
        }
        let cut = |other: &&Partition| {
            let other = other.extent;
            other.len > Bytes::ZERO && other.overlaps(extent) && !other.contains(extent)
        };
        if self.partitions.iter().any(|other| cut(&other)) {
            return misplaced("another partition of the image begins or ends in it");
        }
        self.check(&space, new)?;
        let mut all = vec![inside.clone()];
        all.extend_from_slice(new);
        self.enter(draft, medium, &all, true)
    }

    /// Whether `new` lies where `space` is.
    fn check(&self, space: &Space, new: &[NewPartition]) -> Result<(), TableError> {
        let mut free = space.from;
        for (partition, gap) in new.iter().zip(&space.gaps) {
            let extent = partition.extent;
            let misplaced = |why| Err(TableError::Misplaced { extent, why });
            if extent.at.to_sector().is_none() || extent.len.to_sector().is_none() {
                return misplaced("it does not start and end with a sector");
            }
            if extent.len == Bytes::ZERO {
                return misplaced("it is empty");
            }
            if extent.at.saturating_sub(*gap) < free || extent.at < *gap {
                return misplaced(
                    "that is not behind the image and the partitions before it, with room for a boot record where one \
                     is needed",
                );
            }
            if self.scheme == Scheme::Mbr && extent.end() > mbr::LIMIT {
                let (end, limit) = (extent.end(), mbr::LIMIT);
                return Err(TableError::TooLarge { end, limit });
            }
            if extent.end() > space.to {
                return misplaced("it would end behind what the medium has for partitions");
            }
            free = extent.end();
        }
        Ok(())
    }

    /// Enters partitions whose places were checked. `sign`: the disk gets a signature of its own.
    fn enter(
        &self,
        draft: &mut Draft<'_>,
        medium: Bytes,
        new: &[NewPartition],
        sign: bool,
    ) -> Result<Added, TableError> {
        match (self.scheme, &self.gpt, &self.mbr) {
            (Scheme::Gpt, Some(gpt), Some(mbr)) => {
                let added = gpt.add(draft, medium, new)?;
                mbr.protect(draft, medium)?;
                Ok(added)
            }
            (Scheme::Mbr, _, Some(mbr)) => mbr.add(draft, new, sign),
            _ => Err(self.no_table()),
        }
    }

    fn no_table(&self) -> TableError {
        let why = self.why_none.clone().unwrap_or_default();
        TableError::NoTable { why }
    }
}

/// The little-endian number of 4 bytes at `at`; zero beyond the end.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_le_bytes)
}

/// The little-endian number of 8 bytes at `at`; zero beyond the end.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes
        .get(at..at + 8)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_le_bytes)
}

/// Puts `field` at `at`; the caller's buffer has the room.
fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}

#[cfg(test)]
mod tests;
