// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tree of a new filesystem, laid out in a directory of our own for mkfs or cp to take it from.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use crate::persistence::tree::{Content, Entry};

/// A directory that holds a tree; it goes away when dropped.
#[derive(Debug)]
pub struct Staging {
    directory: TempDir,
    /// The tree's directories, outer ones first.
    directories: Vec<PathBuf>,
}

impl Staging {
    /// Lays out `tree`. Owners and privileged attributes need `root`; without it files belong to the user, and a
    /// user namespace makes them root's.
    pub fn new(tree: &[Entry], root: bool) -> anyhow::Result<Staging> {
        let directory = tempfile::Builder::new()
            .prefix("livestick-")
            .tempdir()
            .context("making a directory for what goes into the filesystem")?;
        fs::create_dir(directory.path().join("root")).context("making a staging directory")?;
        let root_of_tree = directory.path().join("root");
        let directories = tree
            .iter()
            .filter(|entry| entry.content == Content::Directory)
            .map(|entry| root_of_tree.join(&entry.path))
            .collect();
        let staging = Staging {
            directory,
            directories,
        };
        fs::set_permissions(staging.root(), Permissions::from_mode(0o755))
            .context("setting the mode of a staging directory")?;
        for entry in tree {
            staging
                .lay(entry, root)
                .with_context(|| format!("staging /{}", entry.path))?;
        }
        // Last and innermost first: a directory that is not writable must be filled before it is closed.
        for entry in tree
            .iter()
            .rev()
            .filter(|entry| entry.content == Content::Directory)
        {
            let mode = Permissions::from_mode(entry.attributes.mode & 0o7777);
            fs::set_permissions(staging.place(entry), mode)
                .with_context(|| format!("setting the mode of /{}", entry.path))?;
        }
        Ok(staging)
    }

    /// The directory that becomes the root of the filesystem.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// An empty directory to mount on.
    pub fn mount_point(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.path().join("mnt");
        fs::create_dir_all(&path).context("making a mount point")?;
        Ok(path)
    }

    /// A path for a file beside the tree.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn place(&self, entry: &Entry) -> PathBuf {
        self.root().join(&entry.path)
    }

    fn lay(&self, entry: &Entry, root: bool) -> anyhow::Result<()> {
        let path = self.place(entry);
        let (uid, gid) = (entry.attributes.uid, entry.attributes.gid);
        // The link itself and not what it names, which may be anywhere.
        let own = || {
            if root {
                lchown(&path, Some(uid), Some(gid))
            } else {
                Ok(())
            }
        };
        match &entry.content {
            Content::Directory => {
                fs::create_dir_all(&path)?;
                own()?;
            }
            Content::File { text } => {
                fs::write(&path, text)?;
                own()?;
                fs::set_permissions(
                    &path,
                    Permissions::from_mode(entry.attributes.mode & 0o7777),
                )?;
            }
            Content::Symlink { target } => {
                symlink(target, &path)?;
                own()?;
            }
        }
        if root {
            set_xattrs(&path, entry)
        } else {
            Ok(())
        }
    }
}

impl Drop for Staging {
    /// Nobody but root can empty a directory that is not writable, as `/` itself is in Fedora.
    fn drop(&mut self) {
        for path in &self.directories {
            // What cannot be opened stays behind; there is nobody to tell.
            let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
        }
    }
}

fn set_xattrs(path: &Path, entry: &Entry) -> anyhow::Result<()> {
    for (name, value) in &entry.attributes.xattrs {
        rustix::fs::lsetxattr(path, name.as_str(), value, XattrFlags::empty())
            .with_context(|| format!("setting the attribute {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::tree::Attributes;

    #[test]
    fn a_tree_with_closed_directories_is_laid_out_and_goes_away() {
        let closed = Attributes::plain(0o555);
        let tree = [
            Entry::directory("state", closed.clone()),
            Entry::directory("state/upper", closed.clone()),
            Entry::file("state/upper/file", "text".into(), Attributes::plain(0o644)),
        ];
        let root = rustix::process::geteuid().is_root();
        let staging = Staging::new(&tree, root).unwrap();
        let upper = staging.root().join("state/upper");
        let mode = fs::metadata(&upper).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o555);
        assert_eq!(fs::read_to_string(upper.join("file")).unwrap(), "text");
        let place = staging.directory.path().to_owned();
        drop(staging);
        assert!(!place.exists());
    }
}
