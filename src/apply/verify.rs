// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading back: every byte of the image's range comes from the medium once, and gives two digests: of the bytes as
//! they are, and of the bytes with each changed range put back, which has to be that of the image file.

use std::sync::atomic::AtomicBool;

use sha2::{Digest, Sha256};

use crate::apply::copy::HEAD;
use crate::apply::flow::{Stage, Stop, flow};
use crate::digest::hex;
use crate::patch::lay;
use crate::units::{Bytes, Extent};

/// The two digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 of what is there.
    pub as_written: String,
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
        for (place, _, before) in changed {
            lay(chunk, at, *place, before);
        }
    };
    let mut as_written = Sha256::new();
    as_written.update(head);
    let mut restored = Sha256::new();
    let mut first = head.to_vec();
    restore(Bytes::ZERO, &mut first);
    restored.update(&first);

    let mut stages: Vec<Stage<'_>> = vec![Box::new(|_, chunk| {
        as_written.update(&*chunk);
        Ok(())
    })];
    if !changed.is_empty() {
        stages.push(Box::new(|at, chunk| {
            restore(at, chunk);
            restored.update(&*chunk);
            Ok(())
        }));
    }
    let rest = Extent {
        at: HEAD,
        len: size - HEAD,
    };
    let take = |_, _: &mut crate::disk::buffer::Buffer, len| {
        seen(len);
        Ok(())
    };
    flow(rest, read, stages, take, cancel)?;
    let as_written = hex(&as_written.finalize());
    // Where nothing was changed the two are one, and hashing it twice would only cost time.
    let restored = if changed.is_empty() {
        as_written.clone()
    } else {
        hex(&restored.finalize())
    };
    Ok(Digests {
        as_written,
        restored,
    })
}
