// SPDX-License-Identifier: MIT OR Apache-2.0
//! The subcommands about sticks as they are: verify, repair, extract, probe, reset, detach.

use std::path::Path;
use std::sync::Arc;

use super::front::{Front, say_plan};
use super::refused;
use crate::aftercare::{self, What};
use crate::capacity::job::Job;
use crate::cli;
use crate::disk::System;
use crate::event::Event;
use crate::extract;
use crate::host::Host;
use crate::plan::target;
use crate::privilege;
use crate::refusal::Refusal;
use crate::repair;
use crate::report::Exit;
use crate::request::Request;
use crate::ui::confirm;
use crate::verify;

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
    let (mut front, cancel) = Front::listening(&options.telling, &others)?;
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
    let (mut front, cancel) = Front::listening(&options.telling, &others)?;
    let host = Host::look();
    let mut sink = |event: Event| front.event(&event);
    let looked = repair::look(&request, &host, &cancel, &mut sink);
    let plan = match looked {
        Ok(plan) => plan,
        Err(failure) => return front.end(Err(failure)),
    };
    if options.dry_run {
        say_plan(&plan, &plan.listing(), options.telling.json);
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
    let (mut front, cancel) = Front::listening(&options.telling, &others)?;
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
    let (mut front, cancel) = Front::listening(&options.telling, &[&options.target])?;
    let host = Host::look();
    let refused = |refusal| refused(&refusal, options.telling.json);
    let plan = aftercare::look(&request, &host).map_err(refused)?;
    if options.dry_run {
        say_plan(&plan, &plan.listing(), options.telling.json);
        return Ok(());
    }
    if !options.writing.yes {
        let what = format!("{plan}\n{}", plan.meaning());
        confirm::type_name(&plan.target, &what, &cancel).map_err(refused)?;
    }
    let ended = aftercare::job::run(&plan, &host, &cancel, &mut |event| front.event(&event));
    front.end(ended)
}
