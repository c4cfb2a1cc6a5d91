// SPDX-License-Identifier: MIT OR Apache-2.0
//! A seed and the sprout that grows from it, each looked over by its own checksums, read only.
//!
//! Rules:
//!
//! * Never a scrub: through a sprout it reports faults in an intact seed. `btrfs check` of the seed sees the seed alone.
//!   That of the sprout sees both; what it says about the seed in the same words as the seed's own check is the seed's.
//! * `btrfs check` finds the other device by looking through all block devices, so both are attached meanwhile, and it is
//!   shown no others ([`super::secluded`]): another stick of the same image may have a seed of the same identifier.
//! * Where something is wrong the files are named that cannot be read: each is read once through a mount that nobody
//!   sees. That takes as long as reading everything, and is done only then.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use rustix::fs::OFlags;

use crate::apply::flow::Stop;
use crate::apply::loopdev::LoopDevice;
use crate::apply::mounted::{Access, Mounted};
use crate::apply::program::{run_always, run_to_its_end};
use crate::disk::shown;
use crate::host::Host;
use crate::read::Window;
use crate::sprout::Driver;
use crate::superblock::{self, Details, Superblock};
use crate::verify::filesystem::Part;
use crate::verify::secluded;
use crate::verify::subject::Subject;

/// So many files are named.
const NAMED: usize = 10;
/// Deeper directories are not looked into; nor can paths be much longer.
const DEEPEST: usize = 256;

/// What a btrfs is to another one.
#[derive(Clone, Debug)]
pub enum Kin {
    /// Others grow from it.
    Seed,
    /// It grows from this one.
    Sprout(Part),
}

/// What the superblock of a partition says.
pub fn superblock(subject: &Subject, part: &Part) -> Option<Superblock> {
    superblock::identify(&Window::new(&subject.medium, part.extent)).ok()?
}

fn seeding(found: &Superblock) -> bool {
    matches!(found.details, Details::Btrfs { seeding: true, .. })
}

impl Kin {
    /// What `part` is, by its own superblock and those of the others.
    pub fn of(subject: &Subject, found: &Superblock) -> Option<Kin> {
        if seeding(found) {
            return Some(Kin::Seed);
        }
        let grown = matches!(found.details, Details::Btrfs { devices: 2, .. });
        let is_seed = |other: &&Part| superblock(subject, other).is_some_and(|it| seeding(&it));
        let seed = subject.parts.iter().filter(|_| grown).find(is_seed)?;
        Some(Kin::Sprout(seed.clone()))
    }

