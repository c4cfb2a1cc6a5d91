// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inodes and directories. Linux, `fs/squashfs/squashfs_fs.h`, `struct squashfs_*_inode`, `struct squashfs_dir_*`.

use std::cmp::Ordering;

use super::metadata::{self, Place};
use super::{ABSENT32, MAX_TARGET, Squashfs, malformed};
use crate::image::root::{Node, TreeError};
use crate::superblock::field;
use crate::units::Bytes;

/// A directory's listing.
pub(super) struct Listing {
    place: Place,
    /// Three more than there are bytes, for "." and "..".
    size: u32,
    /// Where the index follows the inode, and how many entries it has.
    index: Option<(Place, u16)>,
}

/// A regular file's blocks.
#[derive(Clone, Copy)]
pub(super) struct Regular {
    pub(super) size: Bytes,
    /// The first data block.
    pub(super) start: u64,
    pub(super) fragment: u32,
    /// Where the end of the file lies in its fragment.
    pub(super) offset: u32,
    /// The list of block lengths.
    pub(super) list: Place,
}

pub(super) enum Contents {
    Directory(Listing),
    Regular(Regular),
    Symlink(Vec<u8>),
    /// A device, fifo or socket, with the type bits of its mode.
    Special(u32),
}

pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    /// Index in the attribute table.
    pub(super) xattr: u32,
    pub(super) contents: Contents,
}

impl Inode {
    pub(super) fn read(squashfs: &Squashfs<'_>, node: Node) -> Result<Inode, TreeError> {
        let layout = squashfs.0.layout;
        let mut place = Place::of(layout.inodes, node.0);
        let at = place.block;
        let head = squashfs.metadata(&mut place, 16)?;
        let broken = || malformed("squashfs inode", at, "it is cut off");
        let kind = field::le16(&head, 0).ok_or_else(broken)?;
        let mut body = |len: usize| squashfs.metadata(&mut place, len);
        let mut xattr = ABSENT32;
        let contents = match kind {
            1 => directory(&body(16)?, layout.directories).ok_or_else(broken)?,
            8 => {
                let body = body(24)?;
                xattr = field::le32(&body, 20).ok_or_else(broken)?;
                long_directory(&body, layout.directories, place).ok_or_else(broken)?
            }
            2 => regular(&body(16)?, place).ok_or_else(broken)?,
            9 => {
                let body = body(40)?;
                xattr = field::le32(&body, 36).ok_or_else(broken)?;
                long_regular(&body, place).ok_or_else(broken)?
            }
            3 | 10 => {
                let head = body(8)?;
                let len = field::le32(&head, 4).and_then(|len| usize::try_from(len).ok());
                let len = len.filter(|len| *len <= MAX_TARGET);
                let target = body(len.ok_or_else(|| {
                    malformed(
                        "squashfs inode",
                        at,
                        "a link's target is longer than 4096 bytes",
                    )
                })?)?;
                if kind == 10 {
                    xattr = field::le32(&body(4)?, 0).ok_or_else(broken)?;
                }
                Contents::Symlink(target)
            }
            4 | 5 | 11 | 12 => {
                body(8)?;
                if kind > 7 {
                    xattr = field::le32(&body(4)?, 0).ok_or_else(broken)?;
                }
                let block = matches!(kind, 4 | 11);
                Contents::Special(if block { 0o060_000 } else { 0o020_000 })
            }
            6 | 7 | 13 | 14 => {
                body(4)?;
                if kind > 7 {
                    xattr = field::le32(&body(4)?, 0).ok_or_else(broken)?;
                }
                let fifo = matches!(kind, 6 | 13);
                Contents::Special(if fifo { 0o010_000 } else { 0o140_000 })
            }
            other => {
                let why = format!("type {other} is unknown");
                return Err(malformed("squashfs inode", at, why));
            }
        };
        Ok(Inode {
            mode: field::le16(&head, 2).ok_or_else(broken)?,
            uid: field::le16(&head, 4).ok_or_else(broken)?,
            gid: field::le16(&head, 6).ok_or_else(broken)?,
            mtime: field::le32(&head, 8).ok_or_else(broken)?,
            xattr,
            contents,
        })
    }
}

