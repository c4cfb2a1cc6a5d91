// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making a filesystem of the plan: the distribution's mkfs, filled, then looked over by the distribution's checker.
//!
//! Old bytes of a used stick never show through. On a loop device mkfs knows that it stands on old bytes and writes
//! whatever it relies on; it is told not to discard, because what a stick returns for discarded blocks is not known.
//! In a scratch file everything that is not data is zero, and the partition's range of the stick image is made zero
//! before the data goes in. The scratch file has no name: programs get it as their standard input and open it through
//! /proc, and it is gone with this program however that ends.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use rustix::fs::SeekFrom;

use crate::apply::encrypted::{self, Lock};
use crate::apply::flow::{CHUNK, Stop};
use crate::apply::loopdev::LoopDevice;
use crate::apply::program::{INPUT, run, run_on};
use crate::apply::staging::Staging;
use crate::disk::buffer::Buffer;
use crate::disk::direct::Medium;
use crate::disk::shown;
use crate::host::{Host, PRIVATE, programs_of};
use crate::persistence::tree::Content;
use crate::plan::filesystem::{Backing, Filesystem, Filling};
use crate::programs;
use crate::request::FsKind;
use crate::units::{Bytes, Extent};

/// Every superblock that could be taken for a filesystem's lies in the first so many bytes.
pub(super) const OLD_SUPERBLOCKS: usize = 1 << 20;

/// What mkfs and the checkers work on.
#[derive(Clone, Copy, Debug)]
enum Device<'a> {
    /// The node of a loop device.
    Loop(&'a Path),
    /// A file without a name.
    Scratch(&'a File),
}

impl<'a> Device<'a> {
    /// The path that a program is given.
    fn name(self) -> &'a Path {
        match self {
            Device::Loop(path) => path,
            Device::Scratch(_) => Path::new(INPUT),
        }
    }

    /// The program's standard input.
    fn input(self) -> Option<&'a File> {
        match self {
            Device::Loop(_) => None,
            Device::Scratch(file) => Some(file),
        }
    }
}

/// Makes filesystems on a target.
pub struct Maker<'a> {
    /// Where programs are.
    pub host: &'a Host,
    /// The target's path, for loop devices.
    pub target: &'a Path,
    /// The open target.
    pub medium: &'a Medium,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
}

