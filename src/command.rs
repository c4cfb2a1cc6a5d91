// SPDX-License-Identifier: MIT OR Apache-2.0
//! The subcommands: each looks at what it needs, and hands the rest to the rooms that know.

mod classic;
mod front;
mod passphrase;
mod sticks;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::CommandFactory;

pub use classic::livecd_iso_to_disk;
use front::{Front, say_plan};
use passphrase::Secret;
pub use sticks::{detach, extract, probe, repair, reset, verify};

use crate::apply::flow::Stop;
use crate::cli;
use crate::disk::{self, System};
use crate::doctor::Checkup;
use crate::event::{Event, Step, Work};
use crate::host::Host;
use crate::image::{self, Image};
use crate::plan::{Plan, build, target};
use crate::privilege;
use crate::published::measure::measure;
use crate::published::{Comparison, Published, lookup};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::request::Request;
use crate::secret::Passphrase;
use crate::ui::json;
use crate::ui::plain::Plain;
use crate::ui::{confirm, facts, say, tui, warn};
use crate::units::Bytes;

/// `livestick inspect`.
pub fn inspect(options: &cli::Inspect) -> Result<(), Exit> {
    let asked = options.published.asked();
    let asked = asked.map_err(|why| usage(why, options.json))?;
    let mut image =
        Image::open(&options.image).map_err(|refusal| refused(&refusal, options.json))?;
    let keys = &options.published.keyring;
    let published = lookup::find(&asked, keys, &options.image, &image.path)
        .map_err(|refusal| refused(&refusal, options.json))?;
    if !options.quick {
        image.look_inside();
    }
    let comparison = compare(&image, &published, options.quick)
        .map_err(|refusal| refused(&refusal, options.json))?;
    let inspected = facts::Inspected {
        image: &image,
        published: &published,
        comparison: &comparison,
    };
    say(&if options.json {
        json::line(&inspected)
    } else {
        facts::inspected(&inspected)
    });
    match comparison {
        Comparison::Differs { why, .. } => {
            if !options.json {
                warn(&why);
            }
            Err(Exit::Damaged)
        }
        Comparison::Equal | Comparison::NotCompared { .. } => Ok(()),
    }
}

/// Whether an image is the published one. Takes as long as it takes to read it, so only where that can be told.
fn compare(image: &Image, published: &Published, quick: bool) -> Result<Comparison, Refusal> {
    let not_compared = |why: &str| Ok(Comparison::NotCompared { why: why.into() });
    if published.sums().is_empty() {
        return not_compared("there is nothing to compare with");
    }
    if quick {
        return not_compared("--quick reads only a part of the image");
    }
    let unreadable = |why: String| Refusal::ImageUnreadable {
        path: image.path.clone(),
        why,
    };
    let file = image::open(&image.path).map_err(|error| unreadable(error.to_string()))?;
    let total = image.size;
    let mut plain = Plain::of_one(Step {
        title: "comparing with the published digest".into(),
        work: Work::CheckImage,
        bytes: total,
    });
    let mut done = Bytes::ZERO;
    let never = AtomicBool::new(false);
    let measured = measure(
        &file,
        total,
        published.sums(),
        |len| {
            done += Bytes(len as u64);
            let step = 0;
            plain.event(&Event::Progress { step, done, total });
        },
        &never,
    );
    plain.end();
    let measured = measured.map_err(|stop| match stop {
        Stop::Failed(error) => unreadable(format!("{error:#}")),
        Stop::Cancelled => unreadable("it was stopped".into()),
    })?;
    Ok(match published.compare(&image.name, &measured) {
        Ok(()) => Comparison::Equal,
        Err(why) => Comparison::Differs { measured, why },
    })
}

/// `livestick list`.
pub fn list(options: &cli::List) -> Result<(), Exit> {
    let disks = disk::list(&System::real(), options.loops)
        .map_err(|error| refused(&Refusal::Host(error.to_string()), options.json))?;
    say(&if options.json {
        json::line(&facts::DiskList::new(disks))
    } else {
        facts::disks(&disks)
    });
    Ok(())
}

