// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a job ended: the report of what was written and proven, or the failure and what the stick is now.
//!
//! The words "verified" and "identical" stand here only for bytes that were read from the medium past the caches; how
//! that is known is part of the report.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// How a job ended, as the exit status tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Written and verified.
    Verified,
    /// The command line makes no sense.
    Usage,
    /// Refused; nothing was written.
    Refused,
    /// The right to write was not given (no password, a wrong one, nobody to ask); nothing was written.
    Denied,
    /// The image is damaged or does not match; nothing was written.
    Damaged,
    /// Writing failed; the stick is left blank.
    WriteFailed,
    /// What was read back is not what was written, or could not be proven to come from the medium.
    NotVerified,
    /// The target does not have the size it claims, or does not keep what is written.
    Counterfeit,
    /// Stopped by the user.
    Cancelled,
}

impl Exit {
    /// The exit status, as documented in README and `--help`.
    pub fn code(self) -> u8 {
        match self {
            Exit::Verified => 0,
            Exit::Usage => 2,
            Exit::Refused | Exit::Denied => 3,
            Exit::Damaged => 4,
            Exit::WriteFailed => 5,
            Exit::NotVerified | Exit::Counterfeit => 6,
            Exit::Cancelled => 130,
        }
    }
}

/// What a stick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StickState {
    /// As it was: nothing was written.
    Untouched,
    /// Blank: no partition table and nothing to boot.
    Blank,
    /// Complete: everything the plan listed is on it.
    Complete,
    /// Not known, because a write of its first MiB failed, and so did making that blank again.
    Unknown,
}

impl fmt::Display for StickState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StickState::Untouched => "nothing was written",
            StickState::Blank => "the stick is blank: it has no partition table and does not boot",
            StickState::Complete => "the stick holds everything the plan listed",
            StickState::Unknown => "the state of the stick is not known; write it again",
        })
    }
}

/// Why there is no report.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What was being done, to what, where, and what went wrong.
    pub message: String,
    /// What the stick is now.
    pub state: StickState,
}

/// What is known of the bytes on the medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Read from the medium past the caches, and equal.
    Verified {
        /// How it is known that the caches were bypassed.
        proof: String,
    },
    /// Equal, but it cannot be proven that the medium was read.
    NotVerified {
        /// Why not.
        reason: String,
    },
}

/// The digests of one read of the medium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadBack {
    /// Bytes that were read.
    pub bytes: Bytes,
    /// Whether they came from the medium.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// SHA-256 of the image's range of the medium, as it is.
    pub as_written: String,
    /// SHA-256 of the same with each changed range put back: that of the image file.
    pub restored: String,
    /// How many ranges differ from the image.
    pub ranges: usize,
    /// How many bytes these have together.
    pub changed: Bytes,
    /// What the ranges are for, each once.
    pub reasons: Vec<String>,
}

/// A filesystem that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// "overlay" or "home".
    pub purpose: String,
    /// The size of its partition.
    pub size: Bytes,
    /// "btrfs (crc32c, zstd)".
    pub filesystem: String,
    /// Its identifier.
    pub uuid: String,
    /// The program that found nothing wrong with it.
    pub checked_by: String,
}

/// What was written and what was proven.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How the program ends: verified, or not.
    pub exit: Exit,
    /// What the stick is now.
    pub state: StickState,
    /// The target, in words.
    pub stick: String,
    /// The file name of the image.
    pub image: String,
    /// Its size.
    pub image_size: Bytes,
    /// Its SHA-256, as it was read for writing.
    pub sha256: String,
    /// What was read back.
    pub read_back: ReadBack,
    /// The filesystems behind the image.
    pub made: Vec<Made>,
    /// How it starts, a sentence each.
    pub boot: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = &self.read_back;
        writeln!(f, "stick      {}", self.stick)?;
        writeln!(
            f,
            "image      {}, {}\nsha256     {}",
            self.image,
            self.image_size.binary(),
            self.sha256
        )?;
        match &back.verdict {
            Verdict::Verified { proof } => {
                writeln!(
                    f,
                    "read back  {} bytes from the medium, past the caches: verified",
                    back.bytes.grouped()
                )?;
                writeln!(f, "           {proof}")?;
            }
            Verdict::NotVerified { reason } => {
                writeln!(
                    f,
                    "read back  {} bytes, not verified: {reason}",
                    back.bytes.grouped()
                )?;
            }
        }
        let equal = match back.verdict {
            Verdict::Verified { .. } => "identical to the image",
            Verdict::NotVerified { .. } => "what was read equals the image",
        };
        if back.ranges == 0 {
            writeln!(f, "           {equal}, byte for byte")?;
        } else {
            writeln!(
                f,
                "           {equal} except {} {}, {} bytes:\n           {}",
                back.ranges,
                if back.ranges == 1 { "range" } else { "ranges" },
                back.changed.grouped(),
                back.reasons.join(", ")
            )?;
        }
        for made in &self.made {
            writeln!(
                f,
                "{:<10} {} {}, checked by {}",
                made.purpose,
                made.size.binary(),
                made.filesystem,
                made.checked_by
            )?;
        }
        for (i, line) in self.boot.iter().enumerate() {
            writeln!(f, "{:<10} {line}", if i == 0 { "boot" } else { "" })?;
        }
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        Ok(())
    }
}
