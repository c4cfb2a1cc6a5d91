// SPDX-License-Identifier: MIT OR Apache-2.0
//! The target of a plan: what it is, whether it may be written over, and what is lost with it.
//!
//! This is where the request meets the machine's disks. Everything it looks at ends up in a [`PlannedTarget`], which
//! pins the identity that is compared again before the first write.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::direct::Kind;
use crate::disk::probe::{Content, Contents, Region};
use crate::disk::standing::{Protected, Reason, Standing};
use crate::disk::target::Target;
use crate::disk::{Disk, Identity, System, shown};
use crate::plan::PlannedTarget;
use crate::read::Source;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::Table;
use crate::units::{Bytes, Extent};

/// Looks at the target that is asked for.
pub fn look(request: &Request, system: &System) -> Result<PlannedTarget, Refusal> {
    let refuse = |error: &dyn ToString| Refusal::Target(error.to_string());
    match Target::resolve(&request.target, image(request), system).map_err(|e| refuse(&e))? {
        Target::Disk(disk) => of_disk(request, &disk, system),
        Target::File { path, size } => {
            if request.create.is_some_and(|wanted| wanted != size) {
                return Err(Refusal::Target(format!(
                    "{} exists and has {}; leave out --size to write into it, or delete it first",
                    shown(&path),
                    size.binary()
                )));
            }
            let meta = std::fs::metadata(&path).map_err(|e| unreadable(&path, &e))?;
            let now = contents(&path, size, &[]).map_err(|e| unreadable(&path, &e))?;
            Ok(PlannedTarget {
                description: format!("stick image file, {}", sizes(size)),
                size,
                kind: Kind::File,
                identity: Some(Identity::of_file(&meta)),
                stick: true,
                unmount: Vec::new(),
                now: lines(&now),
                path,
            })
        }
        Target::NewFile { path } => {
            let Some(size) = request.create else {
                return Err(Refusal::Target(format!(
                    "{} does not exist; add --size 8GiB (or another size) to make it",
                    shown(&path)
                )));
            };
            let size = size.align_down(Bytes(512));
            Ok(PlannedTarget {
                description: format!("stick image file, {}", sizes(size)),
                size,
                kind: Kind::NewFile,
                identity: None,
                stick: true,
                unmount: Vec::new(),
                now: Vec::new(),
                path,
            })
        }
    }
}

/// The image, if the request is about one.
fn image(request: &Request) -> Option<&Path> {
    Some(request.image.as_path()).filter(|image| !image.as_os_str().is_empty())
}

/// A target that cannot be looked at.
fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    let next = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; run it as root",
        _ => "",
    };
    Refusal::Target(format!("opening {}: {error}{next}", shown(path)))
}

fn of_disk(request: &Request, disk: &Disk, system: &System) -> Result<PlannedTarget, Refusal> {
    let refuse = |error: &dyn ToString| Refusal::Target(error.to_string());
    if request.create.is_some() {
        return Err(Refusal::Target(format!(
            "{} is a disk and has the size it has; leave out --size",
            shown(&disk.path)
        )));
    }
    let protected = match image(request) {
        Some(image) => Protected::image(image, system).map_err(|e| refuse(&e))?,
        None => Protected::default(),
    };
    let now =
        contents(&disk.path, disk.size, &disk.regions()).or_else(|error| match error.kind() {
            // Whoever may not read it may plan all the same; root will look again before it writes.
            ErrorKind::PermissionDenied => {
                let why = "only root can read it";
                Ok(Contents::known_to_udev(disk, system, why))
            }
            _ => Err(error),
        });
    // What stands against it is said even where it cannot be read, as with an empty card reader.
    let more = now.as_ref().map_or(Vec::new(), Contents::reasons);
    let standing = if request.unmount {
        disk.standing_unmounted(&protected, more)
    } else {
        disk.standing_with(&protected, more)
    };
    let name = shown(&disk.path);
    let allowed = request.allow_disk.as_deref() == Some(disk.id().as_str());
    let stick = match standing {
        Standing::Stick => true,
        Standing::NeedsAllow(_) if allowed => false,
        Standing::NeedsAllow(reason) => {
            return Err(Refusal::Target(format!(
                "{name} {reason}; if it is meant all the same, add --allow-disk {}",
                disk.id()
            )));
        }
        Standing::Never(mut reasons) => {
            // What was answered already is no reason any more.
            reasons.retain(|reason| !(allowed && matches!(reason, Reason::NotPluggable { .. })));
            let said: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let unmount = reasons.iter().all(Reason::unmount_lifts);
            let next = if unmount {
                "add --unmount, or unmount it yourself"
            } else {
                "choose another disk"
            };
            return Err(Refusal::Target(format!(
                "{name} is not written to: {}; {next}",
                said.join(", ")
            )));
        }
    };
    let now = now.map_err(|error| unreadable(&disk.path, &error))?;
    Ok(PlannedTarget {
        path: disk.path.clone(),
        description: describe(disk),
        size: disk.size,
        kind: Kind::Disk,
        identity: Some(Identity::of(disk)),
        stick,
        unmount: if request.unmount {
            disk.mount_points()
        } else {
            Vec::new()
        },
        now: lines(&now),
    })
}

/// "SanDisk Ultra, 30.8 GB (28.7 GiB), serial 4C530001".
pub fn describe(disk: &Disk) -> String {
    let serial = disk
        .serial
        .as_ref()
        .map_or(String::new(), |serial| format!(", serial {serial}"));
    format!("{}, {}{serial}", disk.title(), sizes(disk.size))
}

/// Both ways of counting: as sold, and as systems count.
pub fn sizes(size: Bytes) -> String {
    format!("{} ({})", size.decimal(), size.binary())
}

/// What the target holds: the whole, and its partitions, which are read from its table where the kernel does not
/// show them (a file, or a kernel that does not scan).
fn contents(path: &Path, size: Bytes, regions: &[Region]) -> std::io::Result<Contents> {
    let file = std::fs::File::open(path)?;
    let source = Source::new(file, size);
    let whole = Region {
        name: "whole".into(),
        extent: Extent {
            at: Bytes::ZERO,
            len: size,
        },
    };
    let mut all = if regions.is_empty() {
        vec![whole]
    } else {
        regions.to_vec()
    };
    // A table that cannot be read hides partitions, but they are lost all the same.
    if let (1, Ok(table)) = (all.len(), Table::read(&source)) {
        all.extend(table.partitions().iter().map(|partition| Region {
            name: format!("partition {}", partition.number),
            extent: partition.extent,
        }));
    }
    Contents::read(path, size, &all).map_err(std::io::Error::other)
}

fn lines(contents: &Contents) -> Vec<String> {
    contents.all.iter().filter_map(line).collect()
}

/// One line about what is in a place; none about what is empty.
pub fn line(content: &Content) -> Option<String> {
    let Some(kind) = &content.kind else {
        let why = content.unreadable.as_ref()?;
        return Some(format!(
            "{}: not known ({why}), {}",
            content.name,
            content.extent.len.binary()
        ));
    };
    let label = content
        .label
        .as_ref()
        .map_or(String::new(), |label| format!(" '{label}'"));
    let used = content
        .used
        .map_or(String::new(), |used| format!(", {} used", used.binary()));
    Some(format!(
        "{}: {kind}{label}, {}{used}",
        content.name,
        content.extent.len.binary()
    ))
}

/// The name to type before it is written over: "sdb", "stick.img".
pub fn name(path: &Path) -> String {
    PathBuf::from(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