impl Maker<'_> {
    /// Makes `filesystem` and checks it; gives the name of the program that found nothing wrong.
    pub fn make(&self, filesystem: &Filesystem) -> Result<&'static str, Stop> {
        if filesystem.encryption.is_some() {
            return Err(anyhow::anyhow!("it is encrypted, and its key was not made").into());
        }
        let staging = Staging::new(&filesystem.tree, self.host.root)?;
        match filesystem.backing {
            Backing::Loop => self.on_loop(filesystem, &staging)?,
            Backing::Scratch => self.in_scratch(filesystem, &staging)?,
        }
        Ok(checker(filesystem.kind))
    }

    /// The same for an encrypted one: in a scratch file, which is then encrypted into the partition, all of it.
    /// `progress` is told of every chunk that was written, and of every one that was read back.
    pub fn make_encrypted(
        &self,
        filesystem: &Filesystem,
        lock: &Lock,
        progress: &mut dyn FnMut(usize),
    ) -> Result<&'static str, Stop> {
        let staging = Staging::new(&filesystem.tree, self.host.root)?;
        let scratch = self.scratch()?;
        let inside = lock.inside(filesystem.extent)?;
        scratch
            .set_len(inside.len.0)
            .context("sizing the scratch file")?;
        self.mkfs(filesystem, Device::Scratch(&scratch), &staging)?;
        self.check(filesystem.kind, Device::Scratch(&scratch))?;
        let place = encrypted::Place {
            medium: self.medium,
            partition: filesystem.extent,
            cancel: self.cancel,
        };
        place.fill(lock, &scratch, progress)?;
        Ok(checker(filesystem.kind))
    }

    /// A file without a name: beside the target where that is a file, else where temporary files are.
    fn scratch(&self) -> anyhow::Result<File> {
        let beside = self.target.parent().filter(|p| !p.as_os_str().is_empty());
        let temporary = std::env::temp_dir();
        let place = if self.medium.is_disk() {
            &temporary
        } else {
            beside.unwrap_or(Path::new("."))
        };
        tempfile::tempfile_in(place)
            .with_context(|| format!("making a scratch file in {}", shown(place)))
    }

    fn on_loop(&self, filesystem: &Filesystem, staging: &Staging) -> Result<(), Stop> {
        let losetup = self.program(programs::LOSETUP.name)?;
        // A filesystem that was here before may have had this very UUID (`--seed`), which mkfs.btrfs then refuses.
        let start = self
            .medium
            .write_at(filesystem.extent.at, &vec![0; OLD_SUPERBLOCKS]);
        start.context("blanking the start of the partition")?;
        let device = LoopDevice::attach(&losetup, self.target, filesystem.extent)?;
        self.mkfs(filesystem, Device::Loop(device.path()), staging)?;
        if filesystem.filling == Filling::Mount {
            self.fill(filesystem, device.path(), staging)?;
        }
        device.flush()?;
        drop(device);
        // A fresh device has an empty cache, and now the medium's own has nothing of it either.
        self.medium.flush().map_err(anyhow::Error::from)?;
        let device = LoopDevice::attach(&losetup, self.target, filesystem.extent)?;
        self.check(filesystem.kind, Device::Loop(device.path()))
    }

    fn in_scratch(&self, filesystem: &Filesystem, staging: &Staging) -> Result<(), Stop> {
        let scratch = self.scratch()?;
        let len = filesystem.extent.len;
        scratch.set_len(len.0).context("sizing the scratch file")?;
        self.mkfs(filesystem, Device::Scratch(&scratch), staging)?;
        self.check(filesystem.kind, Device::Scratch(&scratch))?;
        self.transfer(&scratch, filesystem.extent)
    }

    /// Copies the data of a scratch file into `extent` of the target, whose other bytes become zeros.
    fn transfer(&self, scratch: &File, extent: Extent) -> Result<(), Stop> {
        let zeros = self.medium.make_hole(extent);
        let mut buffer = Buffer::new(CHUNK);
        let mut back = Buffer::new(CHUNK);
        let mut at = 0;
        while at < extent.len.0 {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let data = if zeros {
                next_data(scratch, at)?
            } else {
                Some(at)
            };
            let Some(from) = data else { break };
            let from = Bytes(from).align_down(Bytes(4096));
            let len = (extent.len - from).index().unwrap_or(CHUNK).min(CHUNK);
            scratch
                .read_exact_at(&mut buffer[..len], from.0)
                .with_context(|| format!("reading the scratch file at byte {from}"))?;
            let place = extent.at + from;
            self.medium
                .write_at(place, &buffer[..len])
                .context("filling the partition")?;
            self.medium
                .read_at(place, &mut back[..len])
                .context("reading the partition back")?;
            if buffer[..len] != back[..len] {
                return Err(
                    anyhow::anyhow!("reading back byte {place}: not what was written").into(),
                );
            }
            at = from.0 + len as u64;
        }
        Ok(())
    }

    fn mkfs(
        &self,
        filesystem: &Filesystem,
        device: Device<'_>,
        staging: &Staging,
    ) -> Result<(), Stop> {
        let by_mkfs = filesystem.filling == Filling::Mkfs && !filesystem.tree.is_empty();
        let uuid = filesystem.uuid.to_string();
        let label = filesystem.label.as_str();
        let (mkfs, _, _) = programs_of(filesystem.kind);
        let mut command = self.as_root(mkfs)?;
        match filesystem.kind {
            FsKind::Btrfs => {
                command.args(["--quiet", "--force", "--nodiscard", "--uuid", &uuid]);
                // Without what blkid remembers (libblkid(3)): another device may have had this name and this UUID some
                // seconds ago, and be this very partition.
                command.env("BLKID_FILE", "/dev/null");
                command.args(["--label", label]);
                if by_mkfs {
                    command.arg("--rootdir").arg(staging.root());
                }
                if let (true, Some(subvolume)) = (by_mkfs, &filesystem.subvolume) {
                    command.args(["--subvol", subvolume]);
                }
            }
            FsKind::Ext4 => {
                command.args(["-q", "-F", "-U", &uuid, "-L", label]);
                // Of the top directory mkfs.ext4 takes only extended attributes from the tree.
                let top = filesystem.tree.iter().find(|entry| entry.path.is_empty());
                let owner = top.filter(|_| self.host.root).map(|top| &top.attributes);
                let (uid, gid) = owner.map_or((0, 0), |a| (a.uid, a.gid));
                command.args(["-E", &format!("nodiscard,root_owner={uid}:{gid}")]);
                if self
                    .host
                    .e2fsprogs
                    .is_some_and(|version| version >= (1, 47))
                {
                    // On by default there, and not to be written by kernels of images before 5.15 (mke2fs.conf).
                    command.args(["-O", "^orphan_file,^metadata_csum_seed"]);
                }
                if by_mkfs {
                    command.arg("-d").arg(staging.root());
                }
            }
            FsKind::Xfs => {
                command.args(["-q", "-f", "-K", "-m", &format!("uuid={uuid}"), "-L", label]);
                if by_mkfs {
                    let proto = staging.beside("proto");
                    fs::write(&proto, prototype(filesystem, staging)?)
                        .context("writing a prototype for mkfs.xfs")?;
                    command.arg("-p").arg(proto);
                }
            }
        }
        run_on(command.arg(device.name()), device.input(), self.cancel)?;
        Ok(())
    }

    /// Copies the tree in through a mount that nobody else sees and that ends with the shell that made it.
    fn fill(&self, filesystem: &Filesystem, device: &Path, staging: &Staging) -> Result<(), Stop> {
        const SCRIPT: &str = r#"
            set -e
            type=$1 device=$2 mount=$3 tree=$4 subvolume=$5 compress=$6
            mount -t "$type" -o nodev,nosuid,noexec "$device" "$mount"
            if [ -n "$subvolume" ]; then btrfs subvolume create "$mount/$subvolume"; fi
            cp -a -T "$tree" "$mount"
            if [ -n "$compress" ]; then
                find "$mount" -mindepth 1 \( -type d -o -type f \) -exec btrfs property set {} compression "$compress" \;
                btrfs property set "$mount" compression "$compress"
            fi
            sync -f "$mount"
            umount "$mount"
        "#;
        let mut command = Command::new(self.program(programs::UNSHARE.name)?);
        // The shell looks where this program looked.
        command.env("PATH", self.host.path());
        command
            .args(PRIVATE)
            .args([programs::SH.name, "-c", SCRIPT, "fill"]);
        command
            .arg(filesystem.kind.name())
            .arg(device)
            .arg(staging.mount_point()?);
        command
            .arg(staging.root())
            .arg(filesystem.subvolume.as_deref().unwrap_or_default());
        command.arg(if filesystem.compressed { "zstd" } else { "" });
        run(&command, self.cancel)?;
        Ok(())
    }

    fn check(&self, kind: FsKind, device: Device<'_>) -> Result<(), Stop> {
        let (_, check, _) = programs_of(kind);
        let mut command = Command::new(self.program(check)?);
        match kind {
            FsKind::Btrfs => command.args(["check", "--readonly", "--check-data-csum"]),
            FsKind::Ext4 => command.args(["-f", "-n"]),
            FsKind::Xfs => command.arg("-n"),
        };
        run_on(command.arg(device.name()), device.input(), self.cancel)?;
        Ok(())
    }

    /// `program`, run so that the files of an ordinary user are root's.
    fn as_root(&self, program: &str) -> anyhow::Result<Command> {
        let path = self.program(program)?;
        if self.host.root {
            return Ok(Command::new(path));
        }
        let mut command = Command::new(self.program(programs::UNSHARE.name)?);
        command.arg("--map-root-user").arg(path);
        Ok(command)
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.host
            .program(name)
            .with_context(|| format!("looking for the program {name}"))
    }
}

