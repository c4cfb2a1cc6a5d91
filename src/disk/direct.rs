// SPDX-License-Identifier: MIT OR Apache-2.0
//! The medium while it is written and read back: exclusive, locked, and past the page cache.
//!
//! * A disk is opened with `O_EXCL`: the kernel refuses while anything on it is mounted, swapped to or held, in
//!   whatever namespace. Nothing below `/dev` is ever created.
//! * `O_DIRECT` makes reads come from the medium. Where the system refuses it, [`Bypass::None`] says so, and
//!   [`super::proof::ReadProof`] says how much the medium really gave.
//! * Direct I/O moves whole grains (the logical sector). Anything else goes through a buffer, reading what the grain
//!   held before; nothing outside the range that was asked for changes, and a file gets no longer than was written.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, OFlags, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
pub use super::fault::MediumError;
use super::lock::Lock;
use super::{DevNumber, System, sysfs};
use crate::units::Bytes;

/// What a medium is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// A regular file that exists.
    File,
    /// A regular file that must not exist yet.
    NewFile,
}

/// Whether reads go past the page cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bypass {
    /// `O_DIRECT` is in force.
    Direct,
    /// It is not, for this reason.
    None(String),
}

/// A disk or file that is open for nobody else.
#[derive(Debug)]
pub struct Medium {
    pub(super) file: File,
    lock: Lock,
    path: PathBuf,
    pub(super) is_disk: bool,
    dev: DevNumber,
    /// Of a disk; a file's changes.
    pub(super) size: Bytes,
    pub(super) grain: Bytes,
    pub(super) bypass: Bypass,
}

impl Medium {
    /// Locks and opens the target at `path`, which must be free of symbolic links if it is a file.
    pub fn open(path: &Path, kind: Kind) -> Result<Medium, MediumError> {
        if kind == Kind::NewFile {
            create(path)?;
        }
        let opened = Lock::take(path).and_then(|lock| Medium::open_locked(lock, kind));
        if opened.is_err() && kind == Kind::NewFile {
            // Made a moment ago, and empty.
            let _ = std::fs::remove_file(path);
        }
        opened
    }

    /// Opens what `lock` is a lock on.
    pub fn open_locked(lock: Lock, kind: Kind) -> Result<Medium, MediumError> {
        Medium::open_as(lock, kind, true)
    }

    /// Opens a disk or file to read it only, which others may do at the same time; so it may be mounted.
    pub fn open_to_read(path: &Path, kind: Kind) -> Result<Medium, MediumError> {
        Medium::open_as(Lock::share(path)?, kind, false)
    }

    fn open_as(lock: Lock, kind: Kind, write: bool) -> Result<Medium, MediumError> {
        let path = lock.path().to_path_buf();
        let failed = |source| MediumError::opening(&path, source);
        let meta = lock.file().metadata().map_err(failed)?;
        let is_disk = kind == Kind::Disk;
        check_kind(&path, &meta, is_disk)?;
        if write && is_disk && is_read_only(DevNumber::from_raw(meta.rdev())) {
            return Err(MediumError::ReadOnly { path });
        }
        let extra = match (is_disk, write) {
            (true, true) => OFlags::EXCL,
            (true, false) => OFlags::empty(),
            (false, _) => OFlags::NOFOLLOW,
        };
        let (file, refused) = match open_with(&path, extra | OFlags::DIRECT, write) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::INVAL) => {
                let file = open_with(&path, extra, write).map_err(failed)?;
                (file, Some("the file system does not support O_DIRECT"))
            }
            other => (other.map_err(failed)?, None),
        };
        let opened = file.metadata().map_err(failed)?;
        check_kind(&path, &opened, is_disk)?;
        let same =
            (opened.dev(), opened.ino(), opened.rdev()) == (meta.dev(), meta.ino(), meta.rdev());
        if !same {
            let expected = if is_disk { "disk" } else { "regular file" };
            return Err(MediumError::Kind { path, expected });
        }
        let grain = grain(&file, is_disk).map_err(failed)?;
        let size = if is_disk {
            Bytes(
                rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))
                    .map_err(|e| failed(e.into()))?,
            )
        } else {
            Bytes(opened.len())
        };
        let raw = if is_disk { opened.rdev() } else { opened.dev() };
        let mut medium = Medium {
            dev: DevNumber::from_raw(raw),
            bypass: refused.map_or(Bypass::Direct, |why| Bypass::None(why.to_owned())),
            file,
            lock,
            is_disk,
            size,
            grain,
            path,
        };
        medium.try_direct()?;
        Ok(medium)
    }

    /// Some file systems take the flag and refuse the first read.
    fn try_direct(&mut self) -> Result<(), MediumError> {
        let first = self
            .grain
            .index()
            .filter(|len| self.size >= Bytes(*len as u64));
        let Some(len) = first.filter(|_| self.bypass == Bypass::Direct) else {
            return Ok(());
        };
        match self.file.read_at(&mut Buffer::new(len), 0) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::INVAL) => {
                rustix::fs::fcntl_setfl(&self.file, OFlags::empty())
                    .map_err(|e| MediumError::opening(&self.path, e.into()))?;
                self.bypass = Bypass::None("direct reads are refused".to_owned());
            }
            // An unreadable first sector will be written over.
            _ => {}
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a disk and no file.
    pub fn is_disk(&self) -> bool {
        self.is_disk
    }

    /// The number of the disk, or of the file system that holds the file: to compare with
    /// [`super::Identity::dev`], which was pinned by name.
    pub fn dev(&self) -> DevNumber {
        self.dev
    }

    /// The open file's facts.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Whether reads go past the page cache.
    pub fn bypass(&self) -> &Bypass {
        &self.bypass
    }

    /// Whether it is a loop device that reads its file through the page cache (`loop/dio` is 0; kernel,
    /// Documentation/ABI/testing/sysfs-block-loop): past the device's cache, but not past the file's.
    pub fn cached_below(&self) -> bool {
        let dir = System::real().sys.join(format!("dev/block/{}", self.dev));
        self.is_disk && sysfs::number(&dir.join("loop/dio")) == Some(0)
    }

    /// I/O of whole, aligned grains needs no detour. The memory must be a [`Buffer`].
    pub fn grain(&self) -> Bytes {
        self.grain
    }

    /// How many bytes it holds now.
    pub fn size(&self) -> Bytes {
        if self.is_disk {
            return self.size;
        }
        self.file
            .metadata()
            .map_or(self.size, |meta| Bytes(meta.len()))
    }

    /// Makes a file this long; a disk is as long as it is.
    pub fn set_len(&self, size: Bytes) -> Result<(), MediumError> {
        if self.is_disk {
            return Ok(());
        }
        self.file
            .set_len(size.0)
            .map_err(|e| self.io("setting the length", size, 0, e))
    }

    /// Makes everything written permanent, and forgets what the page cache holds of it.
    pub fn flush(&self) -> Result<(), MediumError> {
        rustix::fs::fdatasync(&self.file).map_err(|e| MediumError::Flush {
            path: self.path.clone(),
            source: e.into(),
        })?;
        self.forget();
        Ok(())
    }

    /// Drops clean pages of the medium from the page cache. Only a hint to the system: proof is counting.
    pub fn forget(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Flushes and closes the medium, and keeps the lock: partitions can be formatted, udev stays away.
    pub fn release(self) -> Result<Lock, MediumError> {
        self.flush()?;
        Ok(self.lock)
    }

    pub(super) fn io(
        &self,
        doing: &'static str,
        at: Bytes,
        len: usize,
        source: io::Error,
    ) -> MediumError {
        MediumError::Io {
            doing,
            path: self.path.clone(),
            at,
            len,
            source,
        }
    }
}

