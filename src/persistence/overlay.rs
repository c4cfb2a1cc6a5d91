// SPDX-License-Identifier: MIT OR Apache-2.0
//! The persistent overlay of dracut's dmsquash-live: a directory on the stick's own partition that becomes the
//! writable upper layer of `/`.
//!
//! The contract (dracut `modules.d/*dmsquash-live/dmsquash-live-root.sh`, function `do_live_overlay`, read in 059 and
//! 111): on the device that `rd.live.overlay=` names, the upper directory *and* a directory `ovlwork` beside it must
//! exist beforehand; overlayfs wants both on one filesystem, and on btrfs in one subvolume. Nothing waits for the
//! device, and when the directories are not found the boot stops at a question.
//!
//! Two forms of the argument exist, because images differ:
//!
//! * With a path, `UUID=…:/state/upper`. It depends on no label, and dracut ≥ 110 leaves no stray links in it.
//! * Without, `LABEL=…`, for images whose initrd has the module dmsquash-live-autooverlay: it ends the boot when the
//!   argument does not start with `LABEL=`, and takes a path for a part of the label. The upper directory then has
//!   the default name, `/LiveOS/overlay-<volume label>-<volume UUID>`.

use crate::image::initrd::{Initrd, LiveScript};
use crate::persistence::tree::{Attributes, Entry};

/// What an overlay needs to know of the image.
#[derive(Clone, Debug)]
pub struct Needs<'a> {
    /// What the initrd can do.
    pub initrd: &'a Initrd,
    /// Volume label of the ISO 9660 volume.
    pub volume_label: &'a str,
    /// Its UUID, in blkid's form.
    pub volume_uuid: &'a str,
    /// Label and UUID of a filesystem nested in the root image, which udev may show under the volume's label.
    pub nested: Option<(&'a str, &'a str)>,
    /// The attributes of the image's `/`.
    pub root: &'a Attributes,
}

/// Which form of the argument an image takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `UUID=…:/state/upper`.
    Path,
    /// `LABEL=…`, with the default directory.
    Label,
}

/// The directory that holds upper and work directory; on btrfs a subvolume.
const STATE: &str = "state";
/// dracut's default directory (`rd.live.dir`).
const LIVE_OS: &str = "LiveOS";
/// The module that accepts labels only (dracut `modules.d/*dmsquash-live-autooverlay/create-overlay.sh`).
const AUTOOVERLAY: &str = "dmsquash-live-autooverlay";

impl Needs<'_> {
    /// Which form this image takes.
    pub fn form(&self) -> Form {
        let scripts = self.initrd.live.contains(&LiveScript::Autooverlay);
        if scripts || self.initrd.modules.contains(AUTOOVERLAY) {
            Form::Label
        } else {
            Form::Path
        }
    }

    /// Why no overlay can work with this image, if none can.
    pub fn obstacle(&self) -> Option<String> {
        let scripts = self.initrd.live.contains(&LiveScript::DmsquashLive);
        if !scripts && !self.initrd.modules.contains("dmsquash-live") {
            return Some("its initrd has no dmsquash-live module".into());
        }
        // `dmsquash-live-root.sh` expands the default path unquoted, and udev escapes what it finds in labels.
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.+".contains(c));
        if self.form() == Form::Label && self.volume_label.contains(odd) {
            return Some(format!(
                "its initrd finds the overlay by a directory named after the volume, and the volume label '{}' has characters that it cannot handle",
                self.volume_label
            ));
        }
        if self.form() == Form::Label && self.volume_uuid.is_empty() {
            return Some(
                "its initrd finds the overlay by a directory named after the volume's UUID, and the volume has none"
                    .into(),
            );
        }
        None
    }

    /// The directory that holds everything; on btrfs it is the subvolume.
    pub fn top(&self) -> &'static str {
        match self.form() {
            Form::Path => STATE,
            Form::Label => LIVE_OS,
        }
    }

    /// The upper directory, without a leading slash.
    pub fn upper(&self) -> String {
        match self.form() {
            Form::Path => format!("{STATE}/upper"),
            Form::Label => format!("{LIVE_OS}/{}", self.default_name()),
        }
    }

    /// The work directory, without a leading slash.
    pub fn work(&self) -> String {
        format!("{}/ovlwork", self.top())
    }

    /// What an empty overlay consists of.
    pub fn tree(&self) -> Vec<Entry> {
        let mut tree = vec![
            Entry::directory(self.top(), self.root.for_child(0o755)),
            Entry::directory(self.upper(), self.root.clone()),
            Entry::directory(self.work(), self.root.for_child(0o755)),
        ];
        if let (Form::Label, Some((label, uuid))) = (self.form(), self.nested) {
            // dracut asks blkid about /dev/disk/by-label/<volume label>, which udev may have turned to the loop
            // device of a nested filesystem that carries the same label: it then looks for that one's UUID.
            let name = format!("overlay-{label}-{uuid}");
            if name != self.default_name() && !label.is_empty() && !label.contains('/') {
                let attributes = self.root.for_child(0o777);
                let path = format!("{LIVE_OS}/{name}");
                tree.push(Entry::symlink(path, &self.default_name(), attributes));
            }
        }
        tree
    }

    /// The kernel arguments that make the initrd use it.
    pub fn arguments(&self, uuid: &str, label: &str) -> Vec<String> {
        let place = match self.form() {
            Form::Path => format!("UUID={uuid}:/{}", self.upper()),
            Form::Label => format!("LABEL={label}"),
        };
        // An initrd that does not say its version is older than the first one that did (initrd-release, dracut 024).
        let dracut = self.initrd.dracut.unwrap_or(0);
        let mut arguments = if dracut >= 110 {
            // Renamed in 110; the old names work there with a warning (dracut-ng d6872bbd).
            vec![format!("rd.overlay={place}")]
        } else {
            vec![
                format!("rd.live.overlay={place}"),
                "rd.live.overlay.overlayfs=1".into(),
            ]
        };
        if dracut >= 106 {
            // A broken overlay then boots with a temporary one instead of stopping at a question (6ac1033c).
            arguments.push("rd.live.overlay.nouserconfirmprompt=1".into());
        }
        arguments
    }

    fn default_name(&self) -> String {
        format!("overlay-{}-{}", self.volume_label, self.volume_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_autooverlay() -> Initrd {
        let mut initrd = Initrd::default();
        for module in ["dmsquash-live", AUTOOVERLAY] {
            initrd.modules.insert(module.into());
        }
        initrd
    }

    #[test]
    fn a_default_directory_needs_a_volume_that_can_be_named() {
        let (initrd, root) = (with_autooverlay(), Attributes::plain(0o755));
        let why = |volume_label, volume_uuid| {
            let needs = Needs {
                initrd: &initrd,
                volume_label,
                volume_uuid,
                nested: None,
                root: &root,
            };
            needs.obstacle()
        };
        assert_eq!(why("Live-42", "2026-11-21-00-07-36-00"), None);
        assert!(why("Live 42", "2026-11-21-00-07-36-00").is_some());
        assert!(why("Live-42", "").is_some());
    }
}
