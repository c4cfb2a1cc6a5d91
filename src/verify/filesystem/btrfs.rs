// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `btrfs check` does not tell of a btrfs: whether the copies that it does not read are sound, and where on the
//! stick, and in which file, a block lies whose checksum is wrong.
//!
//! Rules:
//!
//! * Nothing is mounted and nothing is written: everything is told by `btrfs inspect-internal`, whose output is read as
//!   it comes, and by reads of the medium.
//! * `btrfs check` reads each block of metadata once, and takes the other copy where one is wrong; its exit status is 0
//!   then. So both copies of every block in use are compared with each other, and every copy of the superblock by its
//!   own checksum.
//! * What the programs say is not trusted: what cannot be made out is left out, and a name that is not found is a
//!   number. Files without checksums (`nodatacow`) are not covered by anybody.
//!
//! Source: btrfs-progs, `Documentation/dev/On-disk-format.rst` (superblock at 64 KiB, its copies at 64 MiB and 256 GiB,
//! `nodesize` at 0x94; chunks, extents and their references, inodes) and btrfs-inspect-internal(8).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::flow::Stop;
use crate::apply::program::{lines, run_out};
use crate::diagnosis::Kind;
use crate::disk::shown;
use crate::read::ReadAt;
use crate::units::{Bytes, Extent};

/// Data are checked in blocks of this size (the sector size that all distributions use).
const SECTOR: u64 = 4096;
/// Where the copies of the superblock are, and how long one is.
const SUPERS: [(u64, &str); 2] = [(64 << 20, "64 MiB"), (256 << 30, "256 GiB")];
const SUPER: u64 = 4096;
/// So many blocks of metadata are compared, 64 GiB of them.
const BLOCKS: usize = 4 << 20;
/// So many damaged ranges are told.
const FAULTS: usize = 64;
/// So many directories are kept in memory to name files.
const DIRECTORIES: usize = 200_000;
/// No path is longer.
const DEPTH: usize = 128;

/// Something that does not have its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the filesystem's partition.
    pub extent: Extent,
    /// What lies there: "/upper/etc/passwd", "a copy of the metadata".
    pub place: String,
    /// What is wrong.
    pub kind: Kind,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What is damaged.
    pub faults: Vec<Fault>,
    /// What was compared, in words.
    pub covered: String,
}

/// A btrfs that is looked at.
pub struct Look<'a> {
    /// The program `btrfs`.
    pub program: &'a Path,
    /// What it can open: a device, or its standard input.
    pub device: &'a Path,
    /// Its standard input.
    pub input: Option<&'a File>,
    /// The partition, read from the medium.
    pub partition: &'a dyn ReadAt,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
}

/// A range of logical addresses, and where its copies are on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    logical: u64,
    len: u64,
    /// Profile "single" or "DUP": the copies are equal.
    plain: bool,
    copies: Vec<u64>,
}

/// Who uses a range of data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    /// The tree, as `-t` takes it.
    root: String,
    inode: u64,
}

