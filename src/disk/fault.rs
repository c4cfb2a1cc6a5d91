// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with a medium, each with the user's next move.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::shown;
use crate::units::Bytes;

/// What a medium refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediumError {
    /// Something on the disk is in use.
    #[error("{} is in use: something on it is mounted, is swap, or belongs to another device; unmount it or choose another disk", shown(.path))]
    InUse {
        /// The target.
        path: PathBuf,
    },
    /// Another program holds the lock.
    #[error("{} is locked by another program, which may be writing to it; wait for that and try again", shown(.path))]
    Locked {
        /// The target.
        path: PathBuf,
    },
    /// The system does not let it be written to.
    #[error("{} is read-only; look for a write-protect switch", shown(.path))]
    ReadOnly {
        /// The target.
        path: PathBuf,
    },
    /// An empty reader.
    #[error("{} has no medium in it; put one in and list the disks again", shown(.path))]
    NoMedium {
        /// The target.
        path: PathBuf,
    },
    /// Another kind of file than the plan was made for.
    #[error("{} is no {expected} any more; list the disks again", shown(.path))]
    Kind {
        /// The target.
        path: PathBuf,
        /// "disk", "regular file".
        expected: &'static str,
    },
    /// A file would be made among the device nodes.
    #[error("{} would be a new file among the devices; check the name", shown(.path))]
    InDev {
        /// The target.
        path: PathBuf,
    },
    /// It cannot be opened for another reason.
    #[error("opening {}: {source}", shown(.path))]
    Open {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading, writing or flushing failed.
    #[error("{doing} {len} bytes at byte {at} of {}: {source}", shown(.path))]
    Io {
        /// "writing", "reading".
        doing: &'static str,
        /// The target.
        path: PathBuf,
        /// Where.
        at: Bytes,
        /// How much.
        len: usize,
        /// What the system said.
        source: io::Error,
    },
    /// What was written may not have reached the medium.
    #[error("flushing {} to the medium: {source}; what is on it is not known", shown(.path))]
    Flush {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl MediumError {
    pub(super) fn opening(path: &Path, source: io::Error) -> MediumError {
        let path = path.to_path_buf();
        match Errno::from_io_error(&source) {
            Some(Errno::BUSY) => MediumError::InUse { path },
            Some(Errno::ROFS) => MediumError::ReadOnly { path },
            Some(Errno::NOMEDIUM) => MediumError::NoMedium { path },
            _ => MediumError::Open { path, source },
        }
    }
}
