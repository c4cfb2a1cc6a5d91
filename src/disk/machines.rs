// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole machines as users have them, and what may be written over on each.

use std::path::{Path, PathBuf};

use super::fixture::Machine;
use super::*;

const NUMBERLESS: &str = "0:41";

/// The standing in words: "stick", "needs allow: …", or the reasons.
fn standing(machine: &Machine, name: &str) -> String {
    said(machine.disk(name).standing(&Protected::default()))
}

fn said(standing: Standing) -> String {
    match standing {
        Standing::Stick => "stick".to_owned(),
        Standing::NeedsAllow(reason) => format!("needs allow: {reason}"),
        Standing::Never(reasons) => {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            reasons.join(", ")
        }
    }
}

fn attribute(machine: &Machine, name: &str, file: &str, text: &str) {
    let path = machine.path(&format!("sys/class/block/{name}/{file}"));
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_usb_stick_is_a_stick_whatever_its_removable_flag_says() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 2);
    machine.usb("sdc", "removable", "0", 1);
    machine.usb("sdd", "unknown", "0", 0);
    for name in ["sdb", "sdc", "sdd"] {
        assert_eq!(standing(&machine, name), "stick");
    }
    let disk = machine.disk("sdb");
    assert_eq!(disk.title(), "Kingston DataTraveler Max");
    assert_eq!(disk.id(), "60A44C3F");
    assert_eq!(disk.bus, Bus::Usb);
    assert_eq!(disk.removable, Some(true));
    assert_eq!(disk.size, Bytes(60_063_744 * 512));
    assert_eq!(disk.path, machine.path("dev/sdb"));
    let parts: Vec<_> = disk
        .partitions
        .iter()
        .map(|part| (part.name.as_str(), part.number, part.extent.at.0))
        .collect();
    assert_eq!(parts, [("sdb1", 1, 2048 * 512), ("sdb2", 2, 4096 * 512)]);
}

#[test]
fn usb_that_is_soldered_in_is_no_stick_but_a_card_in_it_is() {
    let mut machine = Machine::new();
    machine.usb("sdb", "fixed", "0", 1);
    machine.usb("sdc", "fixed", "1", 1);
    assert_eq!(
        standing(&machine, "sdb"),
        "needs allow: does not look like a stick: built-in USB"
    );
    assert_eq!(standing(&machine, "sdc"), "stick");
}

#[test]
fn an_sd_card_is_a_stick_and_emmc_is_not() {
    let mut machine = Machine::new();
    machine.mmc("mmcblk0", "SD", 2);
    let emmc = machine.mmc("mmcblk1", "MMC", 3);
    machine.block(&format!("{emmc}/mmcblk1boot0"), 8192, &[]);
    assert_eq!(standing(&machine, "mmcblk0"), "stick");
    assert_eq!(
        standing(&machine, "mmcblk1"),
        "needs allow: does not look like a stick: eMMC"
    );
    assert_eq!(machine.listed(false), ["mmcblk0", "mmcblk1"]);
    let disk = machine.disk("mmcblk1");
    assert_eq!(disk.partitions.len(), 3);
    assert_eq!(disk.model.as_deref(), Some("SN64G"));
    // Whatever uses a boot area uses the disk.
    machine.mount("mmcblk1boot0", "/boot/firmware");
    assert!(standing(&machine, "mmcblk1").starts_with("holds /boot/firmware"));
}

#[test]
fn the_system_behind_luks_and_lvm_is_found() {
    let mut machine = Machine::new();
    machine.nvme("nvme0n1", 3);
    machine.made_of("dm-0", "luks-7c1e", &["nvme0n1p3"]);
    machine.made_of("dm-1", "fedora-root", &["dm-0"]);
    machine.made_of("dm-2", "fedora-swap", &["dm-0"]);
    machine.mount("nvme0n1p1", "/boot/efi");
    machine.mount("dm-1", "/");
    machine.swap(Path::new("/dev/mapper/fedora-swap"));
    assert_eq!(
        standing(&machine, "nvme0n1"),
        "holds /, holds /boot/efi, swap: /dev/mapper/fedora-swap, part of dm-0 (luks-7c1e), \
         does not look like a stick: NVMe"
    );
    let disk = machine.disk("nvme0n1");
    assert_eq!(disk.bus, Bus::Nvme);
    assert_eq!(disk.serial.as_deref(), Some("S64"));
    assert_eq!(machine.listed(false), ["nvme0n1"]);
    assert!(standing(&machine, "dm-1").contains("is no disk but device mapper"));
}

#[test]
fn unmounted_luks_on_a_stick_is_in_use_too() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    machine.made_of("dm-0", "luks-stick", &["sdb1"]);
    assert_eq!(standing(&machine, "sdb"), "part of dm-0 (luks-stick)");
    machine.mount("dm-0", "/run/media/u/secret");
    let disk = machine.disk("sdb");
    let lifted = disk.standing_unmounted(&Protected::default(), Vec::new());
    assert_eq!(said(lifted), "part of dm-0 (luks-stick)");
}

