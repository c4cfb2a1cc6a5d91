// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk through the directory trees, bounded in depth, entries and bytes.

use std::collections::HashSet;

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

use super::descriptor::{Names, Root};
use super::record::{Raw, Record, Step, SystemUse, step};
use super::{Directory, Flaw};

/// ECMA-119 allows 8 levels; Rock Ridge images go deeper.
const MAX_DEPTH: usize = 64;
/// Directory records in all trees together. A Debian DVD with all four trees has about 30 000.
const MAX_ENTRIES: usize = 500_000;
/// Bytes of directories and continuation areas in all trees together.
const MAX_BYTES: u64 = 128 << 20;
/// Bytes of all paths together.
const MAX_PATHS: usize = 64 << 20;
/// Flaws that are kept; the rest is counted with the last.
const MAX_FLAWS: usize = 64;

/// A file as one tree names it.
pub(super) struct Node {
    /// Empty when paths are not kept.
    pub path: String,
    /// One record per extent.
    pub sections: Vec<Record>,
    /// Why its bytes are not simply those of its extents.
    pub odd: Option<&'static str>,
}

impl Node {
    fn new(path: String) -> Node {
        Node {
            path,
            sections: Vec::new(),
            odd: None,
        }
    }

    /// Adds what a record of the file says.
    fn add(&mut self, record: Raw, known: &SystemUse, at: Bytes, base: Bytes) {
        self.sections.push(Record {
            at,
            base,
            extent: record.extent(base),
        });
        if known.compressed {
            self.odd = Some("it is compressed (zisofs)");
        } else if record.is_odd() {
            self.odd = Some("it is interleaved or has extended attributes");
        }
    }
}

/// What a tree holds.
#[derive(Default)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    pub directories: Vec<Directory>,
    /// Whether Rock Ridge names any of it.
    pub rock_ridge: bool,
}

/// The state of the walk over all trees.
pub(super) struct Walk<'a> {
    image: &'a dyn ReadAt,
    entries: usize,
    bytes: u64,
    paths: usize,
    pub flaws: Vec<Flaw>,
    /// Directories and continuation areas.
    pub meta: Vec<Extent>,
}

/// A directory that is yet to be read.
struct Pending {
    extent: Extent,
    path: String,
    depth: usize,
}

