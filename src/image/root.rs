// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root image of a live system: what it is, and what its tree says of single paths, without mounting it.
//!
//! A root image is the file that the initrd mounts: `LiveOS/squashfs.img`, `LiveOS/rootfs.img`, `filesystem.squashfs` …
//! It is the root tree itself (SquashFS, EROFS, ext4, btrfs, XFS), or a SquashFS whose only content is
//! `LiveOS/rootfs.img`, a filesystem in a file.
//!
//! Paths are looked up as the kernel does inside a mount, with symbolic links bounded at forty; ".." above the root is
//! the root. Trees of btrfs and XFS are not read: they answer [`Unsupported::NeedsMount`].

use std::rc::Rc;

use serde::Serialize;

use crate::image::erofs::Erofs;
use crate::image::ext4::Ext4;
use crate::image::squashfs::Squashfs;
use crate::read::{ReadAt, ReadError};
use crate::superblock::{self, Details, Kind, Superblock};
use crate::units::Bytes;

/// Symbolic links followed for one path (Linux, `include/linux/namei.h`, `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// Names in one path, links included.
const MAX_NAMES: usize = 4096;
/// The longest target of a symbolic link (Linux, `PATH_MAX`).
pub(crate) const MAX_TARGET: usize = 4096;

/// Something that is there but that this reader does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The tree of such a filesystem is only read by the kernel.
    #[error("reading a {0} tree needs a mount")]
    NeedsMount(Kind),
    /// Compressed in a way that is not decoded here.
    #[error("{what} compressed with {with} cannot be read without a mount")]
    Compression {
        /// What is compressed.
        what: &'static str,
        /// How.
        with: String,
    },
    /// A feature of the format that is not read here.
    #[error("{0} cannot be read without a mount")]
    Feature(String),
}

/// Why a tree did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The bytes could not be read or contradict their format.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The answer is there, but not for this reader.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file and its length.
    Regular(Bytes),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A device, a fifo or a socket.
    Special,
}

/// A name with its namespace (`security.selinux`), and a value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What an inode says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attributes {
    /// Type and permissions, as in stat(2)'s `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Seconds since 1970 of the last change of contents.
    pub mtime: i64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Directory, file, link or special.
    pub kind: FileKind,
}

impl Attributes {
    /// The value of an extended attribute, by its full name.
    pub fn xattr(&self, name: &[u8]) -> Option<&[u8]> {
        self.xattrs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// The place of an inode in its own filesystem: a number that only the filesystem understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u64);

/// A filesystem that can be asked about single inodes.
pub trait Inodes {
    /// The root directory.
    fn root(&self) -> Node;

    /// The entry `name` of a directory; `None` if there is none. Asked of something else it is malformed.
    fn lookup(&self, directory: Node, name: &[u8]) -> Result<Option<Node>, TreeError>;

    /// What an inode says of itself, without its extended attributes.
    fn stat(&self, node: Node) -> Result<Attributes, TreeError>;

    /// The extended attributes of an inode, in any order.
    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>, TreeError>;

    /// The contents of a regular file that is known to be at most `max` bytes long.
    fn contents(&self, node: Node, max: usize) -> Result<Vec<u8>, TreeError>;
}

/// What a root image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RootKind {
    /// The root tree itself, packed in this filesystem: "flattened" for SquashFS and EROFS, "plain" for the others.
    Tree(Kind),
    /// A SquashFS that holds a filesystem in a file.
    Nested {
        /// Where in the SquashFS: "LiveOS/rootfs.img".
        path: &'static str,
        /// What the file says of itself.
        inner: Superblock,
    },
}

/// A root image.
pub struct RootImage<'a> {
    /// What it is.
    pub kind: RootKind,
    /// What the file itself says.
    pub outer: Superblock,
    tree: Result<Rc<dyn Inodes + 'a>, Unsupported>,
}

/// Where a SquashFS may hold a filesystem in a file (dracut, `dmsquash-live-root.sh`; livecd-tools).
const NESTED: [&str; 2] = ["LiveOS/rootfs.img", "LiveOS/ext3fs.img"];

impl<'a> RootImage<'a> {
    /// Reads what the bytes of a root image say.
    ///
    /// # Errors
    /// When it cannot be read, is no filesystem that can be a root, or contradicts its format.
    pub fn inspect(image: &'a dyn ReadAt) -> Result<RootImage<'a>, ReadError> {
        let Some(outer) = superblock::identify(image)? else {
            return Err(ReadError::malformed(
                "root image",
                Bytes::ZERO,
                "it holds no filesystem that is known here",
            ));
        };
        let (kind, tree) = match outer.kind {
            Kind::Squashfs => match Squashfs::open(image) {
                Ok(packed) => nested(&packed)?,
                Err(TreeError::Read(error)) => return Err(error),
                Err(TreeError::Unsupported(why)) => (RootKind::Tree(Kind::Squashfs), Err(why)),
            },
            Kind::Erofs
            | Kind::Ext2
            | Kind::Ext3
            | Kind::Ext4
            | Kind::Btrfs
            | Kind::Xfs
            | Kind::F2fs => (
                RootKind::Tree(outer.kind),
                tree_of(outer.kind, Rc::new(image))?,
            ),
            other => {
                let why = format!("it is {other}, which cannot be a root filesystem");
                return Err(ReadError::malformed("root image", Bytes::ZERO, why));
            }
        };
        Ok(RootImage { kind, outer, tree })
    }

    /// What the filesystem of the root tree says of itself: the nested one, if there is one.
    pub fn inner(&self) -> &Superblock {
        match &self.kind {
            RootKind::Tree(_) => &self.outer,
            RootKind::Nested { inner, .. } => inner,
        }
    }

    /// How the image is compressed, if it is SquashFS or EROFS and says so.
    pub fn compression(&self) -> Option<&'static str> {
        match self.outer.details {
            Details::Packed { compression } => compression,
            _ => None,
        }
    }

