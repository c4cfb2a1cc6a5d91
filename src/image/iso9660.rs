// SPDX-License-Identifier: MIT OR Apache-2.0
//! ISO 9660 as far as a stick writer needs it: where every file lies, and where every directory record is that says so.
//!
//! An image for sticks can show one set of files through up to four directory trees: the primary and the Joliet one,
//! and both again for partition 1, which xorriso's `-partition_offset 16` describes by a second descriptor set at
//! byte 65536, with block numbers counted from byte 32768. The data exist once. Whoever changes a file's length or
//! place must change it in all of them, so this module reads all of them.
//!
//! Rules:
//!
//! * Only metadata are read: descriptors, directories, continuation areas. Depth, number and bytes are bounded.
//! * Paths are those of the main tree: the primary one when Rock Ridge names it, else the Joliet one, else the
//!   primary one with its upper-case names.
//! * A damaged record, a directory that is named twice or lies beyond the end costs what it names and becomes a
//!   [`Flaw`]; the rest stays readable. A file that lies beyond the end is kept (a download may be incomplete, see
//!   [`Iso::truncated`]), but its bytes are refused.
//! * Nothing is edited in an image with a flaw: a record that could not be read might name the edited file.
//! * An edit is made on a [`Draft`](crate::patch::Draft) and covers every record; see [`Iso::replace`] and
//!   [`Iso::relocate`].
//!
//! Not done: UDF (its presence is told, and then no length is changed, as UDF would contradict it), more than one
//! session, blocks of other sizes than 2048, partition offsets other than 16.
//!
//! Source: ECMA-119 (4th edition), Joliet Specification, SUSP and RRIP (IEEE P1281, P1282); for the second descriptor
//! set, libisofs `doc/boot_sectors.txt` ("partition offset") and measurements of xorriso 1.5.4.

mod descriptor;
mod edit;
mod record;
mod room;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use crate::image::eltorito::Catalogue;
use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

pub use descriptor::Volume;
pub use edit::EditError;
pub use record::Record;

use descriptor::{Names, Set};
use walk::{Node, Tree, Walk};

/// Length of a logical block (ECMA-119, 6.1.2).
const BLOCK: u64 = 2048;
/// Where partition 1 starts in images made with `-partition_offset 16`.
const PARTITION: Bytes = Bytes(16 * BLOCK);

/// A file, under one of its names.
#[derive(Clone, Debug)]
pub struct File {
    /// The path in the main tree: "/boot/grub2/grub.cfg".
    pub path: String,
    /// Where its bytes lie, in order; none when it is empty.
    pub extents: Vec<Extent>,
    /// Its length.
    pub size: Bytes,
    /// Every directory record, in every tree and under every name, that names data at the same start. An empty file
    /// shares its start with others, so it has its own record only.
    pub records: Arc<[Record]>,
    /// Why it cannot be edited in place.
    obstacle: Option<&'static str>,
}

/// A directory of the main tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its path: "/", "/boot".
    pub path: String,
    /// Where its records lie.
    pub extent: Extent,
}

/// Something that was left out because it contradicts the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub at: Bytes,
    /// What is wrong.
    pub what: String,
}

/// Data that some record of some tree names.
#[derive(Debug)]
struct Data {
    extent: Extent,
    records: Arc<[Record]>,
    /// Why it cannot be edited in place.
    obstacle: Option<&'static str>,
}

/// An ISO 9660 image.
#[derive(Debug)]
pub struct Iso {
    volume: Volume,
    partition: Option<Volume>,
    /// Sorted by path.
    files: Vec<File>,
    /// Sorted by path.
    directories: Vec<Directory>,
    /// Indices into `files` by lower-case path.
    by_name: HashMap<String, usize>,
    /// Starts and ends of the extents of `files`, and whose they are; sorted.
    owners: Vec<(Extent, usize)>,
    /// Sorted by start; one per start.
    data: Vec<Data>,
    /// Descriptors, path tables, directories, continuation areas.
    meta: Vec<Extent>,
    boot: Option<Catalogue>,
    udf: bool,
    flaws: Vec<Flaw>,
    size: Bytes,
}

