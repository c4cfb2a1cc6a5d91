// SPDX-License-Identifier: MIT OR Apache-2.0
//! `livecd-iso-to-disk`: its command line becomes a request, and the rest is that of `livestick write`.

use std::ffi::OsString;

use super::front::Front;
use super::passphrase::Secret;
use super::{fail, plan, usage, write_stick};
use crate::disk::{System, shown};
use crate::host::Host;
use crate::livecd_iso_to_disk::words::{CommandLine, in_old_words};
use crate::livecd_iso_to_disk::{self as classic, Job, NAME, No, Target};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::ui::{confirm, say, warn};

/// `livecd-iso-to-disk`, with the words behind its name.
pub fn livecd_iso_to_disk(words: impl IntoIterator<Item = OsString>) -> Result<(), Exit> {
    let usage = |why: String| usage(format!("{why}; `{NAME} --help` tells"), false);
    let (given, source, target) = match CommandLine::read(words).map_err(usage)? {
        CommandLine::Help => {
            say(classic::command().render_help().to_string().trim_end());
            return Ok(());
        }
        CommandLine::Stick {
            given,
            source,
            target,
        } => (given, source, target),
    };
    let refused = |refusal: Refusal| {
        let failure = Failure {
            exit: refusal.exit(),
            message: in_old_words(&refusal.to_string()),
            state: StickState::Untouched,
        };
        fail(failure, false)
    };
    let mut job = Job::of(&given, &source, &target).map_err(|no| match no {
        No::Usage(why) => usage(why),
        No::Refused(refusal) => refused(refusal),
    })?;
    for said in &job.said {
        warn(said);
    }
    let target = Target::of(&target, job.format, &System::real()).map_err(refused)?;
    job.request.target.clone_from(&target.path);
    let secret = Secret::of(job.request.encrypt_home, job.passphrase_file.as_deref())
        .map_err(|no| no.told(false))?;
    let host = Host::look();
    let plan = plan(&job.request, &host).map_err(refused)?;
    if job.efi && !plan.boot.firmware.iter().any(|one| one == "UEFI") {
        return Err(refused(Refusal::Impossible {
            what: "a stick that UEFI starts",
            why: "the image has no EFI system partition".into(),
            instead: "leave out --efi".into(),
        }));
    }
    if job.force {
        // Nobody is shown the plan.
        for note in &plan.notes {
            warn(&format!("note: {note}"));
        }
        if !job.delete_home
            && let Some(home) = classic::home_on(&target).map_err(refused)?
        {
            return Err(refused(Refusal::Target(format!(
                "{} has {home}, which --force does not delete; add --delete-home if it may be lost",
                shown(&target.path)
            ))));
        }
    } else {
        if target.partition {
            warn(&format!(
                "because of --format the whole disk {} is meant, not a partition on it",
                shown(&target.path)
            ));
        }
        confirm::ask(&plan).map_err(refused)?;
    }
    let front = Front::new(false, None, &[])?;
    let secret = secret.ask(&front).map_err(|no| no.told(false))?;
    write_stick(&plan, secret.as_ref(), &host, front)
}
