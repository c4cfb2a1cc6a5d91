// SPDX-License-Identifier: MIT OR Apache-2.0
//! ext2, ext3 and ext4, read inode by inode, extended attributes included.
//!
//! Why not the crate `ext4-view`, which is the tests' oracle: it reads no extended attributes and shows no inode numbers
//! to look for them, wants to own what it reads from, and allocates what a link claims to be long. A tree whose journal
//! was not replayed is answered as unsupported, because what is in place may be old. Checksums are not verified.
//!
//! Source: Linux, `Documentation/filesystems/ext4/` (`super.rst`, `group_descr.rst`, `inodes.rst`, `ifork.rst`,
//! `directory.rst`, `attributes.rst`).

mod map;
mod xattr;

use std::rc::Rc;

use crate::image::root::{
    Attributes, FileKind, Inodes, MAX_TARGET, Node, TreeError, Unsupported, Xattr,
};
use crate::read::{ReadAt, ReadError};
use crate::superblock::field;
use crate::units::Bytes;

const ROOT: u64 = 2;
/// Inode flags.
const ENCRYPTED: u32 = 0x800;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;
/// A directory that is longer is not believed.
const MAX_DIRECTORY: u64 = 256 << 20;

/// The superblock, as far as it is used.
#[derive(Clone, Copy, Debug)]
struct Layout {
    block: u64,
    inodes: u64,
    inodes_per_group: u64,
    inode_size: u64,
    descriptors: u64,
    descriptor: u64,
    /// Whether directory entries have a type instead of a long length.
    typed: bool,
}

struct Inode {
    number: u64,
    /// As it is on the disk.
    bytes: Vec<u8>,
    mode: u16,
    flags: u32,
    size: u64,
}

/// A filesystem of the ext family.
pub struct Ext4<'a> {
    image: Rc<dyn ReadAt + 'a>,
    layout: Layout,
}

fn malformed(what: &'static str, at: u64, why: impl Into<String>) -> TreeError {
    ReadError::malformed(what, Bytes(at), why).into()
}

impl<'a> Ext4<'a> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// When it is none, contradicts itself, waits for its journal, or has a layout unknown here.
    pub fn open(image: Rc<dyn ReadAt + 'a>) -> Result<Ext4<'a>, TreeError> {
        let block = image.read_vec(Bytes(1024), 1024)?;
        let broken = |why: &str| malformed("ext4 superblock", 1024, why);
        let incompatible = field::le32(&block, 0x60).unwrap_or(u32::MAX);
        let why = match incompatible {
            some if some & 0x4 != 0 => Some("an ext4 tree whose journal was not replayed"),
            some if some & 0x10 != 0 => Some("an ext4 with meta_bg"),
            // Known: filetype, extents, 64bit, mmp, flex_bg, ea_inode, dirdata, csum_seed, largedir, inline_data,
            // encrypt, casefold.
            some if some & !0x3_f7c2 != 0 => Some("an ext4 with unknown features"),
            _ => None,
        };
        let layout = layout(&block, incompatible).ok_or_else(|| broken("it is none"))?;
        if let Some(why) = why {
            return Err(Unsupported::Feature(why.to_owned()).into());
        }
        let plausible = (1024..=65536).contains(&layout.block)
            && layout.inodes_per_group > 0
            && layout.inode_size.is_power_of_two()
            && (128..=layout.block).contains(&layout.inode_size)
            && (32..=1024).contains(&layout.descriptor);
        if !plausible {
            return Err(broken("its sizes cannot be"));
        }
        Ok(Ext4 { image, layout })
    }

    fn inode(&self, number: u64) -> Result<Inode, TreeError> {
        let layout = &self.layout;
        let index = number
            .checked_sub(1)
            .filter(|index| *index < layout.inodes)
            .ok_or_else(|| malformed("ext4 inode", number, "there is no such number"))?;
        let group = index / layout.inodes_per_group;
        let at = layout.descriptors + group * layout.descriptor;
        let width = usize::try_from(layout.descriptor).unwrap_or(32);
        let descriptor = self.image.read_vec(Bytes(at), width)?;
        let low = field::le32(&descriptor, 8).map_or(0, u64::from);
        let high = field::le32(&descriptor, 0x28).map_or(0, u64::from);
        let table = (high << 32 | low).saturating_mul(layout.block);
        let at = table.saturating_add(index % layout.inodes_per_group * layout.inode_size);
        let size = usize::try_from(layout.inode_size).unwrap_or(128);
        let bytes = self.image.read_vec(Bytes(at), size)?;
        inode(number, bytes).ok_or_else(|| malformed("ext4 inode", at, "it is cut off"))
    }

    /// `len` bytes of an inode's data at `at`; the caller bounds `len`.
    fn read(&self, inode: &Inode, at: u64, len: usize) -> Result<Vec<u8>, TreeError> {
        if inode.flags & (ENCRYPTED | INLINE_DATA) != 0 {
            let what = "an encrypted ext4 file, or one inside its inode";
            return Err(Unsupported::Feature(what.to_owned()).into());
        }
        let mut out = Vec::new();
        while out.len() < len {
            let here = at.saturating_add(out.len() as u64);
            let inside = here % self.layout.block;
            let room = usize::try_from(self.layout.block - inside).unwrap_or(0);
            let run = room.min(len - out.len());
            match map::block(self, inode, here / self.layout.block)? {
                Some(block) => {
                    let place = block.saturating_mul(self.layout.block);
                    let place = place.saturating_add(inside);
                    out.extend(self.image.read_vec(Bytes(place), run)?);
                }
                None => out.resize(out.len() + run, 0),
            }
        }
        Ok(out)
    }
}

