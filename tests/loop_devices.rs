// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks as the kernel really has them: loop devices with file systems, swap, partitions and each other on them.

// clippy.toml's leave for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use livestick::disk::buffer::Buffer;
use livestick::disk::direct::{Bypass, Kind, Medium, MediumError};
use livestick::disk::lock::Lock;
use livestick::disk::mounts::unmount;
use livestick::disk::proof::ReadProof;
use livestick::disk::rescan::rescan;
use livestick::disk::{Disk, Identity, Protected, Standing, System, Target, TargetError, list};
use livestick::units::{Bytes, MIB};

use support::program::{command, output, root, run};

/// A loop device over a file of its own, and whatever a test did with it, taken down at the end.
struct Looped {
    dir: tempfile::TempDir,
    node: String,
    undo: Vec<(&'static str, Vec<String>)>,
}

impl Looped {
    fn new(options: &[&str]) -> Looped {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("disk.img");
        // Allocated: a hole gives no read.
        fs::write(&file, vec![0x5a; 64 << 20]).unwrap();
        let mut looped = Looped {
            dir,
            node: String::new(),
            undo: Vec::new(),
        };
        looped.node = looped.attach(file.to_str().unwrap(), options);
        looped
    }

    fn attach(&mut self, file: &str, options: &[&str]) -> String {
        let node = run("losetup", &[options, &["--find", "--show", file]].concat());
        let node = node.trim().to_owned();
        self.undo
            .push(("losetup", vec!["--detach".into(), node.clone()]));
        node
    }

    fn mount(&mut self, node: &str) -> PathBuf {
        let point = self.dir.path().join(format!("mnt{}", self.undo.len()));
        fs::create_dir(&point).unwrap();
        run("mount", &[node, point.to_str().unwrap()]);
        self.undo
            .push(("umount", vec![point.to_str().unwrap().into()]));
        point
    }

    fn name(&self) -> &str {
        self.node.strip_prefix("/dev/").unwrap()
    }

    fn disk(&self) -> Disk {
        Disk::named(self.name(), &System::real()).unwrap()
    }

    fn standing(&self) -> Vec<String> {
        match self.disk().standing(&Protected::default()) {
            Standing::Stick => vec!["stick".to_owned()],
            Standing::NeedsAllow(reason) => vec![format!("needs allow: {reason}")],
            Standing::Never(reasons) => reasons.iter().map(ToString::to_string).collect(),
        }
    }

