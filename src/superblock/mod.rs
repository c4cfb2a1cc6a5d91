// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a filesystem, or a member of something larger, says of itself: type, label, identifier, size.
//!
//! The names and forms are blkid's, because boot loaders, initrds and fstab files speak them. Every reading is of a
//! fixed number of bytes at a fixed place, except a FAT volume's label, for which the root directory is walked with a
//! bound. What several formats claim at once goes to the first in [`identify`]'s order, which is libblkid's (members of
//! something larger before filesystems, UDF before ISO 9660); that a medium is ambivalent is not said.
//!
//! Not read: labels of NTFS and UDF, name and identifier of a ZFS pool, partition tables.

pub(crate) mod field;

mod fat;
mod foreign;
mod linux;
mod member;
mod optical;
mod packed;

pub(crate) use packed::squashfs_compression;

use std::fmt;

use serde::Serialize;

use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// A type of filesystem or of member, written as blkid writes `TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Kind {
    /// A Mac's container of volumes.
    #[serde(rename = "apfs")]
    Apfs,
    /// A cache device or a disk behind one.
    #[serde(rename = "bcache")]
    Bcache,
    /// Windows' encryption.
    #[serde(rename = "BitLocker")]
    BitLocker,
    /// btrfs, one of its devices.
    #[serde(rename = "btrfs")]
    Btrfs,
    /// LUKS, either version.
    #[serde(rename = "crypto_LUKS")]
    CryptoLuks,
    /// EROFS.
    #[serde(rename = "erofs")]
    Erofs,
    /// exFAT.
    #[serde(rename = "exfat")]
    Exfat,
    /// ext2: no journal and nothing that ext2 cannot read.
    #[serde(rename = "ext2")]
    Ext2,
    /// ext3: ext2 with a journal.
    #[serde(rename = "ext3")]
    Ext3,
    /// ext4: something that ext3 cannot read.
    #[serde(rename = "ext4")]
    Ext4,
    /// F2FS.
    #[serde(rename = "f2fs")]
    F2fs,
    /// HFS+, either case rule.
    #[serde(rename = "hfsplus")]
    HfsPlus,
    /// ISO 9660, with or without its extensions.
    #[serde(rename = "iso9660")]
    Iso9660,
    /// An external journal of ext3 or ext4.
    #[serde(rename = "jbd")]
    Jbd,
    /// A disk of an LVM volume group.
    #[serde(rename = "LVM2_member")]
    Lvm2Member,
    /// A disk of a Linux software RAID.
    #[serde(rename = "linux_raid_member")]
    LinuxRaidMember,
    /// NTFS.
    #[serde(rename = "ntfs")]
    Ntfs,
    /// SquashFS, version 4.
    #[serde(rename = "squashfs")]
    Squashfs,
    /// SquashFS before version 4.
    #[serde(rename = "squashfs3")]
    Squashfs3,
    /// Swap space.
    #[serde(rename = "swap")]
    Swap,
    /// Swap space that holds a hibernated system.
    #[serde(rename = "swsuspend")]
    Swsuspend,
    /// UDF.
    #[serde(rename = "udf")]
    Udf,
    /// FAT12, FAT16 or FAT32.
    #[serde(rename = "vfat")]
    Vfat,
    /// XFS.
    #[serde(rename = "xfs")]
    Xfs,
    /// A disk of a ZFS pool.
    #[serde(rename = "zfs_member")]
    ZfsMember,
}

