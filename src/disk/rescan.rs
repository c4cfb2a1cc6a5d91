// SPDX-License-Identifier: MIT OR Apache-2.0
//! Showing the kernel a new partition table.
//!
//! util-linux's `blockdev` asks the kernel to read the table; where that is refused (a loop device without partition
//! scanning, a kernel that does not know the table), `partx` reads it and names the partitions to the kernel one by
//! one. Both open the disk themselves, so the exclusive [`super::direct::Medium`] must have been released. That the
//! kernel still has the old table harms nothing that was written: it is a note, no error.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::shown;

/// Makes the kernel see the partitions on the disk at `path`; otherwise says why it does not.
pub fn rescan(path: &Path) -> Result<(), String> {
    let tries = [("blockdev", "--rereadpt"), ("partx", "--update")];
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
