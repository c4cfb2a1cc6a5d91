// SPDX-License-Identifier: MIT OR Apache-2.0
//! The writing screen's state: the job's events, and what follows from when they came.

use std::time::{Duration, Instant};

use super::errand::{Answer, Errand, Question};
use super::keys::Cmd;
use super::review::Review;
use crate::disk::direct::Kind;
use crate::disk::shown;
use crate::event::{Event, Step, Task, Work};
use crate::report::{Failure, Report};
use crate::ui::pace::{Pace, float};
use crate::units::Bytes;

/// After this long without a byte a stick has stalled.
const STALL: Duration = Duration::from_secs(4);
/// The rate is measured over this long.
const SAMPLE: Duration = Duration::from_millis(500);
/// When there are as many samples, two become one.
const SAMPLES: usize = 480;
/// Messages that are kept.
const NOTES: usize = 100;

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not begun.
    ToCome,
    /// It is at work.
    AtWork,
    /// It is done.
    Done,
}

/// Rates over time.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Bytes a second, each over the same time.
    pub rates: Vec<f64>,
    /// Over how long each.
    every: Duration,
    /// When the one that is being measured began, and how much was done then.
    from: (Instant, Bytes),
}

impl Samples {
    fn new(now: Instant) -> Samples {
        Samples {
            rates: Vec::new(),
            every: SAMPLE,
            from: (now, Bytes::ZERO),
        }
    }

    fn take(&mut self, done: Bytes, now: Instant) {
        let took = now.saturating_duration_since(self.from.0);
        if took < self.every {
            return;
        }
        let rate = float(done - self.from.1) / took.as_secs_f64();
        self.rates.push(rate);
        self.from = (now, done);
        if self.rates.len() >= SAMPLES {
            let halved = self.rates.chunks(2).map(|two| {
                let sum: f64 = two.iter().sum();
                sum / if two.len() == 2 { 2.0 } else { 1.0 }
            });
            self.rates = halved.collect();
            self.every *= 2;
        }
    }

    /// How long all of it is.
    pub fn span(&self) -> Duration {
        let count = u32::try_from(self.rates.len()).unwrap_or(u32::MAX);
        self.every.saturating_mul(count)
    }
}

/// What a job was begun from; where it goes back to if it never began.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The review of a plan that is written.
    Review(Box<Review>),
    /// The table of sticks.
    Errand(Box<Errand>),
}

impl Origin {
    /// What the job is for.
    pub fn task(&self) -> Task {
        match self {
            Origin::Review(_) => Task::Write,
            Origin::Errand(errand) => errand.task(),
        }
    }

    /// The target's path, and what it is in words.
    pub fn target(&self) -> (String, &str) {
        let (path, description) = match self {
            Origin::Review(review) => {
                let target = &review.plan.target;
                (&target.path, &target.description)
            }
            Origin::Errand(errand) => (&errand.path, &errand.description),
        };
        (shown(path).to_string(), description)
    }

    /// Whether the target is a disk, and not a file.
    pub fn is_disk(&self) -> bool {
        match self {
            Origin::Review(review) => review.plan.target.kind == Kind::Disk,
            Origin::Errand(errand) => errand.disk,
        }
    }
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it was begun from.
    pub origin: Origin,
    /// What it asks before it writes.
    pub question: Option<Question>,
    /// What is known of the speed.
    pub pace: Pace,
    /// How far each step is.
    pub progress: Vec<Progress>,
    /// The step at work.
    pub step: usize,
    /// Bytes of the whole job that are done.
    pub done: Bytes,
    /// Bytes of the whole job.
    pub total: Bytes,
    /// Whether the first event came.
    pub begun: bool,
    /// When the job began.
    pub since: Instant,
    /// Rates over time.
    pub samples: Samples,
    /// When a byte went by last.
    moved: Instant,
    /// Messages.
    pub notes: Vec<String>,
    /// Whether leaving is being asked about.
    pub asking: bool,
    /// Whether the writer was told to stop.
    pub stopping: bool,
}

/// What an event leads to.
#[derive(Debug)]
pub enum Outcome {
    /// The job goes on.
    Going,
    /// It is over.
    Over(Result<Box<Report>, Failure>),
    /// It never began, for this reason.
    Denied(String),
}

/// What a command leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing but a changed screen.
    Stay,
    /// Not a command for this screen.
    NotMine,
    /// The writer shall stop.
    Cancel,
    /// The answer to its question.
    Answer(bool),
    /// Something the user should read.
    Say(String),
}

