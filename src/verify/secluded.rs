// SPDX-License-Identifier: MIT OR Apache-2.0
//! A checker that sees the devices it is meant to see, and no others of this machine.
//!
//! `btrfs check` of a btrfs on several devices reads every block device that has a node in `/dev`, and takes the last one
//! that has the identifier it looks for (btrfs-progs, `common/device-scan.c`, `btrfs_scan_devices`). Where the seed is
//! the image's own root, every stick of that image has one of the same identifier. So the program gets a `/dev` of its
//! own, in a mount namespace that ends with it.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::apply::loopdev::LoopDevice;
use crate::host::{Host, PRIVATE};
use crate::programs;

/// Puts nodes into an empty `/dev`, and becomes the program. What blkid remembers of others is neither read nor changed
/// (libblkid(3)).
const SCRIPT: &str = r#"
    nodes=$1 failed=$2; shift 2
    mount -t tmpfs -o mode=755,size=64k tmpfs /dev &&
    mknod -m 666 /dev/null c 1 3 &&
    echo "$nodes" | while read -r name major minor; do
        mkdir -p "${name%/*}" && mknod "$name" b "$major" "$minor" || exit
    done || { echo "$failed"; exit 1; }
    exec env BLKID_FILE=/dev/null "$@"
"#;
/// What is said where there is no such place: that is no fault of what was to be checked.
pub const FAILED: &str = "the checker could not be kept from other devices";

/// `program`, for which there are these devices alone; `None` where nothing can be mounted where nobody else sees it.
pub fn command(
    program: &Path,
    devices: &[&LoopDevice],
    host: &Host,
) -> anyhow::Result<Option<Command>> {
    let Some(unshare) = host.program(programs::UNSHARE.name) else {
        return Ok(None);
    };
    if !host.private_mounts {
        return Ok(None);
    }
    let mut nodes = String::new();
    for device in devices {
        let path = device.path();
        let number = path
            .metadata()
            .with_context(|| format!("looking at {}", path.display()))?
            .rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let _ = writeln!(nodes, "{} {major} {minor}", path.display());
    }
    let mut command = Command::new(unshare);
    command
        // The shell looks where this program looked.
        .env("PATH", host.path())
        .args(PRIVATE)
        .args([programs::SH.name, "-c", SCRIPT, "secluded"])
        .args([nodes.trim_end(), FAILED])
        .arg(program);
    Ok(Some(command))
}
