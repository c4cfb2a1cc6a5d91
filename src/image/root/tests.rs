// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judged by the kernel: every path of a mounted image must say the same through the readers here. Needs root.

mod kernel;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use self::kernel::{label, open, run, same_as_kernel, tree};
use super::*;

#[test]
fn squashfs_of_every_compression() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("gzip", "-comp gzip"),
        ("xz", "-comp xz -Xbcj x86 -b 1M"),
        ("zstd", "-comp zstd -Xcompression-level 19"),
        ("lz4", "-comp lz4 -Xhc"),
        ("plain", "-noI -noD -noF -noX"),
        ("loose", "-comp zstd -no-fragments -b 4K"),
    ] {
        let image = directory.path().join(name);
        let names = [content.path().to_str().unwrap(), image.to_str().unwrap()];
        let args = [
            &[names[0], names[1], "-quiet", "-no-progress"],
            &options.split(' ').collect::<Vec<_>>()[..],
        ]
        .concat();
        run("mksquashfs", &args);
        let source = open(&image);
        let root = RootImage::inspect(&source).unwrap();
        assert_eq!(root.kind, RootKind::Tree(Kind::Squashfs));
        same_as_kernel(&image, &image, true);
    }
}

#[test]
fn lzo_is_answered_as_unsupported() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    run(
        "mksquashfs",
        &[
            content.path().to_str().unwrap(),
            image.to_str().unwrap(),
            "-quiet",
            "-no-progress",
            "-comp",
            "lzo",
        ],
    );
    let source = open(&image);
    let root = RootImage::inspect(&source).unwrap();
    assert!(
        matches!(root.tree().err(), Some(Unsupported::Compression { with, .. }) if with == "lzo")
    );
}

#[test]
fn erofs_of_every_layout() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    for (name, options, readable) in [
        ("plain", "", true),
        ("own", "-x-1", true),
        ("shared", "-x1", true),
        ("compact", "-Eforce-inode-compact --all-root", true),
        ("extended", "-Eforce-inode-extended -x0", true),
        ("bare", "-Enoinline_data", true),
        ("chunks", "--chunksize=4096", true),
        ("lz4", "-zlz4hc", false),
        ("legacy", "-zlz4 -Elegacy-compress", false),
    ] {
        let image = directory.path().join(name);
        let names = [image.to_str().unwrap(), content.path().to_str().unwrap()];
        let options = options.split(' ').filter(|option| !option.is_empty());
        let args: Vec<&str> = ["--quiet"]
            .into_iter()
            .chain(options)
            .chain(names)
            .collect();
        run("mkfs.erofs", &args);
        let source = open(&image);
        let root = RootImage::inspect(&source).unwrap();
        assert_eq!(root.kind, RootKind::Tree(Kind::Erofs));
        if name == "own" {
            // Without attributes at all.
            let found = root.tree().unwrap().attributes("etc").unwrap().unwrap();
            assert_eq!(found.xattrs, []);
            continue;
        }
        same_as_kernel(&image, &image, readable);
        if name == "lz4" {
            let answer = root.tree().unwrap().read_small("usr/bin/large", 1 << 20);
            assert!(matches!(
                answer,
                Err(TreeError::Unsupported(Unsupported::Compression { .. }))
            ));
        }
    }
}

/// An ext4 of the tree, made by copying, for `mkfs.ext4 -d` leaves out what it does not know.
fn ext4(content: &Path, image: &Path, options: &[&str]) {
    File::create(image).unwrap().set_len(48 << 20).unwrap();
    let name = image.to_str().unwrap();
    run(
        "mkfs.ext4",
        &[&["-q", "-L", "_/"], options, &[name]].concat(),
    );
    let at = tempfile::tempdir().unwrap();
    let at_name = at.path().to_str().unwrap();
    run("mount", &["-o", "loop", name, at_name]);
    let copied = Command::new("cp")
        .args(["-a", &format!("{}/.", content.display()), at_name])
        .status()
        .unwrap();
    run("umount", &[at_name]);
    assert!(copied.success());
}

#[test]
fn ext4_of_every_layout() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    for (index, options) in [
        &[][..],
        &["-I", "128"],
        &["-b", "1024", "-O", "^extents,^64bit,^metadata_csum"],
        &["-O", "^dir_index,^flex_bg"],
        &["-b", "1024", "-I", "1024"],
    ]
    .into_iter()
    .enumerate()
    {
        let image = directory.path().join(index.to_string());
        ext4(content.path(), &image, options);
        same_as_kernel(&image, &image, true);
    }
    // The other reader, for what both read.
    let other =
        ext4_view::Ext4::load(Box::new(fs::read(directory.path().join("0")).unwrap())).unwrap();
    let source = open(&directory.path().join("0"));
    let root = RootImage::inspect(&source).unwrap();
    let found = root
        .tree()
        .unwrap()
        .attributes("etc/systemd/system")
        .unwrap()
        .unwrap();
    let expected = other.symlink_metadata("/etc/systemd/system").unwrap();
    assert_eq!((found.uid, found.gid), (expected.uid(), expected.gid()));
    let filled = directory.path().join("filled");
    File::create(&filled).unwrap().set_len(48 << 20).unwrap();
    run(
        "mkfs.ext4",
        &[
            "-q",
            "-d",
            content.path().to_str().unwrap(),
            filled.to_str().unwrap(),
        ],
    );
    same_as_kernel(&filled, &filled, true);
}

