// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks: which there are, what each is used for, and whether one may be written over.
//!
//! The rule this module serves is *never the wrong disk*:
//!
//! * A stick is a whole disk on a bus that is made for plugging. The kernel's `removable` flag is a fact about the
//!   medium, not about the plug: USB SSDs and some sticks say 0.
//! * What a disk is used for is followed through every layer (partitions, device mapper, md, bcache, loop devices,
//!   swap files, overlays, btrfs over several devices) down to the disks, so `/` behind LUKS and LVM is seen.
//! * What cannot be read is an error, never "not used".
//! * Identity is pinned when a plan is made and compared before the first write.
//!
//! Everything read from the system goes through a [`System`], so that a directory tree stands in for a machine in
//! tests. Mounts in other mount namespaces are not seen here; the exclusive open of [`direct::Medium`] meets those.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod buffer;
pub mod bus;
pub mod direct;
mod fault;
#[cfg(test)]
mod fixture;
pub mod gone;
pub mod identity;
pub mod lock;
#[cfg(test)]
mod machines;
pub mod mounts;
pub mod probe;
pub mod proof;
pub mod rescan;
mod stack;
pub mod standing;
mod sysfs;

pub mod target;
mod transfer;
mod udev;
mod used;

pub use bus::Bus;
pub use identity::{Changed, Identity};
pub use standing::{Protected, Reason, Standing};
pub use target::{Target, TargetError};

use crate::units::{Bytes, Extent};

/// Where the kernel tells about itself.
#[derive(Clone, Debug)]
pub struct System {
    /// sysfs, `/sys`.
    pub sys: PathBuf,
    /// procfs, `/proc`.
    pub proc: PathBuf,
    /// Device nodes, `/dev`.
    pub dev: PathBuf,
    /// What runs, udev among it, `/run`.
    pub run: PathBuf,
}

impl System {
    /// The machine this program runs on.
    pub fn real() -> System {
        System::at(Path::new("/"))
    }

    /// A machine whose four trees lie in `root`.
    pub fn at(root: &Path) -> System {
        System {
            sys: root.join("sys"),
            proc: root.join("proc"),
            dev: root.join("dev"),
            run: root.join("run"),
        }
    }
}

impl Default for System {
    fn default() -> System {
        System::real()
    }
}

/// What could not be learned about the disks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A file of the kernel's could not be read. Without it nothing is known to be unused.
    #[error("reading {}: {source}; what the disks are used for is not known without it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No whole disk of that name.
    #[error("{name} is not a disk any more; list the disks again")]
    Gone {
        /// Kernel name or number.
        name: String,
    },
}

