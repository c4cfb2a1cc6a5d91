// SPDX-License-Identifier: MIT OR Apache-2.0
//! A loop device over one partition's bytes of the target, so that mkfs and mount see a block device.
//!
//! The partition table is written last, so there are no partition nodes while filesystems are made; and with the
//! whole disk claimed they could not be opened anyway. A loop device claims only itself.
//!
//! It is taken down by the kernel when its last user is gone (`LO_FLAGS_AUTOCLEAR`): nothing stays behind, not even
//! after a SIGKILL.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::apply::program;
use crate::units::Extent;

/// An attached loop device; dropping it lets it go.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    file: File,
}

impl LoopDevice {
    /// Attaches `extent` of `target`.
    pub fn attach(losetup: &Path, target: &Path, extent: Extent) -> anyhow::Result<LoopDevice> {
        let doing = || {
            format!(
                "attaching a loop device to byte {} of {}",
                extent.at,
                target.display()
            )
        };
        let shown = program::run_always(
            Command::new(losetup)
                .args(["--find", "--show", "--offset", &extent.at.to_string()])
                .args(["--sizelimit", &extent.len.to_string()])
                .arg(target),
        )
        .with_context(doing)?;
        let path = PathBuf::from(shown.trim());
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        // While it is open this only marks it to go with its last user.
        let detached = program::run_always(Command::new(losetup).arg("--detach").arg(&path));
        let file = opened.with_context(doing)?;
        detached.with_context(doing)?;
        // Past the page cache of the target where its filesystem can; only speed and memory depend on it.
        let _ = program::run_always(Command::new(losetup).arg("--direct-io=on").arg(&path));
        Ok(LoopDevice { path, file })
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until everything written to it has reached the medium.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("flushing {}", self.path.display()))
    }
}
