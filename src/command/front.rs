// SPDX-License-Identifier: MIT OR Apache-2.0
//! The front end that all jobs share: where events go, what stops a job, and what becomes of its report.

use std::fmt::Display;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::cli::Telling;
use crate::disk::shown;
use crate::event::Event;
use crate::report::{Exit, Failure, Report};
use crate::ui::json::{self, Json};
use crate::ui::plain::Plain;
use crate::ui::{say, warn};

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

    /// One for a job that can be stopped from here on, and what says whether it shall.
    pub(super) fn listening(
        telling: &Telling,
        others: &[&Path],
    ) -> Result<(Front, Arc<AtomicBool>), Exit> {
        let front = Front::new(telling.json, telling.report.as_ref(), others)?;
        let _ = front.listen();
        let cancel = Arc::clone(&front.cancel);
        Ok((front, cancel))
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

/// Says what a dry run came to: a plan, for people or as data.
pub(super) fn say_plan(plan: &impl Display, listing: &impl Serialize, as_json: bool) {
    say(&if as_json {
        json::line(listing)
    } else {
        plan.to_string()
    });
}
