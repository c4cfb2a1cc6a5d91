// SPDX-License-Identifier: MIT OR Apache-2.0
//! The EFI system partition of an image: a FAT filesystem whose boot configurations are read, and replaced on a draft.
//!
//! Rules:
//!
//! * A volume is looked over before the `fatfs` crate sees it: that crate trusts cluster numbers and would compute or
//!   loop with bad ones. So no panic has to be caught here. As a second net the number of its reads and writes is
//!   bounded.
//! * Free clusters are counted before the first write: `fatfs` leaves half a file behind when they run out, and loses
//!   the whole of it when the file was truncated first.
//! * Time stamps stay as they are, so that the same image and request give the same stick.
//! * Only what differs becomes a patch; the volume is never copied as a whole.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FileSystem, FsOptions, ReadWriteSeek};
use sha2::{Digest, Sha256};

use super::fat;
use crate::patch::{Draft, Why};
use crate::read::{ReadAt, ReadError, Window};
use crate::record::EspFile;
use crate::units::{Bytes, Extent};

/// How long a boot configuration may be.
const LENGTH: u64 = 1 << 20;
/// How many there may be.
const FILES: usize = 256;
/// How deep directories are searched for them.
const DEPTH: usize = 8;
/// How often `fatfs` may read or write: it reads the table entry by entry when it looks for a free one.
const WORK: u64 = 64 << 20;

/// A boot configuration on the system partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// From the top of the partition, as it is written there: `/EFI/BOOT/grub.cfg`.
    pub path: String,
    /// What is in it.
    pub text: Vec<u8>,
}

/// Why the system partition was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// The new file does not fit.
    #[error(
        "{path} on the EFI system partition needs {need} more bytes and {have} are free there; \
         pass fewer or shorter arguments"
    )]
    Full {
        /// The file.
        path: String,
        /// In whole clusters.
        need: Bytes,
        /// In whole clusters.
        have: Bytes,
    },
    /// There is no such file.
    #[error("the EFI system partition has no file {path}")]
    NotFound {
        /// The file.
        path: String,
    },
    /// The partition holds no FAT filesystem, or one that contradicts itself.
    #[error("the EFI system partition cannot be used: {0}")]
    Volume(#[from] ReadError),
    /// Reading or changing a file failed.
    #[error("{doing} {path} on the EFI system partition: {source}")]
    Io {
        /// "reading", "writing".
        doing: &'static str,
        /// The file.
        path: String,
        /// What `fatfs` said.
        source: io::Error,
    },
}

/// The boot configurations (`*.cfg`, `*.conf`) of the system partition in `extent`, in the order of its directories.
pub fn read(image: &dyn ReadAt, extent: Extent) -> Result<Vec<Configuration>, EspError> {
    let window = Window::new(image, extent);
    fat::survey(&window)?;
    let fs = mount(Reading(&window), window.len())?;
    let mut found = Vec::new();
    walk(&fs.root_dir(), "", 0, &mut |path, entry| {
        if is_configuration(&path) && entry.len() <= LENGTH && found.len() < FILES {
            let mut text = Vec::new();
            entry.to_file().take(LENGTH).read_to_end(&mut text)?;
            found.push(Configuration { path, text });
        }
        Ok(())
    })?;
    Ok(found)
}

