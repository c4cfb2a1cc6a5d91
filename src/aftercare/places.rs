// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the places that a record tells of may be written: they are those of a stick that `write` makes, and the
//! partition table of the medium still has them.
//!
//! Rules:
//!
//! * A record is as good as whoever wrote it. Nothing is written outside the target, over the image, over the record,
//!   over what the partition table keeps behind the image, or over another part of the record.
//! * Somebody may have partitioned the stick anew behind the image, and put something of his own there. So a partition
//!   that is written to has the number, place and identifier in the table that it was given when the stick was
//!   written, and no other partition lies over it.

use crate::plan::layout::Purpose;
use crate::plan::making::Making;
use crate::read::ReadAt;
use crate::record::{Part, Record};
use crate::refusal::Refusal;
use crate::table::{Kind, Partition, Scheme, Table};
use crate::units::{Bytes, Extent};

/// What is wrong with the places in a record, for a target of `size` bytes.
pub(super) fn sound(making: &Making, record: &Record, size: Bytes) -> Result<(), &'static str> {
    let mut purposes = Vec::new();
    for filesystem in &making.filesystems {
        let purpose = filesystem.purpose;
        if !matches!(purpose, Purpose::Overlay | Purpose::Home) || purposes.contains(&purpose) {
            return Err("it has a filesystem that no stick has, or two of a kind");
        }
        purposes.push(purpose);
        let made = Part {
            purpose: purpose.to_string(),
            number: filesystem.number,
            extent: filesystem.extent,
            kind: filesystem.outside().0.into(),
            uuid: filesystem.outside().1,
            partuuid: filesystem.partuuid.clone(),
        };
        if !record.parts.contains(&made) {
            return Err("it tells of a filesystem that is none of its partitions");
        }
    }
    let sprout = making.sprout.iter();
    let parts = sprout.flat_map(|sprout| [("seed", &sprout.seed), ("sprout", &sprout.sprout)]);
    for (purpose, part) in parts {
        let same = |listed: &Part| {
            // The kernel makes up the identifier of a sprout, so that is the record's to tell.
            (listed.purpose.as_str(), listed.number) == (purpose, part.number)
                && (listed.extent, listed.kind.as_str()) == (part.extent, "btrfs")
                && listed.partuuid == part.partuuid
        };
        if !record.parts.iter().any(same) {
            return Err("it tells of a seed or a sprout that is none of its partitions");
        }
    }
    apart(making, record, size)
}

/// Whether everything that the record tells of lies inside the target, and nothing over anything else.
fn apart(making: &Making, record: &Record, size: Bytes) -> Result<(), &'static str> {
    let within = making.sprout.as_ref().is_some_and(|sprout| sprout.within);
    let mut taken = vec![
        Extent {
            at: Bytes::ZERO,
            len: record.image.size,
        },
        record.region,
    ];
    taken.extend(record.kept.iter().map(|kept| Extent {
        at: kept.at,
        len: Bytes(kept.bytes.len() as u64),
    }));
    let mut purposes = Vec::new();
    for part in &record.parts {
        if purposes.contains(&part.purpose.as_str()) {
            return Err("it has two partitions for the same");
        }
        purposes.push(&part.purpose);
        if part.purpose == "seed" && within {
            // It lies in the image, and nothing is written there.
            continue;
        }
        let Extent { at, len } = part.extent;
        let end = at.checked_add(len);
        if len == Bytes::ZERO || end.is_none_or(|end| end > size) {
            return Err("a partition of it is not inside the target");
        }
        if taken.iter().any(|other| other.overlaps(part.extent)) {
            return Err(
                "a partition of it lies over the image, the record, the partition table's backup or another partition",
            );
        }
        taken.push(part.extent);
    }
    Ok(())
}

/// Refuses a medium whose partition table has not `parts` any more. They are of a record that is [`sound`].
pub(super) fn there<'a>(
    medium: &dyn ReadAt,
    parts: impl Iterator<Item = &'a Part>,
) -> Result<(), Refusal> {
    let table = match Table::read(medium) {
        Ok(table) if table.scheme != Scheme::None => table,
        Ok(table) => {
            let why = table.why_none.unwrap_or_default();
            return Err(Refusal::Repartitioned {
                what: "it has no partition table".into(),
                why,
            });
        }
        Err(error) => {
            return Err(Refusal::Repartitioned {
                what: "its partition table cannot be read".into(),
                why: error.to_string(),
            });
        }
    };
    for part in parts {
        let what = format!("partition {} ({})", part.number, part.purpose);
        in_table(&table, part).map_err(|why| Refusal::Repartitioned { what, why })?;
    }
    Ok(())
}

/// Why a partition is not the one in the table.
fn in_table(table: &Table, part: &Part) -> Result<(), String> {
    let mut partitions = table.partitions().iter();
    let Some(now) = partitions.find(|partition| partition.number == part.number) else {
        return Err("it is not in the partition table any more".into());
    };
    if now.extent != part.extent {
        return Err(format!(
            "it was made at byte {} with {} bytes, and is at byte {} with {} now",
            part.extent.at, part.extent.len, now.extent.at, now.extent.len
        ));
    }
    if let Some(id) = identifier(table, now)
        && !part.partuuid.is_empty()
        && !part.partuuid.eq_ignore_ascii_case(&id)
    {
        return Err(format!("its PARTUUID was {} and is {id}", part.partuuid));
    }
    let over = |other: &&Partition| {
        other.number != part.number && !is_container(other) && other.extent.overlaps(part.extent)
    };
    // The image may have a partition over the file in it that is a seed; nothing is written to that.
    let mut others = table.partitions().iter().filter(|_| part.purpose != "seed");
    match others.find(over) {
        Some(other) => Err(format!("partition {} lies over it", other.number)),
        None => Ok(()),
    }
}

/// A partition of an MBR that holds logical ones (DOS, Windows 95 with LBA, Linux).
fn is_container(partition: &Partition) -> bool {
    matches!(partition.kind, Kind::Mbr(0x05 | 0x0f | 0x85))
}

/// A partition's PARTUUID, as udev shows it: of a GPT its own GUID, of an MBR the disk's signature and the number
/// (util-linux, `libblkid/src/partitions/dos.c`).
fn identifier(table: &Table, partition: &Partition) -> Option<String> {
    match table.scheme {
        Scheme::Gpt => partition.unique.map(|unique| unique.to_string()),
        Scheme::Mbr => {
            let signature = table.mbr.as_ref()?.signature;
            Some(format!("{signature:08x}-{:02x}", partition.number))
        }
        Scheme::None => None,
    }
}

#[cfg(test)]
mod tests;
