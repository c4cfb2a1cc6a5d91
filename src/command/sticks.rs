// SPDX-License-Identifier: MIT OR Apache-2.0
//! The subcommands about sticks as they are: verify, repair, extract, probe, reset, detach; and the front end that all
//! jobs share.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::refused;
use crate::aftercare::{self, What};
use crate::capacity::job::Job;
use crate::cli;
use crate::disk::{System, shown};
use crate::event::Event;
use crate::extract;
use crate::host::Host;
use crate::plan::target;
use crate::privilege;
use crate::refusal::Refusal;
use crate::repair;
use crate::report::{Exit, Failure, Report};
use crate::request::Request;
use crate::ui::json::{self, Json};
use crate::ui::plain::Plain;
use crate::ui::{confirm, say, warn};
use crate::verify;

/// What a job needs of its front end.
pub(super) struct Front {
    pub(super) cancel: Arc<AtomicBool>,
    json: Option<Json>,
    plain: Plain,
    report: Option<PathBuf>,
}

impl Front {
    /// A front end. The report must not take the place of what the job reads or writes, nor be a device.
    pub(super) fn new(
        as_json: bool,
        report: Option<&PathBuf>,
        others: &[&Path],
    ) -> Result<Front, Exit> {
        if let Some(why) = report.and_then(|report| no_place(report, others)) {
            return Err(super::usage(why, as_json));
        }
        Ok(Front {
            cancel: Arc::default(),
            json: as_json.then(Json::default),
            plain: Plain::default(),
            report: report.cloned(),
        })
    }

    /// From here on signals stop the job, and not the program. A question that is asked later has to look at `cancel`.
    ///
    /// Without the handlers a signal ends the program: what is being written is blank then, and nothing else is hurt by
    /// it but for a probe.
    pub(super) fn listen(&self) -> std::io::Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&self.cancel))?;
        }
        Ok(())
    }

    pub(super) fn event(&mut self, event: &Event) {
        match &mut self.json {
            Some(json) => json.event(event),
            None => self.plain.event(event),
        }
    }

    /// From the end of a job to an exit status.
    pub(super) fn end(self, ended: Result<Report, Failure>) -> Result<(), Exit> {
        let report = ended.map_err(|failure| failure.exit)?;
        if let Some(path) = &self.report
            && let Err(error) = save(path, &report)
        {
            warn(&format!(
                "writing the report to {}: {error}",
                path.display()
            ));
            return Err(match report.exit {
                Exit::Verified => Exit::WriteFailed,
                exit => exit,
            });
        }
        match report.exit {
            Exit::Verified => Ok(()),
            exit => Err(exit),
        }
    }
}

