// SPDX-License-Identifier: MIT OR Apache-2.0
//! The requests to the kernel that no program of a distribution makes for us.
//!
//! * To add a device to a mounted btrfs: `btrfs device add` refuses a loop device while another one of the same file or
//!   disk is mounted, wherever in it both are (btrfs-progs 6.2: "is mounted"; seen). While a stick is made its seed and
//!   its sprout are just that.
//! * To delete a subvolume: `btrfs subvolume delete` looks for a path of what it is given (btrfs-progs 6.2: "cannot find
//!   real path"; seen), and a filesystem that is mounted nowhere has none.
//! * To find the subvolumes in one: `btrfs subvolume list` says them line by line, and whoever may make a subvolume may
//!   give it a name with a line break in it.

// The kernel's own numbers and structure, given to it in one place: see `Named`.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::ioctl::{Setter, Updater, ioctl};

/// `BTRFS_IOC_ADD_DEV`: `_IOW(0x94, 10, struct btrfs_ioctl_vol_args)` (Linux, `include/uapi/linux/btrfs.h`).
const ADD_DEV: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Named>(0x94, 10);
/// `BTRFS_IOC_SNAP_DESTROY`: `_IOW(0x94, 15, struct btrfs_ioctl_vol_args)` (same file).
const SNAP_DESTROY: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<Named>(0x94, 15);

/// `BTRFS_IOC_GET_SUBVOL_ROOTREF`: `_IOWR(0x94, 61, struct btrfs_ioctl_get_subvol_rootref_args)` (same file).
const ROOT_REFS: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<RootRefs>(0x94, 61);
/// `BTRFS_IOC_INO_LOOKUP_USER`: `_IOWR(0x94, 62, struct btrfs_ioctl_ino_lookup_user_args)` (same file).
const LOOKUP: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<Lookup>(0x94, 62);

/// `BTRFS_MAX_ROOTREF_BUFFER_NUM`.
const REFS: usize = 255;
/// `BTRFS_PATH_NAME_MAX` and the NUL behind it.
const NAME: usize = 4088;

/// `struct btrfs_ioctl_vol_args`: a descriptor, which is not used here, and a name, ended by a NUL.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; NAME],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`: the first number that is asked for, and what was found: the numbers of
/// subvolumes, each with that of the directory it is in.
#[repr(C)]
struct RootRefs {
    from: u64,
    found: [[u64; 2]; REFS],
    count: u8,
    unused: [u8; 7],
}

/// `struct btrfs_ioctl_ino_lookup_user_args`: the numbers of a directory and of a subvolume in it, and what the kernel
/// says of them: the subvolume's name, and the path of the directory from that of the descriptor, both ended by a NUL.
#[repr(C)]
struct Lookup {
    directory: u64,
    subvolume: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

/// A subvolume in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The kernel's number of it.
    pub number: u64,
    /// The directory that it is in, from the root of the other one.
    pub directory: Vec<u8>,
    /// Its name there.
    pub name: Vec<u8>,
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
pub fn delete_subvolume(parent: BorrowedFd<'_>, name: &[u8]) -> anyhow::Result<()> {
    if name.contains(&b'/') || matches!(name, b"." | b"..") {
        bail!("{} is no name", name.escape_ascii());
    }
    let deleted = Named::new(name)?.ask::<SNAP_DESTROY>(parent);
    deleted.with_context(|| format!("deleting the subvolume {}", name.escape_ascii()))
}

/// A subvolume that is in the one whose root `subvolume` is, if there is any.
pub fn first_inside(subvolume: BorrowedFd<'_>) -> anyhow::Result<Option<Inside>> {
    let mut refs = RootRefs {
        from: 0,
        found: [[0; 2]; REFS],
        count: 0,
        unused: [0; 7],
    };
    // SAFETY: the number belongs to a structure of this size and layout, into which the kernel writes numbers only.
    let asked = unsafe { ioctl(subvolume, Updater::<ROOT_REFS, RootRefs>::new(&mut refs)) };
    match asked {
        // There are more than it holds.
        Ok(()) | Err(Errno::OVERFLOW) => {}
        Err(error) => return Err(error).context("looking for subvolumes in a subvolume"),
    }
    let [number, directory] = match refs.found.first() {
        Some(first) if refs.count > 0 => *first,
        _ => return Ok(None),
    };
    let mut lookup = Lookup {
        directory,
        subvolume: number,
        name: [0; 256],
        path: [0; 3824],
    };
    // SAFETY: as above; what the kernel writes are bytes, of which any will do.
    let asked = unsafe { ioctl(subvolume, Updater::<LOOKUP, Lookup>::new(&mut lookup)) };
    asked.with_context(|| format!("looking for the subvolume with the number {number}"))?;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes[..end.unwrap_or(bytes.len())].to_vec()
    };
    Ok(Some(Inside {
        number,
        directory: text(&lookup.path),
        name: text(&lookup.name),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(ADD_DEV, 0x5000_940a);
        assert_eq!(SNAP_DESTROY, 0x5000_940f);
        assert_eq!(ROOT_REFS, 0xd000_943d);
        assert_eq!(LOOKUP, 0xd000_943e);
        assert_eq!(size_of::<Named>(), 4096);
        assert_eq!(size_of::<RootRefs>(), 4096);
        assert_eq!(size_of::<Lookup>(), 4096);
    }
}
