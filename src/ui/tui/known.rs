// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the background threads found out, as plain values: the screens need nothing else, and tests can make it up.

use std::path::PathBuf;

use crate::disk::Disk;
use crate::disk::standing::{Reason, Standing};
use crate::host::Host;
use crate::image::Image;
use crate::plan::{encryption, sprout};
use crate::published::Published;
use crate::refusal::Refusal;
use crate::request::{FsKind, Size};
use crate::table::Table;
use crate::ui::facts;
use crate::units::Bytes;

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its size, of a file.
    pub size: Bytes,
}

impl Entry {
    /// Whether the name is that of an image.
    pub fn is_image(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        !self.folder
            && [".iso", ".img", ".raw"]
                .iter()
                .any(|end| name.ends_with(end))
    }
}

/// Whether an image can be made to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its initrd is being read.
    Looking,
    /// It can, on these filesystems, the best first.
    Possible(Vec<FsKind>),
    /// It cannot.
    Impossible(String),
}

/// What a sprout grows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// The image's own btrfs, where it lies.
    Within,
    /// A copy of the image's root, in so much room behind the image.
    Made(Bytes),
}

impl Seed {
    /// What `image` has for one, or why it or this machine can have no sprout.
    fn of(image: &Image, host: &Host) -> Result<Seed, String> {
        let seed = || {
            let source = sprout::source(image)?;
            // The writer of a disk is root; where that is not so the plan says it.
            sprout::need(&source, &host.as_root())?;
            if sprout::within(image, &source)?.is_some() {
                return Ok(Seed::Within);
            }
            let room = match sprout::seed(image, &source).size {
                Size::Fixed(room) => room,
                Size::Rest => Bytes::ZERO,
            };
            Ok(Seed::Made(room))
        };
        seed().map_err(reason)
    }
}

/// Why not, without the options of the command line that would help there.
fn reason(refusal: Refusal) -> String {
    match refusal {
        Refusal::Impossible { why, .. } => why,
        other => other.to_string(),
    }
}

/// What an image is.
#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// Its volume label.
    pub label: String,
    /// Its partition tables.
    pub table: Table,
    /// Persistence.
    pub memory: Memory,
    /// What a sprout can grow from, or why none can.
    pub seed: Result<Seed, String>,
    /// Whether a `/home` can be encrypted, with an overlay beside it; or why not.
    pub unlocking: Result<(), String>,
    /// The lines of `livestick inspect`: a name, which may be empty, and a text.
    pub lines: Vec<(String, String)>,
}

impl ImageFacts {
    /// What is known of `image`; `inside` says whether its initrd was looked into.
    pub fn of(image: &Image, inside: bool, host: &Host) -> ImageFacts {
        let memory = if !image.stack.persists() {
            Memory::Impossible(
                Refusal::NoPersistence {
                    stack: image.stack.name().into(),
                }
                .to_string(),
            )
        } else if let Some(initrd) = &image.initrd_facts {
            let mountable: Vec<FsKind> = [FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs]
                .into_iter()
                .filter(|kind| initrd.filesystems.contains(kind.name()))
                .collect();
            if mountable.is_empty() {
                Memory::Impossible(
                    "no driver of btrfs, ext4 or xfs was found in the image's initrd".into(),
                )
            } else {
                Memory::Possible(mountable)
            }
        } else if inside {
            Memory::Impossible("the image's initrd was not found or could not be read".into())
        } else {
            Memory::Looking
        };
        ImageFacts {
            path: image.path.clone(),
            name: image.name.clone(),
            size: image.size,
            label: image.label.clone(),
            table: image.table.clone(),
            memory,
            seed: Seed::of(image, host),
            unlocking: encryption::possible(image, true, false, host)
                .map_err(|refusal| format!("/home cannot be encrypted: {}", reason(refusal))),
            lines: pairs(&facts::image(image)),
        }
    }
}

/// How far an image is compared with what was published of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// There is nothing to compare with.
    Nothing,
    /// Not yet.
    NotYet,
    /// It is being read; hundredths that are done.
    Going(u64),
    /// It has the published digest.
    Equal,
    /// It has another one; both in words.
    Differs(String),
    /// It could not be read.
    Failed(String),
}

/// What was published of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// What was found; or why that stops a write.
    pub published: Result<Published, String>,
    /// Whether the image has it.
    pub compared: Compared,
}

impl Digest {
    /// What was found, nothing of which is compared yet.
    pub fn of(published: Result<Published, String>) -> Digest {
        let compared = match &published {
            Ok(published) if !published.sums().is_empty() => Compared::NotYet,
            _ => Compared::Nothing,
        };
        Digest {
            published,
            compared,
        }
    }
}

/// Width of the names in `livestick inspect`'s lines.
const NAME: usize = 11;

/// The lines of `livestick inspect`, each split into its name and its text.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let cut = line
                .char_indices()
                .nth(NAME)
                .map_or(line.len(), |(index, _)| index);
            let (name, text) = line.split_at(cut);
            (name.trim().to_owned(), text.trim().to_owned())
        })
        .collect()
}

/// A disk, and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The disk.
    pub disk: Disk,
    /// What may be done to it.
    pub standing: Standing,
    /// What is on it now, a line each; or why that is not known.
    pub now: Result<Vec<String>, String>,
}

impl Seen {
    /// Why it cannot be chosen, in words; none if it can.
    pub fn against(&self) -> Option<String> {
        match &self.standing {
            Standing::Stick => None,
            Standing::NeedsAllow(reason) => Some(reason.to_string()),
            Standing::Never(reasons) => {
                let said: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                Some(said.join(", "))
            }
        }
    }

    /// Whether unmounting is all that is needed.
    pub fn unmount_lifts(&self) -> bool {
        matches!(&self.standing, Standing::Never(reasons) if reasons.iter().all(Reason::unmount_lifts))
    }

    /// Whether it is the same appearance of the same disk.
    pub fn is(&self, other: &Seen) -> bool {
        let key = |disk: &Disk| (disk.dev, disk.diskseq, disk.serial.clone(), disk.size);
        key(&self.disk) == key(&other.disk)
    }
}
