// SPDX-License-Identifier: MIT OR Apache-2.0
//! Persistence as a btrfs sprout: the live root is a *seed*, a btrfs that is never written to again, and a second
//! partition is the *sprout* that grows from it and takes every change (btrfs(5), "seeding device").
//!
//! ```text
//! | image, byte for byte but for its patches | seed: the root tree | sprout: what changes | home, if wanted |
//! ```
//!
//! What the plan lists: the two partitions, the identifier of the seed, the labels of both, the checksum, what the root
//! tree is read from, and how much room the seed is given. The sprout's own identifier is made up by the kernel when
//! it grows, so the boot arguments name it by its label, which is random and of one stick only.
//!
//! What `apply` does, between the image and the reading back:
//!
//! 1. *Seed*. `mkfs.btrfs` (single metadata, the checksum asked for) over the seed's partition; the image's root image is
//!    mounted read-only and its tree copied into the subvolume [`TREE`], compressed; `btrfstune` sets the seed flag;
//!    `btrfs check --check-data-csum` reads it all back from the medium.
//! 2. *Compare*. The two trees are walked side by side ([`tree`]): types, modes, owners, times, sizes, contents,
//!    extended attributes, hard links, device numbers, link targets.
//! 3. *Sprout*. The seed is mounted, the second partition added to it, and what belongs to this stick made in it: the
//!    writable snapshot [`ROOT`] of the tree, the subvolume [`HOME`], the udev rule ([`rule`]), the label.
//!
//! Where the image's root image is a plain btrfs there is nothing to make and nothing to compare: an entry of the
//! partition table is laid over that file, the seed flag is set in it by a listed change ([`within`]), and every
//! checksum in it is compared on the medium. [`TREE`] is then in the sprout, a read-only snapshot of the image's root.
//!
//! How it keeps its promises:
//!
//! * A mount is a file descriptor that is attached to no directory (fsopen(2), fsmount(2)): nobody else sees it, and
//!   it is gone when this process is, however it ends. Loop devices clear themselves when the last user is gone. The
//!   first MiB of the stick is zeros all the while. So a kill at any moment leaves a blank stick and nothing behind.
//! * The image's filesystem is mounted without devices, set-user-id programs and execution, and with the one driver
//!   that the plan names. Nothing is unpacked by path names of the image: the copy goes from one mount to the other,
//!   and what is put into it later follows no link.
//! * What can be unpacked is bounded by the partition and, for files that are mostly holes, by [`room::most`].
//!
//! Life with it: a reset replaces the snapshot [`ROOT`] by a new one of [`TREE`], which is in the seed (or read-only)
//! and cannot have changed; the home stays because it is another subvolume.
//!
//! Not here: the order of the job and what writes (`apply`), the menus (`boot`), where partitions go
//! ([`plan::layout`](crate::plan::layout)).

pub mod room;
pub mod rule;
pub mod tree;
pub mod within;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::persistence::home;
use crate::request::FsKind;
use crate::units::Extent;

/// The subvolume that holds the image's root tree.
pub const TREE: &str = "@image";
/// The subvolume that is mounted as `/`.
pub const ROOT: &str = "@";
/// The subvolume that is mounted on `/home`, unless that has a partition.
pub const HOME: &str = "@home";

/// The checksum of a btrfs, by the name that `mkfs.btrfs --csum` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// 32 bits, the fastest where the processor has an instruction for it; what mkfs takes by itself.
    #[default]
    Crc32c,
    /// 64 bits.
    Xxhash,
    /// 256 bits, cryptographic.
    Sha256,
    /// 256 bits, cryptographic.
    Blake2,
}

impl Checksum {
    /// mkfs.btrfs's word.
    pub fn name(self) -> &'static str {
        match self {
            Checksum::Crc32c => "crc32c",
            Checksum::Xxhash => "xxhash",
            Checksum::Sha256 => "sha256",
            Checksum::Blake2 => "blake2",
        }
    }

    /// The word for the same in [`crate::superblock::Details::Btrfs`].
    pub fn in_superblock(self) -> &'static str {
        match self {
            Checksum::Crc32c => "crc32c",
            Checksum::Xxhash => "xxhash64",
            Checksum::Sha256 => "sha256",
            Checksum::Blake2 => "blake2b",
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kind of filesystem that a root tree is read from, by mounting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// SquashFS.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ext2, ext3 or ext4.
    Ext4,
    /// btrfs.
    Btrfs,
    /// XFS.
    Xfs,
}