impl Job {
    /// A job that was confirmed, or that asks by itself. The steps of an errand are known when it begins.
    pub fn new(origin: Origin, now: Instant) -> Job {
        let steps = match &origin {
            Origin::Review(review) => review.plan.steps(),
            Origin::Errand(_) => Vec::new(),
        };
        Job {
            progress: vec![Progress::ToCome; steps.len()],
            total: steps.iter().map(|step| step.bytes).sum(),
            pace: Pace::new(steps, now),
            origin,
            question: None,
            step: 0,
            done: Bytes::ZERO,
            begun: false,
            since: now,
            samples: Samples::new(now),
            moved: now,
            notes: Vec::new(),
            asking: false,
            stopping: false,
        }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        self.pace.steps()
    }

    /// The kind of work that is done now.
    pub fn work(&self) -> Option<Work> {
        self.steps().get(self.step).map(|step| step.work)
    }

    /// Takes what happened.
    pub fn event(&mut self, event: Event, now: Instant) -> Outcome {
        match event {
            Event::Planned { steps, total, .. } | Event::Begun { steps, total, .. } => {
                self.begun = true;
                self.since = now;
                self.moved = now;
                self.progress = vec![Progress::ToCome; steps.len()];
                self.pace = Pace::new(steps, now);
                self.samples = Samples::new(now);
                self.total = total;
            }
            Event::Started { step } => {
                self.step = step;
                self.moved = now;
                self.pace.started(step, now);
                self.set(step, Progress::AtWork);
            }
            Event::Progress { step, done, total } => {
                if done > self.done {
                    self.moved = now;
                }
                self.step = step;
                self.done = done;
                self.total = total;
                self.samples.take(done, now);
            }
            Event::Note { text } => {
                if self.notes.len() < NOTES {
                    self.notes.push(text);
                }
            }
            Event::Finished { step } => {
                self.moved = now;
                self.pace.finished(step, now);
                self.set(step, Progress::Done);
            }
            Event::Done { report } => return Outcome::Over(Ok(report)),
            Event::Failed { failure } if !self.begun => {
                return Outcome::Denied(failure.message);
            }
            Event::Failed { failure } => return Outcome::Over(Err(failure)),
        }
        Outcome::Going
    }

    fn set(&mut self, step: usize, progress: Progress) {
        if let Some(known) = self.progress.get_mut(step) {
            *known = progress;
        }
    }

    /// The job asks something.
    pub fn ask(&mut self, question: Question, now: Instant) {
        self.moved = now;
        self.asking = false;
        // Whoever stopped it has answered.
        self.question = (!self.stopping).then_some(question);
    }

    /// Time went by.
    pub fn tick(&mut self, now: Instant) {
        self.samples.take(self.done, now);
    }

    /// How long no byte went by, where bytes should.
    pub fn stalled(&self, now: Instant) -> Option<Duration> {
        let flows = matches!(
            self.work(),
            Some(
                Work::CheckImage
                    | Work::Copy
                    | Work::ReadBack
                    | Work::FirstMib
                    | Work::Blank
                    | Work::Probe
                    | Work::ReadStick
                    | Work::ReadImage
            )
        );
        let quiet = now.saturating_duration_since(self.moved);
        (flows && self.question.is_none() && quiet >= STALL).then_some(quiet)
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd) -> Choice {
        if self.asking {
            match cmd {
                Cmd::Char('y' | 'Y') => {
                    self.asking = false;
                    self.stopping = true;
                    return Choice::Cancel;
                }
                Cmd::Char('n' | 'N') | Cmd::Back | Cmd::Enter => self.asking = false,
                Cmd::Suspend | Cmd::Redraw | Cmd::Help => return Choice::NotMine,
                _ => {}
            }
            return Choice::Stay;
        }
        if let Some(question) = &mut self.question {
            let answer = match question.command(cmd) {
                Answer::Stay => return Choice::Stay,
                Answer::NotMine => return Choice::NotMine,
                Answer::Say(text) => return Choice::Say(text),
                Answer::Yes => true,
                Answer::No => false,
            };
            self.question = None;
            self.stopping |= !answer;
            return Choice::Answer(answer);
        }
        match cmd {
            Cmd::Back | Cmd::Interrupt | Cmd::Char('q') => {
                self.asking = !self.stopping;
                Choice::Stay
            }
            _ => Choice::NotMine,
        }
    }
}
