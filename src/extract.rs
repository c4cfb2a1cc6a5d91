// SPDX-License-Identifier: MIT OR Apache-2.0
//! The original image back from a stick, byte for byte.
//!
//! Rules:
//!
//! * Only from a stick whose record proves it: every chunk has its recorded digest, and the whole has the image's
//!   SHA-256 once the changed ranges are put back.
//! * The file appears under its name when it is complete and right, or not at all. What is there already is not
//!   replaced unasked.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::apply::flow::{CHUNK, Stage, Stop, flow};
use crate::chain::{Holds, Link};
use crate::digest::hex;
use crate::disk::standing::{Protected, Reason, Standing};
use crate::disk::{System, shown};
use crate::event::{self, Event, Step, Task, Work};
use crate::patch::lay;
use crate::record::{CHUNK as LEAF, Record, tree};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, Report, StickState};
use crate::units::{Bytes, Extent};
use crate::verify::steps::Steps;
use crate::verify::subject::Subject;
use crate::verify::{refused, stopped};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A whole block device, or a stick image file.
    pub target: PathBuf,
    /// The image file to make.
    pub out: PathBuf,
    /// Replace the file if it exists.
    pub force: bool,
}

/// Reads the image back; tells `sink` what happens. Setting `cancel` stops at the next chunk, and leaves no file.
pub fn run(
    request: &Request,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let began = Instant::now();
    event::end(extract(request, cancel, sink), began, sink)
}

fn extract(
    request: &Request,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Event),
) -> Result<Report, Failure> {
    let system = System::real();
    let subject = Subject::open(&request.target, &system).map_err(|why| refused(&why))?;
    let refuse = |why: String| refused(&Refusal::Target(why));
    let Some(record) = &subject.record else {
        let why = subject
            .fault
            .as_ref()
            .map_or(String::new(), |fault| format!(" ({fault})"));
        return Err(refuse(format!(
            "{} has no record of what was written to it{why}, so nothing could prove what is read from it",
            shown(&request.target)
        )));
    };
    let directory = place(request, &subject, &system).map_err(refuse)?;
    let size = record.image.size;
    let step = Step {
        title: format!("read {} back, and check it", record.image.name),
        work: Work::ReadStick,
        bytes: size,
    };
    let words = subject.words.clone();
    let mut steps = Steps::begin(Task::Extract, words.clone(), vec![step], sink);
    steps.start(Work::ReadStick);
    let mut file = tempfile::Builder::new()
        .prefix(".livestick-")
        .tempfile_in(&directory)
        .map_err(|error| unwritten(request, &error))?;
    let digest = copy(&subject, record, file.as_file_mut(), cancel, &mut steps);
    let digest = digest.map_err(|failure| match failure.exit {
        Exit::NotVerified => subject.gone(steps.current()).unwrap_or(failure),
        _ => failure,
    })?;
    steps.finish();
    finish(request, &directory, file)?;

    let mut report = Report::new(Task::Extract, words);
    report.exit = Exit::Verified;
    report.image = Some(shown(&request.out).to_string());
    report.image_size = Some(size);
    report.sha256 = Some(digest);
    report.links.push(Link {
        name: "image".into(),
        holds: Holds::Proven,
        result: format!(
            "{}, byte for byte as it was before it was written",
            record.image.name
        ),
        how: format!(
            "{} chunk digests and the recorded sha256",
            record.chunks.len()
        ),
    });
    Ok(report)
}

/// The directory of the new file, if the file may be made there.
fn place(request: &Request, subject: &Subject, system: &System) -> Result<PathBuf, String> {
    let out = &request.out;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = parent
        .canonicalize()
        .map_err(|error| format!("looking at {}: {error}", shown(parent)))?;
    if out.file_name().is_none() {
        return Err(format!("{} is no name for a file", shown(out)));
    }
    if directory.starts_with(&system.dev) && !directory.starts_with(system.dev.join("shm")) {
        return Err(format!(
            "{} would be a file among the devices; choose another name",
            shown(out)
        ));
    }
    if let Ok(meta) = out.symlink_metadata() {
        if out.canonicalize().is_ok_and(|real| real == subject.path()) {
            return Err(format!(
                "{} is the stick itself; choose another name",
                shown(out)
            ));
        }
        if !meta.is_file() {
            return Err(format!("{} exists and is no regular file", shown(out)));
        }
        if !request.force {
            return Err(format!(
                "{} exists; add --force to replace it, or choose another name",
                shown(out)
            ));
        }
    }
    let Some(disk) = &subject.disk else {
        return Ok(directory);
    };
    let protected = Protected::image(&directory, system).map_err(|error| error.to_string())?;
    if let Standing::Never(reasons) = disk.standing(&protected)
        && reasons.contains(&Reason::HoldsImage)
    {
        return Err(format!(
            "{} lies on the stick itself; choose another place",
            shown(out)
        ));
    }
    Ok(directory)
}