#[test]
fn every_disk_of_a_btrfs_is_found_though_one_is_named() {
    let mut machine = Machine::new();
    machine.sata("sda", 2);
    machine.sata("sdb", 1);
    machine.usb("sdc", "removable", "1", 1);
    machine.btrfs("0b1c", &["sda2", "sdb1"]);
    machine.mounted(NUMBERLESS, "/", "btrfs", "/dev/sda2", "rw,subvol=/root");
    machine.mounted(NUMBERLESS, "/home", "btrfs", "/dev/sda2", "rw,subvol=/home");
    for name in ["sda", "sdb"] {
        assert_eq!(
            standing(&machine, name),
            "holds /, holds /home, part of btrfs 0b1c, does not look like a stick: ATA",
            "{name}"
        );
    }
    assert_eq!(standing(&machine, "sdc"), "stick");
}

#[test]
fn a_btrfs_whose_source_names_no_device_takes_every_btrfs_in() {
    let mut machine = Machine::new();
    machine.sata("sda", 1);
    machine.usb("sdb", "removable", "1", 1);
    machine.btrfs("0b1c", &["sda1"]);
    machine.mounted(NUMBERLESS, "/", "btrfs", "/dev/root", "rw");
    assert!(standing(&machine, "sda").starts_with("holds /"));
    assert_eq!(standing(&machine, "sdb"), "stick");
}

#[test]
fn a_member_of_a_raid_is_in_use_also_on_usb() {
    let mut machine = Machine::new();
    machine.sata("sda", 1);
    machine.usb("sdb", "removable", "0", 1);
    machine.made_of("md127", "", &["sda1", "sdb1"]);
    assert_eq!(standing(&machine, "sdb"), "part of md127");
    machine.mount("md127", "/srv");
    assert_eq!(standing(&machine, "sdb"), "holds /srv, part of md127");
    assert_eq!(machine.listed(false), ["sda", "sdb"]);
}

#[test]
fn a_stick_mounted_where_file_managers_mount_is_lifted_by_unmounting() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 2);
    machine.sata("sdc", 1);
    machine.mount("sdb1", "/media/x");
    machine.mount("sdb2", "/run/media/u/MY\\040DATA");
    machine.mount("sdc1", "/mnt/backup");
    assert_eq!(
        standing(&machine, "sdb"),
        "mounted at /media/x, mounted at /run/media/u/MY DATA"
    );
    let nobody = Protected::default();
    let disk = machine.disk("sdb");
    assert_eq!(disk.standing_unmounted(&nobody, vec![]), Standing::Stick);
    let points = ["/media/x", "/run/media/u/MY DATA"].map(PathBuf::from);
    assert_eq!(disk.mount_points(), points);
    // A data disk that was mounted is not thereby a stick.
    let lifted = machine.disk("sdc").standing_unmounted(&nobody, vec![]);
    assert!(matches!(lifted, Standing::NeedsAllow(_)));
    assert!(standing(&machine, "sdc").ends_with("does not look like a stick: ATA"));
}

#[test]
fn a_system_mount_is_never_lifted() {
    let places = [
        "/",
        "/boot",
        "/boot/efi",
        "/efi",
        "/home",
        "/home/u",
        "/usr",
        "/var",
        "/var/lib/docker",
        "/opt",
        "/srv",
        "/nix",
        "/data",
        "/tmp",
        "/media",
        "/run/initramfs/live",
        "/cdrom",
        "/mnt2",
    ];
    for place in places {
        let mut machine = Machine::new();
        machine.usb("sdb", "removable", "1", 1);
        machine.mount("sdb1", place);
        let lifted = machine
            .disk("sdb")
            .standing_unmounted(&Protected::default(), vec![]);
        assert_eq!(said(lifted), format!("holds {place}"));
    }
}

#[test]
fn the_stick_a_live_system_runs_from_is_found_through_overlay_and_loop() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 3);
    machine.usb("sdc", "removable", "1", 1);
    machine.mount("sdb1", "/media/live");
    machine.looped("loop0", Path::new("/media/live/LiveOS/squashfs.img"));
    machine.mount("loop0", "/tmp/rootfsbase");
    let options = "rw,lowerdir=/tmp/rootfsbase,upperdir=/run/over,workdir=/run/work";
    machine.mounted(NUMBERLESS, "/", "overlay", "LiveOS_rootfs", options);
    assert_eq!(
        standing(&machine, "sdb"),
        "holds /, in use as loop0, mounted at /media/live, mounted at /tmp/rootfsbase"
    );
    assert_eq!(standing(&machine, "sdc"), "stick");
    // With device mapper instead of an overlay.
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 3);
    machine.mount("sdb1", "/media/live");
    machine.looped("loop1", Path::new("/media/live/rootfs.img"));
    machine.made_of("dm-0", "live-rw", &["loop1"]);
    machine.mount("dm-0", "/");
    assert!(standing(&machine, "sdb").starts_with("holds /, "));
}

