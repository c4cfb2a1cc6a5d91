// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tree of chunk digests: the Merkle tree of RFC 9162, section 2.1.1, over the chunks of the image's range.
//!
//! A leaf is SHA-256 of a zero byte and the chunk; a node is SHA-256 of a one byte and its two children; the left
//! subtree of `n` leaves has the largest power of two below `n`. The different first bytes keep a node from passing
//! for a leaf.

use sha2::{Digest, Sha256};

use crate::record::Sha256Sum;

/// The digest of one chunk.
pub fn leaf(chunk: &[u8]) -> Sha256Sum {
    Sha256::new()
        .chain_update([0])
        .chain_update(chunk)
        .finalize()
        .into()
}

/// The root over `leaves`; without leaves the digest of nothing (RFC 9162, 2.1.1).
pub fn root(leaves: &[Sha256Sum]) -> Sha256Sum {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            // The largest power of two below the number of leaves: halves of it below 2^64 leaves end the recursion
            // after 64 steps.
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            let node = Sha256::new().chain_update([1]).chain_update(root(left));
            node.chain_update(root(right)).finalize().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    /// Test vectors of the Certificate Transparency reference implementation (its `merkletree` tests), which follow
    /// from RFC 9162, 2.1.1.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves: Vec<Sha256Sum> = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|text| leaf(&crate::digest::unhex(text).unwrap()))
        .collect();
        let expected = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (count, expected) in expected.iter().enumerate() {
            assert_eq!(hex(&root(&leaves[..count])), *expected, "{count} leaves");
        }
    }
}
