// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layers of block devices, read once: which device is made of which, and what uses each of them.
//!
//! A use (a mount, swap, a loop device) is followed down through everything it rests on; the set of devices met on
//! the way says which disks it is on. Where a layer cannot be followed exactly, more devices are taken in, not fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::mounts::{self, Mount};
use super::{DevNumber, DiskError, System, Use, sysfs};

/// A block device: a disk, a partition, or something made of them.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Kernel name.
    pub name: String,
    /// Its directory in `/sys/devices`.
    pub dir: PathBuf,
    pub dev: DevNumber,
    /// The disk it is a part of.
    pub parent: Option<String>,
    /// What it is made of.
    slaves: Vec<String>,
    /// What is made of it.
    holders: Vec<String>,
    /// The file or device behind a loop device or zram.
    pub backing: Option<PathBuf>,
    /// One path of a multipath NVMe disk: no node, cannot be opened.
    hidden: bool,
}

/// All block devices and their uses at one moment.
pub(super) struct Stack {
    system: System,
    devices: BTreeMap<String, Device>,
    numbers: BTreeMap<DevNumber, String>,
    mounts: Vec<Mount>,
    /// Mounted btrfs: its UUID and devices.
    btrfs: Vec<(String, Vec<String>)>,
    /// Each use with every device it rests on.
    uses: Vec<(Use, BTreeSet<String>)>,
}

/// A thing that rests on others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Device(String),
    /// Index into `mounts`.
    Mount(usize),
    Path(PathBuf),
}

