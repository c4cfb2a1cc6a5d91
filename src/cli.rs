// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: words to a [`Request`], nothing looked at and nothing decided.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::boot::pause::Pause;
use crate::published::Asked;
use crate::request::{FsKind, Persistence, Request, Size, Wanted, mebibytes};
use crate::sprout::Checksum;
use crate::units::Bytes;

/// The version, and the commit where it is known: "0.1.0 (8068d80)".
pub const VERSION: &str = env!("LIVESTICK_VERSION");

/// The end of every help text.
pub const EXIT_STATUS: &str = "\
Exit status:
  0    done, and everything that is claimed holds
  2    the command line makes no sense
  3    refused; nothing was written
  4    the image is damaged or does not match; nothing was written
  5    reading or writing failed; what write was writing is blank, and the
       message says what any other stick is now
  6    verification failed or could not be proven, or the stick does not
       have the size it claims
  130  cancelled; the stick is left as for 5";

const DOCTOR: &str = "\
Exit status:
  0    nothing is missing that a write with overlay and /home needs
  2    the command line makes no sense
  3    something that it needs is missing";

/// Write a live image to a USB stick, give it a memory, and prove what is on it.
#[derive(Debug, Parser)]
#[command(name = "livestick", version = VERSION, after_help = EXIT_STATUS, max_term_width = 80)]
pub struct Cli {
    /// What to do; without it the terminal interface opens.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what an image is, and what can be done with it
    #[command(after_help = EXIT_STATUS)]
    Inspect(Inspect),
    /// List the sticks that can be written, and why each other disk cannot
    #[command(after_help = EXIT_STATUS)]
    List(List),
    /// Write an image to a stick, with persistence if wanted, and verify it
    #[command(after_help = EXIT_STATUS)]
    Write(Box<Write>),
    /// Compare a stick with what was written to it, without image and network
    ///
    /// The stick is read once, past the caches, and only read. The overlay and
    /// /home are looked over by their own checkers, without a mount, unless they
    /// are in use: btrfs has checksums of data and metadata (both copies of the
    /// metadata are compared, and files with damaged data are named; files marked
    /// nodatacow have no checksums), ext4 and xfs have none of the data in files,
    /// so that nobody can tell whether these changed. Of an encrypted /home only
    /// both copies of the LUKS2 header are looked over, of a sprout the seed and
    /// the sprout each by itself.
    #[command(after_help = EXIT_STATUS)]
    Verify(Verify),
    /// Write again what is damaged on a stick
    ///
    /// The whole stick is read and compared first; what is damaged is listed, and
    /// written once that was confirmed. Then the whole range of the image is read
    /// once more, past the caches, with the partition table and both copies of the
    /// record: "cured" is said only where all of it is right after the last write.
    /// What lies in the partitions behind the image (overlay, sprout, /home, a seed
    /// that was made) is not written to, and not checked a second time.
    #[command(after_help = EXIT_STATUS)]
    Repair(Repair),
    /// Get the original image back from a stick, byte for byte
    #[command(after_help = EXIT_STATUS)]
    Extract(Extract),
    /// Throw away what was changed on a stick, so that it starts as on its first day
    #[command(after_help = EXIT_STATUS)]
    Reset(Reset),
    /// Make a sprout independent of its seed
    #[command(after_help = EXIT_STATUS)]
    Detach(Detach),
    /// Find out whether a stick has the size it claims
    #[command(after_help = EXIT_STATUS)]
    Probe(Probe),
    /// Tell what this machine lacks of what livestick makes use of, and what
    /// each missing thing costs
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Take the command line of livecd-iso-to-disk; `--help` behind it tells its options
    #[command(disable_help_flag = true)]
    LivecdIsoToDisk(Classic),
    /// Choose, size, review, write and report in the terminal interface
    #[command(after_help = EXIT_STATUS)]
    Tui(Tui),
}

/// `livestick livecd-iso-to-disk`.
#[derive(Debug, Args)]
pub struct Classic {
    /// Its options, an image and a target
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub words: Vec<OsString>,
}

/// `livestick tui`.
#[derive(Debug, Args)]
pub struct Tui {
    /// The live image (ISO file), or a folder to look for one
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: Option<PathBuf>,
    /// Draw with ASCII only
    #[arg(long)]
    pub ascii: bool,
}

