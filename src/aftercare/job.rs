// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doing what a plan of [`super`] says, and looking over what was changed.
//!
//! Before the first write the stick is compared with the plan once more: while a question waits for its answer sticks
//! are plugged in and out, and written. After it nothing is a refusal any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;

use super::{Action, Plan};
use crate::apply::ending::{tell_if_gone, told};
use crate::apply::filesystem::Maker;
use crate::apply::flow::Stop;
use crate::apply::opening::{self, let_go};
use crate::apply::sprout::Grower;
use crate::chain::Holds;
use crate::disk::direct::Medium;
use crate::disk::{Identity, System, shown};
use crate::event::{self, Event, Work};
use crate::host::Host;
use crate::record::{Record, place};
use crate::report::{Exit, Failure, Made, Report, StickState};
use crate::sprout::Sprout;
use crate::verify::steps::Steps;
use crate::verify::subject::Subject;
use crate::verify::{filesystem, refused, stopped, stored};

/// Does what the plan says.
pub fn run(
    plan: &Plan,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let began = Instant::now();
    let words = format!("{}   {}", shown(&plan.target.path), plan.target.description);
    let mut state = StickState::Untouched;
    let mut steps = Steps::begin(plan.what.task(), words.clone(), plan.steps(), sink);
    let mut job = Job {
        plan,
        host,
        cancel,
        steps: &mut steps,
        state: &mut state,
        record: plan.record.clone(),
        report: Report::new(plan.what.task(), words),
    };
    let ended = job.run();
    let report = job.report;
    let ended = ended.map(|()| report).map_err(|failure| {
        let mut failure = Failure { state, ..failure };
        if let Exit::WriteFailed | Exit::NotVerified = failure.exit {
            let next = "run the same command again";
            tell_if_gone(&plan.target, steps.current(), next, &mut failure);
        }
        failure
    });
    event::end(ended, began, sink)
}

struct Job<'a, 'b> {
    plan: &'a Plan,
    host: &'a Host,
    cancel: &'a AtomicBool,
    steps: &'a mut Steps<'b>,
    state: &'a mut StickState,
    /// The record that the stick has by now.
    record: Record,
    report: Report,
}

fn failed(exit: Exit, error: &anyhow::Error) -> Failure {
    Failure {
        exit,
        message: told(error),
        state: StickState::Untouched,
    }
}

impl Job<'_, '_> {
    fn run(&mut self) -> Result<(), Failure> {
        let system = System::real();
        let medium = opening::target(&self.plan.target, None, &system)
            .map_err(|error| failed(Exit::Refused, &error))?;
        let ended = self.still(&medium).and_then(|()| self.act(&medium));
        let mut notes = Vec::new();
        let_go(medium, &mut notes);
        self.report.notes.extend(notes);
        ended?;
        *self.state = StickState::Complete;
        self.check(&system)?;
        self.report.state = StickState::Complete;
        self.report.notes.extend(
            self.plan
                .stays
                .iter()
                .map(|stays| format!("as it was: {stays}")),
        );
        // What was changed and not looked at is not called verified.
        let links = &self.report.links;
        let proven = links.iter().all(|link| link.holds == Holds::Proven);
        self.report.exit = if proven && links.len() == self.plan.looked_over().len() {
            Exit::Verified
        } else {
            Exit::NotVerified
        };
        Ok(())
    }

    /// Whether the stick is still the one that the plan was made for, and as it was then.
    fn still(&self, medium: &Medium) -> Result<(), Failure> {
        if stored::find(medium).record.as_ref() != Some(&self.plan.record) {
            return Err(refused(&super::refusal(
                &self.plan.target.path,
                "was written to after it was looked at; start again",
            )));
        }
        self.plan.still(medium).map_err(|why| refused(&why))
    }

