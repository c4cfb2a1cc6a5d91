// SPDX-License-Identifier: MIT OR Apache-2.0
//! What will be done, as data: every byte range of the image that will differ on the stick, every partition, every
//! filesystem and every file in it. [`build`](build::build) makes it from a request and facts; `apply` does what it
//! says and nothing else; its text is the dry run, the review and the confirmation.

pub mod audit;
pub mod boot;
pub mod build;
pub mod encryption;
pub mod filesystem;
pub mod ids;
pub mod layout;
pub mod making;
pub mod record;
mod show;
pub mod sprout;
pub mod target;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capacity::Probe;
use crate::disk::Identity;
use crate::disk::direct::Kind;
use crate::event::{Step, Work};
use crate::form;
use crate::image::Version;
use crate::image::isomd5::Implanted;
use crate::patch::Patch;
use crate::plan::boot::BootPlan;
use crate::plan::filesystem::Filesystem;
use crate::plan::record::PlannedRecord;
use crate::published::Published;
use crate::sprout::Sprout;
use crate::units::{Block, Bytes, MIB};

/// The target as the plan saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// The path to write to, links resolved.
    #[serde(with = "form::path")]
    pub path: PathBuf,
    /// What it is, in words: "SanDisk Ultra, 30.8 GB (28.7 GiB), serial 4C530001".
    pub description: String,
    /// Its size.
    pub size: Bytes,
    /// A disk, a file, or a file that is made first.
    pub kind: Kind,
    /// Which one it is; none for a file that does not exist yet.
    pub identity: Option<Identity>,
    /// Whether it looks like a stick (or is a stick image file).
    pub stick: bool,
    /// Mount points to be unmounted first.
    #[serde(with = "form::paths")]
    pub unmount: Vec<PathBuf>,
    /// What is on it now, a line each: this will be lost.
    pub now: Vec<String>,
}

/// The image as the plan saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedImage {
    /// Where it is, links resolved.
    #[serde(with = "form::path")]
    pub path: PathBuf,
    /// Its file name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// Its volume label.
    pub label: String,
    /// What the media check is computed again for; none where the image has no sum, or where it stays.
    pub media_sum: Option<Covered>,
    /// Which version of the file was looked at; compared again before the first write.
    pub version: Version,
    /// What the distribution published of it. Where that is a digest, the image is compared with it first.
    pub published: Published,
}

/// What the media check of the stick is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Blocks of the volume, of which the sum leaves out some at the end.
    pub volume: Block,
    /// The sum of the image as published. It is replaced, and the new one must not vouch for an image that it would
    /// have shown to be damaged.
    pub published: Implanted,
}

/// Bytes to be written behind the image, outside the partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// Where on the target.
    pub at: Bytes,
    /// What will be there.
    #[serde(with = "form::hex")]
    pub bytes: Vec<u8>,
    /// For people.
    pub what: String,
}

/// Everything that will be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What will be written.
    pub image: PlannedImage,
    /// Where to.
    pub target: PlannedTarget,
    /// The ranges of the image that will differ on the stick, sorted.
    pub patches: Vec<Patch>,
    /// What the partition table keeps behind the image.
    pub behind: Vec<Behind>,
    /// The marks that show whether the target has the size it claims, unless that is taken on trust.
    pub probe: Option<Probe>,
    /// Where the record goes, if there is room for one.
    pub record: Option<PlannedRecord>,
    /// The filesystems behind the image, in order.
    pub filesystems: Vec<Filesystem>,
    /// The seed and the sprout that grows from it, where there are to be.
    pub sprout: Option<Sprout>,
    /// How the stick will start.
    pub boot: BootPlan,
    /// What else a user should know before saying yes.
    pub notes: Vec<String>,
}

impl Plan {
    /// The steps, in order. Their bytes are what progress counts.
    pub fn steps(&self) -> Vec<Step> {
        let step = |title: String, work, bytes| Step { title, work, bytes };
        let size = self.image.size;
        let behind: Bytes = self
            .behind
            .iter()
            .map(|b| Bytes(b.bytes.len() as u64))
            .sum();
        let head = size.min(Bytes(MIB));
        let mut steps = Vec::new();
        if !self.image.published.sums().is_empty() {
            steps.push(step(
                "compare the image with its published digest".into(),
                Work::CheckImage,
                size,
            ));
        }
        if let Some(probe) = &self.probe {
            steps.push(step(
                format!(
                    "probe the capacity: marks are written and taken back at {} places",
                    probe.places.len()
                ),
                Work::Probe,
                probe.bytes(),
            ));
        }
        steps.extend([
            step(
                "blank the first MiB, so that nothing boots from here on".into(),
                Work::Blank,
                head,
            ),
            step(
                format!("write {} with its changes", self.image.name),
                Work::Copy,
                size - head + behind,
            ),
        ]);
        if let Some(sprout) = &self.sprout {
            let len = sprout.seed.extent.len;
            if sprout.within {
                steps.push(step(
                    "compare every checksum of the image's root, which is the seed".into(),
                    Work::Compare,
                    len,
                ));
            } else {
                steps.push(step(
                    format!("make the seed from the image's root ({})", sprout.source),
                    Work::Seed,
                    len,
                ));
                steps.push(step(
                    "compare the seed with the image's root, file by file".into(),
                    Work::Compare,
                    len,
                ));
            }
            steps.push(step(
                "grow the sprout from the seed".into(),
                Work::Sprout,
                Bytes::mib(16),
            ));
        }
        for (partition, filesystem) in self.filesystems.iter().enumerate() {
            steps.push(step(
                format!(
                    "make the {} filesystem ({}{})",
                    filesystem.purpose,
                    filesystem.kind,
                    filesystem.encryption.as_ref().map_or("", |_| ", encrypted")
                ),
                Work::Format { partition },
                filesystem.effort(),
            ));
        }
        steps.push(step(
            "read everything back from the medium".into(),
            Work::ReadBack,
            size,
        ));
        if let Some(record) = &self.record {
            let title = "write the record of all this, and read it back, twice";
            steps.push(step(title.into(), Work::Record, record.region.len));
        }
        steps.push(step(
            "write and read back the first MiB: the stick is complete".into(),
            Work::FirstMib,
            head + head,
        ));
        steps
    }

    /// How many bytes of the image differ on the stick.
    pub fn changed(&self) -> Bytes {
        self.patches.iter().map(|patch| patch.extent().len).sum()
    }

    /// What the patches are for, each kind once, in the order of the medium.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for patch in &self.patches {
            let reason = patch.why.kind().to_owned();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}
