// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick compared with what was written to it: read only, by its record, by an image, or by the sum in itself.
//!
//! Rules:
//!
//! * Facts come first: the stick's record, its table, what it is. Then the image's range is read once, past the
//!   caches, and every chunk is compared; a chunk that cannot be read costs that chunk only.
//! * Nothing is written, and nothing is mounted. A mounted stick may be verified; a filesystem on it that is in use is
//!   not claimed.
//! * "Verified" stands only for bytes that the medium gave, by the kernel's own count.

pub mod again;
pub mod esp;
pub mod filesystem;
pub mod links;
pub mod locked;
pub mod region;
mod secluded;
pub mod sprout;
pub mod steps;
pub mod stored;
pub mod subject;
pub mod sums;
pub mod table;
pub mod unrecorded;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::apply::flow::Stop;
use crate::apply::outcome;
use crate::chain::{self, Holds};
use crate::diagnosis::Damage;
use crate::diagnosis::atlas::Atlas;
use crate::diagnosis::verdict::{EspSigns, Findings};
use crate::digest::hex;
use crate::disk::System;
use crate::event::{self, Event, Step, Task, Work};
use crate::host::Host;
use crate::published::{self, Algorithm, Sum};
use crate::read::{ReadAt, Source};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, Report, StickState, Verdict};
use crate::units::{Bytes, Extent};
use crate::verify::filesystem::Part;
use crate::verify::region::{Expected, Meant, Region};
use crate::verify::steps::Steps;
use crate::verify::subject::Subject;
use crate::verify::table::Tables;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A whole block device, or a stick image file.
    pub target: PathBuf,
    /// The image to compare with.
    pub image: Option<PathBuf>,
    /// What the distribution published: a digest, or a file that lists some.
    pub checksum: Option<published::Asked>,
    /// Keys that may sign such a file.
    pub keyrings: Vec<PathBuf>,
}

/// Digests to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Each of them must be met.
    pub sums: Vec<Sum>,
    /// Where it is from, in words.
    pub from: String,
}

/// What a look at a stick found; the report is made from it, and so is a repair.
#[derive(Debug)]
pub struct Found {
    /// What lies where.
    pub atlas: Atlas,
    /// What the one read gave.
    pub region: Region,
    /// Whether it came from the medium.
    pub verdict: Verdict,
    /// What is not as it should be, and the links.
    pub report: Report,
}

/// Looks at a stick; tells `sink` what happens. Setting `cancel` stops at the next chunk.
pub fn run(
    request: &Request,
    host: &Host,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let began = Instant::now();
    let ended = open(request).and_then(|(subject, image)| {
        let published = find_published(request, &subject).map_err(|why| refused(&why))?;
        let steps = steps(&subject, request.image.is_some());
        let mut steps = Steps::begin(Task::Verify, subject.words.clone(), steps, sink);
        let job = Job {
            subject: &subject,
            image: image.as_ref(),
            published: published.as_ref(),
            host,
            cancel,
        };
        job.look(Task::Verify, &mut steps)
    });
    event::end(ended.map(|found| found.report), began, sink)
}

/// A refusal as a failure: nothing was written.
pub fn refused(refusal: &Refusal) -> Failure {
    Failure {
        exit: refusal.exit(),
        message: refusal.to_string(),
        state: StickState::Untouched,
    }
}

/// What stopped a look.
pub fn stopped(stop: Stop, exit: Exit) -> Failure {
    let (exit, message) = match stop {
        Stop::Cancelled => (Exit::Cancelled, "stopped as asked".into()),
        Stop::Failed(error) => (exit, format!("{error:#}")),
    };
    Failure {
        exit,
        message,
        state: StickState::Untouched,
    }
}

fn open(request: &Request) -> Result<(Subject, Option<Source>), Failure> {
    let subject = Subject::open(&request.target, &System::real()).map_err(|why| refused(&why))?;
    let image = match &request.image {
        Some(path) => Some(open_image(path).map_err(|why| refused(&why))?),
        None => None,
    };
    Ok((subject, image))
}

