// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on a used stick: noise, and every 4 MiB the magic numbers of filesystems that are long gone.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

/// Partitions are aligned to this, so the magic numbers are where mkfs and blkid look.
const STRIDE: usize = 4 << 20;

/// Magic numbers and their places: XFS, LVM, ext, swap, ISO 9660, btrfs (magic(5) of libmagic; libblkid).
const STALE: [(usize, &[u8]); 6] = [
    (0, b"XFSB"),
    (512, b"LABELONE"),
    (1080, b"\x53\xEF"),
    (4086, b"SWAPSPACE2"),
    (32769, b"CD001"),
    (65600, b"_BHRfS_M"),
];

/// Longer than a stride by a sector, so that no two strides begin alike.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = Vec::with_capacity(2 * STRIDE + 512);
    while noise.len() < 2 * STRIDE + 512 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise
});

/// What stride `number` held.
fn stride(number: usize) -> Vec<u8> {
    let from = number * 512 % STRIDE;
    let mut bytes = NOISE[from..from + STRIDE].to_vec();
    for (at, magic) in STALE {
        bytes[at..at + magic.len()].copy_from_slice(magic);
    }
    bytes
}

/// Makes `path` a file of `size` bytes that was used for many things.
pub fn fill(path: &Path, size: u64) {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    for number in 0..usize::try_from(size).unwrap().div_ceil(STRIDE) {
        let at = number as u64 * STRIDE as u64;
        let len = usize::try_from(size - at).unwrap().min(STRIDE);
        file.write_all_at(&stride(number)[..len], at).unwrap();
    }
}

/// The first byte of `range` that is no longer what [`fill`] wrote.
pub fn touched(path: &Path, range: Range<u64>) -> Option<u64> {
    let file = File::open(path).unwrap();
    let mut at = range.start;
    while at < range.end {
        let number = usize::try_from(at).unwrap() / STRIDE;
        let inside = usize::try_from(at).unwrap() % STRIDE;
        let len = usize::try_from(range.end - at)
            .unwrap()
            .min(STRIDE - inside);
        let mut now = vec![0; len];
        file.read_exact_at(&mut now, at).unwrap();
        let was = &stride(number)[inside..inside + len];
        if now != was {
            let first = now.iter().zip(was).position(|(a, b)| a != b).unwrap();
            return Some(at + first as u64);
        }
        at += len as u64;
    }
    None
}
