// SPDX-License-Identifier: MIT OR Apache-2.0
//! What will be done, as data: every byte range of the image that will differ on the stick, every partition, every
//! filesystem and every file in it. [`build`](build::build) makes it from a request and facts; `apply` does what it
//! says and nothing else; its text is the dry run, the review and the confirmation.

pub mod boot;
pub mod build;
pub mod filesystem;
pub mod ids;
pub mod layout;
mod show;
pub mod target;

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::digest::hex;
use crate::disk::Identity;
use crate::disk::direct::Kind;
use crate::event::{Step, Work};
use crate::patch::{After, Patch};
use crate::plan::boot::BootPlan;
use crate::plan::filesystem::Filesystem;
use crate::units::{Bytes, MIB};

/// The target as the plan saw it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTarget {
    /// The path to write to, links resolved.
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
    pub unmount: Vec<PathBuf>,
    /// What is on it now, a line each: this will be lost.
    pub now: Vec<String>,
}

/// The image as the plan saw it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedImage {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// Its volume label.
    pub label: String,
    /// How much of it the media check covers, and the distributor's mark; none where it has no sum or it stays.
    #[serde(skip)]
    pub media_sum: Option<(crate::units::Block, bool)>,
    /// The sum that the media check of the image as published goes by, and for how many blocks. Known where it is
    /// replaced: a new sum must not vouch for an image that the old one would have shown to be damaged.
    #[serde(skip)]
    pub published: Option<(crate::units::Block, crate::image::isomd5::Implanted)>,
    /// Which version of the file was looked at; compared again before the first write.
    #[serde(skip)]
    pub version: crate::image::Version,
}

/// Bytes to be written behind the image, outside the partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Where on the target.
    pub at: Bytes,
    /// What will be there.
    #[serde(serialize_with = "as_hex")]
    pub bytes: Vec<u8>,
    /// For people.
    pub what: String,
}

/// Everything that will be done.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What will be written.
    pub image: PlannedImage,
    /// Where to.
    pub target: PlannedTarget,
    /// The ranges of the image that will differ on the stick, sorted.
    pub patches: Vec<Patch>,
    /// What the partition table keeps behind the image.
    pub behind: Vec<Behind>,
    /// The filesystems behind the image, in order.
    pub filesystems: Vec<Filesystem>,
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
        let mut steps = vec![
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
        ];
        for (partition, filesystem) in self.filesystems.iter().enumerate() {
            steps.push(step(
                format!(
                    "make the {} filesystem ({})",
                    filesystem.purpose, filesystem.kind
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

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Patch", 5)?;
        object.serialize_field("at", &self.at)?;
        object.serialize_field("len", &self.extent().len)?;
        object.serialize_field("before", &hex(&self.before))?;
        let after = match &self.after {
            After::Bytes(after) => hex(after),
            After::MediaCheck => "computed while writing".into(),
        };
        object.serialize_field("after", &after)?;
        object.serialize_field("why", &self.why)?;
        object.end()
    }
}

fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}
