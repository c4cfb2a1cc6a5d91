// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an initrd can do: which dracut made it, which live scripts, filesystems and tools it brings.
//!
//! An initrd is a row of segments, as the kernel unpacks them: cpio archives, plain or compressed, with zeros between.
//! The whole file is streamed through once; only a decoder's window and single small files are in memory. It is read to
//! the end, because what is *not* there is known only then, and a later segment may add to an earlier one.
//!
//! A segment that cannot be read ends the reading, and [`Initrd::stopped`] says why; what was found before counts, what
//! was not found is then unknown. Contents of kernel modules, scripts and programs are not looked into. `modules.dep` is
//! not consulted: it lists what depmod saw, not what the archive holds.
//!
//! Sources: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst` and `init/initramfs.c`; dracut,
//! `dracut-init.sh` and `dracut.sh` (`modules.txt`, `initrd-release`, `dracut-VERSION`).

mod cpio;
mod decompress;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::read::{ReadAt, ReadError};
use decompress::Input;

pub use decompress::Packing;

/// A live system's own scripts, recognised by the files they are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LiveScript {
    /// dracut's dmsquash-live (`dmsquash-live-root`).
    DmsquashLive,
    /// dracut's dmsquash-live-autooverlay (`create-overlay`).
    Autooverlay,
    /// dracut's overlayfs module (`mount-overlayfs`), split from dmsquash-live in 060.
    Overlayfs,
    /// kiwi-live (`kiwi-live-root`, `kiwi-live-lib`).
    KiwiLive,
    /// Debian's live-boot (`scripts/live`).
    LiveBoot,
    /// Ubuntu's casper (`scripts/casper`).
    Casper,
    /// Arch's archiso (`hooks/archiso`).
    Archiso,
    /// Alpine's mkinitfs (`nlplug-findfs`).
    Alpine,
}

/// What was found in an initrd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Initrd {
    /// dracut's version: 59 for "dracut-059-4".
    pub dracut: Option<u32>,
    /// dracut's modules, by the names in its `modules.txt`.
    pub modules: BTreeSet<String>,
    /// systemd's version, by the name of its shared library.
    pub systemd: Option<u32>,
    /// Filesystems of the kernel, by the names that mount(8) knows: modules in the archive and what `modules.builtin`
    /// lists.
    pub filesystems: BTreeSet<String>,
    /// Live scripts.
    pub live: BTreeSet<LiveScript>,
    /// Programs that matter to a live boot, of those in [`TOOLS`].
    pub tools: BTreeSet<&'static str>,
    /// How each segment is packed, in order.
    pub segments: Vec<Packing>,
    /// Whether everything was read, so that what is not named here is not there.
    pub complete: bool,
    /// Why not.
    pub stopped: Option<String>,
}

/// The programs that are looked for in `bin` and `sbin`.
pub const TOOLS: [&str; 24] = [
    "blkid",
    "btrfs",
    "busybox",
    "checkisomd5",
    "cryptsetup",
    "dmsetup",
    "e2fsck",
    "findmnt",
    "fsck.ext4",
    "losetup",
    "lsblk",
    "mkfs.btrfs",
    "mkfs.ext4",
    "mkfs.f2fs",
    "mkfs.xfs",
    "mount",
    "mount.exfat",
    "ntfs-3g",
    "parted",
    "partprobe",
    "sfdisk",
    "sgdisk",
    "udevadm",
    "wipefs",
];

/// Modules below `kernel/fs` that are filesystems, of those that may matter; `isofs` is told as "iso9660".
const FILESYSTEMS: [&str; 19] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuse", "hfsplus",
    "iso9660", "nfs", "nilfs2", "ntfs3", "overlay", "squashfs", "udf", "vfat", "xfs",
];

/// The largest file whose contents are read: `modules.builtin` has some tens of KiB.
const MAX_FILE: u64 = 4 << 20;

/// Reads an initrd.
///
/// # Errors
/// Only those of reading the file. What its bytes contradict is in [`Initrd::stopped`].
pub fn inspect(image: &dyn ReadAt) -> Result<Initrd, ReadError> {
    let mut found = Initrd::default();
    let mut input = Input::new(image);
    match cpio::walk(&mut input, &mut found) {
        Ok(()) => found.complete = true,
        Err(why) => {
            if let Some(error) = input.failure() {
                return Err(error);
            }
            found.stopped = Some(why);
        }
    }
    Ok(found)
}

impl Initrd {
    /// Takes note of a name in an archive; says whether the contents are wanted.
    fn name(&mut self, path: &str) -> bool {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(version) = name.strip_prefix("libsystemd-shared-") {
            self.systemd = self.systemd.or_else(|| number(version));
        }
        if directory.ends_with("lib/dracut")
            && let Some(version) = name.strip_prefix("dracut-")
        {
            self.dracut = self.dracut.or_else(|| number(version));
        }
        if let Some((_, module)) = path.split_once("/kernel/fs/") {
            self.filesystem(module);
        }
        if matches!(directory, "bin" | "sbin" | "usr/bin" | "usr/sbin")
            && let Some(tool) = TOOLS.iter().find(|tool| **tool == name)
        {
            self.tools.insert(tool);
        }
        self.live.extend(stack(path, name));
        match name {
            "initrd-release" => true,
            "modules.txt" => directory.ends_with("lib/dracut"),
            "modules.builtin" => directory.contains("lib/modules/"),
            _ => false,
        }
    }

    /// Takes note of the contents of a file that [`Initrd::name`] wanted.
    fn contents(&mut self, path: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let name = path.rsplit('/').next().unwrap_or(path);
        match name {
            "modules.txt" => self.modules.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned),
            ),
            "modules.builtin" => {
                for line in text.lines() {
                    if let Some(module) = line.strip_prefix("kernel/fs/") {
                        self.filesystem(module);
                    }
                }
            }
            _ => {
                let version = text.split("dracut-").skip(1).find_map(number);
                self.dracut = self.dracut.or(version);
            }
        }
    }

    /// A module's path below `kernel/fs/`: "overlayfs/overlay.ko.xz".
    fn filesystem(&mut self, module: &str) {
        let name = module.rsplit('/').next().unwrap_or(module);
        let Some((name, _)) = name.split_once(".ko") else {
            return;
        };
        let name = if name == "isofs" { "iso9660" } else { name };
        if FILESYSTEMS.contains(&name) {
            self.filesystems.insert(name.to_owned());
        }
    }
}

/// The live scripts that a file belongs to.
fn stack(path: &str, name: &str) -> Option<LiveScript> {
    Some(match name.strip_suffix(".sh").unwrap_or(name) {
        "dmsquash-live-root" => LiveScript::DmsquashLive,
        "create-overlay" => LiveScript::Autooverlay,
        "kiwi-live-root" | "kiwi-live-lib" => LiveScript::KiwiLive,
        "nlplug-findfs" => LiveScript::Alpine,
        hook if hook.ends_with("-mount-overlayfs") || hook == "mount-overlayfs" => {
            LiveScript::Overlayfs
        }
        _ => match path {
            "scripts/live" => LiveScript::LiveBoot,
            "scripts/casper" => LiveScript::Casper,
            "hooks/archiso" => LiveScript::Archiso,
            _ => return None,
        },
    })
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests;
