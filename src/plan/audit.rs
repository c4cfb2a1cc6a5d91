// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a plan that somebody else made may be applied by root.
//!
//! The planner is trusted to make a good stick; here nobody is trusted not to make a harmful plan. So everything that
//! keeps disks and files safe is asked anew, of this machine and with the planner's own code where that has the
//! answer:
//!
//! * The target is a disk that `livestick write` would write to now, and the very one that was pinned. A plan that
//!   does not say that its disk was named with `--allow-disk` gets none that needs that.
//! * The image is the pinned file and an isohybrid image. (That it holds the bytes that patches replace is looked at
//!   for every plan, before the first write.)
//! * All that is written lies inside the target, and nothing over anything else that is written.
//! * Trees are laid out in a directory of our own: no path leaves it, no link leads out of it, and no name is taken
//!   for something else by the programs that are given it.
//! * What was published of the image has a form that the lookup gives. Who signed it is the planner's word; that the
//!   image has the digest is not, for it is compared again here.
//! * No program, device or directory is named by a plan: those are found here.
//!
//! It does not judge whether the stick will boot.

use std::collections::BTreeSet;

use crate::capacity::Probe;
use crate::disk::System;
use crate::disk::direct::Kind;
use crate::disk::shown;
use crate::host::Host;
use crate::image::{Image, isomd5};
use crate::patch::After;
use crate::persistence::tree::{Content, Entry};
use crate::plan::encryption;
use crate::plan::filesystem::Filesystem;
use crate::plan::layout::Purpose;
use crate::plan::{Plan, PlannedTarget, sprout, target};
use crate::refusal::Refusal;
use crate::request::{FsKind, Request};
use crate::sprout::{Driver, Home, Sprout};
use crate::table::GRAIN;
use crate::units::{Bytes, Extent};

/// The most things in one new filesystem.
const ENTRIES: usize = 1000;
/// The longest name (`NAME_MAX`), and the longest path that is accepted.
const NAME: usize = 255;
const PATH: usize = 2048;
/// What fits into a filesystem label everywhere.
const LABEL: usize = 12;

fn no<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Plan(why.into()))
}

impl Plan {
    /// Refuses what `livestick write` would not have planned, as far as harm could come of it.
    pub fn audit(&self, system: &System, host: &Host) -> Result<(), Refusal> {
        self.target.audit(self, system)?;
        self.audit_image()?;
        self.audit_places()?;
        if self.probe.is_some() && self.probe != Probe::of(self.target.size) {
            return no("its marks are not where marks are written on a target of this size");
        }
        let mut purposes = Vec::new();
        for filesystem in &self.filesystems {
            if purposes.contains(&filesystem.purpose) {
                return no(format!("it makes two {} filesystems", filesystem.purpose));
            }
            purposes.push(filesystem.purpose);
            filesystem.audit(false, host)?;
        }
        let Some(sprout) = &self.sprout else {
            return Ok(());
        };
        sprout::need(&sprout.source, host)?;
        audit_sprout(sprout, self.image.size)
    }

    fn audit_image(&self) -> Result<(), Refusal> {
        let planned = &self.image;
        if !planned.path.is_absolute() {
            return no(format!("{} is a relative path", shown(&planned.path)));
        }
        if let Err(why) = planned.published.audit() {
            return no(why);
        }
        let image = Image::open(&planned.path)?;
        if image.version != planned.version
            || image.size != planned.size
            || image.path != planned.path
        {
            return no(format!(
                "the image {} changed after the plan was made; plan again",
                shown(&planned.path)
            ));
        }
        if !image.table.is_isohybrid() {
            return Err(Refusal::NotHybrid { path: image.path });
        }
        let mut end = Bytes::ZERO;
        let mut sums = 0;
        for patch in &self.patches {
            let extent = patch.extent();
            let inside = patch.at.checked_add(extent.len);
            if extent.len == Bytes::ZERO || inside.is_none_or(|end| end > planned.size) {
                return no(format!(
                    "its patch at byte {} is not inside the image",
                    patch.at
                ));
            }
            if patch.at < end {
                return no(format!("its patch at byte {} lies over another", patch.at));
            }
            end = extent.end();
            if patch.after == After::MediaCheck {
                sums += 1;
                if extent != isomd5::FIELD {
                    return no("its media check is not where media checks are");
                }
            }
        }
        let covered = planned.media_sum.as_ref().is_none_or(|covered| {
            covered.volume.bytes() == image.volume.align_down(Bytes(2048))
                && Some(&covered.published) == image.media_check.as_ref()
        });
        if sums != usize::from(planned.media_sum.is_some()) || !covered {
            return no("its media check does not belong to this image");
        }
        Ok(())
    }

