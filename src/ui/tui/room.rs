// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the sizes of the persistence screen are judged against: where an image leaves room on a target, for how many
//! partitions, and what it can mount and open. What the plan would refuse is not offered.

use super::known::{ImageFacts, Memory, Seed};
use super::sticks::Target;
use crate::plan::record::PlannedRecord;
use crate::request::FsKind;
use crate::table::{GRAIN, Space, TableError};
use crate::units::Bytes;

/// What the sizes are judged against.
#[derive(Clone, Debug)]
pub struct Room {
    /// Filesystems that the image can mount, the best first.
    pub mountable: Vec<FsKind>,
    /// Where partitions can be.
    places: Result<Places, String>,
    /// What a sprout would grow from, and where partitions can be then.
    pub sprout: Result<(Seed, Places), String>,
    /// Whether a `/home` can be encrypted, or why not.
    pub encryption: Result<(), String>,
}

/// Where partitions can be.
#[derive(Clone, Debug)]
pub struct Places {
    space: Space,
    /// How many of them the table takes.
    count: usize,
    /// Why not more.
    full: String,
}

impl Places {
    /// Those for so many partitions, or for one less where the table has no place for so many. What `space` says of
    /// one number holds for no larger one.
    fn of(
        count: usize,
        space: impl Fn(usize) -> Result<Space, TableError>,
    ) -> Result<Places, String> {
        let places = |count, full: String| -> Result<Places, TableError> {
            let space = space(count)?;
            Ok(Places { space, count, full })
        };
        places(
            count,
            format!("there are no places for more than {count} partitions"),
        )
        .or_else(|error| places(count - 1, error.to_string()))
        .map_err(|error| error.to_string())
    }
}

impl Room {
    /// That of an image on a target.
    pub fn of(image: &ImageFacts, target: &Target) -> Room {
        let mountable = match &image.memory {
            Memory::Possible(kinds) => kinds.clone(),
            _ => Vec::new(),
        };
        let behind = |count| {
            PlannedRecord::and_space(image.size, &image.table, target.size, count)
                .map(|(_, space)| space)
        };
        let around = |count| {
            PlannedRecord::and_space_with(image.size, &image.table, target.size, count)
                .map(|(_, space)| space)
        };
        let sprout = image.seed.clone().and_then(|seed| {
            let places = match seed {
                Seed::Within => Places::of(2, around),
                Seed::Made(_) => Places::of(3, behind),
            };
            Ok((seed, places?))
        });
        Room {
            mountable,
            places: Places::of(2, behind),
            sprout,
            encryption: image.unlocking.clone(),
        }
    }

    /// Where `count` partitions can be, with a sprout among them or without.
    pub fn space(&self, sprout: bool, count: usize) -> Result<&Space, String> {
        let places = if sprout {
            self.sprout.as_ref().map(|(_, places)| places)
        } else {
            self.places.as_ref()
        };
        let places = places.map_err(Clone::clone)?;
        if count > places.count {
            return Err(places.full.clone());
        }
        Ok(&places.space)
    }

    /// Where the first partition could begin.
    pub fn start(&self) -> Option<Bytes> {
        self.places.as_ref().ok().map(|places| places.space.from)
    }

    /// How much there is for partitions, behind the image and the record.
    pub fn free(&self) -> Bytes {
        self.places
            .as_ref()
            .map_or(Bytes::ZERO, |places| places.space.to - places.space.from)
    }

    /// The smallest partition for this filesystem, or for the best one.
    pub fn smallest(&self, fs: Option<FsKind>) -> Bytes {
        fs.or(self.mountable.first().copied())
            .map_or(GRAIN, FsKind::smallest)
    }
}
