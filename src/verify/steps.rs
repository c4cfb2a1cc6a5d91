// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps of a job without a plan, and how far it is.

use crate::event::{Event, Step, Task, Work};
use crate::units::Bytes;

/// How far a job is.
#[derive(Clone, Debug, Default)]
pub struct Far {
    steps: Vec<Step>,
    total: Bytes,
    /// Bytes of the whole job that are done.
    done: Bytes,
    /// The step that is at work.
    current: usize,
}

impl Far {
    /// A step turns out to be this long.
    pub fn grow(&mut self, work: Work, bytes: Bytes) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.work == work) {
            self.total = self.total - step.bytes + bytes;
            step.bytes = bytes;
        }
    }
}

/// Tells what happens.
pub struct Steps<'a> {
    sink: &'a mut dyn FnMut(Event),
    far: Far,
}

impl<'a> Steps<'a> {
    /// Tells all steps.
    pub fn begin(
        task: Task,
        target: String,
        steps: Vec<Step>,
        sink: &'a mut dyn FnMut(Event),
    ) -> Steps<'a> {
        let total = steps.iter().map(|step| step.bytes).sum();
        sink(Event::Begun {
            task,
            target,
            steps: steps.clone(),
            total,
        });
        let far = Far {
            steps,
            total,
            ..Far::default()
        };
        Steps { sink, far }
    }

    /// Goes on with a job that was asked about.
    pub fn resume(far: Far, sink: &'a mut dyn FnMut(Event)) -> Steps<'a> {
        Steps { sink, far }
    }

    /// How far it is.
    pub fn far(&self) -> Far {
        self.far.clone()
    }

    /// A step begins.
    pub fn start(&mut self, work: Work) {
        let at = self.far.steps.iter().position(|step| step.work == work);
        self.far.current = at.unwrap_or(self.far.current);
        (self.sink)(Event::Started {
            step: self.far.current,
        });
    }

    /// The step that is at work, in words.
    pub fn current(&self) -> Option<&str> {
        let step = self.far.steps.get(self.far.current);
        step.map(|step| step.title.as_str())
    }

    /// Bytes went by.
    pub fn progress(&mut self, len: usize) {
        self.far.done += Bytes(len as u64);
        self.tell();
    }

    /// Something worth a line.
    pub fn note(&mut self, text: String) {
        (self.sink)(Event::Note { text });
    }

    /// The step ends; what it did not count by itself is counted now.
    pub fn finish(&mut self) {
        self.far.done = self
            .far
            .steps
            .iter()
            .take(self.far.current + 1)
            .map(|step| step.bytes)
            .sum();
        self.tell();
        (self.sink)(Event::Finished {
            step: self.far.current,
        });
    }

    fn tell(&mut self) {
        (self.sink)(Event::Progress {
            step: self.far.current,
            done: self.far.done,
            total: self.far.total,
        });
    }
}
