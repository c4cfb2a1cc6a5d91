// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on a medium, judged by blkid(8), libblkid and the tools that made it.

use super::*;
use crate::units::{GIB, MIB};
use std::process::Command;

fn run(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{tool} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn region(name: &str, at: u64, len: u64) -> Region {
    let (at, len) = (Bytes(at), Bytes(len));
    let name = name.to_owned();
    Region {
        name,
        extent: Extent { at, len },
    }
}

/// File systems side by side in one file, as partitions are on a disk.
#[test]
fn regions_are_named_as_the_blkid_program_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let makers: [(&str, &str, &[&str]); 3] = [
        ("ext", "mkfs.ext4", &["-q", "-L", "WORK"]),
        ("fat", "mkfs.vfat", &["-F", "32", "-n", "STICK"]),
        ("swap", "mkswap", &["-q", "-L", "swap1"]),
    ];
    let disk = File::create(path("disk")).unwrap();
    disk.set_len(GIB).unwrap();
    let mut regions = Vec::new();
    let mut at = MIB;
    for (name, tool, options) in makers {
        let file = path(name);
        File::create(&file).unwrap().set_len(128 * MIB).unwrap();
        let args = [options, &[file.as_str()]].concat();
        run(tool, &args);
        let mut from = File::open(&file).unwrap();
        let mut to = &disk;
        std::io::Seek::seek(&mut to, std::io::SeekFrom::Start(at)).unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
        regions.push(region(name, at, 128 * MIB));
        at += 200 * MIB;
    }
    regions.push(region("nothing", 900 * MIB, 10 * MIB));
    regions.push(region("beyond", 2 * GIB, MIB));
    let contents = Contents::read(path("disk").as_ref(), Bytes(GIB), &regions).unwrap();
    for (content, (name, _, _)) in contents.all.iter().zip(makers) {
        let said = |tag| run("blkid", &["-p", "-o", "value", "-s", tag, &path(name)]);
        assert_eq!(content.kind.as_deref(), Some(said("TYPE").trim()));
        assert_eq!(content.label.as_deref(), Some(said("LABEL").trim()));
        assert_eq!(content.uuid.as_deref(), Some(said("UUID").trim()));
    }
    assert_eq!(contents.all[3].kind, None);
    assert_eq!(contents.all[4].kind, None);
    assert_eq!(contents.reasons(), []);
}

/// Asks both about the disk at `path`, alone, and as a partition is in a larger one.
#[cfg(feature = "blkid")]
fn both_say(path: &Path, dir: &Path, expected: &str, command: &str) {
    let file = File::open(path).unwrap();
    let size = Bytes(file.metadata().unwrap().len());
    let source = Source::new(file, size);
    let whole = region("whole", 0, size.0).extent;
    let by_library = library(&source, whole).unwrap();
    let by_us = own(&Window::new(&source, whole)).unwrap();
    let mut known = library(&source, whole).unwrap();
    if by_us.kind.as_deref() == Some("udf") {
        // Of this the type alone is read.
        (known.label, known.uuid) = (None, None);
    }
    assert_eq!(known, by_us, "{command}");
    assert_eq!(
        by_us.kind.as_deref().unwrap_or_default(),
        expected,
        "{command}"
    );
    let moved = dir.join("moved");
    let mut to = File::create(&moved).unwrap();
    to.set_len(3 * MIB + size.0).unwrap();
    std::io::Seek::seek(&mut to, std::io::SeekFrom::Start(MIB)).unwrap();
    std::io::copy(&mut File::open(path).unwrap(), &mut to).unwrap();
    let inner = region("inner", MIB, size.0).extent;
    let source = Source::new(File::open(&moved).unwrap(), Bytes(3 * MIB) + size);
    assert_eq!(library(&source, inner).unwrap(), by_library, "{command}");
    assert_eq!(
        own(&Window::new(&source, inner)).unwrap(),
        by_us,
        "{command}"
    );
}

/// Writes to the file of its first argument what a thing of the kind of its second is told by.
#[cfg(feature = "blkid")]
const MEMBERS: &str = r#"
import sys
path, kind = sys.argv[1:3]
disk = open(path, "r+b")
def put(at, what):
    disk.seek(at)
    disk.write(what)
def number(n, size=4):
    return n.to_bytes(size, "little")
