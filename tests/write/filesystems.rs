// SPDX-License-Identifier: MIT OR Apache-2.0
//! The filesystems of a stick: their checkers find nothing, the kernel mounts them, what is in them is what the plan
//! says and what an initrd and a systemd look for, and overlayfs takes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::device::{Loop, Mounted};
use crate::support::lab::scratch;
use crate::support::program::{output, run, text};
use crate::written::{Planned, Written, number, word};

/// Who made the stick: what an ordinary user cannot do is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Root,
    Ordinary,
}

pub fn judge(written: &Written, maker: Maker) {
    for partition in written.partitions() {
        let device = Loop::window(&written.path, partition.at, partition.len);
        check(&partition, &device);
        let node = text(&device.node);
        {
            let mounted = Mounted::new(node, &["-t", partition.kind, "-o", "ro"]);
            same_tree(&partition, mounted.path(), maker);
            match partition.purpose {
                "overlay" => overlay(written, &partition, mounted.path(), maker),
                _ => home(mounted.path(), maker),
            }
        }
        if partition.purpose == "overlay" {
            take(&partition, node);
        }
        check(&partition, &device);
    }
}

/// The checkers, which must not see old bytes either.
fn check(partition: &Planned<'_>, device: &Loop) {
    let node = text(&device.node);
    match partition.kind {
        "btrfs" => run("btrfs", &["check", "--readonly", "--check-data-csum", node]),
        "ext4" => run("e2fsck", &["-f", "-n", node]),
        "xfs" => run("xfs_repair", &["-n", node]),
        other => panic!("{other}"),
    };
}

/// Type, mode, owner, SELinux label and content of a file: of the plan, or of the filesystem.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    label: Option<String>,
    content: String,
}

fn same_tree(partition: &Planned<'_>, top: &Path, maker: Maker) {
    let mut planned = BTreeMap::new();
    for entry in partition.json["tree"].as_array().unwrap() {
        planned.insert(word(&entry["path"]).to_owned(), facts_of_plan(entry, maker));
    }
    // Every filesystem has a root; where the plan says nothing of it, it is plain.
    planned.entry(String::new()).or_insert_with(|| Facts {
        kind: "directory",
        mode: 0o755,
        owner: (0, 0),
        label: None,
        content: String::new(),
    });
    let mut found = BTreeMap::new();
    walk(top, "", &mut found);
    assert_eq!(found, planned, "{} {}", partition.kind, partition.purpose);
}

fn facts_of_plan(entry: &Value, maker: Maker) -> Facts {
    let (kind, content) = match word(&entry["kind"]) {
        "directory" => ("directory", ""),
        "file" => ("file", word(&entry["text"])),
        "symlink" => ("symlink", word(&entry["target"])),
        other => panic!("{other}"),
    };
    let attributes = &entry["attributes"];
    let small = |name: &str| u32::try_from(number(&attributes[name])).unwrap();
    let label = attributes["xattrs"]["security.selinux"].as_str();
    Facts {
        kind,
        mode: small("mode"),
        owner: (small("uid"), small("gid")),
        label: label.filter(|_| maker == Maker::Root).map(Into::into),
        content: content.into(),
    }
}

fn walk(top: &Path, below: &str, found: &mut BTreeMap<String, Facts>) {
    let path = if below.is_empty() {
        top.to_owned()
    } else {
        top.join(below)
    };
    let meta = fs::symlink_metadata(&path).unwrap();
    let (kind, content) = if meta.is_dir() {
        ("directory", String::new())
    } else if meta.is_symlink() {
        let target = fs::read_link(&path).unwrap();
        ("symlink", text(&target).to_owned())
    } else {
        ("file", fs::read_to_string(&path).unwrap())
    };
    let facts = Facts {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        label: label(&path),
        content,
    };
    found.insert(below.to_owned(), facts);
    if kind == "directory" {
        for entry in fs::read_dir(&path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // mke2fs makes it for e2fsck.
            if !(below.is_empty() && name == "lost+found") {
                walk(
                    top,
                    format!("{below}/{name}").trim_start_matches('/'),
                    found,
                );
            }
        }
    }
}

fn label(path: &Path) -> Option<String> {
    let query = ["--no-dereference", "--only-values", "--absolute-names"];
    let name = ["-n", "security.selinux", text(path)];
    let out = output("getfattr", &[&query[..], &name].concat());
    let value = String::from_utf8(out.stdout).unwrap();
    out.status
        .success()
        .then(|| value.trim_end_matches('\0').to_owned())
}

/// What small-iso's root has; the names are those of the image's own directories.
const LABELS: [(&str, &str); 5] = [
    ("state/upper", "root_t"),
    ("state/ovlwork", "root_t"),
    ("state/upper/etc", "etc_t"),
    ("state/upper/etc/systemd/system", "systemd_unit_file_t"),
    (
        "state/upper/etc/systemd/system/home.mount",
        "systemd_unit_file_t",
    ),
];

