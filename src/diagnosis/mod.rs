// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a stick, where, and why: from findings to a verdict with a next step.
//!
//! Pure: it reads nothing from a stick. [`crate::verify`] finds ranges that are not as they should be and looks at
//! them a second time; here they get the names of what lies there ([`atlas`]), a kind ([`kind`]) and, together, one
//! verdict ([`verdict`]).
//!
//! Rules:
//!
//! * What is not known is not guessed: without the image a wrong chunk is named as a whole, with everything in it.
//! * A verdict names the cause that explains everything that was found, or says that it is not known.

pub mod atlas;
pub mod kind;
pub mod verdict;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Extent};

pub use verdict::{Cause, Verdict};

/// What is in a range instead of what belongs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// The medium does not give it.
    Unreadable {
        /// What the system said.
        why: String,
    },
    /// Only zeros: never written, or lost.
    Zeros,
    /// Only ones: erased flash.
    Ones,
    /// A few bits are the other way round.
    Flips {
        /// How many.
        bits: u64,
    },
    /// What belongs elsewhere on the stick.
    Elsewhere {
        /// Where it belongs.
        belongs: Bytes,
    },
    /// Not what a filesystem's own checksum says.
    Checksum,
    /// Something else: old data, or new.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Unreadable { why } => write!(f, "cannot be read ({why})"),
            Kind::Zeros => f.write_str("all zeros"),
            Kind::Ones => f.write_str("all ones (erased flash)"),
            Kind::Flips { bits: 1 } => f.write_str("1 bit flipped"),
            Kind::Flips { bits } => write!(f, "{bits} bits flipped"),
            Kind::Elsewhere { belongs } => {
                write!(f, "holds what belongs to byte {}", belongs.grouped())
            }
            Kind::Checksum => f.write_str("its checksum is wrong"),
            Kind::Other => f.write_str("other data"),
        }
    }
}

/// What a second read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// The same.
    Same,
    /// Something else.
    Different,
    /// What belongs there.
    Right,
    /// An error.
    Unreadable,
    /// It was not read again: there is too much of it.
    NotRead,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Again::Same => "a second read gives the same",
            Again::Different => "a second read gives something else",
            Again::Right => "a second read gives what belongs there",
            Again::Unreadable => "a second read fails",
            Again::NotRead => "it was not read a second time",
        })
    }
}

/// What `livestick repair` can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cure {
    /// The image has what belongs there.
    Image,
    /// The record has it.
    Record,
    /// Nothing: it is the user's own data.
    None,
}

/// A range that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Where.
    pub extent: Extent,
    /// Whether all of the range is wrong; otherwise something in it is.
    pub exact: bool,
    /// The partition, in words: "partition 2 (EFI system partition)"; none where it is in none.
    pub partition: Option<String>,
    /// What lies there, all of it: "LiveOS/squashfs.img", "backup of the GPT".
    pub places: Vec<String>,
    /// What is there instead.
    #[serde(flatten)]
    pub kind: Kind,
    /// What a second read gave.
    pub again: Again,
    /// What can be done.
    pub cure: Cure,
}

/// So many places of one range are named for people; the rest is counted.
const NAMED: usize = 6;

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extent { at, len } = self.extent;
        if self.exact {
            let bytes = if len == Bytes(1) { "byte" } else { "bytes" };
            write!(f, "{} {bytes} at byte {}", len.grouped(), at.grouped())?;
        } else {
            write!(f, "within {} at byte {}", len.binary(), at.grouped())?;
        }
        if let Some(partition) = &self.partition {
            write!(f, ", {partition}")?;
        }
        let named: Vec<&str> = self.places.iter().take(NAMED).map(String::as_str).collect();
        if !named.is_empty() {
            write!(f, ": {}", named.join(", "))?;
        }
        if self.places.len() > NAMED {
            write!(f, " and {} more", self.places.len() - NAMED)?;
        }
        write!(f, "; {}", self.kind)?;
        if !matches!(self.kind, Kind::Unreadable { .. } | Kind::Checksum) {
            write!(f, "; {}", self.again)?;
        }
        Ok(())
    }
}
