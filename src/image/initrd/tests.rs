// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judged by the archives of cpio(1) and by the compressors of the distributions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Runs a shell line in a directory and gives its output.
fn shell(directory: &Path, line: &str) -> Vec<u8> {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-ec", line])
        .current_dir(directory)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}");
    output.stdout
}

/// A tree like dracut's, with something large and hard to pack in it.
fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in [
        "usr/lib/dracut",
        "usr/lib/modules/6.9/kernel/fs/overlayfs",
        "usr/lib/modules/6.9/kernel/fs/isofs",
        "usr/lib/systemd",
        "usr/bin",
        "usr/sbin",
        "etc",
        "var/lib/dracut/hooks/mount",
    ] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    let noise: Vec<u8> = (0..700_000_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ (i >> 7).to_le_bytes()[0])
        .collect();
    for (path, text) in [
        (
            "usr/lib/initrd-release",
            b"NAME=x\nVERSION=\"44 dracut-106-6\"\n".as_slice(),
        ),
        (
            "usr/lib/dracut/modules.txt",
            b"base\ndmsquash-live\nsystemd\n",
        ),
        (
            "usr/lib/modules/6.9/modules.builtin",
            b"kernel/fs/ext4/ext4.ko\nkernel/lib/x.ko\n",
        ),
        (
            "usr/lib/modules/6.9/kernel/fs/overlayfs/overlay.ko.xz",
            &noise,
        ),
        ("usr/lib/modules/6.9/kernel/fs/isofs/isofs.ko", b"x"),
        ("usr/lib/systemd/libsystemd-shared-257.9-1.fc42.so", b"x"),
        ("usr/bin/checkisomd5", b"x"),
        ("usr/sbin/dmsquash-live-root", b"x"),
        ("var/lib/dracut/hooks/mount/01-mount-overlayfs.sh", b"x"),
    ] {
        fs::write(root.join(path), text).unwrap();
    }
    std::os::unix::fs::symlink("../usr/lib/initrd-release", root.join("etc/initrd-release"))
        .unwrap();
    directory
}

fn words<T: ToString>(set: &BTreeSet<T>) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

fn assert_all(found: &Initrd) {
    assert_eq!(found.stopped, None);
    assert!(found.complete);
    assert_eq!((found.dracut, found.systemd), (Some(106), Some(257)));
    assert_eq!(words(&found.modules), ["base", "dmsquash-live", "systemd"]);
    assert_eq!(words(&found.filesystems), ["ext4", "iso9660", "overlay"]);
    assert_eq!(words(&found.tools), ["checkisomd5"]);
    let live = [LiveScript::DmsquashLive, LiveScript::Overlayfs];
    assert_eq!(found.live, BTreeSet::from(live));
}

const CPIO: &str = "find . | LC_ALL=C sort | cpio -o -H newc --quiet";

#[test]
fn every_compression_is_unpacked() {
    let tree = tree();
    for (with, packing) in [
        ("cat", Packing::None),
        ("gzip -9", Packing::Gzip),
        ("zstd -q", Packing::Zstd),
        ("zstd -q -19 --long=26 --check", Packing::Zstd),
        ("xz --check=crc32 --lzma2=dict=1MiB", Packing::Xz),
        ("xz -T2 --block-size=100000", Packing::Xz),
        ("xz --x86 --lzma2", Packing::Xz),
        ("lzma", Packing::Lzma),
        ("lz4 -q -9", Packing::Lz4),
        ("lz4 -q -BD -B4", Packing::Lz4),
        ("lz4 -q -l -9", Packing::Lz4Legacy),
    ] {
        let image = shell(tree.path(), &format!("{CPIO} | {with}"));
        let found = inspect(&image).unwrap();
        assert_all(&found);
        assert_eq!(found.segments, [packing], "{with}");
    }
    let checked = shell(tree.path(), &CPIO.replace("newc", "crc"));
    assert_all(&inspect(&checked).unwrap());
}

#[test]
fn segments_follow_each_other_with_zeros_between() {
    let tree = tree();
    let early = "find etc | cpio -o -H newc --quiet";
    for with in ["gzip", "zstd -q", "xz", "lz4 -q", "lz4 -q -l", "lzma"] {
        // Microcode first, padded; then the main archive; then a second one in another compression.
        let line = format!(
            "{early}; head -c 1536 /dev/zero; {CPIO} | {with}; head -c 7 /dev/zero; {early} | gzip; {early} | {with}"
        );
        let image = shell(tree.path(), &line);
        let found = inspect(&image).unwrap();
        assert_all(&found);
        assert_eq!(found.segments.len(), 4, "{with}: {:?}", found.segments);
        assert_eq!(found.segments[0], Packing::None);
        assert_eq!(found.segments[1], found.segments[3], "{with}");
        assert_eq!(found.segments[2], Packing::Gzip);
    }
}

