// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which disk was meant: pinned when the plan is made, compared before the first write.
//!
//! A name such as `sdb` is given to the next disk as soon as its owner is gone. Number, size, model, serial number
//! and the kernel's sequence number of disks together are not.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{DevNumber, Disk, DiskError, System};
use crate::units::Bytes;

/// How long a disk may take to go after its first error.
const PATIENCE: Duration = Duration::from_secs(1);

/// What tells a disk, or a file that stands for one, from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The disk's number, or that of the file system a file is on.
    pub dev: DevNumber,
    /// The file's inode; `None` for a disk.
    pub inode: Option<u64>,
    /// Size.
    pub size: Bytes,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// The kernel's sequence number of disks.
    pub diskseq: Option<u64>,
}

/// A target that is not the one that was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error(
    "the target is not the one the plan was made for: its {what} was {was} and is {is}; list the disks again"
)]
pub struct Changed {
    /// "size", "serial number", …
    pub what: &'static str,
    /// When the plan was made.
    pub was: String,
    /// Now.
    pub is: String,
}

impl Identity {
    /// A disk's identity.
    pub fn of(disk: &Disk) -> Identity {
        Identity {
            dev: disk.dev,
            inode: None,
            size: disk.size,
            model: disk.model.clone(),
            serial: disk.serial.clone(),
            diskseq: disk.diskseq,
        }
    }

    /// A regular file's identity.
    pub fn of_file(meta: &Metadata) -> Identity {
        Identity {
            dev: DevNumber::from_raw(meta.dev()),
            inode: Some(meta.ino()),
            size: Bytes(meta.size()),
            model: None,
            serial: None,
            diskseq: None,
        }
    }

    /// The identity of whatever disk has the same number now.
    pub fn now(&self, system: &System) -> Result<Identity, DiskError> {
        Ok(Identity::of(&Disk::numbered(self.dev, system)?))
    }

    /// Whether the disk is not there any more, or is another one. One that is pulled out is gone a moment after the
    /// first error that this gives, so that is waited for.
    pub fn is_gone(&self, system: &System) -> bool {
        let start = Instant::now();
        loop {
            match self.now(system) {
                Err(DiskError::Gone { .. }) => return true,
                Ok(now) if self.compare(&now).is_err() => return true,
                Ok(_) if start.elapsed() < PATIENCE => sleep(PATIENCE / 20),
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Whether `now` is the same disk.
    pub fn compare(&self, now: &Identity) -> Result<(), Changed> {
        let facts = [
            ("device number", said(Some(self.dev)), said(Some(now.dev))),
            ("inode", said(self.inode), said(now.inode)),
            ("size", said(Some(self.size)), said(Some(now.size))),
            ("model", said(self.model.as_ref()), said(now.model.as_ref())),
            (
                "serial number",
                said(self.serial.as_ref()),
                said(now.serial.as_ref()),
            ),
            (
                "disk sequence number",
                said(self.diskseq),
                said(now.diskseq),
            ),
        ];
        match facts.into_iter().find(|(_, was, is)| was != is) {
            Some((what, was, is)) => Err(Changed { what, was, is }),
            None => Ok(()),
        }
    }
}

fn said(fact: Option<impl fmt::Display>) -> String {
    fact.map_or_else(|| "unknown".to_owned(), |fact| fact.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fixture::Machine;

    #[test]
    fn a_disk_that_was_pulled_out_is_gone() {
        let mut machine = Machine::new();
        machine.block(
            "pci0000:00/usb1/1-1/host6/target6:0:0/6:0:0:0/block/sdb",
            1 << 21,
            &[],
        );
        let identity = Identity::of(&machine.disk("sdb"));
        assert!(!identity.is_gone(machine.system()));
        let other = Identity {
            diskseq: Some(7),
            ..identity.clone()
        };
        assert!(other.is_gone(machine.system()));
        let empty = Machine::new();
        assert!(identity.is_gone(empty.system()));
    }

    type Change = fn(&mut Identity);

    #[test]
    fn every_fact_counts() {
        let stick = Identity {
            dev: DevNumber {
                major: 8,
                minor: 16,
            },
            inode: None,
            size: Bytes(1 << 34),
            model: Some("Blade".into()),
            serial: Some("4C53".into()),
            diskseq: Some(9),
        };
        assert_eq!(stick.compare(&stick.clone()), Ok(()));
        let others: [(&str, Change); 6] = [
            ("device number", |other| other.dev.minor = 32),
            ("inode", |other| other.inode = Some(1)),
            ("size", |other| other.size = Bytes(1 << 33)),
            ("model", |other| other.model = None),
            ("serial number", |other| other.serial = Some("4C54".into())),
            ("disk sequence number", |other| other.diskseq = Some(10)),
        ];
        for (what, change) in others {
            let mut other = stick.clone();
            change(&mut other);
            assert_eq!(stick.compare(&other).unwrap_err().what, what);
        }
    }
}