impl Look<'_> {
    /// Looks further; `said` is what `btrfs check` said.
    pub fn further(&self, said: &str) -> Result<Found, Stop> {
        let told = Told::of(said);
        let mut found = Found::default();
        let known = self.chunks().and_then(|chunks| {
            let (blocks, users) = self.extents(&told.data)?;
            Ok((chunks, blocks, users))
        });
        let (chunks, blocks, users) = match known {
            Ok(known) => known,
            Err(Stop::Cancelled) => return Err(Stop::Cancelled),
            Err(Stop::Failed(error)) => {
                found.covered = format!(
                    "checksums of data and of one copy of the metadata; no other copy could be found ({error:#})"
                );
                return Ok(found);
            }
        };
        self.supers(&mut found)?;
        self.copies(&chunks, &blocks, &told, &mut found)?;
        self.data(&chunks, &users, &told, &mut found)?;
        Ok(found)
    }

    fn inspect(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.arg("inspect-internal").args(arguments);
        command.arg(self.device);
        command
    }

    fn dump(&self, tree: &str, each: impl FnMut(&str) -> bool + Send) -> Result<(), Stop> {
        let command = self.inspect(&["dump-tree", "-t", tree]);
        lines(&command, self.input, self.cancel, each)
    }

    fn chunks(&self) -> Result<Vec<Chunk>, Stop> {
        let mut chunks = Vec::new();
        self.dump("chunk", |line| {
            chunk_line(line, &mut chunks);
            chunks.len() < BLOCKS
        })?;
        Ok(chunks)
    }

    /// The addresses of all blocks of metadata, and who uses the data at `wanted`.
    #[allow(clippy::type_complexity, reason = "it has one caller")]
    fn extents(&self, wanted: &[Bad]) -> Result<(Vec<u64>, BTreeMap<u64, (u64, Vec<User>)>), Stop> {
        let mut blocks = Vec::new();
        let mut users: BTreeMap<u64, (u64, Vec<User>)> = BTreeMap::new();
        let mut current = (0, 0);
        self.dump("extent", |line| {
            if let Some((start, kind, len)) = key(line) {
                current = match kind {
                    "EXTENT_ITEM" | "METADATA_ITEM" => {
                        (start, if kind == "EXTENT_ITEM" { len } else { 0 })
                    }
                    _ => (0, 0),
                };
            } else if line.contains(" flags ") && line.contains("TREE_BLOCK") {
                blocks.push(current.0);
            } else if let Some(user) = user(line) {
                let range = current.0..current.0.saturating_add(current.1);
                if wanted.iter().any(|bad| range.contains(&bad.logical)) {
                    let (_, users) = users.entry(current.0).or_insert((current.1, Vec::new()));
                    if users.len() < FAULTS && !users.contains(&user) {
                        users.push(user);
                    }
                }
            }
            blocks.len() < BLOCKS
        })?;
        Ok((blocks, users))
    }

    /// The copies of the superblock, by their own checksums.
    fn supers(&self, found: &mut Found) -> Result<(), Stop> {
        let command = self.inspect(&["dump-super", "-a"]);
        let ended = run_out(&command, self.input, self.cancel)?;
        let size = ended
            .text
            .lines()
            .find_map(|line| line.strip_prefix("total_bytes"))
            .and_then(|size| size.trim().parse::<u64>().ok())
            .unwrap_or(0)
            .min(self.partition.len().0);
        for (at, name) in SUPERS {
            if at + SUPER >= size {
                continue;
            }
            let sound = ended.text.split("superblock: bytenr=").any(|copy| {
                copy.starts_with(&format!("{at},"))
                    && copy
                        .lines()
                        .any(|line| line.starts_with("csum\t") && line.ends_with("[match]"))
            });
            if !sound {
                found.faults.push(Fault {
                    extent: extent(at, SUPER),
                    place: format!("the copy of the superblock at {name}"),
                    kind: Kind::Checksum,
                });
            }
        }
        Ok(())
    }

    /// The copies of every block of metadata, with each other.
    fn copies(
        &self,
        chunks: &[Chunk],
        blocks: &[u64],
        told: &Told,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let size = self.partition.read_vec(Bytes((64 << 10) + 0x94), 4);
        let size = size
            .ok()
            .and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
        let size = u64::from(size.unwrap_or(0));
        if !size.is_power_of_two() || !(4096..=65536).contains(&size) || blocks.is_empty() {
            found.covered =
                "checksums of data and of one copy of the metadata; the other was not found".into();
            return Ok(());
        }
        let (mut twice, mut unmapped) = (false, 0);
        for block in blocks {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let Some(copies) = places(chunks, *block) else {
                unmapped += 1;
                continue;
            };
            twice |= copies.len() > 1;
            let broken = told.metadata.contains(block);
            for (number, fault) in self.block(&copies, size, broken) {
                if found.faults.len() < FAULTS {
                    found.faults.push(Fault {
                        extent: extent(copies[number], size),
                        place: if copies.len() > 1 {
                            "one of two copies of its metadata".into()
                        } else {
                            "its metadata".into()
                        },
                        kind: fault,
                    });
                }
            }
        }
        let copies = if twice {
            ", both copies of the metadata"
        } else {
            ""
        };
        found.covered = format!("checksums of data and metadata{copies}");
        if unmapped > 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                found.covered,
                ", but {unmapped} blocks of metadata were not found"
            );
        }
        Ok(())
    }

    /// Which copies of a block are wrong; `broken` is whether the first is known to be.
    fn block(&self, copies: &[u64], size: u64, broken: bool) -> Vec<(usize, Kind)> {
        let size = Bytes(size).index().unwrap_or(0);
        let read: Vec<_> = copies
            .iter()
            .map(|at| self.partition.read_vec(Bytes(*at), size))
            .collect();
        let mut wrong = Vec::new();
        for (number, copy) in read.iter().enumerate() {
            if let Err(error) = copy {
                let why = error.to_string();
                wrong.push((number, Kind::Unreadable { why }));
            }
        }
        if !wrong.is_empty() {
            return wrong;
        }
        let same = read.windows(2).all(|two| match two {
            [Ok(one), Ok(other)] => one == other,
            _ => false,
        });
        if broken {
            wrong.push((0, Kind::Checksum));
        } else if !same {
            // What the checker read was right, and that was the first.
            wrong.push((1, Kind::Checksum));
        }
        wrong
    }

    /// Data with a wrong checksum, with the files they belong to.
    fn data(
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

fn extent(at: u64, len: u64) -> Extent {
    Extent {
        at: Bytes(at),
        len: Bytes(len),
    }
}

/// A block of data with a wrong checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad {
    logical: u64,
    /// Which copy, from 1 on.
    mirror: usize,
}