    fn open(&self) -> Result<Medium, MediumError> {
        Medium::open(Path::new(&self.node), Kind::Disk)
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        for (tool, args) in self.undo.iter().rev() {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            output(tool, &args);
        }
    }
}

#[test]
fn an_unused_loop_device_must_be_named() {
    if !root() {
        return;
    }
    let looped = Looped::new(&[]);
    assert_eq!(
        looped.standing(),
        ["needs allow: does not look like a stick: loop device"]
    );
    let disk = looped.disk();
    assert_eq!(disk.size, Bytes::mib(64));
    assert_eq!(disk.id(), looped.node);
    let listed = |loops| {
        let disks = list(&System::real(), loops).unwrap();
        disks.iter().any(|disk| disk.name == looped.name())
    };
    assert!(listed(true) && !listed(false));
    let now = Identity::of(&disk).now(&System::real()).unwrap();
    assert_eq!(Identity::of(&disk).compare(&now), Ok(()));
}

#[test]
fn facts_are_those_that_lsblk_shows() {
    if !root() {
        return;
    }
    let looped = Looped::new(&["--sector-size", "4096"]);
    let columns = "KNAME,MAJ:MIN,SIZE,LOG-SEC,PHY-SEC,RO";
    let said = run(
        "lsblk",
        &["-b", "-n", "-d", "-r", "-o", columns, &looped.node],
    );
    let disk = looped.disk();
    let ours = format!(
        "{} {} {} {} {} {}",
        disk.name,
        disk.dev,
        disk.size,
        disk.logical_sector,
        disk.physical_sector,
        u8::from(disk.read_only)
    );
    assert_eq!(ours, said.trim());
    assert!(looped.standing()[0].starts_with("4096-byte sectors"));
}

#[test]
fn the_disk_under_this_system_is_never_one() {
    if !root() {
        return;
    }
    let source = run("findmnt", &["-n", "-o", "SOURCE", "/"]);
    let source = source.trim();
    let disks = list(&System::real(), true).unwrap();
    let holding = disks
        .iter()
        .filter(|disk| source.starts_with(disk.path.to_str().unwrap()))
        .collect::<Vec<_>>();
    assert!(!holding.is_empty(), "{source}");
    for disk in holding {
        let Standing::Never(reasons) = disk.standing(&Protected::default()) else {
            panic!("{disk:?}");
        };
        assert_eq!(reasons[0].to_string(), "holds /");
        assert!(Medium::open(&disk.path, Kind::Disk).is_err());
    }
}

#[test]
fn swap_is_seen_and_the_kernel_refuses_it() {
    if !root() {
        return;
    }
    let mut looped = Looped::new(&[]);
    run("mkswap", &[&looped.node]);
    run("swapon", &[&looped.node]);
    looped.undo.push(("swapoff", vec![looped.node.clone()]));
    assert_eq!(looped.standing()[0], format!("swap: {}", looped.node));
    assert!(matches!(looped.open(), Err(MediumError::InUse { .. })));
}

#[test]
fn a_mounted_disk_is_refused_until_it_is_unmounted() {
    if !root() {
        return;
    }
    let mut looped = Looped::new(&[]);
    run("mkfs.ext4", &["-q", "-F", &looped.node]);
    let node = looped.node.clone();
    let outer = looped.mount(&node);
    let inner = outer.join("inner");
    fs::create_dir(&inner).unwrap();
    run(
        "mount",
        &["--bind", outer.to_str().unwrap(), inner.to_str().unwrap()],
    );
    looped
        .undo
        .push(("umount", vec![inner.to_str().unwrap().into()]));
    let disk = looped.disk();
    assert_eq!(disk.mount_points(), [outer.clone(), inner]);
    assert_eq!(
        looped.standing()[0],
        format!("mounted at {}", outer.display())
    );
    assert!(matches!(looped.open(), Err(MediumError::InUse { .. })));

    let busy = File::create(outer.join("open")).unwrap();
    let error = unmount(&disk.mount_points()).unwrap_err();
    assert!(error.to_string().contains("close what uses it"), "{error}");
    drop(busy);
    unmount(&looped.disk().mount_points()).unwrap();
    assert!(looped.disk().mount_points().is_empty());
    looped.open().unwrap();
}

#[test]
fn a_mounted_partition_keeps_its_disk() {
    if !root() {
        return;
    }
    let mut looped = Looped::new(&["--partscan"]);
    let table = looped.dir.path().join("table");
    fs::write(&table, "label: gpt\nstart=2048, size=65536\nstart=69632\n").unwrap();
    let script = format!(
        "sfdisk -q --no-reread {} < {}",
        looped.node,
        table.display()
    );
    run("sh", &["-c", &script]);
    let node = looped.node.clone();
    rescan(Path::new(&node)).unwrap();
    // A kernel that does not know the table is told by hand; it forgets with the device, which is a scanning one.
    run("partx", &["--update", &node]);
    let disk = looped.disk();
    let parts: Vec<_> = disk
        .partitions
        .iter()
        .map(|part| (part.number, part.extent.at.0))
        .collect();
    assert_eq!(parts, [(1, 2048 * 512), (2, 69632 * 512)]);

    let part = format!("{node}p1");
    let error = Target::resolve(Path::new(&part), None, &System::real()).unwrap_err();
    assert!(matches!(&error, TargetError::Partition { disk, .. } if *disk == Path::new(&node)));
    run("mkfs.ext4", &["-q", "-F", &part]);
    let point = looped.mount(&part);
    assert_eq!(
        looped.standing()[0],
        format!("mounted at {}", point.display())
    );
    assert!(matches!(looped.open(), Err(MediumError::InUse { .. })));

    let image = point.join("image.iso");
    fs::write(&image, "image").unwrap();
    let protected = Protected::image(&image, &System::real()).unwrap();
    let lifted = looped.disk().standing_unmounted(&protected, Vec::new());
    let Standing::Never(reasons) = lifted else {
        panic!("{lifted:?}")
    };
    assert_eq!(reasons[0].to_string(), "holds the image");
}

#[test]
fn a_disk_under_another_loop_device_is_in_use() {
    if !root() {
        return;
    }
    let mut looped = Looped::new(&[]);
    let node = looped.node.clone();
    let upper = looped.attach(&node, &[]);
    let upper = upper.strip_prefix("/dev/").unwrap();
    assert_eq!(looped.standing()[0], format!("in use as {upper}"));
}

#[test]
fn a_read_only_disk_is_refused() {
    if !root() {
        return;
    }
    let looped = Looped::new(&["--read-only"]);
    assert_eq!(looped.standing()[0], "read-only");
    assert!(matches!(looped.open(), Err(MediumError::ReadOnly { .. })));
}

#[test]
fn the_target_is_recognised_by_links_and_by_what_is_behind_it() {
    if !root() {
        return;
    }
    let looped = Looped::new(&[]);
    let link = looped.dir.path().join("by-id");
    symlink(&looped.node, &link).unwrap();
    let system = System::real();
    let Target::Disk(disk) = Target::resolve(&link, None, &system).unwrap() else {
        panic!("no disk");
    };
    assert_eq!(disk.path, Path::new(&looped.node));
    let file = looped.dir.path().join("disk.img");
    for (target, image) in [(&link, &file), (&file, &link), (&link, &link)] {
        let error = Target::resolve(target, Some(image), &system).unwrap_err();
        assert!(matches!(error, TargetError::IsImage { .. }), "{error}");
    }
    let error = Target::resolve(&file, None, &system).unwrap_err();
    assert!(matches!(error, TargetError::InUse { .. }), "{error}");
    let typo = Path::new("/dev/livestick-no-such-disk");
    let error = Target::resolve(typo, None, &system).unwrap_err();
    assert!(matches!(error, TargetError::NoDevice { .. }), "{error}");
    for kind in [Kind::Disk, Kind::File, Kind::NewFile] {
        assert!(Medium::open(typo, kind).is_err());
        assert!(!typo.exists());
    }
}

#[test]
fn one_program_at_a_time_writes_and_what_it_wrote_comes_from_the_medium() {
    if !root() {
        return;
    }
    let looped = Looped::new(&["--direct-io=on"]);
    let medium = looped.open().unwrap();
    assert_eq!(medium.bypass(), &Bypass::Direct);
    assert_eq!(medium.grain(), Bytes(512));
    assert_eq!(medium.size(), Bytes::mib(64));
    assert_eq!(medium.dev(), looped.disk().dev);
    assert!(matches!(looped.open(), Err(MediumError::Locked { .. })));
    // udev asks for a shared lock, without waiting, before it probes.
    let probe = command("flock")
        .args(["-n", "-s", &looped.node, "true"])
        .status();
    assert!(!probe.unwrap().success());

    let mut buffer = Buffer::new(4 << 20);
    buffer.fill(7);
    medium.write_at(Bytes::ZERO, &buffer).unwrap();
    medium.write_at(Bytes(1_000_001), b"unaligned").unwrap();
    medium.flush().unwrap();
    assert!(medium.write_at(Bytes::mib(64) - Bytes(1), b"ab").is_err());

    let proof = ReadProof::start(&medium);
    assert!(!proof.covers(Bytes(1)));
    medium.read_at(Bytes::ZERO, &mut buffer).unwrap();
    assert!(
        proof.covers(Bytes::mib(4)),
        "{:?}",
        proof.bytes_from_medium()
    );
    assert_eq!(&buffer[1_000_000..1_000_011], b"\x07unaligned\x07");
    // Again, with all of it in the page cache: another reader put it there.
    assert_eq!(fs::read(&looped.node).unwrap().len(), 64 << 20);
    let proof = ReadProof::start(&medium);
    fs::read(&looped.node).unwrap();
    let before = proof.bytes_from_medium().unwrap();
    medium.read_at(Bytes::ZERO, &mut buffer).unwrap();
    let given = proof.bytes_from_medium().unwrap() - before;
    assert_eq!(given, Bytes::mib(4));

    let lock = medium.release().unwrap();
    let backing = File::open(looped.dir.path().join("disk.img")).unwrap();
    let mut seen = [0; 11];
    backing.read_exact_at(&mut seen, 1_000_000).unwrap();
    assert_eq!(&seen, b"\x07unaligned\x07");
    // The lock outlives the exclusive descriptor, and formatting is possible meanwhile.
    run("mkfs.ext4", &["-q", "-F", &looped.node]);
    assert!(matches!(looped.open(), Err(MediumError::Locked { .. })));
    Medium::open_locked(lock, Kind::Disk).unwrap();
    Lock::take(Path::new(&looped.node)).unwrap();
}

#[test]
fn reads_that_the_page_cache_answers_prove_nothing() {
    if !root() {
        return;
    }
    let mut looped = Looped::new(&[]);
    // A file system in memory: whether or not it takes O_DIRECT, there is no medium.
    let point = looped.dir.path().join("memory");
    fs::create_dir(&point).unwrap();
    run("mount", &["-t", "tmpfs", "none", point.to_str().unwrap()]);
    looped
        .undo
        .push(("umount", vec![point.to_str().unwrap().into()]));
    let medium = Medium::open(&point.join("stick.img"), Kind::NewFile).unwrap();
    let mut buffer = Buffer::new(1 << 20);
    buffer.fill(1);
    medium.write_at(Bytes::ZERO, &buffer).unwrap();
    medium.flush().unwrap();
    let proof = ReadProof::start(&medium);
    medium.read_at(Bytes::ZERO, &mut buffer).unwrap();
    assert!(!proof.covers(Bytes(MIB)), "{:?}", proof.bytes_from_medium());
    assert_eq!(proof.bytes_from_medium(), Some(Bytes::ZERO));
    drop(medium);

    // On a disk's file system it is proven.
    let disk = looped.node.clone();
    run("mkfs.ext4", &["-q", "-F", &disk]);
    let point = looped.mount(&disk);
    let medium = Medium::open(&point.join("stick.img"), Kind::NewFile).unwrap();
    assert_eq!(medium.bypass(), &Bypass::Direct);
    medium.write_at(Bytes::ZERO, &buffer).unwrap();
    medium.write_at(Bytes(MIB), b"tail").unwrap();
    medium.flush().unwrap();
    assert_eq!(medium.size(), Bytes(MIB + 4));
    let proof = ReadProof::start(&medium);
    medium.read_at(Bytes::ZERO, &mut buffer).unwrap();
    let mut tail = [0; 4];
    medium.read_at(Bytes(MIB), &mut tail).unwrap();
    assert_eq!(&tail, b"tail");
    assert!(
        proof.covers(Bytes(MIB + 4)),
        "{:?}",
        proof.bytes_from_medium()
    );
}

#[test]
fn a_loop_device_without_scanning_gets_no_partitions() {
    if !root() {
        return;
    }
    let looped = Looped::new(&[]);
    // Whoever had this number before may have left some.
    let before = looped.disk().partitions;
    let command = format!("echo start=2048 | sfdisk -q --no-reread {}", looped.node);
    run("sh", &["-c", &command]);
    rescan(Path::new(&looped.node)).unwrap();
    assert_eq!(looped.disk().partitions, before);
}

#[test]
fn a_table_that_the_kernel_cannot_be_shown_is_a_note() {
    if !root() {
        return;
    }
    let gone = rescan(Path::new("/dev/livestick-no-such-disk")).unwrap_err();
    assert!(gone.contains("No such file"), "{gone}");
    assert!(gone.contains("plugged in again"), "{gone}");
}
