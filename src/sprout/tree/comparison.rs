// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two trees side by side.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::level::Level;
use super::{Survey, TreeError, bounded, failed, file_name};
use crate::units::Bytes;

/// How much of two files is held in memory.
const CHUNK: usize = 1 << 20;

/// Compares two trees; `seen` is told how many bytes of files were compared. Gives what they hold.
pub fn compare(
    left: BorrowedFd<'_>,
    right: BorrowedFd<'_>,
    seen: &mut dyn FnMut(Bytes),
    cancel: &AtomicBool,
) -> Result<Survey, TreeError> {
    let mut comparison = Comparison {
        found: Survey::default(),
        pairs: HashMap::new(),
        backwards: HashMap::new(),
        buffers: [vec![0; CHUNK], vec![0; CHUNK]],
        seen,
        cancel,
    };
    let top = Path::new("");
    let levels = [
        Level::open(left, c".", top)?,
        Level::open(right, c".", top)?,
    ];
    comparison.attributes(&levels, c".", Path::new("/"))?;
    let mut way = vec![levels];
    while let Some(levels) = way.last_mut() {
        let [a, b] = levels;
        let name = match (a.names.pop(), b.names.pop()) {
            (None, None) => {
                way.pop();
                continue;
            }
            (Some(a), Some(b)) if a == b => a,
            // Both lists are sorted the same way, so the greater of the two names is in one tree only.
            (a, b) => {
                let (name, tree) = if a > b { (a, "copy") } else { (b, "original") };
                let path = levels[0].path.join(file_name(&name.unwrap_or_default()));
                return differs(&path, format!("it is not in the {tree}"));
            }
        };
        let path = levels[0].path.join(file_name(&name));
        if comparison.entry(levels, &name, &path)? {
            let below = [
                Level::open(levels[0].directory.as_fd(), &name, &path)?,
                Level::open(levels[1].directory.as_fd(), &name, &path)?,
            ];
            way.push(below);
        }
        bounded(comparison.found.entries, way.len(), &path)?;
    }
    Ok(comparison.found)
}

fn differs<T>(path: &Path, what: impl Into<String>) -> Result<T, TreeError> {
    Err(TreeError::Differs {
        path: path.into(),
        what: what.into(),
    })
}

/// Which file of which filesystem.
type Inode = (u64, u64);

struct Comparison<'a> {
    found: Survey,
    /// The file in the copy for each file with several names, and the other way round.
    pairs: HashMap<Inode, Inode>,
    backwards: HashMap<Inode, Inode>,
    buffers: [Vec<u8>; 2],
    seen: &'a mut dyn FnMut(Bytes),
    cancel: &'a AtomicBool,
}

impl Comparison<'_> {
    /// Compares one name; says whether it is a directory.
    fn entry(&mut self, levels: &[Level; 2], name: &CStr, path: &Path) -> Result<bool, TreeError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(TreeError::Cancelled);
        }
        self.found.entries += 1;
        let stat = self.attributes(levels, name, path)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(true),
            FileType::RegularFile => {
                let size = Bytes(u64::try_from(stat.st_size).unwrap_or(0));
                self.found.bytes += size;
                self.contents(levels, name, path, size)?;
            }
            FileType::Symlink => {
                let target = |level: &Level| {
                    rustix::fs::readlinkat(&level.directory, name, Vec::new())
                        .map_err(|source| failed(path, source))
                };
                let (a, b) = (target(&levels[0])?, target(&levels[1])?);
                if a != b {
                    return differs(path, format!("it leads to {b:?} instead of {a:?}"));
                }
            }
            _ => {}
        }
        Ok(false)
    }

    /// Compares what a name says of itself; gives that.
    fn attributes(
        &mut self,
        levels: &[Level; 2],
        name: &CStr,
        path: &Path,
    ) -> Result<Stat, TreeError> {
        let (a, b) = (levels[0].stat(name, path)?, levels[1].stat(name, path)?);
        let kind = FileType::from_raw_mode(a.st_mode);
        let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
        let checks = [
            ("mode", u64::from(a.st_mode), u64::from(b.st_mode)),
            ("owner", u64::from(a.st_uid), u64::from(b.st_uid)),
            ("group", u64::from(a.st_gid), u64::from(b.st_gid)),
        ];
        for (what, a, b) in checks {
            if a != b {
                return differs(
                    path,
                    format!("its {what} is {b:o} instead of {a:o} (octal)"),
                );
            }
        }
        if time(&a) != time(&b) {
            return differs(
                path,
                format!("its time is {:?} instead of {:?}", time(&b), time(&a)),
            );
        }
        if kind != FileType::Directory && a.st_size != b.st_size {
            return differs(
                path,
                format!("it has {} bytes instead of {}", b.st_size, a.st_size),
            );
        }
        let special = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        if special && a.st_rdev != b.st_rdev {
            return differs(
                path,
                format!("it is device {:#x} instead of {:#x}", b.st_rdev, a.st_rdev),
            );
        }
        if kind != FileType::Directory && (a.st_nlink > 1 || b.st_nlink > 1) {
            let (here, there) = ((a.st_dev, a.st_ino), (b.st_dev, b.st_ino));
            let same = *self.pairs.entry(here).or_insert(there) == there
                && *self.backwards.entry(there).or_insert(here) == here;
            if !same {
                return differs(path, "it is one file with other names than in the original");
            }
        }
        let (ours, theirs) = (levels[0].xattrs(name, path)?, levels[1].xattrs(name, path)?);
        if ours != theirs {
            let odd = ours
                .iter()
                .find(|pair| !theirs.contains(pair))
                .or_else(|| theirs.iter().find(|pair| !ours.contains(pair)));
            let what = odd.map_or(String::new(), |(name, _)| {
                String::from_utf8_lossy(name).into_owned()
            });
            return differs(path, format!("its extended attribute {what} differs"));
        }
        Ok(a)
    }

    fn contents(
        &mut self,
        levels: &[Level; 2],
        name: &CStr,
        path: &Path,
        size: Bytes,
    ) -> Result<(), TreeError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |level: &Level| {
            rustix::fs::openat(&level.directory, name, flags, Mode::empty())
                .map_err(|source| failed(path, source))
        };
        let (a, b) = (open(&levels[0])?, open(&levels[1])?);
        let mut at = 0;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(TreeError::Cancelled);
            }
            let [left, right] = &mut self.buffers;
            let len = fill(&a, at, left).map_err(|source| failed(path, source))?;
            let other = fill(&b, at, right).map_err(|source| failed(path, source))?;
            if left[..len] != right[..other] {
                let same = left[..len].iter().zip(&right[..other]);
                let place = same.take_while(|(a, b)| a == b).count();
                return differs(
                    path,
                    format!("its contents differ at byte {}", at + place as u64),
                );
            }
            at += len as u64;
            (self.seen)(Bytes(len as u64));
            if len < CHUNK {
                break;
            }
        }
        if Bytes(at) != size {
            return differs(path, format!("{at} bytes could be read of its {size}"));
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &OwnedFd, at: u64, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::pread(file, &mut buffer[len..], at + len as u64)
        })?;
        if read == 0 {
            break;
        }
        len += read;
    }
    Ok(len)
}