impl DiskError {
    fn unreadable(path: &Path, source: io::Error) -> DiskError {
        DiskError::Unreadable {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// A device number: what the kernel calls a device by, whatever its nodes are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

impl DevNumber {
    /// From `st_dev` or `st_rdev`.
    pub fn from_raw(raw: u64) -> DevNumber {
        DevNumber {
            major: rustix::fs::major(raw),
            minor: rustix::fs::minor(raw),
        }
    }

    /// From "8:16".
    pub fn parse(text: &str) -> Option<DevNumber> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(DevNumber {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for DevNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Serialize for DevNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DevNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DevNumber, D::Error> {
        let text = String::deserialize(from)?;
        DevNumber::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("'{text}' is no device number")))
    }
}

/// A partition, as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Kernel name: "sdb1".
    pub name: String,
    /// Number in its table.
    pub number: u32,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// Device number.
    pub dev: DevNumber,
}

/// One use of a disk or of something on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Use {
    /// A file system on it is mounted.
    Mount {
        /// What `/proc/self/mountinfo` names as the source.
        source: String,
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
    /// It, or a file on it, is behind a loop device.
    Loop {
        /// The loop device.
        name: String,
        /// The device or file behind it.
        #[serde(serialize_with = "shown_path")]
        file: PathBuf,
    },
    /// Another block device is made of it: device mapper, md, bcache.
    Holder {
        /// The disk or partition.
        device: String,
        /// Kernel name of the device on top, and its own name if it has one: "dm-0 (luks-…)".
        holder: String,
    },
    /// It is one of several devices of a mounted file system.
    Member {
        /// The disk or partition.
        device: String,
        /// The file system: "btrfs 0b1c…".
        of: String,
    },
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Kernel name: "sdb".
    pub name: String,
    /// Device node: "/dev/sdb".
    #[serde(serialize_with = "shown_path")]
    pub path: PathBuf,
    /// Device number.
    pub dev: DevNumber,
    /// Size; zero without a medium.
    pub size: Bytes,
    /// Logical sector: the unit of addressing.
    pub logical_sector: Bytes,
    /// Physical sector: the unit the medium rewrites.
    pub physical_sector: Bytes,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// Whether the medium comes out, if the driver says.
    pub removable: Option<bool>,
    /// Whether it is a drive for CDs, DVDs or Blu-rays.
    pub optical: bool,
    /// Vendor.
    pub vendor: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// What it hangs on.
    pub bus: Bus,
    /// The kernel's sequence number of this appearance of a disk (Linux 5.15): a swapped medium has another one.
    pub diskseq: Option<u64>,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
    /// What it is used for.
    pub uses: Vec<Use>,
    /// The file behind it, if it is a loop device.
    #[serde(serialize_with = "shown_backing")]
    pub backing: Option<PathBuf>,
}

impl Disk {
    /// The disk with this kernel name.
    pub fn named(name: &str, system: &System) -> Result<Disk, DiskError> {
        let stack = stack::Stack::read(system)?;
        sysfs::disk(name, &stack)
    }

    /// The disk with this device number.
    pub fn numbered(dev: DevNumber, system: &System) -> Result<Disk, DiskError> {
        let gone = || DiskError::Gone {
            name: dev.to_string(),
        };
        let name = sysfs::name_of(dev, system).ok_or_else(gone)?;
        Disk::named(&name, system)
    }

    /// What `--allow-disk` must be given: the serial number, or the path where there is none.
    pub fn id(&self) -> String {
        self.serial
            .clone()
            .unwrap_or_else(|| shown(&self.path).to_string())
    }

    /// Vendor and model for people: "Kingston DataTraveler Max".
    pub fn title(&self) -> String {
        match (&self.vendor, &self.model) {
            (Some(vendor), Some(model)) if !model.starts_with(vendor.as_str()) => {
                format!("{vendor} {model}")
            }
            (_, Some(model)) => model.clone(),
            (Some(vendor), None) => vendor.clone(),
            (None, None) => self.bus.to_string(),
        }
    }

    /// Where something on it is mounted, in the order of mounting.
    pub fn mount_points(&self) -> Vec<PathBuf> {
        let point = |one: &Use| match one {
            Use::Mount { point, .. } => Some(point.clone()),
            _ => None,
        };
        self.uses.iter().filter_map(point).collect()
    }
}

/// Every whole disk there is, sticks first. Loop devices with a file behind them are only among them if `loops`.
///
/// RAM disks, empty loop devices, and devices that are made of other devices are not disks.
pub fn list(system: &System, loops: bool) -> Result<Vec<Disk>, DiskError> {
    let stack = stack::Stack::read(system)?;
    let mut disks = Vec::new();
    for name in stack.whole() {
        let disk = match sysfs::disk(name, &stack) {
            // Pulled out while the list was made.
            Err(DiskError::Gone { .. }) => continue,
            other => other?,
        };
        let wanted = match disk.bus {
            Bus::Loop => loops && disk.backing.is_some(),
            Bus::Nbd => disk.size != Bytes::ZERO,
            _ => !disk.bus.is_made_of_others(),
        };
        if wanted {
            disks.push(disk);
        }
    }
    let nobody = Protected::default();
    disks.sort_by_cached_key(|disk| {
        let rank = match disk.standing(&nobody) {
            Standing::Stick => 0,
            Standing::Never(reasons) if reasons.iter().all(Reason::unmount_lifts) => 1,
            Standing::NeedsAllow(_) => 2,
            Standing::Never(_) => 3,
        };
        // "sdz" comes before "sdaa".
        (rank, disk.name.len(), disk.name.clone())
    });
    Ok(disks)
}

/// A path for a terminal: control characters (a volume label can put them into a mount point) are escaped.
pub fn shown(path: &Path) -> impl fmt::Display + '_ {
    Shown(path)
}

struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string_lossy().chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Serde's own form of a path fails on one that is not UTF-8.
fn shown_path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&Shown(path))
}

// The signature is serde's.
#[allow(clippy::ref_option)]
fn shown_backing<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => to.collect_str(&Shown(path)),
        None => to.serialize_none(),
    }
}
