// SPDX-License-Identifier: MIT OR Apache-2.0
//! What udev knows to be on a disk: an answer for those who may not read the disk themselves.
//!
//! udev keeps a text file for each block device, `/run/udev/data/bMAJOR:MINOR`, in which lines `E:KEY=VALUE` are the
//! device's properties (systemd, src/libsystemd/sd-device/device-private.c); `ID_FS_TYPE`, `ID_FS_LABEL` and
//! `ID_FS_UUID` are libblkid's words (systemd, src/udev/udev-builtin-blkid.c). It was true when the disk last
//! changed, which is good enough to talk about it; whoever writes looks for himself.

use std::fs;

use super::probe::{Content, Contents, Region};
use super::{DevNumber, Disk, System};

impl Contents {
    /// Those of the whole disk and its partitions, as udev has them; `why` says why the disk itself cannot be asked.
    pub fn known_to_udev(disk: &Disk, system: &System, why: &str) -> Contents {
        let parts = disk.partitions.iter().map(|part| part.dev);
        let numbers = std::iter::once(disk.dev).chain(parts);
        let look = |(region, number): (Region, DevNumber)| content(region, number, system, why);
        Contents {
            all: disk.regions().into_iter().zip(numbers).map(look).collect(),
        }
    }
}

fn content(region: Region, number: DevNumber, system: &System, why: &str) -> Content {
    let known = fs::read_to_string(system.run.join(format!("udev/data/b{number}")));
    let property = |key: &str| {
        let lines = known.as_deref().unwrap_or_default().lines();
        lines
            .filter_map(|line| line.strip_prefix("E:")?.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    };
    Content {
        kind: property("ID_FS_TYPE"),
        label: property("ID_FS_LABEL"),
        uuid: property("ID_FS_UUID"),
        used: None,
        unreadable: known.is_err().then(|| why.to_owned()),
        name: region.name,
        extent: region.extent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fixture::Machine;

    #[test]
    fn what_udev_knows_is_told_and_what_it_does_not_know_is_not_called_empty() {
        let mut machine = Machine::new();
        machine.usb("sdb", "removable", "1", 2);
        let disk = machine.disk("sdb");
        let number = disk.partitions[0].dev;
        machine.write(
            &format!("run/udev/data/b{number}"),
            "S:disk/by-label/STICK\nE:ID_FS_TYPE=vfat\nE:ID_FS_LABEL=STICK\nE:ID_FS_LABEL_ENC=ST=CK\nG:systemd\n",
        );
        machine.write(&format!("run/udev/data/b{}", disk.dev), "I:123\n");
        let known = Contents::known_to_udev(&disk, machine.system(), "only root can");
        let seen: Vec<_> = known
            .all
            .iter()
            .map(|c| (c.name.as_str(), c.kind.as_deref(), c.unreadable.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("sdb", None, None),
                ("sdb1", Some("vfat"), None),
                ("sdb2", None, Some("only root can"))
            ]
        );
        assert_eq!(known.all[1].label.as_deref(), Some("STICK"));
        assert!(known.reasons().is_empty());
    }
}
