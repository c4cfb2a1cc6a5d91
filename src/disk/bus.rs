// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a disk hangs on, read from its place in the device tree.
//!
//! A disk's directory in `/sys/devices` lies below those of everything it is connected through, and each of those
//! directories names its kernel subsystem by a link. The nearest one that is a transport decides: an NVMe drive in a
//! USB enclosure is a USB disk. `scsi` is no transport: SATA, USB, iSCSI and Fibre Channel all speak it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::sysfs;

/// What a disk is connected by, or made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bus {
    /// USB.
    Usb,
    /// USB, soldered or screwed in: the port says "fixed", and the medium does not come out.
    UsbFixed,
    /// An SD card in a reader of its own.
    Sd,
    /// Embedded MMC: what phones, tablets and cheap laptops have for a disk.
    Emmc,
    /// A Memory Stick.
    MemoryStick,
    /// PCI behind a port that leads out of the machine: Thunderbolt, USB4, `ExpressCard`.
    Thunderbolt,
    /// IEEE 1394.
    Firewire,
    /// SATA or PATA.
    Ata,
    /// NVMe.
    Nvme,
    /// SCSI of its own: SAS, parallel.
    Scsi,
    /// A disk over the network: iSCSI, Fibre Channel.
    Network,
    /// A virtual machine's disk: virtio, Xen, Hyper-V.
    Virtual,
    /// A floppy disk.
    Floppy,
    /// Raw flash memory.
    Mtd,
    /// A file as a disk.
    Loop,
    /// A network block device.
    Nbd,
    /// Device mapper: LUKS, LVM, multipath.
    DeviceMapper,
    /// md RAID.
    Md,
    /// bcache.
    Bcache,
    /// Memory: ram, zram, pmem.
    Memory,
    /// None of these.
    Other,
}

impl Bus {
    /// Whether disks on it are made to be plugged in and pulled out by a user.
    pub fn is_pluggable(self) -> bool {
        matches!(
            self,
            Bus::Usb | Bus::Sd | Bus::MemoryStick | Bus::Thunderbolt | Bus::Firewire
        )
    }

    /// Whether it is no disk but something made of disks or of memory.
    pub fn is_made_of_others(self) -> bool {
        matches!(
            self,
            Bus::DeviceMapper | Bus::Md | Bus::Bcache | Bus::Memory
        )
    }

    /// The bus of the block device called `name`, whose directory in `/sys/devices` is `dir`.
    pub(super) fn of(name: &str, dir: &Path, removable: Option<bool>) -> Bus {
        if dir.components().any(|part| part.as_os_str() == "virtual") {
            return Bus::of_virtual(name);
        }
        let mut seen = None;
        for ancestor in ancestors(dir) {
            // The kernel's verdict on PCI devices behind an external port (pci_set_removable, Linux 5.14).
            let subsystem = sysfs::subsystem(ancestor);
            if subsystem.as_deref() == Some("pci")
                && sysfs::text(&ancestor.join("removable")).as_deref() == Some("removable")
            {
                // A USB stick at a dock is a USB stick; only a disk that would count as built in becomes external.
                return match seen {
                    Some(bus @ (Bus::Usb | Bus::UsbFixed | Bus::Sd | Bus::MemoryStick)) => bus,
                    _ => Bus::Thunderbolt,
                };
            }
            if matches!(seen, None | Some(Bus::Scsi)) {
                let nearer = Bus::of_ancestor(ancestor, subsystem.as_deref(), removable);
                seen = nearer.or(seen);
            }
        }
        seen.unwrap_or(Bus::Other)
    }

    fn of_virtual(name: &str) -> Bus {
        let known = [
            ("loop", Bus::Loop),
            ("nbd", Bus::Nbd),
            ("dm-", Bus::DeviceMapper),
            ("md", Bus::Md),
            ("mtdblock", Bus::Mtd),
            ("bcache", Bus::Bcache),
            ("zram", Bus::Memory),
            ("ram", Bus::Memory),
            ("nvme", Bus::Nvme),
        ];
        let found = known.iter().find(|(start, _)| name.starts_with(start));
        found.map_or(Bus::Other, |(_, bus)| *bus)
    }

    fn of_ancestor(dir: &Path, subsystem: Option<&str>, removable: Option<bool>) -> Option<Bus> {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let numbered = |start: &str| {
            name.strip_prefix(start)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let bus = match subsystem {
            Some("usb") => {
                // The device, not its interface, says whether its port is one a user can reach.
                if !dir.join("idVendor").exists() {
                    return None;
                }
                let fixed = sysfs::text(&dir.join("removable")).as_deref() == Some("fixed");
                if fixed && removable != Some(true) {
                    Bus::UsbFixed
                } else {
                    Bus::Usb
                }
            }
            Some("mmc") => match sysfs::text(&dir.join("type")).as_deref() {
                Some("SD" | "SDcombo") => Bus::Sd,
                Some(_) => Bus::Emmc,
                // The host controller has no type; its card, one level below, had.
                None => return None,
            },
            Some("memstick") => Bus::MemoryStick,
            Some("firewire") => Bus::Firewire,
            Some("nvme") => Bus::Nvme,
            Some("virtio" | "xen" | "vmbus") => Bus::Virtual,
            Some("fc_host" | "fc_remote_ports" | "iscsi_session" | "rbd") => Bus::Network,
            Some("mtd" | "ubi") => Bus::Mtd,
            Some("platform") if name.starts_with("floppy") => Bus::Floppy,
            // Nodes of libata and of the iSCSI transport are no members of a bus.
            _ if numbered("ata") => Bus::Ata,
            _ if numbered("session") || name.starts_with("rport-") => Bus::Network,
            Some("scsi") => Bus::Scsi,
            _ => return None,
        };
        Some(bus)
    }
}

/// The directories from `dir` up to, not including, `/sys/devices`.
pub(super) fn ancestors(dir: &Path) -> impl Iterator<Item = &Path> {
    dir.ancestors()
        .take(64)
        .take_while(|dir| dir.file_name().is_some_and(|name| name != "devices"))
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bus::Usb => "USB",
            Bus::UsbFixed => "built-in USB",
            Bus::Sd => "SD card",
            Bus::Emmc => "eMMC",
            Bus::MemoryStick => "Memory Stick",
            Bus::Thunderbolt => "Thunderbolt",
            Bus::Firewire => "FireWire",
            Bus::Ata => "ATA",
            Bus::Nvme => "NVMe",
            Bus::Scsi => "SCSI",
            Bus::Network => "network disk",
            Bus::Virtual => "virtual disk",
            Bus::Floppy => "floppy",
            Bus::Mtd => "flash memory",
            Bus::Loop => "loop device",
            Bus::Nbd => "network block device",
            Bus::DeviceMapper => "device mapper",
            Bus::Md => "md RAID",
            Bus::Bcache => "bcache",
            Bus::Memory => "memory",
            Bus::Other => "unknown bus",
        })
    }
}