/// What `btrfs check` says of checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    data: Vec<Bad>,
    metadata: Vec<u64>,
}

impl Told {
    fn of(said: &str) -> Told {
        let mut told = Told::default();
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["mirror", mirror, "bytenr", logical, "csum", ..] => {
                    if let (Ok(mirror), Ok(logical)) = (mirror.parse(), logical.parse()) {
                        told.data.push(Bad { logical, mirror });
                    }
                }
                ["checksum", "verify", "failed", "on", logical, ..] => {
                    told.metadata.extend(logical.parse::<u64>());
                }
                _ => {}
            }
        }
        told.data.sort_by_key(|bad| (bad.mirror, bad.logical));
        told.data.dedup();
        told
    }
}

/// The key of an item: "item 3 key (30408704 CHUNK_ITEM 7) itemoff …"; names of objects are 0.
fn key(line: &str) -> Option<(u64, &str, u64)> {
    let line = line.trim_start();
    if !line.starts_with("item ") {
        return None;
    }
    let (_, rest) = line.split_once(" key (")?;
    let (key, _) = rest.split_once(')')?;
    let mut words = key.split(' ');
    let (own, kind, other) = (words.next()?, words.next()?, words.next()?);
    Some((own.parse().unwrap_or(0), kind, other.parse().unwrap_or(0)))
}

fn chunk_line(line: &str, chunks: &mut Vec<Chunk>) {
    if let Some((_, kind, logical)) = key(line) {
        if kind == "CHUNK_ITEM" {
            chunks.push(Chunk {
                logical,
                len: 0,
                plain: false,
                copies: Vec::new(),
            });
        }
        return;
    }
    let Some(chunk) = chunks.last_mut() else {
        return;
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["length", len, "owner", _, "stripe_len", _, "type", kind] => {
            chunk.len = len.parse().unwrap_or(0);
            let profile = kind.rsplit('|').next().unwrap_or_default();
            chunk.plain = matches!(profile, "single" | "DUP" | "DATA" | "METADATA" | "SYSTEM");
        }
        ["stripe", _, "devid", _, "offset", at] if chunk.copies.len() < 2 => {
            chunk.copies.extend(at.parse::<u64>());
        }
        _ => {}
    }
}

/// "extent data backref root FS_TREE objectid 257 offset 0 count 1".
fn user(line: &str) -> Option<User> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words
        .windows(3)
        .position(|three| three == ["data", "backref", "root"])?;
    let ["objectid", inode, ..] = words.get(at + 4..)? else {
        return None;
    };
    Some(User {
        root: (*words.get(at + 3)?).to_owned(),
        inode: inode.parse().ok()?,
    })
}

/// Where the copies of what has this logical address are.
fn places(chunks: &[Chunk], logical: u64) -> Option<Vec<u64>> {
    let chunk = chunks.iter().find(|chunk| {
        logical
            .checked_sub(chunk.logical)
            .is_some_and(|into| into < chunk.len)
    })?;
    let into = logical - chunk.logical;
    let copies: Option<Vec<u64>> = chunk.copies.iter().map(|at| at.checked_add(into)).collect();
    copies.filter(|copies| chunk.plain && !copies.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_btrfs_check_says_is_made_out() {
        let said = "[5/7] checking csums against data\n\
            checksum verify failed on 30441472 wanted 0xf46c74c9 found 0x89c2cff2\n\
            mirror 1 bytenr 14426112 csum 0x1dd76fa1 expected csum 0xfeaf49eb\n\
            mirror 1 bytenr rubbish csum 0 expected csum 0\n";
        let told = Told::of(said);
        let (logical, mirror) = (14_426_112, 1);
        assert_eq!(told.data, [Bad { logical, mirror }]);
        assert_eq!(told.metadata, [30_441_472]);
    }

    #[test]
    fn addresses_are_those_of_the_chunk_tree() {
        let dump = "\titem 3 key (FIRST_CHUNK_TREE CHUNK_ITEM 30408704) itemoff 15881 itemsize 112\n\
            \t\tlength 33554432 owner 2 stripe_len 65536 type METADATA|DUP\n\
            \t\tnum_stripes 2 sub_stripes 1\n\
            \t\t\tstripe 0 devid 1 offset 38797312\n\
            \t\t\tstripe 1 devid 1 offset 72351744\n";
        let mut chunks = Vec::new();
        for line in dump.lines() {
            chunk_line(line, &mut chunks);
        }
        assert_eq!(
            places(&chunks, 30_441_472),
            Some(vec![38_830_080, 72_384_512])
        );
        assert_eq!(places(&chunks, 30_408_703), None);
        assert_eq!(places(&chunks, 30_408_704 + 33_554_432), None);
        chunks[0].copies = vec![u64::MAX];
        assert_eq!(places(&chunks, 30_441_472), None);
    }

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
