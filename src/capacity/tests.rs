// SPDX-License-Identifier: MIT OR Apache-2.0
//! Probes of simulated counterfeits, of any true size: what they are found to be, and that they are left as they were.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::mark::Key;
use super::quick::{self, Probed};
use super::{Finding, Probe, Storage, full};
use crate::units::{Bytes, MIB};

type Sector = [u8; 512];

#[derive(Clone, Copy, Debug)]
enum Reads {
    Zeros,
    Ones,
    Noise,
}

#[derive(Clone, Copy, Debug)]
enum Fake {
    Honest,
    Wraps(u64),
    /// The last bytes work again.
    Drops(u64, Reads, u64),
    /// Wraps at the second, and drops from the first on.
    Chain(u64, u64),
    /// Everything behind goes to a small buffer.
    Rolling(u64, u64),
    /// Drops, but so many sectors that were written last are remembered.
    Remembers(u64, usize),
    /// Reads fail in this range.
    Unreadable(u64, u64),
    Unwritable(u64, u64),
}

#[derive(Debug)]
struct Model {
    size: u64,
    fake: Fake,
    cells: RefCell<BTreeMap<u64, Sector>>,
    memory: RefCell<VecDeque<(u64, Sector)>>,
    noise: Cell<u64>,
    writes: Cell<usize>,
    /// Sets this after so many writes.
    stop: Option<(usize, &'static AtomicBool)>,
}

impl Model {
    fn new(size: u64, fake: Fake) -> Model {
        Model {
            size,
            fake,
            cells: RefCell::default(),
            memory: RefCell::default(),
            noise: Cell::new(1),
            writes: Cell::new(0),
            stop: None,
        }
    }

    /// Where a sector is kept.
    fn cell(&self, at: u64) -> Option<u64> {
        match self.fake {
            Fake::Honest | Fake::Unreadable(..) | Fake::Unwritable(..) => Some(at),
            Fake::Wraps(real) => Some(at % real),
            Fake::Drops(real, _, tail) => (at < real || at >= self.size - tail).then_some(at),
            Fake::Chain(real, wrap) => Some(at % wrap).filter(|at| *at < real),
            Fake::Rolling(real, buffer) if at >= real => Some(real + (at - real) % buffer),
            Fake::Remembers(real, _) | Fake::Rolling(real, _) => (at < real).then_some(at),
        }
    }

    /// What a sector held from the beginning.
    fn fresh(cell: u64) -> Sector {
        let mut sector = [0; 512];
        sector[..8].copy_from_slice(&cell.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        sector
    }

    fn sector(&self, at: u64) -> Sector {
        let memory = self.memory.borrow();
        if let Some((_, held)) = memory.iter().rev().find(|(held, _)| *held == at) {
            return *held;
        }
        if let Some(cell) = self.cell(at) {
            let held = self.cells.borrow().get(&cell).copied();
            return held.unwrap_or_else(|| Model::fresh(cell));
        }
        match self.fake {
            Fake::Drops(_, Reads::Ones, _) => [0xFF; 512],
            Fake::Drops(_, Reads::Noise, _) => {
                self.noise.set(self.noise.get() + 1);
                Model::fresh(self.noise.get())
            }
            _ => [0; 512],
        }
    }

    /// Whether all cells are as they were in the beginning.
    fn is_as_it_was(&self) -> bool {
        let cells = self.cells.borrow();
        cells
            .iter()
            .all(|(cell, held)| *held == Model::fresh(*cell))
    }

    fn probed(&self, seed: u64) -> Probed {
        self.probed_until(seed, &AtomicBool::new(false))
    }

    fn probed_until(&self, seed: u64, cancel: &AtomicBool) -> Probed {
        let probe = Probe::of(Bytes(self.size)).unwrap();
        quick::run(self, &probe, Key::from(seed), cancel, &mut |_| {})
    }

    /// The finding; everything is as it was.
    fn finding(&self, seed: u64) -> Finding {
        let probed = self.probed(seed);
        assert_eq!(probed.left, [], "{self:?}", self = self.fake);
        assert!(self.is_as_it_was(), "{:?}", self.fake);
        probed.finding.unwrap()
    }
}

fn sectors(at: Bytes, len: usize) -> impl Iterator<Item = u64> {
    (at.0..at.0 + len as u64).step_by(512)
}

impl Storage for Model {
    fn size(&self) -> Bytes {
        Bytes(self.size)
    }

    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), String> {
        assert!(at.0 + buf.len() as u64 <= self.size);
        if let Fake::Unreadable(from, to) = self.fake
            && at.0 < to
            && from < at.0 + buf.len() as u64
        {
            return Err(format!("no luck at byte {at}"));
        }
        for (at, sector) in sectors(at, buf.len()).zip(buf.chunks_mut(512)) {
            sector.copy_from_slice(&self.sector(at));
        }
        Ok(())
    }