#[test]
fn a_filesystem_in_a_squashfs() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    let live = directory.path().join("tree/LiveOS");
    fs::create_dir_all(&live).unwrap();
    let inner = live.join("rootfs.img");
    ext4(content.path(), &inner, &[]);
    let image = directory.path().join("squashfs.img");
    let names = [directory.path().join("tree"), image.clone()];
    run(
        "mksquashfs",
        &[
            names[0].to_str().unwrap(),
            names[1].to_str().unwrap(),
            "-quiet",
            "-no-progress",
            "-comp",
            "zstd",
        ],
    );
    let source = open(&image);
    let root = RootImage::inspect(&source).unwrap();
    let RootKind::Nested { path, inner: found } = &root.kind else {
        panic!("{:?}", root.kind);
    };
    assert_eq!(
        (*path, found.kind, found.label.as_deref()),
        ("LiveOS/rootfs.img", Kind::Ext4, Some("_/"))
    );
    assert_eq!(root.compression(), Some("zstd"));
    same_as_kernel(&image, &inner, true);

    fs::remove_file(&inner).unwrap();
    File::create(&inner).unwrap().set_len(128 << 20).unwrap();
    run("mkfs.btrfs", &["-q", "-L", "seed", inner.to_str().unwrap()]);
    fs::remove_file(&image).unwrap();
    run(
        "mksquashfs",
        &[
            names[0].to_str().unwrap(),
            names[1].to_str().unwrap(),
            "-quiet",
            "-no-progress",
        ],
    );
    let source = open(&image);
    let root = RootImage::inspect(&source).unwrap();
    assert_eq!(root.inner().label.as_deref(), Some("seed"));
    assert_eq!(
        root.tree().err(),
        Some(Unsupported::NeedsMount(Kind::Btrfs))
    );
}

#[test]
fn what_cannot_be_a_root_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    assert!(RootImage::inspect(&open(&image)).is_err());
    run("mkswap", &["-q", image.to_str().unwrap()]);
    assert!(RootImage::inspect(&open(&image)).is_err());
}

#[test]
fn an_unreplayed_journal_is_answered_as_unsupported() {
    let content = tree();
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    ext4(content.path(), &image, &[]);
    run(
        "debugfs",
        &[
            "-w",
            "-R",
            "feature needs_recovery",
            image.to_str().unwrap(),
        ],
    );
    let source = open(&image);
    let root = RootImage::inspect(&source).unwrap();
    assert!(matches!(root.tree().err(), Some(Unsupported::Feature(_))));
}

/// A tree small enough to damage everywhere.
fn small_images() -> Vec<Vec<u8>> {
    let content = tempfile::tempdir().unwrap();
    fs::create_dir_all(content.path().join("etc/systemd/system")).unwrap();
    fs::write(
        content.path().join("etc/os-release"),
        "ID=test\n".repeat(1000),
    )
    .unwrap();
    symlink("etc", content.path().join("link")).unwrap();
    label(
        &content.path().join("etc"),
        "security.selinux",
        b"system_u:object_r:etc_t:s0\0",
    );
    label(&content.path().join("etc"), "user.other", &[7; 300]);
    let name = content.path().to_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for line in [
        "mksquashfs TREE IMAGE -quiet -no-progress -noI -noX",
        "mksquashfs TREE IMAGE -quiet -no-progress -comp xz",
        "mksquashfs TREE IMAGE -quiet -no-progress -comp zstd",
        "mksquashfs TREE IMAGE -quiet -no-progress -comp lz4",
        "mkfs.erofs --quiet -x1 IMAGE TREE",
        "mkfs.erofs --quiet --chunksize=4096 -Eforce-inode-extended IMAGE TREE",
        "mkfs.ext4 -q -d TREE IMAGE 256K",
        "mkfs.ext4 -q -O ^extents,^64bit,^metadata_csum -d TREE IMAGE 1M",
    ] {
        let image = directory.path().join(images.len().to_string());
        let line = line
            .replace("TREE", name)
            .replace("IMAGE", image.to_str().unwrap());
        let words: Vec<&str> = line.split(' ').collect();
        run(words[0], &words[1..]);
        images.push(fs::read(image).unwrap());
    }
    images
}

fn ask_everything(image: &[u8]) {
    let Ok(root) = RootImage::inspect(&image) else {
        return;
    };
    let Ok(tree) = root.tree() else { return };
    for path in ["", "link/systemd/system", "etc", "link", "none"] {
        let _ = tree.attributes(path);
    }
    let _ = tree.read_small("link/os-release", 1 << 20);
}

#[test]
fn damage_never_panics() {
    for image in small_images() {
        // Where something is, so that edits hit structures.
        let used: Vec<usize> = (0..image.len()).filter(|&at| image[at] != 0).collect();
        proptest!(ProptestConfig::with_cases(400), |(edits in proptest::collection::vec((any::<proptest::sample::Index>(), -2..6_isize, any::<u8>()), 1..6))| {
            let mut image = image.clone();
            for (index, shift, value) in edits {
                let at = used[index.index(used.len())].saturating_add_signed(shift).min(image.len() - 1);
                image[at] = value;
            }
            ask_everything(&image);
        });
        for cut in [100, 2000, image.len() / 2, image.len() - 1] {
            let mut image = image.clone();
            image.truncate(cut);
            ask_everything(&image);
        }
    }
}
