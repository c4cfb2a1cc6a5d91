// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys that count: those of `--keyring`, or those that the distribution of this machine keeps for others'
//! signatures. The user's own keyring is not looked at, since anybody's key may be in it.
//!
//! gpgv takes at most 40 keyrings, and none that is armored (GnuPG 2.2, `g10/keydb.c` `MAX_KEYDB_RESOURCES`; gpgv(1)),
//! so the keys are put together in one. A key file that is not whole is left out, lest it hide what comes behind it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::shown;
use crate::published::armor;
use crate::published::lookup::{Unread, read};

/// Where distributions keep keys: rpm's, Fedora's package of everybody's, Debian's, Arch's, Debian's old place.
const PLACES: [&str; 5] = [
    "/etc/pki/rpm-gpg",
    "/usr/share/distribution-gpg-keys",
    "/usr/share/keyrings",
    "/usr/share/pacman/keyrings",
    "/etc/apt/trusted.gpg.d",
];
/// In distribution-gpg-keys the keys of whoever has a repository there; they vouch for no distribution.
const ANYBODY: &str = "copr";
/// The most of one file, of all, and how many files, how deep.
const FILE: usize = 4 << 20;
const ALL: usize = 32 << 20;
const FILES: usize = 4096;
const DEPTH: usize = 4;

/// Keys for gpgv.
#[derive(Debug, Default)]
pub struct Keys {
    /// Packets, one key after the other.
    pub packets: Vec<u8>,
    /// Keyrings in GnuPG's own form, which only it reads.
    pub boxes: Vec<PathBuf>,
}

impl Keys {
    /// Those of the files that were named. The error says which is none.
    pub fn named(files: &[PathBuf]) -> Result<Keys, String> {
        let mut keys = Keys::default();
        for file in files {
            let name = shown(file);
            let bytes = read(file, FILE, true).map_err(|why| match why {
                Unread::Missing => format!("the keyring {name} does not exist"),
                Unread::Other(why) => format!("reading the keyring {name}: {why}"),
            })?;
            // GnuPG 2.2, `kbx/keybox-blob.c`: a first blob of 32 bytes, whose magic is at its byte 8.
            if bytes.get(8..12) == Some(b"KBXf") {
                keys.boxes
                    .push(std::path::absolute(file).map_err(|e| e.to_string())?);
            } else if !keys.add(&bytes) {
                return Err(format!(
                    "the keyring {name} has no OpenPGP keys; `gpg --export KEY` writes such a file"
                ));
            }
        }
        Ok(keys)
    }

    /// Those of this machine's distribution.
    pub fn of_the_distribution() -> Keys {
        let mut keys = Keys::default();
        let mut left = FILES;
        for place in PLACES {
            keys.collect(Path::new(place), DEPTH, &mut left);
        }
        keys
    }

    fn collect(&mut self, directory: &Path, depth: usize, left: &mut usize) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).take(*left).collect();
        paths.sort();
        for path in paths {
            if *left == 0 {
                return;
            }
            *left -= 1;
            // Fedora's directory is full of links to its own files, which are read but once that way.
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                if depth > 0 && path.file_name().is_none_or(|name| name != ANYBODY) {
                    self.collect(&path, depth - 1, left);
                }
            } else if let Ok(bytes) = read(&path, FILE, false) {
                self.add(&bytes);
            }
        }
    }

    /// Whether there were keys in it.
    fn add(&mut self, bytes: &[u8]) -> bool {
        let bare = armor::remove(bytes, armor::PUBLIC_KEY);
        let packets = bare.as_deref().unwrap_or(bytes);
        let good =
            armor::are(packets, &armor::KEY_PACKETS) && self.packets.len() + packets.len() <= ALL;
        if good {
            self.packets.extend_from_slice(packets);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_keyring_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let said = Keys::named(std::slice::from_ref(&file)).unwrap_err();
        assert!(said.contains("does not exist"), "{said}");
        fs::write(&file, "no key").unwrap();
        let said = Keys::named(std::slice::from_ref(&file)).unwrap_err();
        assert!(said.contains("no OpenPGP keys"), "{said}");
        fs::write(&file, [0xC6, 1, 0]).unwrap();
        assert_eq!(Keys::named(&[file]).unwrap().packets, [0xC6, 1, 0]);
    }
}