/// Why a report cannot be written to `report`, where that is known before.
fn no_place(report: &Path, others: &[&Path]) -> Option<String> {
    let told = shown(report);
    let meta = report.metadata().ok();
    if meta.as_ref().is_some_and(|meta| !meta.is_file()) {
        return Some(format!(
            "--report {told} is no regular file; name another one"
        ));
    }
    let file = |meta: &Metadata| (meta.dev(), meta.ino());
    // Of what is not there yet, its folder is.
    let place = |path: &Path| {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    let same = |other: &&Path| {
        let there = other.metadata().ok();
        let own = place(report);
        let same_place = own.is_some() && own == place(other);
        same_place
            || *other == report
            || (meta.is_some() && there.as_ref().map(file) == meta.as_ref().map(file))
    };
    others.iter().any(same).then(|| {
        format!("--report {told} would write over what the job works on; name another file")
    })
}

/// Writes a report to a file: as JSON if its name says so, else as text.
pub fn save(path: &Path, report: &Report) -> std::io::Result<()> {
    let as_json = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let text = if as_json {
        json::line(report)
    } else {
        report.to_string()
    };
    std::fs::write(path, text)
}

/// `livestick verify`.
pub fn verify(options: &cli::Verify) -> Result<(), Exit> {
    let asked = options.published.asked();
    let asked = asked.map_err(|why| super::usage(why, options.telling.json))?;
    let request = verify::Request {
        target: options.target.clone(),
        image: options.image.clone(),
        // There is nothing beside a stick.
        checksum: options.published.checksum.is_some().then_some(asked),
        keyrings: options.published.keyring.clone(),
    };
    let mut others: Vec<&Path> = vec![&options.target];
    others.extend(options.image.as_deref());
    let mut front = Front::new(
        options.telling.json,
        options.telling.report.as_ref(),
        &others,
    )?;
    let _ = front.listen();
    let cancel = Arc::clone(&front.cancel);
    let ended = verify::run(&request, &Host::look(), &cancel, &mut |event| {
        front.event(&event);
    });
    front.end(ended)
}

/// `livestick repair`.
pub fn repair(options: &cli::Repair) -> Result<(), Exit> {
    let request = repair::Request {
        target: options.target.clone(),
        image: options.image.clone(),
        unmount: options.writing.unmount,
        allow_disk: options.writing.allow_disk.clone(),
    };
    let others: [&Path; 2] = [&options.target, &options.image];
    let mut front = Front::new(
        options.telling.json,
        options.telling.report.as_ref(),
        &others,
    )?;
    let _ = front.listen();
    let cancel = Arc::clone(&front.cancel);
    let host = Host::look();
    let mut sink = |event: Event| front.event(&event);
    let looked = repair::look(&request, &host, &cancel, &mut sink);
    let plan = match looked {
        Ok(plan) => plan,
        Err(failure) => return front.end(Err(failure)),
    };
    if options.dry_run {
        if options.telling.json {
            say(&json::line(&plan.listing()));
        } else {
            say(&plan.to_string());
        }
        return Ok(());
    }
    if plan.writes() && !options.writing.yes {
        let what = format!("{plan}\n{}", plan.meaning());
        confirm::type_name(&plan.target, &what, &cancel)
            .map_err(|refusal| refused(&refusal, options.telling.json))?;
    }
    let ended = repair::run(plan, &host, &cancel, &mut sink);
    front.end(ended)
}

/// `livestick probe`.
pub fn probe(options: &cli::Probe) -> Result<(), Exit> {
    let refused = |refusal: Refusal| refused(&refusal, options.telling.json);
    let mut front = Front::new(
        options.telling.json,
        options.telling.report.as_ref(),
        &[&options.target],
    )?;
    let request = Request {
        target: options.target.clone(),
        unmount: options.writing.unmount,
        allow_disk: options.writing.allow_disk.clone(),
        ..Request::default()
    };
    let target = target::look(&request, &System::real()).map_err(refused)?;
    let job = Job::new(target, options.full).map_err(refused)?;
    privilege::may_write(&job.target).map_err(refused)?;
    // A probe that a signal ends leaves its marks behind, so one that cannot be told of them does not begin.
    front
        .listen()
        .map_err(|error| refused(Refusal::Host(format!("taking signals: {error}"))))?;
    let cancel = Arc::clone(&front.cancel);
    if !options.writing.yes {
        confirm::ask_to_probe(&job, &cancel).map_err(refused)?;
    }
    let ended = job.run(&Host::look(), &cancel, &mut |event| front.event(&event));
    front.end(ended)
}

/// `livestick extract`.
pub fn extract(options: &cli::Extract) -> Result<(), Exit> {
    let request = extract::Request {
        target: options.target.clone(),
        out: options.out.clone(),
        force: options.force,
    };
    let others: [&Path; 2] = [&options.target, &options.out];
    let mut front = Front::new(
        options.telling.json,
        options.telling.report.as_ref(),
        &others,
    )?;
    let _ = front.listen();
    let cancel = Arc::clone(&front.cancel);
    let ended = extract::run(&request, &cancel, &mut |event| front.event(&event));
    front.end(ended)
}

/// `livestick reset`.
pub fn reset(options: &cli::Reset) -> Result<(), Exit> {
    let home = options.home;
    change(&options.common, What::Reset { home })
}

/// `livestick detach`.
pub fn detach(options: &cli::Detach) -> Result<(), Exit> {
    change(&options.common, What::Detach)
}

fn change(options: &cli::Changing, what: What) -> Result<(), Exit> {
    let request = aftercare::Request {
        target: options.target.clone(),
        what,
        unmount: options.writing.unmount,
        allow_disk: options.writing.allow_disk.clone(),
    };
    let mut front = Front::new(
        options.telling.json,
        options.telling.report.as_ref(),
        &[&options.target],
    )?;
    let _ = front.listen();
    let cancel = Arc::clone(&front.cancel);
    let host = Host::look();
    let refused = |refusal| refused(&refusal, options.telling.json);
    let plan = aftercare::look(&request, &host).map_err(refused)?;
    if options.dry_run {
        if options.telling.json {
            say(&json::line(&plan.listing()));
        } else {
            say(&plan.to_string());
        }
        return Ok(());
    }
    if !options.writing.yes {
        let what = format!("{plan}\n{}", plan.meaning());
        confirm::type_name(&plan.target, &what, &cancel).map_err(refused)?;
    }
    let ended = aftercare::job::run(&plan, &host, &cancel, &mut |event| front.event(&event));
    front.end(ended)
}