fn check_kind(path: &Path, meta: &Metadata, is_disk: bool) -> Result<(), MediumError> {
    let (right, expected) = if is_disk {
        (meta.file_type().is_block_device(), "disk")
    } else {
        (meta.is_file(), "regular file")
    };
    let path = path.to_path_buf();
    right
        .then_some(())
        .ok_or(MediumError::Kind { path, expected })
}

/// The kernel's own flag. Opening a read-only disk for writing is refused by some kernels only; the others refuse
/// the first write.
fn is_read_only(disk: DevNumber) -> bool {
    let flag = System::real().sys.join(format!("dev/block/{disk}/ro"));
    sysfs::number(&flag) == Some(1)
}

fn open_with(path: &Path, flags: OFlags, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags((flags | OFlags::NOCTTY).bits().cast_signed())
        .open(path)
}

/// Makes an empty file, with `O_EXCL`: nothing that exists, and no link, is followed or cut.
fn create(path: &Path) -> Result<(), MediumError> {
    let failed = |source| MediumError::opening(path, source);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent.canonicalize().map_err(failed)?.starts_with("/dev") {
        let path = path.to_path_buf();
        return Err(MediumError::InDev { path });
    }
    File::create_new(path).map_err(failed)?;
    Ok(())
}

/// The unit of direct I/O: a disk's logical sector; for a file what the file system says (statx `DIOALIGN`,
/// Linux 6.1), at least 4096, which is a multiple of what any of them asks for.
fn grain(file: &File, is_disk: bool) -> io::Result<Bytes> {
    if is_disk {
        let sector = rustix::fs::ioctl_blksszget(file)?;
        return Ok(Bytes(u64::from(sector.max(512))));
    }
    let stat = rustix::fs::statx(
        file,
        "",
        rustix::fs::AtFlags::EMPTY_PATH,
        StatxFlags::DIOALIGN,
    );
    let asked = stat.map_or(0, |stat| u64::from(stat.stx_dio_offset_align));
    Ok(Bytes(asked.max(4096)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn new_file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("stick.img");
        (dir, path)
    }

    #[test]
    fn a_new_file_takes_no_existing_name_and_none_among_the_devices() {
        let (_dir, path) = new_file();
        std::fs::write(&path, "precious").unwrap();
        assert!(Medium::open(&path, Kind::NewFile).is_err());
        let link = path.with_file_name("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Medium::open(&link, Kind::NewFile).is_err());
        assert!(Medium::open(&link, Kind::File).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let dev = Path::new("/dev/livestick-no-such-file");
        let error = Medium::open(dev, Kind::NewFile).unwrap_err();
        assert!(matches!(error, MediumError::InDev { .. }), "{error}");
        assert!(!dev.exists());
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        let (_dir, path) = new_file();
        std::fs::write(&path, [0; 4096]).unwrap();
        let error = Medium::open(&path, Kind::Disk).unwrap_err();
        assert!(matches!(error, MediumError::Kind { .. }), "{error}");
        let error = Medium::open(Path::new("/dev/null"), Kind::File).unwrap_err();
        assert!(matches!(error, MediumError::Kind { .. }), "{error}");
    }

    #[test]
    fn a_second_writer_is_kept_out_until_the_first_is_done() {
        let (_dir, path) = new_file();
        let medium = Medium::open(&path, Kind::NewFile).unwrap();
        let again = || Lock::take_within(&path, Duration::ZERO);
        assert!(matches!(again(), Err(MediumError::Locked { .. })));
        let lock = medium.release().unwrap();
        assert!(matches!(again(), Err(MediumError::Locked { .. })));
        drop(lock);
        again().unwrap();
    }
}
