// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two requests to the kernel that no program of a distribution makes for us.
//!
//! * To add a device to a mounted btrfs: `btrfs device add` refuses a loop device while another one of the same file or
//!   disk is mounted, wherever in it both are (btrfs-progs 6.2: "is mounted"; seen). While a stick is made its seed and
//!   its sprout are just that.
//! * To delete a subvolume: `btrfs subvolume delete` looks for a path of what it is given (btrfs-progs 6.2: "cannot find
//!   real path"; seen), and a filesystem that is mounted nowhere has none.

// The kernel's own numbers and structure, given to it in one place: see `Named`.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::ioctl::{Setter, ioctl};

/// `BTRFS_IOC_ADD_DEV`: `_IOW(0x94, 10, struct btrfs_ioctl_vol_args)` (Linux, `include/uapi/linux/btrfs.h`).
const ADD_DEV: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Named>(0x94, 10);
/// `BTRFS_IOC_SNAP_DESTROY`: `_IOW(0x94, 15, struct btrfs_ioctl_vol_args)` (same file).
const SNAP_DESTROY: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Named>(0x94, 15);

/// `BTRFS_PATH_NAME_MAX` and the NUL behind it.
const NAME: usize = 4088;

/// `struct btrfs_ioctl_vol_args`: a descriptor, which is not used here, and a name, ended by a NUL.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; NAME],
}

impl Named {
    fn new(name: &[u8]) -> anyhow::Result<Named> {
        let mut named = Named {
            fd: 0,
            name: [0; NAME],
        };
        if name.is_empty() || name.len() >= NAME || name.contains(&0) {
            bail!("{} is no name", name.escape_ascii());
        }
        named.name[..name.len()].copy_from_slice(name);
        Ok(named)
    }

    fn ask<const REQUEST: rustix::ioctl::Opcode>(
        self,
        of: BorrowedFd<'_>,
    ) -> rustix::io::Result<()> {
        // SAFETY: both numbers belong to a structure of this size and layout (the number holds the size), which the
        // kernel copies and keeps no reference to; the name in it ends with a NUL. A descriptor that is no btrfs
        // refuses the number.
        unsafe { ioctl(of, Setter::<REQUEST, Named>::new(self)) }
    }
}

/// Adds `device` to the btrfs that `mounted` is a directory of.
pub fn add_device(mounted: BorrowedFd<'_>, device: &Path) -> anyhow::Result<()> {
    let added = Named::new(device.as_os_str().as_bytes())?.ask::<ADD_DEV>(mounted);
    added.with_context(|| format!("adding {} to the seed", device.display()))
}

/// Deletes the subvolume `name` in the directory `parent`; no other subvolume may be in it.
pub fn delete_subvolume(parent: BorrowedFd<'_>, name: &str) -> anyhow::Result<()> {
    if name.contains('/') || name == "." || name == ".." {
        bail!("{name} is no name");
    }
    let deleted = Named::new(name.as_bytes())?.ask::<SNAP_DESTROY>(parent);
    deleted.with_context(|| format!("deleting the subvolume {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(ADD_DEV, 0x5000_940a);
        assert_eq!(SNAP_DESTROY, 0x5000_940f);
        assert_eq!(size_of::<Named>(), 4096);
    }
}
