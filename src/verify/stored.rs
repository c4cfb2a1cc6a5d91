// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record as it is stored on a stick: both copies, and what each should be.

use crate::image::iso9660::Iso;
use crate::read::ReadAt;
use crate::record::place::{self, Condition, Search};
use crate::record::{Record, form};
use crate::table::{Scheme, Table};
use crate::units::{Bytes, Extent};

/// One copy of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it is.
    pub extent: Extent,
    /// What it should be, byte for byte.
    pub right: Vec<u8>,
    /// What is wrong with it, if anything.
    pub fault: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Stored {
    /// The newest good one.
    pub record: Option<Record>,
    /// Every copy that should be there.
    pub copies: Vec<Copy>,
    /// Why there is none, if something like one was found.
    pub fault: Option<String>,
}

/// Reads the record of a stick.
pub fn find(stick: &dyn ReadAt) -> Stored {
    let mut search = place::find(stick, false, &mut |_| true);
    // Where volume or table are damaged too, or one copy, less says where to look.
    let lost = || {
        let table = Table::read(stick);
        Iso::read(stick).is_err() || table.is_ok_and(|table| table.scheme == Scheme::None)
    };
    if matches!(search, Search::Unreadable(_)) || (search == Search::Nothing && lost()) {
        search = place::find(stick, true, &mut |_| true);
    }
    match search {
        Search::Found(found) => {
            let record = found.record;
            let [first, second] = place::places(record.region);
            let copies = [(first, second), (second, first)]
                .into_iter()
                .zip(found.copies)
                .map(|((here, other), placed)| copy(stick, &record, here, other, &placed.condition))
                .collect();
            Stored {
                record: Some(record),
                copies,
                fault: None,
            }
        }
        Search::Unreadable(copies) => Stored {
            fault: copies.first().map(|copy| match &copy.condition {
                Condition::Newer(major, minor) => format!(
                    "it has the form {major}.{minor}, which is newer than this livestick; update livestick"
                ),
                Condition::Damaged(why) => format!("it is damaged: {why}"),
                Condition::Good(_) | Condition::Absent => "it cannot be read".into(),
            }),
            ..Stored::default()
        },
        Search::Stale(_) => Stored {
            fault: Some("it is of something that was on the stick before".into()),
            ..Stored::default()
        },
        Search::Nothing => Stored::default(),
    }
}

fn copy(
    stick: &dyn ReadAt,
    record: &Record,
    here: Bytes,
    other: Bytes,
    condition: &Condition,
) -> Copy {
    let right = form::encode(record, here, other);
    let fault = match condition {
        Condition::Good(generation) if *generation == record.generation => {
            // Beyond its digest: one that was swapped for another valid one.
            let same = stick
                .read_vec(here, right.len())
                .is_ok_and(|there| there == right);
            (!same).then(|| "it is not what the other copy says".to_owned())
        }
        Condition::Good(generation) => Some(format!("it is of an older generation ({generation})")),
        Condition::Damaged(why) => Some(why.clone()),
        Condition::Absent => Some("it is not there".into()),
        Condition::Newer(major, minor) => Some(format!("it has the newer form {major}.{minor}")),
    };
    Copy {
        extent: Extent {
            at: here,
            len: Bytes(right.len() as u64),
        },
        right,
        fault,
    }
}
