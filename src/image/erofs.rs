// SPDX-License-Identifier: MIT OR Apache-2.0
//! EROFS, read inode by inode: metadata, directories and attributes of any image, data of files that are not
//! compressed. The data of compressed files is answered as unsupported.
//!
//! Sources: Linux, `fs/erofs/erofs_fs.h` (structures), `fs/erofs/{super,inode,data,namei,xattr}.c` (how they refer to
//! each other); `Documentation/filesystems/erofs.rst`.

use std::rc::Rc;

use crate::image::root::{
    Attributes, FileKind, Inodes, MAX_TARGET, Node, TreeError, Unsupported, Xattr,
};
use crate::read::{ReadAt, ReadError};
use crate::superblock::field;
use crate::units::Bytes;

/// Incompatible features up to `XATTR_PREFIXES`; 48-bit addresses and the metadata box are newer and lay out inodes
/// differently.
const KNOWN_FEATURES: u32 = 0x7f;
/// `FRAGMENTS`: there is a packed inode, and long attribute prefixes lie in it.
const FRAGMENTS: u32 = 0x20;
/// A directory that is longer is not believed.
const MAX_DIRECTORY: u64 = 256 << 20;

/// The superblock, as far as it is used. `struct erofs_super_block`, at 1024.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// The logarithm of the block size.
    bits: u32,
    directory_bits: u32,
    root: u64,
    epoch: u64,
    inodes: u64,
    xattrs: u64,
    prefix_count: u8,
    prefixes: u64,
    packed: Option<u64>,
}

/// How an inode's data is laid out, by the numbers of `enum erofs_inode_datalayout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    Plain(u64),
    /// All but the last block in a row, the last behind the inode.
    Inline(u64),
    Chunks(u16),
    Compressed,
}

struct Inode {
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: u64,
    size: u64,
    data: Data,
    /// Where the attributes begin, and how long they are.
    xattrs: u64,
    xattr_len: u64,
}

/// An EROFS image.
pub struct Erofs<'a> {
    image: Rc<dyn ReadAt + 'a>,
    layout: Layout,
}

fn malformed(what: &'static str, at: u64, why: impl Into<String>) -> TreeError {
    ReadError::malformed(what, Bytes(at), why).into()
}

fn cut(at: u64) -> TreeError {
    malformed("erofs inode", at, "it is cut off")
}

