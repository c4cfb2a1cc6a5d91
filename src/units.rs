// SPDX-License-Identifier: MIT OR Apache-2.0
//! Units of place and size on a medium, as types, so that sectors and bytes never meet by accident.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Range, Sub};

use serde::{Deserialize, Serialize};

/// 1024 × 1024 bytes.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;

/// A number of bytes: an offset from the start of a medium (or file), or a length.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A 512-byte sector number, or a count of them: the unit of MBR and GPT on every stick livestick writes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sector(pub u64);

/// A 2048-byte logical block number, or a count of them: the unit of ISO 9660 (ECMA-119, 6.1.2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Block(pub u32);

impl Bytes {
    /// Nothing, or the very beginning.
    pub const ZERO: Bytes = Bytes(0);

    /// `mib` × 1 MiB.
    pub const fn mib(mib: u64) -> Bytes {
        Bytes(mib * MIB)
    }

    /// The same number as an index into memory, if it fits.
    pub fn index(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// The sum, unless it overflows.
    pub fn checked_add(self, more: Bytes) -> Option<Bytes> {
        self.0.checked_add(more.0).map(Bytes)
    }

    /// The difference, or zero.
    #[must_use]
    pub fn saturating_sub(self, less: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(less.0))
    }

    /// The next multiple of `grain` that is not smaller (saturating).
    #[must_use]
    pub fn align_up(self, grain: Bytes) -> Bytes {
        Bytes(
            self.0
                .checked_next_multiple_of(grain.0.max(1))
                .unwrap_or(u64::MAX),
        )
    }

    /// The previous multiple of `grain` that is not larger.
    #[must_use]
    pub fn align_down(self, grain: Bytes) -> Bytes {
        Bytes(self.0 - self.0 % grain.0.max(1))
    }

    /// The sector that starts here, if one does.
    pub fn to_sector(self) -> Option<Sector> {
        self.0.is_multiple_of(512).then_some(Sector(self.0 / 512))
    }

    /// For people: "28.7 GiB".
    pub fn binary(self) -> String {
        humansize::format_size(
            self.0,
            humansize::BINARY.decimal_places(1).decimal_zeroes(1),
        )
    }

    /// For people, as sold: "30.8 GB".
    pub fn decimal(self) -> String {
        humansize::format_size(
            self.0,
            humansize::DECIMAL.decimal_places(1).decimal_zeroes(1),
        )
    }

    /// For people, every digit, in groups of three: "2 516 582 400".
    pub fn grouped(self) -> String {
        let digits = self.0.to_string();
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(' ');
            }
            out.push(c);
        }
        out
    }
}

impl Sector {
    /// Where the sector starts, or how long that many are (saturating: a hostile table is no overflow).
    pub fn bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(512))
    }
}

impl Block {
    /// Where the block starts, or how long that many are.
    pub fn bytes(self) -> Bytes {
        Bytes(u64::from(self.0) * 2048)
    }
}

/// A range of bytes on a medium: the start, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extent {
    /// Offset of the first byte.
    pub at: Bytes,
    /// Length.
    pub len: Bytes,
}

impl Extent {
    /// The offset behind the last byte (saturating).
    pub fn end(self) -> Bytes {
        Bytes(self.at.0.saturating_add(self.len.0))
    }

    /// As a range of plain numbers.
    pub fn range(self) -> Range<u64> {
        self.at.0..self.end().0
    }

    /// Whether the two share a byte.
    pub fn overlaps(self, other: Extent) -> bool {
        self.at < other.end() && other.at < self.end() && self.len.0 > 0 && other.len.0 > 0
    }

    /// Whether `other` lies wholly inside.
    pub fn contains(self, other: Extent) -> bool {
        other.at >= self.at && other.end() <= self.end()
    }
}

impl Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    fn sub(self, other: Bytes) -> Bytes {
        self.saturating_sub(other)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(all: I) -> Bytes {
        all.fold(Bytes::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(Bytes(30_752_636_928).binary(), "28.6 GiB");
        assert_eq!(Bytes(30_752_636_928).decimal(), "30.8 GB");
        assert_eq!(Bytes(2_516_582_400).grouped(), "2 516 582 400");
        assert_eq!(Bytes(7).grouped(), "7");
    }

    #[test]
    fn alignment_saturates_instead_of_overflowing() {
        assert_eq!(Bytes(1).align_up(Bytes::mib(4)), Bytes::mib(4));
        assert_eq!(Bytes(u64::MAX).align_up(Bytes::mib(4)), Bytes(u64::MAX));
        assert_eq!(
            Bytes(u64::MAX).align_down(Bytes(512)),
            Bytes(u64::MAX - 511)
        );
    }
}