/// The files of the system partition in `extent` with their digests, in the order of its directories; of more than can
/// be of use, the first.
pub fn files(image: &dyn ReadAt, extent: Extent) -> Result<Vec<EspFile>, EspError> {
    let window = Window::new(image, extent);
    fat::survey(&window)?;
    let fs = mount(Reading(&window), window.len())?;
    let mut found = Vec::new();
    walk(&fs.root_dir(), "", 0, &mut |path, entry| {
        if found.len() < FILES {
            let (mut digest, mut size) = (Sha256::new(), 0);
            let (mut file, mut buffer) = (entry.to_file(), vec![0; 1 << 16]);
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                digest.update(&buffer[..read]);
                size += read as u64;
            }
            found.push(EspFile {
                path,
                size: Bytes(size),
                sha256: digest.finalize().into(),
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// Puts `text` into the file at `path`, which must exist, on a draft.
pub fn replace(draft: &mut Draft, extent: Extent, path: &str, text: &[u8]) -> Result<(), EspError> {
    let io_error = |doing, source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => EspError::NotFound {
            path: path.to_owned(),
        },
        _ => EspError::Io {
            doing,
            path: path.to_owned(),
            source,
        },
    };
    let window = Window::new(&*draft, extent);
    let volume = fat::survey(&window)?;
    let len = window.len();
    let (old, modified) = {
        let fs = mount(Reading(&window), len)?;
        let entry = find(&fs, path).map_err(|e| io_error("looking for", e))?;
        (entry.len(), entry.modified())
    };
    let clusters = |len: u64| len.div_ceil(u64::from(volume.cluster));
    let need = clusters(text.len() as u64).saturating_sub(clusters(old));
    if need > u64::from(volume.free) {
        return Err(EspError::Full {
            path: path.to_owned(),
            need: Bytes(need * u64::from(volume.cluster)),
            have: Bytes(u64::from(volume.free) * u64::from(volume.cluster)),
        });
    }
    let why = Why::BootArguments {
        file: path.to_owned(),
    };
    let at = Bytes(extent.at.0);
    let fs = mount(Drafting { draft, at, why }, len)?;
    let write = || -> io::Result<()> {
        let mut file = fs.root_dir().open_file(path.trim_start_matches('/'))?;
        file.write_all(text)?;
        file.truncate()?;
        // Writing stamped it with the time of the provider; what was there is put back.
        #[expect(
            deprecated,
            reason = "a TimeProvider does not know which file it is asked for"
        )]
        file.set_modified(modified);
        file.flush()
    };
    write().map_err(|e| io_error("writing", e))?;
    fs.unmount().map_err(|e| io_error("writing", e))
}

/// Hands a surveyed volume to `fatfs`.
fn mount<D: Disk>(disk: D, len: Bytes) -> Result<FileSystem<Stream<D>>, EspError> {
    let stream = Stream {
        disk,
        len: len.0,
        at: 0,
        work: 0,
    };
    FileSystem::new(stream, FsOptions::new()).map_err(|source| EspError::Io {
        doing: "opening",
        path: "/".to_owned(),
        source,
    })
}

/// The directory entry of a file.
fn find<'a, T: ReadWriteSeek>(
    fs: &'a FileSystem<T>,
    path: &str,
) -> io::Result<fatfs::DirEntry<'a, T>> {
    let path = path.trim_start_matches('/');
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let root = fs.root_dir();
    let directory = match directory {
        "" => root,
        directory => root.open_dir(directory)?,
    };
    for entry in directory.iter() {
        let entry = entry?;
        let long = entry.file_name();
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        if entry.is_file() && (same(&long) || same(&entry.short_file_name())) {
            return Ok(entry);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Every file, in the order of the directories.
fn walk<'a, T: ReadWriteSeek>(
    directory: &fatfs::Dir<'a, T>,
    above: &str,
    depth: usize,
    each: &mut dyn FnMut(String, &fatfs::DirEntry<'a, T>) -> io::Result<()>,
) -> Result<(), EspError> {
    for entry in directory.iter() {
        let reading = |path: String| {
            move |source| EspError::Io {
                doing: "reading",
                path,
                source,
            }
        };
        let entry = entry.map_err(reading(format!("{above}/")))?;
        let name = entry.file_name();
        let path = format!("{above}/{name}");
        if entry.is_dir() {
            if depth < DEPTH && name != "." && name != ".." {
                walk(&entry.to_dir(), &path, depth + 1, each)?;
            }
        } else if entry.is_file() {
            each(path.clone(), &entry).map_err(reading(path))?;
        }
    }
    Ok(())
}

/// Whether a file is a boot configuration, by its name.
fn is_configuration(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    ["cfg", "conf"]
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known))
}

/// A place for `fatfs` to read from and perhaps write to.
trait Disk {
    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError>;
    fn write(&mut self, at: Bytes, bytes: &[u8]) -> io::Result<()>;
}

/// A volume that stays as it is.
struct Reading<'a, R>(&'a Window<R>);

impl<R: ReadAt> Disk for Reading<'_, R> {
    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact_at(at, buf)
    }

    fn write(&mut self, _: Bytes, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A volume that changes on a draft.
struct Drafting<'a, 'i> {
    draft: &'a mut Draft<'i>,
    at: Bytes,
    why: Why,
}

impl Disk for Drafting<'_, '_> {
    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.draft.read_exact_at(self.at + at, buf)
    }

    fn write(&mut self, at: Bytes, bytes: &[u8]) -> io::Result<()> {
        let written = self.draft.write(self.at + at, bytes, &self.why);
        written.map_err(io::Error::other)
    }
}

/// A disk with a place in it, limited to the partition and to a bounded number of reads and writes.
struct Stream<D> {
    disk: D,
    len: u64,
    at: u64,
    work: u64,
}

impl<D> Stream<D> {
    /// How much of `wanted` bytes lies in the partition.
    fn take(&mut self, wanted: usize) -> io::Result<usize> {
        self.work += 1;
        if self.work > WORK {
            return Err(io::Error::other("the filesystem leads round in circles"));
        }
        let left = self.len.saturating_sub(self.at);
        Ok(usize::try_from(left).unwrap_or(wanted).min(wanted))
    }
}

impl<D: Disk> Read for Stream<D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.take(buf.len())?;
        let read = self.disk.read(Bytes(self.at), &mut buf[..len]);
        read.map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<D: Disk> Write for Stream<D> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.take(buf.len())?;
        self.disk.write(Bytes(self.at), &buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<D> Seek for Stream<D> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        let at = match pos {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
