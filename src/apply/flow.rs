// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chunks on their way: read on one thread, looked at on others, taken in on the caller's; a fixed set of buffers
//! goes round, so that memory is bounded and the slowest part decides the speed.
//!
//! Writing and reading back are the same flow with other ends: image → digests → stick, stick → digests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::disk::buffer::Buffer;
use crate::units::{Bytes, Extent};

/// How much is read and written at once. Sticks reach their speed from about 1 MiB on; larger gains nothing.
pub const CHUNK: usize = 4 << 20;
/// Buffers in all; together with the program itself they stay well below 48 MiB.
const BUFFERS: usize = 6;

/// Why a flow ended early.
#[derive(Debug)]
pub enum Stop {
    /// The user wants to stop.
    Cancelled,
    /// Something failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Something that looks at (or changes) each chunk in its turn, on a thread of its own.
pub type Stage<'a> = Box<dyn FnMut(Bytes, &mut [u8]) -> anyhow::Result<()> + Send + 'a>;

/// A chunk: where it belongs, how long it is, and its buffer.
struct Chunk {
    at: Bytes,
    len: usize,
    buffer: Buffer,
}

/// Sends `extent` through `fill`, then every stage in order, then `take`, chunk by chunk in ascending order.
pub fn flow<'a>(
    extent: Extent,
    fill: impl FnMut(Bytes, &mut [u8]) -> anyhow::Result<()> + Send + 'a,
    stages: Vec<Stage<'a>>,
    mut take: impl FnMut(Bytes, &mut Buffer, usize) -> anyhow::Result<()>,
    cancel: &AtomicBool,
) -> Result<(), Stop> {
    thread::scope(|scope| {
        let (give_back, free) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS.min(usize::try_from(extent.len.0 / CHUNK as u64).unwrap_or(BUFFERS) + 1)
        {
            // The channel has room for all of them, so this never waits.
            let _ = give_back.send(Buffer::new(CHUNK));
        }
        let (send, mut chunks) = sync_channel::<anyhow::Result<Chunk>>(BUFFERS);
        scope.spawn(move || read(extent, fill, &free, &send));
        for stage in stages {
            let (send, receive) = sync_channel(BUFFERS);
            let from = std::mem::replace(&mut chunks, receive);
            scope.spawn(move || pass(stage, &from, &send));
        }
        let mut taken = Bytes::ZERO;
        // Leaving this loop drops the receiver; every thread then ends at its next send.
        for chunk in chunks {
            if cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let mut chunk = chunk?;
            take(chunk.at, &mut chunk.buffer, chunk.len)?;
            taken += Bytes(chunk.len as u64);
            let _ = give_back.try_send(chunk.buffer);
        }
        if taken != extent.len {
            // No stage drops a chunk without a word; if one ever does, nothing may be called whole.
            let missing = extent.len - taken;
            return Err(anyhow::anyhow!("{missing} bytes were lost on the way").into());
        }
        Ok(())
    })
}

fn read(
    extent: Extent,
    mut fill: impl FnMut(Bytes, &mut [u8]) -> anyhow::Result<()>,
    free: &Receiver<Buffer>,
    send: &SyncSender<anyhow::Result<Chunk>>,
) {
    let mut at = extent.at;
    while at < extent.end() {
        let len = (extent.end() - at).index().unwrap_or(CHUNK).min(CHUNK);
        let Ok(mut buffer) = free.recv() else { return };
        let filled = fill(at, &mut buffer[..len]).map(|()| Chunk { at, len, buffer });
        let failed = filled.is_err();
        if send.send(filled).is_err() || failed {
            return;
        }
        at += Bytes(len as u64);
    }
}

fn pass(
    mut stage: Stage<'_>,
    from: &Receiver<anyhow::Result<Chunk>>,
    to: &SyncSender<anyhow::Result<Chunk>>,
) {
    for chunk in from {
        let passed = chunk.and_then(|mut chunk| {
            let len = chunk.len;
            stage(chunk.at, &mut chunk.buffer[..len]).map(|()| chunk)
        });
        let failed = passed.is_err();
        if to.send(passed).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_goes_through_once_and_in_order() {
        let never = AtomicBool::new(false);
        let mut seen = Vec::new();
        let mut sum = 0_u64;
        let extent = Extent {
            at: Bytes(100),
            len: Bytes(2 * CHUNK as u64 + 1),
        };
        let add: Stage<'_> = Box::new(|_, chunk| {
            sum += chunk.len() as u64;
            Ok(())
        });
        let result = flow(
            extent,
            |at, chunk| {
                chunk.fill(u8::try_from(at.0 % 251)?);
                Ok(())
            },
            vec![add],
            |at, buffer, len| {
                seen.push((at, len, buffer[0]));
                Ok(())
            },
            &never,
        );
        assert!(result.is_ok());
        assert_eq!(sum, extent.len.0);
        let at = |n: u64| 100 + n * CHUNK as u64;
        let byte = |n: u64| u8::try_from(at(n) % 251).unwrap();
        assert_eq!(
            seen,
            [
                (Bytes(at(0)), CHUNK, byte(0)),
                (Bytes(at(1)), CHUNK, byte(1)),
                (Bytes(at(2)), 1, byte(2))
            ]
        );
    }

    #[test]
    fn a_failure_anywhere_ends_the_flow() {
        let never = AtomicBool::new(false);
        let extent = Extent {
            at: Bytes(0),
            len: Bytes(100 * CHUNK as u64),
        };
        let failing = flow(
            extent,
            |at, _| {
                anyhow::ensure!(at.0 <= 7 * CHUNK as u64, "reading fails");
                Ok(())
            },
            vec![Box::new(|_, _| Ok(()))],
            |_, _, _| Ok(()),
            &never,
        );
        assert!(matches!(failing, Err(Stop::Failed(e)) if e.to_string() == "reading fails"));
        let failing = flow(
            extent,
            |_, _| Ok(()),
            vec![Box::new(|_, _| Ok(()))],
            |_, _, _| anyhow::bail!("writing fails"),
            &never,
        );
        assert!(matches!(failing, Err(Stop::Failed(e)) if e.to_string() == "writing fails"));
    }
}
