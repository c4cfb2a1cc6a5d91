// SPDX-License-Identifier: MIT OR Apache-2.0
//! Marks: written, read back, taken back. See the module above for the rules.

use std::sync::atomic::{AtomicBool, Ordering};

use super::mark::{Key, SECTOR};
use super::places::{BLOCK, Probe};
use super::storage::Storage;
use super::verdict::{Bracket, Finding, Period, Seen, judge};
use crate::disk::buffer::Buffer;
use crate::report::StickState;
use crate::units::{Bytes, Extent, MIB};

/// How much is searched and written again at once.
const CHUNK: usize = 1 << 20;
/// After so many failures nothing more is tried: each can take half a minute.
const FAILURES: usize = 16;
/// Marks of one round of looking closer, and rounds: 64⁴ blocks are more than are between any two places.
const ROUND: u64 = 64;
const ROUNDS: usize = 4;

/// What came of a probe.
#[derive(Debug)]
pub struct Probed {
    /// What the medium is; none if the user stopped.
    pub finding: Option<Finding>,
    /// How many marks were written.
    pub marks: usize,
    /// Bytes that were read back.
    pub read: Bytes,
    /// How many of them the kernel fetched from the medium, if it counts.
    pub given: Option<Bytes>,
    /// Places that are not as they were.
    pub left: Vec<Bytes>,
}

impl Probed {
    /// What the medium is after the probe.
    pub fn state(&self) -> StickState {
        match (self.marks, self.left.is_empty()) {
            (_, false) => StickState::Unknown,
            (0, true) => StickState::Untouched,
            (_, true) => StickState::Restored,
        }
    }
}

/// What is seen at each place.
type Looks = Vec<(Bytes, Seen)>;

/// What was at a place before it was marked.
struct Undo {
    place: Bytes,
    before: Vec<u8>,
    /// Whether what is written there is kept, so that it must read as before in the end.
    kept: bool,
    /// Whether another mark was there: taking back in order takes that away, too.
    marked: bool,
}

/// The user wants to stop.
struct Stopped;

/// Probes `storage`. Whatever happens, what was marked is put back; `passed` is told of bytes that went by.
pub fn run(
    storage: &dyn Storage,
    probe: &Probe,
    key: Key,
    cancel: &AtomicBool,
    passed: &mut dyn FnMut(usize),
) -> Probed {
    let mut marker = Marker {
        storage,
        key,
        cancel,
        passed,
        block: Buffer::new(index(BLOCK)),
        chunk: Buffer::new(CHUNK),
        undo: Vec::new(),
        failures: 0,
        period: Period::default(),
        read: Bytes::ZERO,
        given: None,
    };
    let finding = marker.look(probe).ok();
    let marks = marker.undo.len();
    let left = marker.take_back(finding.is_none());
    Probed {
        finding,
        marks,
        read: marker.read,
        given: marker.given,
        left,
    }
}

struct Marker<'a> {
    storage: &'a dyn Storage,
    key: Key,
    cancel: &'a AtomicBool,
    passed: &'a mut dyn FnMut(usize),
    block: Buffer,
    chunk: Buffer,
    undo: Vec<Undo>,
    failures: usize,
    period: Period,
    read: Bytes,
    given: Option<Bytes>,
}

