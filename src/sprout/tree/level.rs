// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory of a tree, open, and what its names say of themselves.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, Stat};
use rustix::io::Errno;

use super::attribute::XATTR;
use super::{DIRECTORY, TreeError, bounded, failed};

/// An open directory, and the names in it that were not looked at yet.
pub(super) struct Level {
    pub(super) directory: OwnedFd,
    pub(super) path: PathBuf,
    /// The next one last.
    pub(super) names: Vec<CString>,
}

impl Level {
    pub(super) fn open(
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
    ) -> Result<Level, TreeError> {
        let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
            .map_err(|source| failed(path, source))?;
        let mut names = Vec::new();
        let entries = Dir::read_from(&directory).map_err(|source| failed(path, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed(path, source))?;
            let name = entry.file_name();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                names.push(name.to_owned());
            }
            bounded(names.len() as u64, 0, path)?;
        }
        names.sort_unstable();
        // A name that is there twice leads to one and the same thing.
        names.dedup();
        Ok(Level {
            directory,
            path: path.into(),
            names,
        })
    }

    pub(super) fn stat(&self, name: &CStr, path: &Path) -> Result<Stat, TreeError> {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|source| failed(path, source))
    }

    /// The extended attributes of a name, sorted.
    pub(super) fn xattrs(&self, name: &CStr, path: &Path) -> Result<Vec<Attribute>, TreeError> {
        // Links and special files cannot be opened for this, so it goes by way of the open directory's name in /proc.
        let mut place = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        place.extend_from_slice(name.to_bytes());
        let read = |source| failed(path, source);
        let mut list = vec![0; XATTR];
        let len = match rustix::fs::llistxattr(place.as_slice(), &mut list[..]) {
            Err(Errno::NOTSUP) => 0,
            len => len.map_err(read)?,
        };
        let mut all = Vec::new();
        for attribute in list[..len].split(|byte| *byte == 0) {
            if attribute.is_empty() {
                continue;
            }
            let mut value = vec![0; XATTR];
            let len =
                rustix::fs::lgetxattr(place.as_slice(), attribute, &mut value[..]).map_err(read)?;
            value.truncate(len);
            all.push((attribute.to_vec(), value));
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// Name and value of an extended attribute.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);