#[test]
fn a_usb_disk_with_the_system_or_home_on_it_is_no_stick() {
    let mut machine = Machine::new();
    machine.usb("sda", "removable", "0", 2);
    machine.usb("sdb", "removable", "0", 1);
    machine.mount("sda2", "/");
    machine.mount("sdb1", "/home");
    assert_eq!(standing(&machine, "sda"), "holds /");
    assert_eq!(standing(&machine, "sdb"), "holds /home");
}

#[test]
fn a_directory_of_a_stick_in_use_through_fuse_is_found() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    machine.mount("sdb1", "/media/x");
    machine.mounted(
        NUMBERLESS,
        "/home/u/plain",
        "fuse.gocryptfs",
        "/media/x/cipher",
        "rw",
    );
    assert!(standing(&machine, "sdb").starts_with("holds /home/u/plain"));
}

#[test]
fn swap_is_never_lifted_be_it_a_partition_or_a_file() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    machine.swap(Path::new("/dev/sdb1"));
    assert_eq!(standing(&machine, "sdb"), "swap: /dev/sdb1");
    machine.usb("sdc", "removable", "1", 1);
    machine.mount("sdc1", "/media/x");
    machine.swap(Path::new("/media/x/swap\\040file"));
    assert_eq!(
        standing(&machine, "sdc"),
        "swap: /media/x/swap file, mounted at /media/x"
    );
}

#[test]
fn the_stick_that_holds_the_image_is_protected_also_when_unmounting() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    machine.usb("sdc", "removable", "1", 1);
    machine.mount("sdb1", "/run/media/u/ISOS");
    let image = Path::new("/run/media/u/ISOS/fedora.iso");
    let protected = Protected::image(image, machine.system()).unwrap();
    let lifted = |name| machine.disk(name).standing_unmounted(&protected, vec![]);
    assert_eq!(said(lifted("sdb")), "holds the image");
    assert_eq!(said(lifted("sdc")), "stick");
}

#[test]
fn a_device_that_is_the_image_is_protected() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    let protected = Protected::image(Path::new("/dev/sdb"), machine.system()).unwrap();
    assert_eq!(
        said(machine.disk("sdb").standing(&protected)),
        "is the image"
    );
    let protected = Protected::image(Path::new("/dev/sdb1"), machine.system()).unwrap();
    assert_eq!(
        said(machine.disk("sdb").standing(&protected)),
        "holds the image"
    );
}

#[test]
fn loop_devices_are_listed_only_on_request_and_named_by_their_path() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 0);
    machine.looped("loop0", Path::new("/srv/disk.img"));
    machine.block("virtual/block/loop1", 0, &[]);
    machine.block("virtual/block/ram0", 8192, &[]);
    machine.block("virtual/block/zram0", 8192, &[]);
    assert_eq!(machine.listed(false), ["sdb"]);
    assert_eq!(machine.listed(true), ["sdb", "loop0"]);
    let disk = machine.disk("loop0");
    assert_eq!(disk.id(), machine.path("dev/loop0").to_str().unwrap());
    assert_eq!(
        standing(&machine, "loop0"),
        "needs allow: does not look like a stick: loop device"
    );
}

#[test]
fn drives_without_use_as_a_stick_say_why() {
    let mut machine = Machine::new();
    for name in ["sr0", "sdb", "sdc", "sdd", "sde"] {
        machine.usb(name, "removable", "1", 0);
    }
    attribute(&machine, "sr0", "device/type", "5\n");
    attribute(&machine, "sdb", "size", "0\n");
    attribute(&machine, "sdc", "ro", "1\n");
    attribute(&machine, "sdd", "queue/logical_block_size", "4096\n");
    attribute(&machine, "sde", "size", "0\n");
    attribute(&machine, "sde", "removable", "0\n");
    assert_eq!(standing(&machine, "sr0"), "is a CD drive");
    assert_eq!(standing(&machine, "sdb"), "no medium");
    assert_eq!(standing(&machine, "sdc"), "read-only");
    assert!(standing(&machine, "sdd").starts_with("4096-byte sectors"));
    assert_eq!(standing(&machine, "sde"), "0 bytes");
}

