// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of `livestick write`, and the [`Request`] that they come to.

use std::path::PathBuf;

use clap::Args;

use super::PublishedOptions;
use super::words::{Csum, FsName, How};
use crate::boot::pause::Pause;
use crate::request::{Persistence, Request, Size, Wanted, mebibytes};
use crate::units::Bytes;

/// `livestick write`.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are bools"
)]
pub struct Write {
    /// The live image (ISO file)
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub image: PathBuf,
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// Make the stick image file this large, if it does not exist (8GiB)
    #[arg(long, value_name = "SIZE", value_parser = fixed, allow_hyphen_values = true)]
    pub size: Option<Bytes>,
    /// Keep changes of the live system in an overlay of this many MiB
    #[arg(long, value_name = "MIB", value_parser = mebibytes, conflicts_with = "overlay_size", allow_hyphen_values = true)]
    pub overlay_size_mb: Option<Bytes>,
    /// The same with a unit (4GiB), or "rest" for all that is left
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub overlay_size: Option<Size>,
    /// The overlay's filesystem [default: the best that the image can mount]
    #[arg(long, value_name = "FS", value_enum)]
    pub overlay_fs: Option<FsName>,
    /// How changes are kept in that room [default: sprout if the image's root is
    /// a btrfs and image and machine can have one, else overlay]
    #[arg(long, value_name = "HOW", value_enum)]
    pub persistence: Option<How>,
    /// The checksums of a sprout, with --persistence sprout [default: crc32c, or
    /// what the image's own btrfs has]
    #[arg(long, value_name = "SUM", value_enum)]
    pub csum: Option<Csum>,
    /// Make a /home of its own of this many MiB
    #[arg(long, value_name = "MIB", value_parser = mebibytes, conflicts_with = "home_size", allow_hyphen_values = true)]
    pub home_size_mb: Option<Bytes>,
    /// The same with a unit (8GiB), or "rest" for all that is left
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub home_size: Option<Size>,
    /// The filesystem of /home [default: the best that the image can mount]
    #[arg(long, value_name = "FS", value_enum)]
    pub home_fs: Option<FsName>,
    /// Encrypt /home; the passphrase is asked for now, twice, and at each boot
    #[arg(long)]
    pub home_encrypt: bool,
    /// Take the passphrase from this file (its only line) and not from the terminal
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub home_passphrase_file: Option<PathBuf>,
    /// More kernel arguments, for every entry that starts the live system
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub extra_kernel_args: Option<String>,
    /// Print what would be done, and write nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask before a stick is written over
    #[arg(long, short)]
    pub yes: bool,
    /// Unmount what is mounted from the target
    #[arg(long)]
    pub unmount: bool,
    /// Write to a disk that does not look like a stick: its serial, or its path if it has none
    #[arg(long, value_name = "ID")]
    pub allow_disk: Option<String>,
    /// Do not probe whether the stick has the size it claims
    #[arg(long, conflicts_with = "capacity_probe")]
    pub no_capacity_probe: bool,
    /// Probe it also if it does not look like a stick
    #[arg(long)]
    pub capacity_probe: bool,
    /// Give the plan, the events and the report as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Derive every identifier from this text, so that the same command gives the same stick
    /// (which must not meet its twin in one machine); an encrypted /home is another each time
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// Write the report to this file, too (as JSON if its name ends in .json)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// What the distribution published of the image.
    #[command(flatten)]
    pub published: PublishedOptions,
}

/// A size that is not "rest".
fn fixed(text: &str) -> Result<Bytes, String> {
    match text.parse::<Size>() {
        Ok(Size::Fixed(bytes)) => Ok(bytes),
        Ok(Size::Rest) => Err("a stick image file needs a size, as in 8GiB".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Write {
    /// What is asked for. The error is one of usage.
    pub fn request(&self) -> Result<Request, String> {
        let wanted = |mib: Option<Bytes>, size: Option<Size>, fs: Option<FsName>, what: &str| match (
            mib.map(Size::Fixed).or(size),
            fs,
        ) {
            (Some(size), fs) => Ok(Some(Wanted {
                size,
                fs: fs.map(Into::into),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(format!(
                "--{what}-fs makes nothing without --{what}-size-mb or --{what}-size"
            )),
        };
        let overlay = wanted(
            self.overlay_size_mb,
            self.overlay_size,
            self.overlay_fs,
            "overlay",
        )?;
        let home = wanted(self.home_size_mb, self.home_size, self.home_fs, "home")?;
        if self.home_encrypt && home.is_none() {
            return Err(
                "--home-encrypt encrypts nothing without --home-size-mb or --home-size".into(),
            );
        }
        if self.home_passphrase_file.is_some() && !self.home_encrypt {
            return Err("--home-passphrase-file is of no use without --home-encrypt".into());
        }
        match (self.persistence, overlay) {
            (Some(How::None), Some(_)) => {
                return Err("--persistence none keeps nothing; leave out --overlay-size-mb".into());
            }
            (Some(How::Overlay | How::Sprout), None) => {
                return Err(
                    "--persistence needs room: add --overlay-size-mb or --overlay-size".into(),
                );
            }
            (Some(How::Sprout), Some(Wanted { fs: Some(_), .. })) => {
                return Err("a sprout is always btrfs; leave out --overlay-fs".into());
            }
            _ => {}
        }
        if self.csum.is_some() && self.persistence != Some(How::Sprout) {
            return Err("--csum is for sprouts; add --persistence sprout".into());
        }
        if let (Some(Size::Rest), Some(Size::Rest)) =
            (overlay.map(|o| o.size), home.map(|h| h.size))
        {
            return Err(
                "overlay and home cannot both have the rest; give one of them a size".into(),
            );
        }
        Ok(Request {
            image: self.image.clone(),
            target: self.target.clone(),
            create: self.size,
            overlay,
            persistence: match self.persistence {
                Some(How::Overlay) => Some(Persistence::Overlay),
                Some(How::Sprout) => Some(Persistence::Sprout),
                Some(How::None) | None => None,
            },
            csum: self.csum.map(Into::into).unwrap_or_default(),
            home,
            encrypt_home: self.home_encrypt,
            extra_arguments: self
                .extra_kernel_args
                .iter()
                .flat_map(|text| text.split_whitespace())
                .map(Into::into)
                .collect(),
            pause: Pause::default(),
            unmount: self.unmount,
            allow_disk: self.allow_disk.clone(),
            seed: self.seed.clone(),
            checksum: self.published.asked()?,
            keyrings: self.published.keyring.clone(),
            probe: match (self.capacity_probe, self.no_capacity_probe) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
        })
    }
}