/// `struct squashfs_dir_inode`, behind the sixteen bytes that all inodes share.
fn directory(body: &[u8], table: u64) -> Option<Contents> {
    Some(Contents::Directory(Listing {
        place: Place {
            block: table.checked_add(u64::from(field::le32(body, 0)?))?,
            offset: u64::from(field::le16(body, 10)?),
        },
        size: u32::from(field::le16(body, 8)?),
        index: None,
    }))
}

/// `struct squashfs_ldir_inode`.
fn long_directory(body: &[u8], table: u64, behind: Place) -> Option<Contents> {
    Some(Contents::Directory(Listing {
        place: Place {
            block: table.checked_add(u64::from(field::le32(body, 8)?))?,
            offset: u64::from(field::le16(body, 18)?),
        },
        size: field::le32(body, 4)?,
        index: Some((behind, field::le16(body, 16)?)),
    }))
}

/// `struct squashfs_reg_inode`.
fn regular(body: &[u8], list: Place) -> Option<Contents> {
    Some(Contents::Regular(Regular {
        size: Bytes(u64::from(field::le32(body, 12)?)),
        start: u64::from(field::le32(body, 0)?),
        fragment: field::le32(body, 4)?,
        offset: field::le32(body, 8)?,
        list,
    }))
}

/// `struct squashfs_lreg_inode`.
fn long_regular(body: &[u8], list: Place) -> Option<Contents> {
    Some(Contents::Regular(Regular {
        size: Bytes(field::le64(body, 8)?),
        start: field::le64(body, 0)?,
        fragment: field::le32(body, 28)?,
        offset: field::le32(body, 32)?,
        list,
    }))
}

/// The entry `name` of a directory: names are sorted, and the index of a long one says where to begin.
pub(super) fn lookup(
    squashfs: &Squashfs<'_>,
    directory: Node,
    name: &[u8],
) -> Result<Option<Node>, TreeError> {
    let Contents::Directory(listing) = Inode::read(squashfs, directory)?.contents else {
        return Err(malformed(
            "squashfs inode",
            directory.0,
            "it is no directory",
        ));
    };
    let (mut place, mut done) = start(squashfs, &listing, name)?;
    let size = u64::from(listing.size).saturating_sub(3);
    while done < size {
        let head = squashfs.metadata(&mut place, 12)?;
        let count = field::le32(&head, 0).unwrap_or(u32::MAX);
        let block = u64::from(field::le32(&head, 4).unwrap_or(0));
        if count >= 256 {
            let why = format!("{count} entries under one header");
            return Err(malformed("squashfs directory", place.block, why));
        }
        done += 12;
        for _ in 0..=count {
            let head = squashfs.metadata(&mut place, 8)?;
            let offset = u64::from(field::le16(&head, 0).unwrap_or(0));
            let len = usize::from(field::le16(&head, 6).unwrap_or(0)) + 1;
            let entry = squashfs.metadata(&mut place, len)?;
            done += 8 + len as u64;
            match entry.as_slice().cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(Node(block << 16 | offset))),
                Ordering::Greater => return Ok(None),
            }
        }
    }
    Ok(None)
}

/// Where to begin to look for `name`, and how many bytes of the listing lie before.
fn start(
    squashfs: &Squashfs<'_>,
    listing: &Listing,
    name: &[u8],
) -> Result<(Place, u64), TreeError> {
    let mut best = (listing.place, 0);
    let Some((mut place, count)) = listing.index else {
        return Ok(best);
    };
    for _ in 0..count {
        let head = squashfs.metadata(&mut place, 12)?;
        let done = u64::from(field::le32(&head, 0).unwrap_or(0));
        let block = u64::from(field::le32(&head, 4).unwrap_or(0));
        let len = field::le32(&head, 8).and_then(|len| usize::try_from(len).ok());
        let Some(len) = len.filter(|len| *len < MAX_TARGET) else {
            return Err(malformed(
                "squashfs directory index",
                place.block,
                "a name too long",
            ));
        };
        let first = squashfs.metadata(&mut place, len + 1)?;
        if first.as_slice() > name {
            break;
        }
        let offset = (listing.place.offset + done) % metadata::SIZE;
        let block = squashfs.0.layout.directories.saturating_add(block);
        best = (Place { block, offset }, done);
    }
    Ok(best)
}