/// `livestick inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The live image (ISO file)
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub image: PathBuf,
    /// Give the facts as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Do not open the initrd and the root image, and do not compare digests
    #[arg(long)]
    pub quick: bool,
    /// What the distribution published of the image.
    #[command(flatten)]
    pub published: PublishedOptions,
}

/// What an image is compared with.
#[derive(Debug, Args)]
pub struct PublishedOptions {
    /// Compare the image with the digest that this file lists, with sha256:HEX
    /// or sha512:HEX, or with "none" [default: for inspect and write the checksum
    /// file beside the image, for verify none]
    #[arg(long, value_name = "FILE|sha256:HEX|none", value_parser = checksum(), value_hint = clap::ValueHint::FilePath)]
    pub checksum: Option<Asked>,
    /// Keys that may sign checksum files, in place of the distribution's own
    /// (may be given several times)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub keyring: Vec<PathBuf>,
}

impl PublishedOptions {
    /// What is asked for. The error is one of usage.
    pub fn asked(&self) -> Result<Asked, String> {
        let asked = self.checksum.clone().unwrap_or_default();
        match asked {
            Asked::Nothing | Asked::Sum(_) if !self.keyring.is_empty() => {
                Err("--keyring is for signatures of checksum files, and none is read here".into())
            }
            _ => Ok(asked),
        }
    }
}

fn checksum() -> ValueParser {
    ValueParser::new(OsStringValueParser::new().try_map(Asked::try_from))
}

/// `livestick list`.
#[derive(Debug, Args)]
pub struct List {
    /// Give the disks as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show loop devices too
    #[arg(long)]
    pub loops: bool,
}

/// How a stick is written to that is not written anew.
#[derive(Debug, Args)]
pub struct Writing {
    /// Do not ask before anything is written
    #[arg(long, short)]
    pub yes: bool,
    /// Unmount what is mounted from the stick
    #[arg(long)]
    pub unmount: bool,
    /// Write to a disk that does not look like a stick: its serial, or its path if it has none
    #[arg(long, value_name = "ID")]
    pub allow_disk: Option<String>,
}

/// How a job is told.
#[derive(Debug, Args)]
pub struct Telling {
    /// Give the events and the report as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Write the report to this file, too (as JSON if its name ends in .json)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub report: Option<PathBuf>,
}

/// `livestick doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Give the findings as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `livestick probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// The stick: a whole disk such as /dev/sdb
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// Write and read everything, which takes hours; all data is lost
    #[arg(long)]
    pub full: bool,
    /// How it is written to.
    #[command(flatten)]
    pub writing: Writing,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

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

/// `livestick verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// The image to compare with [default: what the stick's own record says]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// What the distribution published of the image.
    #[command(flatten)]
    pub published: PublishedOptions,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// `livestick repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// The image that was written to it
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub image: PathBuf,
    /// Print what would be written again, and write nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// How it is written to.
    #[command(flatten)]
    pub writing: Writing,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// `livestick extract`.
#[derive(Debug, Args)]
pub struct Extract {
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// The image file to make
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// What `reset` and `detach` have in common.
#[derive(Debug, Args)]
pub struct Changing {
    /// The stick: a whole disk such as /dev/sdb, or a stick image file
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub target: PathBuf,
    /// Print what would be done, and write nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// What may be written to.
    #[command(flatten)]
    pub writing: Writing,
    /// How it is told.
    #[command(flatten)]
    pub telling: Telling,
}

/// `livestick reset`: a new overlay, or a new snapshot of the image's root in the sprout.
#[derive(Debug, Args)]
pub struct Reset {
    /// What is common.
    #[command(flatten)]
    pub common: Changing,
    /// Throw away what is in a /home of its own, too (refused for an encrypted one);
    /// a /home in the overlay goes anyway
    #[arg(long)]
    pub home: bool,
}

/// `livestick detach`: everything that the sprout still has in its seed alone is copied into it, and the seed's
/// partition is not needed any more.
#[derive(Debug, Args)]
pub struct Detach {
    /// What is common.
    #[command(flatten)]
    pub common: Changing,
}

/// What is wrong with a command line, in one line.
pub fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // Behind the first empty line come tips and the usage.
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    format!("{}; `livestick --help` tells", lines.join(" "))
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