    fn write(&self, at: Bytes, bytes: &[u8]) -> Result<(), String> {
        assert!(at.0 + bytes.len() as u64 <= self.size);
        self.writes.set(self.writes.get() + 1);
        if let Some((writes, stop)) = self.stop
            && self.writes.get() >= writes
        {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        for (at, sector) in sectors(at, bytes.len()).zip(bytes.chunks(512)) {
            if let Fake::Unwritable(from, to) = self.fake
                && (from..to).contains(&at)
            {
                return Err(format!("no luck at byte {at}"));
            }
            let sector: Sector = sector.try_into().unwrap();
            if let Some(cell) = self.cell(at) {
                let mut cells = self.cells.borrow_mut();
                if sector == Model::fresh(cell) {
                    cells.remove(&cell);
                } else {
                    cells.insert(cell, sector);
                }
            }
            if let Fake::Remembers(_, many) = self.fake {
                let mut memory = self.memory.borrow_mut();
                memory.push_back((at, sector));
                if memory.len() > many {
                    memory.pop_front();
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), String> {
        Ok(())
    }

    fn count(&self) -> Box<dyn Fn() -> Option<Bytes> + '_> {
        Box::new(|| None)
    }
}

/// Sizes as sticks have them: whole sectors.
fn size(of: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    (of.start / 512..of.end / 512).prop_map(|sectors| sectors * 512)
}

fn reads() -> impl Strategy<Value = Reads> {
    prop_oneof![Just(Reads::Zeros), Just(Reads::Ones), Just(Reads::Noise)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_honest_medium_is_genuine(size in size(4 * MIB..3000 * MIB), seed: u64) {
        prop_assert_eq!(Model::new(size, Fake::Honest).finding(seed), Finding::Genuine);
    }

    /// Of every true size, down to a few blocks less than what is claimed.
    #[test]
    fn every_wrap_around_is_found_and_measured(
        claim in size(16 * MIB..3000 * MIB),
        share in 0.0..1.0f64,
        seed: u64,
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let real = 2 * MIB + ((claim - 2 * MIB) as f64 * share) as u64 / 512 * 512;
        prop_assume!(real < claim);
        let at = Bytes(real);
        prop_assert_eq!(
            Model::new(claim, Fake::Wraps(real)).finding(seed),
            Finding::Wraps { at, size: at }
        );
    }

    #[test]
    fn what_is_dropped_is_found_and_where_it_begins(
        claim in size(16 * MIB..3000 * MIB),
        share in 0.0..0.9f64,
        reads in reads(),
        tail in prop_oneof![Just(0), Just(MIB)],
        seed: u64,
    ) {
        let step = Probe::of(Bytes(claim)).unwrap().step.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let real = 2 * MIB + ((claim - 2 * MIB - 2 * step) as f64 * share) as u64 / 512 * 512;
        let found = Model::new(claim, Fake::Drops(real, reads, tail)).finding(seed);
        let Finding::Drops { from } = found else {
            return Err(TestCaseError::fail(format!("{found:?}")));
        };
        prop_assert!(from.0 <= real && real < from.0 + 8192, "{from} {real}");
    }

    #[test]
    fn one_that_wraps_and_drops_is_measured(
        power in 22u32..31,
        share in 0.1..0.95f64,
        seed: u64,
    ) {
        let wrap = 1u64 << power;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let real = MIB + ((wrap - MIB) as f64 * share) as u64 / 4096 * 4096;
        let found = Model::new(4 * wrap, Fake::Chain(real, wrap)).finding(seed);
        let Finding::Wraps { at, size } = found else {
            return Err(TestCaseError::fail(format!("{found:?}")));
        };
        prop_assert_eq!(at.0, wrap);
        let step = Probe::of(Bytes(4 * wrap)).unwrap().step.0;
        if real + step < wrap {
            prop_assert_eq!(size.0, real);
        }
    }

    #[test]
    fn stopping_at_any_write_leaves_everything_as_it_was(
        claim in size(16 * MIB..200 * MIB),
        share in 0.1..1.0f64,
        kind in 0..3,
        writes in 1usize..80,
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let real = (claim as f64 * share) as u64 / 512 * 512;
        let fake = match kind {
            0 => Fake::Honest,
            1 => Fake::Wraps(real),
            _ => Fake::Drops(real, Reads::Zeros, 0),
        };
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let model = Model { stop: Some((writes, stop)), ..Model::new(claim, fake) };
        let probed = model.probed_until(7, stop);
        prop_assert!(model.is_as_it_was());
        prop_assert_eq!(probed.left, []);
        prop_assert!(probed.finding.is_none() || model.writes.get() < writes * 4);
    }

    #[test]
    fn a_full_probe_measures_them_all(
        claim in size(4 * MIB..24 * MIB),
        share in 0.1..1.0f64,
        kind in 0..3,
        seed: u64,
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let real = (claim as f64 * share) as u64 / 512 * 512;
        prop_assume!(real < claim);
        let (fake, expected) = match kind {
            0 => (Fake::Honest, Finding::Genuine),
            1 => (Fake::Wraps(real), Finding::Wraps { at: Bytes(real), size: Bytes(real) }),
            _ => (Fake::Drops(real, Reads::Noise, 0), Finding::Drops { from: Bytes(real) }),
        };
        let model = Model::new(claim, fake);
        let never = AtomicBool::new(false);
        let written = full::run(&model, Key::from(seed), &never, &mut |_| {});
        // Less than half lost behind the first lost byte cannot be: all of it is.
        prop_assert_eq!(written.finding, Some(expected));
        prop_assert!(written.blank);
        // What forgets within its first MiB keeps no zeros behind that.
        let kept = if kind == 2 { real.min(MIB) } else { MIB };
        let mut head = vec![1; usize::try_from(kept).unwrap()];
        model.read(Bytes::ZERO, &mut head).unwrap();
        prop_assert!(head.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn sticks_as_they_are_sold() {
    let (claim, real) = (64_000_000_000, 8_053_063_680);
    for reads in [Reads::Zeros, Reads::Ones, Reads::Noise] {
        let from = Bytes(real);
        let model = Model::new(claim, Fake::Drops(real, reads, MIB));
        assert_eq!(model.finding(1), Finding::Drops { from });
    }
    let at = Bytes(real);
    let model = Model::new(claim, Fake::Wraps(real));
    assert_eq!(model.finding(1), Finding::Wraps { at, size: at });
    assert_eq!(Model::new(claim, Fake::Honest).finding(1), Finding::Genuine);
}

#[test]
fn what_a_controller_remembers_does_not_help_it() {
    let real = 40 * MIB;
    // 512 KiB: more than all marks of this size.
    let model = Model::new(160 * MIB, Fake::Remembers(real, 1024));
    let from = Bytes(real);
    assert_eq!(model.probed(1).finding, Some(Finding::Drops { from }));
}

#[test]
fn a_small_buffer_behind_the_end_is_no_wrap_around() {
    let real = 40 * MIB;
    for buffer in [4096, 65536, MIB] {
        let found = Model::new(160 * MIB, Fake::Rolling(real, buffer)).finding(1);
        let Finding::Drops { from } = found else {
            panic!("{found:?}");
        };
        assert!(
            from.0 >= real && from.0 <= real + buffer,
            "{buffer}: {from}"
        );
    }
}

#[test]
fn failures_are_a_finding_of_their_own_and_nothing_is_written_to_what_cannot_be_read() {
    let place = Probe::of(Bytes(160 * MIB)).unwrap().places[5];
    let fake = Fake::Unreadable(place.0, place.0 + 512);
    let model = Model::new(160 * MIB, fake);
    let found = model.finding(1);
    assert!(
        matches!(&found, Finding::Fails { first, places: 1, error } if *first == place && error.contains("no luck")),
        "{found:?}"
    );
    assert_eq!(model.writes.get(), 0);
    // From one on, as some counterfeits do it.
    let model = Model::new(160 * MIB, Fake::Unreadable(80 * MIB, 160 * MIB));
    assert!(matches!(model.finding(1), Finding::Fails { first, .. } if first.0 >= 80 * MIB));
    // Where nothing is marked, but searched.
    let model = Model::new(160 * MIB, Fake::Unreadable(100_000, 100_512));
    let found = model.finding(1);
    assert!(matches!(found, Finding::Fails { first, .. } if first == Bytes::ZERO));

    let model = Model::new(160 * MIB, Fake::Unwritable(place.0 + 512, place.0 + 1024));
    let probed = model.probed(1);
    let found = probed.finding.unwrap();
    assert!(matches!(found, Finding::Fails { first, places: 1, .. } if first == place));
    // The half of the mark that was written cannot be taken back by a write of the whole; it is said.
    assert_eq!(probed.left, [place]);
}