    /// Everything that is written, in the order of the medium, inside the target and apart.
    fn audit_places(&self) -> Result<(), Refusal> {
        let mut places = vec![Extent {
            at: Bytes::ZERO,
            len: self.image.size,
        }];
        places.extend(self.behind.iter().map(|behind| Extent {
            at: behind.at,
            len: Bytes(behind.bytes.len() as u64),
        }));
        if let Some(record) = &self.record {
            let inside = Extent {
                at: Bytes::ZERO,
                len: self.image.size,
            };
            if record.esp.is_some_and(|esp| !inside.contains(esp)) {
                return no("the EFI system partition of its record is not inside the image");
            }
            let len = record.region.len;
            if record.region.at.align_down(GRAIN) != record.region.at
                || len.align_down(Bytes::mib(2)) != len
            {
                return no("the place of its record is not aligned");
            }
            places.push(record.region);
        }
        for filesystem in &self.filesystems {
            let Extent { at, len } = filesystem.extent;
            if at.align_down(GRAIN) != at || len.align_down(Bytes::mib(1)) != len {
                return no(format!(
                    "its {} partition is not aligned",
                    filesystem.purpose
                ));
            }
            places.push(filesystem.extent);
        }
        let parts = self.sprout.iter().flat_map(|s| [&s.seed, &s.sprout]);
        let within = self.sprout.as_ref().is_some_and(|sprout| sprout.within);
        for (part, seed) in parts.zip([true, false]) {
            let Extent { at, len } = part.extent;
            if seed && within {
                // It lies in the image, and nothing more is written there.
                continue;
            }
            if at.align_down(GRAIN) != at || len.align_down(Bytes::mib(1)) != len {
                return no("the partitions of its sprout are not aligned");
            }
            places.push(part.extent);
        }
        places.sort();
        let mut free = Bytes::ZERO;
        for place in places {
            let end = place.at.checked_add(place.len);
            if place.len == Bytes::ZERO || end.is_none_or(|end| end > self.target.size) {
                return no(format!(
                    "it writes {} bytes at byte {}, which is not inside the target",
                    place.len, place.at
                ));
            }
            if place.at < free {
                return no(format!(
                    "what it writes at byte {} lies over something else that it writes",
                    place.at
                ));
            }
            free = place.end();
        }
        Ok(())
    }
}

impl PlannedTarget {
    /// Plans anew where to, and compares. What is on it now is not compared: root sees more of that.
    fn audit(&self, plan: &Plan, system: &System) -> Result<(), Refusal> {
        if self.kind != Kind::Disk {
            return no("its target is a file, which is not written as root for somebody else");
        }
        let Some(identity) = &self.identity else {
            return no("it does not say which disk it was made for");
        };
        let path = || self.path.to_string_lossy().into_owned();
        let id = identity.serial.clone().unwrap_or_else(path);
        let request = Request {
            image: plan.image.path.clone(),
            target: self.path.clone(),
            unmount: !self.unmount.is_empty(),
            allow_disk: (!self.stick).then_some(id),
            ..Request::default()
        };
        let now = target::look(&request, system)?;
        let Some(found) = &now.identity else {
            return no(format!("{} is no disk", shown(&self.path)));
        };
        identity
            .compare(found)
            .map_err(|changed| Refusal::Target(changed.to_string()))?;
        let planned = PlannedTarget {
            now: now.now.clone(),
            ..self.clone()
        };
        if planned != now {
            return no(format!(
                "{} is not as the plan saw it; plan again",
                shown(&self.path)
            ));
        }
        Ok(())
    }
}

