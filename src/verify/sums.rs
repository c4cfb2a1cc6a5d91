// SPDX-License-Identifier: MIT OR Apache-2.0
//! The digests of an image whose end is not known for sure: one pass, and a digest for each possible end.

use sha2::Digest;

use crate::published::{Algorithm, Sum};
use crate::units::Bytes;

/// A digest of everything from byte 0 on, noted at each place where that may end.
pub struct Sums<'a, D> {
    algorithm: Algorithm,
    ends: &'a [Bytes],
    digest: D,
    noted: Vec<(Bytes, Sum)>,
}

impl<'a, D: Digest + Clone> Sums<'a, D> {
    /// Nothing digested yet.
    pub fn new(algorithm: Algorithm, ends: &'a [Bytes]) -> Sums<'a, D> {
        Sums {
            algorithm,
            ends,
            digest: D::new(),
            noted: Vec::new(),
        }
    }

    /// Takes in what follows.
    pub fn update(&mut self, at: Bytes, bytes: &[u8]) {
        let mut done = 0;
        for end in self.ends.iter().filter(|end| **end > at) {
            let len = (*end - at).index().unwrap_or(usize::MAX);
            if (done..=bytes.len()).contains(&len) {
                self.digest.update(&bytes[done..len]);
                done = len;
                self.note(*end);
            }
        }
        self.digest.update(&bytes[done..]);
    }

    fn note(&mut self, end: Bytes) {
        let value = self.digest.clone().finalize().to_vec();
        let algorithm = self.algorithm;
        self.noted.push((end, Sum { algorithm, value }));
    }

    /// All of them; the last is that of the whole.
    pub fn finish(mut self, end: Bytes) -> Vec<(Bytes, Sum)> {
        self.note(end);
        self.noted
    }
}

#[cfg(test)]
mod tests {
    use sha2::Sha512;

    use super::*;

    #[test]
    fn each_end_has_the_digest_of_what_is_before_it() {
        let bytes: Vec<u8> = (0..=255).collect();
        let ends = [1, 100, 128, 129, 256].map(Bytes);
        let mut sums = Sums::<Sha512>::new(Algorithm::Sha512, &ends);
        for (index, piece) in bytes.chunks(64).enumerate() {
            sums.update(Bytes(index as u64 * 64), piece);
        }
        let noted = sums.finish(Bytes(256));
        assert_eq!(noted.len(), ends.len() + 1);
        for (end, sum) in noted {
            let len = usize::try_from(end.0).unwrap();
            assert_eq!(sum.value, Sha512::digest(&bytes[..len]).to_vec());
        }
    }
}
