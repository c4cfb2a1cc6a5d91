// SPDX-License-Identifier: MIT OR Apache-2.0
//! `livestick probe`: one target opened under the rules of writing, probed, and let go.

use std::sync::atomic::{AtomicBool, Ordering};

use super::mark::Key;
use super::quick::Probed;
use super::verdict::Capacity;
use super::{Probe, full, quick};
use crate::apply::outcome::verdict;
use crate::apply::{let_go, opening, past_the_cache, told};
use crate::disk::System;
use crate::disk::direct::{Kind, Medium};
use crate::disk::shown;
use crate::event::Event;
use crate::host::Host;
use crate::plan::PlannedTarget;
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::units::Bytes;

/// A probe that is all there is to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The disk.
    pub target: PlannedTarget,
    /// What is done to it; with `full` only told of.
    pub probe: Probe,
    /// Whether everything is written and read, and nothing put back.
    pub full: bool,
}

impl Job {
    /// The job for a target that was looked at; refused if it cannot be probed.
    pub fn new(target: PlannedTarget, full: bool) -> Result<Job, Refusal> {
        let refuse = |why: &str| Refusal::Target(format!("{} {why}", shown(&target.path)));
        if target.kind != Kind::Disk {
            return Err(refuse(
                "is a file, which has no capacity to probe; give a disk",
            ));
        }
        let probe = Probe::of(target.size)
            .ok_or_else(|| refuse("is smaller than any stick; there is nothing to probe"))?;
        Ok(Job {
            target,
            probe,
            full,
        })
    }

    /// Bytes that pass.
    pub fn bytes(&self) -> Bytes {
        if self.full {
            self.target.size + self.target.size
        } else {
            self.probe.bytes()
        }
    }

    /// Does it; tells `sink` of progress. Setting `cancel` stops, and puts back what was there, unless it is full.
    pub fn run(
        &self,
        host: &Host,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Capacity, Failure> {
        let opened = opening::target(&self.target, None, &System::real());
        let medium = opened.map_err(|error| Failure {
            exit: Exit::Refused,
            message: told(&error),
            state: StickState::Untouched,
        })?;
        if medium.cached_below() {
            past_the_cache(host, &medium);
        }
        let (mut done, total) = (Bytes::ZERO, self.bytes());
        let mut passed = |len: usize| {
            done = (done + Bytes(len as u64)).min(total);
            sink(Event::Progress {
                step: 0,
                done,
                total,
            });
        };
        let ended = if self.full {
            self.run_full(&medium, cancel, &mut passed)
        } else {
            self.run_quick(&medium, cancel, &mut passed)
        };
        let mut notes = Vec::new();
        let_go(medium, &mut notes);
        for text in notes {
            sink(Event::Note { text });
        }
        ended
    }

    fn run_quick(
        &self,
        medium: &Medium,
        cancel: &AtomicBool,
        passed: &mut dyn FnMut(usize),
    ) -> Result<Capacity, Failure> {
        let probed = quick::run(medium, &self.probe, Key::random(), cancel, passed);
        let state = if probed.left.is_empty() {
            StickState::Untouched
        } else {
            StickState::Unknown
        };
        capacity(medium, probed).ok_or_else(|| stopped(state))
    }

    fn run_full(
        &self,
        medium: &Medium,
        cancel: &AtomicBool,
        passed: &mut dyn FnMut(usize),
    ) -> Result<Capacity, Failure> {
        if cancel.load(Ordering::Relaxed) {
            return Err(stopped(StickState::Untouched));
        }
        let written = full::run(medium, Key::random(), cancel, passed);
        let state = if written.blank {
            StickState::Blank
        } else {
            StickState::Unknown
        };
        let finding = written.finding.ok_or_else(|| stopped(state))?;
        Ok(Capacity {
            claimed: medium.size(),
            finding,
            full: true,
            blank: written.blank,
            marks: 0,
            read: written.read,
            verdict: verdict(medium, written.read, written.given),
            lost: written.lost,
            left: Vec::new(),
        })
    }
}

/// What `probed` says of `medium`; nothing if the user stopped.
pub fn capacity(medium: &Medium, probed: Probed) -> Option<Capacity> {
    Some(Capacity {
        claimed: medium.size(),
        finding: probed.finding?,
        full: false,
        blank: false,
        marks: probed.marks,
        read: probed.read,
        verdict: verdict(medium, probed.read, probed.given),
        lost: Vec::new(),
        left: probed.left,
    })
}

fn stopped(state: StickState) -> Failure {
    let now = match state {
        StickState::Untouched => "; every mark was taken back",
        StickState::Blank => "; the stick is blank",
        _ => ", but not everything that was written over could be put back",
    };
    Failure {
        exit: Exit::Cancelled,
        message: format!("stopped as asked{now}"),
        state,
    }
}
