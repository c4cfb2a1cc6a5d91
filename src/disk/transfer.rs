// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading and writing a medium at any place, though direct I/O moves whole grains only.
//!
//! Whole grains in aligned memory go straight to the medium. Anything else goes through a buffer, which first takes
//! what the grains at both ends hold.

use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::buffer::{ALIGN, Buffer};
use super::direct::{Bypass, Medium, MediumError};
use crate::read::{ReadAt, ReadError};
use crate::record::place::WriteAt;
use crate::units::{Bytes, Extent, MIB};

/// What unaligned I/O goes through.
const BOUNCE: u64 = MIB;

impl Medium {
    /// Writes all of `bytes` at `at`.
    pub fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), MediumError> {
        let failed = |e| self.io("writing", at, bytes.len(), e);
        if self.is_disk {
            let end = at.checked_add(Bytes(bytes.len() as u64));
            if end.is_none_or(|end| end > self.size) {
                return Err(failed(io::Error::from(Errno::NOSPC)));
            }
        }
        if self.goes_straight(at, bytes) {
            return self.file.write_all_at(bytes, at.0).map_err(failed);
        }
        self.write_through_buffer(at, bytes).map_err(failed)
    }

    /// Fills `buf` from `at` on.
    pub fn read_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), MediumError> {
        let (straight, len) = (self.goes_straight(at, buf), buf.len());
        let done = if straight {
            self.file.read_exact_at(buf, at.0)
        } else {
            self.read_through_buffer(at, buf)
        };
        done.map_err(|e| self.io("reading", at, len, e))
    }

    /// Makes a range of a file zeros without writing them; false where that cannot be had, and nothing changed. A
    /// disk is never asked: what it returns for discarded blocks is its own affair.
    pub fn make_hole(&self, extent: Extent) -> bool {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        !self.is_disk && rustix::fs::fallocate(&self.file, punch, extent.at.0, extent.len.0).is_ok()
    }

    /// How much of `extent` of a file is holes: zeros that no medium holds, and that no read fetches (lseek(2),
    /// `SEEK_HOLE`). A disk has none.
    pub fn holes(&self, extent: Extent) -> Bytes {
        if self.is_disk {
            return Bytes::ZERO;
        }
        let mut holes = Bytes::ZERO;
        let mut at = extent.at;
        while at < extent.end() {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at.0)) {
                Ok(data) => Bytes(data).min(extent.end()),
                Err(Errno::NXIO) => extent.end(),
                Err(_) => break,
            };
            holes += data - at;
            at = match rustix::fs::seek(&self.file, SeekFrom::Hole(data.0)) {
                Ok(hole) if data < extent.end() => Bytes(hole),
                _ => break,
            };
        }
        holes
    }

    fn goes_straight(&self, at: Bytes, memory: &[u8]) -> bool {
        self.bypass != Bypass::Direct
            || (at.0.is_multiple_of(self.grain.0)
                && (memory.len() as u64).is_multiple_of(self.grain.0)
                && memory.as_ptr().addr().is_multiple_of(ALIGN))
    }

    /// The grains around a range, in pieces that fit a buffer.
    fn pieces(&self, at: Bytes, len: usize) -> impl Iterator<Item = Extent> + use<> {
        let end = (at + Bytes(len as u64)).align_up(self.grain);
        let mut next = at.align_down(self.grain);
        std::iter::from_fn(move || {
            let len = Bytes(BOUNCE).min(end - next);
            let piece = Extent { at: next, len };
            next += len;
            (len > Bytes::ZERO).then_some(piece)
        })
    }

    fn write_through_buffer(&self, at: Bytes, bytes: &[u8]) -> io::Result<()> {
        let before = self.size();
        let wanted = Extent {
            at,
            len: Bytes(bytes.len() as u64),
        };
        let mut buffer = Buffer::new(index(BOUNCE));
        for piece in self.pieces(at, bytes.len()) {
            let held = &mut buffer[..index(piece.len.0)];
            if !wanted.contains(piece) {
                self.read_what_is(piece.at, held)?;
            }
            crate::patch::lay(held, piece.at, at, bytes);
            self.file.write_all_at(held, piece.at.0)?;
        }
        let (written, end) = (wanted.end().align_up(self.grain), wanted.end());
        if !self.is_disk && written > before.max(end) {
            self.file.set_len(before.max(end).0)?;
        }
        Ok(())
    }

    fn read_through_buffer(&self, at: Bytes, out: &mut [u8]) -> io::Result<()> {
        if at + Bytes(out.len() as u64) > self.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = Buffer::new(index(BOUNCE));
        for piece in self.pieces(at, out.len()) {
            let held = &mut buffer[..index(piece.len.0)];
            self.read_what_is(piece.at, held)?;
            crate::patch::lay(out, at, piece.at, held);
        }
        Ok(())
    }

    /// Fills `buf` from `at`, with zeros beyond the end.
    fn read_what_is(&self, at: Bytes, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], at.0 + done as u64) {
                Ok(0) => break,
                Ok(more) => {
                    done += more;
                    // The end of the file: direct I/O cannot go on from the middle of a grain.
                    if !(more as u64).is_multiple_of(self.grain.0) {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        buf[done..].fill(0);
        Ok(())
    }
}

impl ReadAt for Medium {
    fn len(&self) -> Bytes {
        self.size()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        self.read_at(at, buf)
            .map_err(|error| foreign(at, len, error))
    }
}

impl WriteAt for Medium {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        self.write_at(at, bytes)
            .map_err(|error| foreign(at, bytes.len(), error))
    }

    fn flush(&self) -> Result<(), ReadError> {
        self.flush().map_err(|error| foreign(Bytes::ZERO, 0, error))
    }
}

