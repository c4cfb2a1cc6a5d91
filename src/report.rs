// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a job ended: the report of what was written and proven, or the failure and what the stick is now.
//!
//! The words "verified" and "identical" stand here only for bytes that were read from the medium past the caches; how
//! that is known is part of the report.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::chain::Link;
use crate::diagnosis::{self, Damage};
use crate::event::Task;
use crate::published::Published;
use crate::units::Bytes;

/// How a job ended, as the exit status tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Done, and everything that is claimed holds.
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
    /// As it was: what marks of a probe had replaced was put back.
    Restored,
    /// Blank: no partition table and nothing to boot.
    Blank,
    /// Complete: everything the plan listed is on it.
    Complete,
    /// Not known, because a write of its first MiB failed, and so did making that blank again; or because marks of a
    /// probe could not be taken back.
    Unknown,
    /// Repaired in part.
    Partly,
    /// A reset or a detachment was begun, and not finished.
    Unfinished,
}

impl fmt::Display for StickState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StickState::Untouched => "nothing was written",
            StickState::Restored => "the stick is as it was: all marks were taken back",
            StickState::Blank => "the stick is blank: it has no partition table and does not boot",
            StickState::Complete => "the stick holds everything the plan listed",
            StickState::Unknown => "the state of the stick is not known; write it again",
            StickState::Unfinished => {
                "what was begun on the stick is not finished; run the same command again"
            }
            StickState::Partly => {
                "the stick is repaired in part; run `livestick repair` again, or write it again"
            }
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
    /// The root of the tree of SHA-256 over each MiB of the image's range of the medium, as it is (RFC 9162, 2.1.1).
    pub tree: String,
    /// SHA-256 of that range with each changed range put back: that of the image file.
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

/// What was done and what was proven.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What the job was for.
    pub task: Task,
    /// How the program ends: verified, or not.
    pub exit: Exit,
    /// What the stick is now.
    pub state: StickState,
    /// The target, in words.
    pub stick: String,
    /// The file name of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<Bytes>,
    /// Its SHA-256, as it was read for writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What was published of it. Where that is a digest, the image has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// What was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<ReadBack>,
    /// Whether the stick has the size it claims, where that was probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The filesystems behind the image.
    pub made: Vec<Made>,
    /// How it starts, a sentence each.
    pub boot: Vec<String>,
    /// Each link of the chain from what was published to what the stick holds now.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What is not as it should be.
    #[serde(default)]
    pub damage: Vec<Damage>,
    /// What it all means, and the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<diagnosis::Verdict>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// A report in which nothing is said yet.
    pub fn new(task: Task, stick: String) -> Report {
        Report {
            task,
            exit: Exit::NotVerified,
            state: StickState::Untouched,
            stick,
            image: None,
            image_size: None,
            sha256: None,
            published: None,
            read_back: None,
            capacity: None,
            made: Vec::new(),
            boot: Vec::new(),
            links: Vec::new(),
            damage: Vec::new(),
            diagnosis: None,
            notes: Vec::new(),
            seconds: 0.0,
        }
    }
}

impl Report {
    /// The links that other fields do not tell people already.
    pub fn further_links(&self) -> impl Iterator<Item = &Link> {
        let told = |link: &&Link| match link.name.as_str() {
            "published digest" => self.published.is_some(),
            "image" => self.read_back.is_some(),
            _ => false,
        };
        self.links.iter().filter(move |link| !told(link))
    }
}

/// So many damaged ranges are told to people; the rest is counted. JSON has them all.
const TOLD: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stick      {}", self.stick)?;
        if let Some(image) = &self.image {
            let size = self.image_size.unwrap_or_default();
            writeln!(f, "image      {image}, {}", size.binary())?;
        }
        if let Some(sha256) = &self.sha256 {
            writeln!(f, "sha256     {sha256}")?;
        }
        if let Some(published) = &self.published {
            writeln!(f, "digest     {published}")?;
        }
        if let Some(back) = &self.read_back {
            back.fmt(f)?;
        }
        if let Some(capacity) = &self.capacity {
            capacity.fmt(f)?;
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
        if !self.links.is_empty() {
            writeln!(f)?;
        }
        for Link {
            name,
            holds,
            result,
            how,
        } in self.further_links()
        {
            writeln!(f, "{name:<16} {holds:<10} {result}")?;
            if !how.is_empty() {
                writeln!(f, "{:<27} {how}", "")?;
            }
        }
        if !self.links.is_empty() {
            writeln!(f)?;
        }
        for damage in self.damage.iter().take(TOLD) {
            writeln!(f, "damage     {damage}")?;
        }
        if self.damage.len() > TOLD {
            writeln!(f, "           and {} more", self.damage.len() - TOLD)?;
        }
        if let Some(verdict) = &self.diagnosis {
            writeln!(f, "verdict    {}; {}", verdict.says, verdict.next)?;
        }
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ReadBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Verified { proof } => {
                writeln!(
                    f,
                    "read back  {} bytes from the medium, past the caches: verified",
                    self.bytes.grouped()
                )?;
                writeln!(f, "           {proof}")?;
            }
            Verdict::NotVerified { reason } => {
                writeln!(
                    f,
                    "read back  {} bytes, not verified: {reason}",
                    self.bytes.grouped()
                )?;
            }
        }
        let equal = match self.verdict {
            Verdict::Verified { .. } => "identical to the image",
            Verdict::NotVerified { .. } => "what was read equals the image",
        };
        if self.ranges == 0 {
            return writeln!(f, "           {equal}, byte for byte");
        }
        writeln!(
            f,
            "           {equal} except {} {}, {} bytes:\n           {}",
            self.ranges,
            if self.ranges == 1 { "range" } else { "ranges" },
            self.changed.grouped(),
            self.reasons.join(", ")
        )
    }
}
