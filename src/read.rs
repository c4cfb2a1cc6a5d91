// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading at a place: the one interface through which every parser sees an image, a part of one, or a draft.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::units::{Bytes, Extent};

/// What a parser could not read, or would not believe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file itself failed.
    #[error("reading {len} bytes at byte {at}: {source}")]
    Io {
        /// Where.
        at: Bytes,
        /// How much.
        len: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are there but contradict their format.
    #[error("{what} at byte {at}: {why}")]
    Malformed {
        /// The structure, in the words of its specification: "directory record".
        what: &'static str,
        /// Where it starts.
        at: Bytes,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    /// A structure that contradicts its format.
    pub fn malformed(what: &'static str, at: Bytes, why: impl Into<String>) -> ReadError {
        ReadError::Malformed {
            what,
            at,
            why: why.into(),
        }
    }
}

/// Bytes that can be read at any place, of a known length.
pub trait ReadAt {
    /// How many bytes there are.
    fn len(&self) -> Bytes;

    /// Fill `buf` from byte `at` on; reading beyond the end is an error.
    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == Bytes::ZERO
    }

    /// `len` bytes at `at` in memory of their own. `len` must be bounded by the caller.
    fn read_vec(&self, at: Bytes, len: usize) -> Result<Vec<u8>, ReadError> {
        // Asked before the memory is: a hostile length must not become an allocation.
        check(self.len(), at, len)?;
        let mut buf = vec![0; len];
        self.read_exact_at(at, &mut buf)?;
        Ok(buf)
    }
}

/// Refuses a read that leaves the `size` bytes there are.
fn check(size: Bytes, at: Bytes, len: usize) -> Result<(), ReadError> {
    let end = at.checked_add(Bytes(len as u64));
    if end.is_some_and(|end| end <= size) {
        return Ok(());
    }
    let source = io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("there are only {size} bytes"),
    );
    Err(ReadError::Io { at, len, source })
}

impl ReadAt for [u8] {
    fn len(&self) -> Bytes {
        Bytes(<[u8]>::len(self) as u64)
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        check(ReadAt::len(self), at, buf.len())?;
        if let Some(from) = at.index().and_then(|at| self.get(at..at + buf.len())) {
            buf.copy_from_slice(from);
        }
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> Bytes {
        ReadAt::len(self.as_slice())
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.as_slice().read_exact_at(at, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn len(&self) -> Bytes {
        (**self).len()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        (**self).read_exact_at(at, buf)
    }
}

/// An open file or block device, and its size.
#[derive(Debug)]
pub struct Source {
    file: File,
    size: Bytes,
}

impl Source {
    /// Reads `file`, which holds `size` bytes.
    pub fn new(file: File, size: Bytes) -> Source {
        Source { file, size }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for Source {
    fn len(&self) -> Bytes {
        self.size
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        check(self.size, at, buf.len())?;
        self.file
            .read_exact_at(buf, at.0)
            .map_err(|source| ReadError::Io {
                at,
                len: buf.len(),
                source,
            })
    }
}

/// A part of something readable, seen as a whole: a partition, a file's extent.
#[derive(Clone, Copy, Debug)]
pub struct Window<R> {
    inner: R,
    extent: Extent,
}

impl<R: ReadAt> Window<R> {
    /// The bytes of `inner` in `extent`, which is cut to what exists.
    pub fn new(inner: R, extent: Extent) -> Window<R> {
        let at = extent.at.min(inner.len());
        let len = extent.len.min(inner.len() - at);
        Window {
            inner,
            extent: Extent { at, len },
        }
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn len(&self) -> Bytes {
        self.extent.len
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        check(self.extent.len, at, buf.len())?;
        self.inner.read_exact_at(self.extent.at + at, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_ends() {
        let data: Vec<u8> = (0..100).collect();
        let window = Window::new(
            &data,
            Extent {
                at: Bytes(90),
                len: Bytes(50),
            },
        );
        assert_eq!(window.len(), Bytes(10));
        assert_eq!(window.read_vec(Bytes(8), 2).unwrap(), [98, 99]);
        assert!(window.read_vec(Bytes(8), 3).is_err());
        assert!(window.read_vec(Bytes(u64::MAX), 3).is_err());
    }
}
