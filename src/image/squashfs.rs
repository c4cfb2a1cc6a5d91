// SPDX-License-Identifier: MIT OR Apache-2.0
//! SquashFS 4, read inode by inode.
//!
//! No table is ever loaded: an inode, an identifier, a fragment or an attribute is found by its reference, through a
//! small cache of metadata blocks. What a count in the image claims is never allocated; a walk ends where the image
//! ends. gzip, xz, zstd and lz4 are decoded; lzo and lzma are answered as unsupported.
//!
//! Sources: Linux, `fs/squashfs/squashfs_fs.h` (structures), `fs/squashfs/{inode,dir,namei,xattr,fragment,id}.c` (how
//! they refer to each other); squashfs-tools, `squashfs_fs.h`.

mod decode;
mod file;
mod inode;
mod metadata;

use std::cell::RefCell;
use std::rc::Rc;

use crate::image::root::{Attributes, FileKind, Inodes, MAX_TARGET, Node, TreeError, Xattr};
use crate::read::{ReadAt, ReadError};
use crate::superblock::field;
use crate::units::Bytes;

pub use decode::Compression;
pub use file::SquashFile;

use inode::{Contents, Inode};
use metadata::{Blocks, Place};

/// "There is no such table", or "no attributes".
const ABSENT64: u64 = u64::MAX;
const ABSENT32: u32 = u32::MAX;
/// Extended attributes of one inode that are read (Linux bounds a name list at 64 KiB).
const MAX_XATTRS: u32 = 4096;
/// Bytes of one attribute (Linux, `XATTR_SIZE_MAX`).
const MAX_XATTR: u32 = 65536;

/// The superblock, as far as it is used. `struct squashfs_super_block`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    block: u32,
    compression: Compression,
    root: u64,
    ids: u64,
    id_count: u32,
    xattrs: u64,
    inodes: u64,
    directories: u64,
    fragments: u64,
    fragment_count: u32,
}

struct Inner<'a> {
    image: &'a dyn ReadAt,
    layout: Layout,
    blocks: RefCell<Blocks>,
    data: RefCell<file::DataCache>,
}

/// A SquashFS image. Clones share their cache.
#[derive(Clone)]
pub struct Squashfs<'a>(Rc<Inner<'a>>);

fn malformed(what: &'static str, at: u64, why: impl Into<String>) -> TreeError {
    ReadError::malformed(what, Bytes(at), why).into()
}

impl<'a> Squashfs<'a> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// When it is none of SquashFS 4, contradicts itself, or names a compression that is not decoded here.
    pub fn open(image: &'a dyn ReadAt) -> Result<Squashfs<'a>, TreeError> {
        let block = image.read_vec(Bytes::ZERO, 96)?;
        let layout = layout(&block)?.ok_or_else(|| {
            malformed("squashfs superblock", 0, "it is no superblock of version 4")
        })?;
        Ok(Squashfs(Rc::new(Inner {
            image,
            layout,
            blocks: RefCell::default(),
            data: RefCell::default(),
        })))
    }

    /// How blocks are compressed.
    pub fn compression(&self) -> Compression {
        self.0.layout.compression
    }

    /// A regular file, to be read at any place; `None` if the node is no regular file.
    pub fn file(&self, node: Node) -> Result<Option<SquashFile<'a>>, TreeError> {
        SquashFile::open(self, node)
    }

    fn metadata(&self, place: &mut Place, len: usize) -> Result<Vec<u8>, TreeError> {
        let inner = &*self.0;
        let mut blocks = inner.blocks.borrow_mut();
        blocks.read(inner.image, inner.layout.compression, place, len)
    }

    /// Entry `index` of a table whose metadata blocks are found through a list of pointers at `table`.
    fn entry(&self, table: u64, index: u32, size: u64) -> Result<Vec<u8>, TreeError> {
        let at = u64::from(index) * size;
        let pointer = table.saturating_add(at / metadata::SIZE * 8);
        let pointer = self.0.image.read_vec(Bytes(pointer), 8)?;
        let block = field::le64(&pointer, 0).unwrap_or(ABSENT64);
        let mut place = Place {
            block,
            offset: at % metadata::SIZE,
        };
        self.metadata(&mut place, usize::try_from(size).unwrap_or(0))
    }

    fn id(&self, index: u16) -> Result<u32, TreeError> {
        let layout = &self.0.layout;
        if u32::from(index) >= layout.id_count {
            let why = format!("identifier {index} of {}", layout.id_count);
            return Err(malformed("squashfs inode", layout.ids, why));
        }
        let entry = self.entry(layout.ids, u32::from(index), 4)?;
        Ok(field::le32(&entry, 0).unwrap_or(0))
    }

    /// The values of one inode's attributes, by its index in the attribute table.
    fn xattrs_of(&self, index: u32) -> Result<Vec<Xattr>, TreeError> {
        let table = self.0.layout.xattrs;
        if index == ABSENT32 || table == ABSENT64 {
            return Ok(Vec::new());
        }
        let head = self.0.image.read_vec(Bytes(table), 16)?;
        let values = field::le64(&head, 0).unwrap_or(ABSENT64);
        let ids = field::le32(&head, 8).unwrap_or(0);
        if index >= ids {
            let why = format!("attribute set {index} of {ids}");
            return Err(malformed("squashfs inode", table, why));
        }
        let entry = self.entry(table.saturating_add(16), index, 16)?;
        let reference = field::le64(&entry, 0).unwrap_or(ABSENT64);
        let count = field::le32(&entry, 8).unwrap_or(0);
        let mut place = Place::of(values, reference);
        let mut all = Vec::new();
        for _ in 0..count.min(MAX_XATTRS) {
            let head = self.metadata(&mut place, 4)?;
            let kind = field::le16(&head, 0).unwrap_or(0);
            let name = field::le16(&head, 2).unwrap_or(0);
            let name = self.metadata(&mut place, usize::from(name))?;
            let value = self.xattr_value(&mut place)?;
            let value = if kind & 0x100 == 0 {
                value
            } else {
                // The value is a reference to where the value is.
                let reference = field::le64(&value, 0).unwrap_or(ABSENT64);
                self.xattr_value(&mut Place::of(values, reference))?
            };
            let prefix: &[u8] = match kind & 0xff {
                0 => b"user.",
                1 => b"trusted.",
                2 => b"security.",
                _ => continue,
            };
            all.push(([prefix, &name].concat(), value));
        }
        Ok(all)
    }

    fn xattr_value(&self, place: &mut Place) -> Result<Vec<u8>, TreeError> {
        let len = self.metadata(place, 4)?;
        let len = field::le32(&len, 0).unwrap_or(0);
        if len > MAX_XATTR {
            let why = format!("a value of {len} bytes");
            return Err(malformed("squashfs attribute", place.block, why));
        }
        self.metadata(place, usize::try_from(len).unwrap_or(0))
    }
}

