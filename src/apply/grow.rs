// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one request to the kernel that no program of a distribution makes for us: to add a device to a mounted btrfs.
//!
//! `btrfs device add` refuses a loop device while another one of the same file or disk is mounted, wherever in it both
//! are (btrfs-progs 6.2: "is mounted"; seen). While a stick is made its seed and its sprout are just that.

// The kernel's own number and structure, given to it once: see `Addition`.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::ioctl::{Setter, ioctl};

/// `BTRFS_IOC_ADD_DEV`: `_IOW(0x94, 10, struct btrfs_ioctl_vol_args)` (Linux, `include/uapi/linux/btrfs.h`).
const ADD_DEV: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Addition>(0x94, 10);

/// `BTRFS_PATH_NAME_MAX` and the NUL behind it.
const NAME: usize = 4088;

/// `struct btrfs_ioctl_vol_args`: a descriptor, which is not used here, and the device's name, ended by a NUL.
#[repr(C)]
struct Addition {
    fd: i64,
    name: [u8; NAME],
}

/// Adds `device` to the btrfs that `mounted` is a directory of.
pub fn add_device(mounted: BorrowedFd<'_>, device: &Path) -> anyhow::Result<()> {
    let path = device.as_os_str().as_bytes();
    let mut addition = Addition {
        fd: 0,
        name: [0; NAME],
    };
    if path.len() >= NAME || path.contains(&0) {
        bail!("{} is no name of a device", device.display());
    }
    addition.name[..path.len()].copy_from_slice(path);
    // SAFETY: the number belongs to a structure of this size and layout (the number holds the size), which the kernel
    // copies and keeps no reference to; the name in it ends with a NUL. A descriptor that is no btrfs refuses the
    // number.
    let added = unsafe { ioctl(mounted, Setter::<ADD_DEV, Addition>::new(addition)) };
    added.with_context(|| format!("adding {} to the seed", device.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_kernels() {
        assert_eq!(ADD_DEV, 0x5000_940a);
        assert_eq!(size_of::<Addition>(), 4096);
    }
}
