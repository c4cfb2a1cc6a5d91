// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening the image and the target for a job, the last looks before the first write; and letting the target go.
//!
//! Between the plan and this moment somebody thought about the confirmation, and sticks were plugged in and out. So
//! everything that made the target a permitted one is judged again: its identity, twice (before anything is unmounted,
//! and with the disk held), and what uses it. What was not mounted when the plan was made is never unmounted.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::apply::program;
use crate::disk::direct::{Kind, Medium};
use crate::disk::target::Target;
use crate::disk::{Disk, Identity, Protected, Standing, System, mounts, rescan, shown};
use crate::host::Host;
use crate::image::Version;
use crate::plan::{Plan, PlannedTarget};
use crate::programs::LOSETUP;

/// Opens the image, and makes sure that it is what the plan saw: the same version of the file, and the bytes that the
/// patches replace (who can write to a file can set its times).
pub fn image(plan: &Plan) -> anyhow::Result<File> {
    let planned = &plan.image;
    let opening = || format!("opening the image {}", shown(&planned.path));
    let image = crate::image::open(&planned.path).with_context(opening)?;
    if Version::of(&image.metadata().with_context(opening)?) != planned.version {
        bail!(
            "the image {} changed after the plan was made; plan again",
            shown(&planned.path)
        );
    }
    for patch in &plan.patches {
        let mut there = vec![0; patch.before.len()];
        image
            .read_exact_at(&mut there, patch.at.0)
            .with_context(|| format!("reading the image at byte {}", patch.at))?;
        if there != patch.before {
            bail!(
                "the image changed at byte {} after the plan was made; plan again",
                patch.at
            );
        }
    }
    Ok(image)
}

/// Locks and opens the target, and makes sure that it is what the plan saw. A file that was made for this and cannot
/// be used is taken away again. `image`: where the image of the job is, if it has one.
pub fn target(
    target: &PlannedTarget,
    image: Option<&Path>,
    system: &System,
) -> anyhow::Result<Medium> {
    if let Some(pinned) = &target.identity {
        let mounted = still(target, image, pinned, &target.unmount, system)?;
        mounts::unmount(&mounted)?;
    }
    let medium = Medium::open(&target.path, target.kind)?;
    let ready = ready(target, image, &medium, system);
    if ready.is_err() && target.kind == Kind::NewFile {
        // The error that is told is the one that led here.
        let _ = fs::remove_file(&target.path);
    }
    ready.map(|()| medium)
}

/// Whether the open target is the one the plan was made for.
fn ready(
    target: &PlannedTarget,
    image: Option<&Path>,
    medium: &Medium,
    system: &System,
) -> anyhow::Result<()> {
    if target.kind == Kind::NewFile {
        medium.set_len(target.size)?;
    }
    if let Some(pinned) = &target.identity {
        if medium.dev() != pinned.dev {
            bail!(
                "{} is another one than the plan saw; plan again",
                shown(&target.path)
            );
        }
        still(target, image, pinned, &[], system)?;
    }
    if medium.size() != target.size {
        bail!(
            "{} had {} bytes when the plan was made and has {} now; plan again",
            shown(&target.path),
            target.size,
            medium.size()
        );
    }
    Ok(())
}

/// Makes sure that the target is the one whose identity was pinned, and that nothing uses it but mounts at the places
/// of `lifted`; gives those mounts.
fn still(
    target: &PlannedTarget,
    image: Option<&Path>,
    pinned: &Identity,
    lifted: &[PathBuf],
    system: &System,
) -> anyhow::Result<Vec<PathBuf>> {
    let name = shown(&target.path);
    if target.kind != Kind::Disk {
        let meta = fs::metadata(&target.path).with_context(|| format!("looking at {name}"))?;
        pinned.compare(&Identity::of_file(&meta))?;
        // It may be a loop device or swap by now, or behind the image.
        Target::resolve(&target.path, image, system)?;
        return Ok(Vec::new());
    }
    let disk = Disk::numbered(pinned.dev, system)?;
    pinned.compare(&Identity::of(&disk))?;
    let mounted = disk.mount_points();
    if let Some(point) = mounted.iter().find(|point| !lifted.contains(point)) {
        bail!(
            "{name} is mounted at {} since the plan was made; unmount it and plan again",
            shown(point)
        );
    }
    let protected = match image {
        Some(image) => Protected::image(image, system)?,
        None => Protected::default(),
    };
    match (
        disk.standing_unmounted(&protected, Vec::new()),
        target.stick,
    ) {
        (Standing::Stick, true) | (Standing::NeedsAllow(_), false) => Ok(mounted),
        (Standing::Never(reasons), _) => {
            let said: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            bail!(
                "{name} may not be written to any more: {}; plan again",
                said.join(", ")
            )
        }
        _ => bail!("{name} is another kind of disk than the plan saw; plan again"),
    }
}

/// Makes a loop device read its file past the page cache. Where that cannot be, nothing will be called verified.
pub(crate) fn past_the_cache(host: &Host, medium: &Medium) {
    if let Some(losetup) = host.program(LOSETUP.name) {
        let how = ["--direct-io=on".as_ref(), medium.path().as_os_str()];
        let _ = program::run_always(Command::new(losetup).args(how));
    }
}

/// Closes the target and shows the kernel its new table.
pub(crate) fn let_go(medium: Medium, notes: &mut Vec<String>) {
    let path = medium.path().to_owned();
    let is_disk = medium.is_disk();
    match medium.release() {
        Ok(lock) => {
            if is_disk && let Err(why) = rescan::rescan(&path) {
                notes.push(why);
            }
            drop(lock);
        }
        Err(error) => notes.push(error.to_string()),
    }
}