impl Filesystem {
    /// Refuses what this machine would not have planned, as far as harm could come of it. `file`: whether the target
    /// is a regular file.
    pub(crate) fn audit(&self, file: bool, host: &Host) -> Result<(), Refusal> {
        let what = self.purpose;
        host.need_filesystem_programs(self.kind, &what.to_string())?;
        let top = self.tree.first().map(|entry| entry.path.as_str());
        let top = top.filter(|_| what == Purpose::Overlay);
        let made = match &self.encryption {
            Some(_) if what == Purpose::Home => {
                encryption::need(host)?;
                if self.extent.len < encryption::smallest(self.kind) {
                    return no("its encrypted /home has no room for a filesystem");
                }
                encryption::making(host)?
            }
            Some(_) => return no(format!("its {what} is encrypted")),
            None => Filesystem::decide(self.kind, file, top, host)?,
        };
        if (self.backing, self.filling) != (made.backing, made.filling)
            || (&self.subvolume, self.compressed) != (&made.subvolume, made.compressed)
        {
            return no(format!(
                "the {what} filesystem would not be made like this by root on this machine; run livestick as root"
            ));
        }
        if self.label.len() > LABEL || !is_plain(&self.label) {
            return no(format!("the label of its {what} filesystem is none"));
        }
        if self.subvolume.as_ref().is_some_and(|name| !is_plain(name)) {
            return no(format!("the subvolume of its {what} filesystem is none"));
        }
        audit_tree(&self.tree, self.kind)
            .or_else(|why| no(format!("{why} in the tree of its {what} filesystem")))
    }
}

/// What is mounted as root lies inside the image, and no name is taken for something else.
pub(crate) fn audit_sprout(sprout: &Sprout, image: Bytes) -> Result<(), Refusal> {
    let Extent { at, len } = sprout.source.extent;
    if at.checked_add(len).is_none_or(|end| end > image) {
        return no("the root image of its seed is not inside the image");
    }
    if let Some((path, _)) = &sprout.source.nested
        && !path.split('/').all(is_plain)
    {
        return no("the root image of its seed is in a place that is none");
    }
    let extent = sprout.seed.extent;
    let whole = extent.at.to_sector().is_some() && extent.len.to_sector().is_some();
    let own = sprout.source.driver == Driver::Btrfs && sprout.source.nested.is_none();
    if sprout.within && !(own && whole && sprout.source.extent.contains(extent)) {
        return no("its seed is not the image's root");
    }
    for part in [&sprout.seed, &sprout.sprout] {
        // The label of an image's own btrfs is given to no program.
        if sprout.within && part == &sprout.seed {
            if !is_plain(&part.partuuid) {
                return no("the identifier of its seed's partition is none");
            }
            continue;
        }
        if part.label.len() > 64 || !is_plain(&part.label) {
            return no("the labels of its sprout are none");
        }
        if part.extent.len < Bytes::mib(64) {
            return no("the partitions of its sprout are too small");
        }
    }
    match &sprout.home {
        Home::Partition { uuid, .. } if !is_plain(uuid) => {
            no("the /home of its sprout is no filesystem")
        }
        _ => Ok(()),
    }
}

/// Whether every program that is given this word takes it for nothing but a name.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+@".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) && !is_dots(name)
}

fn is_dots(name: &str) -> bool {
    matches!(name, "." | "..")
}

