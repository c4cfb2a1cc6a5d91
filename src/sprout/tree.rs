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

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::units::Bytes;

/// Directories in directories.
const DEPTH: usize = 256;
/// Entries of a tree.
const ENTRIES: u64 = 20_000_000;
/// How much of two files is held in memory.
const CHUNK: usize = 1 << 20;
/// The longest list of names, and the longest value, of extended attributes (limits.h `XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX`).
const XATTR: usize = 1 << 16;

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
pub fn enter(tree: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, TreeError> {
    let mut here = tree
        .try_clone_to_owned()
        .map_err(|_| failed("", Errno::MFILE))?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        here = rustix::fs::openat(&here, name, DIRECTORY, Mode::empty())
            .map_err(|source| failed(path, source))?;
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

fn file_name(name: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// An open directory, and the names in it that were not looked at yet.
struct Level {
    directory: OwnedFd,
    path: PathBuf,
    /// The next one last.
    names: Vec<CString>,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<Level, TreeError> {
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

    fn stat(&self, name: &CStr, path: &Path) -> Result<Stat, TreeError> {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|source| failed(path, source))
    }

    /// The extended attributes of a name, sorted.
    fn xattrs(&self, name: &CStr, path: &Path) -> Result<Vec<Attribute>, TreeError> {
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
type Attribute = (Vec<u8>, Vec<u8>);
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

/// The extended attribute of an open file or directory; `None` if it has none of that name.
pub fn attribute(of: BorrowedFd<'_>, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; XATTR];
    match rustix::fs::fgetxattr(of, name, &mut value[..]) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets an extended attribute of an open file or directory.
pub fn set_attribute(of: BorrowedFd<'_>, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(of, name, value, XattrFlags::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    const MOST: Bytes = Bytes(u64::MAX);

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("usr/bin")).unwrap();
        fs::write(at("usr/bin/program"), vec![7; 3 << 20]).unwrap();
        fs::hard_link(at("usr/bin/program"), at("usr/bin/alias")).unwrap();
        fs::write(at("usr/single"), "one").unwrap();
        symlink("usr/bin", at("bin")).unwrap();
        let sparse = File::create(at("sparse")).unwrap();
        sparse.set_len(5 << 20).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(at("fifo"))
                .status()
                .unwrap()
                .success()
        );
        if rustix::process::geteuid().is_root() {
            let mknod = ["c", "1", "3"];
            assert!(
                Command::new("mknod")
                    .arg(at("null"))
                    .args(mknod)
                    .status()
                    .unwrap()
                    .success()
            );
            let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let file = File::open(at("usr/bin/program")).unwrap();
            set_attribute(file.as_fd(), "security.capability", &capability).unwrap();
        }
        dir
    }

    fn copy(of: &Path) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("cp")
            .args(["-a", "-T"])
            .arg(of)
            .arg(dir.path())
            .status();
        assert!(status.unwrap().success());
        dir
    }

    fn judge(left: &Path, right: &Path) -> Result<Survey, TreeError> {
        let (left, right) = (File::open(left).unwrap(), File::open(right).unwrap());
        let never = AtomicBool::new(false);
        compare(left.as_fd(), right.as_fd(), &mut |_| {}, &never)
    }

    #[test]
    fn a_copy_by_cp_is_equal_and_is_counted_as_find_counts() {
        let one = sample();
        let two = copy(one.path());
        let found = judge(one.path(), two.path()).unwrap();
        let find = Command::new("find")
            .arg(one.path())
            .args(["-mindepth", "1"])
            .output()
            .unwrap();
        let lines = String::from_utf8_lossy(&find.stdout).lines().count();
        assert_eq!(found.entries, lines as u64);
        let directory = File::open(one.path()).unwrap();
        let never = AtomicBool::new(false);
        assert_eq!(survey(directory.as_fd(), MOST, &never).unwrap(), found);
        let little = survey(directory.as_fd(), Bytes(4 << 20), &never);
        assert!(matches!(little, Err(TreeError::Absurd { .. })));
    }

    /// A change to a copy, and what has to be named.
    type Case = (&'static str, fn(&Path));

    #[test]
    fn every_difference_is_seen() {
        let touch = |path: &Path, when: &str| {
            let status = Command::new("touch")
                .args(["-h", "-d", when])
                .arg(path)
                .status();
            assert!(status.unwrap().success());
        };
        // What is changed is given its times back, so that only the change itself can be what is seen.
        let cases: [Case; 8] = [
            ("contents differ at byte 2097152", |at| {
                let file = File::options().write(true).open(at.join("sparse")).unwrap();
                file.write_all_at(&[1], 2 << 20).unwrap();
            }),
            ("instead of 3", |at| {
                fs::write(at.join("usr/single"), "oneone").unwrap();
            }),
            ("it leads to", |at| {
                fs::remove_file(at.join("bin")).unwrap();
                symlink("usr/xxx", at.join("bin")).unwrap();
            }),
            ("mode", |at| {
                fs::set_permissions(at.join("usr/single"), PermissionsExt::from_mode(0o4644))
                    .unwrap();
            }),
            ("not in the copy", |at| {
                fs::remove_file(at.join("fifo")).unwrap();
            }),
            ("not in the original", |at| {
                fs::write(at.join("usr/more"), "").unwrap();
            }),
            ("one file with other names", |at| {
                fs::remove_file(at.join("usr/bin/alias")).unwrap();
                let (from, to) = (at.join("usr/bin/program"), at.join("usr/bin/alias"));
                let cp = Command::new("cp").arg("-a").arg(from).arg(to).status();
                assert!(cp.unwrap().success());
            }),
            ("attribute user.x", |at| {
                let file = File::open(at.join("usr/single")).unwrap();
                set_attribute(file.as_fd(), "user.x", b"1").unwrap();
            }),
        ];
        let one = sample();
        for (what, change) in cases {
            let two = copy(one.path());
            change(two.path());
            for path in [
                "sparse",
                "usr/bin/program",
                "usr/single",
                "bin",
                "fifo",
                "usr/bin",
                "usr",
                ".",
            ] {
                let time = fs::symlink_metadata(one.path().join(path)).unwrap();
                let when = format!("@{}.{:09}", mtime(&time).0, mtime(&time).1);
                if two.path().join(path).symlink_metadata().is_ok() {
                    touch(&two.path().join(path), &when);
                }
            }
            let said = judge(one.path(), two.path()).unwrap_err().to_string();
            assert!(said.contains(what), "{what}: {said}");
        }
        let two = copy(one.path());
        touch(&two.path().join("usr/single"), "@1.000000001");
        let said = judge(one.path(), two.path()).unwrap_err().to_string();
        assert!(said.contains("its time"), "{said}");
    }

    fn mtime(meta: &fs::Metadata) -> (i64, i64) {
        use std::os::unix::fs::MetadataExt;
        (meta.mtime(), meta.mtime_nsec())
    }

    #[test]
    fn a_directory_is_entered_by_no_link() {
        let one = sample();
        let top = File::open(one.path()).unwrap();
        assert!(enter(top.as_fd(), "usr/bin").is_ok());
        assert!(enter(top.as_fd(), "bin").is_err());
        assert!(enter(top.as_fd(), "usr/single").is_err());
    }
}