impl<'a> Erofs<'a> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// When it is no EROFS, contradicts itself, or uses a feature that lays out inodes in a way unknown here.
    pub fn open(image: Rc<dyn ReadAt + 'a>) -> Result<Erofs<'a>, TreeError> {
        let block = image.read_vec(Bytes(1024), 128)?;
        let (features, layout) =
            layout(&block).ok_or_else(|| malformed("erofs superblock", 1024, "it is none"))?;
        if features & !KNOWN_FEATURES != 0 {
            let unknown = features & !KNOWN_FEATURES;
            let what = format!("an EROFS with the features {unknown:#x}");
            return Err(Unsupported::Feature(what).into());
        }
        if !(9..=16).contains(&layout.bits) || layout.bits + layout.directory_bits > 20 {
            let why = format!("blocks of 2^{} bytes", layout.bits);
            return Err(malformed("erofs superblock", 1024, why));
        }
        Ok(Erofs { image, layout })
    }

    fn inode(&self, node: Node) -> Result<Inode, TreeError> {
        // Thirty-two bytes to a slot (`EROFS_ISLOTBITS`).
        let at = node
            .0
            .checked_mul(32)
            .and_then(|at| at.checked_add(self.layout.inodes))
            .ok_or_else(|| malformed("erofs inode", node.0, "its number is too large"))?;
        let format = field::le16(&self.image.read_vec(Bytes(at), 32)?, 0).ok_or_else(|| cut(at))?;
        let len = if format & 1 == 0 { 32 } else { 64 };
        let block = self.image.read_vec(Bytes(at), len)?;
        let inode = if format & 1 == 0 {
            self.compact(&block, at)
        } else {
            self.extended(&block, at)
        };
        inode.ok_or_else(|| malformed("erofs inode", at, "its data layout is unknown"))
    }

    /// `struct erofs_inode_compact`: no time of its own but what is added to that of the image.
    fn compact(&self, block: &[u8], at: u64) -> Option<Inode> {
        let extra = u64::from(field::le32(block, 12)?);
        Some(Inode {
            mode: field::le16(block, 4)?,
            uid: u32::from(field::le16(block, 24)?),
            gid: u32::from(field::le16(block, 26)?),
            mtime: self.layout.epoch.wrapping_add(extra),
            size: u64::from(field::le32(block, 8)?),
            data: self.data(block)?,
            xattrs: at + 32,
            xattr_len: xattr_len(block)?,
        })
    }

    /// `struct erofs_inode_extended`.
    fn extended(&self, block: &[u8], at: u64) -> Option<Inode> {
        Some(Inode {
            mode: field::le16(block, 4)?,
            uid: field::le32(block, 24)?,
            gid: field::le32(block, 28)?,
            mtime: field::le64(block, 32)?,
            size: field::le64(block, 8)?,
            data: self.data(block)?,
            xattrs: at + 64,
            xattr_len: xattr_len(block)?,
        })
    }

    fn data(&self, block: &[u8]) -> Option<Data> {
        let union = field::le32(block, 16)?;
        let start = u64::from(union) << self.layout.bits;
        Some(match field::le16(block, 0)? >> 1 & 7 {
            0 => Data::Plain(start),
            1 | 3 => Data::Compressed,
            2 => Data::Inline(start),
            4 => Data::Chunks(u16::try_from(union & 0xffff).ok()?),
            _ => return None,
        })
    }

    /// Where byte `at` of an inode's data lies, and how far it goes on from there; `None` is a hole.
    fn place(&self, inode: &Inode, at: u64) -> Result<(Option<u64>, u64), TreeError> {
        let unit = 1_u64 << self.layout.bits;
        let behind = inode.xattrs + inode.xattr_len;
        let rest = inode.size.saturating_sub(at);
        match inode.data {
            Data::Plain(start) => Ok((start.checked_add(at), rest)),
            Data::Inline(start) => {
                let tail = (inode.size.div_ceil(unit).saturating_sub(1)) * unit;
                if at < tail {
                    Ok((start.checked_add(at), tail - at))
                } else {
                    Ok((behind.checked_add(at - tail), rest))
                }
            }
            Data::Chunks(format) => {
                // `EROFS_CHUNK_FORMAT_BLKBITS_MASK`, `EROFS_CHUNK_FORMAT_INDEXES`.
                let bits = self.layout.bits + u32::from(format & 0x1f);
                let indexed = format & 0x20 != 0;
                let (width, address) = if indexed { (8, 4) } else { (4, 0) };
                let index = at >> bits;
                let entry = behind.next_multiple_of(width).saturating_add(index * width);
                let entry = self
                    .image
                    .read_vec(Bytes(entry), if indexed { 8 } else { 4 })?;
                if indexed && field::le16(&entry, 2) != Some(0) {
                    let what = "a file on another device of an EROFS".to_owned();
                    return Err(Unsupported::Feature(what).into());
                }
                let inside = at - (index << bits);
                let len = rest.min((1 << bits) - inside);
                match field::le32(&entry, address) {
                    Some(u32::MAX) | None => Ok((None, len)),
                    Some(block) => Ok((Some((u64::from(block) << self.layout.bits) + inside), len)),
                }
            }
            Data::Compressed => Err(Unsupported::Compression {
                what: "a file in an EROFS",
                with: "lz4, lzma, deflate or zstd".to_owned(),
            }
            .into()),
        }
    }

    /// `len` bytes of an inode's data at `at`; the caller bounds `len`.
    fn read(&self, inode: &Inode, at: u64, len: usize) -> Result<Vec<u8>, TreeError> {
        let mut out = Vec::new();
        while out.len() < len {
            let here = at + out.len() as u64;
            let (place, run) = self.place(inode, here)?;
            let run = usize::try_from(run)
                .unwrap_or(usize::MAX)
                .min(len - out.len());
            if run == 0 {
                return Err(malformed("erofs file", here, "it ends early"));
            }
            match place {
                Some(place) => out.extend(self.image.read_vec(Bytes(place), run)?),
                None => out.resize(out.len() + run, 0),
            }
        }
        Ok(out)
    }

    /// An attribute's entry at the start of `bytes`, and how long the entry is.
    /// `struct erofs_xattr_entry`: length of the name 0, its prefix 1, length of the value 2; padded to four bytes.
    fn xattr(&self, bytes: &[u8]) -> Result<Option<(Option<Xattr>, usize)>, TreeError> {
        let fields = || {
            let name = usize::from(field::u8(bytes, 0)?);
            let value = usize::from(field::le16(bytes, 2)?);
            let kind = field::u8(bytes, 1)?;
            let end = 4 + name + value;
            let name = bytes.get(4..4 + name)?;
            let value = bytes.get(4 + name.len()..end)?;
            Some((kind, name, value, end.next_multiple_of(4)))
        };
        let Some((kind, name, value, len)) = fields() else {
            return Ok(None);
        };
        let prefix = if kind & 0x80 == 0 {
            short_prefix(kind).map(<[u8]>::to_vec)
        } else {
            self.long_prefix(kind & 0x7f)?
        };
        let found = prefix.map(|prefix| ([&prefix, name].concat(), value.to_vec()));
        Ok(Some((found, len)))
    }

    /// Prefix `index` of the image's own table: two bytes of length, the index of a short prefix, what follows it.
    /// `struct erofs_xattr_long_prefix`.
    fn long_prefix(&self, index: u8) -> Result<Option<Vec<u8>>, TreeError> {
        if index >= self.layout.prefix_count {
            return Ok(None);
        }
        let packed = match self.layout.packed {
            Some(node) => Some(self.inode(Node(node))?),
            None => None,
        };
        let read = |at: u64, len: usize| match &packed {
            Some(inode) => self.read(inode, at, len),
            None => Ok(self.image.read_vec(Bytes(at), len)?),
        };
        let mut at = self.layout.prefixes;
        for number in 0..=index {
            let head = read(at, 2)?;
            let len = usize::from(field::le16(&head, 0).unwrap_or(0));
            if number == index {
                let prefix = read(at + 2, len)?;
                let base = prefix.first().and_then(|&base| short_prefix(base));
                let rest = prefix.get(1..).unwrap_or_default();
                return Ok(base.map(|base| [base, rest].concat()));
            }
            at = (at + 2 + len as u64).next_multiple_of(4);
        }
        Ok(None)
    }
}