/// What looks a filesystem over, for people.
fn checker(kind: FsKind) -> &'static str {
    match programs_of(kind) {
        _ if kind == FsKind::Btrfs => "btrfs check",
        (_, check, _) => check,
    }
}

/// Where data of a sparse file begins at or behind `at`, if any is left.
fn next_data(file: &File, at: u64) -> anyhow::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(from) => Ok(Some(from)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        // A filesystem that does not know its holes: all of it is data.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(Some(at)),
        Err(error) => Err(error).with_context(|| format!("looking for data behind byte {at}")),
    }
}

/// The tree as mkfs.xfs's prototype file (mkfs.xfs(8), `-p`).
fn prototype(filesystem: &Filesystem, staging: &Staging) -> anyhow::Result<String> {
    let root = filesystem.tree.iter().find(|entry| entry.path.is_empty());
    let mode = root.map_or(0o755, |entry| entry.attributes.mode & 0o777);
    let mut text = format!("/dev/null\n0 0\nd--{mode:03o} 0 0\n");
    prototype_of(filesystem, staging, "", &mut text)?;
    text += "$\n";
    Ok(text)
}

/// The entries of the directory `of`, and of those in it.
fn prototype_of(
    filesystem: &Filesystem,
    staging: &Staging,
    of: &str,
    text: &mut String,
) -> anyhow::Result<()> {
    for entry in &filesystem.tree {
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if parent != of || entry.path.is_empty() {
            continue;
        }
        if name.contains(char::is_whitespace) {
            bail!("mkfs.xfs cannot be given the name '{name}'; choose btrfs or ext4");
        }
        let a = &entry.attributes;
        let owner = format!("{:03o} {} {}", a.mode & 0o777, a.uid, a.gid);
        match &entry.content {
            Content::Directory => {
                writeln!(text, "{name} d--{owner}")?;
                prototype_of(filesystem, staging, &entry.path, text)?;
                writeln!(text, "$")?;
            }
            Content::File { .. } => {
                let source = staging.root().join(&entry.path);
                writeln!(text, "{name} ---{owner} {}", source.display())?;
            }
            Content::Symlink { target } => writeln!(text, "{name} l--{owner} {target}")?,
        }
    }
    Ok(())
}
