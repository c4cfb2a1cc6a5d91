// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that does a job. Whatever becomes of the work, its last event comes, and says what the stick is.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::AtomicBool;

use crate::event::{Event, Step, Work};
use crate::host::Host;
use crate::plan::Plan;
use crate::report::{Exit, Failure, Report, StickState};
use crate::secret::Passphrase;

/// Applies a plan: tells what happens, stops when asked to. [`crate::apply::run_with`] and [`crate::privilege::write`]
/// have this form.
pub type Write = fn(
    &Plan,
    Option<&Passphrase>,
    &Host,
    &AtomicBool,
    &mut dyn FnMut(Event),
) -> Result<Report, Failure>;

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Whether it will ask something on the terminal before its first event.
    pub asks: fn(&Plan, &Host) -> bool,
    /// Applies the plan.
    pub write: Write,
}

/// What the events so far amount to.
#[derive(Debug, Default)]
struct Told {
    steps: Vec<Step>,
    state: Option<StickState>,
    ended: bool,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Planned { steps, .. } | Event::Begun { steps, .. } => {
                self.steps.clone_from(steps);
            }
            // The first MiB decides what a stick is.
            Event::Started { step } => match self.work(*step) {
                Some(Work::Blank | Work::FirstMib | Work::Probe) => {
                    self.state = Some(StickState::Unknown);
                }
                Some(Work::Rewrite) => self.state = Some(StickState::Partly),
                // A full probe blanks nothing before.
                Some(Work::Copy) if self.state.is_none() => self.state = Some(StickState::Unknown),
                _ => {}
            },
            Event::Finished { step } => match self.work(*step) {
                Some(Work::Probe) => self.state = Some(StickState::Restored),
                Some(Work::Blank) => self.state = Some(StickState::Blank),
                Some(Work::FirstMib) => self.state = Some(StickState::Complete),
                _ => {}
            },
            Event::Done { .. } | Event::Failed { .. } => self.ended = true,
            Event::Progress { .. } | Event::Note { .. } => {}
        }
    }

    fn work(&self, step: usize) -> Option<Work> {
        self.steps.get(step).map(|step| step.work)
    }
}

/// Works; the last event that `sink` gets is the report or the failure, also when the work panics.
pub(super) fn run(
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<Report, Failure>,
    sink: &mut dyn FnMut(Event),
) {
    let mut told = Told::default();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut heard = |event: Event| {
            told.hear(&event);
            sink(event);
        };
        work(&mut heard)
    }));
    if told.ended {
        return;
    }
    let state = told.state.unwrap_or(StickState::Untouched);
    let failure = match outcome {
        Ok(Err(failure)) => failure,
        _ => Failure {
            exit: match state {
                StickState::Untouched => Exit::Refused,
                _ => Exit::WriteFailed,
            },
            message: "the work stopped at a defect of livestick itself, which its log describes"
                .into(),
            state,
        },
    };
    sink(Event::Failed { failure });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn told(events: &[Event]) -> Option<StickState> {
        let mut told = Told::default();
        let step = |work| Step {
            title: String::new(),
            work,
            bytes: Bytes(1),
        };
        told.steps = [Work::Blank, Work::Copy, Work::ReadBack, Work::FirstMib]
            .map(step)
            .into();
        for event in events {
            told.hear(event);
        }
        told.state
    }

    #[test]
    fn the_events_tell_what_the_stick_is() {
        let (started, finished) = (
            |step| Event::Started { step },
            |step| Event::Finished { step },
        );
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[started(0)]), Some(StickState::Unknown));
        assert_eq!(told(&[finished(0)]), Some(StickState::Blank));
        assert_eq!(told(&[finished(0), started(2)]), Some(StickState::Blank));
        assert_eq!(told(&[started(2), finished(2)]), None);
        assert_eq!(told(&[started(3)]), Some(StickState::Unknown));
        assert_eq!(told(&[finished(3)]), Some(StickState::Complete));
    }
}
