// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads behind the screens: what comes of a writer that panics, or that says nothing.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use livestick::event::{self, Event};
use livestick::plan::Plan;
use livestick::report::{Exit, Failure, StickState};
use livestick::ui::tui::work::{Message, Task, Work, Write, Writer};

use crate::made_up::{failure, plan};

type Sink<'a> = &'a mut dyn FnMut(Event);

fn begin(plan: &Plan, sink: Sink<'_>) {
    let steps = plan.steps();
    let total = steps.iter().map(|step| step.bytes).sum();
    sink(Event::Planned {
        plan: Box::new(plan.clone()),
        steps,
        total,
    });
}

fn ended(write: Write) -> Failure {
    let writer = Writer {
        asks: |_, _| false,
        write,
    };
    let (mut work, messages) = Work::start(writer, false);
    work.begin(Task::Write(plan(), None));
    let failure = last(&messages);
    work.finish();
    failure
}

fn last(messages: &Receiver<Message>) -> Failure {
    loop {
        match messages.recv_timeout(Duration::from_secs(60)).unwrap() {
            Message::Job(Event::Failed { failure }) => return failure,
            Message::Job(Event::Done { report }) => panic!("{report}"),
            _ => {}
        }
    }
}

#[test]
fn a_writer_that_panics_still_tells_what_the_stick_is() {
    let failure = ended(|_, _, _, _, _| panic!("at once"));
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Refused, StickState::Untouched)
    );
    let failure = ended(|plan, _, _, _, sink| {
        begin(plan, sink);
        let steps = plan.steps();
        let blank = steps
            .iter()
            .position(|step| step.work == event::Work::Blank);
        let step = blank.unwrap();
        sink(Event::Started { step });
        sink(Event::Finished { step });
        sink(Event::Started { step: step + 1 });
        panic!("in the middle")
    });
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::WriteFailed, StickState::Blank)
    );
    assert!(failure.message.contains("defect"), "{failure}");
    assert!(!failure.message.contains("in the middle"), "{failure}");
    let failure = ended(|plan, _, _, _, sink| {
        begin(plan, sink);
        sink(Event::Started {
            step: plan.steps().len() - 1,
        });
        panic!("at the end")
    });
    assert_eq!(failure.state, StickState::Unknown);
}

#[test]
fn a_writer_that_ends_without_its_last_event_still_has_one() {
    let failure = ended(|_, _, _, _, _| Err(failure()));
    assert!(failure.message.contains("No such device"), "{failure}");
}