/// The published digest that is asked for. A file lists it under the image's name, which the record knows.
fn find_published(request: &Request, subject: &Subject) -> Result<Option<Published>, Refusal> {
    let Some(asked) = &request.checksum else {
        return Ok(None);
    };
    let recorded = subject
        .record
        .as_ref()
        .map(|record| PathBuf::from(&record.image.name));
    let image = request.image.clone().or(recorded).unwrap_or_default();
    let found = published::lookup::find(asked, &request.keyrings, &image, &image)?;
    if found.sums().is_empty() {
        return Ok(None);
    }
    Ok(Some(Published {
        sums: found.sums().to_vec(),
        from: found.to_string(),
    }))
}

/// Opens an image to compare with.
pub fn open_image(path: &Path) -> Result<Source, Refusal> {
    let unreadable = |error: std::io::Error| Refusal::ImageUnreadable {
        path: path.into(),
        why: error.to_string(),
    };
    let file: File = crate::image::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Refusal::NotAnIso {
            path: path.into(),
            why: "it is not a regular file".into(),
        });
    }
    Ok(Source::new(file, Bytes(meta.len())))
}

/// The steps of a look, for the progress of the whole job.
pub fn steps(subject: &Subject, compare: bool) -> Vec<Step> {
    let mut steps = vec![
        Step {
            title: "check the partition table and the record".into(),
            work: Work::CheckTable,
            bytes: Bytes::ZERO,
        },
        Step {
            title: if compare {
                "read the stick and compare it with the image".into()
            } else {
                "read the stick and compare it with what was written".into()
            },
            work: Work::ReadStick,
            bytes: subject.extent(None).len,
        },
    ];
    for (partition, part) in subject.parts.iter().enumerate() {
        steps.push(Step {
            title: format!("check the {} filesystem ({})", part.purpose, part.kind),
            work: Work::CheckFilesystem { partition },
            // How long a checker takes depends on what is in use, not on the size; this is about right for most.
            bytes: Bytes(part.extent.len.0 / 64),
        });
    }
    steps
}

/// A look at a stick.
pub struct Job<'a> {
    /// The stick.
    pub subject: &'a Subject,
    /// An image to compare with.
    pub image: Option<&'a Source>,
    /// A digest to compare with.
    pub published: Option<&'a Published>,
    /// Where programs are.
    pub host: &'a Host,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
}

/// What a look at everything but the filesystems gave.
#[derive(Debug)]
pub struct Look {
    /// The partition table and the copies of the record.
    pub tables: Tables,
    /// What lies where.
    pub atlas: Atlas,
    /// The image's range.
    pub extent: Extent,
    /// What the one read of it gave.
    pub region: Region,
    /// Whether it came from the medium.
    pub verdict: Verdict,
    /// What is not as it should be.
    pub damage: Vec<Damage>,
    /// What the EFI system partition shows.
    pub esp: EspSigns,
}

