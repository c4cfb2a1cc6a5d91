// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data of a regular file, at any place.
//!
//! The lengths of a file's blocks are a list in the metadata; where a block lies is the sum of those before it. The sum
//! is remembered every [`STRIDE`] blocks, so a file of any size costs little memory and a jump costs one stride.

use std::cell::RefCell;
use std::rc::Rc;

use super::inode::{Contents, Inode, Regular};
use super::metadata::Place;
use super::{ABSENT32, Squashfs, malformed};
use crate::image::root::{Node, TreeError};
use crate::read::{ReadAt, ReadError};
use crate::superblock::field;
use crate::units::Bytes;

/// Blocks between two remembered sums.
const STRIDE: u64 = 1024;
/// Data blocks kept, each at most 1 MiB.
const KEPT: usize = 8;
/// A file that claims more is not believed: root images have some GiB. It bounds how many sums are remembered.
const MAX_SIZE: Bytes = Bytes(1 << 40);
/// "As it is", in a block's length. Linux, `SQUASHFS_COMPRESSED_BIT_BLOCK`.
const AS_IS: u32 = 1 << 24;

/// Unpacked data blocks by their place in the image, the newest at the end.
#[derive(Default)]
pub(super) struct DataCache(Vec<(u64, Rc<[u8]>)>);

/// Where the list of lengths and the data stand at the start of a stride.
#[derive(Clone, Copy)]
struct Mark {
    list: Place,
    data: u64,
}

/// A regular file in a SquashFS.
pub struct SquashFile<'a> {
    squashfs: Squashfs<'a>,
    file: Regular,
    marks: RefCell<Vec<Mark>>,
    /// The lengths of the stride that was read last.
    lengths: RefCell<Option<(u64, Rc<[u8]>)>>,
}