impl Stack {
    /// Reads the system's devices, mounts and swaps.
    pub fn read(system: &System) -> Result<Stack, DiskError> {
        let mountinfo = system.proc.join("self/mountinfo");
        let text = fs::read(&mountinfo).map_err(|e| DiskError::unreadable(&mountinfo, e))?;
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "a line is no mount");
        let mounts = mounts::parse_mountinfo(&text)
            .ok_or_else(|| DiskError::unreadable(&mountinfo, odd()))?;
        let path = system.proc.join("swaps");
        let swaps = match fs::read(&path) {
            // A kernel without swap.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(|e| DiskError::unreadable(&path, e))?,
        };
        let devices = devices(system)?;
        let numbers = devices.values().map(|d| (d.dev, d.name.clone())).collect();
        let mut stack = Stack {
            system: system.clone(),
            devices,
            numbers,
            mounts,
            btrfs: btrfs(system),
            uses: Vec::new(),
        };
        stack.uses = stack.find_uses(mounts::parse_swaps(&swaps));
        Ok(stack)
    }

    /// The system this was read from.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The device of that kernel name.
    pub fn get(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    /// The device with that number.
    pub fn numbered(&self, dev: DevNumber) -> Option<&Device> {
        self.devices.get(self.numbers.get(&dev)?)
    }

    /// What the system uses a regular file as: "swap", "loop0".
    pub fn user_of_file(&self, real: &Path, meta: &fs::Metadata) -> Option<String> {
        let is = |path: &Path| {
            let same = |other: fs::Metadata| (other.dev(), other.ino()) == (meta.dev(), meta.ino());
            path == real || fs::metadata(path).is_ok_and(same)
        };
        self.uses.iter().find_map(|(one, _)| match one {
            Use::Swap { path } if is(path) => Some("swap".to_owned()),
            Use::Loop { name, file } if is(file) => Some(name.clone()),
            _ => None,
        })
    }

    /// The names of everything that is not a part of something else.
    pub fn whole(&self) -> impl Iterator<Item = &str> {
        let whole = |device: &&Device| device.parent.is_none() && !device.hidden;
        self.devices
            .values()
            .filter(whole)
            .map(|device| device.name.as_str())
    }

    /// The partitions of a disk, and eMMC's boot areas.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Device> {
        self.devices
            .values()
            .filter(move |device| device.parent.as_deref() == Some(name))
    }

    /// The uses of a disk and of its parts.
    pub fn uses_of(&self, disk: &Device) -> Vec<Use> {
        let mut own: BTreeSet<&str> = self
            .children(&disk.name)
            .map(|child| child.name.as_str())
            .collect();
        own.insert(&disk.name);
        let rests = |below: &BTreeSet<String>| below.iter().any(|name| own.contains(name.as_str()));
        let mut uses: Vec<Use> = Vec::new();
        for (one, below) in &self.uses {
            if rests(below) && !uses.contains(one) {
                uses.push(one.clone());
            }
        }
        uses
    }

    /// Every device on which the file (or device) at `path` rests; empty if it is on none.
    pub fn below_path(&self, path: &Path) -> BTreeSet<String> {
        let mut below = self.below(Layer::Path(path.to_path_buf()));
        // The mount table and the file agree, unless a mount hides under another one.
        if let Ok(meta) = fs::metadata(path)
            && let Some(name) = self.numbers.get(&DevNumber::from_raw(meta.dev()))
        {
            below.extend(self.below(Layer::Device(name.clone())));
        }
        below
    }

    /// The block device a path below `/dev` names.
    pub fn device_at(&self, path: &Path) -> Option<&str> {
        let inside = path.strip_prefix("/dev").ok()?;
        let node = fs::canonicalize(self.system.dev.join(inside)).ok()?;
        let meta = fs::metadata(&node).ok()?;
        if meta.file_type().is_block_device() {
            let number = DevNumber::from_raw(meta.rdev());
            return self.numbers.get(&number).map(String::as_str);
        }
        let dev = fs::canonicalize(&self.system.dev).ok()?;
        let name = node.strip_prefix(dev).ok()?.to_str()?.replace('/', "!");
        self.devices.get(&name).map(|device| device.name.as_str())
    }

    fn find_uses(&self, swaps: Vec<PathBuf>) -> Vec<(Use, BTreeSet<String>)> {
        let mut uses = Vec::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            let one = Use::Mount {
                source: Path::new(&mount.source).to_string_lossy().into_owned(),
                point: mount.point.clone(),
            };
            uses.push((one, self.below(Layer::Mount(index))));
        }
        for path in swaps {
            let below = self.below(Layer::Path(path.clone()));
            uses.push((Use::Swap { path }, below));
        }
        for device in self.devices.values() {
            if let Some(file) = &device.backing {
                let one = Use::Loop {
                    name: device.name.clone(),
                    file: file.clone(),
                };
                uses.push((one, self.below(Layer::Path(file.clone()))));
            }
            let over = device.slaves.iter().map(|slave| (slave, &device.name));
            let under = device.holders.iter().map(|holder| (&device.name, holder));
            for (lower, upper) in over.chain(under) {
                let one = Use::Holder {
                    device: lower.clone(),
                    holder: self.full_name(upper),
                };
                uses.push((one, BTreeSet::from([lower.clone()])));
            }
        }
        for (uuid, members) in self.btrfs.iter().filter(|(_, all)| all.len() > 1) {
            for device in members {
                let one = Use::Member {
                    device: device.clone(),
                    of: format!("btrfs {uuid}"),
                };
                uses.push((one, BTreeSet::from([device.clone()])));
            }
        }
        uses
    }

    /// "dm-0 (luks-…)", "md127".
    fn full_name(&self, name: &str) -> String {
        let own = self
            .get(name)
            .and_then(|device| sysfs::text(&device.dir.join("dm/name")));
        match own {
            Some(own) => format!("{name} ({own})"),
            None => name.to_owned(),
        }
    }

    /// Everything below `top`, itself included. Ends because nothing is visited twice.
    fn below(&self, top: Layer) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut found = BTreeSet::new();
        let mut open = vec![top];
        while let Some(layer) = open.pop() {
            if !seen.insert(layer.clone()) {
                continue;
            }
            match layer {
                Layer::Device(name) => {
                    if let Some(device) = self.devices.get(&name) {
                        open.extend(device.slaves.iter().cloned().map(Layer::Device));
                        open.extend(device.parent.iter().cloned().map(Layer::Device));
                        open.extend(device.backing.iter().cloned().map(Layer::Path));
                    }
                    found.insert(name);
                }
                Layer::Mount(index) => open.extend(self.under_mount(index)),
                Layer::Path(path) => open.extend(self.under_path(&path)),
            }
        }
        found
    }

    fn under_path(&self, path: &Path) -> Option<Layer> {
        if let Some(name) = self.device_at(path) {
            return Some(Layer::Device(name.to_owned()));
        }
        let mount = mounts::containing(&self.mounts, path)?;
        let index = self.mounts.iter().position(|one| std::ptr::eq(one, mount));
        index.map(Layer::Mount)
    }

    fn under_mount(&self, index: usize) -> Vec<Layer> {
        let Some(mount) = self.mounts.get(index) else {
            return Vec::new();
        };
        let mut layers = Vec::new();
        if let Some(name) = self.numbers.get(&mount.dev) {
            layers.push(Layer::Device(name.clone()));
        } else if mount.kind == "btrfs" {
            layers.extend(self.under_btrfs(mount));
        } else if mount.kind == "overlay" {
            layers.extend(overlay_paths(mount.options.as_bytes()).map(Layer::Path));
        } else {
            // bcachefs lists its devices, FUSE its directories, both with colons between.
            let sources = mount.source.as_bytes().split(|byte| *byte == b':');
            let paths = sources.filter(|source| source.starts_with(b"/"));
            layers.extend(paths.map(|path| Layer::Path(Path::new(OsStr::from_bytes(path)).into())));
        }
        layers
    }

    /// The devices of a mounted btrfs. If its source names none of them (as "/dev/root" does), those of every btrfs.
    fn under_btrfs(&self, mount: &Mount) -> Vec<Layer> {
        let known = self.device_at(Path::new(&mount.source));
        let mut layers: Vec<_> = self
            .btrfs
            .iter()
            .filter(|(_, all)| known.is_none_or(|name| all.iter().any(|one| one == name)))
            .flat_map(|(_, all)| all.iter().cloned().map(Layer::Device))
            .collect();
        layers.extend(known.map(|name| Layer::Device(name.to_owned())));
        layers
    }
}

