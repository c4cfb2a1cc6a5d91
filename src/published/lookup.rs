// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which checksum file is about an image: the one that is named, or what lies beside it.
//!
//! Beside the image are looked at: files named as distributions name their lists (`Fedora-44-CHECKSUM`, `SHA256SUMS`,
//! `sha256sum.txt`, …) and after the image (`IMAGE.sha256`, …). A list there that does not have the image is somebody
//! else's, and no error; of one that was named that is one. Where several have it they must agree, and the one with
//! the best signature is the one that is told.
//!
//! Everything here is untrusted. Beside the image only regular files are read, and no links are followed; nothing is
//! read that is longer than a list can be.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::disk::shown;
use crate::published::frame::Frame;
use crate::published::keys::Keys;
use crate::published::list::{List, Unclear};
use crate::published::signature::{Bad, Signature, Signed, judge};
use crate::published::{Asked, Published, Sum, armor, tame};
use crate::refusal::Refusal;

/// The longest list that is read. That of a whole distribution's mirror has some hundred KiB.
const LIST: usize = 4 << 20;
/// The longest signature.
const SIGNATURE: usize = 256 << 10;
/// How many names of a directory are looked at, and how many lists beside an image.
const ENTRIES: usize = 65_536;
/// The most lists beside an image that are looked at.
pub(super) const CANDIDATES: usize = 32;
/// What the signature of FILE is called.
const SIGNATURES: [&str; 4] = ["asc", "sig", "gpg", "sign"];

