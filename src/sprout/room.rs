// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much room a seed is given, from what is known without unpacking the image.
//!
//! The partition is entered in the table before the tree is copied, so its size is a bound. It comes from the size of
//! the root image and how that is compressed: a btrfs compresses 128 KiB at a time and stores multiples of 4 KiB, so it
//! needs more than a squashfs or EROFS of larger blocks. Measured, with the compression that `apply` uses, on systems
//! of some hundred MiB: 1.20 times a squashfs of zstd level 15 with blocks of 128 KiB, 1.34 times an EROFS of lzma
//! with clusters of 64 KiB.

use crate::units::{Bytes, Extent};

/// The seed's own structures, and what chunks leave unused.
const FIXED: Bytes = Bytes::mib(64);
/// The smallest seed: mkfs.btrfs takes no less with single metadata (btrfs-progs `mkfs/common.c`, `btrfs_min_dev_size`).
pub const SMALLEST_SEED: Bytes = Bytes::mib(64);
/// The smallest sprout: below it the kernel finds no place for the first metadata of its own, or is soon full.
pub const SMALLEST_SPROUT: Bytes = Bytes::mib(256);
/// Compressed data in a btrfs takes at least one sector of 4 KiB for 128 KiB.
const BEST_RATIO: u64 = 32;

/// The room for a seed made from a root image in this place that is compressed like this.
pub fn seed(root: Extent, compression: Option<&str>) -> Bytes {
    let percent = match compression {
        Some("xz" | "lzma" | "microlzma") => 165,
        Some("zstd" | "deflate") => 140,
        Some("gzip" | "zlib") => 125,
        _ => 115,
    };
    // Division first: an extent of any length does not overflow.
    let scaled = Bytes((root.len.0 / 100).saturating_mul(percent));
    (scaled + FIXED).align_up(crate::table::GRAIN)
}

/// The most that the files of a tree may claim to hold: more would not fit into `room` even if every byte were the same,
/// and four times that for files with holes.
pub fn most(room: Bytes) -> Bytes {
    Bytes(room.0.saturating_mul(BEST_RATIO * 4))
}