impl Kind {
    /// blkid's word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Apfs => "apfs",
            Kind::Bcache => "bcache",
            Kind::BitLocker => "BitLocker",
            Kind::Btrfs => "btrfs",
            Kind::CryptoLuks => "crypto_LUKS",
            Kind::Erofs => "erofs",
            Kind::Exfat => "exfat",
            Kind::Ext2 => "ext2",
            Kind::Ext3 => "ext3",
            Kind::Ext4 => "ext4",
            Kind::F2fs => "f2fs",
            Kind::HfsPlus => "hfsplus",
            Kind::Iso9660 => "iso9660",
            Kind::Jbd => "jbd",
            Kind::Lvm2Member => "LVM2_member",
            Kind::LinuxRaidMember => "linux_raid_member",
            Kind::Ntfs => "ntfs",
            Kind::Squashfs => "squashfs",
            Kind::Squashfs3 => "squashfs3",
            Kind::Swap => "swap",
            Kind::Swsuspend => "swsuspend",
            Kind::Udf => "udf",
            Kind::Vfat => "vfat",
            Kind::Xfs => "xfs",
            Kind::ZfsMember => "zfs_member",
        }
    }

    /// Whether it is one of ext2, ext3 and ext4.
    pub fn is_ext(self) -> bool {
        matches!(self, Kind::Ext2 | Kind::Ext3 | Kind::Ext4)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What only one kind of filesystem has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "of")]
#[non_exhaustive]
pub enum Details {
    /// Nothing more.
    #[default]
    None,
    /// Of btrfs.
    Btrfs {
        /// A seed: it mounts read-only and others may grow from it.
        seeding: bool,
        /// How many devices the filesystem has; a sprout and its seed both count.
        devices: u64,
        /// "crc32c", "xxhash64", "sha256", "blake2b".
        checksum: Option<&'static str>,
    },
    /// Of ext2, ext3, ext4.
    Ext {
        /// The journal holds changes that were not brought home: it was not unmounted.
        needs_recovery: bool,
        /// Unmounted, by its own mark.
        clean: bool,
    },
    /// Of FAT.
    Fat {
        /// 12, 16 or 32.
        bits: u8,
    },
    /// Of LUKS.
    Luks {
        /// 1 or 2.
        version: u16,
    },
    /// Of SquashFS and EROFS: how the contents are compressed.
    Packed {
        /// "xz", "zstd", "lz4" …; `None` if nothing is compressed or the format does not say.
        compression: Option<&'static str>,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    /// The type.
    pub kind: Kind,
    /// The label, without blanks at its end; `None` if it is empty or not read for this type.
    pub label: Option<String>,
    /// The identifier in the form in which blkid writes it for this type.
    pub uuid: Option<String>,
    /// How much the filesystem says it occupies.
    pub size: Option<Bytes>,
    /// What only this type has.
    pub details: Details,
}

impl Superblock {
    /// A type of which nothing else is known.
    fn of(kind: Kind) -> Superblock {
        Superblock {
            kind,
            label: None,
            uuid: None,
            size: None,
            details: Details::None,
        }
    }
}

/// `len` bytes at `at`, or `None` if the medium ends before.
fn part(image: &dyn ReadAt, at: u64, len: usize) -> Result<Option<Vec<u8>>, ReadError> {
    let fits = at
        .checked_add(len as u64)
        .is_some_and(|end| end <= image.len().0);
    if fits {
        image.read_vec(Bytes(at), len).map(Some)
    } else {
        Ok(None)
    }
}

/// A look for one family of formats.
type Look = fn(&dyn ReadAt) -> Result<Option<Superblock>, ReadError>;

/// What is on the medium, or in the file: `None` if it is nothing that is known here.
///
/// # Errors
/// Only those of reading.
pub fn identify(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    const LOOKS: [Look; 18] = [
        member::raid,
        member::lvm,
        member::luks,
        member::zfs,
        member::bcache,
        foreign::bitlocker,
        fat::vfat,
        linux::swap,
        linux::xfs,
        linux::ext,
        foreign::ntfs,
        optical::udf,
        optical::iso9660,
        foreign::apple,
        packed::squashfs,
        linux::btrfs,
        linux::f2fs,
        packed::erofs,
    ];
    for look in LOOKS {
        if let Some(found) = look(image)? {
            return Ok(Some(found));
        }
    }
    foreign::exfat(image)
}

#[cfg(test)]
mod tests;
