// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fields of a section: numbers, texts and lists, written one after the other and read with care.

use super::{FormError, count, damaged, index};
use crate::units::{Bytes, Extent};

/// A section that is being written.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn list<T>(items: &[T], one: impl Fn(Writer, &T) -> Writer) -> Writer {
        items
            .iter()
            .fold(Writer::default().u32(count(items.len())), one)
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Writer {
        self.0.extend(bytes);
        self
    }

    pub(super) fn u32(self, number: u32) -> Writer {
        self.raw(&number.to_le_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Writer {
        self.raw(&number.to_le_bytes())
    }

    pub(super) fn extent(self, extent: Extent) -> Writer {
        self.u64(extent.at.0).u64(extent.len.0)
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Writer {
        self.u32(count(bytes.len())).raw(bytes)
    }

    pub(super) fn text(self, text: &str) -> Writer {
        self.bytes(text.as_bytes())
    }
}

/// Bytes that are being read, and where in the copy they start.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8], at: usize) -> Reader<'a> {
        Reader { rest, at }
    }

    /// Reads a section, which has to end where its fields do.
    pub(super) fn whole<T>(
        mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, FormError>,
    ) -> Result<T, FormError> {
        let value = read(&mut self)?;
        if !self.rest.is_empty() {
            return Err(damaged(self.at, "a section is longer than its fields"));
        }
        Ok(value)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], FormError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(damaged(
                self.at,
                format!("{len} bytes are said to follow and do not"),
            ));
        };
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| damaged(at, "a field is cut"))
    }

    pub(super) fn u16(&mut self) -> Result<u16, FormError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FormError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FormError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn extent(&mut self) -> Result<Extent, FormError> {
        let (at, len) = (Bytes(self.u64()?), Bytes(self.u64()?));
        Ok(Extent { at, len })
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, FormError> {
        let len = index(u64::from(self.u32()?));
        self.take(len).map(<[u8]>::to_vec)
    }

    pub(super) fn text(&mut self) -> Result<String, FormError> {
        let at = self.at;
        String::from_utf8(self.bytes()?).map_err(|_| damaged(at, "a text is not UTF-8"))
    }

    /// As many items as are counted, each of at least `least` bytes: a count that cannot be is refused before memory
    /// is asked for.
    pub(super) fn list<T>(
        &mut self,
        least: usize,
        one: impl Fn(&mut Reader<'a>) -> Result<T, FormError>,
    ) -> Result<Vec<T>, FormError> {
        let count = index(u64::from(self.u32()?));
        if count > self.rest.len() / least {
            return Err(damaged(
                self.at,
                format!("{count} items are said to follow and do not"),
            ));
        }
        (0..count).map(|_| one(self)).collect()
    }
}