    fn act(&mut self, medium: &Medium) -> Result<(), Failure> {
        let plan = self.plan;
        for (partition, action) in plan.actions.iter().enumerate() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(self.stop(Stop::Cancelled));
            }
            *self.state = StickState::Unfinished;
            let made = match action {
                Action::Make { filesystem } => {
                    self.steps.start(Work::Format { partition });
                    let maker = Maker {
                        host: self.host,
                        target: &plan.target.path,
                        medium,
                        cancel: self.cancel,
                    };
                    let made = maker.make(filesystem).map(|checked_by| Made {
                        purpose: filesystem.purpose.to_string(),
                        size: filesystem.extent.len,
                        filesystem: filesystem.describe(),
                        uuid: filesystem.uuid.to_string(),
                        checked_by: checked_by.to_owned(),
                    });
                    Some(made.map_err(|stop| self.stop(stop))?)
                }
                Action::Root { .. } | Action::Grow | Action::Detach => {
                    self.steps.start(Work::Sprout);
                    let sprout = plan.sprout.as_ref().context("there is no sprout");
                    let (sprout, _) = sprout.map_err(|error| failed(Exit::WriteFailed, &error))?;
                    self.sprout(action, sprout, medium)
                        .map_err(|stop| self.stop(stop))?;
                    None
                }
            };
            self.report.made.extend(made);
            self.steps.finish();
        }
        Ok(())
    }

    fn stop(&self, stop: Stop) -> Failure {
        match stop {
            Stop::Failed(_) if self.cancel.load(Ordering::Relaxed) => {
                stopped(Stop::Cancelled, Exit::Cancelled)
            }
            stop => stopped(stop, Exit::WriteFailed),
        }
    }

    fn sprout(&mut self, action: &Action, sprout: &Sprout, medium: &Medium) -> Result<(), Stop> {
        let grower = Grower {
            plan: sprout,
            host: self.host,
            image: None,
            target: &self.plan.target.path,
            medium,
            cancel: self.cancel,
        };
        match action {
            // A root that starts is there at every moment.
            Action::Root { home } => grower.reset(*home),
            Action::Detach => grower.detach(),
            _ => {
                let uuid = grower.grow()?;
                self.renamed(&uuid, medium)
            }
        }
    }

    /// The record gets the identifier of the sprout that was grown anew.
    fn renamed(&mut self, uuid: &str, medium: &Medium) -> Result<(), Stop> {
        let generation = self.record.generation.checked_add(1);
        self.record.generation =
            generation.context("counting up the record, which is of the last generation")?;
        let uuid = uuid
            .parse()
            .context("reading the identifier of the sprout")?;
        for part in &mut self.record.parts {
            if part.purpose == "sprout" {
                part.uuid = uuid;
            }
        }
        place::store(medium, &self.record).context("writing the record of what is on the stick")?;
        Ok(())
    }

    /// Looks over what was changed. Nothing of this is a refusal: the stick was written to.
    fn check(&mut self, system: &System) -> Result<(), Failure> {
        let target = &self.plan.target;
        let lost = |why: String| Failure {
            exit: Exit::NotVerified,
            message: format!(
                "{} was changed, and then {why}; verify it",
                shown(&target.path)
            ),
            state: StickState::Untouched,
        };
        let subject = Subject::open(&target.path, system)
            .map_err(|why| lost(format!("it could not be read: {why}")))?;
        if let (Some(pinned), Some(disk)) = (&target.identity, &subject.disk) {
            let same = pinned.compare(&Identity::of(disk));
            same.map_err(|why| lost(format!("another disk was there: {why}")))?;
        }
        if subject.record.as_ref() != Some(&self.record) {
            return Err(lost("its record was not there any more".into()));
        }
        for (partition, part) in self.plan.looked_over().iter().enumerate() {
            self.steps.start(Work::CheckFilesystem { partition });
            // It has another identifier if it was grown anew.
            let now = subject.parts.iter().find(|now| now.purpose == part.purpose);
            let checked = filesystem::check(&subject, now.unwrap_or(part), self.host, self.cancel)
                .map_err(|stop| stopped(stop, Exit::NotVerified))?;
            self.report.links.push(checked.link);
            self.report.damage.extend(checked.damage);
            self.steps.finish();
        }
        Ok(())
    }
}
