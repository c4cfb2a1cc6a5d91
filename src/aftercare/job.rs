// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doing what a plan of [`super`] says, and looking over what was changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;

use super::{Action, Plan};
use crate::apply::ending::told;
use crate::apply::filesystem::Maker;
use crate::apply::flow::Stop;
use crate::apply::sprout::Grower;
use crate::apply::{let_go, opening};
use crate::chain;
use crate::disk::direct::Medium;
use crate::disk::{System, shown};
use crate::event::{self, Event, Work};
use crate::host::Host;
use crate::record::place;
use crate::report::{Exit, Failure, Made, Report, StickState};
use crate::sprout::Sprout;
use crate::verify::filesystem;
use crate::verify::steps::Steps;
use crate::verify::subject::Subject;
use crate::verify::{refused, stopped};

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
        report: Report::new(plan.what.task(), words),
    };
    let ended = job.run();
    let report = job.report;
    let ended = match ended {
        Ok(()) => Ok(report),
        Err(failure) => Err(Failure { state, ..failure }),
    };
    event::end(ended, began, sink)
}

struct Job<'a, 'b> {
    plan: &'a Plan,
    host: &'a Host,
    cancel: &'a AtomicBool,
    steps: &'a mut Steps<'b>,
    state: &'a mut StickState,
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
        let ended = self.act(&medium);
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
        self.report.exit = if chain::holds(&self.report.links) {
            Exit::Verified
        } else {
            Exit::NotVerified
        };
        Ok(())
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
                    let sprout = sprout.map_err(|error| failed(Exit::Refused, &error))?;
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

    fn sprout(&self, action: &Action, sprout: &Sprout, medium: &Medium) -> Result<(), Stop> {
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
    fn renamed(&self, uuid: &str, medium: &Medium) -> Result<(), Stop> {
        let mut record = self.plan.record.clone();
        record.generation += 1;
        let uuid = uuid
            .parse()
            .context("reading the identifier of the sprout")?;
        for part in &mut record.parts {
            if part.purpose == "sprout" {
                part.uuid = uuid;
            }
        }
        place::store(medium, &record).context("writing the record of what is on the stick")?;
        Ok(())
    }

    /// Looks over what was changed.
    fn check(&mut self, system: &System) -> Result<(), Failure> {
        let subject = Subject::open(&self.plan.target.path, system).map_err(|why| refused(&why))?;
        for (partition, part) in self.plan.changed().iter().enumerate() {
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
