// SPDX-License-Identifier: MIT OR Apache-2.0
//! Doing what a plan says: the only room with side effects on a target.
//!
//! The order keeps one promise: at every moment the stick is as it was, blank, or complete.
//!
//! Where a published digest is known, the image is read once before all that, and has to have it. What is copied later
//! has to be what was read then.
//!
//! 0. Where something is encrypted, its key and header are made, in memory and in a file without a name. Where the
//!    plan has a probe, marks show whether the target has the size it claims. They are taken back at once; a target
//!    that fails this is left as it was.
//! 1. The first MiB becomes zeros and is flushed. Until then nothing was written; from here on nothing boots.
//! 2. The image from its second MiB on, with the changes; what the partition table keeps behind it; filesystems.
//! 3. Everything is read back from the medium. What differs ends the job with a blank stick. What was read back is
//!    then put into the record.
//! 4. The first MiB, its first 4 KiB last of all: they hold the boot record and the head of the partition table. If
//!    this fails, or is not what is read back, it becomes zeros again.
//!
//! Every write is listed in the plan; what is written comes from the image file and the plan alone, and from a random
//! key where something is encrypted.

pub mod copy;
pub(crate) mod encrypted;
pub(crate) mod ending;
pub mod filesystem;
pub mod flow;
mod grow;
pub(crate) mod loopdev;
mod making;
pub(crate) mod mounted;
pub(crate) mod opening;
pub(crate) mod outcome;
pub(crate) mod program;
mod recording;
mod regrow;
pub(crate) mod sprout;
mod staging;
pub mod verify;
mod within;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow};

use crate::apply::copy::{Copied, Copy, HEAD};
use crate::apply::encrypted::Lock;
use crate::apply::ending::{End, tell_if_gone};
use crate::apply::flow::Stop;
use crate::apply::opening::{let_go, past_the_cache};
use crate::apply::verify::{Digests, read_back};
use crate::capacity::mark::Key;
use crate::capacity::{Capacity, job, quick};
use crate::digest::hex;
use crate::disk::direct::{Kind, Medium, MediumError};
use crate::disk::proof::ReadProof;
use crate::disk::{System, shown};
use crate::event::{self, Event, Step, Work};
use crate::host::Host;
use crate::image::Version;
use crate::image::isomd5::{Check, MediaSum};
use crate::plan::Plan;
use crate::plan::filesystem::Filesystem;
use crate::published::measure::measure;
use crate::record::place;
use crate::report::{Exit, Failure, Made, Report, StickState};
use crate::secret::Passphrase;
use crate::units::Bytes;

/// The part of the first MiB that is written after the rest of it: whole sectors of every medium.
const FIRST: usize = 4096;

/// Applies a `plan` that encrypts nothing; tells `sink` what happens. Setting `cancel` stops at the next chunk.
pub fn run(
    plan: &Plan,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    run_with(plan, None, host, cancel, sink)
}

/// The same for any plan, with the passphrase if it encrypts something.
pub fn run_with(
    plan: &Plan,
    passphrase: Option<&Passphrase>,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let steps = plan.steps();
    let total = steps.iter().map(|step| step.bytes).sum();
    sink(Event::Planned {
        plan: Box::new(plan.clone()),
        steps: steps.clone(),
        total,
    });
    let mut job = Job {
        plan,
        passphrase,
        host,
        cancel,
        sink,
        steps,
        total,
        done: Bytes::ZERO,
        current: 0,
        state: StickState::Untouched,
        created: false,
        checked: None,
        lock: None,
    };
    let began = Instant::now();
    let ended = job.run();
    let state = job.state;
    let step = job.steps.get(job.current).map(|step| step.title.clone());
    let ended = ended.map_err(|end| {
        let mut failure = end.into_failure(state);
        if let Exit::WriteFailed | Exit::NotVerified | Exit::Counterfeit = failure.exit {
            let next = "write it again";
            tell_if_gone(&plan.target, step.as_deref(), next, &mut failure);
        }
        failure
    });
    event::end(ended, began, sink)
}

/// What was copied, what was read back, how much of that came from the medium, and the filesystems.
type Written = (Copied, Digests, Option<Bytes>, Vec<Made>);

