// SPDX-License-Identifier: MIT OR Apache-2.0
//! Showing the kernel a new partition table.
//!
//! util-linux's `blockdev` asks the kernel to read the table; where that is refused (a kernel that does not know the
//! table), `partx` reads it and names the partitions to the kernel one by one. Both open the disk themselves, so the
//! exclusive [`super::direct::Medium`] must have been released. That the kernel still has the old table harms nothing
//! that was written: it is a note, no error.
//!
//! A loop device that was attached without partition scanning is left without partitions, as its owner wanted it. The
//! kernel forgets those of a scanning one when it is detached (`drivers/block/loop.c`, `__loop_clr_fd`); those that
//! `partx` names to another stay, and show up on whatever is attached next.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::shown;
use crate::programs::{BLOCKDEV, PARTX};

/// Makes the kernel see the partitions on the disk at `path`; otherwise says why it does not.
pub fn rescan(path: &Path) -> Result<(), String> {
    if is_loop_without_partitions(path) {
        return Ok(());
    }
    let tries = [(BLOCKDEV.name, "--rereadpt"), (PARTX.name, "--update")];
    let mut said = Vec::new();
    for (tool, option) in tries {
        match run(tool, option, path) {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => said.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(e) => said.push(format!("{tool}: {e}")),
        }
    }
    let said = said.join("; ");
    Err(format!(
        "the system may see the new partitions only after {} is plugged in again ({said})",
        shown(path)
    ))
}

/// Whether `path` is a loop device without `LO_FLAGS_PARTSCAN` (sysfs, `loop/partscan`).
fn is_loop_without_partitions(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let attribute = Path::new("/sys/class/block")
        .join(name)
        .join("loop/partscan");
    fs::read(attribute).is_ok_and(|value| value.starts_with(b"0"))
}

fn run(tool: &str, option: &str, path: &Path) -> io::Result<Output> {
    // Administrators' tools are not on everybody's PATH.
    let places = ["", "/usr/sbin/", "/sbin/"];
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        let output = Command::new(format!("{place}{tool}"))
            .arg(option)
            .arg(path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output();
        match output {
            Err(e) if e.kind() == io::ErrorKind::NotFound => last = e,
            other => return other,
        }
    }
    Err(last)
}
