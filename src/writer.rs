// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of [`crate::privilege`]: `livestick apply-plan`, which root runs for somebody who is not.
//!
//! It is no command for people, so it is in no help and no manual. Its standard input is one plan, as JSON on one
//! line; its standard output are events, as `livestick write --json` gives them. Another line on standard input, or
//! its end, cancels: whoever wanted the stick is gone. Exit statuses are those of `write`.
//!
//! The plan is what an untrusted process asks of root. It is taken only in the exact form that this very version
//! would give it, and only after an audit ([`Plan::audit`]).

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::apply;
use crate::disk::System;
use crate::event::Event;
use crate::host::Host;
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::ui::json;
use crate::ui::say;

/// The one argument that makes `livestick` this.
pub const NAME: &str = "apply-plan";

/// The longest plan. One with every boot configuration edited has some hundred KiB.
const LONGEST: u64 = 64 << 20;
/// Progress is told this often.
const PACE: Duration = Duration::from_millis(100);

/// Reads a plan, applies it, tells what happens.
pub fn run() -> Result<(), Exit> {
    let host = Host::look();
    let plan = read(&mut io::stdin().lock())
        .and_then(|plan| plan.audit(&System::real(), &host).map(|()| plan));
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => {
            let exit = refusal.exit();
            json::failure(Failure {
                exit,
                message: refusal.to_string(),
                state: StickState::Untouched,
            });
            return Err(exit);
        }
    };
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Without the handler the signal ends the program, and the stick is blank all the same.
        let _ = signal_hook::flag::register(signal, Arc::clone(&cancel));
    }
    let stop = Arc::clone(&cancel);
    thread::spawn(move || {
        // Whatever comes, and also if nothing can come any more.
        let _ = io::stdin().lock().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
    let mut teller = Teller::default();
    match apply::run(&plan, &host, &cancel, &mut |event| teller.event(event)) {
        Ok(report) if report.exit == Exit::Verified => Ok(()),
        Ok(report) => Err(report.exit),
        Err(failure) => Err(failure.exit),
    }
}

/// One line, and nothing but a plan in it, in the form that this version gives a plan.
fn read(from: &mut impl BufRead) -> Result<Plan, Refusal> {
    let refuse = |why: String| Refusal::Plan(why);
    let mut line = Vec::new();
    from.take(LONGEST)
        .read_until(b'\n', &mut line)
        .map_err(|error| refuse(format!("reading it: {error}")))?;
    if line.pop() != Some(b'\n') {
        return Err(refuse("it is not one line of JSON".into()));
    }
    let plan: Plan = json::parse(&line).map_err(refuse)?;
    let again = json::line(&plan);
    if again.as_bytes().strip_suffix(b"\n") != Some(line.as_slice()) {
        return Err(refuse(
            "it is not in the form of this version of livestick; start livestick again".into(),
        ));
    }
    Ok(plan)
}

/// Prints events as they come, but of progress only what somebody can see.
#[derive(Default)]
struct Teller {
    told: Option<Instant>,
    untold: Option<Event>,
}

impl Teller {
    fn event(&mut self, event: Event) {
        let progress = matches!(event, Event::Progress { .. });
        if progress && self.told.is_some_and(|told| told.elapsed() < PACE) {
            self.untold = Some(event);
            return;
        }
        if progress {
            self.told = Some(Instant::now());
            self.untold = None;
        } else if let Some(untold) = self.untold.take() {
            say(&json::line(&untold));
        }
        say(&json::line(&event));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_is_read_is_a_panic(bytes: Vec<u8>, text: String) {
            prop_assert!(read(&mut bytes.as_slice()).is_err());
            let line = format!("{{\"version\":1,\"image\":{text:?}}}\n");
            prop_assert!(read(&mut line.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_plan_of_another_version_is_named_as_such() {
        let error = read(&mut b"{\"version\":2}\n".as_slice()).unwrap_err();
        assert!(error.to_string().contains("version"), "{error}");
        assert!(read(&mut b"".as_slice()).is_err());
    }
}
