// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot configurations of a stick: every menu that firmware comes to gets the arguments, on a draft of the image.

use serde::{Deserialize, Serialize};

use crate::boot::pause::Pause;
use crate::boot::{Arguments, EditError, Edited, Reclaimed, esp, grub, isolinux};
use crate::image::Image;
use crate::image::boot_file::{Config, Loader, Place, Role};
use crate::patch::Draft;
use crate::refusal::Refusal;
use crate::units::{Block, Bytes, Extent};

/// What becomes of the media check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaCheck {
    /// The image has none.
    None,
    /// It stays, because nothing that it covers changes.
    Kept,
    /// It is computed again for the medium as written.
    Reimplanted,
}

/// An edited boot configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedFile {
    /// Which.
    pub file: String,
    /// Which firmware comes to it.
    pub read_by: Vec<String>,
    /// How many live entries it has now.
    pub entries: usize,
    /// The one that starts by itself.
    pub first: String,
    /// The one without persistence.
    pub without: Option<String>,
    /// What was given up to make room.
    pub gave_up: Vec<Reclaimed>,
    /// The block it was moved to, where no room could be made.
    pub moved_to: Option<Block>,
}

/// How the stick will start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPlan {
    /// Firmware that starts it.
    pub firmware: Vec<String>,
    /// The kernel arguments for what persists.
    pub arguments: Vec<String>,
    /// The user's own.
    pub extra: Vec<String>,
    /// What entries get that start the image's own root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<String>,
    /// How the menus wait, where that changes.
    #[serde(default, skip_serializing_if = "Pause::is_none")]
    pub pause: Pause,
    /// The word that takes the place of `root=live:…`.
    #[serde(default)]
    pub root: Option<String>,
    /// The file that became an initrd with a udev rule.
    #[serde(default)]
    pub initrd: Option<String>,
    /// The edited menus.
    pub files: Vec<EditedFile>,
    /// The media check.
    pub media_check: MediaCheck,
}

/// Files that images carry and that nothing on a stick reads, in the order in which they are given up: GRUB's
/// configuration under the name that 32-bit Macs looked for (lorax, `share/live/efi.tmpl`), the one for starting the ISO
/// from a file (kiwi), what isolinux would show on a key that no menu names, texts for people.
const UNREAD: [&str; 12] = [
    "/EFI/BOOT/BOOT.conf",
    "/boot/grub2/loopback.cfg",
    "/boot/grub/loopback.cfg",
    "/isolinux/grub.conf",
    "/isolinux/boot.msg",
    "/isolinux/TRANS.TBL",
    "/Fedora-Legal-README.txt",
    "/README.txt",
    "/README",
    "/EULA",
    "/LICENSE",
    "/GPL",
];

/// Puts `contents` into a file of the image that nothing reads on a stick, where every loader can read it; gives the
/// file's path. A file that is too small is moved to free blocks, which are added to `moved`.
pub fn carry(
    image: &Image,
    draft: &mut Draft<'_>,
    contents: &[u8],
    moved: &mut Vec<Extent>,
) -> Result<String, Refusal> {
    let len = Bytes(contents.len() as u64);
    // isolinux names files of its own directory without it.
    let mentioned = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        image
            .configs
            .iter()
            .any(|config| config.text.contains(name))
    };
    let files = || {
        let files = UNREAD.iter().filter_map(|path| image.iso.file(path));
        files.filter(|file| !mentioned(&file.path))
    };
    for file in files().filter(|file| image.iso.fits(file, len)) {
        if image.iso.replace(draft, file, contents).is_ok() {
            return Ok(file.path.clone());
        }
    }
    for file in files() {
        let Ok(place) = free_place(image, len, moved) else {
            break;
        };
        let Ok(block) = u32::try_from(place.at.0 / 2048) else {
            break;
        };
        if image
            .iso
            .relocate(draft, file, Block(block), contents)
            .is_ok()
        {
            moved.push(place);
            return Ok(file.path.clone());
        }
    }
    Err(Refusal::Impossible {
        what: "a sprout",
        why: format!(
            "its loaders have to load one more file of {len} bytes, and the image has no file that could give way to it"
        ),
        instead: "use --persistence overlay".into(),
    })
}

/// Adds the arguments to every menu that firmware comes to, and makes it wait as it shall. `moved` is where files were
/// moved to, which nothing in the image shows.
pub fn edit(
    image: &Image,
    draft: &mut Draft<'_>,
    arguments: &Arguments,
    pause: &Pause,
    mut moved: Vec<Extent>,
) -> Result<Vec<EditedFile>, Refusal> {
    let mut edited = Vec::new();
    for config in image.configs.iter().filter(|config| config.is_read()) {
        edited.push(edit_one(
            image, draft, config, arguments, pause, &mut moved,
        )?);
    }
    if edited.is_empty() {
        let looked_at: Vec<String> = image.configs.iter().map(Config::name).collect();
        let files = if looked_at.is_empty() {
            "any known place".into()
        } else {
            looked_at.join(", ")
        };
        return Err(Refusal::NoLiveEntry { files });
    }
    Ok(edited)
}

