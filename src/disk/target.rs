// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user named as the target.
//!
//! Links are followed, so names in `/dev/disk/by-id` work, and what counts is what is at their end. A target is a
//! whole disk, a regular file, or a file yet to be made; anything else is refused, and so is every name below `/dev`
//! that is no device: a mistyped `/dev/sdx` must not become a file that eats memory.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::stack::Stack;
use super::{DevNumber, Disk, DiskError, System, shown, sysfs};
use crate::units::Bytes;

/// What can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A whole disk. Whether it may be written over is its [`Disk::standing`].
    Disk(Box<Disk>),
    /// A regular file.
    File {
        /// Without links.
        path: PathBuf,
        /// Its size.
        size: Bytes,
    },
    /// A regular file that does not exist yet, in a directory that does.
    NewFile {
        /// Without links.
        path: PathBuf,
    },
}

/// Why the target is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A partition.
    #[error("{} is a partition; give the whole disk, {}", shown(.path), shown(.disk))]
    Partition {
        /// As given.
        path: PathBuf,
        /// The node of its disk.
        disk: PathBuf,
    },
    /// A directory.
    #[error("{} is a directory; give a disk or a file", shown(.path))]
    Directory {
        /// As given.
        path: PathBuf,
    },
    /// A pipe, a socket, a terminal, …
    #[error("{} is a {what}; give a disk or a file", shown(.path))]
    Special {
        /// As given.
        path: PathBuf,
        /// "fifo", "character device", "socket".
        what: &'static str,
    },
    /// No such device.
    #[error("there is no device {}; check the name, `livestick list` shows the disks", shown(.path))]
    NoDevice {
        /// As given.
        path: PathBuf,
    },
    /// An ordinary file among the devices.
    #[error("{} is an ordinary file among the devices, not a disk; some program was given a mistyped name. Remove it if it is not needed", shown(.path))]
    FileInDev {
        /// As given.
        path: PathBuf,
    },
    /// A link to nothing.
    #[error("{} is a link to {}, which does not exist; check the name", shown(.path), shown(.to))]
    Dangling {
        /// As given.
        path: PathBuf,
        /// What the link says.
        to: PathBuf,
    },
    /// The target is the image.
    #[error("{} is the image itself; choose another target", shown(.path))]
    IsImage {
        /// As given.
        path: PathBuf,
    },
    /// A file that the system uses.
    #[error("{} is in use as {by}; choose another target", shown(.path))]
    InUse {
        /// As given.
        path: PathBuf,
        /// "swap", "loop0".
        by: String,
    },
    /// It cannot be looked at.
    #[error("looking at {}: {source}", shown(.path))]
    Io {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disks cannot be looked at.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Target {
    /// What `path` names. If `image` is given, a target that is the same file, or a loop device over it (or under
    /// it), is refused.
    pub fn resolve(
        path: &Path,
        image: Option<&Path>,
        system: &System,
    ) -> Result<Target, TargetError> {
        let given = || path.to_path_buf();
        let io = |source| TargetError::Io {
            path: given(),
            source,
        };
        let meta = match fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return missing(path, system),
            other => other.map_err(io)?,
        };
        let real = fs::canonicalize(path).map_err(io)?;
        let stack = Stack::read(system)?;
        let image = image.and_then(|image| Some((image, fs::metadata(image).ok()?)));
        if let Some((image, image_meta)) = &image
            && (same(&meta, image_meta)
                || is_behind(&meta, image, image_meta, &stack)
                || is_behind(image_meta, &real, &meta, &stack))
        {
            return Err(TargetError::IsImage { path: given() });
        }
        let kind = meta.file_type();
        let special = |what| {
            Err(TargetError::Special {
                path: given(),
                what,
            })
        };
        if kind.is_block_device() {
            return block(path, &meta, &stack);
        } else if kind.is_dir() {
            return Err(TargetError::Directory { path: given() });
        } else if kind.is_fifo() {
            return special("fifo");
        } else if kind.is_char_device() {
            return special("character device");
        } else if kind.is_socket() {
            return special("socket");
        }
        if is_in_dev(&real, system) {
            return Err(TargetError::FileInDev { path: given() });
        }
        if let Some(by) = stack.user_of_file(&real, &meta) {
            return Err(TargetError::InUse { path: given(), by });
        }
        Ok(Target::File {
            path: real,
            size: Bytes(meta.len()),
        })
    }
}