impl Driver {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Squashfs => "squashfs",
            Driver::Erofs => "erofs",
            Driver::Ext4 => "ext4",
            Driver::Btrfs => "btrfs",
            Driver::Xfs => "xfs",
        }
    }

    /// What it has to be told so that not a byte is written and no journal replayed (ext4(5), xfs(5), btrfs(5)).
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Driver::Squashfs | Driver::Erofs => &[],
            Driver::Ext4 => &["noload"],
            Driver::Btrfs => &["rescue=nologreplay"],
            Driver::Xfs => &["norecovery", "nouuid"],
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the root tree is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The root image, inside the ISO.
    pub extent: Extent,
    /// How the kernel reads it.
    pub driver: Driver,
    /// The file in it that is the root filesystem, and its driver, where the root image is only a wrapping.
    pub nested: Option<(String, Driver)>,
}

impl Source {
    /// The drivers that the machine needs.
    pub fn drivers(&self) -> impl Iterator<Item = Driver> {
        [self.driver]
            .into_iter()
            .chain(self.nested.as_ref().map(|(_, driver)| *driver))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nested {
            None => self.driver.fmt(f),
            Some((_, inner)) => write!(f, "{inner} in {}", self.driver),
        }
    }
}

/// One of the two partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The number of the partition, as the kernel counts.
    pub number: u32,
    /// Where it is.
    pub extent: Extent,
    /// The partition's own identifier, as udev shows it.
    pub partuuid: String,
    /// The label of its filesystem.
    pub label: String,
}

/// A seed and a sprout to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sprout {
    /// What the seed is made from.
    pub source: Source,
    /// The seed.
    pub seed: Part,
    /// The identifier of the seed's filesystem.
    pub seed_uuid: Uuid,
    /// The checksum of both.
    pub checksum: Checksum,
    /// Whether the seed is the image's own root image, where that lies: nothing is copied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub within: bool,
    /// The sprout.
    pub sprout: Part,
    /// Where people's files go.
    pub home: Home,
}

/// Where people's files go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "in")]
pub enum Home {
    /// Into the subvolume [`HOME`] of the sprout.
    Subvolume,
    /// Into a partition of their own.
    Partition {
        /// The identifier of its filesystem.
        uuid: String,
        /// Its kind.
        fs: FsKind,
    },
    /// Wherever the image has them: its `/home` is no directory that something could be mounted on.
    Root,
}

impl Sprout {
    /// What is below `/dev/disk` where the seed of this very stick is there. Seeds that are made have an identifier of
    /// their own; that of an image is on every stick of it, so there the partition counts, too.
    pub fn seed_links(&self) -> Vec<String> {
        let mut links = vec![format!("by-uuid/{}", self.seed_uuid)];
        if self.within {
            links.push(format!("by-partuuid/{}", self.seed.partuuid));
        }
        links
    }

    /// What replaces `root=live:…` on kernel command lines.
    pub fn root_argument(&self) -> String {
        format!("root=LABEL={}", self.sprout.label)
    }

    /// What else the kernel has to be told.
    ///
    /// `rw`, because systemd remounts only what `/etc/fstab` lists (systemd-remount-fs.service(8)), and live images list
    /// no root. The live scripts of dracut take any root for a live one as long as `rd.live.image` is on, and take the
    /// last value (dracut `parse-dmsquash-live.sh`, `dracut-lib.sh` `getarg`); the scripts in a running live system look
    /// for the word only (livesys-scripts `livesys-main`; systemd.unit(5), `ConditionKernelCommandLine=`).
    pub fn arguments(&self) -> Vec<String> {
        [
            "rootfstype=btrfs",
            "rootflags=subvol=@,compress=zstd:1",
            "rw",
            "rd.live.image=0",
            // How long an initrd of dracut waits for a seed that is missing, in seconds (dracut.cmdline(7); 180 without).
            "rd.retry=60",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The files that mount `/home`, by path: a text, or (`Err`) where a link leads.
    pub fn home_unit(&self) -> Vec<(String, Result<String, String>)> {
        let text = match &self.home {
            Home::Root => return Vec::new(),
            Home::Subvolume => home::unit_text(
                &format!("/dev/disk/by-label/{}", self.sprout.label),
                FsKind::Btrfs,
                Some("subvol=@home,compress=zstd:1"),
            ),
            Home::Partition { uuid, fs } => {
                home::unit_text(&format!("/dev/disk/by-uuid/{uuid}"), *fs, None)
            }
        };
        let directory = home::UNIT_DIRECTORY;
        vec![
            (format!("{directory}/home.mount"), Ok(text)),
            (
                format!("{directory}/local-fs.target.wants/home.mount"),
                Err("../home.mount".into()),
            ),
        ]
    }
}