/// What dmsquash-live and systemd look for, from their own documentation and not from the plan.
fn overlay(written: &Written, partition: &Planned<'_>, top: &Path, maker: Maker) {
    let arguments = written.plan()["boot"]["arguments"].as_array().unwrap();
    let place = format!("rd.live.overlay=UUID={}:/state/upper", partition.uuid);
    assert!(
        arguments.iter().any(|argument| *argument == place),
        "{arguments:?}"
    );
    assert!(top.join("state/upper").is_dir() && top.join("state/ovlwork").is_dir());
    if maker == Maker::Root {
        for (path, kind) in LABELS {
            let wanted = format!("system_u:object_r:{kind}:s0");
            assert_eq!(label(&top.join(path)), Some(wanted), "{path}");
        }
    }
    let units = top.join("state/upper/etc/systemd/system");
    let unit = fs::read_to_string(units.join("home.mount")).unwrap();
    let partitions = written.partitions();
    let home = partitions.iter().find(|p| p.purpose == "home").unwrap();
    for line in [
        format!("What=/dev/disk/by-uuid/{}", home.uuid),
        "Where=/home".into(),
        format!("Type={}", home.kind),
    ] {
        assert_eq!(
            unit.lines().filter(|l| **l == line).count(),
            1,
            "{line}: {unit}"
        );
    }
    let wanted = units.join("local-fs.target.wants/home.mount");
    assert_eq!(
        fs::canonicalize(wanted).unwrap(),
        units.join("home.mount").canonicalize().unwrap()
    );

    if partition.kind == "btrfs" {
        let subvolumes = run("btrfs", &["subvolume", "list", text(top)]);
        let listed: Vec<&str> = subvolumes
            .lines()
            .filter_map(|l| l.split(" path ").nth(1))
            .collect();
        match maker {
            Maker::Root => {
                assert_eq!(listed, ["state"]);
                for path in ["state/upper", "state/ovlwork"] {
                    let path = top.join(path);
                    let property = run("btrfs", &["property", "get", text(&path), "compression"]);
                    assert_eq!(property.trim(), "compression=zstd");
                }
            }
            // mkfs.btrfs learned to make them in 6.12.
            Maker::Ordinary => assert!(listed.len() <= 1 && listed.iter().all(|s| *s == "state")),
        }
    }
}

fn home(top: &Path, maker: Maker) {
    let wanted = (maker == Maker::Root).then(|| "system_u:object_r:home_root_t:s0".to_owned());
    assert_eq!(label(top), wanted);
}

/// The kernel's overlayfs takes both directories as dracut hands them over, and what is written comes back.
fn take(partition: &Planned<'_>, node: &str) {
    let mounted = Mounted::new(node, &["-t", partition.kind]);
    let state = mounted.path().join("state");
    let lower = TempDir::new_in(scratch()).unwrap();
    fs::create_dir_all(lower.path().join("etc")).unwrap();
    fs::write(lower.path().join("etc/from-below"), "below").unwrap();
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(lower.path()),
        text(&state.join("upper")),
        text(&state.join("ovlwork"))
    );
    let line = "all work and no play\n".repeat(40_000);
    {
        let root = Mounted::new("overlay", &["-t", "overlay", "-o", &layers]);
        let root = root.path();
        assert_eq!(
            fs::read_to_string(root.join("etc/from-below")).unwrap(),
            "below"
        );
        assert!(root.join("etc/systemd/system/home.mount").is_file());
        fs::write(root.join("etc/kept"), &line).unwrap();
        fs::write(root.join("etc/from-below"), "changed").unwrap();
        symlink("kept", root.join("etc/link")).unwrap();
    }
    let kept = state.join("upper/etc/kept");
    assert!(fs::read_to_string(&kept).unwrap() == line);
    assert_eq!(
        fs::read_to_string(state.join("upper/etc/from-below")).unwrap(),
        "changed"
    );
    if partition.kind == "btrfs" {
        run("sync", &["-f", text(&kept)]);
        if partition.json["compressed"] == true {
            let map = run("filefrag", &["-v", text(&kept)]);
            let extents: Vec<&str> = map
                .lines()
                .filter(|l| l.trim_start().contains(": ") && l.contains(".."))
                .collect();
            assert!(
                !extents.is_empty() && extents.iter().all(|l| l.contains("encoded")),
                "{map}"
            );
        }
        let scrub = run("btrfs", &["scrub", "start", "-B", text(mounted.path())]);
        assert!(scrub.contains("no errors found"), "{scrub}");
    }
}
