// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sectors that say where they belong.
//!
//! The first word of a sector is its address under the key; the other 63 follow from address and key by SplitMix64's
//! output function (G. L. Steele, D. Lea, C. H. Flood: Fast Splittable Pseudorandom Number Generators, 2014), so no
//! controller can compress them, and none that was built before the key was drawn can have them.

use uuid::Uuid;

use crate::units::Bytes;

/// The unit in which a displaced mark is recognised.
pub const SECTOR: usize = 512;

/// What makes the marks of one probe different from those of every other.
#[derive(Clone, Copy, Debug)]
pub struct Key(u64, u64);

impl Key {
    /// A random one.
    pub fn random() -> Key {
        let (one, other) = Uuid::new_v4().as_u64_pair();
        // Six bits of a UUID are fixed; both halves depend on all that are not.
        Key(
            mix(one ^ other.rotate_left(32)),
            mix(one.wrapping_add(other)),
        )
    }

    /// The same in every run.
    #[cfg(test)]
    pub fn from(seed: u64) -> Key {
        Key(mix(seed), mix(seed ^ 1))
    }

    fn word(self, at: u64, i: u64) -> u64 {
        let seed = mix(at ^ self.1);
        mix(seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Fills whole sectors with what belongs at `at`.
    pub fn fill(self, at: Bytes, sectors: &mut [u8]) {
        let mut at = at.0;
        for sector in sectors.chunks_exact_mut(SECTOR) {
            let (words, _) = sector.as_chunks_mut::<8>();
            for (i, word) in (0..).zip(words) {
                *word = match i {
                    0 => at ^ self.0,
                    i => self.word(at, i),
                }
                .to_le_bytes();
            }
            at += SECTOR as u64;
        }
    }

    /// Where a sector belongs, if it is one of this key's on a medium of this size.
    pub fn origin(self, sector: &[u8], size: Bytes) -> Option<Bytes> {
        let (words, _) = sector.as_chunks::<8>();
        let (first, rest) = words.split_first()?;
        let at = u64::from_le_bytes(*first) ^ self.0;
        if at >= size.0 || !at.is_multiple_of(SECTOR as u64) {
            return None;
        }
        let mut rest = (1..).zip(rest);
        rest.all(|(i, word)| u64::from_le_bytes(*word) == self.word(at, i))
            .then_some(Bytes(at))
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_says_where_it_belongs_and_a_changed_one_nothing() {
        let (key, size) = (Key::from(7), Bytes(1 << 40));
        let mut block = [0; 4096];
        key.fill(Bytes(1 << 33), &mut block);
        for (i, sector) in block.chunks(SECTOR).enumerate() {
            let at = Bytes((1 << 33) + (i * SECTOR) as u64);
            assert_eq!(key.origin(sector, size), Some(at));
            assert_eq!(key.origin(sector, Bytes(1 << 33)), None);
            assert_eq!(Key::from(8).origin(sector, size), None);
            for bit in [0, 70, 511 * 8] {
                let mut flipped = sector.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.origin(&flipped, size), None);
            }
        }
        for byte in [0, 0xFF] {
            assert_eq!(key.origin(&[byte; SECTOR], size), None);
        }
        assert_eq!(key.origin(&[], size), None);
    }

    #[test]
    fn no_two_keys_are_alike() {
        let (a, b) = (Key::random(), Key::random());
        assert!(a.0 != b.0 && a.1 != b.1 && a.0 != a.1);
    }
}
