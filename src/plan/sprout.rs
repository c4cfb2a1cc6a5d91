// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether an image and a machine can have a sprout, and the plan for one.

use crate::apply::copy::HEAD;
use crate::host::Host;
use crate::image::Image;
use crate::image::root::RootKind;
use crate::plan::ids::Ids;
use crate::refusal::Refusal;
use crate::request::{Size, Wanted};
use crate::sprout::within::{self, Within};
use crate::sprout::{Checksum, Driver, Source, room};
use crate::superblock::Kind;
use crate::units::Bytes;

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

/// The root image as a seed where it lies, if it is a plain btrfs. One that no sprout can grow from is refused: a copy of
/// something unsound is no better.
pub fn within(image: &Image, source: &Source) -> Result<Option<Within>, Refusal> {
    if source.driver != Driver::Btrfs || source.nested.is_some() {
        return Ok(None);
    }
    let found = within::read(image.bytes(), source.extent).map_err(|error| Refusal::Damaged {
        path: image.path.clone(),
        why: error.to_string(),
    })?;
    match found {
        Err(why) => impossible(format!("its root image is a btrfs, and {why}")),
        // The stick's first MiB is written last of all, and the sprout grows before that.
        Ok(within) if within.extent.at < HEAD => {
            impossible("its root image begins in the first MiB of the image")
        }
        Ok(within) => Ok(Some(within)),
    }
}

/// Refuses a checksum that such a seed does not have.
pub fn same_checksum(asked: Checksum, within: &Within) -> Result<(), Refusal> {
    if asked == Checksum::default() || asked == within.checksum {
        return Ok(());
    }
    Err(Refusal::Impossible {
        what: "this checksum",
        why: format!(
            "the seed is the image's own btrfs, which has {}",
            within.checksum
        ),
        instead: "leave out --csum".into(),
    })
}

/// The room for a seed that is made.
pub fn seed(image: &Image, source: &Source) -> Wanted {
    let root = image.root.as_ref();
    let compression = root.and_then(|root| root.compression.as_deref());
    Wanted {
        size: Size::Fixed(room::seed(source.extent, compression)),
        fs: None,
    }
}

/// The label that such a seed gets, where its own is the one that the image's entries look for (`root=live:CDLABEL=`).
pub fn other_label(image: &Image, within: &Within, ids: &Ids) -> Option<String> {
    let own = within.label.as_deref().map(str::trim)?;
    own.eq_ignore_ascii_case(image.label.trim())
        .then(|| label("seed", ids))
}

/// Whether a sprout is made where nobody says how changes are to be kept: the image's root is a btrfs, and both the
/// image and this machine can have one.
pub fn by_default(image: &Image, host: &Host) -> bool {
    let plain = matches!(
        image.root.as_ref().map(|root| &root.kind),
        Some(RootKind::Tree(Kind::Btrfs))
    );
    let sound = |source: &Source| within(image, source).is_ok();
    let fits = || {
        image
            .table
            .space_with(image.size, Bytes(u64::MAX / 2), 1)
            .is_ok()
    };
    plain
        && source(image).is_ok_and(|source| sound(&source) && need(&source, host).is_ok())
        && fits()
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

/// Refuses a machine that cannot change a sprout that was made: of the kernel that takes btrfs alone, whatever the image
/// was made of.
pub fn need_to_change(host: &Host) -> Result<(), Refusal> {
    if !host.filesystems.contains(Driver::Btrfs.name()) {
        return Err(Refusal::Host(
            "this machine's kernel has no btrfs, which changing a sprout needs; use another machine"
                .into(),
        ));
    }
    let used = |name: &str| matches!(name, "btrfs" | "losetup" | "cp");
    for (program, package) in PROGRAMS.into_iter().filter(|(name, _)| used(name)) {
        host.need(program, package, "change a sprout")?;
    }
    Ok(())
}

/// A label of one stick only.
pub fn label(what: &str, ids: &Ids) -> String {
    let id = ids.uuid(&format!("{what} label")).simple().to_string();
    format!("{what}-{}", id.get(..12).unwrap_or(&id))
}
