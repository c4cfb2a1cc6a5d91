// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chain from what a distribution published to what a stick holds now: links, each with its standing and how that
//! was established. A report is a list of them; the exit status follows from it and from nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a link holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// It was looked at, and it holds.
    Proven,
    /// It was looked at and nothing was found wrong, but that is no proof (read through a cache, say).
    Unproven,
    /// It was looked at, and it does not hold.
    Broken,
    /// Nothing is claimed of it; why not is in [`Link::how`].
    NotClaimed,
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Holds::Proven => "verified",
            Holds::Unproven => "not proven",
            Holds::Broken => "FAILED",
            Holds::NotClaimed => "-",
        })
    }
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// "published digest", "image", "record", "partition table", "boot files", "overlay", "home", "capacity".
    pub name: String,
    /// How far it holds.
    pub holds: Holds,
    /// What is known, in a line: "identical to the image except 6 ranges, 812 bytes".
    pub result: String,
    /// How it was established, in a line: "direct reads; the kernel fetched 2 516 582 400 bytes from the disk".
    pub how: String,
}

/// Whether everything that is claimed holds.
pub fn holds(links: &[Link]) -> bool {
    links
        .iter()
        .all(|link| matches!(link.holds, Holds::Proven | Holds::NotClaimed))
}
