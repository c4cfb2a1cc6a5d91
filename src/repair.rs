// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing again what is damaged on a stick: chunks of the image's range from the image, with the changes laid over;
//! the backup of the partition table and the copies of the record from the record.
//!
//! Rules:
//!
//! * The stick's record says what belongs there. Without one nothing is repaired, and neither is it with another image.
//! * Only what is damaged is written, listed before; what lies in the first MiB comes last, so that a stick that is
//!   torn out meanwhile is no worse than before.
//! * Afterwards the whole range of the image is read once more, with the partition table and the record: a medium that
//!   fails may have changed other places meanwhile. "Cured" stands for all of that being right after the last write,
//!   and for nothing else; filesystems are not checked a second time, and the report says so.
//! * What users have saved on the stick cannot be repaired, and is not touched.

mod again;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::apply::ending::{gone, told};
use crate::apply::flow::Stop;
use crate::apply::opening::{self, let_go};
use crate::diagnosis::{Cause, Cure, Damage};
use crate::digest::hex;
use crate::disk::buffer::Buffer;
use crate::disk::{System, shown};
use crate::event::{self, Event, Step, Task, Work};
use crate::host::Host;
use crate::patch::lay;
use crate::plan::{PlannedTarget, target};
use crate::read::{ReadAt, Source};
use crate::record::{Record, tree};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, Report, StickState};
use crate::request;
use crate::units::{Bytes, Extent, MIB};
use crate::verify::again::all_wrong;
use crate::verify::steps::{Far, Steps};
use crate::verify::subject::Subject;
use crate::verify::{self, Found, Job, stored};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A whole block device, or a stick image file.
    pub target: PathBuf,
    /// The image that was written.
    pub image: PathBuf,
    /// Unmount what is mounted from the target.
    pub unmount: bool,
    /// The serial (or path) of a disk that does not look like a stick but is meant.
    pub allow_disk: Option<String>,
}

/// A range that is written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Where.
    pub extent: Extent,
    /// What lies there.
    pub places: Vec<String>,
    /// The chunk of the image's range; none of what lies behind it.
    #[serde(skip)]
    chunk: Option<usize>,
    /// What belongs there, of what lies behind the image.
    #[serde(skip)]
    bytes: Vec<u8>,
}

/// What will be written again.
#[derive(Debug)]
pub struct Plan {
    /// The target.
    pub target: PlannedTarget,
    /// In the order of writing.
    pub rewrites: Vec<Rewrite>,
    image: PathBuf,
    record: Record,
    found: Found,
    far: Far,
    began: Instant,
}

/// A plan as JSON.
#[derive(Debug, Serialize)]
pub struct Listing<'a> {
    rewrites: &'a [Rewrite],
    damage: &'a [Damage],
}

impl Plan {
    /// Whether anything will be written.
    pub fn writes(&self) -> bool {
        !self.rewrites.is_empty()
    }

    /// The plan as data.
    pub fn listing(&self) -> Listing<'_> {
        Listing {
            rewrites: &self.rewrites,
            damage: &self.found.report.damage,
        }
    }

    /// What writing means, in a sentence.
    pub fn meaning(&self) -> String {
        format!(
            "Only this is written to {} ({}); nothing else on it changes.",
            self.target.path.display(),
            self.target.description
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for damage in self.found.report.damage.iter().take(20) {
            writeln!(f, "damage     {damage}")?;
        }
        if self.rewrites.is_empty() {
            return writeln!(
                f,
                "repair     nothing that the image or the record could cure"
            );
        }
        for rewrite in &self.rewrites {
            let Extent { at, len } = rewrite.extent;
            writeln!(
                f,
                "write      {} bytes at byte {}: {}",
                len.grouped(),
                at.grouped(),
                rewrite.places.join(", ")
            )?;
        }
        Ok(())
    }
}

fn refusal(why: String) -> Failure {
    verify::refused(&Refusal::Target(why))
}

