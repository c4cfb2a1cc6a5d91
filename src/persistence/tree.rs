// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is put into a new filesystem: a few directories, files and links, with the attributes they need.
//!
//! A directory that exists in an overlay's upper layer hides the attributes of the image's own directory of that
//! name. So every such directory is made with the mode, owner and extended attributes (the SELinux label among them)
//! that the image's root tree has for it.

use serde::{Deserialize, Serialize};

/// Mode, owner and extended attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes by full name, with their values.
    #[serde(with = "crate::form::attributes")]
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Root's, with these permissions.
    pub fn plain(mode: u32) -> Attributes {
        Attributes {
            mode,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
        }
    }

    /// Those of `/` where an image does not tell: root's, with the label that Fedora's policy has for it
    /// (selinux-policy, `policy/modules/kernel/files.fc`). A system without SELinux does not look at labels.
    pub fn unknown_root() -> Attributes {
        Attributes {
            xattrs: vec![(SELINUX.into(), b"system_u:object_r:root_t:s0".to_vec())],
            ..Attributes::plain(0o755)
        }
    }

    /// The attributes of a new file in a directory that has these: the same owner and label.
    #[must_use]
    pub fn for_child(&self, mode: u32) -> Attributes {
        Attributes {
            mode,
            uid: self.uid,
            gid: self.gid,
            xattrs: self
                .xattrs
                .iter()
                .filter(|(name, _)| name == SELINUX)
                .cloned()
                .collect(),
        }
    }

    /// The SELinux label, for people.
    pub fn label(&self) -> Option<String> {
        let (_, value) = self.xattrs.iter().find(|(name, _)| name == SELINUX)?;
        Some(
            String::from_utf8_lossy(value)
                .trim_end_matches('\0')
                .to_owned(),
        )
    }
}

/// The extended attribute that holds a SELinux label (xattr(7)).
pub const SELINUX: &str = "security.selinux";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Content {
    /// A directory.
    Directory,
    /// A regular file with this text.
    File {
        /// The text.
        text: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
}

/// One thing in a new filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path from the filesystem's root, without a leading slash; empty for the root directory itself.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub content: Content,
    /// How it is to be.
    pub attributes: Attributes,
}

impl Entry {
    /// A directory.
    pub fn directory(path: impl Into<String>, attributes: Attributes) -> Entry {
        Entry {
            path: path.into(),
            content: Content::Directory,
            attributes,
        }
    }

    /// A file.
    pub fn file(path: impl Into<String>, text: String, attributes: Attributes) -> Entry {
        Entry {
            path: path.into(),
            content: Content::File { text },
            attributes,
        }
    }

    /// A symbolic link.
    pub fn symlink(path: impl Into<String>, target: &str, attributes: Attributes) -> Entry {
        Entry {
            path: path.into(),
            content: Content::Symlink {
                target: target.into(),
            },
            attributes,
        }
    }
}
