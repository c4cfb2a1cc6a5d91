// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree with everything that is odd about one, and what the kernel says of it once it is mounted.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use tempfile::TempDir;

use super::super::*;
use crate::read::Source;

pub(super) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn open(path: &Path) -> Source {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    Source::new(file, Bytes(len))
}

pub(super) fn label(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A small root tree with everything that is odd about one.
pub(super) fn tree() -> TempDir {
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
pub(super) struct Mounted(TempDir);

impl Mounted {
    pub(super) fn new(image: &Path) -> Mounted {
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
pub(super) fn kernel(path: &Path) -> Attributes {
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

pub(super) fn all_paths(root: &Path) -> Vec<PathBuf> {
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
pub(super) fn same_as_kernel(image: &Path, inside: &Path, readable: bool) {
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

pub(super) fn follows_links(tree: &Tree<'_>, readable: bool) {
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
