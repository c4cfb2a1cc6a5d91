// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filesystem mounted nowhere: a file descriptor that stands for its root directory (fsopen(2), fsmount(2); Linux 5.2).
//!
//! No directory shows it, so nobody else sees it and no path leads into it by accident. It is gone when the
//! descriptor is closed, which the kernel does for a process however that ends. Programs of the distribution get at it
//! by the descriptor's name in /proc.

use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
};

use crate::sprout::Driver;

/// How often a mount of several devices is tried again, and how long after.
const AGAIN: (u32, Duration) = (4, Duration::from_millis(200));

/// What may be done to a mounted filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading, until [`Mounted::make_writable`].
    ReadFirst,
    /// Writing, too.
    Write,
}

/// A mounted filesystem; dropping it unmounts it.
#[derive(Debug)]
pub struct Mounted {
    /// Its root, open for reading. Closed before the mount.
    root: OwnedFd,
    /// The mount itself, which only stands for a place.
    mount: OwnedFd,
}

impl Mounted {
    /// Mounts what is on `device`. An option is `name` or `name=value`.
    pub fn new(
        driver: Driver,
        device: &Path,
        options: &[&str],
        access: Access,
    ) -> anyhow::Result<Mounted> {
        let mount = || -> Result<OwnedFd, (rustix::io::Errno, String)> {
            let plain = |error| (error, String::new());
            let context = fsopen(driver.name(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain)?;
            let said = |error| (error, words(&context));
            fsconfig_set_string(&context, "source", device).map_err(said)?;
            if access != Access::Write {
                fsconfig_set_flag(&context, "ro").map_err(said)?;
            }
            for option in options {
                match option.split_once('=') {
                    Some((name, value)) => fsconfig_set_string(&context, name, value),
                    None => fsconfig_set_flag(&context, *option),
                }
                .map_err(said)?;
            }
            fsconfig_create(&context).map_err(said)?;
            let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            if access == Access::Read {
                attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
            }
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(said)
        };
        let mounting = || format!("mounting {} as {driver}", device.display());
        let mut mounted = mount();
        // Between being shown another device and looking for it the kernel can be told to forget it: by somebody who is
        // done with the same seed on another stick.
        let together = options.iter().any(|option| option.starts_with("device="));
        for _ in 0..AGAIN.0 {
            if mounted.is_ok() || !together {
                break;
            }
            sleep(AGAIN.1);
            mounted = mount();
        }
        let mount = mounted.map_err(|(error, said)| anyhow::anyhow!("{error}{said}"));
        let mount = mount.with_context(mounting)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty()).with_context(mounting)?;
        Ok(Mounted { root, mount })
    }

    /// Lets what was mounted read-only be written to: a seed that something was added to.
    pub fn make_writable(&self) -> anyhow::Result<()> {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let remount = || -> Result<(), (rustix::io::Errno, String)> {
            let context = fspick(&self.mount, "", flags).map_err(|e| (e, String::new()))?;
            let said = |error| (error, words(&context));
            fsconfig_set_flag(&context, "rw").map_err(said)?;
            fsconfig_reconfigure(&context).map_err(said)
        };
        let done = remount().map_err(|(error, said)| anyhow::anyhow!("{error}{said}"));
        done.context("making a sprout writable")
    }

    /// Its root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The name of its root directory for other programs of this user, as long as this process lives.
    pub fn path(&self) -> PathBuf {
        let process = rustix::process::getpid().as_raw_nonzero();
        PathBuf::from(format!("/proc/{process}/fd/{}", self.root.as_raw_fd()))
    }

    /// How many bytes of its room are taken.
    pub fn used(&self) -> u64 {
        let room = rustix::fs::fstatvfs(&self.root);
        room.map_or(0, |room| {
            room.f_blocks
                .saturating_sub(room.f_bfree)
                .saturating_mul(room.f_frsize)
        })
    }

    /// Waits until everything written to it has reached the device.
    pub fn sync(&self) -> anyhow::Result<()> {
        rustix::fs::syncfs(&self.root).context("flushing a filesystem")
    }
}

/// What a driver has to say to an error (fsopen(2), "Message retrieval").
fn words(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut buffer = [0; 512];
    // A driver that says without end is cut off.
    for _ in 0..16 {
        let Ok(len) = rustix::io::read(context, &mut buffer[..]) else {
            break;
        };
        let said = String::from_utf8_lossy(&buffer[..len]);
        let said = said.split_once(' ').map_or("", |(_, said)| said.trim());
        if !said.is_empty() {
            let _ = write!(text, "; {said}");
        }
    }
    text
}
