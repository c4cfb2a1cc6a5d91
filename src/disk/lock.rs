// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock that keeps udev and other writers away from a disk.
//!
//! udev probes a disk, and reads its partition table again, when a writer closes it. It leaves a whole disk alone
//! while somebody holds an exclusive `flock` on its node (systemd, docs/BLOCK_DEVICE_LOCKING). The lock is a
//! descriptor of its own, read-only, so that it outlives the exclusive one that writes, and so that closing it does
//! not look like the end of a write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::direct::MediumError;

/// udev holds its own lock while it probes, which takes a moment.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A lock on a whole disk, or on a file that stands for one; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Locks the disk or file at `path`, waiting some seconds for another holder.
    pub fn take(path: &Path) -> Result<Lock, MediumError> {
        Lock::take_within(path, PATIENCE)
    }

    /// The same for somebody who only reads: others may read, too.
    pub fn share(path: &Path) -> Result<Lock, MediumError> {
        Lock::get(path, PATIENCE, FlockOperation::NonBlockingLockShared)
    }

    pub(super) fn take_within(path: &Path, patience: Duration) -> Result<Lock, MediumError> {
        Lock::get(path, patience, FlockOperation::NonBlockingLockExclusive)
    }

    fn get(path: &Path, patience: Duration, how: FlockOperation) -> Result<Lock, MediumError> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|source| MediumError::opening(path, source))?;
        let start = Instant::now();
        loop {
            match flock(&file, how) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if start.elapsed() < patience => sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let path = path.to_path_buf();
                    return Err(MediumError::Locked { path });
                }
                Err(source) => {
                    return Err(MediumError::Open {
                        path: path.to_path_buf(),
                        source: io::Error::from(source),
                    });
                }
            }
        }
        let path = path.to_path_buf();
        Ok(Lock { file, path })
    }

    /// What is locked.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}
