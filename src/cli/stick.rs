// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of the commands about a stick as it is: verify, repair, extract, reset, detach, probe.

use std::path::PathBuf;

use clap::Args;

use super::PublishedOptions;

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