impl Marker<'_> {
    fn stopping(&self) -> Result<(), Stopped> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Stopped);
        }
        Ok(())
    }

    fn look(&mut self, probe: &Probe) -> Result<Finding, Stopped> {
        let (mut looks, originals) = self.originals(&probe.places)?;
        // Nothing is written to a medium that fails already.
        if self.failures == 0 {
            self.mark_all(&mut looks, originals)?;
        }
        if self.failures >= FAILURES || self.undo.is_empty() {
            return Ok(judge(&looks, self.period).0);
        }
        self.settle(probe, &mut looks)?;
        // Also stands between what was cached and what is counted.
        let storage = self.storage;
        let given = storage.count();
        self.read = Bytes::ZERO;
        for (place, seen) in &mut looks {
            self.stopping()?;
            if *seen == Seen::Own {
                *seen = self.see(*place);
            }
        }
        self.search(probe.search, &mut looks)?;
        self.given = given();
        let (finding, bracket) = judge(&looks, self.period);
        let Some(bracket) = bracket.filter(|_| finding.true_size().is_some()) else {
            return Ok(finding);
        };
        let bracket = self.widened(bracket, &looks);
        let size = self.narrow(bracket, probe)?.size();
        Ok(match finding {
            Finding::Wraps { at, .. } => Finding::Wraps { at, size },
            Finding::Drops { .. } => Finding::Drops { from: size },
            other => other,
        })
    }

    /// Reads what is at every place before anything is written.
    fn originals(&mut self, places: &[Bytes]) -> Result<(Looks, Vec<Undo>), Stopped> {
        let (mut looks, mut originals) = (Vec::new(), Vec::new());
        for place in places {
            self.stopping()?;
            let seen = match self.original(*place) {
                Ok(undo) => {
                    originals.push(undo);
                    Seen::Own
                }
                Err(error) => self.failure(error),
            };
            looks.push((*place, seen));
            if self.failures >= FAILURES {
                break;
            }
        }
        Ok((looks, originals))
    }

    fn original(&mut self, place: Bytes) -> Result<Undo, String> {
        self.storage.read(place, &mut self.block)?;
        (self.passed)(index(BLOCK));
        let size = self.storage.size();
        let is_mark = |sector: &[u8]| self.key.origin(sector, size).is_some();
        Ok(Undo {
            place,
            before: self.block.to_vec(),
            kept: false,
            marked: self.block.chunks_exact(SECTOR).any(is_mark),
        })
    }

    fn failure(&mut self, error: String) -> Seen {
        self.failures += 1;
        Seen::Failed(error)
    }

    fn mark_all(&mut self, looks: &mut Looks, originals: Vec<Undo>) -> Result<(), Stopped> {
        for ((_, seen), undo) in looks.iter_mut().zip(originals).rev() {
            self.stopping()?;
            if let Err(error) = self.mark(undo) {
                *seen = self.failure(error);
                if self.failures >= FAILURES {
                    break;
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self, undo: Undo) -> Result<(), String> {
        let place = undo.place;
        // Also where writing fails: nobody knows how much of it is there.
        self.undo.push(undo);
        self.key.fill(place, &mut self.block);
        self.storage.write(place, &self.block)?;
        (self.passed)(index(BLOCK));
        Ok(())
    }

    /// Makes marks permanent, and displaces what a controller remembers of them.
    fn settle(&mut self, probe: &Probe, looks: &mut [(Bytes, Seen)]) -> Result<(), Stopped> {
        if let Err(error) = self.storage.flush() {
            let failed = self.failure(error);
            if let Some((_, seen)) = looks.last_mut() {
                *seen = failed;
            }
        }
        let mut at = probe.again.at;
        while at < probe.again.end() {
            self.stopping()?;
            // A part that cannot be read is left alone; the search will tell of it.
            if self.storage.read(at, &mut self.chunk).is_ok() {
                let _ = self.storage.write(at, &self.chunk);
            }
            (self.passed)(CHUNK * 2);
            at += Bytes(MIB);
        }
        let _ = self.storage.flush();
        Ok(())
    }

    fn see(&mut self, place: Bytes) -> Seen {
        if let Err(error) = self.storage.read(place, &mut self.block) {
            return self.failure(error);
        }
        self.read += BLOCK;
        (self.passed)(index(BLOCK));
        let size = self.storage.size();
        let (mut own, mut elsewhere) = (0, 0);
        let mut at = place;
        for sector in self.block.chunks_exact(SECTOR) {
            match self.key.origin(sector, size) {
                Some(origin) if origin == at => own += 1,
                Some(origin) => {
                    self.period.add(origin, at);
                    elsewhere += 1;
                }
                None => {}
            }
            at += Bytes(SECTOR as u64);
        }
        let seen = match (own, elsewhere) {
            (_, 1..) => Seen::Elsewhere,
            (own, 0) if own * SECTOR as u64 == BLOCK.0 => Seen::Own,
            _ => Seen::Lost,
        };
        if seen != Seen::Lost
            && let Some(undo) = self.undo.iter_mut().find(|undo| undo.place == place)
        {
            undo.kept = true;
        }
        seen
    }

    /// Looks for marks at the beginning that belong elsewhere.
    fn search(&mut self, extent: Extent, looks: &mut Looks) -> Result<(), Stopped> {
        let size = self.storage.size();
        let mut start = extent.at;
        while start < extent.end() {
            self.stopping()?;
            match self.storage.read(start, &mut self.chunk) {
                Ok(()) => {
                    self.read += Bytes(MIB);
                    let mut at = start;
                    for sector in self.chunk.chunks_exact(SECTOR) {
                        if let Some(origin) = self.key.origin(sector, size)
                            && origin != at
                        {
                            self.period.add(origin, at);
                        }
                        at += Bytes(SECTOR as u64);
                    }
                }
                Err(error) => {
                    let failed = self.failure(error);
                    looks.push((start, failed));
                    if self.failures >= FAILURES {
                        break;
                    }
                }
            }
            (self.passed)(CHUNK);
            start += Bytes(MIB);
        }
        looks.sort_by_key(|(place, _)| *place);
        Ok(())
    }

    /// Where a small buffer stands for all that is behind the end, the last mark that was written to it seems kept, too.
    fn widened(&self, bracket: Bracket, looks: &Looks) -> Bracket {
        if self.period == Period::default() {
            return bracket;
        }
        let own = |(place, seen): &&(Bytes, Seen)| {
            *seen == Seen::Own && bracket.kept.is_some_and(|kept| *place < kept)
        };
        Bracket {
            kept: looks
                .iter()
                .filter(own)
                .map(|(place, _)| *place)
                .next_back(),
            ..bracket
        }
    }

    /// More marks between the last that was kept and the first that was lost.
    fn narrow(&mut self, mut bracket: Bracket, probe: &Probe) -> Result<Bracket, Stopped> {
        let read = self.read;
        for _ in 0..ROUNDS {
            let (from, to) = (bracket.size(), bracket.lost.align_down(BLOCK));
            let blocks = (to - from.align_up(BLOCK)).0 / BLOCK.0;
            let mut spots: Vec<Bytes> = (0..ROUND)
                .map(|i| from.align_up(BLOCK) + Bytes(i * blocks / ROUND * BLOCK.0))
                .filter(|spot| *spot + BLOCK <= bracket.lost)
                .collect();
            spots.dedup();
            if blocks == 0 || spots.is_empty() {
                break;
            }
            // The last one is known to be lost; if it is kept in a small buffer, it takes the place of others there.
            for spot in spots.iter().chain([&bracket.lost]) {
                self.stopping()?;
                // A spot that fails keeps nothing either.
                let _ = self.original(*spot).and_then(|undo| self.mark(undo));
            }
            self.settle(probe, &mut [])?;
            for spot in spots {
                self.stopping()?;
                if self.see(spot) != Seen::Own {
                    bracket.lost = spot;
                    break;
                }
                bracket.kept = Some(spot);
            }
        }
        // The proof was counted before.
        self.read = read;
        Ok(bracket)
    }

    /// Puts back what was there, and looks whether it is there. `all`: it is not known where anything is kept.
    fn take_back(&mut self, all: bool) -> Vec<Bytes> {
        let mut left = Vec::new();
        for undo in self.undo.iter().rev() {
            self.block.copy_from_slice(&undo.before);
            if self.storage.write(undo.place, &self.block).is_err() {
                left.push(undo.place);
            }
            (self.passed)(index(BLOCK));
        }
        let flushed = self.storage.flush().is_ok();
        for undo in self
            .undo
            .iter()
            .filter(|undo| (undo.kept || all) && !undo.marked)
        {
            let same = self.storage.read(undo.place, &mut self.block).is_ok()
                && self.block[..] == undo.before[..];
            if !(same && flushed) {
                left.push(undo.place);
            }
            (self.passed)(index(BLOCK));
        }
        left.sort_unstable();
        left.dedup();
        left
    }
}

/// Lengths here are at most [`CHUNK`].
fn index(len: Bytes) -> usize {
    len.index().unwrap_or(CHUNK)
}
