// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kind of wrong a range is, from what is there and, where it is known, from what belongs there.

use crate::diagnosis::Kind;
use crate::units::{Bytes, Extent};

/// Differing ranges closer to each other than this are told as one.
const GAP: usize = 512;
/// So many differing ranges of one chunk are told apart at most.
const MOST: usize = 16;

/// What `found` is, without knowing what belongs there.
pub fn alone(found: &[u8]) -> Kind {
    match found.first() {
        Some(0) if found.iter().all(|byte| *byte == 0) => Kind::Zeros,
        Some(0xFF) if found.iter().all(|byte| *byte == 0xFF) => Kind::Ones,
        _ => Kind::Other,
    }
}

/// What `found` is where `right` belongs.
pub fn against(found: &[u8], right: &[u8]) -> Kind {
    let pairs = || found.iter().zip(right);
    let bits: u64 = pairs().map(|(a, b)| u64::from((a ^ b).count_ones())).sum();
    let long = found.len() >= 16;
    match alone(found) {
        // A single byte that is zero may as well be a flipped one.
        kind @ (Kind::Zeros | Kind::Ones) if long => kind,
        // Data that have nothing to do with each other differ in half of their bits.
        _ if bits <= (found.len() as u64).max(8) => Kind::Flips { bits },
        _ => Kind::Other,
    }
}

/// The ranges in which `found`, which lies at `at`, differs from `right`; both are of the same length. Close ones are
/// one, and so is what is left when there are many.
pub fn differences(at: Bytes, found: &[u8], right: &[u8]) -> Vec<Extent> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, _) in found
        .iter()
        .zip(right)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
    {
        let full = runs.len() >= MOST;
        match runs.last_mut() {
            Some((_, end)) if full || index < *end + GAP => *end = index + 1,
            _ => runs.push((index, index + 1)),
        }
    }
    runs.into_iter()
        .map(|(from, to)| Extent {
            at: at + Bytes(from as u64),
            len: Bytes((to - from) as u64),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let right: Vec<u8> = (0..4096_u32).map(|i| (i * 7 % 251) as u8).collect();
        assert_eq!(against(&[0; 4096], &right), Kind::Zeros);
        assert_eq!(against(&[0xFF; 4096], &right), Kind::Ones);
        let mut one = right.clone();
        one[99] ^= 0x10;
        assert_eq!(against(&one, &right), Kind::Flips { bits: 1 });
        let other: Vec<u8> = (0..4096_u32).map(|i| (i * 13 % 241) as u8).collect();
        assert_eq!(against(&other, &right), Kind::Other);
        assert_eq!(against(&[0], &[4]), Kind::Flips { bits: 1 });
    }

    #[test]
    fn differences_are_exact_and_few() {
        let right = vec![7; 100_000];
        let mut found = right.clone();
        found[10] = 8;
        found[20] = 8;
        found[5000] = 8;
        let ranges = differences(Bytes(1000), &found, &right);
        let plain: Vec<_> = ranges.iter().map(|e| (e.at.0, e.len.0)).collect();
        assert_eq!(plain, [(1010, 11), (6000, 1)]);
        for i in 0..100 {
            found[i * 1000] = 9;
        }
        let ranges = differences(Bytes::ZERO, &found, &right);
        assert_eq!(ranges.len(), MOST);
        assert_eq!(ranges.last().unwrap().end(), Bytes(99_001));
    }
}
