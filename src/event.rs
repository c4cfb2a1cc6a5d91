// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens while a plan is applied, as a stream of events: the one interface between the work and its front ends.
//!
//! Rules:
//!
//! * [`Event::Planned`], or [`Event::Begun`] where there is no plan, comes first and holds every step, so that a front
//!   end can draw all rows before work begins.
//! * Exactly one of [`Event::Done`] and [`Event::Failed`] comes, and nothing comes after it.
//! * Progress counts the bytes of the whole job; how many of them a step has is in its [`Step`].

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::report::{Failure, Report};
use crate::units::Bytes;

/// The version of the JSON form of events, plans and reports. Raised when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// One thing that is done to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is, in the plan's words.
    pub title: String,
    /// What kind of work it is.
    pub work: Work,
    /// Bytes that pass, for the progress of the whole job.
    pub bytes: Bytes,
}

/// The kinds of step, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// The image is read and compared with its published digest; nothing is written.
    CheckImage,
    /// Marks are written, read back and taken back: does the target have the size it claims?
    Probe,
    /// The first MiB becomes zeros: from here on the stick is blank.
    Blank,
    /// The image from its second MiB on, and what the partition table keeps behind it.
    Copy,
    /// A filesystem is made and filled.
    Format {
        /// Which of the plan's partitions.
        partition: usize,
    },
    /// The seed is made: the image's root, copied into a btrfs.
    Seed,
    /// The seed is compared with the image's root.
    Compare,
    /// The sprout is grown, put back, or detached from its seed.
    Sprout,
    /// Everything is read back from the medium.
    ReadBack,
    /// The record of what was written is put on the stick.
    Record,
    /// The first MiB: from here on the stick is complete.
    FirstMib,
    /// The image's range of a stick is read and compared with what belongs there.
    ReadStick,
    /// The partition table, its backup, and the record.
    CheckTable,
    /// A filesystem is looked over by its own checker.
    CheckFilesystem {
        /// Which of the partitions behind the image.
        partition: usize,
    },
    /// The image is read, and its digest compared with the record's.
    ReadImage,
    /// Damaged chunks are written again.
    Rewrite,
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// An image is written to a stick.
    Write,
    /// A stick is compared with what was written to it.
    Verify,
    /// What is damaged is written again.
    Repair,
    /// The image is read back from a stick.
    Extract,
    /// A stick's capacity is measured.
    Probe,
    /// What was changed on a stick is thrown away.
    Reset,
    /// A sprout is made independent of its seed.
    Detach,
}

/// Something that happened.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// What will be done. Always the first.
    Planned {
        /// The plan, in full.
        plan: Box<Plan>,
        /// Its steps, in order; events name them by index.
        steps: Vec<Step>,
        /// The sum of the steps' bytes.
        total: Bytes,
    },
    /// What will be done, where there is no plan. Always the first.
    Begun {
        /// What for.
        task: Task,
        /// The stick, in words.
        target: String,
        /// The steps, in order; events name them by index.
        steps: Vec<Step>,
        /// The sum of the steps' bytes.
        total: Bytes,
    },
    /// A step begins.
    Started {
        /// Its index.
        step: usize,
    },
    /// Bytes went by.
    Progress {
        /// The step that is at work.
        step: usize,
        /// Bytes of the whole job that are done.
        done: Bytes,
        /// Bytes of the whole job.
        total: Bytes,
    },
    /// Something worth a line, which changes nothing.
    Note {
        /// The line.
        text: String,
    },
    /// A step is done.
    Finished {
        /// Its index.
        step: usize,
    },
    /// The job came to its end; what was done, and how far it was verified, is in the report. Always the last.
    Done {
        /// What was done and proven.
        report: Box<Report>,
    },
    /// The job did not come to its end. Always the last.
    Failed {
        /// What went wrong, and what the stick is now.
        failure: Failure,
    },
}

/// Ends a job that began at `began`: its last event, and what came of it with the time it took.
pub fn end(
    ended: Result<Report, Failure>,
    began: Instant,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    match ended {
        Ok(mut report) => {
            report.seconds = began.elapsed().as_secs_f64();
            sink(Event::Done {
                report: Box::new(report.clone()),
            });
            Ok(report)
        }
        Err(failure) => {
            sink(Event::Failed {
                failure: failure.clone(),
            });
            Err(failure)
        }
    }
}