/// `EROFS_XATTR_INDEX_USER` …
fn short_prefix(kind: u8) -> Option<&'static [u8]> {
    Some(match kind {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        _ => return None,
    })
}

/// How long an inode's attributes are: twelve bytes of header, then units of four. `erofs_xattr_ibody_size`.
fn xattr_len(block: &[u8]) -> Option<u64> {
    Some(match field::le16(block, 2)? {
        0 => 0,
        count => 12 + (u64::from(count) - 1) * 4,
    })
}

fn layout(block: &[u8]) -> Option<(u32, Layout)> {
    if field::le32(block, 0)? != 0xe0f5_e1e2 {
        return None;
    }
    let bits = u32::from(field::u8(block, 12)?);
    let features = field::le32(block, 80)?;
    let packed = field::le64(block, 96)?;
    let address = |at: usize| u64::from(field::le32(block, at)?).checked_shl(bits);
    let layout = Layout {
        bits,
        directory_bits: u32::from(field::u8(block, 90)?),
        root: u64::from(field::le16(block, 14)?),
        epoch: field::le64(block, 24)?,
        inodes: address(40)?,
        xattrs: address(44)?,
        prefix_count: field::u8(block, 91)?,
        prefixes: u64::from(field::le32(block, 92)?) * 4,
        packed: (features & FRAGMENTS != 0 && packed != 0).then_some(packed),
    };
    Some((features, layout))
}

/// What one block of a directory has to say about a name.
enum Found {
    Here(Node),
    NotHere,
}

