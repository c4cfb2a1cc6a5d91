// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the partitions of a stick were made, kept in its record: what has to be known to make them anew.

use serde::{Deserialize, Serialize};

use crate::plan::filesystem::Filesystem;
use crate::sprout::Sprout;

/// The part of a plan that a reset needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Making {
    /// The filesystems behind the image.
    pub filesystems: Vec<Filesystem>,
    /// The seed and the sprout, where there are.
    pub sprout: Option<Sprout>,
}

impl Making {
    /// That of a plan with these.
    pub fn of(filesystems: &[Filesystem], sprout: Option<&Sprout>) -> Making {
        Making {
            filesystems: filesystems.to_vec(),
            sprout: sprout.cloned(),
        }
    }

    /// Its text in a record: nothing, where there are no partitions.
    pub fn text(&self) -> String {
        if *self == Making::default() {
            return String::new();
        }
        // Nothing in it has a form that JSON cannot have.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What such a text says. It is as good as whoever wrote the record.
    pub fn parse(text: &str) -> Option<Making> {
        serde_json::from_str(text).ok()
    }
}