/// What is wrong with a tree, if it could reach out of the directory that it is laid out in.
fn audit_tree(tree: &[Entry], kind: FsKind) -> Result<(), String> {
    if tree.len() > ENTRIES {
        return Err(format!("there are {} things", tree.len()));
    }
    let mut seen = BTreeSet::new();
    let mut directories = BTreeSet::from([""]);
    for Entry {
        path,
        content,
        attributes,
    } in tree
    {
        let is_root = path.is_empty();
        if !seen.insert(path.as_str()) {
            return Err(format!("'{}' is there twice", path.escape_debug()));
        }
        // A prototype for mkfs.xfs is words between blanks.
        let is_name = |name: &str| match kind {
            FsKind::Xfs => is_plain(name),
            FsKind::Btrfs | FsKind::Ext4 => {
                !name.is_empty() && !is_dots(name) && !name.contains(char::is_control)
            }
        };
        let named = path
            .split('/')
            .all(|name| name.len() <= NAME && is_name(name));
        if !is_root && (!named || path.len() > PATH) {
            return Err(format!("'{}' is no path", path.escape_debug()));
        }
        // Only a directory that was made before is entered: never a link, wherever that leads.
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !directories.contains(parent) {
            return Err(format!("'{}' is in no directory", path.escape_debug()));
        }
        match content {
            Content::Directory => {
                directories.insert(path);
            }
            _ if is_root => return Err("the root is no directory".into()),
            Content::File { .. } => {}
            Content::Symlink { target } => {
                let plain = |name: &str| is_plain(name) || is_dots(name);
                if target.len() > PATH || !target.split('/').all(plain) {
                    return Err(format!("'{}' is no link", path.escape_debug()));
                }
            }
        }
        let odd = |name: &str| name.len() > NAME || name.contains(char::is_control);
        if attributes.mode > 0o7777 || attributes.xattrs.iter().any(|(name, _)| odd(name)) {
            return Err(format!("'{}' has odd attributes", path.escape_debug()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::tree::Attributes;

    fn dir(path: &str) -> Entry {
        Entry::directory(path, Attributes::plain(0o755))
    }

    fn file(path: &str) -> Entry {
        Entry::file(path, "text".into(), Attributes::plain(0o644))
    }

    fn link(path: &str, to: &str) -> Entry {
        Entry::symlink(path, to, Attributes::plain(0o777))
    }

    #[test]
    fn trees_as_they_are_planned_pass() {
        let overlay = [
            dir("LiveOS"),
            dir("LiveOS/overlay-Fedora-SoaS-44-2026-01-02"),
            dir("LiveOS/ovlwork"),
            link("LiveOS/overlay-An a-x", "overlay-Fedora-SoaS-44-2026-01-02"),
            dir("LiveOS/overlay-Fedora-SoaS-44-2026-01-02/etc"),
            file("LiveOS/overlay-Fedora-SoaS-44-2026-01-02/etc/home.mount"),
            link(
                "LiveOS/overlay-Fedora-SoaS-44-2026-01-02/etc/l",
                "../home.mount",
            ),
        ];
        assert_eq!(audit_tree(&overlay, FsKind::Btrfs), Ok(()));
        assert_eq!(audit_tree(&[dir("")], FsKind::Xfs), Ok(()));
        assert_eq!(audit_tree(&[], FsKind::Ext4), Ok(()));
    }

    #[test]
    fn no_tree_leaves_its_directory() {
        let bad: [Vec<Entry>; 15] = [
            vec![file("../../etc/x")],
            vec![file("/etc/x")],
            vec![dir("a"), file("a/../../x")],
            vec![dir("a"), file("a/./x")],
            vec![dir("a"), file("a//x")],
            vec![dir(".."), file("../x")],
            vec![file("a/x")],
            vec![link("a", "etc"), file("a/x")],
            vec![link("a", "etc"), dir("a")],
            vec![dir("a"), dir("a")],
            vec![file("a"), file("a/x")],
            vec![file("a\nb")],
            vec![link("a", "x\ny")],
            vec![file("")],
            vec![Entry::directory("a", Attributes::plain(0o10_0755))],
        ];
        for kind in [FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs] {
            for tree in &bad {
                assert!(audit_tree(tree, kind).is_err(), "{kind} {tree:?}");
            }
        }
    }

    #[test]
    fn nothing_is_a_word_of_its_own_in_a_prototype() {
        for name in ["a b", "$", ":x", "a\u{2003}b", "-x"] {
            assert!(audit_tree(&[file(name)], FsKind::Xfs).is_err(), "{name}");
        }
        for to in ["x ---644 0 0 /etc/shadow", ":", "$"] {
            assert!(audit_tree(&[link("a", to)], FsKind::Xfs).is_err(), "{to}");
        }
        assert!(!is_plain("--label") && !is_plain("rw:x") && is_plain("ovl-12ab34cd"));
    }
}
