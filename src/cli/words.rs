// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of the command line that stand for one of a set.

use clap::ValueEnum;

use crate::request::FsKind;
use crate::sprout::Checksum;

/// A filesystem, as a word of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FsName {
    /// Checksums on data and metadata, compression
    Btrfs,
    /// A journal, checksums on metadata
    Ext4,
    /// A journal, checksums on metadata
    Xfs,
}

impl From<FsName> for FsKind {
    fn from(name: FsName) -> FsKind {
        match name {
            FsName::Btrfs => FsKind::Btrfs,
            FsName::Ext4 => FsKind::Ext4,
            FsName::Xfs => FsKind::Xfs,
        }
    }
}

/// How changes are kept, as a word of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// In an overlay over the image's own root
    Overlay,
    /// In a btrfs that grows from a seed, which is made of the image's root or is it: every read is
    /// checked (takes root)
    Sprout,
    /// Not at all
    None,
}

/// A checksum, as a word of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Csum {
    /// 32 bits, the fastest
    Crc32c,
    /// 64 bits
    Xxhash,
    /// 256 bits, cryptographic
    Sha256,
    /// 256 bits, cryptographic
    Blake2,
}

impl From<Csum> for Checksum {
    fn from(word: Csum) -> Checksum {
        match word {
            Csum::Crc32c => Checksum::Crc32c,
            Csum::Xxhash => Checksum::Xxhash,
            Csum::Sha256 => Checksum::Sha256,
            Csum::Blake2 => Checksum::Blake2,
        }
    }
}
