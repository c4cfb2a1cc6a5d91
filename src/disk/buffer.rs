// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that direct I/O accepts: its address is a multiple of 4096.

use std::ops::{Deref, DerefMut};

/// The alignment of every buffer; no block device asks for more than a page.
pub const ALIGN: usize = 4096;

/// A buffer of a fixed length at an aligned address. Reads and writes go through its slice.
#[derive(Debug)]
pub struct Buffer {
    /// Longer than needed by what alignment can cost. Never grown: that would move it.
    store: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zero bytes.
    pub fn new(len: usize) -> Buffer {
        let store = vec![0; len + ALIGN - 1];
        let address = store.as_ptr().addr();
        let start = address.next_multiple_of(ALIGN) - address;
        Buffer { store, start, len }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.store[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.store[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_wherever_it_is_moved() {
        let all: Vec<_> = [0, 1, 512, 4096, 1 << 20].map(Buffer::new).into();
        for (buffer, len) in all.iter().zip([0, 1, 512, 4096, 1 << 20]) {
            assert_eq!(buffer.len(), len);
            assert!(buffer.as_ptr().addr().is_multiple_of(ALIGN));
        }
    }
}
