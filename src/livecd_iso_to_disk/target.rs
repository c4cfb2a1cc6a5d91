// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the old tool's target means here, and what would be lost on it.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::target::{Target as Named, TargetError};
use crate::disk::{System, shown};
use crate::read::{ReadAt, ReadError, Source, Window};
use crate::record::place::{Search, find};
use crate::refusal::Refusal;
use crate::superblock;
use crate::table::{Partition, Table};
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

/// A `/home` that would be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The size of the partition that has it.
    pub size: Bytes,
    /// What it is a part of, where it has no partition of its own: "overlay", "sprout".
    pub inside: Option<String>,
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.binary();
        match &self.inside {
            None => write!(f, "a /home of {size}"),
            Some(what) => write!(f, "a /home in its {what} of {size}"),
        }
    }
}

/// The `/home` that a stick of livestick's has: as its record tells, or else the names of its partitions. What cannot
/// be read is no "none", but a refusal.
pub fn home_on(target: &Target) -> Result<Option<Home>, Refusal> {
    let refuse = |why: String| {
        Refusal::Target(format!(
            "{}: {why}, so it is not known whether a /home on it would be lost; add --delete-home if it may be",
            shown(&target.path)
        ))
    };
    let file = File::open(&target.path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => refuse("only root can read it".into()),
        _ => refuse(error.to_string()),
    })?;
    let medium = Watched {
        source: Source::new(file, target.size),
        failed: Cell::new(false),
    };
    let found = match find(&medium, false, &mut |_| true) {
        Search::Found(found) => {
            let parts = found.record.parts.iter();
            return Ok(home_of(
                parts.map(|part| (part.purpose.clone(), part.extent.len)),
            ));
        }
        Search::Unreadable(_) => {
            return Err(refuse("its record of what is on it cannot be read".into()));
        }
        // Of what was on it before; what is there now, the table says.
        Search::Stale(_) | Search::Nothing => home_of(tabled(&medium).into_iter()),
    };
    if found.is_none() && medium.failed.get() {
        return Err(refuse("a part of it cannot be read".into()));
    }
    Ok(found)
}

/// The `/home` among partitions for these purposes, which has one of its own or is a part of what `/` keeps.
fn home_of(parts: impl Iterator<Item = (String, Bytes)>) -> Option<Home> {
    let parts: Vec<(String, Bytes)> = parts.collect();
    let of = |what: &str| parts.iter().find(|(purpose, _)| purpose == what);
    let own = of("home").map(|(_, size)| Home {
        size: *size,
        inside: None,
    });
    own.or_else(|| {
        let (what, size) = of("sprout").or_else(|| of("overlay"))?;
        Some(Home {
            size: *size,
            inside: Some(what.clone()),
        })
    })
}

/// The purposes of livestick's partitions in a table, by their names, or by the labels of what is in them where a table
/// has no names (MBR).
fn tabled(medium: &Watched) -> Vec<(String, Bytes)> {
    let Ok(table) = Table::read(medium) else {
        return Vec::new();
    };
    let purpose = |partition: &Partition| {
        if let Some(name) = &partition.name {
            return name.strip_prefix("livestick-").map(str::to_owned);
        }
        let found = superblock::identify(&Window::new(medium, partition.extent));
        let label = found.ok().flatten()?.label?;
        let labels = [
            ("home-", "home"),
            ("ovl-", "overlay"),
            ("sprout-", "sprout"),
        ];
        let known = labels.iter().find(|(start, _)| label.starts_with(start));
        known.map(|(_, purpose)| (*purpose).to_owned())
    };
    let partitions = table.partitions().iter();
    partitions
        .filter_map(|partition| Some((purpose(partition)?, partition.extent.len)))
        .collect()
}

/// A medium that remembers whether some of it could not be read.
struct Watched {
    source: Source,
    failed: Cell<bool>,
}

impl ReadAt for Watched {
    fn len(&self) -> Bytes {
        self.source.len()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        let read = self.source.read_exact_at(at, buf);
        // Beyond the end there is nothing to be known.
        let inside = at.0.saturating_add(buf.len() as u64) <= self.len().0;
        if inside && read.is_err() {
            self.failed.set(true);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_inside_something_counts_unless_there_is_one_of_its_own() {
        let of = |parts: &[(&str, u64)]| {
            let parts = parts.iter();
            let home = home_of(parts.map(|(what, mib)| ((*what).to_owned(), Bytes::mib(*mib))));
            home.map(|home| home.to_string())
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("seed", 9)]), None);
        assert_eq!(
            of(&[("overlay", 5), ("home", 7)]),
            said("a /home of 7.0 MiB")
        );
        assert_eq!(
            of(&[("overlay", 5)]),
            said("a /home in its overlay of 5.0 MiB")
        );
        let sprout = of(&[("seed", 9), ("sprout", 5)]);
        assert_eq!(sprout, said("a /home in its sprout of 5.0 MiB"));
    }

    #[test]
    fn what_cannot_be_opened_or_read_is_no_stick_without_a_home() {
        let target = |path: &Path, size| Target {
            path: path.into(),
            size,
            partition: false,
        };
        let gone = home_on(&target(Path::new("/nonexistent/stick"), Bytes::mib(8)));
        let why = gone.unwrap_err().to_string();
        assert!(
            why.contains("No such file") && why.contains("--delete-home"),
            "{why}"
        );
        // A medium that ends before it says: what is behind its end cannot be read.
        let file = tempfile::NamedTempFile::new().unwrap();
        let cut = home_on(&target(file.path(), Bytes::mib(64)));
        assert!(cut.unwrap_err().to_string().contains("cannot be read"));
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(home_on(&target(file.path(), Bytes::mib(1))).unwrap(), None);
    }
}