impl Job<'_> {
    /// Looks at everything. A stick that was pulled out meanwhile is told as that: what could not be read then is no
    /// damage.
    pub fn look(&self, task: Task, steps: &mut Steps<'_>) -> Result<Found, Failure> {
        let found = self.look_over(task, steps);
        let sound = match &found {
            Ok(found) => found.report.exit == Exit::Verified,
            Err(failure) => failure.exit == Exit::Cancelled,
        };
        if sound {
            return found;
        }
        self.subject.gone(steps.current()).map_or(found, Err)
    }

    fn look_over(&self, task: Task, steps: &mut Steps<'_>) -> Result<Found, Failure> {
        steps.start(Work::CheckTable);
        let tables = table::look(self.subject);
        steps.finish();
        steps.start(Work::ReadStick);
        let mut look = self.read(tables, |len| steps.progress(len))?;
        steps.finish();
        let mut report = self.report(task, &look);
        for (partition, part) in self.subject.parts.iter().enumerate() {
            steps.start(Work::CheckFilesystem { partition });
            let checked = self.filesystem(part)?;
            let mut link = checked.link;
            if link.holds == Holds::Proven && matches!(look.verdict, Verdict::NotVerified { .. }) {
                // Where the medium cannot be proven to be read, that holds for its partitions, too.
                link.holds = Holds::Unproven;
            }
            report.links.push(link);
            look.damage.extend(checked.damage);
            steps.finish();
        }
        for locked in locked::all(self.subject) {
            let mut link = locked::check(self.subject, &locked);
            if link.holds == Holds::Proven && matches!(look.verdict, Verdict::NotVerified { .. }) {
                link.holds = Holds::Unproven;
            }
            report.links.push(link);
        }
        self.conclude(&look, &mut report);
        Ok(Found {
            atlas: look.atlas,
            region: look.region,
            verdict: look.verdict,
            report,
        })
    }

    /// Reads the image's range once, and looks a second time at what is wrong in it.
    pub fn read(&self, tables: Tables, seen: impl FnMut(usize)) -> Result<Look, Failure> {
        let subject = self.subject;
        let stop = |stop| stopped(stop, Exit::NotVerified);
        let extent = subject.extent(self.image);
        // One of another length is no image of this stick; the links say so.
        let image = self.image.filter(|image| image.len() == extent.len);
        let mut expected = Expected::of(subject, image, extent);
        let sha512 = |sum: &Sum| sum.algorithm == Algorithm::Sha512;
        expected.sha512 = self
            .published
            .is_some_and(|one| one.sums.iter().any(sha512));
        let region =
            region::read(&subject.medium, extent, &expected, self.cancel, seen).map_err(stop)?;
        let verdict = self.proof(&region, extent);
        let atlas = self.atlas(extent, &region);
        let mut damage = again::look(subject, image, &region, self.cancel).map_err(stop)?;
        damage.extend(tables.damage.iter().cloned());
        for one in &mut damage {
            if one.places.is_empty() {
                one.places = atlas.places(one.extent);
            }
            one.partition = atlas.partition(one.extent);
        }
        let esp = match &subject.record {
            Some(record) if !damage.is_empty() => esp::signs(&subject.medium, &atlas, record),
            _ => EspSigns::default(),
        };
        Ok(Look {
            tables,
            atlas,
            extent,
            region,
            verdict,
            damage,
            esp,
        })
    }

    /// A report with the links of everything but the filesystems.
    pub fn report(&self, task: Task, look: &Look) -> Report {
        let mut report = Report::new(task, self.subject.words.clone());
        let links = links::Chain {
            job: self,
            extent: look.extent,
            region: &look.region,
            damage: &look.damage,
            verdict: &look.verdict,
            atlas: &look.atlas,
            esp: &look.esp,
        };
        links.of_stick(&look.tables, &mut report);
        report
    }

    /// Once all links are there: the verdict, and the exit status.
    pub fn conclude(&self, look: &Look, report: &mut Report) {
        let damage = &look.damage;
        for flaw in look
            .atlas
            .flaws()
            .iter()
            .take(3)
            .filter(|_| !damage.is_empty())
        {
            report
                .notes
                .push(format!("names of files may be wrong or missing: {flaw}"));
        }
        let findings = Findings {
            damage,
            links: &report.links,
            image: look.extent.len,
            esp: &look.esp,
            recorded: self.subject.record.is_some(),
            zeros: &self.subject.zeros(),
        };
        report.diagnosis = Some(findings.verdict());
        report.damage.clone_from(damage);
        report.exit = if damage.is_empty() && chain::holds(&report.links) {
            Exit::Verified
        } else {
            Exit::NotVerified
        };
    }

    /// Whether what was read came from the medium.
    fn proof(&self, region: &Region, extent: Extent) -> Verdict {
        let medium = &self.subject.medium;
        let holes = medium.holes(extent);
        let verdict = outcome::verdict(medium, region.read - holes, region.given);
        match verdict {
            Verdict::Verified { proof } if holes > Bytes::ZERO => Verdict::Verified {
                proof: format!("{proof}, {} more are holes in the file", holes.grouped()),
            },
            verdict => verdict,
        }
    }

    /// What lies where; with the image also where the stick does not say any more.
    fn atlas(&self, extent: Extent, region: &Region) -> Atlas {
        let record = self.subject.record.as_ref();
        let meant = |record: &Record| region.image == Some(hex(&record.image.sha256));
        let bytes = Meant {
            stick: &self.subject.medium,
            image: self.image.filter(|_| record.is_none_or(meant)),
            changes: record.map_or(&[], |record| &record.changes),
        };
        Atlas::draw(&bytes, extent.len, record)
    }

    /// Looks one filesystem over.
    pub fn filesystem(&self, part: &Part) -> Result<filesystem::Checked, Failure> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(stopped(Stop::Cancelled, Exit::Cancelled));
        }
        filesystem::check(self.subject, part, self.host, self.cancel)
            .map_err(|stop| stopped(stop, Exit::NotVerified))
    }
}
