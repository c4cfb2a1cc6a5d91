// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks written by the program, judged from outside: by the partitioners, checkers and readers of others, by the
//! kernel, and byte by byte.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod events;
mod filesystems;
mod menus;
mod partitions;
mod ranges;
mod rubbish;
#[path = "../support/mod.rs"]
mod support;
mod written;

use filesystems::Maker;
use support::program::root;
use written::{Asked, Backing, Written, write};

type Part = (&'static str, u64);
const BTRFS: Part = ("btrfs", 160);
const EXT4: Part = ("ext4", 64);
const XFS: Part = ("xfs", 304);

/// A stick with overlay and home, and everything that must hold of it.
fn persistent(layout: &str, backing: Backing, overlay: Part, home: Part) -> Option<Written> {
    if !root() {
        return None;
    }
    let asked = Asked {
        backing,
        ..Asked::persistent(layout, overlay, home)
    };
    let written = write(asked);
    ranges::judge(&written);
    partitions::judge(&written);
    menus::judge(&written, layout, &[]);
    filesystems::judge(&written, Maker::Root);
    if backing == Backing::New {
        partitions::golden(&written, layout);
    }
    Some(written)
}

macro_rules! persistent {
    ($($name:ident: $layout:literal on $backing:ident with $overlay:ident and $home:ident;)*) => {$(
        #[test]
        fn $name() {
            persistent($layout, Backing::$backing, $overlay, $home);
        }
    )*};
}

persistent! {
    isolinux_in_a_new_file: "isolinux" on New with BTRFS and EXT4;
    isolinux_in_a_used_file: "isolinux" on File with EXT4 and XFS;
    isolinux_on_a_used_device: "isolinux" on Device with XFS and BTRFS;
    grub2_in_a_new_file: "grub2" on New with EXT4 and BTRFS;
    grub2_in_a_used_file: "grub2" on File with XFS and EXT4;
    grub2_on_a_used_device: "grub2" on Device with BTRFS and XFS;
    kiwi_in_a_new_file: "kiwi" on New with BTRFS and BTRFS;
    kiwi_in_a_used_file: "kiwi" on File with EXT4 and EXT4;
    kiwi_on_a_used_device: "kiwi" on Device with XFS and XFS;
    apm_in_a_new_file: "apm" on New with XFS and BTRFS;
    apm_in_a_used_file: "apm" on File with BTRFS and EXT4;
    apm_on_a_used_device: "apm" on Device with EXT4 and XFS;
}
