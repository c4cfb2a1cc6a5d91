// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a root in a sprout needs to start from there: the udev rules, and the unit that mounts `/home`. No link is
//! followed on the way, so nothing outside the root is ever made, whatever the image has there.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Grower, name_of};
use crate::persistence::tree::SELINUX;
use crate::sprout::{rule, tree};

impl Grower<'_> {
    /// Puts into a new root what it needs to start from the sprout.
    pub(in crate::apply) fn furnish(&self, root: BorrowedFd<'_>) -> anyhow::Result<()> {
        for (path, text) in rule::rules(self.plan) {
            put(root, path, &text)?;
        }
        for (path, content) in self.plan.home_unit() {
            match content {
                Ok(text) => put(root, &path, &text)?,
                Err(target) => link(root, &path, &target)?,
            }
        }
        Ok(())
    }
}

/// The directory that `path` is in, made if need be, and the last name of `path`. No link is followed, so nothing
/// outside `top` is ever made.
fn directory<'a>(top: BorrowedFd<'_>, path: &'a str) -> anyhow::Result<(OwnedFd, &'a str)> {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut here = top.try_clone_to_owned()?;
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        match rustix::fs::mkdirat(&here, parent, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let made = tree::enter(here.as_fd(), parent)?;
                label_like(here.as_fd(), made.as_fd())?;
                here = made;
            }
            Err(Errno::EXIST) => here = tree::enter(here.as_fd(), parent)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((here, name))
}

/// A new file, root's, with the SELinux label of its directory.
fn put(top: BorrowedFd<'_>, path: &str, text: &str) -> anyhow::Result<()> {
    let make = || -> anyhow::Result<()> {
        let (parent, name) = directory(top, path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
        label_like(parent.as_fd(), file.as_fd())?;
        File::from(file).write_all(text.as_bytes())?;
        Ok(())
    };
    make().with_context(|| format!("making /{path} in the sprout"))
}

/// A new link.
fn link(top: BorrowedFd<'_>, path: &str, target: &str) -> anyhow::Result<()> {
    let make = || -> anyhow::Result<()> {
        let (parent, name) = directory(top, path)?;
        rustix::fs::symlinkat(target, &parent, name)?;
        if let Some(label) = tree::attribute(parent.as_fd(), SELINUX)? {
            let place = name_of(parent.as_fd()).join(name);
            let none = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(&place, SELINUX, &label, none)?;
        }
        Ok(())
    };
    make().with_context(|| format!("making /{path} in the sprout"))
}

/// Gives `to` the SELinux label of `from`, where there is one.
fn label_like(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> anyhow::Result<()> {
    if let Some(label) = tree::attribute(from, SELINUX)? {
        tree::set_attribute(to, SELINUX, &label)?;
    }
    Ok(())
}