if kind == "lvm":
    head = b"LABELONE" + number(1, 8) + number(0) + number(32) + b"LVM2 001" + b"abcdefghijklmnopqrstuvwxyz012345"
    head = bytearray((head + number(128 << 20, 8)).ljust(512, b"\0"))
    crc = 0xf597a6cf
    for byte in head[20:]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xedb88320 if crc & 1 else 0)
    head[16:20] = number(crc)
    put(512, head)
elif kind == "raid":
    at = int(sys.argv[3])
    head = bytearray(256)
    head[:8] = number(0xa92b4efc) + number(1)
    head[16:32] = bytes(range(16))
    head[32:42] = b"machine:md"
    head[144:152] = number(at // 512, 8)
    words = sum(int.from_bytes(head[i:i + 4], "little") for i in range(0, 256, 4))
    head[216:220] = number((words & 0xffffffff) + (words >> 32))
    put(at, head)
elif kind == "bcache":
    put(4104, number(8, 8))
    put(4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81") + bytes(range(16)))
elif kind == "zfs":
    for i in range(8):
        put((128 + i) << 10, number(0x00bab10c, 8))
elif kind == "bitlocker":
    # As Windows 7 makes it, with where its metadata are; and on a stick.
    put(0, b"\xeb\x58\x90-FVE-FS-")
    put(176, number(1 << 16, 8))
    put(1 << 16, b"-FVE-FS-" + number(112, 2) + number(2, 2))
elif kind == "bitlocker-to-go":
    put(0, b"\xeb\x58\x90MSWIN4.1")
    put(424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"))
    put(440, number(1 << 16, 8))
    put(1 << 16, b"-FVE-FS-" + number(112, 2) + number(2, 2))
elif kind == "squashfs3":
    put(0, b"hsqs" + number(1))
    put(28, number(3, 2) + number(1, 2))
elif kind == "hfsplus":
    put(1024, b"H+" + (4).to_bytes(2, "big"))
    put(1064, (4096).to_bytes(4, "big"))
"#;

/// Builds with libblkid and without it tell users the same.
#[cfg(feature = "blkid")]
#[test]
fn the_library_and_the_own_reading_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let content = dir.path().join("content");
    std::fs::create_dir(&content).unwrap();
    std::fs::write(content.join("file"), vec![b'x'; 300_000]).unwrap();
    let luks = |kind: &str| {
        format!(
            "echo secret | cryptsetup luksFormat -q --type {kind} --pbkdf pbkdf2 --pbkdf-force-iterations 1000 DISK -"
        )
    };
    let member = |kind: &str, at: &str| format!("python3 -c '{MEMBERS}' DISK {kind} {at}");
    // What is expected is there so that two readings which see nothing are not the same.
    let cases: [(u64, &str, &str); 40] = [
        (0, "mkfs.btrfs -q -L 'a b' DISK", "btrfs"),
        (0, "mkfs.ext4 -q -L overlay DISK", "ext4"),
        (
            0,
            "mkfs.ext4 -q -b 1024 -O ^has_journal,^extent,^64bit,^metadata_csum,^huge_file,^flex_bg,^dir_nlink,^extra_isize DISK",
            "ext2",
        ),
        (0, "mkfs.ext3 -q -L home DISK", "ext3"),
        (0, "mkfs.ext2 -q DISK", "ext2"),
        (300, "mkfs.xfs -q -L xfs DISK", "xfs"),
        (4, "mkfs.vfat -F 12 -n TINY DISK", "vfat"),
        (32, "mkfs.vfat -F 16 DISK", "vfat"),
        (64, "mkfs.vfat -F 32 -n 'A STICK' DISK", "vfat"),
        (64, "mkfs.vfat -F 32 -S 4096 -n LARGE DISK", "vfat"),
        (0, "mkfs.exfat -L exfat DISK", "exfat"),
        (0, "mkfs.f2fs -q -l 'a label' DISK", "f2fs"),
        (0, "mkswap -q -L swapped DISK", "swap"),
        (0, &luks("luks1"), "crypto_LUKS"),
        (0, &luks("luks2 --label secret"), "crypto_LUKS"),
        (
            0,
            "mksquashfs CONTENT DISK -noappend -quiet -no-progress",
            "squashfs",
        ),
        (
            0,
            "mkfs.erofs --quiet -Llabel DISK CONTENT || mkfs.erofs --quiet DISK CONTENT",
            "erofs",
        ),
        (
            0,
            "xorriso -as mkisofs -quiet -J -R -V 'Live_1.0 x' -o DISK CONTENT",
            "iso9660",
        ),
        (
            0,
            "xorriso -as mkisofs -quiet -V LIVE -partition_offset 16 -o DISK CONTENT",
            "iso9660",
        ),
        (0, "ISO grub2 DISK", "iso9660"),
        (0, "ISO isolinux DISK", "iso9660"),
        (0, "mkfs.ntfs -F -Q -q -L 'a label' DISK", "ntfs"),
        (0, "mkudffs -l 'a label' DISK", "udf"),
        (0, "mkudffs --blocksize=2048 -l label DISK", "udf"),
        (0, "mke2fs -q -O journal_dev -L log DISK", "jbd"),
        (
            0,
            "mkswap -q -L s DISK && printf S1SUSPEND | dd of=DISK bs=1 seek=4086 conv=notrunc status=none",
            "swsuspend",
        ),
        // What makes these wants a kernel with it, or is in no distribution: just what they are told by.
        (0, &member("lvm", ""), "LVM2_member"),
        (0, &member("raid", "0"), "linux_raid_member"),
        (0, &member("raid", "4096"), "linux_raid_member"),
        (0, &member("raid", "134209536"), "linux_raid_member"),
        (0, &member("bcache", ""), "bcache"),
        (0, &member("zfs", ""), "zfs_member"),
        (0, &member("bitlocker", ""), "BitLocker"),
        (0, &member("bitlocker-to-go", ""), "BitLocker"),
        (0, &member("squashfs3", ""), "squashfs3"),
        (0, &member("hfsplus", ""), "hfsplus"),
        // What was here before shines through.
        (
            0,
            "mkfs.vfat -F 32 -n OLD DISK && mkfs.ext4 -q -F -L new DISK",
            "ext4",
        ),
        (0, "echo label: gpt | sfdisk -q DISK", ""),
        (
            0,
            "dd if=/dev/urandom of=DISK bs=1M count=1 conv=notrunc status=none && dd if=/dev/zero of=DISK bs=64k count=1 conv=notrunc status=none",
            "",
        ),
        (0, "true", ""),
    ];
    let iso = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/small-iso");
    for (number, (mib, command, expected)) in cases.into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.disk"));
        let mib = if mib == 0 { 128 } else { mib };
        let command = command
            .replace("DISK", path.to_str().unwrap())
            .replace("CONTENT", content.to_str().unwrap())
            .replace("ISO ", &format!("{iso} "));
        File::create(&path).unwrap().set_len(mib * MIB).unwrap();
        run("sh", &["-c", &command]);
        both_say(&path, dir.path(), expected, &command);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn used_space_is_what_other_programs_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fs");
    let path = file.to_str().unwrap();
    let image = File::create(&file).unwrap();
    image.set_len(256 * MIB).unwrap();
    let used = || {
        let all = [region("fs", 0, 256 * MIB)];
        Contents::read(&file, Bytes(256 * MIB), &all).unwrap().all[0]
            .used
            .unwrap()
            .0
    };

    run("mkfs.ext4", &["-q", "-b", "4096", path]);
    let said = run("dumpe2fs", &["-h", path]);
    let field = |name: &str| -> u64 {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(
        used(),
        (field("Block count:") - field("Free blocks:")) * 4096
    );

    run("wipefs", &["-q", "-a", path]);
    run("mkfs.vfat", &["-F", "32", "-s", "4", path]);
    let payload = dir.path().join("payload");
    std::fs::write(&payload, vec![1; 3 << 20]).unwrap();
    run(
        "mcopy",
        &["-i", path, payload.to_str().unwrap(), "::/payload"],
    );
    // One cluster of 2 KiB is the root directory.
    assert_eq!(used(), (3 << 20) + 2048);
}

#[test]
fn members_of_arrays_are_reasons() {
    let content = |kind: &str| Content {
        name: "sdb1".into(),
        extent: region("", 0, 1).extent,
        kind: Some(kind.into()),
        label: None,
        uuid: None,
        used: None,
        unreadable: None,
    };
    let all = ["LVM2_member", "vfat", "zfs_member", "btrfs"].map(content);
    let reasons = Contents { all: all.into() }.reasons();
    let said: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["sdb1 is LVM2_member", "sdb1 is zfs_member"]);
}
