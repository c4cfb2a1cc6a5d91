// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine made of files: the parts of `/sys`, `/proc` and `/dev` that [`super`] reads, from a few words per disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Disk, System, list};

/// A made-up machine.
pub struct Machine {
    dir: tempfile::TempDir,
    system: System,
    mounts: String,
    swaps: String,
    next: u32,
}

impl Machine {
    /// One without disks, on which nothing but pseudo file systems is mounted.
    pub fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let system = System::at(dir.path());
        for path in [
            "sys/class/block",
            "sys/dev/block",
            "sys/fs/btrfs/features",
            "proc/self",
            "dev/mapper",
        ] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let mut machine = Machine {
            dir,
            system,
            mounts: String::new(),
            swaps: "Filename\tType\tSize\tUsed\tPriority\n".to_owned(),
            next: 0,
        };
        machine.mounted("0:21", "/proc", "proc", "proc", "rw");
        machine.mounted("0:6", "/dev", "devtmpfs", "devtmpfs", "rw");
        machine.write("proc/swaps", &machine.swaps.clone());
        machine
    }

    pub fn system(&self) -> &System {
        &self.system
    }

    /// The disk of that name.
    pub fn disk(&self, name: &str) -> Disk {
        Disk::named(name, &self.system).unwrap()
    }

    /// The names of the listed disks.
    pub fn listed(&self, loops: bool) -> Vec<String> {
        let disks = list(&self.system, loops).unwrap();
        disks.into_iter().map(|disk| disk.name).collect()
    }

    /// A file of the machine.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A link of the machine; one that is there stays.
    pub fn link(&self, path: &str, to: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::symlink_metadata(&path).is_err() {
            symlink(to, path).unwrap();
        }
    }

    /// A node of the device tree, in its subsystem, with attributes.
    pub fn node(&self, place: &str, subsystem: &str, attributes: &[(&str, &str)]) {
        let dir = format!("sys/devices/{place}");
        if !subsystem.is_empty() {
            let up = "../".repeat(place.split('/').count() + 1);
            self.link(&format!("{dir}/subsystem"), &format!("{up}bus/{subsystem}"));
        }
        for (name, text) in attributes {
            self.write(&format!("{dir}/{name}"), &format!("{text}\n"));
        }
        fs::create_dir_all(self.dir.path().join(dir)).unwrap();
    }

    /// A block device with its directory in `place`; `size` in 512-byte sectors.
    pub fn block(&mut self, place: &str, size: u64, attributes: &[(&str, &str)]) {
        self.next += 1;
        let (name, number) = (
            place.rsplit('/').next().unwrap(),
            format!("8:{}", self.next),
        );
        self.node(
            place,
            "block",
            &[
                ("dev", number.as_str()),
                ("size", &size.to_string()),
                ("ro", "0"),
                ("removable", "0"),
                ("diskseq", &self.next.to_string()),
                ("queue/logical_block_size", "512"),
                ("queue/physical_block_size", "512"),
            ],
        );
        self.node(place, "", attributes);
        for dir in ["slaves", "holders"] {
            self.node(&format!("{place}/{dir}"), "", &[]);
        }
        self.link(
            &format!("sys/class/block/{name}"),
            &format!("../../devices/{place}"),
        );
        self.link(
            &format!("sys/dev/block/{number}"),
            &format!("../../devices/{place}"),
        );
        self.write(&format!("dev/{name}"), "");
    }

    /// Partitions 1 to `count` of the disk in `place`, one after the other.
    pub fn parts(&mut self, place: &str, count: u64) {
        let disk = place.rsplit('/').next().unwrap().to_owned();
        let infix = if disk.ends_with(|c: char| c.is_ascii_digit()) {
            "p"
        } else {
            ""
        };
        for number in 1..=count {
            let attributes = [
                ("partition", number.to_string()),
                ("start", (number * 2048).to_string()),
            ];
            let attributes = attributes
                .each_ref()
                .map(|(name, text)| (*name, text.as_str()));
            self.block(&format!("{place}/{disk}{infix}{number}"), 2048, &attributes);
        }
    }

    /// A USB disk with `parts` partitions; `fixed` is what its port says, `removable` what its medium does.
    pub fn usb(&mut self, name: &str, fixed: &str, removable: &str, parts: u64) -> String {
        let pci = "pci0000:00/0000:00:14.0";
        let device = format!("{pci}/usb2/2-1-{name}");
        self.node(pci, "pci", &[]);
        let facts = [
            ("idVendor", "0951"),
            ("removable", fixed),
            ("serial", "60A44C3F"),
            ("manufacturer", "Kingston"),
            ("product", "USB disk"),
        ];
        self.node(&device, "usb", &facts);
        self.node(&format!("{device}/2-1:1.0"), "usb", &[]);
        let lun = format!("{device}/2-1:1.0/host6/target6:0:0/6:0:0:0");
        self.node(
            &lun,
            "scsi",
            &[
                ("vendor", "Kingston"),
                ("model", "DataTraveler Max"),
                ("type", "0"),
            ],
        );
        let place = format!("{lun}/block/{name}");
        self.block(&place, 60_063_744, &[("removable", removable)]);
        self.link(&format!("sys/devices/{place}/device"), "../..");
        self.parts(&place, parts);
        place
    }

    /// A SATA disk.
    pub fn sata(&mut self, name: &str, parts: u64) -> String {
        let lun = format!("pci0000:00/0000:00:17.0/ata1-{name}/host0/target0:0:0/0:0:0:0");
        let lun = lun.replace(&format!("ata1-{name}"), &format!("ata{}", self.next + 1));
        self.node("pci0000:00/0000:00:17.0", "pci", &[]);
        self.node(
            &lun,
            "scsi",
            &[("vendor", "ATA"), ("model", "WDC WD10"), ("type", "0")],
        );
        let place = format!("{lun}/block/{name}");
        self.block(&place, 1_953_525_168, &[]);
        self.link(&format!("sys/devices/{place}/device"), "../..");
        self.parts(&place, parts);
        place
    }

    /// An NVMe disk.
    pub fn nvme(&mut self, name: &str, parts: u64) -> String {
        let pci = "pci0000:00/0000:00:1d.0/0000:03:00.0";
        self.node(pci, "pci", &[("removable", "fixed")]);
        let controller = format!("{pci}/nvme/nvme0");
        self.node(
            &controller,
            "nvme",
            &[("model", "Samsung SSD 980"), ("serial", "S64")],
        );
        let place = format!("{controller}/{name}");
        self.block(&place, 1_953_525_168, &[]);
        self.link(&format!("sys/devices/{place}/device"), "..");
        self.parts(&place, parts);
        place
    }

    /// An SD card or eMMC in a host of its own.
    pub fn mmc(&mut self, name: &str, kind: &str, parts: u64) -> String {
        let host = format!("pci0000:00/0000:00:1a.0/mmc_host/mmc{}", self.next);
        self.node(&host, "mmc_host", &[]);
        let card = format!("{host}/mmc0:0001");
        self.node(
            &card,
            "mmc",
            &[("type", kind), ("name", "SN64G"), ("serial", "0x1234abcd")],
        );
        let place = format!("{card}/block/{name}");
        self.block(&place, 122_142_720, &[]);
        self.link(&format!("sys/devices/{place}/device"), "../..");
        self.parts(&place, parts);
        place
    }

    /// A device made of others, as device mapper and md make them.
    pub fn made_of(&mut self, name: &str, own: &str, lower: &[&str]) {
        let place = format!("virtual/block/{name}");
        self.block(&place, 1 << 20, &[]);
        if !own.is_empty() {
            self.node(&place, "", &[("dm/name", own)]);
            self.link(&format!("dev/mapper/{own}"), &format!("../{name}"));
        }
        for lower in lower {
            let holders = self
                .dir
                .path()
                .join(format!("sys/class/block/{lower}/holders"));
            symlink(format!("../../{name}"), holders.join(name)).unwrap();
            self.link(
                &format!("sys/devices/{place}/slaves/{lower}"),
                &format!("../../{lower}"),
            );
        }
    }

    /// A loop device with `file` behind it.
    pub fn looped(&mut self, name: &str, file: &Path) {
        let backing = [("loop/backing_file", file.to_str().unwrap())];
        self.block(&format!("virtual/block/{name}"), 1 << 20, &backing);
    }

    /// A mounted btrfs of these devices; mount it with [`Machine::mounted`].
    pub fn btrfs(&self, uuid: &str, devices: &[&str]) {
        for device in devices {
            self.link(
                &format!("sys/fs/btrfs/{uuid}/devices/{device}"),
                "../somewhere",
            );
        }
    }

    /// A mount of the block device `name`.
    pub fn mount(&mut self, name: &str, point: &str) {
        let number =
            fs::read_to_string(self.system.sys.join(format!("class/block/{name}/dev"))).unwrap();
        let source = format!("/dev/{name}");
        self.mounted(number.trim(), point, "ext4", &source, "rw");
    }

    /// A mount, by its fields in mountinfo.
    pub fn mounted(&mut self, number: &str, point: &str, kind: &str, source: &str, options: &str) {
        writeln!(
            self.mounts,
            "30 1 {number} / {point} rw,relatime shared:1 - {kind} {source} {options}"
        )
        .unwrap();
        self.write("proc/self/mountinfo", &self.mounts);
    }

    /// Swap on a device or in a file.
    pub fn swap(&mut self, path: &Path) {
        writeln!(self.swaps, "{}\tpartition\t1048572\t0\t-2", path.display()).unwrap();
        self.write("proc/swaps", &self.swaps);
    }

    /// A path inside the machine, for a test that changes it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}