/// The entry `name` in one block of a directory; `None` if the block contradicts itself. `struct erofs_dirent`: twelve bytes each (inode 0, offset of the name
/// 8), the first name's offset tells how many; then the names, the last up to a NUL or the end.
fn in_block(block: &[u8], name: &[u8]) -> Option<Found> {
    let count = usize::from(field::le16(block, 8)?) / 12;
    for index in 0..count {
        let start = usize::from(field::le16(block, index * 12 + 8)?);
        let end = if index + 1 < count {
            usize::from(field::le16(block, (index + 1) * 12 + 8)?)
        } else {
            block.len()
        };
        let entry = block.get(start..end)?;
        let entry = entry.split(|&byte| byte == 0).next().unwrap_or_default();
        if entry == name {
            return Some(Found::Here(Node(field::le64(block, index * 12)?)));
        }
    }
    Some(Found::NotHere)
}

impl Inodes for Erofs<'_> {
    fn root(&self) -> Node {
        Node(self.layout.root)
    }

    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>, TreeError> {
        let inode = self.inode(directory)?;
        if inode.mode & 0o170_000 != 0o040_000 || inode.size > MAX_DIRECTORY {
            let why = format!("it is no directory, or one of {} bytes", inode.size);
            return Err(malformed("erofs inode", directory.0, why));
        }
        let unit = 1_u64 << (self.layout.bits + self.layout.directory_bits);
        for at in (0..inode.size).step_by(usize::try_from(unit).unwrap_or(4096)) {
            let len = usize::try_from(unit.min(inode.size - at)).unwrap_or(0);
            let block = self.read(&inode, at, len)?;
            match in_block(&block, name) {
                Some(Found::Here(node)) => return Ok(Some(node)),
                Some(Found::NotHere) => {}
                None => {
                    let why = format!("the block at {at} of inode {}", directory.0);
                    return Err(malformed("erofs directory", at, why));
                }
            }
        }
        Ok(None)
    }

    fn stat(&self, node: Node) -> Result<Attributes, TreeError> {
        let inode = self.inode(node)?;
        let kind = match inode.mode & 0o170_000 {
            0o040_000 => FileKind::Directory,
            0o100_000 => FileKind::Regular(Bytes(inode.size)),
            0o120_000 => {
                let len = usize::try_from(inode.size).ok();
                let Some(len) = len.filter(|len| *len <= MAX_TARGET) else {
                    let why = "a link's target is longer than 4096 bytes";
                    return Err(malformed("erofs inode", node.0, why));
                };
                FileKind::Symlink(self.read(&inode, 0, len)?)
            }
            _ => FileKind::Special,
        };
        Ok(Attributes {
            mode: u32::from(inode.mode),
            uid: inode.uid,
            gid: inode.gid,
            mtime: i64::try_from(inode.mtime).unwrap_or(0),
            xattrs: Vec::new(),
            kind,
        })
    }

    /// `struct erofs_xattr_ibody_header`: the count of shared ones at 4; twelve bytes, then their numbers (in units of
    /// four bytes from the shared area), then the inode's own.
    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>, TreeError> {
        let inode = self.inode(node)?;
        let len = usize::try_from(inode.xattr_len).unwrap_or(0);
        if len == 0 {
            return Ok(Vec::new());
        }
        let body = self.image.read_vec(Bytes(inode.xattrs), len)?;
        let shared = usize::from(field::u8(&body, 4).unwrap_or(0));
        let mut all = Vec::new();
        for index in 0..shared {
            let Some(id) = field::le32(&body, 12 + index * 4) else {
                return Err(cut(inode.xattrs));
            };
            let at = self.layout.xattrs + u64::from(id) * 4;
            let head = self.image.read_vec(Bytes(at), 4)?;
            let name = field::u8(&head, 0).map_or(0, usize::from);
            let value = field::le16(&head, 2).map_or(0, usize::from);
            let entry = self.image.read_vec(Bytes(at), 4 + name + value)?;
            all.extend(self.xattr(&entry)?.and_then(|(found, _)| found));
        }
        let mut at = 12 + shared * 4;
        while at + 4 <= body.len() {
            let entry = body.get(at..).unwrap_or_default();
            let Some((found, len)) = self.xattr(entry)? else {
                return Err(malformed("erofs attribute", inode.xattrs, "it is cut off"));
            };
            all.extend(found);
            at += len;
        }
        Ok(all)
    }

    fn contents(&self, node: Node, max: usize) -> Result<Vec<u8>, TreeError> {
        let inode = self.inode(node)?;
        let len = usize::try_from(inode.size).unwrap_or(max).min(max);
        self.read(&inode, 0, len)
    }
}
