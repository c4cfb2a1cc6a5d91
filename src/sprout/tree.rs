// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two trees of files, walked side by side and compared in everything that a copy has to keep: names, types, modes,
//! owners, times to the nanosecond, sizes, contents, extended attributes (capabilities, ACLs and SELinux labels are
//! such), which names are one file, device numbers, link targets.
//!
//! Rules:
//!
//! * Every step is one name in an open directory, and no link is followed: nothing outside a tree is ever looked at.
//! * Depth and number of entries are bounded; contents go through two buffers of fixed size.
//! * Not compared: the size and number of links of a directory, and which ranges of a file are holes, because each
//!   filesystem has its own idea of those; inode numbers; the times of access and of change.

mod attribute;
mod comparison;
mod level;

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

pub use self::attribute::{attribute, set_attribute};
pub use self::comparison::compare;
use self::level::Level;
use crate::units::Bytes;

/// Directories in directories.
const DEPTH: usize = 256;
/// Entries of a tree.
const ENTRIES: u64 = 20_000_000;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Files, directories and everything else.
    pub entries: u64,
    /// The lengths of all regular files; each of several names of one file counts.
    pub bytes: Bytes,
}

/// Why two trees were not found to be equal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A difference.
    #[error("{}: {what}", path.display())]
    Differs {
        /// Where, from the top of the trees.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// Something could not be read.
    #[error("reading {}: {source}", path.display())]
    Io {
        /// Where, from the top of the tree.
        path: PathBuf,
        /// What the system said.
        source: Errno,
    },
    /// A tree that no honest image has.
    #[error("{}: {why}", path.display())]
    Absurd {
        /// Where, from the top of the tree.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The user wants to stop.
    #[error("stopped as asked")]
    Cancelled,
}

/// Opens a directory of `tree`, whose name may have slashes; no link is followed on the way.
pub fn enter(tree: BorrowedFd<'_>, path: impl AsRef<[u8]>) -> Result<OwnedFd, TreeError> {
    let path = path.as_ref();
    let mut here = tree
        .try_clone_to_owned()
        .map_err(|_| failed("", Errno::MFILE))?;
    for name in path.split(|byte| *byte == b'/') {
        if !name.is_empty() {
            here = rustix::fs::openat(&here, name, DIRECTORY, Mode::empty())
                .map_err(|source| failed(OsStr::from_bytes(path), source))?;
        }
    }
    Ok(here)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn failed(path: impl Into<PathBuf>, source: Errno) -> TreeError {
    TreeError::Io {
        path: path.into(),
        source,
    }
}

/// Counts a tree. More than `most` bytes are absurd.
pub fn survey(tree: BorrowedFd<'_>, most: Bytes, cancel: &AtomicBool) -> Result<Survey, TreeError> {
    let mut found = Survey::default();
    let mut way = vec![Level::open(tree, c".", Path::new(""))?];
    while let Some(level) = way.last_mut() {
        if cancel.load(Ordering::Relaxed) {
            return Err(TreeError::Cancelled);
        }
        let Some(name) = level.names.pop() else {
            way.pop();
            continue;
        };
        let path = level.path.join(file_name(&name));
        let stat = level.stat(&name, &path)?;
        found.entries += 1;
        bounded(found.entries, way.len(), &path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                found.bytes += Bytes(size);
                if found.bytes > most {
                    let why = format!(
                        "with this file of {} the tree claims to hold more than {}, which cannot be packed into the room that there is",
                        Bytes(size).binary(),
                        most.binary()
                    );
                    return Err(TreeError::Absurd { path, why });
                }
            }
            FileType::Directory => {
                let Some(level) = way.last() else { break };
                let below = Level::open(level.directory.as_fd(), &name, &path)?;
                way.push(below);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn bounded(entries: u64, depth: usize, path: &Path) -> Result<(), TreeError> {
    let why = if entries > ENTRIES {
        format!("there are more than {ENTRIES} files")
    } else if depth > DEPTH {
        format!("directories lie more than {DEPTH} deep")
    } else {
        return Ok(());
    };
    Err(TreeError::Absurd {
        path: path.into(),
        why,
    })
}

fn file_name(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests;
