// SPDX-License-Identifier: MIT OR Apache-2.0
//! One disk's facts, from its directory in sysfs.
//!
//! Attributes as in the kernel's Documentation/ABI: `sysfs-block`, `stable/sysfs-bus-mmc`, `sysfs-class-nvme`,
//! `testing/sysfs-bus-usb`. `size`, `start` count 512-byte sectors whatever the disk's own are. Texts come from the
//! device, which may be anything: only printable characters are kept.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::bus::{self, Bus};
use super::stack::{Device, Stack};
use super::{DevNumber, Disk, DiskError, Partition, System};
use crate::units::{Bytes, Extent, Sector};

/// sysfs hands out attributes of a page at most.
const PAGE: u64 = 4096;

/// The bytes of an attribute, if there is one.
fn bytes(path: &Path) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)
        .ok()?
        .take(PAGE)
        .read_to_end(&mut data)
        .ok()?;
    Some(data)
}

/// What is printable in `raw`, without surrounding blanks; `None` if that is nothing.
pub(super) fn printable(raw: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(raw)
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The text of an attribute, if it exists and says something.
pub(super) fn text(path: &Path) -> Option<String> {
    printable(&bytes(path)?)
}

/// The number in an attribute.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// The subsystem of a device directory: "usb", "scsi", "mmc".
pub(super) fn subsystem(dir: &Path) -> Option<String> {
    let target = fs::read_link(dir.join("subsystem")).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// The kernel name of a block device number.
pub(super) fn name_of(dev: DevNumber, system: &System) -> Option<String> {
    let link = system.sys.join("dev/block").join(dev.to_string());
    let dir = fs::canonicalize(link).ok()?;
    Some(dir.file_name()?.to_str()?.to_owned())
}

/// The node of a kernel name, in which "!" stands for the "/" of "cciss/c0d0".
pub(super) fn node(name: &str, system: &System) -> PathBuf {
    system.dev.join(name.replace('!', "/"))
}

/// The facts of the whole disk `name`.
pub(super) fn disk(name: &str, stack: &Stack) -> Result<Disk, DiskError> {
    let gone = || DiskError::Gone {
        name: name.to_owned(),
    };
    let device = stack.get(name).ok_or_else(gone)?;
    if device.parent.is_some() {
        return Err(gone());
    }
    let dir = &device.dir;
    let sectors = number(&dir.join("size")).ok_or_else(gone)?;
    let flag = |file: &str| number(&dir.join(file)).map(|value| value != 0);
    let queue = |file: &str| number(&dir.join("queue").join(file)).filter(|size| *size > 0);
    let removable = flag("removable");
    let bus = Bus::of(name, dir, removable);
    let inner = dir.join("device");
    let logical = queue("logical_block_size").unwrap_or(512);
    let usb = bus::ancestors(dir).find(|dir| dir.join("idVendor").exists());
    let from_usb = |file: &str| usb.and_then(|dir| text(&dir.join(file)));
    Ok(Disk {
        name: name.to_owned(),
        path: node(name, stack.system()),
        dev: device.dev,
        size: Sector(sectors).bytes(),
        logical_sector: Bytes(logical),
        physical_sector: Bytes(queue("physical_block_size").unwrap_or(logical)),
        // A flag that cannot be read is no permission.
        read_only: flag("ro").unwrap_or(true),
        removable,
        // 5 is the peripheral device type of CD and DVD drives (SPC-4, table "peripheral device type").
        optical: name.starts_with("sr") || text(&inner.join("type")).as_deref() == Some("5"),
        vendor: text(&inner.join("vendor"))
            // A PCI number, as virtio has it, is no name.
            .filter(|vendor| !vendor.starts_with("0x"))
            .or_else(|| from_usb("manufacturer")),
        model: text(&inner.join("model"))
            .or_else(|| text(&inner.join("name")).filter(|_| matches!(bus, Bus::Sd | Bus::Emmc)))
            .or_else(|| from_usb("product")),
        serial: from_usb("serial").or_else(|| serial(dir)),
        bus,
        diskseq: number(&dir.join("diskseq")),
        partitions: partitions(device, stack),
        uses: stack.uses_of(device),
        backing: device.backing.clone(),
    })
}

/// A serial number that is not USB's: NVMe, MMC; virtio; SCSI's VPD page; the world-wide name.
fn serial(dir: &Path) -> Option<String> {
    let inner = dir.join("device");
    text(&inner.join("serial"))
        .or_else(|| text(&dir.join("serial")))
        .or_else(|| unit_serial(&bytes(&inner.join("vpd_pg80"))?))
        .or_else(|| text(&inner.join("wwid")))
        .or_else(|| text(&dir.join("wwid")))
}

/// The serial number in SCSI's Unit Serial Number page: page code 0x80 in byte 1, length in bytes 2 and 3
/// (SPC-4, 7.8.15).
fn unit_serial(page: &[u8]) -> Option<String> {
    let header = page.get(..4).filter(|header| header[1] == 0x80)?;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    printable(page.get(4..)?.get(..len)?)
}

/// The partitions of a disk, by number.
fn partitions(disk: &Device, stack: &Stack) -> Vec<Partition> {
    let mut found: Vec<_> = stack
        .children(&disk.name)
        .filter_map(|child| {
            let number_in = |file: &str| number(&child.dir.join(file));
            Some(Partition {
                name: child.name.clone(),
                number: u32::try_from(number_in("partition")?).ok()?,
                extent: Extent {
                    at: Sector(number_in("start")?).bytes(),
                    len: Sector(number_in("size")?).bytes(),
                },
                dev: child.dev,
            })
        })
        .collect();
    found.sort_by_key(|partition| partition.number);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scsi_serial_page_is_read_by_its_length() {
        let page = [0, 0x80, 0, 6, b' ', b'A', b'B', b'1', b'2', 0, b'X'];
        assert_eq!(unit_serial(&page).as_deref(), Some("AB12"));
        assert_eq!(unit_serial(&page[..8]), None);
        assert_eq!(unit_serial(&[0, 0x83, 0, 1, b'A']), None);
    }

    #[test]
    fn a_device_cannot_paint_the_terminal() {
        let raw = b"  \x1b[31mCruzer\x07\tBlade\0\xff ";
        assert_eq!(printable(raw).as_deref(), Some("[31mCruzer Blade"));
        assert_eq!(printable(b"\0\0  "), None);
    }
}