    /// The root tree.
    ///
    /// # Errors
    /// When only a mount can read it.
    pub fn tree(&self) -> Result<Tree<'a>, Unsupported> {
        self.tree.clone().map(|inodes| Tree { inodes })
    }
}

type Answer<'a> = Result<Rc<dyn Inodes + 'a>, Unsupported>;

/// Whether a SquashFS is the tree or holds a filesystem in a file.
fn nested<'a>(packed: &Squashfs<'a>) -> Result<(RootKind, Answer<'a>), ReadError> {
    let tree = Tree {
        inodes: Rc::new(packed.clone()),
    };
    for path in NESTED {
        let node = match tree.resolve(path, true) {
            Ok(Some(node)) => node,
            Ok(None) => continue,
            Err(TreeError::Read(error)) => return Err(error),
            Err(TreeError::Unsupported(why)) => {
                return Ok((RootKind::Tree(Kind::Squashfs), Err(why)));
            }
        };
        let file = match packed.file(node) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(TreeError::Read(error)) => return Err(error),
            Err(TreeError::Unsupported(why)) => {
                return Ok((RootKind::Tree(Kind::Squashfs), Err(why)));
            }
        };
        if let Some(inner) = superblock::identify(&file)? {
            let tree = tree_of(inner.kind, Rc::new(file))?;
            return Ok((RootKind::Nested { path, inner }, tree));
        }
    }
    Ok((RootKind::Tree(Kind::Squashfs), Ok(tree.inodes)))
}

/// The reader for a kind of filesystem.
fn tree_of<'a>(kind: Kind, image: Rc<dyn ReadAt + 'a>) -> Result<Answer<'a>, ReadError> {
    let tree: Result<Rc<dyn Inodes + 'a>, TreeError> = match kind {
        Kind::Erofs => Erofs::open(image).map(|tree| Rc::new(tree) as _),
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => Ext4::open(image).map(|tree| Rc::new(tree) as _),
        other => Err(Unsupported::NeedsMount(other).into()),
    };
    match tree {
        Ok(tree) => Ok(Ok(tree)),
        Err(TreeError::Read(error)) => Err(error),
        Err(TreeError::Unsupported(why)) => Ok(Err(why)),
    }
}

/// The tree of files in a root image.
#[derive(Clone)]
pub struct Tree<'a> {
    inodes: Rc<dyn Inodes + 'a>,
}

impl<'a> Tree<'a> {
    /// A tree over any reader of inodes.
    pub fn new(inodes: Rc<dyn Inodes + 'a>) -> Tree<'a> {
        Tree { inodes }
    }

    /// What the path says of itself; a link at its end is not followed, links on the way are. `None` if it is not there.
    pub fn attributes(&self, path: &str) -> Result<Option<Attributes>, TreeError> {
        let Some(node) = self.resolve(path, false)? else {
            return Ok(None);
        };
        let mut attributes = self.inodes.stat(node)?;
        attributes.xattrs = self.inodes.xattrs(node)?;
        attributes.xattrs.sort();
        Ok(Some(attributes))
    }

    /// Whether the path is there; a link at its end is not followed.
    pub fn exists(&self, path: &str) -> Result<bool, TreeError> {
        Ok(self.resolve(path, false)?.is_some())
    }

    /// The contents of a file of at most `max` bytes, links followed; `None` if there is no regular file.
    ///
    /// # Errors
    /// A longer file is malformed: the caller names a bound that no honest file passes.
    pub fn read_small(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, TreeError> {
        let Some(node) = self.resolve(path, true)? else {
            return Ok(None);
        };
        let FileKind::Regular(len) = self.inodes.stat(node)?.kind else {
            return Ok(None);
        };
        if len > Bytes(max as u64) {
            let why = format!("{path} has {len} bytes where at most {max} are read");
            return Err(ReadError::malformed("file", Bytes::ZERO, why).into());
        }
        self.inodes.contents(node, max).map(Some)
    }

    /// The inode of a path.
    fn resolve(&self, path: &str, follow: bool) -> Result<Option<Node>, TreeError> {
        // Names still to be walked, the next one last.
        let mut names = Vec::new();
        push_names(&mut names, path.as_bytes());
        let mut way = vec![self.inodes.root()];
        let mut links = 0;
        while let Some(name) = names.pop() {
            let Some(&here) = way.last() else { break };
            if name == b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            if !matches!(self.inodes.stat(here)?.kind, FileKind::Directory) {
                return Ok(None);
            }
            let Some(node) = self.inodes.lookup(here, &name)? else {
                return Ok(None);
            };
            if (follow || !names.is_empty())
                && let FileKind::Symlink(target) = self.inodes.stat(node)?.kind
            {
                links += 1;
                if links > MAX_LINKS || names.len() > MAX_NAMES {
                    return Ok(None);
                }
                if target.first() == Some(&b'/') {
                    way.truncate(1);
                }
                push_names(&mut names, &target);
                continue;
            }
            way.push(node);
        }
        Ok(way.last().copied())
    }
}

/// Adds the names of a path in front of those that are still to be walked.
fn push_names(names: &mut Vec<Vec<u8>>, path: &[u8]) {
    let new = path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".");
    names.extend(new.rev().map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests;
