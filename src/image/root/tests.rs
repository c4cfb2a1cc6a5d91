// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judged by the kernel: every path of a mounted image must say the same through the readers here. Needs root.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use tempfile::TempDir;

use super::*;
use crate::read::Source;

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn open(path: &Path) -> Source {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    Source::new(file, Bytes(len))
}

fn label(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A small root tree with everything that is odd about one.
fn tree() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for path in [
        "etc/systemd/system",
        "usr/lib",
        "usr/bin",
        "var/many",
        "home",
        "dev",
    ] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    fs::write(root.join("usr/lib/os-release"), "ID=test\n").unwrap();
    fs::write(root.join("etc/fstab"), "").unwrap();
    symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("/usr/bin", root.join("bin")).unwrap();
    symlink("../../../../etc", root.join("etc/up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("x".repeat(200), root.join("long")).unwrap();
    symlink("y".repeat(59), root.join("fifty-nine")).unwrap();
    symlink("z".repeat(60), root.join("sixty")).unwrap();
    for index in 0..600 {
        let name = format!("var/many/{index:04}-a-name-that-fills-blocks-of-a-directory");
        fs::write(root.join(name), "").unwrap();
    }
    let noise: Vec<u8> = (0..500_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0] ^ (i >> 9).to_le_bytes()[0])
        .collect();
    fs::write(root.join("usr/bin/large"), &noise).unwrap();
    fs::write(root.join("usr/bin/exact"), &noise[..131_072]).unwrap();
    fs::hard_link(root.join("usr/bin/large"), root.join("usr/bin/link")).unwrap();
    let sparse = File::create(root.join("var/sparse")).unwrap();
    sparse.set_len(700_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 300_000).unwrap();
    for (name, kind) in [("dev/null", "c"), ("dev/disk", "b")] {
        run(
            "mknod",
            &[root.join(name).to_str().unwrap(), kind, "1", "3"],
        );
    }
    run("mkfifo", &[root.join("dev/fifo").to_str().unwrap()]);
    std::os::unix::net::UnixListener::bind(root.join("dev/socket")).unwrap();

    for (index, path) in [
        "etc/systemd/system",
        "etc",
        "home",
        "usr/lib/os-release",
        "long",
        "dev/null",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.join(path);
        label(
            &path,
            "security.selinux",
            format!("system_u:object_r:t{index}_t:s0\0").as_bytes(),
        );
        let odd = u32::try_from(index).unwrap();
        std::os::unix::fs::lchown(&path, Some(100_000 * odd), Some(7)).unwrap();
    }
    let home = root.join("home");
    label(&home, "user.large", &[b'v'; 900]);
    label(&home, "user.empty", b"");
    label(&home, "trusted.overlay.opaque", b"y");
    label(&root.join("etc"), "user.large", &[b'v'; 900]);
    // u::rwx, u:1000:r-x, g::r-x, m::r-x, o::---
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in [
        (1_u16, 7_u16, u32::MAX),
        (2, 5, 1000),
        (4, 5, u32::MAX),
        (16, 5, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    if lsetxattr(
        root.join("usr"),
        "system.posix_acl_access",
        &acl,
        XattrFlags::empty(),
    )
    .is_err()
    {
        eprintln!("no access lists on this filesystem");
    }
    let modes = [
        ("etc/systemd/system", 0o1751),
        ("usr/bin/large", 0o4755),
        ("home", 0o2770),
    ];
    for (path, mode) in modes {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    directory
}

/// A mounted image.
struct Mounted(TempDir);

impl Mounted {
    fn new(image: &Path) -> Mounted {
        let at = tempfile::tempdir().unwrap();
        let names = [image.to_str().unwrap(), at.path().to_str().unwrap()];
        run("mount", &["-o", "loop,ro", names[0], names[1]]);
        Mounted(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// What the kernel says of a path.
fn kernel(path: &Path) -> Attributes {
    let stat = fs::symlink_metadata(path).unwrap();
    let kind = stat.file_type();
    let mut names = vec![0; 4096];
    let len = llistxattr(path, &mut names).unwrap();
    let mut xattrs: Vec<Xattr> = names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect();
    xattrs.sort();
    Attributes {
        mode: stat.mode(),
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: stat.mtime(),
        xattrs,
        kind: if kind.is_dir() {
            FileKind::Directory
        } else if kind.is_symlink() {
            FileKind::Symlink(fs::read_link(path).unwrap().into_os_string().into_vec())
        } else if kind.is_file() {
            FileKind::Regular(Bytes(stat.len()))
        } else {
            assert!(
                kind.is_fifo()
                    || kind.is_socket()
                    || kind.is_char_device()
                    || kind.is_block_device()
            );
            FileKind::Special
        },
    }
}

fn all_paths(root: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while at < paths.len() {
        let here = paths[at].clone();
        at += 1;
        let full = root.join(&here);
        if fs::symlink_metadata(&full).unwrap().is_dir() {
            let names = fs::read_dir(&full)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            let mut names: Vec<OsString> = names.collect();
            names.sort();
            paths.extend(names.into_iter().map(|name| here.join(name)));
        }
    }
    paths
}

/// Compares a whole tree; `readable` says whether file contents are expected to be read too.
fn same_as_kernel(image: &Path, inside: &Path, readable: bool) {
    let mounted = Mounted::new(inside);
    let source = open(image);
    let root = RootImage::inspect(&source).unwrap();
    let tree = root.tree().unwrap();
    let paths = all_paths(mounted.0.path());
    assert!(paths.len() > 600);
    let mut labelled = 0;
    for path in &paths {
        let full = mounted.0.path().join(path);
        let path = path.to_str().unwrap();
        let expected = kernel(&full);
        labelled += usize::from(expected.xattr(b"security.selinux").is_some());
        let found = tree
            .attributes(path)
            .unwrap()
            .unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(found, expected, "{path}");
        if matches!(expected.kind, FileKind::Regular(_)) && readable {
            let contents = tree.read_small(path, 1 << 20).unwrap().unwrap();
            assert!(contents == fs::read(&full).unwrap(), "{path}");
        }
    }
    assert_eq!(labelled, 7);
    follows_links(&tree, readable);
}

fn follows_links(tree: &Tree<'_>, readable: bool) {
    for path in [
        "/nowhere",
        "etc/fstab/x",
        "loop/x",
        "var/many/x",
        "var/many/9999",
        "etc/\u{e9}",
    ] {
        assert!(!tree.exists(path).unwrap(), "{path}");
    }
    for path in [
        "/",
        "",
        "..",
        "lib/os-release",
        "/bin/large",
        "etc/up/up/up/fstab",
        "loop",
        "./etc/../home/",
    ] {
        assert!(tree.exists(path).unwrap(), "{path}");
    }
    assert_eq!(tree.read_small("loop", 10).unwrap(), None);
    assert_eq!(tree.read_small("etc", 10).unwrap(), None);
    if readable {
        assert_eq!(
            tree.read_small("/etc/os-release", 100).unwrap().unwrap(),
            b"ID=test\n"
        );
        assert!(tree.read_small("/etc/os-release", 3).is_err());
    }
}

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