/// Finds what was published of the image at `given` (as the user named it) and `real` (links resolved).
pub fn find(
    asked: &Asked,
    keyrings: &[PathBuf],
    given: &Path,
    real: &Path,
) -> Result<Published, Refusal> {
    let lookup = Lookup::new(keyrings, given, real)?;
    match asked {
        Asked::Nothing => Ok(Published::NotAsked),
        Asked::Sum(sum) => Ok(Published::Given { sum: sum.clone() }),
        Asked::File(file) => lookup.named(file),
        Asked::Beside => lookup.beside(),
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub enum Unread {
    /// There is none.
    Missing,
    /// In words.
    Other(String),
}

/// Reads a regular file that is not longer than `most`.
pub fn read(path: &Path, most: usize, follow: bool) -> Result<Vec<u8>, Unread> {
    let other = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Other(error.to_string()),
    };
    let looked = if follow {
        path.metadata()
    } else {
        path.symlink_metadata()
    };
    if !looked.map_err(other)?.is_file() {
        return Err(Unread::Other("it is not a regular file".into()));
    }
    // It may be another one by now.
    let mut flags = OFlags::NONBLOCK;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(other)?;
    if !file.metadata().map_err(other)?.is_file() {
        return Err(Unread::Other("it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(other)?;
    if bytes.len() > most {
        return Err(Unread::Other(format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// What a file says of the image.
enum Said {
    /// Nothing, in words for a note.
    Nothing(String),
    /// This.
    Listed(Vec<Sum>, Signature),
}

struct Lookup {
    /// Those that were named.
    keys: Option<Keys>,
    /// The image's names, its own first.
    names: Vec<Vec<u8>>,
    directories: Vec<PathBuf>,
}

impl Lookup {
    fn new(keyrings: &[PathBuf], given: &Path, real: &Path) -> Result<Lookup, Refusal> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut directories: Vec<PathBuf> = Vec::new();
        let given = std::path::absolute(given).unwrap_or_else(|_| given.into());
        for path in [real, &given] {
            if let Some(name) = path.file_name().map(|name| name.as_bytes().to_vec())
                && !names.contains(&name)
            {
                names.push(name);
            }
            if let Some(parent) = path.parent().map(Path::to_path_buf)
                && !directories.contains(&parent)
            {
                directories.push(parent);
            }
        }
        let keys = if keyrings.is_empty() {
            None
        } else {
            Some(Keys::named(keyrings).map_err(Refusal::Checksum)?)
        };
        Ok(Lookup {
            keys,
            names,
            directories,
        })
    }

    fn keys(&self) -> Keys {
        match &self.keys {
            // Not kept, since one list is usually all there is.
            None => Keys::of_the_distribution(),
            Some(keys) => Keys {
                packets: keys.packets.clone(),
                boxes: keys.boxes.clone(),
            },
        }
    }

    fn named(&self, file: &Path) -> Result<Published, Refusal> {
        let name = shown(file);
        let refuse = |why: String| Err(Refusal::Checksum(why));
        let bytes = match read(file, LIST, true) {
            Ok(bytes) => bytes,
            Err(Unread::Missing) => {
                return refuse(format!(
                    "the checksum file {name} does not exist; to compare with nothing say --checksum none"
                ));
            }
            Err(Unread::Other(why)) => {
                return refuse(format!("reading the checksum file {name}: {why}"));
            }
        };
        match self.examine(file, &bytes, true, true)? {
            Said::Listed(sums, signature) => Ok(Published::Listed {
                sums,
                file: std::path::absolute(file).unwrap_or_else(|_| file.into()),
                signature,
            }),
            Said::Nothing(_) => refuse(self.not_listed(file, &bytes)),
        }
    }

    /// Why a file that was named is of no use, and what might have been meant.
    fn not_listed(&self, file: &Path, bytes: &[u8]) -> String {
        let text = match Frame::of(bytes) {
            Frame::Signed { text, .. } => text,
            Frame::Detached => {
                return format!(
                    "{} is a signature without a text; name the file that it signs",
                    shown(file)
                );
            }
            _ => bytes.to_vec(),
        };
        let list = List::parse(&text);
        let image = self.image();
        let file = shown(file);
        if list.is_empty() {
            return format!(
                "{file} has no SHA-256 or SHA-512 digests; name the image's checksum file, or say --checksum none"
            );
        }
        match list.only() {
            Some((other, sum)) => format!(
                "{file} does not list {image}, only {}; if that is this image under another name, say --checksum {sum}",
                tame(&String::from_utf8_lossy(other))
            ),
            None => format!(
                "{file} does not list {image}; name the checksum file that does, or give the image its own name back"
            ),
        }
    }

    fn image(&self) -> String {
        let name = self.names.first().map(Vec::as_slice).unwrap_or_default();
        shown(Path::new(OsStr::from_bytes(name))).to_string()
    }

    fn beside(&self) -> Result<Published, Refusal> {
        let mut notes = Vec::new();
        let mut best: Option<(Vec<Sum>, PathBuf, Signature)> = None;
        for (file, own) in self.candidates() {
            let name = shown(Path::new(file.file_name().unwrap_or_default())).to_string();
            let bytes = match read(&file, LIST, false) {
                Ok(bytes) => bytes,
                Err(Unread::Missing) => continue,
                Err(Unread::Other(why)) => {
                    notes.push(tame(&format!("{name} was not read: {why}")));
                    continue;
                }
            };
            let (sums, signature) = match self.examine(&file, &bytes, own, false)? {
                Said::Listed(sums, signature) => (sums, signature),
                Said::Nothing(why) => {
                    notes.push(tame(&format!("{name} {why}")));
                    continue;
                }
            };
            let Some((known, other, signed)) = &mut best else {
                best = Some((sums, file, signature));
                continue;
            };
            let differ = |a: &Sum| sums.iter().any(|b| a.algorithm == b.algorithm && a != b);
            if let Some(one) = known.iter().find(|sum| differ(sum)) {
                return Err(Refusal::Published(format!(
                    "{} and {} list different {} digests for {}; say which with --checksum FILE",
                    shown(other),
                    shown(&file),
                    one.algorithm.name(),
                    self.image()
                )));
            }
            if signature.rank() < signed.rank() {
                best = Some((sums, file, signature));
            }
        }
        Ok(match best {
            None => Published::NotFound { notes },
            Some((sums, file, signature)) => Published::Listed {
                sums,
                file,
                signature,
            },
        })
    }

    /// Files beside the image that are named like lists, and whether they are named after the image.
    fn candidates(&self) -> Vec<(PathBuf, bool)> {
        let mut all = Vec::new();
        for directory in &self.directories {
            let Ok(entries) = fs::read_dir(directory) else {
                continue;
            };
            for entry in entries.flatten().take(ENTRIES) {
                let name = entry.file_name();
                let own = self
                    .names
                    .iter()
                    .any(|image| is_named_after(name.as_bytes(), image));
                if own || is_named_like_a_list(name.as_bytes()) {
                    all.push((entry.path(), own));
                }
            }
        }
        // Those that are surely meant come first if there are too many.
        all.sort_by(|(a, own_a), (b, own_b)| own_b.cmp(own_a).then_with(|| a.cmp(b)));
        all.truncate(CANDIDATES);
        all
    }

    /// What a file says of the image; the refusal is one to stop for. `own` is whether the file is about this image
    /// alone, `named` whether the user named it.
    fn examine(&self, file: &Path, bytes: &[u8], own: bool, named: bool) -> Result<Said, Refusal> {
        let stop = |why: String| Err(Refusal::Published(why));
        let nothing = || Ok(Said::Nothing("does not list it".into()));
        let list = |text: &[u8]| List::parse(text).find(&self.names, own);
        let bad = |Bad { key, owner }: Bad| {
            Refusal::Published(format!(
                "{} has a bad signature (key {key}, {owner}): it was changed after it was signed; download it again",
                shown(file)
            ))
        };
        let clear = |found: Result<Vec<Sum>, Unclear>| found.or_else(|why| self.unclear(file, why));
        match Frame::of(bytes) {
            Frame::Broken(why) => {
                let about = self
                    .names
                    .iter()
                    .any(|name| bytes.windows(name.len().max(1)).any(|part| part == name));
                if own || about {
                    return stop(format!(
                        "{} is damaged: {why}; download it again",
                        shown(file)
                    ));
                }
                Ok(Said::Nothing(format!("is damaged: {why}")))
            }
            Frame::Detached => nothing(),
            Frame::Plain => {
                if list(bytes).is_ok_and(|sums| sums.is_empty()) {
                    return nothing();
                }
                let signature = self.detached(file, bytes, named).map_err(bad)?;
                Ok(Said::Listed(clear(list(bytes))?, signature))
            }
            Frame::Signed { whole, text } => {
                if list(&text).is_ok_and(|sums| sums.is_empty()) {
                    return nothing();
                }
                let judged = judge(Signed::Clear(&whole), &self.keys());
                let (signature, signed) = judged.map_err(bad)?;
                let sums = clear(list(signed.as_deref().unwrap_or(&text)))?;
                if sums.is_empty() {
                    return nothing();
                }
                Ok(Said::Listed(sums, signature))
            }
        }
    }

    fn unclear(&self, file: &Path, why: Unclear) -> Result<Vec<Sum>, Refusal> {
        let (file, image) = (shown(file), self.image());
        Err(Refusal::Published(match why {
            Unclear::TwoDigests(one, two) => format!(
                "{file} lists two digests for {image}, {one} and {two}; say which is right with --checksum, or download the list again"
            ),
            Unclear::CutOff(digits) => format!(
                "{file} has a digest of {digits} digits for {image}, so it was cut off; download it again"
            ),
        }))
    }

    /// The best of the signatures that lie beside a file.
    fn detached(&self, file: &Path, text: &[u8], named: bool) -> Result<Signature, Bad> {
        let mut best = Signature::None;
        for ending in SIGNATURES {
            let mut path = file.as_os_str().to_owned();
            path.push(".");
            path.push(ending);
            let unchecked = |why: &str| Signature::Unchecked { why: tame(why) };
            let signature = match read(Path::new(&path), SIGNATURE, named) {
                Err(Unread::Missing) => continue,
                Err(Unread::Other(why)) => unchecked(&why),
                // A list that is clear-signed, of which this is the bare copy.
                Ok(bytes) if matches!(Frame::of(&bytes), Frame::Signed { .. }) => continue,
                Ok(bytes) => {
                    let bare = armor::remove(&bytes, armor::SIGNATURE);
                    let signature = bare.as_deref().unwrap_or(&bytes);
                    if armor::are(signature, &[armor::SIGNATURE_PACKET]) {
                        judge(Signed::Detached { text, signature }, &self.keys())?.0
                    } else {
                        unchecked("its signature file holds no signature")
                    }
                }
            };
            if signature.rank() < best.rank() {
                best = signature;
            }
        }
        Ok(best)
    }
}

/// `Fedora-44-CHECKSUM`, `SHA256SUMS`, `sha512sum.txt`, …, and the same clear-signed as `.asc`.
fn is_named_like_a_list(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(b".asc").unwrap_or(&name);
    let name = name.strip_suffix(b".txt").unwrap_or(name);
    let words: [&[u8]; 6] = [
        b"checksum",
        b"checksums",
        b"sha256sum",
        b"sha256sums",
        b"sha512sum",
        b"sha512sums",
    ];
    words.iter().any(|word| {
        name.strip_suffix(*word)
            .is_some_and(|before| before.is_empty() || before.ends_with(b"-"))
    })
}

/// `IMAGE.sha256`, `IMAGE.sha512sum`, `IMAGE.CHECKSUM`, `IMAGE-without-iso.sha256`, …, and the same as `.asc`.
fn is_named_after(name: &[u8], image: &[u8]) -> bool {
    let stem = image.strip_suffix(b".iso").unwrap_or(image);
    let ending = [image, stem].iter().find_map(|image| {
        let rest = name.strip_prefix(*image)?.strip_prefix(b".")?;
        Some(rest.to_ascii_lowercase())
    });
    let Some(ending) = ending else { return false };
    let ending = ending.strip_suffix(b".asc").unwrap_or(&ending);
    let ending = ending.strip_suffix(b".txt").unwrap_or(ending);
    let endings: [&[u8]; 5] = [
        b"sha256",
        b"sha512",
        b"sha256sum",
        b"sha512sum",
        b"checksum",
    ];
    endings.contains(&ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_by_their_names() {
        for name in [
            "Fedora-Workstation-Live-44-1.7-x86_64-CHECKSUM",
            "CHECKSUM",
            "SHA256SUMS",
            "SHA512SUMS",
            "sha256sum.txt",
            "sha512sum.txt",
            "sha256sum.txt.asc",
            "debian-SHA256SUMS",
        ] {
            assert!(is_named_like_a_list(name.as_bytes()), "{name}");
        }
        for name in [
            "notes.txt",
            "SHA256SUMS.gpg",
            "mychecksum",
            "a.iso",
            "MD5SUMS",
        ] {
            assert!(!is_named_like_a_list(name.as_bytes()), "{name}");
        }
        for name in [
            "a.iso.sha256",
            "a.sha512",
            "a.iso.SHA256SUM",
            "a.iso.CHECKSUM",
            "a.iso.sha256.asc",
        ] {
            assert!(is_named_after(name.as_bytes(), b"a.iso"), "{name}");
        }
        for name in [
            "b.iso.sha256",
            "a.iso",
            "a.iso.sig",
            "a.iso.sha256.sig",
            "a.isosha256",
        ] {
            assert!(!is_named_after(name.as_bytes(), b"a.iso"), "{name}");
        }
    }

    #[test]
    fn nothing_but_short_regular_files_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        let fifo = std::process::Command::new("mkfifo")
            .arg(at("fifo"))
            .status();
        assert!(fifo.unwrap().success());
        assert_eq!(read(&at("file"), 4, false).unwrap(), b"text");
        assert_eq!(read(&at("link"), 4, true).unwrap(), b"text");
        assert!(matches!(read(&at("none"), 4, true), Err(Unread::Missing)));
        for (name, most, follow) in [
            ("file", 3, true),
            ("link", 4, false),
            ("fifo", 4, true),
            (".", 4, true),
        ] {
            let read = read(&at(name), most, follow);
            assert!(matches!(read, Err(Unread::Other(_))), "{name}");
        }
    }
}
