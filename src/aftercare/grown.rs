// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies in the place of a stick's sprout, by its superblock alone: nothing is mounted to find out.

use crate::read::{ReadAt, Window};
use crate::sprout::Sprout;
use crate::superblock::{self, Details};

/// What the superblock in a sprout's place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grown {
    /// It is the sprout, and needs its seed.
    OnSeed,
    /// It is the sprout, and needs no seed any more.
    Alone,
    /// It is nothing, or what a job that was cut short has left.
    Unfinished,
    /// It is something else.
    Foreign,
}

impl Grown {
    /// Reads it.
    pub(super) fn of(medium: &dyn ReadAt, sprout: &Sprout) -> Grown {
        let window = Window::new(medium, sprout.sprout.extent);
        let Ok(Some(found)) = superblock::identify(&window) else {
            return Grown::Unfinished;
        };
        // What was not grown to its end has the label of its seed.
        let named = found.label.as_ref() == Some(&sprout.sprout.label);
        match found.details {
            Details::Btrfs {
                seeding: false,
                devices,
                ..
            } => match devices {
                1 if named => Grown::Alone,
                2 if named => Grown::OnSeed,
                2 => Grown::Unfinished,
                _ => Grown::Foreign,
            },
            _ => Grown::Foreign,
        }
    }
}
