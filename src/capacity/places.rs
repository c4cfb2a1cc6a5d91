// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where marks go: a function of the size alone, so that a plan can list them and an audit can compute them again.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Extent, MIB};

/// The length of a mark.
pub const BLOCK: Bytes = Bytes(4096);
/// What is written again, as it is, to displace what a controller remembers.
const AGAIN: Bytes = Bytes(8 * MIB);
/// Nothing smaller is probed: it is no stick.
const SMALLEST: Bytes = Bytes(4 * MIB);

/// What a probe does to a medium, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Where marks are written and taken back, in ascending order; [`BLOCK`] bytes each, none over another.
    pub places: Vec<Bytes>,
    /// The largest distance between two of them.
    pub step: Bytes,
    /// What is written again as it is.
    pub again: Extent,
    /// What is searched for marks that belong elsewhere.
    pub search: Extent,
}

impl Probe {
    /// The probe of a medium of `size`; none if it is too small for one.
    pub fn of(size: Bytes) -> Option<Probe> {
        if size < SMALLEST {
            return None;
        }
        let step = Bytes((size.0 / MIB).isqrt().max(1) * MIB);
        let last = (size - BLOCK).align_down(Bytes(512));
        let mut all = BTreeSet::new();
        // The last block before the first MiB ends: behind every table and before the first partition.
        all.insert(Bytes(MIB) - BLOCK);
        let mut end = step;
        while end < last {
            all.insert(end - BLOCK);
            end += step;
        }
        for power in (21..63).map(|k| Bytes(1 << k)).take_while(|p| *p < last) {
            all.extend([power - BLOCK, power]);
            all.insert((last - power).align_down(BLOCK));
        }
        let mut places: Vec<Bytes> = Vec::new();
        for place in all {
            let free = places.last().map_or(BLOCK, |before| *before + BLOCK);
            if place >= free && place + BLOCK <= last {
                places.push(place);
            }
        }
        places.push(last);
        let from = |at: Bytes, len: Bytes| Extent {
            at,
            len: len.min(size - at).align_down(Bytes(MIB)),
        };
        Some(Probe {
            places,
            step,
            again: from(Bytes(MIB), AGAIN),
            search: from(Bytes::ZERO, step + Bytes(MIB)),
        })
    }

    /// What passes in a probe of an honest medium: each place is read, marked, read, put back and read.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.marked().0 * 5) + self.again.len + self.again.len + self.search.len
    }

    /// The bytes of all marks.
    pub fn marked(&self) -> Bytes {
        Bytes(self.places.len() as u64 * BLOCK.0)
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |i: Option<&Bytes>| i.map_or(String::new(), |at| at.grouped());
        write!(
            f,
            "marks are written and taken back at {} places, {BLOCK} bytes each, at most {} apart:\n\
             from byte {} to byte {}, more around powers of two and towards the end;\n\
             bytes {} to {} are written again as they are, and the first {} are searched;\n\
             where marks get lost, up to 260 more between two places tell from where on",
            self.places.len(),
            self.step.binary(),
            at(self.places.first()),
            at(self.places.last()),
            self.again.at.grouped(),
            self.again.end().grouped(),
            self.search.len.binary(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_are_apart_inside_and_near_each_other(size in SMALLEST.0..1 << 42) {
            let size = Bytes(size).align_down(Bytes(512));
            let probe = Probe::of(size).unwrap();
            let mut before = Bytes::ZERO;
            for place in &probe.places {
                prop_assert!(*place >= before && place.0.is_multiple_of(512));
                prop_assert!(*place + BLOCK <= size);
                prop_assert!(*place + BLOCK - before <= probe.step.max(Bytes(MIB)) + BLOCK);
                before = *place + BLOCK;
            }
            prop_assert_eq!(before, size);
            prop_assert!(probe.places[0] >= Bytes(MIB) - BLOCK);
            prop_assert!(probe.search.end() <= size && probe.again.end() <= size);
            prop_assert!(probe.search.len > probe.step);
        }
    }

    #[test]
    fn a_probe_stays_small() {
        assert_eq!(Probe::of(Bytes(SMALLEST.0 - 512)), None);
        for (size, places, search) in [
            (8_000_000_000, 160, 90 * MIB),
            (32_000_000_000, 260, 180 * MIB),
            (128_000_000_000, 450, 360 * MIB),
            (1_000_000_000_000, 1100, 990 * MIB),
        ] {
            let probe = Probe::of(Bytes(size)).unwrap();
            assert!(probe.places.len() < places, "{}", probe.places.len());
            assert!(probe.search.len.0 < search, "{}", probe.search.len);
        }
    }
}
