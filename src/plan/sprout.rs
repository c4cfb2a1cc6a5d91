// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether an image and a machine can have a sprout, and the plan for one.

use crate::host::Host;
use crate::image::Image;
use crate::image::root::RootKind;
use crate::plan::ids::Ids;
use crate::refusal::Refusal;
use crate::sprout::{Driver, Source};
use crate::superblock::Kind;

/// The programs that make seed and sprout, and the packages that have them.
pub const PROGRAMS: [(&str, &str); 5] = [
    ("mkfs.btrfs", "btrfs-progs"),
    ("btrfs", "btrfs-progs"),
    ("btrfstune", "btrfs-progs"),
    ("losetup", "util-linux"),
    ("cp", "coreutils"),
];

fn impossible<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Impossible {
        what: "a sprout",
        why: why.into(),
        instead: "use --persistence overlay".into(),
    })
}

/// What the root tree is read from, if the image can start from a sprout.
pub fn source(image: &Image) -> Result<Source, Refusal> {
    let starts = image
        .initrd_facts
        .as_ref()
        .is_some_and(|initrd| initrd.filesystems.contains("btrfs") && initrd.systemd.is_some());
    if !starts {
        return impossible("its initrd lacks a btrfs driver or systemd");
    }
    let Some(root) = &image.root else {
        return impossible("its root image was not found");
    };
    let driver = |kind: Kind| match kind {
        Kind::Squashfs => Ok(Driver::Squashfs),
        Kind::Erofs => Ok(Driver::Erofs),
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => Ok(Driver::Ext4),
        Kind::Btrfs => Ok(Driver::Btrfs),
        Kind::Xfs => Ok(Driver::Xfs),
        other => impossible(format!("its root image is {other}")),
    };
    let extents = image
        .iso
        .file(&root.file.path)
        .map(|file| file.extents.len());
    if extents != Some(1) {
        return impossible("its root image lies in several pieces");
    }
    let (outer, nested) = match &root.kind {
        RootKind::Tree(kind) => (driver(*kind)?, None),
        RootKind::Nested { path, inner } => {
            let path = path.trim_start_matches('/').to_owned();
            (Driver::Squashfs, Some((path, driver(inner.kind)?)))
        }
    };
    Ok(Source {
        extent: root.file.extent,
        driver: outer,
        nested,
    })
}

/// Whether a sprout is made where nobody says how changes are to be kept: the image's root is a btrfs, and both the
/// image and this machine can have one.
pub fn by_default(image: &Image, host: &Host) -> bool {
    let plain = matches!(
        image.root.as_ref().map(|root| &root.kind),
        Some(RootKind::Tree(Kind::Btrfs))
    );
    plain && source(image).is_ok_and(|source| need(&source, host).is_ok())
}

/// Refuses what this machine cannot make.
pub fn need(source: &Source, host: &Host) -> Result<(), Refusal> {
    if !host.root || !host.loop_devices {
        return Err(Refusal::Host(
            "making a sprout needs root and loop devices; run it as root, with the loop module loaded, or use --persistence overlay".into(),
        ));
    }
    for driver in [Driver::Btrfs].into_iter().chain(source.drivers()) {
        if !host.filesystems.contains(driver.name()) {
            return Err(Refusal::Host(format!(
                "this machine's kernel has no {driver}, which making a sprout of this image needs; use --persistence overlay, or another machine"
            )));
        }
    }
    for (program, package) in PROGRAMS {
        host.need(program, package, "make a sprout")?;
    }
    Ok(())
}

/// A label of one stick only.
pub fn label(what: &str, ids: &Ids) -> String {
    let id = ids.uuid(&format!("{what} label")).simple().to_string();
    format!("{what}-{}", id.get(..12).unwrap_or(&id))
}
