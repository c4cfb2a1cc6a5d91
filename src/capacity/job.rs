// SPDX-License-Identifier: MIT OR Apache-2.0
//! `livestick probe`: one target opened under the rules of writing, probed, and let go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::mark::Key;
use super::quick::Probed;
use super::verdict::Capacity;
use super::{Probe, full, quick};
use crate::apply::ending::{gone, told};
use crate::apply::opening::{self, let_go, past_the_cache};
use crate::apply::outcome::verdict;
use crate::disk::System;
use crate::disk::direct::{Kind, Medium};
use crate::disk::shown;
use crate::event::{self, Event, Step, Task, Work};
use crate::host::Host;
use crate::plan::PlannedTarget;
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, Report, StickState};
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

    /// The steps, in order.
    pub fn steps(&self) -> Vec<Step> {
        let step = |title: &str, work, bytes| Step {
            title: title.into(),
            work,
            bytes,
        };
        if self.full {
            let size = self.target.size;
            return vec![
                step("write everything", Work::Copy, size),
                step("read everything back from the medium", Work::ReadBack, size),
            ];
        }
        vec![step(
            "write marks, read them back, and take them back",
            Work::Probe,
            self.probe.bytes(),
        )]
    }

    /// Does it; tells `sink` what happens. Setting `cancel` stops; marks are taken back, but a full probe that was
    /// stopped leaves a blank stick.
    pub fn run(
        &self,
        host: &Host,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Report, Failure> {
        let began = Instant::now();
        let target = &self.target;
        let steps = self.steps();
        let stick = format!("{}   {}", shown(&target.path), target.description);
        sink(Event::Begun {
            task: Task::Probe,
            target: stick.clone(),
            total: steps.iter().map(|step| step.bytes).sum(),
            steps: steps.clone(),
        });
        let mut notes = Vec::new();
        let mut progress = Progress::new(steps, sink);
        let ended = self.open_and_probe(host, cancel, &mut progress, &mut notes);
        let step = progress.title();
        // A medium that is not there any more looks like a bad one.
        let ended = ended.and_then(|capacity| {
            let doubtful = capacity.exit() != Exit::Verified;
            let gone = || gone(target, step.as_deref(), "probe it again");
            let Some(message) = doubtful.then(gone).flatten() else {
                return Ok(capacity);
            };
            Err(Failure {
                exit: Exit::WriteFailed,
                message,
                state: capacity.state(),
            })
        });
        let ended = ended.map(|capacity| {
            let mut report = Report::new(Task::Probe, stick);
            report.exit = capacity.exit();
            report.state = capacity.state();
            report.capacity = Some(capacity);
            report.notes = notes;
            report
        });
        event::end(ended, began, sink)
    }

    fn open_and_probe(
        &self,
        host: &Host,
        cancel: &AtomicBool,
        progress: &mut Progress<'_>,
        notes: &mut Vec<String>,
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
        let ended = if self.full {
            fully(&medium, cancel, progress)
        } else {
            let passed = &mut |len| progress.passed(len);
            let probed = quick::run(&medium, &self.probe, Key::random(), cancel, passed);
            let state = probed.state();
            capacity(&medium, probed).ok_or_else(|| stopped(state))
        };
        if ended.is_ok() {
            progress.end();
        }
        let_go(medium, notes);
        ended
    }
}

fn fully(
    medium: &Medium,
    cancel: &AtomicBool,
    progress: &mut Progress<'_>,
) -> Result<Capacity, Failure> {
    if cancel.load(Ordering::Relaxed) {
        return Err(stopped(StickState::Untouched));
    }
    let passed = &mut |len| progress.passed(len);
    let written = full::run(medium, Key::random(), cancel, passed);
    let state = if written.blank {
        StickState::Blank
    } else {
        StickState::Unknown
    };
    Ok(Capacity {
        claimed: medium.size(),
        finding: written.finding.ok_or_else(|| stopped(state))?,
        full: true,
        blank: written.blank,
        marks: 0,
        read: written.read,
        verdict: verdict(medium, written.read, written.given),
        lost: written.lost,
        left: Vec::new(),
    })
}

/// From bytes that pass to events: a step ends when its bytes have passed.
struct Progress<'a> {
    steps: Vec<Step>,
    step: usize,
    /// Of the whole job.
    done: Bytes,
    sink: &'a mut dyn FnMut(Event),
}

impl<'a> Progress<'a> {
    fn new(steps: Vec<Step>, sink: &'a mut dyn FnMut(Event)) -> Progress<'a> {
        sink(Event::Started { step: 0 });
        Progress {
            steps,
            step: 0,
            done: Bytes::ZERO,
            sink,
        }
    }

    /// What is at work.
    fn title(&self) -> Option<String> {
        self.steps.get(self.step).map(|step| step.title.clone())
    }

    fn before(&self, step: usize) -> Bytes {
        self.steps.iter().take(step).map(|step| step.bytes).sum()
    }

    fn passed(&mut self, len: usize) {
        let end = self.before(self.step + 1);
        if self.done == end && self.step + 1 < self.steps.len() {
            (self.sink)(Event::Finished { step: self.step });
            self.step += 1;
            (self.sink)(Event::Started { step: self.step });
        }
        // What is done to a counterfeit goes on beyond what was foreseen.
        self.done = (self.done + Bytes(len as u64)).min(self.before(self.step + 1));
        let total = self.before(self.steps.len());
        (self.sink)(Event::Progress {
            step: self.step,
            done: self.done,
            total,
        });
    }

    fn end(&mut self) {
        self.done = self.before(self.steps.len());
        self.passed(0);
        (self.sink)(Event::Finished { step: self.step });
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
    Failure {
        exit: Exit::Cancelled,
        message: "stopped as asked".into(),
        state,
    }
}