fn layout(block: &[u8], incompatible: u32) -> Option<Layout> {
    if field::le16(block, 0x38)? != 0xef53 {
        return None;
    }
    let size = 1024_u64.checked_shl(field::le32(block, 0x18)?)?;
    let first = u64::from(field::le32(block, 0x14)?);
    let dynamic = field::le32(block, 0x4c)? != 0;
    let wide = incompatible & 0x80 != 0;
    Some(Layout {
        block: size,
        inodes: u64::from(field::le32(block, 0)?),
        inodes_per_group: u64::from(field::le32(block, 0x28)?),
        inode_size: if dynamic {
            u64::from(field::le16(block, 0x58)?)
        } else {
            128
        },
        descriptors: (first + 1).checked_mul(size)?,
        descriptor: if wide {
            u64::from(field::le16(block, 0xfe)?)
        } else {
            32
        },
        typed: incompatible & 0x2 != 0,
    })
}

fn inode(number: u64, bytes: Vec<u8>) -> Option<Inode> {
    let low = u64::from(field::le32(&bytes, 0x4)?);
    let high = u64::from(field::le32(&bytes, 0x6c)?);
    Some(Inode {
        number,
        mode: field::le16(&bytes, 0)?,
        flags: field::le32(&bytes, 0x20)?,
        size: high << 32 | low,
        bytes,
    })
}

/// Two halves of a number, the lower one first.
fn halves(bytes: &[u8], low: usize, high: usize) -> Option<u32> {
    Some(u32::from(field::le16(bytes, high)?) << 16 | u32::from(field::le16(bytes, low)?))
}

/// Seconds, with the two bits of epoch that a large inode has beside them (`inodes.rst`, "Inode Timestamps").
fn mtime(bytes: &[u8]) -> Option<i64> {
    let seconds = i64::from(field::le32(bytes, 0x10)?.cast_signed());
    let extra = field::le16(bytes, 0x80).filter(|extra| *extra >= 12);
    let epoch = extra.and_then(|_| field::le32(bytes, 0x88)).unwrap_or(0) & 3;
    Some(seconds + (i64::from(epoch) << 32))
}

impl Inodes for Ext4<'_> {
    fn root(&self) -> Node {
        Node(ROOT)
    }

    /// `directory.rst`, "Linear Directories": inode 0, length of the entry 4, length of the name 6. The blocks of a hash
    /// tree look like unused entries to one who reads straight on.
    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>, TreeError> {
        let inode = self.inode(directory.0)?;
        if inode.mode & 0o170_000 != 0o040_000 || inode.size > MAX_DIRECTORY {
            let why = format!("it is no directory, or one of {} bytes", inode.size);
            return Err(malformed("ext4 inode", directory.0, why));
        }
        let unit = usize::try_from(self.layout.block).unwrap_or(4096);
        for at in (0..inode.size).step_by(unit) {
            let block = self.read(&inode, at, unit)?;
            let mut from = 0;
            while from < unit {
                let entry = block.get(from..).unwrap_or_default();
                let len = match field::le16(entry, 4) {
                    Some(0 | u16::MAX) if unit == 65536 => 65536,
                    Some(len) => usize::from(len),
                    None => 0,
                };
                if len < 8 {
                    let why = format!("an entry of {len} bytes in block {at} of {}", directory.0);
                    return Err(malformed("ext4 directory", at, why));
                }
                let number = field::le32(entry, 0).unwrap_or(0);
                let width = if self.layout.typed {
                    field::u8(entry, 6).map_or(0, usize::from)
                } else {
                    field::le16(entry, 6).map_or(0, usize::from)
                };
                if number != 0 && width > 0 && entry.get(8..8 + width) == Some(name) {
                    return Ok(Some(Node(u64::from(number))));
                }
                from += len;
            }
        }
        Ok(None)
    }

    fn stat(&self, node: Node) -> Result<Attributes, TreeError> {
        let inode = self.inode(node.0)?;
        let kind = match inode.mode & 0o170_000 {
            0o040_000 => FileKind::Directory,
            0o100_000 => FileKind::Regular(Bytes(inode.size)),
            0o120_000 => FileKind::Symlink(self.target(&inode)?),
            _ => FileKind::Special,
        };
        let cut = || malformed("ext4 inode", node.0, "it is cut off");
        Ok(Attributes {
            mode: u32::from(inode.mode),
            uid: halves(&inode.bytes, 0x2, 0x78).ok_or_else(cut)?,
            gid: halves(&inode.bytes, 0x18, 0x7a).ok_or_else(cut)?,
            mtime: mtime(&inode.bytes).ok_or_else(cut)?,
            xattrs: Vec::new(),
            kind,
        })
    }

    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>, TreeError> {
        let inode = self.inode(node.0)?;
        xattr::all(self, &inode)
    }

    fn contents(&self, node: Node, max: usize) -> Result<Vec<u8>, TreeError> {
        let inode = self.inode(node.0)?;
        let len = usize::try_from(inode.size).unwrap_or(max).min(max);
        self.read(&inode, 0, len)
    }
}

impl Ext4<'_> {
    /// A link's target: inside the inode if it is shorter than the sixty bytes there (`ifork.rst`, "Symbolic Links").
    fn target(&self, inode: &Inode) -> Result<Vec<u8>, TreeError> {
        let len = usize::try_from(inode.size).ok();
        let Some(len) = len.filter(|len| *len <= MAX_TARGET) else {
            let why = "a link's target is longer than 4096 bytes";
            return Err(malformed("ext4 inode", inode.number, why));
        };
        if len >= 60 || inode.flags & ENCRYPTED != 0 {
            return self.read(inode, 0, len);
        }
        let target = inode.bytes.get(0x28..0x28 + len);
        Ok(target.unwrap_or_default().to_vec())
    }
}