/// Copies the image's range with the changed ranges put back; gives the digest, which is that of the image.
fn copy(
    subject: &Subject,
    record: &Record,
    file: &mut std::fs::File,
    cancel: &AtomicBool,
    steps: &mut Steps<'_>,
) -> Result<String, Failure> {
    let extent = Extent {
        at: Bytes::ZERO,
        len: record.image.size,
    };
    let mut digest = Sha256::new();
    let mut unwritten = None;
    let stages: Vec<Stage<'_>> = vec![
        Box::new(|at, bytes| leaves(record, at, bytes)),
        Box::new(|at, bytes| {
            for change in &record.changes {
                lay(bytes, at, change.at, &change.before);
            }
            digest.update(&*bytes);
            Ok(())
        }),
    ];
    let ended = flow(
        extent,
        |at, bytes| Ok(subject.medium.read_at(at, bytes)?),
        stages,
        |_, buffer, len| {
            if let Err(error) = file.write_all(&buffer[..len]) {
                unwritten = Some(error);
                bail!("the image cannot be written");
            }
            steps.progress(len);
            Ok(())
        },
        cancel,
    );
    if let Some(error) = unwritten {
        return Err(Failure {
            exit: Exit::WriteFailed,
            message: format!("writing the image: {error}"),
            state: StickState::Untouched,
        });
    }
    ended.map_err(|stop| match stop {
        Stop::Failed(error) => stopped(
            Stop::Failed(error.context("the stick does not give the image back")),
            Exit::NotVerified,
        ),
        stop @ Stop::Cancelled => stopped(stop, Exit::Cancelled),
    })?;
    let digest = hex(&digest.finalize());
    let expected = hex(&record.image.sha256);
    if digest != expected {
        return Err(Failure {
            exit: Exit::NotVerified,
            message: format!(
                "the stick does not give the image back: sha256 {digest} instead of {expected}; run `livestick verify` on it"
            ),
            state: StickState::Untouched,
        });
    }
    Ok(digest)
}

/// Compares the recorded chunks in `bytes`.
fn leaves(record: &Record, at: Bytes, bytes: &[u8]) -> anyhow::Result<()> {
    let size = LEAF.index().unwrap_or(CHUNK);
    let first = Bytes(at.0 / LEAF.0).index().unwrap_or(usize::MAX);
    for (index, chunk) in (first..).zip(bytes.chunks(size)) {
        if record.chunks.get(index) != Some(&tree::leaf(chunk)) {
            bail!(
                "the chunk at byte {} is damaged; run `livestick verify` on it",
                record.chunk(index).at
            );
        }
    }
    Ok(())
}

fn unwritten(request: &Request, error: &io::Error) -> Failure {
    Failure {
        exit: Exit::WriteFailed,
        message: format!("writing {}: {error}", shown(&request.out)),
        state: StickState::Untouched,
    }
}

/// Gives the complete file its name, and the permissions that a new file gets.
fn finish(
    request: &Request,
    directory: &Path,
    file: tempfile::NamedTempFile,
) -> Result<(), Failure> {
    let named = || -> anyhow::Result<()> {
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mask);
        let mode = 0o666 & !mask.bits();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all().context("flushing it")?;
        // In the folder that was looked at, wherever a link on the way to it leads by now.
        let out = directory.join(request.out.file_name().context("it has no name")?);
        if request.force {
            file.persist(&out)?;
        } else {
            file.persist_noclobber(&out)?;
        }
        Ok(())
    };
    named().map_err(|error| Failure {
        exit: Exit::WriteFailed,
        message: format!("writing {}: {error:#}", shown(&request.out)),
        state: StickState::Untouched,
    })
}