impl Iso {
    /// Reads an image's metadata.
    pub fn read(image: &dyn ReadAt) -> Result<Iso, ReadError> {
        let Some(first) = Set::read(image, Bytes::ZERO)? else {
            return Err(ReadError::malformed(
                "volume descriptor",
                Bytes(16 * BLOCK),
                "there is none of ISO 9660; give a live image",
            ));
        };
        let mut walk = Walk::new(image);
        // Whatever lies there when no partition offset was used is not a descriptor, and blocks of other sizes are
        // no reason to refuse what the first set describes.
        let second = match Set::read(image, PARTITION) {
            Ok(second) => second,
            Err(error) => {
                walk.flaw(PARTITION, error.to_string());
                None
            }
        };
        let boot = match first
            .boot_record
            .map(|record| Catalogue::read(image, record))
        {
            Some(Ok(boot)) => boot,
            Some(Err(error)) => {
                walk.flaw(first.boot_record.unwrap_or_default(), error.to_string());
                None
            }
            None => None,
        };
        let mut main = Tree::default();
        let mut others = Vec::new();
        for set in [Some(&first), second.as_ref()].into_iter().flatten() {
            if set.torn {
                walk.flaw(set.volume.pvd, "the two halves of the volume's size differ");
            }
            walk.meta.extend(&set.meta);
            for root in &set.roots {
                // Only the first set's paths are of use, and Joliet's only where Rock Ridge gives none.
                let joliet = root.names == Names::Joliet;
                let keep = set.base == Bytes::ZERO && (!joliet || !main.rock_ridge);
                let tree = walk.tree(*root, set.base, keep)?;
                let better = joliet || main.directories.is_empty();
                others.push(if keep && better {
                    std::mem::replace(&mut main, tree)
                } else {
                    tree
                });
            }
        }
        let mut meta = walk.meta;
        meta.sort_unstable();
        meta.dedup();
        let data = gather(
            others.iter().chain([&main]).flat_map(|tree| &tree.nodes),
            image.len(),
        );
        let mut iso = Iso {
            volume: first.volume,
            partition: second.map(|second| second.volume),
            files: Vec::new(),
            directories: main.directories,
            by_name: HashMap::new(),
            owners: Vec::new(),
            data,
            meta,
            boot,
            udf: first.udf,
            flaws: walk.flaws,
            size: image.len(),
        };
        iso.directories.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        iso.name(main.nodes);
        Ok(iso)
    }

    /// Makes files of the main tree's nodes.
    fn name(&mut self, nodes: Vec<Node>) {
        self.files = nodes.into_iter().map(|node| self.file_of(node)).collect();
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        for (index, file) in self.files.iter().enumerate() {
            self.by_name
                .entry(file.path.to_lowercase())
                .or_insert(index);
            self.owners
                .extend(file.extents.iter().map(|extent| (*extent, index)));
        }
        self.owners.sort_unstable();
    }

    fn file_of(&self, node: Node) -> File {
        let extents: Vec<Extent> = node
            .sections
            .iter()
            .map(|section| section.extent)
            .filter(|extent| extent.len.0 > 0)
            .collect();
        let size = extents.iter().map(|extent| extent.len).sum();
        let data = extents.first().and_then(|extent| self.data_at(extent.at));
        let obstacle = match data {
            None => Some("it is empty and has no blocks of its own"),
            Some(_) if extents.len() > 1 => Some("it lies in several extents"),
            Some(data) => data.obstacle,
        };
        File {
            path: node.path,
            size,
            obstacle,
            records: data.map_or_else(|| node.sections.into(), |data| Arc::clone(&data.records)),
            extents,
        }
    }

    fn data_at(&self, at: Bytes) -> Option<&Data> {
        let index = self
            .data
            .binary_search_by_key(&at, |data| data.extent.at)
            .ok()?;
        self.data.get(index)
    }

    /// What the volume says about itself, as seen from the start of the medium.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The same as seen from partition 1, if the image was made with a partition offset.
    pub fn partition(&self) -> Option<&Volume> {
        self.partition.as_ref()
    }

    /// What a firmware boots from the image as a disc.
    pub fn boot(&self) -> Option<&Catalogue> {
        self.boot.as_ref()
    }

    /// Whether UDF shows the same files.
    pub fn has_udf(&self) -> bool {
        self.udf
    }

    /// Where descriptors, path tables, directories of all trees and continuation areas lie, sorted.
    pub fn metadata(&self) -> &[Extent] {
        &self.meta
    }

    /// What was left out, if anything (at most 64 are kept).
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// All files of the main tree, under all their names, sorted by path.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file at `path` ("/EFI/BOOT/grub.cfg"); exactly so, else with letters of the other case.
    pub fn file(&self, path: &str) -> Option<&File> {
        let exact = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok();
        let index = exact.or_else(|| self.by_name.get(&path.to_lowercase()).copied())?;
        self.files.get(index)
    }

