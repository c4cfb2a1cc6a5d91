// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a disk may be written over, and if not, why.
//!
//! * [`Standing::Stick`]: on a bus made for plugging, and unused.
//! * [`Standing::NeedsAllow`]: unused, but not evidently a stick; the user must name it by its [`Disk::id`].
//! * [`Standing::Never`]: in use, or no use as a live medium. Only mounts at places for removable media can be
//!   lifted, by unmounting them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::stack::Stack;
use super::{Bus, Disk, DiskError, System, Use, shown, shown_path};
use crate::units::Bytes;

/// What must not be written over besides the system itself, resolved to the devices it is on.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    devices: BTreeSet<String>,
    /// The image is this very device.
    itself: Option<String>,
}

impl Protected {
    /// Protects the image at `image`, which is a file or a device.
    pub fn image(image: &Path, system: &System) -> Result<Protected, DiskError> {
        let stack = Stack::read(system)?;
        let path = image.canonicalize().unwrap_or_else(|_| image.to_path_buf());
        Ok(Protected {
            devices: stack.below_path(&path),
            itself: stack.device_at(&path).map(str::to_owned),
        })
    }
}

/// Whether a disk may be written over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing", content = "reasons")]
pub enum Standing {
    /// A stick: a confirmation is enough.
    Stick,
    /// Not evidently a stick: it must be named with `--allow-disk`.
    NeedsAllow(Reason),
    /// Not at all, for all these reasons.
    Never(Vec<Reason>),
}

/// Why a disk may not be written over, or not without being named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
#[non_exhaustive]
pub enum Reason {
    /// A part of the system is mounted from it.
    Holds {
        /// The mount point.
        #[serde(serialize_with = "shown_path")]
        point: PathBuf,
    },
    /// Mounted at a place for removable media: unmounting lifts this.
    Mounted {
        /// The mount point.
        #[serde(serialize_with = "shown_path")]
        point: PathBuf,
    },
    /// It, or a file on it, is swap.
    Swap {
        /// The device or file.
        #[serde(serialize_with = "shown_path")]
        path: PathBuf,
    },
    /// Something else is made of it.
    PartOf {
        /// "md127", "dm-0 (luks-…)", "btrfs 0b1c…".
        whole: String,
    },
    /// It, or a file on it, is behind a loop device.
    Behind {
        /// The loop device.
        name: String,
    },
    /// The image is on it.
    HoldsImage,
    /// The image is this device.
    IsImage,
    /// The kernel refuses to write to it.
    ReadOnly,
    /// An empty drive or card reader.
    NoMedium,
    /// A disk of no size.
    NoSize,
    /// Its sectors are not the 512 bytes that an isohybrid image's MBR and GPT count in.
    SectorSize {
        /// What they are.
        bytes: Bytes,
    },
    /// A drive for CDs or DVDs.
    Optical,
    /// Made of other devices or of memory.
    NotADisk {
        /// What it is.
        bus: Bus,
    },
    /// What is on it belongs to something that spans devices, though that is not active.
    Member {
        /// The disk or partition.
        device: String,
        /// blkid's TYPE: "LVM2_member".
        of: String,
    },
    /// Not on a bus made for plugging.
    NotPluggable {
        /// What it is on.
        bus: Bus,
    },
}

impl Reason {
    /// Whether unmounting takes the reason away.
    pub fn unmount_lifts(&self) -> bool {
        matches!(self, Reason::Mounted { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Holds { point } => write!(f, "holds {}", shown(point)),
            Reason::Mounted { point } => write!(f, "mounted at {}", shown(point)),
            Reason::Swap { path } => write!(f, "swap: {}", shown(path)),
            Reason::PartOf { whole } => write!(f, "part of {whole}"),
            Reason::Behind { name } => write!(f, "in use as {name}"),
            Reason::HoldsImage => f.write_str("holds the image"),
            Reason::IsImage => f.write_str("is the image"),
            Reason::ReadOnly => f.write_str("read-only"),
            Reason::NoMedium => f.write_str("no medium"),
            Reason::NoSize => f.write_str("0 bytes"),
            Reason::SectorSize { bytes } => write!(
                f,
                "{bytes}-byte sectors: an isohybrid image cannot boot from it"
            ),
            Reason::Optical => f.write_str("is a CD drive"),
            Reason::NotADisk { bus } => write!(f, "is no disk but {bus}"),
            Reason::Member { device, of } => write!(f, "{device} is {of}"),
            Reason::NotPluggable { bus } => {
                write!(f, "does not look like a stick: {bus}")
            }
        }
    }
}

/// Where file managers and people mount what they plugged in. A mount anywhere else is part of the system.
fn is_for_media(point: &Path) -> bool {
    let below = |dir: &str| point.starts_with(dir) && point != Path::new(dir);
    point == Path::new("/mnt")
        || ["/mnt", "/media", "/run/media", "/tmp", "/var/tmp"]
            .into_iter()
            .any(below)
}

impl Disk {
    /// Whether it may be written over.
    pub fn standing(&self, protected: &Protected) -> Standing {
        self.standing_with(protected, Vec::new())
    }

