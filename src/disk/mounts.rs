// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is mounted and what is swap: `/proc/self/mountinfo` and `/proc/swaps`, and taking mounts away.
//!
//! Formats: proc_pid_mountinfo(5) and proc_swaps(5). Blanks, tabs, newlines and backslashes in paths are written as
//! three octal digits behind a backslash. Lines that are not understood are an error: an overlooked mount is a
//! destroyed file system.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;

use super::{DevNumber, shown};

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `st_dev` of its files; major 0 where the file system has no single device.
    pub dev: DevNumber,
    /// Where.
    pub point: PathBuf,
    /// File system type.
    pub kind: String,
    /// What was mounted: a device's path, mostly.
    pub source: OsString,
    /// Options of the file system, comma-separated.
    pub options: OsString,
}

/// Undoes the octal escapes of the kernel's `mangle_path` and `seq_escape`.
pub(super) fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            digits.iter().try_fold(0u32, |sum, digit| {
                (b'0'..=b'7')
                    .contains(digit)
                    .then(|| sum * 8 + u32::from(digit - b'0'))
            })
        });
        if let Some(byte) = octal.and_then(|code| u8::try_from(code).ok()) {
            out.push(byte);
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    OsString::from_vec(out)
}

/// The mounts listed in the text of a `mountinfo`; `None` for a line that is none.
pub fn parse_mountinfo(text: &[u8]) -> Option<Vec<Mount>> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(parse_mount)
        .collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let dev = DevNumber::parse(std::str::from_utf8(fields.nth(2)?).ok()?)?;
    let point = unescape(fields.nth(1)?).into();
    // Optional fields, of any number, end with a lone hyphen.
    fields.find(|field| *field == b"-")?;
    Some(Mount {
        dev,
        point,
        kind: String::from_utf8_lossy(fields.next()?).into_owned(),
        source: unescape(fields.next()?),
        // Kept escaped: the options of an overlay have escapes of their own.
        options: OsString::from_vec(fields.next().unwrap_or_default().to_vec()),
    })
}

/// The devices and files listed in the text of `/proc/swaps`.
pub fn parse_swaps(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| line.split(u8::is_ascii_whitespace).next())
        .filter(|field| !field.is_empty())
        .map(|field| unescape(field).into())
        .collect()
}

/// The mount that holds `path`: the one with the longest mount point, and of several there the last, which hides the
/// others.
pub(super) fn containing<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        // `max_by_key` gives the last of equals.
        .max_by_key(|mount| mount.point.components().count())
}

/// A mount that would not go.
#[derive(Debug, thiserror::Error)]
#[error("unmounting {}: {source}; close what uses it and try again", shown(.point))]
pub struct UnmountError {
    /// The mount point.
    pub point: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Unmounts `points`, the deepest first, and of several at one place the last mounted first. Stops at the first that
/// fails. Never by force and never lazily: a lazy unmount leaves the disk in use.
pub fn unmount(points: &[PathBuf]) -> Result<(), UnmountError> {
    for point in order(points) {
        rustix::mount::unmount(point, UnmountFlags::NOFOLLOW).map_err(|source| UnmountError {
            point: point.clone(),
            source: source.into(),
        })?;
    }
    Ok(())
}

fn order(points: &[PathBuf]) -> Vec<&PathBuf> {
    let mut order: Vec<_> = points.iter().rev().collect();
    order.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes_and_optional_fields() {
        let text = b"36 35 8:17 / /run/media/u/MY\\040STICK\\134 rw,noatime shared:1 master:2 - vfat /dev/sdb1 rw,x\n\
            37 35 0:41 /root / rw - btrfs /dev/sda3 rw\n";
        let mounts = parse_mountinfo(text).unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, Path::new("/run/media/u/MY STICK\\"));
        assert_eq!(
            mounts[0].dev,
            DevNumber {
                major: 8,
                minor: 17
            }
        );
        assert_eq!(mounts[0].source, "/dev/sdb1");
        assert_eq!(mounts[1].kind, "btrfs");
    }

    #[test]
    fn a_line_that_is_no_mount_is_not_skipped() {
        assert!(parse_mountinfo(b"36 35 8:17 / /mnt rw\n").is_none());
        assert!(parse_mountinfo(b"garbage\n").is_none());
    }

    #[test]
    fn this_machine_is_understood_as_findmnt_understands_it() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let ours: Vec<_> = parse_mountinfo(&text)
            .unwrap()
            .into_iter()
            .map(|mount| mount.point.to_str().unwrap().to_owned())
            .collect();
        let findmnt = std::process::Command::new("findmnt")
            .args(["--list", "--noheadings", "--output", "TARGET", "--kernel"])
            .output()
            .unwrap();
        let theirs = String::from_utf8(findmnt.stdout).unwrap();
        for target in theirs.lines() {
            assert!(ours.iter().any(|point| point == target), "{target}");
        }
        assert!(!ours.is_empty());
    }

    #[test]
    fn swaps_are_devices_and_files() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/sdb2                               partition\t1048572\t\t0\t\t-2\n\
            /swap\\040file                          file\t1048572\t\t0\t\t-3\n";
        assert_eq!(
            parse_swaps(text),
            [Path::new("/dev/sdb2"), Path::new("/swap file")]
        );
    }

    #[test]
    fn the_deepest_mount_goes_first_and_the_last_of_one_place() {
        let points = ["/a", "/a/b/c", "/a/b"].map(PathBuf::from);
        let seen: Vec<_> = order(&points).into_iter().collect();
        assert_eq!(
            seen,
            [Path::new("/a/b/c"), Path::new("/a/b"), Path::new("/a")]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text: Vec<u8>) {
            let _ = parse_mountinfo(&text);
            let _ = parse_swaps(&text);
            unescape(&text);
        }
    }
}
