// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks that are not what they claim: a file served by FUSE whose memory lies, under a loop device that reads and
//! writes it directly. Needs root.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use tempfile::TempDir;

use super::device::Loop;
use super::lab::scratch;

const SECTOR: u64 = 512;
const NAME: &str = "stick";
const FILE: INodeNo = INodeNo(2);

/// What is read where nothing is kept.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    Zeros,
    Ones,
    Noise,
}

/// How a stick lies.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    Honest,
    /// Addresses from here on are those from zero on.
    Wraps(u64),
    /// What is written from here on is forgotten.
    Drops(u64, Reads),
    /// Reading this sector fails.
    FailsReading(u64),
    /// Writing this sector fails.
    FailsWriting(u64),
    /// This sector stays what it is, whatever is written to it.
    Keeps(u64),
    /// Writing this sector changes that one.
    Disturbs(u64, u64),
}

/// The memory of a stick. What was never written is different in every sector.
pub struct Memory {
    pub lie: Lie,
    /// Every write takes this long.
    pub delay: Duration,
    /// Requests to write that came.
    pub writes: usize,
    size: u64,
    sectors: HashMap<u64, [u8; 512]>,
    noise: u64,
}

impl Memory {
    fn cell(&self, at: u64) -> Option<u64> {
        match self.lie {
            Lie::Wraps(real) => Some(at % real),
            Lie::Drops(real, _) => (at < real).then_some(at),
            _ => Some(at),
        }
    }

    fn fresh(cell: u64) -> [u8; 512] {
        let mut sector = [0x11; 512];
        let word = (cell + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        sector[256..264].copy_from_slice(&word.to_le_bytes());
        sector
    }

    fn read(&mut self, at: u64) -> Option<[u8; 512]> {
        if let Lie::FailsReading(bad) = self.lie
            && bad == at
        {
            return None;
        }
        Some(match (self.cell(at), self.lie) {
            (Some(cell), _) => {
                let held = self.sectors.get(&cell).copied();
                held.unwrap_or_else(|| Memory::fresh(cell))
            }
            (None, Lie::Drops(_, Reads::Ones)) => [0xFF; 512],
            (None, Lie::Drops(_, Reads::Noise)) => {
                self.noise += 1;
                Memory::fresh(self.noise)
            }
            (None, _) => [0; 512],
        })
    }

    fn write(&mut self, at: u64, sector: &[u8; 512]) -> bool {
        if let Lie::FailsWriting(bad) = self.lie
            && bad == at
        {
            return false;
        }
        if let Lie::Disturbs(written, other) = self.lie
            && written == at
        {
            self.flip(other);
        }
        let kept = matches!(self.lie, Lie::Keeps(kept) if kept == at);
        if let Some(cell) = self.cell(at).filter(|_| !kept) {
            self.sectors.insert(cell, *sector);
        }
        true
    }

    /// The memory itself, not through the lie: addresses of sectors that are not as they were in the beginning.
    pub fn changed(&self) -> Vec<u64> {
        let sectors = self.sectors.iter();
        let mut changed: Vec<u64> = sectors
            .filter(|(cell, held)| **held != Memory::fresh(**cell))
            .map(|(cell, _)| *cell)
            .collect();
        changed.sort_unstable();
        changed
    }

    /// Inverts a byte of the memory itself, as a medium does that goes bad.
    pub fn flip(&mut self, at: u64) {
        let cell = at / SECTOR * SECTOR;
        let held = self.sectors.entry(cell).or_insert(Memory::fresh(cell));
        held[usize::try_from(at - cell).unwrap()] ^= 0xFF;
    }
}

/// A lying stick. Its memory can be looked at and changed at any time through [`Fake::memory`].
pub struct Fake {
    // In the order of going away.
    stick: Option<Loop>,
    session: Option<BackgroundSession>,
    dir: TempDir,
    memory: Arc<Mutex<Memory>>,
}

impl Fake {
    /// A disk that claims `size` bytes.
    pub fn new(size: u64, lie: Lie) -> Fake {
        let memory = Arc::new(Mutex::new(Memory {
            lie,
            delay: Duration::ZERO,
            writes: 0,
            size,
            sectors: HashMap::new(),
            noise: 1,
        }));
        let dir = TempDir::new_in(scratch()).unwrap();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("livestick-test".into())];
        let served = Served(Arc::clone(&memory));
        let session = fuser::spawn_mount(served, dir.path(), &config).unwrap();
        let stick = Loop::direct(&dir.path().join(NAME));
        Fake {
            stick: Some(stick),
            session: Some(session),
            dir,
            memory,
        }
    }

    /// The disk.
    pub fn node(&self) -> &Path {
        &self.stick.as_ref().unwrap().node
    }

    /// The file behind it.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stick.take());
        drop(self.session.take());
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Served(Arc<Mutex<Memory>>);

impl Served {
    fn attributes(&self, of: INodeNo) -> FileAttr {
        let is_file = of == FILE;
        let size = if is_file { lock(&self.0).size } else { 0 };
        FileAttr {
            ino: of,
            size,
            blocks: size / SECTOR,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&Duration::MAX, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::MAX, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        at: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut memory = lock(&self.0);
        let end = (at + u64::from(len)).min(memory.size);
        let mut bytes = Vec::new();
        let mut sector = at / SECTOR * SECTOR;
        while sector < end {
            let Some(held) = memory.read(sector) else {
                reply.error(Errno::EIO);
                return;
            };
            bytes.extend_from_slice(&held);
            sector += SECTOR;
        }
        drop(memory);
        let skip = usize::try_from(at % SECTOR).unwrap();
        let len = usize::try_from(end.saturating_sub(at)).unwrap();
        reply.data(&bytes[skip..skip + len]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut memory = lock(&self.0);
        let delay = memory.delay;
        memory.writes += 1;
        let (sectors, rest) = bytes.as_chunks::<512>();
        let whole = at.is_multiple_of(SECTOR) && rest.is_empty();
        let done = whole
            && (at..)
                .step_by(512)
                .zip(sectors)
                .all(|(at, sector)| memory.write(at, sector));
        drop(memory);
        sleep(delay);
        if done {
            reply.written(u32::try_from(bytes.len()).unwrap());
        } else {
            reply.error(Errno::EIO);
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}
