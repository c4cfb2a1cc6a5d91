// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on a disk now, for the confirmation: file systems, their labels and how full they are.
//!
//! With the feature `blkid`, util-linux's libblkid names them; without it, [`crate::superblock`]. Of libblkid only
//! superblock values of whole regions are asked for. A region that cannot be read is reported as such: a dying stick
//! must still be one that can be talked about.

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use super::direct::MediumError;
use super::{Disk, Reason};
use crate::read::{ReadAt, Source, Window};
use crate::units::{Bytes, Extent};

/// A part of a disk to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// For people: "sdb1".
    pub name: String,
    /// Where it lies on the disk.
    pub extent: Extent,
}

/// What a region holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// The region's name.
    pub name: String,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// What it is, in blkid's word for it: "vfat", "`crypto_LUKS`"; `None` if nothing is known to be there.
    pub kind: Option<String>,
    /// Label.
    pub label: Option<String>,
    /// UUID.
    pub uuid: Option<String>,
    /// Used bytes, where the superblock says.
    pub used: Option<Bytes>,
    /// Why it could not be looked at.
    pub unreadable: Option<String>,
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Contents {
    /// Region by region, as they were asked for.
    pub all: Vec<Content>,
}

/// What a superblock says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    kind: Option<String>,
    label: Option<String>,
    uuid: Option<String>,
}

impl Contents {
    /// Those of `regions` on the disk (or file) at `path`, which holds `size` bytes.
    pub fn read(path: &Path, size: Bytes, regions: &[Region]) -> Result<Contents, MediumError> {
        let file = File::open(path).map_err(|e| MediumError::opening(path, e))?;
        let source = Source::new(file, size);
        let look = |region: &Region| content(&source, region);
        let all = regions.iter().map(look).collect();
        Ok(Contents { all })
    }

    /// Reasons against writing over it: members of what spans devices, active or not.
    pub fn reasons(&self) -> Vec<Reason> {
        let member = |content: &Content| {
            let of = content.kind.clone().filter(|kind| spans_devices(kind))?;
            Some(Reason::Member {
                device: content.name.clone(),
                of,
            })
        };
        self.all.iter().filter_map(member).collect()
    }
}

/// Types that libblkid gives to members of arrays, pools and volume groups (util-linux, libblkid/src/superblocks).
/// A btrfs is none: one with a seed has several devices on one stick.
fn spans_devices(kind: &str) -> bool {
    // "LVM2_member", "linux_raid_member", "isw_raid_member", "zfs_member", "LVM1_member", "VMFS_volume_member".
    kind.ends_with("_member")
        || matches!(
            kind,
            "bcache" | "drbd" | "ceph_bluestore" | "DM_snapshot_cow"
        )
}

impl Disk {
    /// The whole disk and each of its partitions, as far as the kernel knows them.
    pub fn regions(&self) -> Vec<Region> {
        let whole = Region {
            name: self.name.clone(),
            extent: Extent {
                at: Bytes::ZERO,
                len: self.size,
            },
        };
        let parts = self.partitions.iter().map(|part| Region {
            name: part.name.clone(),
            extent: part.extent,
        });
        std::iter::once(whole).chain(parts).collect()
    }
}

fn content(source: &Source, region: &Region) -> Content {
    let window = Window::new(source, region.extent);
    let extent = Extent {
        at: region.extent.at.min(source.len()),
        len: window.len(),
    };
    let found = identify(source, extent);
    let unreadable = found.as_ref().err().cloned();
    let found = found.unwrap_or_default();
    let used = found
        .kind
        .as_deref()
        .and_then(|kind| super::used::used(kind, &window));
    Content {
        name: region.name.clone(),
        extent: region.extent,
        kind: found.kind,
        label: found.label,
        uuid: found.uuid,
        used,
        unreadable,
    }
}

/// Asks whom this build asks about a range of an open file.
fn identify(source: &Source, extent: Extent) -> Result<Found, String> {
    #[cfg(feature = "blkid")]
    return library(source, extent);
    #[cfg(not(feature = "blkid"))]
    return own(&Window::new(source, extent));
}

/// Asks libblkid's superblock chain about a range of an open file.
#[cfg(feature = "blkid")]
fn library(source: &Source, extent: Extent) -> Result<Found, String> {
    use blkid::prober::{ProbeState, Prober};
    use std::os::fd::AsRawFd;

    if extent.len == Bytes::ZERO {
        // To libblkid, a size of zero means everything that follows.
        return Ok(Found::default());
    }
    let signed = |n: Bytes| i64::try_from(n.0).map_err(|_| "too large for libblkid".to_owned());
    let (at, len) = (signed(extent.at)?, signed(extent.len)?);
    let run = || {
        let mut prober = Prober::new()?;
        // The file outlives the prober: `source` is borrowed until this function returns.
        prober.set_device(source.file().as_raw_fd(), at, Some(len))?;
        let state = match prober.do_safe_probe()? {
            // Remains of a second file system: name the first one found.
            ProbeState::Ambivalent => {
                prober.reset_probe();
                prober.do_probe()?
            }
            other => other,
        };
        let value = |name: &str| {
            // A value that is there but is no UTF-8 is none.
            let known = prober.has_value(name).unwrap_or(false);
            let value = known.then(|| prober.lookup_value(name).ok())??;
            super::sysfs::printable(value.as_bytes())
        };
        Ok::<_, blkid::BlkIdError>(if state == ProbeState::Success {
            Found {
                kind: value("TYPE"),
                label: value("LABEL"),
                uuid: value("UUID"),
            }
        } else {
            Found::default()
        })
    };
    run().map_err(|e| e.to_string())
}

/// What the program's own superblock reading answers.
#[cfg(any(test, not(feature = "blkid")))]
fn own(source: &dyn ReadAt) -> Result<Found, String> {
    let found = crate::superblock::identify(source).map_err(|error| error.to_string())?;
    Ok(found.map_or_else(Found::default, |found| Found {
        kind: Some(found.kind.name().to_owned()),
        label: found.label,
        uuid: found.uuid,
    }))
}

#[cfg(test)]
mod tests;
