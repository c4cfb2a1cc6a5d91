// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that verifies, repairs, extracts and probes. Before anything is written to the stick it asks, and
//! waits; no answer is a no.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::fs::Access;

use super::super::errand::{Errand, What};
use crate::capacity;
use crate::disk::{System, shown};
use crate::event::Event;
use crate::extract;
use crate::host::Host;
use crate::plan::{PlannedTarget, target};
use crate::privilege;
use crate::refusal::Refusal;
use crate::repair;
use crate::report::{Exit, Failure, Report, StickState};
use crate::request::Request;
use crate::ui::confirm;
use crate::verify;

/// How often the wish to stop is looked at while a question waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// Asks whether this may be written; true is a yes.
pub type Ask<'a> = &'a mut dyn FnMut(&PlannedTarget, String) -> bool;

/// Waits for the answer to a question. When nobody is there to answer, or the job shall stop, that is a no.
pub(super) fn answer(answers: &Receiver<bool>, cancel: &AtomicBool) -> bool {
    loop {
        if cancel.load(Ordering::Relaxed) {
            return false;
        }
        match answers.recv_timeout(PATIENCE) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Does it. What is written to the stick is asked about before.
pub fn run(
    errand: &Errand,
    host: &Host,
    cancel: &AtomicBool,
    ask: Ask<'_>,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    if let Some(failure) = denied(errand, host) {
        return Err(failure);
    }
    match &errand.what {
        What::Verify(image) => {
            let request = verify::Request {
                target: errand.path.clone(),
                image: image.clone(),
                ..verify::Request::default()
            };
            verify::run(&request, host, cancel, sink)
        }
        What::Extract(out) => {
            let request = extract::Request {
                target: errand.path.clone(),
                out: out.clone(),
                force: false,
            };
            extract::run(&request, cancel, sink)
        }
        What::Repair(image) => {
            let request = repair::Request {
                target: errand.path.clone(),
                image: image.clone(),
                unmount: errand.unmount,
                allow_disk: errand.allow.clone(),
            };
            let plan = repair::look(&request, host, cancel, sink)?;
            if plan.writes() {
                let what = format!("{plan}{}", plan.meaning());
                if !ask(&plan.target, what) {
                    return Err(declined());
                }
            }
            repair::run(plan, host, cancel, sink)
        }
        What::Probe { full } => {
            let job = probe(errand, *full).map_err(|why| verify::refused(&why))?;
            let what = confirm::probe_means(&job);
            if !ask(&job.target, what) {
                return Err(declined());
            }
            job.run(host, cancel, sink)
        }
    }
}

fn probe(errand: &Errand, full: bool) -> Result<capacity::job::Job, Refusal> {
    let request = Request {
        target: errand.path.clone(),
        unmount: errand.unmount,
        allow_disk: errand.allow.clone(),
        ..Request::default()
    };
    let target = target::look(&request, &System::real())?;
    let job = capacity::job::Job::new(target, full)?;
    privilege::may_write(&job.target)?;
    Ok(job)
}

fn declined() -> Failure {
    Failure {
        exit: Exit::Cancelled,
        message: "stopped before anything was written".into(),
        state: StickState::Untouched,
    }
}

/// Only writing is started as root by itself: for everything else there is a command to be run.
fn denied(errand: &Errand, host: &Host) -> Option<Failure> {
    if host.root || !errand.disk {
        return None;
    }
    let needed = if errand.writes() {
        Access::READ_OK | Access::WRITE_OK
    } else {
        Access::READ_OK
    };
    let may = |path: &Path| rustix::fs::access(path, needed).is_ok();
    // Unmounting is root's in any case.
    if may(&errand.path) && !(errand.writes() && errand.unmount) {
        return None;
    }
    Some(Failure {
        exit: Exit::Denied,
        message: format!(
            "this takes root for {}; leave with q and run: {}",
            shown(&errand.path),
            errand.command()
        ),
        state: StickState::Untouched,
    })
}
