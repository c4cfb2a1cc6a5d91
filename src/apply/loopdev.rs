// SPDX-License-Identifier: MIT OR Apache-2.0
//! A loop device over one partition's bytes of the target, so that mkfs and mount see a block device.
//!
//! The partition table is written last, so there are no partition nodes while filesystems are made; and with the
//! whole disk claimed they could not be opened anyway. A loop device claims only itself.
//!
//! It is taken down by the kernel when its last user is gone (`LO_FLAGS_AUTOCLEAR`): nothing stays behind, not even
//! after a SIGKILL. As losetup cannot attach a device with that flag, a shell attaches it and waits until it is told
//! that the device is open, or until there is nobody left to tell it; then it detaches the device, which only sets
//! the flag as long as there are users.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::apply::program;
use crate::disk::System;
use crate::programs;
use crate::units::Extent;

/// An attached loop device; dropping it lets it go.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    /// Open until this is dropped.
    file: Option<File>,
}

/// How long a device is waited for that somebody else still has open: udev and blkid look at whatever appears.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// Attaches a device, says its name, and detaches it when standard input ends. It outlives a reader of what it says.
const KEEPER: &str = r#"
    trap '' PIPE
    losetup=$1 offset=$2 size=$3 target=$4; shift 4
    device=$("$losetup" --find --show --offset "$offset" --sizelimit "$size" "$@" "$target") || exit
    echo "$device"
    read -r nothing
    "$losetup" --detach "$device"
"#;

impl LoopDevice {
    /// Attaches `extent` of `target`.
    pub fn attach(losetup: &Path, target: &Path, extent: Extent) -> anyhow::Result<LoopDevice> {
        LoopDevice::attach_as(losetup, target, extent, true)
    }

    /// The same for somebody who only reads.
    pub fn attach_read_only(
        losetup: &Path,
        target: &Path,
        extent: Extent,
    ) -> anyhow::Result<LoopDevice> {
        LoopDevice::attach_as(losetup, target, extent, false)
    }

    fn attach_as(
        losetup: &Path,
        target: &Path,
        extent: Extent,
        write: bool,
    ) -> anyhow::Result<LoopDevice> {
        let device = attach(losetup, target, extent, write).with_context(|| {
            format!(
                "attaching a loop device to byte {} of {}",
                extent.at,
                target.display()
            )
        })?;
        // Past the page cache of the target where its filesystem can; only speed and memory depend on it.
        let direct = ["--direct-io=on".as_ref(), device.path.as_os_str()];
        let _ = program::run_always(Command::new(losetup).args(direct));
        Ok(device)
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it reads past the page cache of what is behind it (`loop/dio`).
    pub fn is_direct(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        let dio = System::real().sys.join("block").join(name).join("loop/dio");
        fs::read_to_string(dio).is_ok_and(|text| text.trim() == "1")
    }

    /// Waits until everything written to it has reached the medium.
    pub fn flush(&self) -> anyhow::Result<()> {
        let flushed = self.file.as_ref().map_or(Ok(()), File::sync_all);
        flushed.with_context(|| format!("flushing {}", self.path.display()))
    }
}

impl Drop for LoopDevice {
    /// Closes it, and waits until the kernel has let go of what is behind it.
    fn drop(&mut self) {
        let name = self.path.file_name().unwrap_or_default();
        let behind = System::real().sys.join("block").join(name);
        let behind = behind.join("loop/backing_file");
        let ours = fs::read(&behind).ok();
        drop(self.file.take());
        let start = Instant::now();
        // Another one's by then, or gone.
        while ours.is_some() && fs::read(&behind).ok() == ours && start.elapsed() < PATIENCE {
            sleep(PAUSE);
        }
    }
}

fn attach(
    losetup: &Path,
    target: &Path,
    extent: Extent,
    write: bool,
) -> anyhow::Result<LoopDevice> {
    let mut keeper = Command::new(programs::SH.name)
        .args(["-c", KEEPER, "keeper"])
        .arg(losetup)
        .arg(extent.at.to_string())
        .arg(extent.len.to_string())
        .arg(target)
        .args((!write).then_some("--read-only"))
        .env("LC_ALL", "C")
        // Out of reach of Ctrl-C.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting sh")?;
    let mut name = String::new();
    let mut said = String::new();
    let heard = match keeper.stdout.take() {
        Some(stdout) => BufReader::new(stdout).read_line(&mut name),
        None => Ok(0),
    };
    let path = PathBuf::from(name.trim());
    let opened = OpenOptions::new().read(true).write(write).open(&path);
    // Now it can detach.
    drop(keeper.stdin.take());
    if let Some(stderr) = keeper.stderr.take() {
        // What cannot be read is not repeated.
        let _ = stderr.take(1 << 12).read_to_string(&mut said);
    }
    let status = keeper.wait().context("waiting for losetup")?;
    heard.context("listening to losetup")?;
    if !status.success() {
        bail!("losetup ended with {status}: {}", said.trim());
    }
    let file = opened.with_context(|| format!("opening {}", path.display()))?;
    Ok(LoopDevice {
        path,
        file: Some(file),
    })
}
