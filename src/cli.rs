// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: words to a [`Request`](crate::request::Request), nothing looked at and nothing decided.
//!
//! What a word is, its value hint says, and completions offer that: a path ([`AnyPath`](clap::ValueHint::AnyPath)) is a
//! stick, a file that is called IMAGE is one, and every other file is just a file.

mod stick;
mod words;
mod write;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use clap::{Args, Parser, Subcommand};

pub use stick::{Changing, Detach, Extract, Probe, Repair, Reset, Telling, Verify, Writing};
pub use words::{Csum, FsName, How};
pub use write::Write;

use crate::published::Asked;

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

/// `livestick doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Give the findings as one JSON object
    #[arg(long)]
    pub json: bool,
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
