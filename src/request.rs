// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a user asks for, before anything was looked at: words and numbers, no facts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::boot::pause::Pause;
use crate::published;
use crate::sprout::Checksum;
use crate::units::{Bytes, MIB};

/// How large something shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Exactly this.
    Fixed(Bytes),
    /// All that is left on the stick.
    Rest,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Fixed(bytes) => write!(f, "{}", bytes.binary()),
            Size::Rest => write!(f, "rest"),
        }
    }
}

/// Why a size is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// Zero.
    #[error("a size of 0 makes nothing; leave the option out to do without")]
    Zero,
    /// More than a 64-bit number of bytes.
    #[error("'{0}' is more bytes than any medium has")]
    Overflow(String),
    /// A number without a unit where one is needed.
    #[error("'{0}' has no unit; write {0}MiB or {0}GiB")]
    NoUnit(String),
    /// Anything else.
    #[error("'{0}' is not a size; write a whole number and MiB, GiB, MB or GB, as in 4GiB")]
    Unreadable(String),
}

impl FromStr for Size {
    type Err = SizeError;

    /// `4GiB`, `4G`, `4096M`, `8GB` (decimal, as sticks are sold), `rest`.
    fn from_str(text: &str) -> Result<Size, SizeError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("rest") {
            return Ok(Size::Rest);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if digits == 0 {
            return Err(SizeError::Unreadable(text.into()));
        }
        let unit = match unit.trim().to_ascii_lowercase().as_str() {
            "" => return Err(SizeError::NoUnit(text.into())),
            "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => MIB,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(SizeError::Unreadable(text.into())),
        };
        fixed(number, unit, text).map(Size::Fixed)
    }
}

/// A bare number of MiB, as after livecd-iso-to-disk's `--overlay-size-mb`.
pub fn mebibytes(text: &str) -> Result<Bytes, SizeError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SizeError::Unreadable(text.into()));
    }
    fixed(text, MIB, text)
}

fn fixed(number: &str, unit: u64, text: &str) -> Result<Bytes, SizeError> {
    // Only digits come here, so the one way to fail is to be too large.
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        None => Err(SizeError::Overflow(text.into())),
        Some(0) => Err(SizeError::Zero),
        Some(bytes) => Ok(Bytes(bytes)),
    }
}

/// A filesystem that livestick makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsKind {
    /// Checksums on data and metadata, compression.
    Btrfs,
    /// Journal, checksums on metadata.
    Ext4,
    /// Journal, checksums on metadata.
    Xfs,
}

impl FsKind {
    /// The name the kernel, mkfs and mount use.
    pub fn name(self) -> &'static str {
        match self {
            FsKind::Btrfs => "btrfs",
            FsKind::Ext4 => "ext4",
            FsKind::Xfs => "xfs",
        }
    }

    /// The smallest partition its mkfs accepts with the options used here, rounded up to what is of use.
    ///
    /// Sources: btrfs-progs `mkfs/common.c` `btrfs_min_dev_size` (about 110 MiB with DUP metadata);
    /// xfsprogs `mkfs/xfs_mkfs.c` `validate_supported` (300 MB); an ext4 with journal and some room.
    pub fn smallest(self) -> Bytes {
        match self {
            FsKind::Btrfs => Bytes::mib(128),
            FsKind::Ext4 => Bytes::mib(16),
            FsKind::Xfs => Bytes::mib(304),
        }
    }
}

impl fmt::Display for FsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A filesystem to be made: how large, and which kind where the user cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// How large.
    pub size: Size,
    /// Which kind; `None` leaves it to what the image can mount.
    pub fs: Option<FsKind>,
}

/// How a live system remembers what changes in `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// An overlay over the image's own root.
    Overlay,
    /// A btrfs that grows from a seed made of the image's root ([`crate::sprout`]).
    Sprout,
}

/// A stick, as asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    /// The live image.
    pub image: PathBuf,
    /// A whole block device, or a stick image file.
    pub target: PathBuf,
    /// Make the stick image file this large when it does not exist.
    pub create: Option<Bytes>,
    /// What `/` keeps its changes in.
    pub overlay: Option<Wanted>,
    /// How; `None` leaves it to what the image is.
    pub persistence: Option<Persistence>,
    /// The checksums of seed and sprout.
    pub csum: Checksum,
    /// The persistent `/home`.
    pub home: Option<Wanted>,
    /// Whether `/home` is encrypted. The passphrase is not here: see [`crate::secret`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encrypt_home: bool,
    /// More kernel arguments for every live entry.
    pub extra_arguments: Vec<String>,
    /// How the boot menus wait, where that changes.
    #[serde(skip_serializing_if = "Pause::is_none")]
    pub pause: Pause,
    /// Unmount what is mounted from the target.
    pub unmount: bool,
    /// The serial (or path) of a disk that does not look like a stick but is meant.
    pub allow_disk: Option<String>,
    /// Derive every identifier from this text instead of at random.
    pub seed: Option<String>,
    /// What the image is compared with before it is written.
    pub checksum: published::Asked,
    /// The keys that count for signatures of checksum files, in place of the distribution's.
    pub keyrings: Vec<PathBuf>,
    /// Whether to probe that the target has the size it claims; `None` leaves it to what the target is.
    pub probe: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let fixed = |text: &str| match text.parse::<Size>() {
            Ok(Size::Fixed(bytes)) => bytes.0,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(fixed("4GiB"), 4 << 30);
        assert_eq!(fixed("4 G"), 4 << 30);
        assert_eq!(fixed("4096m"), 4 << 30);
        assert_eq!(fixed("8GB"), 8_000_000_000);
        assert_eq!("REST".parse(), Ok(Size::Rest));
        assert_eq!(mebibytes("4096"), Ok(Bytes(4 << 30)));
    }

    #[test]
    fn what_is_no_size_is_named() {
        assert_eq!("0GiB".parse::<Size>(), Err(SizeError::Zero));
        assert_eq!(
            "-1".parse::<Size>(),
            Err(SizeError::Unreadable("-1".into()))
        );
        assert_eq!(
            "4Q".parse::<Size>(),
            Err(SizeError::Unreadable("4Q".into()))
        );
        assert_eq!(
            "4096".parse::<Size>(),
            Err(SizeError::NoUnit("4096".into()))
        );
        let huge = "99999999999999999999G";
        assert_eq!(huge.parse::<Size>(), Err(SizeError::Overflow(huge.into())));
        assert_eq!(
            mebibytes("17592186044416"),
            Err(SizeError::Overflow("17592186044416".into()))
        );
        assert_eq!(mebibytes("+5"), Err(SizeError::Unreadable("+5".into())));
        assert_eq!(mebibytes("0"), Err(SizeError::Zero));
    }
}