    /// Where one of the two is in use: the other one is then, too.
    pub fn used(subject: &Subject) -> Option<String> {
        let related = |part: &&Part| {
            superblock(subject, part).is_some_and(|found| {
                seeding(&found) || matches!(found.details, Details::Btrfs { devices: 2, .. })
            })
        };
        let mut parts = subject.parts.iter().filter(related);
        parts.find_map(|part| subject.used(part.number))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What the checker said that is no part of every answer.
    pub faults: Vec<String>,
    /// Files that cannot be read, by their paths in the running system.
    pub files: Vec<String>,
    /// Whether it came from the medium.
    pub direct: bool,
}

/// Looks `part` over. Needs root and loop devices.
pub fn look(
    subject: &Subject,
    part: &Part,
    kin: &Kin,
    host: &Host,
    cancel: &AtomicBool,
) -> Result<Looked, Stop> {
    let losetup = host.program("losetup").context("looking for losetup")?;
    let btrfs = host.program("btrfs").context("looking for btrfs")?;
    let attach = |part: &Part| LoopDevice::attach_read_only(&losetup, &subject.path(), part.extent);
    let device = attach(part)?;
    let seed = match kin {
        Kin::Seed => None,
        Kin::Sprout(seed) => Some(attach(seed)?),
    };
    // What a sprout needs of its seed is read for it, too.
    let direct = device.is_direct() && seed.as_ref().is_none_or(LoopDevice::is_direct);
    let both: Vec<&LoopDevice> = [Some(&device), seed.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let alone = secluded::command(&btrfs, &both, host)?;
    let among_others = alone.is_none() && seed.is_some();
    let command = alone.unwrap_or_else(|| Command::new(&btrfs));
    let mut faults = check(command, &device, cancel)?;
    if let Some(seed) = &seed
        && !faults.is_empty()
    {
        // It has one device, so it looks for no other.
        let of_seed = check(Command::new(&btrfs), seed, cancel)?;
        faults.retain(|line| !of_seed.contains(line));
    }
    if let Some(first) = faults.first_mut().filter(|_| among_others) {
        *first += "; if another stick of this image is plugged in, unplug it and verify again";
    }
    let mut looked = Looked {
        direct,
        ..Looked::default()
    };
    if !faults.is_empty() && host.filesystems.contains("btrfs") {
        let with = seed
            .as_ref()
            .map(|seed| format!("device={}", seed.path().display()));
        looked.files = unreadable(&device, with.as_deref(), cancel)?;
        for device in both {
            // As in making one: the name of the device will be another's soon.
            let _ = run_always(
                Command::new(&btrfs)
                    .args(["device", "scan", "--forget"])
                    .arg(device.path()),
            );
        }
    }
    looked.faults = faults;
    Ok(looked)
}

/// The lines of a check that tell of a fault; none if it ended well.
fn check(
    mut command: Command,
    device: &LoopDevice,
    cancel: &AtomicBool,
) -> Result<Vec<String>, Stop> {
    command.args(["check", "--readonly", "--check-data-csum"]);
    let (sound, text) = run_to_its_end(command.arg(device.path()), cancel)?;
    if sound {
        return Ok(Vec::new());
    }
    if text.lines().any(|line| line == secluded::FAILED) {
        return Err(anyhow::anyhow!("{}", text.trim().replace('\n', " / ")).into());
    }
    let mut faults: Vec<String> = text.lines().filter_map(fault).map(str::to_owned).collect();
    if faults.is_empty() {
        faults.push(
            text.lines()
                .last()
                .unwrap_or("btrfs check failed")
                .to_owned(),
        );
    }
    Ok(faults)
}

/// A line that a sound filesystem does not get (btrfs-progs `check/main.c`).
fn fault(line: &str) -> Option<&str> {
    const USUAL: [&str; 11] = [
        // Of another device of this machine that came or went meanwhile.
        "ERROR: cannot scan",
        // The sum of the lines before.
        "ERROR: errors found in",
        "[",
        "Opening filesystem",
        "Checking filesystem",
        "UUID: ",
        "found ",
        "total ",
        "btree space waste",
        "file data blocks",
        "referenced ",
    ];
    let line = line.trim();
    (!line.is_empty() && !USUAL.iter().any(|usual| line.starts_with(usual))).then_some(line)
}

/// The files that cannot be read.
fn unreadable(
    device: &LoopDevice,
    with: Option<&str>,
    cancel: &AtomicBool,
) -> Result<Vec<String>, Stop> {
    let mut options = vec!["rescue=nologreplay"];
    options.extend(with);
    let mounted = match Mounted::new(Driver::Btrfs, device.path(), &options, Access::Read) {
        Ok(mounted) => mounted,
        Err(error) => return Ok(vec![format!("all of it ({error:#})")]),
    };
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    let top = mounted.path();
    let mut directories = vec![(top.clone(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            files.push(format!("{}/", name(&top, &directory)));
            continue;
        };
        for entry in entries {
            if cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            if files.len() == NAMED {
                files.push("and perhaps more".into());
                return Ok(files);
            }
            let Ok(entry) = entry else {
                files.push(format!("{}/", name(&top, &directory)));
                break;
            };
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else {
                files.push(name(&top, &path));
                continue;
            };
            if meta.is_dir() && depth < DEEPEST {
                directories.push((path, depth + 1));
            } else if meta.is_file()
                && seen.insert((meta.dev(), meta.ino()))
                && read(&path).is_err()
            {
                let name = name(&top, &path);
                // The image's tree and its snapshot share what was not changed.
                if !files.contains(&name) {
                    files.push(name);
                }
            }
        }
    }
    Ok(files)
}

/// Reads a file for its checksums alone.
fn read(path: &Path) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut buffer = vec![0; 1 << 18];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// A file's path as the running system has it: the subvolumes are mounted as `/` and `/home`.
fn name(top: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(top).unwrap_or(path);
    let mut parts = inside.components();
    let first = parts.next().map(|part| part.as_os_str().to_owned());
    let rest = parts.as_path();
    let path = match first.as_deref().and_then(|first| first.to_str()) {
        Some(crate::sprout::TREE | crate::sprout::ROOT) => Path::new("/").join(rest),
        Some(crate::sprout::HOME) => Path::new("/home").join(rest),
        _ => PathBuf::from("/").join(inside),
    };
    shown(&path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_says_of_a_fault_is_told_from_what_it_says_always() {
        // btrfs-progs 6.2, of a seed with a flipped byte.
        let text = "[5/7] checking csums against data\n\
            mirror 1 bytenr 14008320 csum 0x975448b472e7d787 expected csum 0x5c9e3950c84364f4\n\
            ERROR: errors found in csum tree\n[6/7] checking root refs\n\
            ERROR: cannot scan /dev/loop4: Input/output error\nOpening filesystem to check...\n\
            Checking filesystem on /dev/loop1\nUUID: 6d923785-aada-446f-a6c6-b23ea235ea34\n\
            found 63967232 bytes used, error(s) found\ntotal csum bytes: 118792\n\
            btree space waste bytes: 504646\nfile data blocks allocated: 97710080\n referenced 221642752\n";
        let faults: Vec<&str> = text.lines().filter_map(fault).collect();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("mirror 1 bytenr 14008320"));
    }

    #[test]
    fn files_are_called_as_in_the_running_system() {
        let top = Path::new("/proc/1/fd/7");
        let named = |path: &str| name(top, &top.join(path));
        assert_eq!(named("@image/usr/bin/bash"), "/usr/bin/bash");
        assert_eq!(named("@/etc/fstab"), "/etc/fstab");
        assert_eq!(named("@home/ada/a\u{1b}b"), "/home/ada/a\\u{1b}b");
        assert_eq!(named("other/file"), "/other/file");
    }
}
