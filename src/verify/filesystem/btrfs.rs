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

mod dump;
mod files;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use self::dump::{Bad, Chunk, Told, User, chunk_line, key, places, user};
use crate::apply::flow::Stop;
use crate::apply::program::{lines, run_out};
use crate::diagnosis::Kind;
use crate::read::ReadAt;
use crate::units::{Bytes, Extent};

/// Where the copies of the superblock are, and how long one is.
const SUPERS: [(u64, &str); 2] = [(64 << 20, "64 MiB"), (256 << 30, "256 GiB")];
const SUPER: u64 = 4096;
/// So many blocks of metadata are compared, 64 GiB of them.
const BLOCKS: usize = 4 << 20;
/// So many damaged ranges are told.
const FAULTS: usize = 64;

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
}

fn extent(at: u64, len: u64) -> Extent {
    Extent {
        at: Bytes(at),
        len: Bytes(len),
    }
}