/// Looks at the stick and says what would be written again. A failure is told to `sink`, too.
pub fn look(
    request: &Request,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Plan, Failure> {
    let looked = look_at(request, host, cancel, sink);
    if let Err(failure) = &looked {
        let failure = failure.clone();
        sink(Event::Failed { failure });
    }
    looked
}

fn look_at(
    request: &Request,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Plan, Failure> {
    let began = Instant::now();
    let asked = request::Request {
        image: request.image.clone(),
        target: request.target.clone(),
        unmount: request.unmount,
        allow_disk: request.allow_disk.clone(),
        ..request::Request::default()
    };
    let system = System::real();
    let refused = |why: Refusal| verify::refused(&why);
    let image = verify::open_image(&request.image).map_err(refused)?;
    // Refuses what `write` refuses: a repair writes, too.
    let target = target::look(&asked, &system).map_err(refused)?;
    let subject = Subject::open(&target.path, &system).map_err(refused)?;
    let Some(record) = subject.record.clone() else {
        let why = subject
            .fault
            .as_ref()
            .map_or(String::new(), |fault| format!(" ({fault})"));
        return Err(refusal(format!(
            "{} has no record of what was written to it{why}, so nothing says what belongs there; write it again",
            target.path.display()
        )));
    };
    if image.len() != record.image.size {
        return Err(another(&record, &format!("it has {} bytes", image.len())));
    }
    let mut steps = verify::steps(&subject, true);
    // How much of this there is to do turns out then.
    for (title, work) in [
        ("write again what is damaged", Work::Rewrite),
        ("read everything once more", Work::ReadBack),
    ] {
        let (title, bytes) = (title.into(), Bytes::ZERO);
        steps.push(Step { title, work, bytes });
    }
    let mut steps = Steps::begin(Task::Repair, subject.words.clone(), steps, sink);
    let job = Job {
        subject: &subject,
        image: Some(&image),
        published: None,
        host,
        cancel,
    };
    let found = job.look(Task::Repair, &mut steps)?;
    if found.region.image.as_deref() != Some(&hex(&record.image.sha256)) {
        let digest = found.region.image.clone().unwrap_or_default();
        return Err(another(&record, &format!("its sha256 is {digest}")));
    }
    let cause = found.report.diagnosis.as_ref().map(|verdict| verdict.cause);
    if cause == Some(Cause::SmallerThanClaimed) {
        return Err(refusal(
            "the stick is smaller than it claims: what is written to one place is lost at another; replace it".into(),
        ));
    }
    let rewrites = rewrites(&subject, &record, &found);
    let mut far = steps.far();
    if !rewrites.is_empty() {
        let written = rewrites.iter().map(|rewrite| rewrite.extent.len).sum();
        far.grow(Work::Rewrite, written);
        far.grow(Work::ReadBack, record.image.size);
    }
    let image = request.image.clone();
    Ok(Plan {
        target,
        rewrites,
        image,
        record,
        found,
        far,
        began,
    })
}

fn another(record: &Record, why: &str) -> Failure {
    Failure {
        exit: Exit::Damaged,
        message: format!(
            "the image is not the one that was written ({}, sha256 {}): {why}",
            record.image.name,
            hex(&record.image.sha256)
        ),
        state: StickState::Untouched,
    }
}

/// What has to be written again, in the order of writing: the first MiB last.
fn rewrites(subject: &Subject, record: &Record, found: &Found) -> Vec<Rewrite> {
    let mut all: Vec<Rewrite> = all_wrong(record, &found.region)
        .into_iter()
        .map(|wrong| {
            let extent = record.chunk(wrong.index);
            Rewrite {
                extent,
                places: found.atlas.places(extent),
                chunk: Some(wrong.index),
                bytes: Vec::new(),
            }
        })
        .collect();
    let damaged = |extent: Extent| {
        found
            .report
            .damage
            .iter()
            .any(|one| one.cure == Cure::Record && one.extent.overlaps(extent))
    };
    let mut behind = |at: Bytes, bytes: &[u8], what: String| {
        let len = Bytes(bytes.len() as u64);
        let extent = Extent { at, len };
        if damaged(extent) {
            all.push(Rewrite {
                extent,
                places: vec![what],
                chunk: None,
                bytes: bytes.to_vec(),
            });
        }
    };
    for kept in &record.kept {
        behind(kept.at, &kept.bytes, format!("the {}", kept.what));
    }
    for (copy, which) in subject.copies.iter().zip(["first", "second"]) {
        let what = format!("the {which} copy of the record");
        behind(copy.extent.at, &copy.right, what);
    }
    all.sort_by_key(|rewrite| (rewrite.extent.at.0 < MIB, rewrite.extent.at));
    all
}

/// Does what the plan says.
pub fn run(
    plan: Plan,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let mut state = StickState::Untouched;
    let (far, began) = (plan.far.clone(), plan.began);
    let mut steps = Steps::resume(far, sink);
    let target = plan.target.clone();
    let ended = write(plan, host, cancel, &mut steps, &mut state);
    let ended = ended.map_err(|failure| Failure { state, ..failure });
    let exit = ended
        .as_ref()
        .map_or_else(|failure| failure.exit, |report| report.exit);
    // What was pulled out could neither be written to nor read.
    let message = match exit {
        Exit::WriteFailed | Exit::NotVerified => gone(&target, steps.current(), "repair it again"),
        _ => None,
    };
    let ended = message.map_or(ended, |message| {
        Err(Failure {
            exit: Exit::WriteFailed,
            message,
            state,
        })
    });
    event::end(ended, began, sink)
}

fn write(
    plan: Plan,
    host: &Host,
    cancel: &AtomicBool,
    steps: &mut Steps<'_>,
    state: &mut StickState,
) -> Result<Report, Failure> {
    if !plan.writes() {
        let mut report = plan.found.report;
        if report.exit == Exit::Verified {
            report.state = StickState::Complete;
        }
        return Ok(report);
    }
    let fail = |exit: Exit, error: &anyhow::Error| Failure {
        exit,
        message: told(error),
        state: StickState::Untouched,
    };
    steps.start(Work::Rewrite);
    let system = System::real();
    let image = verify::open_image(&plan.image).map_err(|why| verify::refused(&why))?;
    let medium = opening::target(&plan.target, Some(&plan.image), &system)
        .map_err(|error| fail(Exit::Refused, &error))?;
    // The same stick may have been written anew while somebody thought about the question.
    if stored::find(&medium).record.as_ref() != Some(&plan.record) {
        return Err(refusal(format!(
            "{} was written to after it was looked at; start again",
            shown(&plan.target.path)
        )));
    }
    for rewrite in &plan.rewrites {
        if cancel.load(Ordering::Relaxed) {
            return Err(verify::stopped(Stop::Cancelled, Exit::Cancelled));
        }
        // After the first write nothing is a refusal any more.
        let unread = match *state {
            StickState::Untouched => Exit::Refused,
            _ => Exit::WriteFailed,
        };
        let bytes = right(rewrite, &plan.record, &image).map_err(|error| fail(unread, &error))?;
        *state = StickState::Partly;
        let written = medium
            .write_at(rewrite.extent.at, &bytes)
            .and_then(|()| medium.flush());
        written.map_err(|error| fail(Exit::WriteFailed, &error.into()))?;
        steps.progress(bytes.len());
    }
    let mut notes = Vec::new();
    let_go(medium, &mut notes);
    steps.finish();
    steps.start(Work::ReadBack);
    let mut report = again::look(&plan, host, cancel, steps)?;
    report.notes.extend(notes);
    *state = StickState::Complete;
    steps.finish();
    Ok(report)
}

/// What belongs into a range.
fn right(rewrite: &Rewrite, record: &Record, image: &Source) -> anyhow::Result<Buffer> {
    let len = rewrite.extent.len.index().unwrap_or(0);
    let mut bytes = Buffer::new(len);
    let Some(index) = rewrite.chunk else {
        bytes.copy_from_slice(&rewrite.bytes);
        return Ok(bytes);
    };
    image.read_exact_at(rewrite.extent.at, &mut bytes)?;
    for change in &record.changes {
        lay(&mut bytes, rewrite.extent.at, change.at, &change.after);
    }
    if record.chunks.get(index) != Some(&tree::leaf(&bytes)) {
        anyhow::bail!(
            "the image changed at byte {} while it was read; start again",
            rewrite.extent.at
        );
    }
    Ok(bytes)
}
