// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition table and its backup, what the record keeps of them, and the record itself.
//!
//! Source: UEFI 2.10, 5.3.2 and table 5.5 (header, its checksum, the backup's places).

use crate::diagnosis::{Again, Cure, Damage, Kind};
use crate::read::ReadAt;
use crate::table::{Scheme, Table};
use crate::units::{Bytes, Extent};
use crate::verify::again::exact;
use crate::verify::subject::Subject;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// "GPT with 6 partitions".
    pub what: String,
    /// What is wrong with the table, if anything.
    pub faults: Vec<String>,
    /// What is wrong behind the image: backup and record.
    pub damage: Vec<Damage>,
}

/// Looks at both.
pub fn look(subject: &Subject) -> Tables {
    let mut tables = Tables::default();
    table(subject, &mut tables);
    if let Some(record) = &subject.record {
        for kept in &record.kept {
            let what = format!("the {}", kept.what);
            let found = compare(subject, kept.at, &kept.bytes, &what, &mut tables.damage);
            if !found {
                tables.faults.push(format!("{what} is not as written"));
            }
        }
    }
    for (copy, name) in subject.copies.iter().zip(["first", "second"]) {
        if copy.fault.is_some() {
            let what = format!("the {name} copy of the record");
            compare(
                subject,
                copy.extent.at,
                &copy.right,
                &what,
                &mut tables.damage,
            );
        }
    }
    tables
}

fn table(subject: &Subject, tables: &mut Tables) {
    let table = match Table::read(&subject.medium) {
        Ok(table) => table,
        Err(error) => {
            tables.what = "partition table".into();
            tables.faults.push(error.to_string());
            return;
        }
    };
    let count = table.partitions().len();
    let s = if count == 1 { "" } else { "s" };
    tables.what = match table.scheme {
        Scheme::Gpt => format!("GPT with {count} partition{s}"),
        Scheme::Mbr => format!("MBR with {count} partition{s}"),
        Scheme::None => "no partition table".into(),
    };
    if let Some(why) = table.why_none.filter(|_| table.scheme == Scheme::None) {
        tables.faults.push(why);
    }
    let (Scheme::Gpt, Some(gpt)) = (table.scheme, &table.gpt) else {
        return;
    };
    match backup(&subject.medium, gpt.backup.bytes(), gpt.disk.to_bytes_le()) {
        Ok(()) => tables.what += ", primary and backup sound",
        // The published table of a plain stick may name a backup that the image does not have, or another one's end.
        Err(why) if subject.record.as_ref().is_none_or(|r| r.kept.is_empty()) => {
            let what = &tables.what;
            tables.what = format!("{what}, primary sound, {why}");
        }
        Err(why) => tables.faults.push(why),
    }
}

/// Checks the backup header at `at`: its own checksum, and that of its entries.
fn backup(medium: &dyn ReadAt, at: Bytes, disk: [u8; 16]) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("the backup of the GPT at byte {at}: {why}"));
    let Ok(mut header) = medium.read_vec(at, 512) else {
        return wrong("it cannot be read");
    };
    let u32_at = |bytes: &[u8], at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|field| field.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    let u64_at = |bytes: &[u8], at: usize| {
        u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
    };
    if !header.starts_with(b"EFI PART") {
        return wrong("there is none");
    }
    let (size, stated) = (u32_at(&header, 12), u32_at(&header, 16));
    header[16..20].fill(0);
    let covered = usize::try_from(size)
        .ok()
        .and_then(|size| header.get(..size));
    if covered.is_none_or(|covered| crc32fast::hash(covered) != stated) {
        return wrong("the checksum of its header is wrong");
    }
    if header[56..72] != disk {
        return wrong("it is of another disk");
    }
    let (entries, entry) = (u32_at(&header, 80), u32_at(&header, 84));
    let len = u64::from(entries) * u64::from(entry);
    let array = Bytes(u64_at(&header, 72).saturating_mul(512));
    // The same limit as for the primary.
    let array = usize::try_from(len.min(4 << 20))
        .ok()
        .and_then(|len| medium.read_vec(array, len).ok());
    if array.is_none_or(|array| crc32fast::hash(&array) != u32_at(&header, 88)) {
        return wrong("the checksum of its entries is wrong");
    }
    Ok(())
}

/// Compares a range with what should be there; whether it is.
fn compare(
    subject: &Subject,
    at: Bytes,
    right: &[u8],
    what: &str,
    damage: &mut Vec<Damage>,
) -> bool {
    let place = |mut one: Damage| {
        one.places = vec![what.to_owned()];
        one
    };
    match subject.medium.read_vec(at, right.len()) {
        Ok(found) => {
            let again = match subject.medium.read_vec(at, right.len()) {
                Ok(second) if second == found => Again::Same,
                Ok(second) if second == right => Again::Right,
                Ok(_) => Again::Different,
                Err(_) => Again::Unreadable,
            };
            let ranges = exact(at, &found, right, again, Cure::Record);
            let same = ranges.is_empty();
            damage.extend(ranges.into_iter().map(place));
            same
        }
        Err(error) => {
            damage.push(place(Damage {
                extent: Extent {
                    at,
                    len: Bytes(right.len() as u64),
                },
                exact: true,
                partition: None,
                places: Vec::new(),
                kind: Kind::Unreadable {
                    why: error.to_string(),
                },
                again: Again::NotRead,
                cure: Cure::Record,
            }));
            false
        }
    }
}
