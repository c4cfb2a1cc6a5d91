// SPDX-License-Identifier: MIT OR Apache-2.0
//! The digests of an image file: one read, a thread for each digest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use sha2::{Digest, Sha256, Sha512};

use crate::apply::flow::{Stage, Stop, flow};
use crate::published::{Algorithm, Sum};
use crate::units::{Bytes, Extent};

/// Digests of the first `size` bytes of `image`: SHA-256 always, and those that `wanted` has besides. `progress` gets
/// the length of each chunk.
pub fn measure(
    image: &File,
    size: Bytes,
    wanted: &[Sum],
    mut progress: impl FnMut(usize),
    cancel: &AtomicBool,
) -> Result<Vec<Sum>, Stop> {
    let mut sha256 = Sha256::new();
    let mut sha512 = wanted
        .iter()
        .any(|sum| sum.algorithm == Algorithm::Sha512)
        .then(Sha512::new);
    let mut stages: Vec<Stage<'_>> = vec![Box::new(|_, chunk| {
        sha256.update(&*chunk);
        Ok(())
    })];
    if let Some(sha512) = &mut sha512 {
        stages.push(Box::new(|_, chunk| {
            sha512.update(&*chunk);
            Ok(())
        }));
    }
    let fill = |at: Bytes, chunk: &mut [u8]| {
        image
            .read_exact_at(chunk, at.0)
            .with_context(|| format!("reading {} bytes of the image at byte {at}", chunk.len()))
    };
    let whole = Extent {
        at: Bytes::ZERO,
        len: size,
    };
    let take = |_, _: &mut _, len| {
        progress(len);
        Ok(())
    };
    flow(whole, fill, stages, take, cancel)?;
    let sum = |algorithm, value: Vec<u8>| Sum { algorithm, value };
    let mut sums = vec![sum(Algorithm::Sha256, sha256.finalize().to_vec())];
    sums.extend(sha512.map(|sha512| sum(Algorithm::Sha512, sha512.finalize().to_vec())));
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::digest::hex;

    #[test]
    fn digests_are_those_of_coreutils() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let bytes: Vec<u8> = (0..9_000_001_u32)
            .map(|i| (i % 251).to_le_bytes()[0])
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let size = Bytes(bytes.len() as u64);
        let wanted = Sum {
            algorithm: Algorithm::Sha512,
            value: Vec::new(),
        };
        let mut seen = 0;
        let never = AtomicBool::new(false);
        let sums = measure(&file, size, &[wanted], |len| seen += len, &never).unwrap();
        assert_eq!(seen, bytes.len());
        for (sum, tool) in sums.iter().zip(["sha256sum", "sha512sum"]) {
            let output = Command::new(tool).arg(&path).output().unwrap();
            assert!(output.stdout.starts_with(hex(&sum.value).as_bytes()));
        }
        assert_eq!(sums.len(), 2);
        assert_eq!(
            measure(&file, size, &[], |_| (), &never).unwrap(),
            sums[..1]
        );
        let longer = measure(&file, size + Bytes(1), &[], |_| (), &never);
        assert!(matches!(longer, Err(Stop::Failed(_))));
    }
}