impl<'a> SquashFile<'a> {
    pub(super) fn open(
        squashfs: &Squashfs<'a>,
        node: Node,
    ) -> Result<Option<SquashFile<'a>>, TreeError> {
        let Contents::Regular(file) = Inode::read(squashfs, node)?.contents else {
            return Ok(None);
        };
        if file.size > MAX_SIZE {
            let why = format!("a file of {} bytes", file.size);
            return Err(malformed("squashfs inode", node.0, why));
        }
        let first = Mark {
            list: file.list,
            data: file.start,
        };
        Ok(Some(SquashFile {
            squashfs: squashfs.clone(),
            file,
            marks: RefCell::new(vec![first]),
            lengths: RefCell::new(None),
        }))
    }

    fn block_size(&self) -> u64 {
        u64::from(self.squashfs.0.layout.block)
    }

    /// How many blocks are in the list: the end of a file may be in a fragment.
    fn listed(&self) -> u64 {
        if self.file.fragment == ABSENT32 {
            self.file.size.0.div_ceil(self.block_size())
        } else {
            self.file.size.0 / self.block_size()
        }
    }

    /// The lengths of the blocks of a stride, and where the first of them lies.
    fn stride(&self, stride: u64) -> Result<(Rc<[u8]>, u64), TreeError> {
        let mut marks = self.marks.borrow_mut();
        let wanted = usize::try_from(stride).unwrap_or(usize::MAX);
        if let (Some(mark), Some((kept, lengths))) = (marks.get(wanted), &*self.lengths.borrow())
            && *kept == stride
        {
            return Ok((Rc::clone(lengths), mark.data));
        }
        loop {
            let index = wanted.min(marks.len().saturating_sub(1));
            let Some(mark) = marks.get(index).copied() else {
                return Err(malformed("squashfs file", self.file.start, "no blocks"));
            };
            let before = index as u64 * STRIDE;
            let count = self.listed().saturating_sub(before).min(STRIDE);
            let mut place = mark.list;
            let len = usize::try_from(count * 4).unwrap_or(0);
            let lengths: Rc<[u8]> = self.squashfs.metadata(&mut place, len)?.into();
            if index == wanted {
                *self.lengths.borrow_mut() = Some((stride, Rc::clone(&lengths)));
                return Ok((lengths, mark.data));
            }
            let total: u64 = lengths.chunks(4).map(stored).sum();
            marks.push(Mark {
                list: place,
                data: mark.data.saturating_add(total),
            });
        }
    }

    /// Block `index` of the file: `None` is a hole.
    fn block(&self, index: u64) -> Result<Option<Rc<[u8]>>, TreeError> {
        if index >= self.listed() {
            return self.fragment().map(Some);
        }
        let (lengths, start) = self.stride(index / STRIDE)?;
        let inside = usize::try_from(index % STRIDE).unwrap_or(0);
        let before: u64 = lengths.chunks(4).take(inside).map(stored).sum();
        let length = field::le32(&lengths, inside * 4).unwrap_or(0);
        if length == 0 {
            return Ok(None);
        }
        self.unpack(start.saturating_add(before), length).map(Some)
    }

    fn fragment(&self) -> Result<Rc<[u8]>, TreeError> {
        let layout = &self.squashfs.0.layout;
        if self.file.fragment >= layout.fragment_count {
            let why = format!(
                "fragment {} of {}",
                self.file.fragment, layout.fragment_count
            );
            return Err(malformed("squashfs inode", layout.fragments, why));
        }
        let entry = self
            .squashfs
            .entry(layout.fragments, self.file.fragment, 16)?;
        let at = field::le64(&entry, 0).unwrap_or(u64::MAX);
        let length = field::le32(&entry, 8).unwrap_or(0);
        let whole = self.unpack(at, length)?;
        let offset = usize::try_from(self.file.offset).unwrap_or(usize::MAX);
        match whole.get(offset..) {
            Some(rest) => Ok(rest.into()),
            None => Err(malformed(
                "squashfs fragment",
                at,
                "a file begins behind its end",
            )),
        }
    }

    /// A stored block, decoded.
    fn unpack(&self, at: u64, length: u32) -> Result<Rc<[u8]>, TreeError> {
        let inner = &*self.squashfs.0;
        let mut cache = inner.data.borrow_mut();
        if let Some(index) = cache.0.iter().position(|(place, _)| *place == at) {
            let block = cache.0.remove(index);
            let bytes = Rc::clone(&block.1);
            cache.0.push(block);
            return Ok(bytes);
        }
        let max = usize::try_from(inner.layout.block).unwrap_or(0);
        let len = usize::try_from(length & !AS_IS).unwrap_or(usize::MAX);
        if len > max {
            let why = format!("{len} bytes where a block has {max}");
            return Err(malformed("squashfs data block", at, why));
        }
        let stored = inner.image.read_vec(Bytes(at), len)?;
        let bytes: Rc<[u8]> = if length & AS_IS == 0 {
            let decoded = inner.layout.compression.decode(&stored, max);
            decoded
                .map_err(|why| malformed("squashfs data block", at, why.to_string()))?
                .into()
        } else {
            stored.into()
        };
        if cache.0.len() >= KEPT {
            cache.0.remove(0);
        }
        cache.0.push((at, Rc::clone(&bytes)));
        Ok(bytes)
    }

    /// Copies from the block at `at` into the start of `buf`; says how much.
    fn copy(&self, at: u64, buf: &mut [u8]) -> Result<usize, TreeError> {
        let size = self.block_size();
        let inside = usize::try_from(at % size).unwrap_or(0);
        let room = usize::try_from(size - at % size).unwrap_or(0);
        let len = buf.len().min(room);
        let Some(into) = buf.get_mut(..len) else {
            return Ok(0);
        };
        match self.block(at / size)? {
            None => into.fill(0),
            Some(bytes) => {
                let Some(from) = bytes.get(inside..inside + len) else {
                    let why = format!("{} bytes where byte {} is", bytes.len(), inside + len);
                    return Err(malformed("squashfs data block", at, why));
                };
                into.copy_from_slice(from);
            }
        }
        Ok(len)
    }
}

/// How many bytes of the image a listed length stands for.
fn stored(length: &[u8]) -> u64 {
    field::le32(length, 0).map_or(0, |length| u64::from(length & !AS_IS))
}

impl ReadAt for SquashFile<'_> {
    fn len(&self) -> Bytes {
        self.file.size
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        let fits = at
            .checked_add(Bytes(buf.len() as u64))
            .is_some_and(|end| end <= self.file.size);
        if !fits {
            return Err(ReadError::Io {
                at,
                len: buf.len(),
                source: std::io::ErrorKind::UnexpectedEof.into(),
            });
        }
        let mut done = 0;
        while done < buf.len() {
            let rest = buf.get_mut(done..).unwrap_or_default();
            let copied = self
                .copy(at.0 + done as u64, rest)
                .map_err(|error| match error {
                    TreeError::Read(error) => error,
                    TreeError::Unsupported(why) => {
                        ReadError::malformed("squashfs file", at, why.to_string())
                    }
                })?;
            if copied == 0 {
                return Err(ReadError::malformed("squashfs file", at, "no progress"));
            }
            done += copied;
        }
        Ok(())
    }
}