struct Job<'a> {
    plan: &'a Plan,
    passphrase: Option<&'a Passphrase>,
    host: &'a Host,
    cancel: &'a AtomicBool,
    sink: &'a mut dyn FnMut(Event),
    steps: Vec<Step>,
    total: Bytes,
    /// Bytes of the whole job that are done.
    done: Bytes,
    /// The step that is at work.
    current: usize,
    state: StickState,
    /// Whether the target is a file that this job made.
    created: bool,
    /// SHA-256 of the image, where it was compared with what was published.
    checked: Option<String>,
    /// The head of the encrypted partition, and its key, if there is one.
    lock: Option<Lock>,
}

impl Job<'_> {
    fn run(&mut self) -> Result<Report, End> {
        let ended = self.open_and_write();
        if ended.is_err() && self.created && self.state == StickState::Untouched {
            // Nothing was written, so there is to be no file either.
            let _ = fs::remove_file(&self.plan.target.path);
        }
        ended
    }

    fn open_and_write(&mut self) -> Result<Report, End> {
        let image = opening::image(self.plan).map_err(End::Refused)?;
        self.check_image(&image)?;
        self.lock = self.make_lock()?;
        let medium = opening::target(
            &self.plan.target,
            Some(&self.plan.image.path),
            &System::real(),
        )
        .map_err(End::Refused)?;
        self.created = self.plan.target.kind == Kind::NewFile;
        if self.cancel.load(Ordering::Relaxed) {
            return Err(End::Cancelled);
        }
        if medium.cached_below() {
            past_the_cache(self.host, &medium);
        }
        self.foresee(&image, &medium)?;
        let mut notes = Vec::new();
        let mut capacity = None;
        let probed = self.probe(&medium);
        let began = probed.is_ok();
        let written = probed.and_then(|probed| {
            capacity = probed;
            self.write(&image, &medium)
        });
        if written.is_err() && began && self.state != StickState::Blank {
            let blank = self.blank(&medium);
            self.state = match blank {
                Ok(()) => StickState::Blank,
                Err(_) => StickState::Unknown,
            };
        }
        let given = written.as_ref().map_or(None, |(_, _, given, _)| *given);
        let verdict = outcome::verdict(&medium, self.plan.image.size, given);
        // After a failure too: the kernel must not go on showing what was there before.
        let_go(medium, &mut notes);
        let (copied, digests, _, made) = written?;
        let (plan, state) = (self.plan, self.state);
        let mut report = outcome::report(plan, state, copied, digests, verdict, made, notes);
        report.capacity = capacity;
        Ok(report)
    }

    /// Compares the image with what was published of it.
    fn check_image(&mut self, image: &fs::File) -> Result<(), End> {
        let plan = self.plan;
        let planned = &plan.image;
        let wanted = planned.published.sums();
        if wanted.is_empty() {
            return Ok(());
        }
        self.start(Work::CheckImage);
        let cancel = self.cancel;
        let read = |len| self.progress(len);
        let sums =
            measure(image, planned.size, wanted, read, cancel).map_err(|stop| match stop {
                Stop::Cancelled => End::Cancelled,
                Stop::Failed(error) => End::Refused(error),
            })?;
        let compared = planned.published.compare(&planned.name, &sums);
        compared.map_err(|why| End::Image(anyhow!(why)))?;
        self.checked = sums.first().map(|sum| hex(&sum.value));
        self.finish();
        Ok(())
    }

    /// Makes what an encrypted partition begins with, before anything is written: it takes memory and a program.
    fn make_lock(&self) -> Result<Option<Lock>, End> {
        let encryption = |filesystem: &Filesystem| filesystem.encryption.clone();
        let planned = self.plan.filesystems.iter().find_map(encryption);
        let (Some(encryption), Some(passphrase)) = (&planned, self.passphrase) else {
            return match planned {
                None => Ok(None),
                Some(_) => Err(End::Refused(anyhow!(
                    "the plan has an encrypted /home, and no passphrase came with it"
                ))),
            };
        };
        let made = Lock::make(encryption, passphrase, self.host, self.cancel);
        made.map(Some).map_err(|stop| match stop {
            Stop::Failed(_) if self.cancel.load(Ordering::Relaxed) => End::Cancelled,
            Stop::Failed(error) => End::Refused(error.context("preparing the encrypted /home")),
            Stop::Cancelled => End::Cancelled,
        })
    }

    /// Makes sure that the target has the size it claims, if the plan says so.
    fn probe(&mut self, medium: &Medium) -> Result<Option<Capacity>, End> {
        let Some(probe) = &self.plan.probe else {
            return Ok(None);
        };
        self.start(Work::Probe);
        let cancel = self.cancel;
        let probed = quick::run(medium, probe, Key::random(), cancel, &mut |len| {
            self.progress(len);
        });
        self.state = probed.state();
        let path = shown(medium.path());
        let Some(capacity) = job::capacity(medium, probed) else {
            return Err(End::Cancelled);
        };
        let failed = || {
            let left = capacity.left_behind().map(|left| format!("; {left}"));
            let left = left.unwrap_or_default();
            anyhow!("{path} was probed: {}{left}", capacity.sentence())
        };
        match capacity.exit() {
            // Where it cannot be proven that the medium was read, that is known of the whole stick in the end.
            Exit::Verified | Exit::NotVerified => {}
            Exit::Counterfeit => return Err(End::Counterfeit(failed())),
            _ => return Err(End::Write(failed())),
        }
        self.finish();
        Ok(Some(capacity))
    }

    /// Makes the first MiB zeros.
    fn blank(&self, medium: &Medium) -> Result<(), MediumError> {
        let head = self.plan.image.size.min(HEAD).index().unwrap_or(0);
        medium.write_at(Bytes::ZERO, &vec![0; head])?;
        medium.flush()
    }

    fn write(&mut self, image: &fs::File, medium: &Medium) -> Result<Written, End> {
        self.start(Work::Blank);
        // From the first byte of this write on the stick is no longer what it was.
        self.state = StickState::Unknown;
        self.blank(medium)?;
        self.state = StickState::Blank;
        if let Some(planned) = &self.plan.record {
            recording::blank(medium, planned)?;
        }
        self.finish();

        self.start(Work::Copy);
        let copied = self.copy(image, medium)?;
        self.finish();
        let mut made = self.sprout(image, medium)?;
        made.extend(self.filesystems(medium)?);

        self.start(Work::ReadBack);
        let (digests, mut given) = self.read_back(medium, &copied)?;
        self.compare(&digests, &copied)?;
        self.finish();
        self.record(image, medium, &copied, &digests, &made)?;
        // The last moment at which stopping is a matter of course.
        if self.cancel.load(Ordering::Relaxed) {
            return Err(End::Cancelled);
        }

        self.start(Work::FirstMib);
        self.write_head(medium, &copied.head)?;
        self.state = StickState::Complete;
        let proof = ReadProof::start(medium);
        let mut back = crate::disk::buffer::Buffer::new(copied.head.len());
        medium
            .read_at(Bytes::ZERO, &mut back)
            .map_err(|error| End::Verify(error.into()))?;
        if back[..] != copied.head[..] {
            return Err(End::Verify(anyhow!(
                "the first MiB read back is not what was written"
            )));
        }
        given = given.and_then(|given| Some(given + proof.bytes_from_medium()?));
        self.finish();
        Ok((copied, digests, given, made))
    }

    fn copy(&mut self, image: &fs::File, medium: &Medium) -> Result<Copied, End> {
        let plan = self.plan;
        let cancel = self.cancel;
        let copy = Copy {
            image,
            size: plan.image.size,
            patches: &plan.patches,
            media_sum: plan
                .image
                .media_sum
                .as_ref()
                .map(|sum| MediaSum::new(sum.volume, sum.published.supported)),
            published: plan
                .image
                .media_sum
                .as_ref()
                .map(|sum| Check::new(sum.volume, &sum.published)),
        };
        let copied = copy.run(
            |at, buffer, len| {
                medium.write_at(at, &buffer[..len])?;
                self.progress(len);
                Ok(())
            },
            cancel,
        )?;
        if self
            .checked
            .as_ref()
            .is_some_and(|checked| *checked != copied.sha256)
        {
            return Err(End::Write(anyhow!(
                "the image {} was changed after it was compared with its published digest; write it again",
                shown(&plan.image.path)
            )));
        }
        let now = image
            .metadata()
            .context("looking at the image")
            .map_err(End::Write)?;
        if Version::of(&now) != plan.image.version {
            return Err(End::Write(anyhow!(
                "the image {} was changed while it was read; wait until it is complete and write it again",
                plan.image.path.display()
            )));
        }
        for behind in &plan.behind {
            medium.write_at(behind.at, &behind.bytes)?;
            self.progress(behind.bytes.len());
        }
        medium.flush()?;
        Ok(copied)
    }

    /// Reads the image's range back; also gives how much the kernel says came from the medium.
    fn read_back(
        &mut self,
        medium: &Medium,
        copied: &Copied,
    ) -> Result<(Digests, Option<Bytes>), End> {
        for behind in &self.plan.behind {
            let mut back = vec![0; behind.bytes.len()];
            medium
                .read_at(behind.at, &mut back)
                .map_err(|error| End::Verify(error.into()))?;
            if back != behind.bytes {
                return Err(End::Verify(anyhow!(
                    "reading back {} at byte {}: not what was written",
                    behind.what,
                    behind.at
                )));
            }
        }
        let cancel = self.cancel;
        let size = self.plan.image.size;
        let mut given = Some(Bytes::ZERO);
        let mut proof = None;
        let digests = read_back(
            size,
            &copied.head,
            &copied.changed,
            |at, chunk| {
                // The count belongs to the thread that reads, which is this one.
                let proof = proof.get_or_insert_with(|| ReadProof::start(medium));
                medium.read_at(at, chunk)?;
                given = proof.bytes_from_medium();
                Ok(())
            },
            |len| self.progress(len),
            cancel,
        );
        match digests {
            Ok(digests) => Ok((digests, given)),
            Err(Stop::Cancelled) => Err(End::Cancelled),
            Err(Stop::Failed(error)) => Err(End::Verify(error.context("reading the stick back"))),
        }
    }

    /// Puts the record on the stick, where it has a place.
    fn record(
        &mut self,
        image: &fs::File,
        medium: &Medium,
        copied: &Copied,
        digests: &Digests,
        made: &[Made],
    ) -> Result<(), End> {
        let plan = self.plan;
        let Some(planned) = &plan.record else {
            return Ok(());
        };
        self.start(Work::Record);
        let record =
            recording::record(plan, planned, image, copied, digests, made).map_err(End::Write)?;
        place::store(medium, &record)
            .context("writing the record of what is on the stick")
            .map_err(End::Write)?;
        self.finish();
        Ok(())
    }

    fn compare(&self, digests: &Digests, copied: &Copied) -> Result<(), End> {
        if digests.restored == copied.sha256 {
            return Ok(());
        }
        Err(End::Verify(anyhow!(
            "what was read back from {} is not what was written (sha256 {} instead of {}); write it again, and if it happens again replace the stick",
            self.plan.target.path.display(),
            digests.restored,
            copied.sha256
        )))
    }

    fn write_head(&mut self, medium: &Medium, head: &[u8]) -> Result<(), End> {
        let first = FIRST.min(head.len());
        // If a write fails nobody knows how much of it is on the medium.
        self.state = StickState::Unknown;
        medium.write_at(Bytes(first as u64), &head[first..])?;
        medium.flush()?;
        self.progress(head.len() - first);
        medium.write_at(Bytes::ZERO, &head[..first])?;
        medium.flush()?;
        self.progress(first);
        Ok(())
    }

    fn start(&mut self, work: Work) {
        self.current = self
            .steps
            .iter()
            .position(|step| step.work == work)
            .unwrap_or(self.current);
        (self.sink)(Event::Started { step: self.current });
    }

    fn progress(&mut self, len: usize) {
        self.done += Bytes(len as u64);
        (self.sink)(Event::Progress {
            step: self.current,
            done: self.done,
            total: self.total,
        });
    }

    /// Ends the step; what it did not count by itself is counted now.
    fn finish(&mut self) {
        self.done = self.steps[..=self.current]
            .iter()
            .map(|step| step.bytes)
            .sum();
        (self.sink)(Event::Progress {
            step: self.current,
            done: self.done,
            total: self.total,
        });
        (self.sink)(Event::Finished { step: self.current });
    }
}