/// The directories an overlay is made of, from its options (kernel, Documentation/filesystems/overlayfs.rst): lower
/// layers with colons between, a colon inside a name behind a backslash; octal escapes as everywhere in mountinfo.
fn overlay_paths(options: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    const KEYS: [&[u8]; 5] = [
        b"lowerdir",
        b"lowerdir+",
        b"datadir+",
        b"upperdir",
        b"workdir",
    ];
    options
        .split(|byte| *byte == b',')
        .filter_map(|option| {
            let equals = option.iter().position(|byte| *byte == b'=')?;
            let (key, value) = option.split_at(equals);
            KEYS.contains(&key).then(|| split_layers(&value[1..]))
        })
        .flatten()
        .filter(|path| path.is_absolute())
}

fn split_layers(value: &[u8]) -> Vec<PathBuf> {
    let value = mounts::unescape(value);
    let mut layers = vec![Vec::new()];
    let mut escaped = false;
    for byte in value.as_bytes() {
        match byte {
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            b':' if !escaped => layers.push(Vec::new()),
            _ => {
                if let Some(last) = layers.last_mut() {
                    last.push(*byte);
                }
            }
        }
        escaped = false;
    }
    layers
        .into_iter()
        .map(|layer| PathBuf::from(OsStr::from_bytes(&layer)))
        .collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn devices(system: &System) -> Result<BTreeMap<String, Device>, DiskError> {
    let class = system.sys.join("class/block");
    let entries = fs::read_dir(&class).map_err(|e| DiskError::unreadable(&class, e))?;
    let mut dirs = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|e| DiskError::unreadable(&class, e))?;
        // Gone between the listing and now: pulled out.
        if let (Ok(name), Ok(dir)) = (entry.file_name().into_string(), entry.path().canonicalize())
        {
            dirs.insert(name, dir);
        }
    }
    let all: BTreeSet<_> = dirs.values().cloned().collect();
    let device = |(name, dir): (&String, &PathBuf)| {
        let dev = DevNumber::parse(&sysfs::text(&dir.join("dev"))?)?;
        // A partition lies in its disk's directory, and so do the boot areas of eMMC.
        let parent = dir
            .parent()
            .filter(|above| all.contains(*above))
            .and_then(|above| above.file_name()?.to_str().map(str::to_owned));
        let backing = raw_path(&dir.join("loop/backing_file"))
            .or_else(|| raw_path(&dir.join("backing_dev")).filter(|path| path.is_absolute()));
        let device = Device {
            name: name.clone(),
            dev,
            parent,
            slaves: names_in(&dir.join("slaves")),
            holders: names_in(&dir.join("holders")),
            backing,
            hidden: sysfs::number(&dir.join("hidden")) == Some(1),
            dir: dir.clone(),
        };
        Some((name.clone(), device))
    };
    Ok(dirs.iter().filter_map(device).collect())
}

/// A path in an attribute, byte for byte.
fn raw_path(attribute: &Path) -> Option<PathBuf> {
    let bytes = fs::read(attribute).ok()?;
    let path = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// Mounted btrfs file systems: `/sys/fs/btrfs/UUID/devices/NAME`.
fn btrfs(system: &System) -> Vec<(String, Vec<String>)> {
    let dir = system.sys.join("fs/btrfs");
    let known = names_in(&dir).into_iter();
    known
        .map(|uuid| {
            let devices = names_in(&dir.join(&uuid).join("devices"));
            (uuid, devices)
        })
        .filter(|(_, devices)| !devices.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_overlay_are_told_apart() {
        let options =
            br"rw,lowerdir=/a\134:b:/c\040d,upperdir=/u,workdir=/w,index=off,lowerdir+=rel";
        let seen: Vec<_> = overlay_paths(options).collect();
        let expected = ["/a:b", "/c d", "/u", "/w"].map(PathBuf::from);
        assert_eq!(seen, expected);
    }
}
