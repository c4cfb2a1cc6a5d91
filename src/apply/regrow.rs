// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be done to a sprout later: its root put back to the image's, and the seed taken away from under it.
//!
//! A new root is made beside the old one, complete with rule and units, and takes its place in one step; so a kill at
//! any moment leaves the old root or the new one. What was half made is taken away by the next reset.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::apply::flow::Stop;
use crate::apply::grow::{delete_subvolume, first_inside};
use crate::apply::loopdev::LoopDevice;
use crate::apply::mounted::{Access, Mounted};
use crate::apply::sprout::{Grower, TOP_LEVEL, superblock, there};
use crate::sprout::{Driver, HOME, Home, ROOT, tree};
use crate::superblock::Details;

/// What is being made, or is about to go.
const BESIDE: &str = "@livestick-reset";
/// Subvolumes in subvolumes.
const DEPTH: usize = 64;

/// A sprout that is mounted, with its seed if it has one. Fields go in this order.
struct Open {
    sprout: Mounted,
    device: LoopDevice,
    seed: Option<LoopDevice>,
}

impl Grower<'_> {
    /// How many devices the sprout has: two, or one if it was detached from its seed.
    pub fn devices(&self) -> anyhow::Result<u64> {
        let device = self.attach_read_only(self.plan.sprout.extent)?;
        let found = superblock(&device, self.plan.sprout.extent)?;
        match found.details {
            Details::Btrfs {
                seeding: false,
                devices,
                ..
            } if found.label.as_ref() == Some(&self.plan.sprout.label) => Ok(devices),
            Details::Btrfs { seeding: false, .. } => {
                bail!(
                    "the sprout has not the label that it is started by: it was not grown to its end"
                )
            }
            _ => bail!("where the sprout was there is something else"),
        }
    }

    fn open(&self) -> anyhow::Result<Open> {
        let seed = match self.devices()? {
            1 => None,
            2 => Some(self.attach_read_only(self.plan.seed.extent)?),
            other => {
                bail!("the sprout has {other} devices, and two is the most that it was made of")
            }
        };
        let device = self.attach(self.plan.sprout.extent)?;
        let with = seed
            .as_ref()
            .map(|seed| format!("device={}", seed.path().display()));
        let options: Vec<&str> = ["compress=zstd", TOP_LEVEL]
            .into_iter()
            .chain(with.as_deref())
            .collect();
        let sprout = Mounted::new(Driver::Btrfs, device.path(), &options, Access::Write)?;
        Ok(Open {
            sprout,
            device,
            seed,
        })
    }

    fn close(&self, open: Open) -> Result<(), Stop> {
        open.sprout.sync()?;
        drop(open.sprout);
        let devices: Vec<&LoopDevice> = [Some(&open.device), open.seed.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        self.forget(&devices);
        drop(open.seed);
        self.let_go(open.device)?;
        Ok(())
    }

    /// Puts the root back to the image's, and people's files, too, if `home`.
    pub fn reset(&self, home: bool) -> Result<(), Stop> {
        let open = self.open()?;
        let top = &open.sprout;
        clear(top, BESIDE)?;
        self.snapshot(top, BESIDE)?;
        let root = tree::enter(top.root(), BESIDE)?;
        self.has_home(root.as_fd())?;
        self.furnish(root.as_fd())?;
        top.sync()?;
        take_place(top.root(), ROOT)?;
        clear(top, BESIDE)?;
        if home && self.plan.home == Home::Subvolume {
            self.fill_home(top, root.as_fd(), BESIDE)?;
            top.sync()?;
            take_place(top.root(), HOME)?;
            clear(top, BESIDE)?;
        }
        drop(root);
        // The room of what is gone comes back now, and not while the system that starts next is at work.
        // The first request wakes up whoever clears away (Linux, `fs/btrfs/ioctl.c`, `BTRFS_IOC_SYNC`).
        self.btrfs(&["filesystem", "sync"], &[&top.path()])?;
        self.btrfs(&["subvolume", "sync"], &[&top.path()])?;
        self.close(open)
    }

    /// Copies what is still in the seed alone into the sprout, which needs no seed from then on.
    pub fn detach(&self) -> Result<(), Stop> {
        let open = self.open()?;
        if open.seed.is_none() {
            return Err(anyhow::anyhow!("the sprout needs no seed any more").into());
        }
        // The seed is device 1: it was there before the other one was added.
        let removed = self.btrfs(&["device", "remove", "1"], &[&open.sprout.path()]);
        match removed {
            Err(Stop::Failed(error)) if error.to_string().contains("No space left") => {
                return Err(error
                    .context("the sprout has no room for all of the image's root; delete something and try again")
                    .into());
            }
            removed => removed?,
        }
        self.close(open)?;
        let devices = self.devices()?;
        if devices != 1 {
            return Err(anyhow::anyhow!("the sprout still has {devices} devices").into());
        }
        // It has to be there without its seed.
        let device = self.attach_read_only(self.plan.sprout.extent)?;
        let alone = Mounted::new(Driver::Btrfs, device.path(), &[], Access::Read)?;
        tree::enter(alone.root(), ROOT)?;
        drop(alone);
        self.forget(&[&device]);
        Ok(())
    }
}

/// Takes away what has this name at the top of a sprout: a subvolume, or whatever else is in the way of one.
fn clear(top: &Mounted, name: &str) -> anyhow::Result<()> {
    if !there(top, name) {
        return Ok(());
    }
    if tree::enter(top.root(), name).is_err() {
        let removed = rustix::fs::unlinkat(top.root(), name, AtFlags::empty());
        return removed.with_context(|| format!("removing {name} from a sprout"));
    }
    remove(top.root(), name.as_bytes(), 0)
        .context("clearing the old root away; `livestick reset --home` grows the sprout anew")
}

/// Deletes a subvolume with all that are in it. Their names are a running system's, and so any user's, choice: they are
/// asked of the kernel, and no link is followed to them.
fn remove(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> anyhow::Result<()> {
    if depth > DEPTH {
        bail!("subvolumes lie more than {DEPTH} deep in one another");
    }
    let own = tree::enter(parent, name)?;
    let mut last = None;
    while let Some(inside) = first_inside(own.as_fd())? {
        if last.as_ref() == Some(&inside.number) {
            bail!(
                "the subvolume with the number {} does not go",
                inside.number
            );
        }
        let directory = tree::enter(own.as_fd(), &inside.directory)?;
        remove(directory.as_fd(), &inside.name, depth + 1)?;
        last = Some(inside.number);
    }
    drop(own);
    delete_subvolume(parent, name)
}

/// Lets [`BESIDE`] and `name` change places; where there is no `name` any more, it gets that name.
fn take_place(top: BorrowedFd<'_>, name: &str) -> anyhow::Result<()> {
    let exchanged = rustix::fs::renameat_with(top, BESIDE, top, name, RenameFlags::EXCHANGE);
    let done = match exchanged {
        Err(Errno::NOENT) => rustix::fs::renameat(top, BESIDE, top, name),
        exchanged => exchanged,
    };
    done.with_context(|| format!("putting a new {name} in its place"))
}
