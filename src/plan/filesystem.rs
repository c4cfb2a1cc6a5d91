// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filesystem to be made, as data: where, which kind, how, and what goes into it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::host::Host;
use crate::persistence::tree::Entry;
use crate::plan::encryption::{self, Encryption};
use crate::plan::layout::Purpose;
use crate::programs::{FIND, LOSETUP, MOUNT, UMOUNT, UNSHARE};
use crate::refusal::Refusal;
use crate::request::FsKind;
use crate::units::{Bytes, Extent};

/// What mkfs works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backing {
    /// A loop device over the partition's bytes of the target.
    Loop,
    /// A file beside the target, whose contents are then written into the partition's bytes. For stick image files
    /// only: their holes can be made zeros at no cost.
    Scratch,
}

/// How the tree gets into the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// By mkfs itself.
    Mkfs,
    /// Through a mount in a mount namespace of its own.
    Mount,
}

/// A filesystem to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// What for.
    pub purpose: Purpose,
    /// The number of its partition, as the kernel counts.
    pub number: u32,
    /// Where it is.
    pub extent: Extent,
    /// The partition's own identifier, as udev shows it.
    pub partuuid: String,
    /// Which kind.
    pub kind: FsKind,
    /// Its label.
    pub label: String,
    /// Its identifier.
    pub uuid: Uuid,
    /// What mkfs works on.
    pub backing: Backing,
    /// How it is filled.
    pub filling: Filling,
    /// The top directory that is a btrfs subvolume.
    pub subvolume: Option<String>,
    /// Whether what is written into it is compressed (btrfs, zstd).
    pub compressed: bool,
    /// How it is encrypted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// What goes into it.
    pub tree: Vec<Entry>,
}

/// How a filesystem is made on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// What mkfs works on.
    pub backing: Backing,
    /// How the tree gets in.
    pub filling: Filling,
    /// The top directory that becomes a btrfs subvolume.
    pub subvolume: Option<String>,
    /// Whether what is written into it later is compressed.
    pub compressed: bool,
}

/// The first btrfs-progs whose mkfs makes subvolumes by itself (btrfs-progs CHANGES, 6.12).
const MKFS_SUBVOLUMES: (u32, u32) = (6, 12);

impl Filesystem {
    /// Decides how it is made on this machine: `subvolume` is what a btrfs would have, `file` whether the target is
    /// a regular file.
    pub fn decide(
        kind: FsKind,
        file: bool,
        subvolume: Option<&str>,
        host: &Host,
    ) -> Result<Making, Refusal> {
        let backing = if file && (!host.loop_devices || host.program(LOSETUP.name).is_none()) {
            Backing::Scratch
        } else if host.loop_devices {
            host.need(
                LOSETUP.name,
                LOSETUP.package,
                "make a filesystem on the target",
            )?;
            Backing::Loop
        } else {
            return Err(Refusal::Host(
                "making filesystems on a block device needs root and loop devices; run it as root, with the loop module loaded".into(),
            ));
        };
        let mountable = backing == Backing::Loop && host.mounts(kind);
        // mkfs.ext4 does it all by itself. The others need a mount for attributes (xfs), or for the subvolume and
        // the compression of what will be written into it (btrfs).
        let filling = if mountable && kind != FsKind::Ext4 {
            Filling::Mount
        } else {
            Filling::Mkfs
        };
        if filling == Filling::Mount {
            for program in [UNSHARE, MOUNT, UMOUNT, FIND] {
                host.need(program.name, program.package, "fill a filesystem")?;
            }
        }
        if filling == Filling::Mkfs && !host.user_namespaces {
            return Err(Refusal::Host(
                "the files of a new filesystem have to belong to root, which takes root or user namespaces; run it as root".into(),
            ));
        }
        let by_itself = host
            .btrfs_progs
            .is_some_and(|version| version >= MKFS_SUBVOLUMES);
        let btrfs = kind == FsKind::Btrfs;
        let subvolume = subvolume
            .filter(|_| btrfs && (filling == Filling::Mount || by_itself))
            .map(str::to_owned);
        Ok(Making {
            backing,
            filling,
            subvolume,
            compressed: btrfs && filling == Filling::Mount,
        })
    }

    /// "btrfs (crc32c, zstd)".
    pub fn describe(&self) -> String {
        let mut text = match (self.kind, self.compressed) {
            (FsKind::Btrfs, true) => "btrfs (crc32c, zstd)".into(),
            (FsKind::Btrfs, false) => "btrfs (crc32c)".into(),
            (kind, _) => kind.to_string(),
        };
        if self.encryption.is_some() {
            text += ", encrypted (LUKS2)";
        }
        text
    }

    /// The kind of what is in the partition itself, and its identifier, as blkid would tell them.
    pub fn outside(&self) -> (&'static str, Uuid) {
        match &self.encryption {
            Some(encryption) => (encryption::KIND, encryption.uuid),
            None => (self.kind.name(), self.uuid),
        }
    }

    /// Bytes that making it moves, as far as progress is concerned: about what mkfs writes.
    pub fn effort(&self) -> Bytes {
        if self.encryption.is_some() {
            // All of it is written, and all of it is read back.
            return self.extent.len + self.extent.len;
        }
        Bytes(self.extent.len.0 / 64)
            .min(Bytes::mib(128))
            .max(Bytes::mib(4))
    }
}
