// SPDX-License-Identifier: MIT OR Apache-2.0
//! An encrypted partition behind the image: its header is looked at, and nothing more is claimed.
//!
//! What is inside cannot be told from random bytes without the passphrase, which is not asked for. The header can:
//! there are two copies of it, each with a checksum of its own, and a keyslot and encrypted data have to be in it.
//! So a header can be broken, but that it is good proves nothing of the partition.

use crate::chain::{Holds, Link};
use crate::luks;
use crate::plan::encryption::KIND;
use crate::read::Window;
use crate::record;
use crate::superblock;
use crate::table::Table;
use crate::units::Extent;
use crate::verify::subject::Subject;

/// An encrypted partition behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// "home", "partition 4".
    pub purpose: String,
    /// Its number.
    pub number: u32,
    /// Where it is.
    pub extent: Extent,
    /// Its identifier as recorded.
    pub uuid: Option<String>,
}

impl Locked {
    /// One that a record lists.
    fn recorded(part: &record::Part) -> Locked {
        Locked {
            purpose: part.purpose.clone(),
            number: part.number,
            extent: part.extent,
            uuid: Some(part.uuid.to_string()),
        }
    }
}

/// Those that the record lists, else those that the table shows behind the image.
pub fn all(subject: &Subject) -> Vec<Locked> {
    if let Some(record) = &subject.record {
        let parts = record.parts.iter().filter(|part| part.kind == KIND);
        return parts.map(Locked::recorded).collect();
    }
    let Ok(table) = Table::read(&subject.medium) else {
        return Vec::new();
    };
    let from = subject.volume().unwrap_or_default();
    let behind = table.partitions().iter().filter(|p| p.extent.at >= from);
    let locked = behind.filter(|partition| {
        let window = Window::new(&subject.medium, partition.extent);
        let found = superblock::identify(&window).ok().flatten();
        found.is_some_and(|found| found.kind.name() == KIND)
    });
    let locked = locked.map(|partition| Locked {
        purpose: format!("partition {}", partition.number),
        number: partition.number,
        extent: partition.extent,
        uuid: None,
    });
    locked.collect()
}

/// Looks at the header of `part`.
pub fn check(subject: &Subject, part: &Locked) -> Link {
    let what = format!("encrypted {}", part.extent.len.binary());
    let link = |holds, result: String| {
        Link {
        name: part.purpose.clone(),
        holds,
        result,
        how: "only its LUKS2 header was read, both copies; what is inside cannot be checked without the passphrase"
            .into(),
    }
    };
    let copies = luks::read(&Window::new(&subject.medium, part.extent));
    if let Some(fault) = copies.fault() {
        return match subject.used(part.number) {
            // cryptsetup may be writing it this very moment.
            Some(used) => link(Holds::NotClaimed, format!("{what}, {used}: not checked")),
            None => link(Holds::Broken, format!("{what}: {fault}")),
        };
    }
    let lacks = copies
        .best()
        .and_then(|header| header.lacks(part.extent.len));
    if let Some(why) = lacks {
        let why = why.escape_debug();
        return link(
            Holds::Broken,
            format!("{what}: its header is whole, but {why}"),
        );
    }
    let now = copies.best().map(|header| header.uuid.clone());
    let other = match (&part.uuid, now) {
        (Some(recorded), Some(now)) if *recorded != now => {
            format!(", made anew since (UUID {})", now.escape_debug())
        }
        _ => String::new(),
    };
    // A header is a small part of a partition: that it is good proves nothing of the rest.
    link(
        Holds::NotClaimed,
        format!("{what}{other}: header good, content not looked at"),
    )
}
