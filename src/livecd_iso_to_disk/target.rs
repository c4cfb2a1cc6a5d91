// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the old tool's target means here, and what would be lost on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::disk::target::{Target as Named, TargetError};
use crate::disk::{System, shown};
use crate::read::Source;
use crate::record::place::{Search, find};
use crate::refusal::Refusal;
use crate::units::Bytes;

/// A target of the old tool's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is written: a whole disk, or a stick image file.
    pub path: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// Whether a partition on it was named.
    pub partition: bool,
}

impl Target {
    /// What `path` means. `format`: whether everything on a disk may be lost.
    pub fn of(path: &Path, format: bool, system: &System) -> Result<Target, Refusal> {
        let refuse = |why: String| Refusal::Target(why);
        let no_format = |disk: &Path| {
            refuse(format!(
                "livecd-iso-to-disk kept what was on {}; livestick writes over the whole disk, and everything on it is lost. Add --format if that is meant",
                shown(disk)
            ))
        };
        match Named::resolve(path, None, system) {
            Ok(Named::Disk(disk)) if format => Ok(Target {
                path: path.to_path_buf(),
                size: disk.size,
                partition: false,
            }),
            Ok(Named::Disk(disk)) => Err(no_format(&disk.path)),
            Ok(Named::File { path, size }) => Ok(Target {
                path,
                size,
                partition: false,
            }),
            Ok(Named::NewFile { path }) => Err(refuse(format!(
                "{0} does not exist; make a stick image file first: truncate -s 8G {0}",
                shown(&path)
            ))),
            Err(TargetError::Partition { disk, .. }) if format => Ok(Target {
                partition: true,
                ..Target::of(&disk, format, system)?
            }),
            Err(TargetError::Partition { path, disk }) => Err(refuse(format!(
                "{} is a partition, and livestick writes over whole disks: add --format to write over all of {}",
                shown(&path),
                shown(&disk)
            ))),
            Err(other) => Err(refuse(other.to_string())),
        }
    }
}

/// The `/home` that a stick of livestick's has, told by its record: its size. What cannot be read has none.
pub fn home_on(target: &Target) -> Option<Bytes> {
    let file = File::open(&target.path).ok()?;
    let source = Source::new(file, target.size);
    let Search::Found(found) = find(&source, false, &mut |_| true) else {
        return None;
    };
    let home = |part: &&crate::record::Part| part.purpose == "home";
    let parts = &found.record.parts;
    parts.iter().find(home).map(|part| part.extent.len)
}