    /// The same, with `more` reasons against it, as [`super::probe::Contents::reasons`] gives them.
    pub fn standing_with(&self, protected: &Protected, more: Vec<Reason>) -> Standing {
        let mut reasons = self.reasons(protected);
        reasons.extend(more);
        self.judge(reasons)
    }

    /// What the standing will be once [`Disk::mount_points`] are unmounted, if nothing else changes.
    pub fn standing_unmounted(&self, protected: &Protected, more: Vec<Reason>) -> Standing {
        let mut reasons = self.reasons(protected);
        reasons.extend(more);
        reasons.retain(|reason| !reason.unmount_lifts());
        self.judge(reasons)
    }

    fn judge(&self, mut reasons: Vec<Reason>) -> Standing {
        let foreign = Reason::NotPluggable { bus: self.bus };
        match (reasons.is_empty(), self.bus.is_pluggable()) {
            (true, true) => Standing::Stick,
            (true, false) => Standing::NeedsAllow(foreign),
            (false, true) => Standing::Never(reasons),
            (false, false) => {
                // Said as well, so that nobody unmounts a system's data disk in order to go on.
                if !self.optical && !self.bus.is_made_of_others() {
                    reasons.push(foreign);
                }
                Standing::Never(reasons)
            }
        }
    }

    /// Everything against it but its bus; what it is used for first, the worst in front.
    fn reasons(&self, protected: &Protected) -> Vec<Reason> {
        let mut reasons: Vec<_> = self.uses.iter().map(against).collect();
        reasons.sort_by_key(|reason| match reason {
            Reason::Holds { point } => (0, point.components().count()),
            Reason::Swap { .. } => (1, 0),
            Reason::PartOf { .. } => (2, 0),
            Reason::Behind { .. } => (3, 0),
            _ => (4, 0),
        });
        reasons.dedup();
        if protected.itself.as_ref() == Some(&self.name) {
            reasons.push(Reason::IsImage);
        } else if self.is_among(&protected.devices) {
            reasons.push(Reason::HoldsImage);
        }
        if self.optical {
            reasons.push(Reason::Optical);
        }
        if self.bus.is_made_of_others() {
            reasons.push(Reason::NotADisk { bus: self.bus });
        }
        if self.size == Bytes::ZERO {
            // Its other facts are those of an absent medium.
            reasons.push(match self.removable {
                Some(true) => Reason::NoMedium,
                _ => Reason::NoSize,
            });
            return reasons;
        }
        if self.read_only {
            reasons.push(Reason::ReadOnly);
        }
        if self.logical_sector != Bytes(512) {
            reasons.push(Reason::SectorSize {
                bytes: self.logical_sector,
            });
        }
        reasons
    }

    fn is_among(&self, devices: &BTreeSet<String>) -> bool {
        let parts = self.partitions.iter().map(|part| &part.name);
        parts.chain([&self.name]).any(|name| devices.contains(name))
    }
}

fn against(one: &Use) -> Reason {
    match one {
        Use::Mount { point, .. } if is_for_media(point) => Reason::Mounted {
            point: point.clone(),
        },
        Use::Mount { point, .. } => Reason::Holds {
            point: point.clone(),
        },
        Use::Swap { path } => Reason::Swap { path: path.clone() },
        Use::Loop { name, .. } => Reason::Behind { name: name.clone() },
        Use::Holder { holder, .. } => Reason::PartOf {
            whole: holder.clone(),
        },
        Use::Member { of, .. } => Reason::PartOf { whole: of.clone() },
    }
}