/// `livestick doctor`.
pub fn doctor(options: &cli::Doctor) -> Result<(), Exit> {
    let checkup = Checkup::of(&Host::look(), &System::real());
    say(&if options.json {
        json::line(&checkup)
    } else {
        checkup.to_string()
    });
    if checkup.ready {
        Ok(())
    } else {
        Err(Exit::Refused)
    }
}

/// `livestick write`.
pub fn write(options: &cli::Write) -> Result<(), Exit> {
    let request = options.request().map_err(|why| usage(why, options.json))?;
    let front = Front::new(
        options.json,
        options.report.as_ref(),
        &[&options.image, &options.target],
    )?;
    let secret = Secret::of(
        request.encrypt_home && !options.dry_run,
        options.home_passphrase_file.as_deref(),
    )
    .map_err(|no| no.told(options.json))?;
    let host = Host::look();
    let plan = plan(&request, &host).map_err(|refusal| refused(&refusal, options.json))?;
    if options.dry_run {
        say_plan(&plan, &plan, options.json);
        return Ok(());
    }
    if !options.yes {
        confirm::ask(&plan).map_err(|refusal| refused(&refusal, options.json))?;
    }
    let secret = secret.ask(&front).map_err(|no| no.told(options.json))?;
    write_stick(&plan, secret.as_ref(), &host, front)
}

/// Writes what a plan lists, once it was confirmed.
fn write_stick(
    plan: &Plan,
    secret: Option<&Passphrase>,
    host: &Host,
    mut front: Front,
) -> Result<(), Exit> {
    if privilege::needs_root(plan, host) {
        warn(&format!(
            "writing to {} takes root; a password may be asked for",
            disk::shown(&plan.target.path)
        ));
    }
    let _ = front.listen();
    let cancel = Arc::clone(&front.cancel);
    let ended = privilege::write(plan, secret, host, &cancel, &mut |event| {
        front.event(&event);
    });
    front.end(ended)
}

/// `livestick tui`.
pub fn interface(options: &cli::Tui) -> Result<(), Exit> {
    tui::open(&tui::Options {
        image: options.image.clone(),
        target: options.target.clone(),
        ascii: options.ascii,
    })
}

/// `livestick` alone: the terminal interface, or the help where there is no terminal to open it on.
pub fn interface_or_help() -> Result<(), Exit> {
    if tui::possible() {
        return tui::open(&tui::Options::default());
    }
    let help = cli::Cli::command().render_help().to_string();
    let _ = io::stderr().lock().write_all(help.as_bytes());
    Err(Exit::Usage)
}

/// From a request to a plan: looks at the image and the target, and decides.
pub fn plan(request: &Request, host: &Host) -> Result<Plan, Refusal> {
    let mut image = Image::open(&request.image)?;
    if request.overlay.is_some() || request.home.is_some() {
        image.look_inside();
    }
    let target = target::look(request, &System::real())?;
    let mut plan = build::build(request, &image, target, host)?;
    plan.image.published = lookup::find(
        &request.checksum,
        &request.keyrings,
        &request.image,
        &image.path,
    )?;
    Ok(plan)
}

/// Says what is wrong with the command line.
pub fn usage(why: String, json: bool) -> Exit {
    let failure = Failure {
        exit: Exit::Usage,
        message: why,
        state: StickState::Untouched,
    };
    fail(failure, json)
}

fn refused(refusal: &Refusal, json: bool) -> Exit {
    let exit = refusal.exit();
    fail(
        Failure {
            exit,
            message: refusal.to_string(),
            state: StickState::Untouched,
        },
        json,
    )
}

/// Says why nothing was done, in the form that was asked for.
fn fail(failure: Failure, json: bool) -> Exit {
    let exit = failure.exit;
    if json {
        json::failure(failure);
    } else {
        warn(&failure.message);
    }
    exit
}
