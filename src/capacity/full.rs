// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything is written, then everything is read: what a medium keeps, sector by sector. All that was on it is lost;
//! it is left blank.

use std::sync::atomic::{AtomicBool, Ordering};

use super::mark::{Key, SECTOR};
use super::storage::Storage;
use super::verdict::{Finding, Period};
use crate::disk::buffer::Buffer;
use crate::units::{Bytes, Extent, MIB};

/// How much is written and read at once.
const CHUNK: usize = 1 << 20;
/// After so many failures in a row the rest is not tried.
const FAILURES: usize = 32;
/// How many ranges a list holds.
const RANGES: usize = 64;

/// What came of it.
#[derive(Debug)]
pub struct Written {
    /// What the medium is; none if the user stopped.
    pub finding: Option<Finding>,
    /// Bytes that were read back.
    pub read: Bytes,
    /// How many of them the kernel fetched from the medium, if it counts.
    pub given: Option<Bytes>,
    /// What is not kept where it belongs; the first ranges.
    pub lost: Vec<Extent>,
    /// Whether the first MiB is zeros now.
    pub blank: bool,
}

/// What is known of the sectors.
#[derive(Default)]
struct Tally {
    period: Period,
    kept: Bytes,
    lost: Vec<Extent>,
    /// Bytes that were lost behind the first lost one.
    gone: Bytes,
    failed: Vec<(Bytes, String)>,
    failures: usize,
}

/// Writes and reads all of `storage`; `passed` is told of bytes that went by.
pub fn run(
    storage: &dyn Storage,
    key: Key,
    cancel: &AtomicBool,
    passed: &mut dyn FnMut(usize),
) -> Written {
    let mut tally = Tally::default();
    let mut buffer = Buffer::new(CHUNK);
    let mut each = |work: &mut dyn FnMut(Extent, &mut [u8])| {
        for extent in chunks(storage.size()) {
            if cancel.load(Ordering::Relaxed) {
                return false;
            }
            let len = extent.len.index().unwrap_or(CHUNK);
            work(extent, &mut buffer[..len]);
            passed(len);
        }
        true
    };
    let mut all = each(&mut |extent, buffer| {
        key.fill(extent.at, buffer);
        tally.attempt(extent, || storage.write(extent.at, buffer));
    });
    if let Err(error) = storage.flush() {
        tally.failed.push((Bytes::ZERO, error));
    }
    tally.failures = 0;
    let count = storage.count();
    let mut read = Bytes::ZERO;
    all = all
        && each(&mut |extent, buffer| {
            if tally.attempt(extent, || storage.read(extent.at, buffer)) {
                read += extent.len;
                tally.look(key, storage.size(), extent.at, buffer);
            } else {
                tally.lose(extent);
            }
        });
    let given = count();
    Written {
        finding: all.then(|| tally.finding()),
        read,
        given,
        blank: blank(storage).is_ok(),
        lost: tally.lost,
    }
}

/// Takes the key's sectors away from where tables would be.
fn blank(storage: &dyn Storage) -> Result<(), String> {
    let (size, zeros) = (storage.size(), Buffer::new(CHUNK));
    let len = size.min(Bytes(MIB)).index().unwrap_or(CHUNK);
    // The end first: where it is the beginning again, that must be zeros, too.
    let end = storage.write(size - Bytes(len as u64), &zeros[..len]);
    storage.write(Bytes::ZERO, &zeros[..len])?;
    storage.flush()?;
    // On a counterfeit the end may fail; it is the beginning that makes it blank.
    drop(end);
    Ok(())
}

fn chunks(size: Bytes) -> impl Iterator<Item = Extent> {
    (0..size.0.div_ceil(MIB)).map(move |i| {
        let at = Bytes(i * MIB);
        let len = (size - at).min(Bytes(MIB));
        Extent { at, len }
    })
}

impl Tally {
    /// Does it, unless everything fails.
    fn attempt(&mut self, extent: Extent, doing: impl FnOnce() -> Result<(), String>) -> bool {
        if self.failures >= FAILURES {
            return false;
        }
        match doing() {
            Ok(()) => {
                self.failures = 0;
                true
            }
            Err(error) => {
                self.failures += 1;
                if self.failed.len() < RANGES {
                    self.failed.push((extent.at, error));
                }
                false
            }
        }
    }

    fn look(&mut self, key: Key, size: Bytes, start: Bytes, chunk: &[u8]) {
        let mut at = start;
        for sector in chunk.chunks(SECTOR) {
            let len = Bytes(sector.len() as u64);
            match key.origin(sector, size) {
                Some(origin) if origin == at => self.kept += len,
                Some(origin) => {
                    self.period.add(origin, at);
                    self.lose(Extent { at, len });
                }
                None => self.lose(Extent { at, len }),
            }
            at += len;
        }
    }

    fn lose(&mut self, extent: Extent) {
        self.gone += extent.len;
        if let Some(last) = self.lost.last_mut()
            && last.end() == extent.at
        {
            last.len += extent.len;
        } else if self.lost.len() < RANGES {
            self.lost.push(extent);
        }
    }

    fn finding(&self) -> Finding {
        let (at, size) = (Bytes(self.period.0), self.kept);
        // A medium that wraps at a place cannot keep more than is before it.
        if at > Bytes::ZERO && size <= at {
            return Finding::Wraps { at, size };
        }
        if let Some((first, error)) = self.failed.first() {
            return Finding::Fails {
                first: *first,
                places: self.failed.len(),
                error: error.clone(),
            };
        }
        match self.lost.first() {
            None => Finding::Genuine,
            // Most of what is behind is gone.
            Some(first) if self.gone.0 >= (size - first.at).0 => Finding::Drops { from: first.at },
            Some(first) => Finding::Loses {
                first: first.at,
                places: self.lost.len(),
            },
        }
    }
}
