// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files that data with a wrong checksum belong to, by name where that can be told.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

use super::dump::{Chunk, Told, User, key, places};
use super::{FAULTS, Fault, Found, Look, extent};
use crate::apply::flow::Stop;
use crate::diagnosis::Kind;
use crate::disk::shown;
use crate::units::Bytes;

/// Data are checked in blocks of this size (the sector size that all distributions use).
const SECTOR: u64 = 4096;
/// So many directories are kept in memory to name files.
const DIRECTORIES: usize = 200_000;
/// No path is longer.
const DEPTH: usize = 128;

impl Look<'_> {
    /// Data with a wrong checksum, with the files they belong to.
    pub(super) fn data(
        &self,
        chunks: &[Chunk],
        users: &BTreeMap<u64, (u64, Vec<User>)>,
        told: &Told,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let mut names: HashMap<String, HashMap<u64, String>> = HashMap::new();
        for (_, users) in users.values() {
            for user in users {
                let inodes = names.entry(user.root.clone()).or_default();
                inodes.insert(
                    user.inode,
                    format!("inode {} of tree {}", user.inode, user.root),
                );
            }
        }
        for (root, inodes) in &mut names {
            match self.paths(root, inodes) {
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                // Then the numbers stay.
                Ok(()) | Err(Stop::Failed(_)) => {}
            }
        }
        let mut last = None;
        for bad in &told.data {
            let Some(copies) = places(chunks, bad.logical) else {
                continue;
            };
            let Some(at) = copies.get(bad.mirror.saturating_sub(1)) else {
                continue;
            };
            let before = users.range(..=bad.logical).next_back();
            let users = before
                .filter(|(start, (len, _))| bad.logical - **start < *len)
                .map_or(&[][..], |(_, (_, users))| users);
            let mut files: Vec<&str> = users
                .iter()
                .filter_map(|user| names.get(&user.root)?.get(&user.inode))
                .map(String::as_str)
                .collect();
            files.dedup();
            let place = if files.is_empty() {
                "data of a file".to_owned()
            } else {
                files.join(" and ")
            };
            let follows = last == Some(*at);
            last = Some(at + SECTOR);
            if let Some(fault) = found.faults.last_mut()
                && follows
                && fault.place == place
            {
                fault.extent.len += Bytes(SECTOR);
            } else if found.faults.len() < FAULTS {
                found.faults.push(Fault {
                    extent: extent(*at, SECTOR),
                    place,
                    kind: Kind::Checksum,
                });
            } else {
                break;
            }
        }
        Ok(())
    }

    /// The paths of inodes in one tree.
    fn paths(&self, root: &str, wanted: &mut HashMap<u64, String>) -> Result<(), Stop> {
        let tree = if root == "FS_TREE" { "fs" } else { root };
        if tree != "fs" && !tree.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        let mut names: HashMap<u64, (u64, String)> = HashMap::new();
        let (mut inode, mut parent, mut directory) = (0, None, false);
        let inodes: Vec<u64> = wanted.keys().copied().collect();
        self.dump(tree, |line| {
            if let Some((own, kind, other)) = key(line) {
                if own != inode {
                    (inode, directory) = (own, false);
                }
                parent = (kind == "INODE_REF").then_some(other);
            } else if let Some(mode) = line.trim_start().strip_prefix("block group ") {
                directory |= mode.contains(" mode 4");
            } else if let Some(parent) = parent
                && (directory || inodes.contains(&inode))
                && let Some((_, name)) = line.split_once(" name: ")
            {
                names
                    .entry(inode)
                    .or_insert_with(|| (parent, name.to_owned()));
            }
            names.len() < DIRECTORIES
        })?;
        for (inode, path) in wanted {
            if let Some(full) = path_of(*inode, &names) {
                *path = shown(Path::new(&full)).to_string();
                if tree != "fs" {
                    let _ = write!(path, " (subvolume {tree})");
                }
            }
        }
        Ok(())
    }
}

/// The path of an inode from the root of its tree, which has the number 256.
fn path_of(inode: u64, names: &HashMap<u64, (u64, String)>) -> Option<String> {
    let mut parts = Vec::new();
    let mut at = inode;
    while at != 256 {
        let (parent, name) = names.get(&at)?;
        parts.push(name.as_str());
        at = *parent;
        if parts.len() > DEPTH {
            return None;
        }
    }
    parts.reverse();
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_hold_each_other_have_no_path() {
        let name = |parent, name: &str| (parent, name.to_owned());
        let names = HashMap::from([
            (300, name(301, "a")),
            (301, name(300, "b")),
            (302, name(256, "c")),
            (303, name(302, "d")),
        ]);
        assert_eq!(path_of(300, &names), None);
        assert_eq!(path_of(303, &names).as_deref(), Some("/c/d"));
        assert_eq!(path_of(9, &names), None);
    }
}