fn edit_one(
    image: &Image,
    draft: &mut Draft<'_>,
    config: &Config,
    arguments: &Arguments,
    pause: &Pause,
    moved: &mut Vec<Extent>,
) -> Result<EditedFile, Refusal> {
    let room = match (config.place, config.slack) {
        (Place::Iso, Some(slack)) => config.size + slack,
        _ => Bytes::mib(1),
    };
    let language = |room| match config.loader {
        Loader::Grub => grub::edit(&pause.grub(&config.text)?, arguments, room),
        Loader::Isolinux => isolinux::edit(&pause.isolinux(&config.text), arguments, room),
    };
    let (text, moved_to) = match language(room) {
        Ok(text) => (text, None),
        Err(EditError::DoesNotFit { over, .. }) => {
            // The text in its full form, where it has all the room it wants.
            let text = language(Bytes::mib(1)).map_err(|error| refuse(config, &error))?;
            let len = Bytes(text.text.len() as u64);
            let place = free_place(image, len, moved).map_err(|why| Refusal::ConfigDoesNotFit {
                file: config.name(),
                over,
                why,
            })?;
            moved.push(place);
            let block = u32::try_from(place.at.0 / 2048).map(Block);
            let block = block.map_err(|error| Refusal::Host(error.to_string()))?;
            (text, Some(block))
        }
        Err(error) => return Err(refuse(config, &error)),
    };
    put(image, draft, config, &text, moved_to)?;
    let read_by = match &config.role {
        Role::Menu(by) => by.clone(),
        _ => Vec::new(),
    };
    Ok(EditedFile {
        file: config.name(),
        read_by,
        entries: text.entries.len(),
        first: text.first,
        without: text.without,
        gave_up: if moved_to.is_some() {
            Vec::new()
        } else {
            text.steps
        },
        moved_to,
    })
}

fn refuse(config: &Config, error: &EditError) -> Refusal {
    match error {
        EditError::NoLiveEntry => Refusal::NoLiveEntry {
            files: config.name(),
        },
        EditError::DoesNotFit { over, .. } => Refusal::ConfigDoesNotFit {
            file: config.name(),
            over: *over,
            why: "comments, blanks and icons are already dropped; pass shorter --extra-kernel-args"
                .into(),
        },
        other => Refusal::Host(format!("{}: {other}", config.name())),
    }
}

/// Blocks of the volume that nothing uses, files that were `moved` before included, for a file that has no room where
/// it is.
fn free_place(image: &Image, need: Bytes, moved: &[Extent]) -> Result<Extent, String> {
    let blocks = need.align_up(Bytes(2048));
    // Padding that a table calls a partition is free all the same; the partition of the ISO tree itself and the
    // system partition are not.
    let taken: Vec<Extent> = image
        .table
        .partitions()
        .iter()
        .filter(|partition| {
            Some(partition.number) == image.esp.as_ref().and_then(|esp| esp.partition)
        })
        .map(|partition| partition.extent)
        .chain(moved.iter().copied())
        .collect();
    let free = image
        .iso
        .unclaimed(image.bytes(), &taken)
        .map_err(|error| format!("looking for a free place in the image: {error}"))?;
    // The last place that is large enough: what is free at the end is padding.
    let place = free.iter().rev().find(|extent| extent.len >= blocks);
    let place = place
        .ok_or("the image has no free blocks to move it to; pass shorter --extra-kernel-args")?;
    Ok(Extent {
        at: place.at,
        len: blocks,
    })
}

fn put(
    image: &Image,
    draft: &mut Draft<'_>,
    config: &Config,
    text: &Edited,
    moved_to: Option<Block>,
) -> Result<(), Refusal> {
    let failed = |why: String| Refusal::ConfigDoesNotFit {
        file: config.name(),
        over: Bytes::ZERO,
        why,
    };
    let bytes = text.text.as_bytes();
    if let (Place::Esp, Some(esp)) = (config.place, &image.esp) {
        return esp::replace(draft, esp.extent, &config.file, bytes)
            .map_err(|error| Refusal::Host(error.to_string()));
    }
    let file = image
        .iso
        .file(&config.file)
        .ok_or_else(|| failed("it is not there".into()))?;
    match moved_to {
        None => image.iso.replace(draft, file, bytes),
        Some(block) => image.iso.relocate(draft, file, block, bytes),
    }
    .map_err(|error| failed(error.to_string()))
}

/// What becomes of the media check when these bytes change.
pub fn media_check(image: &Image, draft: &Draft<'_>) -> Result<MediaCheck, Refusal> {
    if image.media_check.is_none() {
        return Ok(MediaCheck::None);
    }
    let damaged = |error: crate::read::ReadError| Refusal::Damaged {
        path: image.path.clone(),
        why: error.to_string(),
    };
    Ok(if draft.patches().map_err(damaged)?.is_empty() {
        MediaCheck::Kept
    } else {
        MediaCheck::Reimplanted
    })
}