/// Reads the superblock's fields; `None` if the magic number or version is another one.
fn layout(block: &[u8]) -> Result<Option<Layout>, TreeError> {
    let fields = || {
        if !block.starts_with(b"hsqs") || field::le16(block, 28)? != 4 {
            return None;
        }
        Some((
            field::le16(block, 20)?,
            Layout {
                block: field::le32(block, 12)?,
                compression: Compression::Gzip,
                root: field::le64(block, 32)?,
                ids: field::le64(block, 48)?,
                id_count: u32::from(field::le16(block, 26)?),
                xattrs: field::le64(block, 56)?,
                inodes: field::le64(block, 64)?,
                directories: field::le64(block, 72)?,
                fragments: field::le64(block, 80)?,
                fragment_count: field::le32(block, 16)?,
            },
        ))
    };
    let Some((number, mut layout)) = fields() else {
        return Ok(None);
    };
    // mksquashfs(1): block sizes from 4 KiB to 1 MiB.
    if !layout.block.is_power_of_two() || !(4096..=1 << 20).contains(&layout.block) {
        let why = format!("a block size of {} bytes", layout.block);
        return Err(malformed("squashfs superblock", 12, why));
    }
    layout.compression = Compression::of(number)?;
    Ok(Some(layout))
}

impl Inodes for Squashfs<'_> {
    fn root(&self) -> Node {
        Node(self.0.layout.root)
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>, TreeError> {
        inode::lookup(self, directory, name)
    }

    fn stat(&self, node: Node) -> Result<Attributes, TreeError> {
        let inode = Inode::read(self, node)?;
        let (bits, kind) = match &inode.contents {
            Contents::Directory(_) => (0o040_000, FileKind::Directory),
            Contents::Regular(file) => (0o100_000, FileKind::Regular(file.size)),
            Contents::Symlink(target) => (0o120_000, FileKind::Symlink(target.clone())),
            Contents::Special(bits) => (*bits, FileKind::Special),
        };
        Ok(Attributes {
            mode: bits | u32::from(inode.mode) & 0o7777,
            uid: self.id(inode.uid)?,
            gid: self.id(inode.gid)?,
            mtime: i64::from(inode.mtime),
            xattrs: Vec::new(),
            kind,
        })
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>, TreeError> {
        self.xattrs_of(Inode::read(self, node)?.xattr)
    }

    fn contents(&self, node: Node, max: usize) -> Result<Vec<u8>, TreeError> {
        let Some(file) = self.file(node)? else {
            return Err(malformed("squashfs inode", node.0, "it is no regular file"));
        };
        let len = file.len().index().filter(|len| *len <= max).unwrap_or(max);
        Ok(file.read_vec(Bytes::ZERO, len)?)
    }
}
