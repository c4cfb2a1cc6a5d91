// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading back: every byte of the image's range comes from the medium once, and is digested twice: as it is, chunk
//! by chunk for the record, and as a whole with each changed range put back, which has to be the digest of the image
//! file.
//!
//! Putting a range back hides what the medium holds there, so each changed range is first compared with what was
//! written to it.

use std::sync::atomic::AtomicBool;

use anyhow::bail;
use sha2::{Digest, Sha256};

use crate::apply::copy::HEAD;
use crate::apply::flow::{Stage, Stop, flow};
use crate::digest::hex;
use crate::patch::{lay, part};
use crate::record::{CHUNK, Sha256Sum, tree};
use crate::units::{Bytes, Extent};

/// The same as an index.
const CHUNK_LEN: usize = 1 << 20;
const _: () = assert!(CHUNK.0 == CHUNK_LEN as u64 && HEAD.0 == CHUNK.0);

/// The two digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// [`tree::leaf`] of each chunk of what is there.
    pub chunks: Vec<Sha256Sum>,
    /// SHA-256 with the changed ranges put back.
    pub restored: String,
}

/// Reads the image's range but its head, which is yet to be written and counts as it will be. `read` fills a chunk
/// from the medium; `seen` is told of every chunk.
pub fn read_back(
    size: Bytes,
    head: &[u8],
    changed: &[(Bytes, Vec<u8>, Vec<u8>)],
    read: impl FnMut(Bytes, &mut [u8]) -> anyhow::Result<()> + Send,
    mut seen: impl FnMut(usize),
    cancel: &AtomicBool,
) -> Result<Digests, Stop> {
    let restore = |at: Bytes, chunk: &mut [u8]| {
        for (place, after, before) in changed {
            let written = part(at, chunk.len(), *place, after);
            if written.is_some_and(|(index, part)| chunk[index..index + part.len()] != *part) {
                bail!("the changed range at byte {place} is not what was written");
            }
            lay(chunk, at, *place, before);
        }
        Ok(())
    };
    let mut chunks = vec![tree::leaf(head)];
    let mut restored = Sha256::new();
    let mut first = head.to_vec();
    restore(Bytes::ZERO, &mut first)?;
    restored.update(&first);

    let mut stages: Vec<Stage<'_>> = vec![Box::new(|_, chunk| {
        // A chunk of the flow starts where one of the record does, and has some of them.
        chunks.extend(chunk.chunks(CHUNK_LEN).map(tree::leaf));
        Ok(())
    })];
    stages.push(Box::new(|at, chunk| {
        restore(at, chunk)?;
        restored.update(&*chunk);
        Ok(())
    }));
    let rest = Extent {
        at: HEAD,
        len: size - HEAD,
    };
    let take = |_, _: &mut crate::disk::buffer::Buffer, len| {
        seen(len);
        Ok(())
    };
    flow(rest, read, stages, take, cancel)?;
    let restored = hex(&restored.finalize());
    Ok(Digests { chunks, restored })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MIB;

    /// What reading back says of a medium of 3 MiB in which `flip` was changed, if anything, after it was written with
    /// ten changed bytes at 2 MiB.
    fn read(flip: Option<usize>) -> (Result<Digests, Stop>, String) {
        let image: Vec<u8> = (0..3 * MIB).map(|i| (i % 251) as u8).collect();
        let place = 2 << 20;
        let before = image[place..place + 10].to_vec();
        let after = vec![0xEE; 10];
        let mut stick = image.clone();
        stick[place..place + 10].copy_from_slice(&after);
        let head = stick[..1 << 20].to_vec();
        if let Some(at) = flip {
            stick[at] ^= 1;
        }
        let never = AtomicBool::new(false);
        let digests = read_back(
            Bytes(3 * MIB),
            &head,
            &[(Bytes(place as u64), after, before)],
            |at, chunk| {
                let at = usize::try_from(at.0)?;
                chunk.copy_from_slice(&stick[at..at + chunk.len()]);
                Ok(())
            },
            |_| {},
            &never,
        );
        (digests, hex(&Sha256::digest(&image)))
    }

    #[test]
    fn putting_the_changes_back_gives_the_image() {
        let (digests, image) = read(None);
        let digests = digests.unwrap();
        assert_eq!(digests.restored, image);
        assert_eq!(digests.chunks.len(), 3);
        let mut stick: Vec<u8> = (0..3 * MIB).map(|i| (i % 251) as u8).collect();
        stick[2 << 20..(2 << 20) + 10].fill(0xEE);
        let leaves: Vec<_> = stick.chunks(1 << 20).map(tree::leaf).collect();
        assert_eq!(digests.chunks, leaves);
    }

    #[test]
    fn a_flipped_bit_is_seen_inside_a_changed_range_and_outside() {
        for at in [2 << 20, (2 << 20) + 9] {
            let (digests, _) = read(Some(at));
            assert!(matches!(digests, Err(Stop::Failed(e)) if e.to_string().contains("2097152")));
        }
        let (digests, image) = read(Some((2 << 20) + 10));
        assert_ne!(digests.unwrap().restored, image);
    }
}