#[test]
fn an_archive_may_be_cut_into_several_members() {
    let tree = tree();
    let whole = shell(tree.path(), CPIO);
    let outside = tempfile::tempdir().unwrap();
    for with in ["gzip", "zstd -q", "xz", "lz4 -q", "lz4 -q -l"] {
        let mut image = Vec::new();
        // The last member is empty.
        for piece in whole.chunks(200_000).chain([[].as_slice()]) {
            fs::write(outside.path().join("piece"), piece).unwrap();
            image.extend(shell(outside.path(), &format!("{with} < piece")));
        }
        let found = inspect(&image).unwrap();
        assert_eq!(found.stopped, None, "{with}");
        assert_all(&found);
        assert!(found.segments.len() <= 2, "{with}");
    }
}

#[test]
fn several_archives_may_be_in_one_member() {
    let tree = tree();
    let line =
        format!("(find etc | cpio -o -H newc --quiet; head -c 512 /dev/zero; {CPIO}) | zstd -q");
    assert_all(&inspect(&shell(tree.path(), &line)).unwrap());
}

#[test]
fn skippable_frames_are_skipped() {
    let tree = tree();
    let mut image = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    image.extend(shell(tree.path(), &format!("{CPIO} | zstd -q")));
    assert_all(&inspect(&image).unwrap());
}

#[test]
fn a_cut_or_damaged_initrd_is_not_complete() {
    let tree = tree();
    for with in [
        "cat",
        "gzip",
        "zstd -q --check",
        "xz",
        "lz4 -q",
        "lz4 -q -l",
    ] {
        let whole = shell(tree.path(), &format!("{CPIO} | {with}"));
        let cut = whole[..whole.len() * 3 / 4].to_vec();
        let found = inspect(&cut).unwrap();
        assert!(!found.complete, "{with}");
        assert!(found.stopped.is_some());
    }
    for with in ["gzip", "zstd -q --check", "xz"] {
        let mut image = shell(tree.path(), &format!("{CPIO} | {with}"));
        let middle = image.len() / 2;
        image[middle] ^= 0x10;
        assert!(!inspect(&image).unwrap().complete, "{with}");
    }
    assert!(!inspect(&vec![0_u8; 5000]).unwrap().complete);
    assert!(!inspect(&b"neither".to_vec()).unwrap().complete);
}

#[test]
fn a_window_that_is_too_large_is_refused_with_a_reason() {
    let tree = tree();
    for with in [
        "zstd -q --ultra -22 --long=28 --stream-size=1000000000",
        "xz --lzma2=dict=128MiB",
        "lzma --lzma1=dict=128MiB",
    ] {
        let line = format!("{CPIO} | cat - <(head -c 1000 /dev/zero) | {with}");
        let line = if with.starts_with("zstd") {
            // An unknown length, so that the window is what was asked for.
            format!("{CPIO} | zstd -q --ultra -22 --long=28")
        } else {
            line
        };
        let found = inspect(&shell(tree.path(), &line)).unwrap();
        assert!(!found.complete, "{with}");
        let why = found.stopped.unwrap();
        assert!(why.contains("cannot be unpacked"), "{why}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    // A sparse file of 3 GiB in an archive: some hundred KiB of zstd.
    let line = "truncate -s 3G zeros; echo zeros | cpio -o -H newc --quiet | zstd -q -1 --no-check";
    let image = shell(directory.path(), line);
    assert!(image.len() < 1 << 20);
    let found = inspect(&image).unwrap();
    assert!(found.stopped.unwrap().contains("unpacks to more than"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096), magic in 0..8_usize) {
        let magics: [&[u8]; 8] = [
            b"", b"070701", &[0x1f, 0x8b], &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd],
            &[4, 0x22, 0x4d, 0x18], &[2, 0x21, 0x4c, 0x18], &[0x5d, 0, 0, 0, 0, 1],
        ];
        let image = [magics[magic], &bytes].concat();
        let _ = inspect(&image).unwrap();
    }
}

#[test]
fn mutated_initrds_never_panic() {
    let tree = tree();
    fs::remove_file(
        tree.path()
            .join("usr/lib/modules/6.9/kernel/fs/overlayfs/overlay.ko.xz"),
    )
    .unwrap();
    for with in [
        "cat",
        "gzip",
        "zstd -q",
        "xz",
        "lz4 -q",
        "lz4 -q -l",
        "lzma",
    ] {
        let image = shell(tree.path(), &format!("{CPIO} | {with}"));
        let len = image.len();
        let runner = ProptestConfig::with_cases(200);
        proptest!(runner, |(at in 0..len, to: u8, more in 0..len, value: u8)| {
            let mut image = image.clone();
            image[at] = to;
            image[more] = value;
            let _ = inspect(&image).unwrap();
        });
    }
}