#[test]
fn an_nvme_disk_behind_an_external_port_is_a_stick() {
    let mut machine = Machine::new();
    machine.nvme("nvme0n1", 1);
    assert!(standing(&machine, "nvme0n1").starts_with("needs allow"));
    let port = machine.path("sys/devices/pci0000:00/0000:00:1d.0/0000:03:00.0/removable");
    std::fs::write(port, "removable\n").unwrap();
    assert_eq!(standing(&machine, "nvme0n1"), "stick");
    assert_eq!(machine.disk("nvme0n1").bus, Bus::Thunderbolt);
}

#[test]
fn the_nearest_transport_decides() {
    let mut machine = Machine::new();
    // A dock: USB behind Thunderbolt.
    machine.usb("sdb", "removable", "0", 0);
    let pci = machine.path("sys/devices/pci0000:00/0000:00:14.0/removable");
    std::fs::write(pci, "removable\n").unwrap();
    assert_eq!(machine.disk("sdb").bus, Bus::Usb);
    let mut bus = |place: &str, nodes: &[(&str, &str)]| {
        for (node, subsystem) in nodes {
            machine.node(node, subsystem, &[]);
        }
        machine.block(place, 2048, &[]);
        machine.disk(place.rsplit('/').next().unwrap()).bus
    };
    let iscsi = "platform/host4/session1/target4:0:0/4:0:0:0";
    assert_eq!(
        bus(&format!("{iscsi}/block/sdx"), &[(iscsi, "scsi")]),
        Bus::Network
    );
    let virtio = "pci0000:00/0000:00:05.0/virtio2";
    assert_eq!(
        bus(&format!("{virtio}/block/vda"), &[(virtio, "virtio")]),
        Bus::Virtual
    );
    let sas = "pci0000:00/0000:00:06.0/host1/port-1:0/end_device-1:0/target1:0:0/1:0:0:0";
    assert_eq!(
        bus(&format!("{sas}/block/sdy"), &[(sas, "scsi")]),
        Bus::Scsi
    );
    let fw = "pci0000:00/0000:00:07.0/fw1/fw1.0";
    let scsi = format!("{fw}/host7/target7:0:0/7:0:0:0");
    let nodes = [(fw, "firewire"), (scsi.as_str(), "scsi")];
    assert_eq!(bus(&format!("{scsi}/block/sdz"), &nodes), Bus::Firewire);
    assert_eq!(bus("platform/strange/block/xyz0", &[]), Bus::Other);
}

#[test]
fn sticks_are_listed_first_and_the_system_last() {
    let mut machine = Machine::new();
    machine.nvme("nvme0n1", 1);
    machine.mount("nvme0n1p1", "/");
    machine.sata("sda", 1);
    machine.usb("sdb", "removable", "1", 1);
    machine.mount("sdb1", "/media/x");
    machine.usb("sdaa", "removable", "1", 1);
    machine.usb("sdz", "removable", "1", 1);
    assert_eq!(
        machine.listed(false),
        ["sdz", "sdaa", "sdb", "sda", "nvme0n1"]
    );
}

#[test]
fn nothing_is_known_to_be_unused_without_the_mounts() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    std::fs::write(machine.path("proc/self/mountinfo"), "not a mount\n").unwrap();
    assert!(matches!(
        Disk::named("sdb", machine.system()),
        Err(DiskError::Unreadable { .. })
    ));
    std::fs::remove_file(machine.path("proc/self/mountinfo")).unwrap();
    assert!(list(machine.system(), false).is_err());
}

#[test]
fn a_disk_that_took_the_others_name_is_noticed() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    let planned = Identity::of(&machine.disk("sdb"));
    let now = planned.now(machine.system()).unwrap();
    assert_eq!(planned.compare(&now), Ok(()));
    attribute(&machine, "sdb", "diskseq", "77\n");
    let now = planned.now(machine.system()).unwrap();
    let changed = planned.compare(&now).unwrap_err();
    assert_eq!(
        (changed.what, changed.is.as_str()),
        ("disk sequence number", "77")
    );
    std::fs::remove_file(machine.path("sys/class/block/sdb")).unwrap();
    assert!(matches!(
        planned.now(machine.system()),
        Err(DiskError::Gone { .. })
    ));
}

#[test]
fn partitions_and_unknown_names_are_no_disks() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    for name in ["sdb1", "sdq", "", ".."] {
        assert!(matches!(
            Disk::named(name, machine.system()),
            Err(DiskError::Gone { .. })
        ));
    }
}

#[test]
fn a_disk_with_an_odd_mount_point_goes_into_json() {
    let mut machine = Machine::new();
    machine.usb("sdb", "removable", "1", 1);
    machine.mount("sdb1", "/media/\\033[2J\\377");
    let json = serde_json::to_string(&machine.disk("sdb")).unwrap();
    assert!(json.contains(r"/media/\\u{1b}[2J"), "{json}");
    assert_eq!(
        standing(&machine, "sdb"),
        "mounted at /media/\\u{1b}[2J\u{fffd}"
    );
}