/// The same error in the terms of readers.
fn foreign(at: Bytes, len: usize, error: MediumError) -> ReadError {
    let source = match error {
        MediumError::Io { source, .. } => source,
        other => io::Error::other(other),
    };
    ReadError::Io { at, len, source }
}

/// Lengths here are at most [`BOUNCE`].
fn index(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::direct::Kind;
    use proptest::prelude::*;

    fn new_file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("stick.img");
        (dir, path)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The medium against a vector in memory.
        #[test]
        fn any_range_is_written_and_nothing_else(
            writes in proptest::collection::vec((0usize..3_000_000, 0usize..1_500_000, any::<u8>()), 1..5),
        ) {
            let (_dir, path) = new_file();
            let medium = Medium::open(&path, Kind::NewFile).unwrap();
            let mut model: Vec<u8> = Vec::new();
            for (at, len, byte) in writes {
                let end = at + len;
                if len > 0 && model.len() < end {
                    model.resize(end, 0);
                }
                model[at.min(end)..].iter_mut().take(len).for_each(|held| *held = byte);
                medium.write_at(Bytes(at as u64), &vec![byte; len]).unwrap();
                prop_assert_eq!(medium.size(), Bytes(model.len() as u64));
                let mut seen = vec![0; len];
                medium.read_at(Bytes(at as u64), &mut seen).unwrap();
                prop_assert!(seen.iter().all(|held| *held == byte));
            }
            medium.flush().unwrap();
            prop_assert!(std::fs::read(&path).unwrap() == model);
        }
    }

    #[test]
    fn a_hole_is_zeros_and_nothing_around_it_changes() {
        let (_dir, path) = new_file();
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let medium = Medium::open(&path, Kind::File).unwrap();
        let hole = Extent {
            at: Bytes(8192),
            len: Bytes(65536),
        };
        assert!(medium.make_hole(hole));
        let now = std::fs::read(&path).unwrap();
        let mut expected = vec![7; 1 << 20];
        expected[8192..8192 + 65536].fill(0);
        assert!(now == expected);
    }

    #[test]
    fn reading_beyond_the_end_is_an_error() {
        let (_dir, path) = new_file();
        std::fs::write(&path, [1; 5000]).unwrap();
        let medium = Medium::open(&path, Kind::File).unwrap();
        let mut buffer = Buffer::new(8192);
        assert!(medium.read_at(Bytes::ZERO, &mut buffer).is_err());
        assert!(medium.read_at(Bytes(4999), &mut [0; 2]).is_err());
        medium.read_at(Bytes(4990), &mut [0; 10]).unwrap();
        assert!(medium.read_at(Bytes(u64::MAX), &mut [0; 1]).is_err());
        assert!(medium.write_at(Bytes(u64::MAX - 1), &[0; 4]).is_err());
        assert_eq!(medium.read_vec(Bytes(1), 3).unwrap(), [1; 3]);
    }
}