impl<'a> Walk<'a> {
    pub fn new(image: &'a dyn ReadAt) -> Walk<'a> {
        Walk {
            image,
            entries: 0,
            bytes: 0,
            paths: 0,
            flaws: Vec::new(),
            meta: Vec::new(),
        }
    }

    pub fn flaw(&mut self, at: Bytes, what: impl Into<String>) {
        if self.flaws.len() < MAX_FLAWS {
            self.flaws.push(Flaw {
                at,
                what: what.into(),
            });
        }
    }

    /// Walks one tree. Only when `keep`, paths are put together.
    pub fn tree(&mut self, root: Root, base: Bytes, keep: bool) -> Result<Tree, ReadError> {
        let mut tree = Tree::default();
        let mut visited = HashSet::new();
        let mut skip = None;
        let mut pending = vec![Pending {
            extent: root.extent,
            path: String::new(),
            depth: 0,
        }];
        while let Some(directory) = pending.pop() {
            let at = directory.extent.at;
            if !visited.insert(at) {
                self.flaw(at, format!("directory {}/ is named twice", directory.path));
                continue;
            }
            if directory.depth > MAX_DEPTH {
                self.flaw(
                    at,
                    format!("directories are nested more than {MAX_DEPTH} deep"),
                );
                continue;
            }
            if directory.extent.end() > self.image.len() {
                self.flaw(
                    at,
                    format!(
                        "directory {}/ would lie beyond the end of the image",
                        directory.path
                    ),
                );
                continue;
            }
            self.spend(at, directory.extent.len)?;
            let bytes = self
                .image
                .read_vec(at, directory.extent.len.index().unwrap_or(0))?;
            self.meta.push(directory.extent);
            let listing = Listing {
                base,
                names: root.names,
                keep,
                skip: *skip.get_or_insert_with(|| self.skip(&bytes)),
                directory: &directory,
            };
            self.list(&listing, &bytes, &mut tree, &mut pending)?;
            if keep {
                tree.directories.push(Directory {
                    path: if directory.depth == 0 {
                        "/".to_owned()
                    } else {
                        directory.path
                    },
                    extent: directory.extent,
                });
            }
        }
        Ok(tree)
    }

    fn spend(&mut self, at: Bytes, bytes: Bytes) -> Result<(), ReadError> {
        self.bytes = self.bytes.saturating_add(bytes.0);
        if self.bytes > MAX_BYTES || self.entries > MAX_ENTRIES || self.paths > MAX_PATHS {
            return Err(ReadError::malformed(
                "directory",
                at,
                "the image's directories are larger than any live image's; is this one?",
            ));
        }
        Ok(())
    }

    /// SUSP 5.3: the root's record for itself says how many bytes of every System Use field are someone else's.
    fn skip(&self, root: &[u8]) -> usize {
        let Step::Record(record, _) = step(root, 0) else {
            return 0;
        };
        // The entry must come first, so no continuation area is needed; CD-ROM XA puts 14 bytes before it.
        let field = record.system_use();
        [0, 14]
            .into_iter()
            .filter_map(|from| field.get(from..from + 7))
            .find_map(|entry| SystemUse::read(self.image, Bytes::ZERO, entry).ok()?.skip)
            .unwrap_or(0)
    }

    /// Reads the records of one directory.
    fn list(
        &mut self,
        listing: &Listing,
        bytes: &[u8],
        tree: &mut Tree,
        pending: &mut Vec<Pending>,
    ) -> Result<(), ReadError> {
        let start = listing.directory.extent.at;
        let mut offset = 0;
        // A file whose last section has not come yet.
        let mut open: Option<Node> = None;
        loop {
            let at = start + Bytes(offset as u64);
            let record = match step(bytes, offset) {
                Step::End => break,
                Step::NextBlock(next) => {
                    offset = next;
                    continue;
                }
                Step::Broken(why, next) => {
                    self.flaw(
                        at,
                        format!("directory record in {}/: {why}", listing.directory.path),
                    );
                    offset = next;
                    continue;
                }
                Step::Record(record, next) => {
                    offset = next;
                    record
                }
            };
            self.entries += 1;
            self.spend(at, Bytes::ZERO)?;
            let known = self.system_use(listing, record, at)?;
            tree.rock_ridge |= known.name.is_some();
            if record.is_self() || record.is_parent() || known.relocated {
                continue;
            }
            let Some(path) = self.path(listing, record, &known, at) else {
                continue;
            };
            if let Some(extent) = self.subdirectory(listing, record, &known, at)? {
                pending.push(Pending {
                    extent,
                    path,
                    depth: listing.directory.depth + 1,
                });
                continue;
            }
            if record.is_associated() || known.link {
                continue;
            }
            let mut node = open.take().unwrap_or_else(|| Node::new(path));
            node.add(record, &known, at, listing.base);
            if record.continues() {
                open = Some(node);
            } else {
                tree.nodes.push(node);
            }
        }
        if let Some(node) = open {
            self.flaw(
                start,
                format!("the last extent of {} is missing", node.path),
            );
            tree.nodes.push(node);
        }
        Ok(())
    }

    fn system_use(
        &mut self,
        listing: &Listing,
        record: Raw,
        at: Bytes,
    ) -> Result<SystemUse, ReadError> {
        if listing.names == Names::Joliet {
            return Ok(SystemUse::default());
        }
        let field = record.system_use().get(listing.skip..).unwrap_or_default();
        let known = SystemUse::read(self.image, listing.base, field)?;
        self.spend(at, known.areas.iter().map(|area| area.len).sum())?;
        self.meta.extend(&known.areas);
        if let Some(why) = known.flaw {
            self.flaw(
                at,
                format!("directory record in {}/: {why}", listing.directory.path),
            );
        }
        Ok(known)
    }

    /// The path of an entry; `None` when it can have none.
    fn path(
        &mut self,
        listing: &Listing,
        record: Raw,
        known: &SystemUse,
        at: Bytes,
    ) -> Option<String> {
        let name = match &known.name {
            Some(name) => name.clone(),
            None => record.plain_name(listing.names == Names::Joliet),
        };
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            self.flaw(
                at,
                format!(
                    "directory record in {}/: its name is none",
                    listing.directory.path
                ),
            );
            return None;
        }
        if !listing.keep {
            return Some(String::new());
        }
        self.paths += listing.directory.path.len() + 1 + name.len();
        Some(format!("{}/{name}", listing.directory.path))
    }

    /// Where the directory that an entry names lies, if it names one.
    fn subdirectory(
        &mut self,
        listing: &Listing,
        record: Raw,
        known: &SystemUse,
        at: Bytes,
    ) -> Result<Option<Extent>, ReadError> {
        if record.is_directory() {
            return Ok(Some(record.extent(listing.base)));
        }
        let Some(child) = known.child else {
            return Ok(None);
        };
        // RRIP 4.1.5.1: only the moved directory itself knows its length.
        let place = listing.base + Block(child).bytes();
        let mut bytes = vec![0; 2048];
        if place + Bytes(2048) > self.image.len() {
            self.flaw(
                at,
                "a moved directory would lie beyond the end of the image",
            );
            return Ok(None);
        }
        self.spend(at, Bytes(2048))?;
        self.image.read_exact_at(place, &mut bytes)?;
        let extent = match step(&bytes, 0) {
            Step::Record(record, _) if record.is_self() => record.extent(listing.base),
            _ => {
                self.flaw(
                    place,
                    "a moved directory does not begin with its own record",
                );
                return Ok(None);
            }
        };
        Ok(Some(extent))
    }
}

/// What is the same for all records of one directory.
struct Listing<'a> {
    base: Bytes,
    names: Names,
    keep: bool,
    skip: usize,
    directory: &'a Pending,
}