/// Whether two names are of one file, or of one device.
fn same(one: &Metadata, other: &Metadata) -> bool {
    let device = |meta: &Metadata| meta.file_type().is_block_device();
    if device(one) && device(other) {
        return one.rdev() == other.rdev();
    }
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether `meta` is a loop device (or a partition of one) with the file at `path` behind it.
fn is_behind(meta: &Metadata, path: &Path, file: &Metadata, stack: &Stack) -> bool {
    if !meta.file_type().is_block_device() {
        return false;
    }
    let device = stack.numbered(DevNumber::from_raw(meta.rdev()));
    let whole = device.and_then(|device| match &device.parent {
        Some(parent) => stack.get(parent),
        None => Some(device),
    });
    let backing = whole.and_then(|device| device.backing.as_deref());
    backing.is_some_and(|backing| {
        backing == path || fs::metadata(backing).is_ok_and(|meta| same(&meta, file))
    })
}

fn block(path: &Path, meta: &Metadata, stack: &Stack) -> Result<Target, TargetError> {
    let number = DevNumber::from_raw(meta.rdev());
    let gone = || DiskError::Gone {
        name: shown(path).to_string(),
    };
    let device = stack.numbered(number).ok_or_else(gone)?;
    if let Some(disk) = &device.parent {
        return Err(TargetError::Partition {
            path: path.to_path_buf(),
            disk: sysfs::node(disk, stack.system()),
        });
    }
    Ok(Target::Disk(Box::new(sysfs::disk(&device.name, stack)?)))
}

fn is_in_dev(real: &Path, system: &System) -> bool {
    let dev = fs::canonicalize(&system.dev).unwrap_or_else(|_| system.dev.clone());
    // Shared memory is a place for files.
    real.starts_with(&dev) && !real.starts_with(dev.join("shm"))
}

fn missing(path: &Path, system: &System) -> Result<Target, TargetError> {
    if let Ok(to) = fs::read_link(path) {
        return Err(TargetError::Dangling {
            path: path.to_path_buf(),
            to,
        });
    }
    let no_device = || TargetError::NoDevice {
        path: path.to_path_buf(),
    };
    if path.starts_with(&system.dev) {
        return Err(no_device());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let io = |source| TargetError::Io {
        path: path.to_path_buf(),
        source,
    };
    let dir = fs::canonicalize(parent).map_err(io)?;
    // "..", or a slash at the end: no name a file could get.
    let named = dir.is_dir() && !path.as_os_str().as_bytes().ends_with(b"/");
    let name = path.file_name().filter(|_| named);
    let name = name.ok_or_else(|| io(io::ErrorKind::NotFound.into()))?;
    let real = dir.join(name);
    let dev = fs::canonicalize(&system.dev).unwrap_or_else(|_| system.dev.clone());
    if real.starts_with(dev) {
        return Err(no_device());
    }
    Ok(Target::NewFile { path: real })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fixture::Machine;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::symlink;

    /// A directory, and a machine without disks whose `/dev` is in it.
    fn desk() -> (tempfile::TempDir, Machine) {
        (tempfile::tempdir().unwrap(), Machine::new())
    }

    #[test]
    fn files_and_new_files_are_targets_also_through_links() {
        let (dir, machine) = desk();
        let file = dir.path().join("stick.img");
        fs::write(&file, [0; 100]).unwrap();
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        let real = fs::canonicalize(&file).unwrap();
        let found = Target::resolve(&link, None, machine.system()).unwrap();
        let size = Bytes(100);
        assert_eq!(found, Target::File { path: real, size });
        let new = dir.path().join("new.img");
        let found = Target::resolve(&new, None, machine.system()).unwrap();
        assert!(matches!(found, Target::NewFile { .. }));
        assert!(!new.exists());
    }

    #[test]
    fn a_mistyped_device_is_never_a_file() {
        let (dir, machine) = desk();
        let dev = &machine.system().dev;
        let refused = |path: &Path| Target::resolve(path, None, machine.system()).unwrap_err();
        assert!(matches!(
            refused(&dev.join("sdzz")),
            TargetError::NoDevice { .. }
        ));
        // The same directory under another name.
        let alias = dir.path().join("alias");
        symlink(dev, &alias).unwrap();
        assert!(matches!(
            refused(&alias.join("sdzz")),
            TargetError::NoDevice { .. }
        ));
        let dangling = dir.path().join("stick");
        symlink(dev.join("sdzz"), &dangling).unwrap();
        assert!(matches!(refused(&dangling), TargetError::Dangling { .. }));
        fs::write(dev.join("sdy"), "left behind").unwrap();
        assert!(matches!(
            refused(&dev.join("sdy")),
            TargetError::FileInDev { .. }
        ));
        assert!(!dev.join("sdzz").exists());
    }

    #[test]
    fn what_is_no_disk_and_no_file_is_refused() {
        let (dir, machine) = desk();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let refused = |path: &Path| {
            let error = Target::resolve(path, None, machine.system()).unwrap_err();
            error.to_string()
        };
        assert!(refused(&fifo).contains("is a fifo"));
        assert!(refused(Path::new("/dev/null")).contains("character device"));
        assert!(refused(dir.path()).contains("is a directory"));
        assert!(refused(&dir.path().join("no/such/place")).contains("looking at"));
        assert!(refused(&dir.path().join("new/")).contains("looking at"));
    }

    #[test]
    fn the_image_is_recognised_by_every_name() {
        let (dir, machine) = desk();
        let image = dir.path().join("image.iso");
        fs::write(&image, "image").unwrap();
        let (hard, soft) = (dir.path().join("hard"), dir.path().join("soft"));
        fs::hard_link(&image, &hard).unwrap();
        symlink("image.iso", &soft).unwrap();
        for target in [&image, &hard, &soft] {
            let error = Target::resolve(target, Some(&image), machine.system()).unwrap_err();
            assert!(matches!(error, TargetError::IsImage { .. }), "{target:?}");
        }
        let copy = dir.path().join("copy");
        fs::copy(&image, &copy).unwrap();
        assert!(Target::resolve(&copy, Some(&image), machine.system()).is_ok());
    }

    #[test]
    fn a_swap_file_or_the_file_of_a_loop_device_is_no_target() {
        let (dir, mut machine) = desk();
        let (swap, disk) = (dir.path().join("swap"), dir.path().join("disk.img"));
        fs::write(&swap, "").unwrap();
        fs::write(&disk, "").unwrap();
        machine.swap(&fs::canonicalize(&swap).unwrap());
        machine.looped("loop3", &fs::canonicalize(&disk).unwrap());
        let by = |path: &Path| match Target::resolve(path, None, machine.system()) {
            Err(TargetError::InUse { by, .. }) => by,
            other => panic!("{other:?}"),
        };
        assert_eq!(by(&swap), "swap");
        assert_eq!(by(&disk), "loop3");
    }
}