    /// All directories of the main tree, sorted by path.
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// The directory at `path` ("/", "/LiveOS"); exactly so, else with letters of the other case.
    pub fn directory(&self, path: &str) -> Option<&Directory> {
        let path = if path.len() > 1 {
            path.trim_end_matches('/')
        } else {
            path
        };
        let exact = self
            .directories
            .binary_search_by(|known| known.path.as_str().cmp(path))
            .ok();
        if let Some(index) = exact {
            return self.directories.get(index);
        }
        let path = path.to_lowercase();
        self.directories
            .iter()
            .find(|known| known.path.to_lowercase() == path)
    }

    /// The files directly in a directory, sorted by path.
    pub fn children<'a>(&'a self, directory: &'a Directory) -> impl Iterator<Item = &'a File> {
        let prefix = directory.path.trim_end_matches('/');
        let from = self
            .files
            .partition_point(|file| file.path.as_str() < prefix);
        self.files[from..]
            .iter()
            .take_while(move |file| file.path.starts_with(prefix))
            .filter(move |file| {
                let name = file.path[prefix.len()..].strip_prefix('/');
                name.is_some_and(|name| !name.contains('/'))
            })
    }

    /// The file whose bytes lie at `at`; of several names the first.
    pub fn owner(&self, at: Bytes) -> Option<&File> {
        let behind = self.owners.partition_point(|(extent, _)| extent.at <= at);
        let start = self.owners.get(behind.checked_sub(1)?)?.0.at;
        let first = self.owners.partition_point(|(extent, _)| extent.at < start);
        self.owners[first..behind]
            .iter()
            .find(|(extent, _)| at < extent.end())
            .and_then(|(_, index)| self.files.get(*index))
    }

    /// The bytes of a file of at most `limit` bytes.
    pub fn contents(
        &self,
        image: &dyn ReadAt,
        file: &File,
        limit: Bytes,
    ) -> Result<Vec<u8>, ReadError> {
        let at = file.extents.first().map_or(Bytes::ZERO, |extent| extent.at);
        if file.size > limit {
            let why = format!(
                "{} has {} bytes; at most {limit} were expected",
                file.path, file.size
            );
            return Err(ReadError::malformed("file", at, why));
        }
        let mut whole = Vec::new();
        for extent in &file.extents {
            whole.extend(image.read_vec(extent.at, extent.len.index().unwrap_or(usize::MAX))?);
        }
        Ok(whole)
    }

    /// When the file is shorter than the volume in it: how many bytes there should be, and how many there are.
    pub fn truncated(&self, image_len: Bytes) -> Option<(Bytes, Bytes)> {
        let need = self.volume.space.bytes();
        (need > image_len).then_some((need, image_len))
    }
}

/// Puts the records of all trees together by the start of what they name.
fn gather<'a>(nodes: impl Iterator<Item = &'a Node>, size: Bytes) -> Vec<Data> {
    let mut named: Vec<(Record, Option<&'static str>)> = Vec::new();
    for node in nodes {
        let odd = node
            .odd
            .or((node.sections.len() > 1).then_some("it lies in several extents"));
        let sections = node
            .sections
            .iter()
            .filter(|section| section.extent.len.0 > 0);
        named.extend(sections.map(|section| (*section, odd)));
    }
    named.sort_unstable_by_key(|(record, _)| (record.extent.at, record.at));
    named.dedup_by_key(|(record, _)| (record.extent.at, record.at));
    named
        .chunk_by(|(a, _), (b, _)| a.extent.at == b.extent.at)
        .filter_map(|group| {
            let (first, _) = group.first()?;
            let len = group.iter().map(|(record, _)| record.extent.len).max()?;
            let extent = Extent {
                at: first.extent.at,
                len,
            };
            let differ = group.iter().any(|(record, _)| record.extent.len != len);
            let obstacle = match group.iter().find_map(|(_, odd)| *odd) {
                Some(odd) => Some(odd),
                None if differ => Some("the records that name it disagree about its length"),
                None if extent.end() > size => Some("it would lie beyond the end of the image"),
                None => None,
            };
            Some(Data {
                extent,
                records: group.iter().map(|(record, _)| *record).collect(),
                obstacle,
            })
        })
        .collect()
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    word(bytes, at).map_or(0, u32::from_le_bytes)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    word(bytes, at).map_or(0, u32::from_be_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

#[cfg(test)]
mod tests;
