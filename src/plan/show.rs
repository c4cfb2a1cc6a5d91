// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan as text: what `--dry-run` prints, what the confirmation shows, what tests read. At most 100 columns, but
//! for names and kernel arguments, which are not broken.

use std::fmt::{self, Display, Formatter};

use crate::boot::Reclaimed;
use crate::digest::hex;
use crate::disk::direct::Kind;
use crate::patch::{After, Patch};
use crate::persistence::tree::{Content, Entry};
use crate::plan::boot::MediaCheck;
use crate::plan::encryption::{Encryption, MEMORY_KIB, PASSES};
use crate::plan::filesystem::{Backing, Filesystem, Filling};
use crate::plan::record::PlannedRecord;
use crate::plan::{Plan, PlannedTarget};
use crate::published::Published;
use crate::sprout::{Home, Sprout};
use crate::units::Extent;

/// How much of a change a line shows.
const SHOWN: usize = 24;

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let image = &self.image;
        writeln!(
            f,
            "image      {}, {} bytes, volume '{}'",
            image.name,
            image.size.grouped(),
            image.label
        )?;
        published(f, &image.published)?;
        target(f, &self.target)?;
        if let Some(probe) = &self.probe {
            for (i, line) in probe.to_string().lines().enumerate() {
                writeln!(f, "{:<10} {line}", if i == 0 { "probe" } else { "" })?;
            }
        }
        changes(f, self)?;
        if let Some(record) = &self.record {
            show_record(f, record)?;
        }
        for filesystem in &self.filesystems {
            show_filesystem(f, filesystem)?;
        }
        if let Some(sprout) = &self.sprout {
            show_sprout(f, sprout)?;
        }
        boot(f, self)?;
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        for (i, step) in self.steps().iter().enumerate() {
            writeln!(
                f,
                "{:<10} {}. {}",
                if i == 0 { "steps" } else { "" },
                i + 1,
                step.title
            )?;
        }
        Ok(())
    }
}

/// What the image is compared with.
fn published(f: &mut Formatter<'_>, published: &Published) -> fmt::Result {
    writeln!(f, "digest     {published}")?;
    published
        .sums()
        .iter()
        .try_for_each(|sum| writeln!(f, "           {sum}"))
}

fn target(f: &mut Formatter<'_>, target: &PlannedTarget) -> fmt::Result {
    writeln!(
        f,
        "target     {}   {}",
        target.path.display(),
        target.description
    )?;
    for mount in &target.unmount {
        writeln!(f, "           will be unmounted: {}", mount.display())?;
    }
    if target.kind == Kind::NewFile {
        return writeln!(f, "           a new file, {} bytes", target.size.grouped());
    }
    if target.now.is_empty() {
        return writeln!(
            f,
            "           holds nothing that is known; all of it will be lost"
        );
    }
    writeln!(f, "           all that is on it now will be lost:")?;
    target
        .now
        .iter()
        .try_for_each(|line| writeln!(f, "             {line}"))
}

fn changes(f: &mut Formatter<'_>, plan: &Plan) -> fmt::Result {
    if plan.patches.is_empty() {
        return writeln!(f, "changes    none: the image is written byte for byte");
    }
    writeln!(
        f,
        "changes    {} ranges of the image, {} bytes, will differ on the stick:",
        plan.patches.len(),
        plan.changed().grouped()
    )?;
    for patch in &plan.patches {
        writeln!(
            f,
            "           at {:>13}  {:>5} bytes  {}",
            patch.at.grouped(),
            patch.before.len(),
            patch.why
        )?;
        writeln!(f, "             {}", brief(patch))?;
    }
    for behind in &plan.behind {
        writeln!(
            f,
            "           at {:>13}  {:>5} bytes  {} (behind the image)",
            behind.at.grouped(),
            behind.bytes.len(),
            behind.what
        )?;
    }
    Ok(())
}

/// The beginning of a change: as text where both sides are text, else as hex.
fn brief(patch: &Patch) -> String {
    let After::Bytes(after) = &patch.after else {
        return "computed while writing, over the medium as written".into();
    };
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
    };
    let show = |bytes: &[u8]| {
        let cut = &bytes[..bytes.len().min(SHOWN)];
        let mut shown = if text(bytes) {
            format!("{:?}", String::from_utf8_lossy(cut))
        } else {
            hex(cut)
        };
        if bytes.len() > SHOWN {
            shown.push('…');
        }
        shown
    };
    format!("{} -> {}", show(&patch.before), show(after))
}

fn show_record(f: &mut Formatter<'_>, record: &PlannedRecord) -> fmt::Result {
    let place = match record.number {
        Some(number) => format!("partition {number}"),
        None => "in no partition".into(),
    };
    let Extent { at, len } = record.region;
    writeln!(
        f,
        "record     {place}, {} at byte {}: what was written, and a SHA-256 of each MiB, twice",
        len.binary(),
        at.grouped()
    )?;
    writeln!(f, "           the place of both copies is blanked first")
}

fn show_filesystem(f: &mut Formatter<'_>, filesystem: &Filesystem) -> fmt::Result {
    writeln!(
        f,
        "{:<10} partition {}, {} at byte {}: {}",
        filesystem.purpose.to_string(),
        filesystem.number,
        filesystem.extent.len.binary(),
        filesystem.extent.at.grouped(),
        filesystem.describe()
    )?;
    writeln!(
        f,
        "           label {}, UUID {}",
        filesystem.label, filesystem.uuid
    )?;
    if let Some(encryption) = &filesystem.encryption {
        show_encryption(f, encryption)?;
    }
    let made = match filesystem.backing {
        Backing::Loop => "made through a loop device over the partition's place",
        Backing::Scratch if filesystem.encryption.is_some() => {
            "made in a scratch file, then encrypted into its place, all of it"
        }
        Backing::Scratch => "made in a scratch file beside the target, then written into its place",
    };
    let filled = match filesystem.filling {
        Filling::Mkfs => "filled by mkfs",
        Filling::Mount => "filled through a private mount",
    };
    writeln!(f, "           {made}, {filled}")?;
    filesystem
        .tree
        .iter()
        .try_for_each(|entry| show_entry(f, filesystem, entry))
}

/// How it is encrypted, what a guess costs, and what no passphrase means.
fn show_encryption(f: &mut Formatter<'_>, encryption: &Encryption) -> fmt::Result {
    writeln!(
        f,
        "           encrypted: LUKS2, {}, key of 512 bits, UUID {}",
        crate::luks::cipher::NAME,
        encryption.uuid
    )?;
    writeln!(
        f,
        "           trying a passphrase takes {} MiB of memory, {PASSES} times over (argon2id)",
        MEMORY_KIB >> 10
    )?;
    writeln!(
        f,
        "           the passphrase is asked for on the console at each boot; without it, or with a wrong"
    )?;
    writeln!(
        f,
        "           one, /home is the image's own; whoever forgets it has lost what is in it"
    )
}

fn show_sprout(f: &mut Formatter<'_>, sprout: &Sprout) -> fmt::Result {
    let parts = [("seed", &sprout.seed), ("sprout", &sprout.sprout)];
    for (what, part) in parts {
        writeln!(
            f,
            "{what:<10} partition {}, {} at byte {}: btrfs ({}{})",
            part.number,
            part.extent.len.binary(),
            part.extent.at.grouped(),
            sprout.checksum,
            if what == "seed" && sprout.within {
                ""
            } else {
                ", zstd"
            }
        )?;
        writeln!(f, "           label {}", part.label)?;
        if what == "seed" {
            writeln!(f, "           UUID {}", sprout.seed_uuid)?;
        }
        if what == "seed" && sprout.within {
            writeln!(
                f,
                "           the image's own root, where it lies: nothing is copied; read-only for ever"
            )?;
        } else if what == "seed" {
            writeln!(
                f,
                "           the image's root ({}), copied and compared; read-only for ever",
                sprout.source
            )?;
        }
    }
    let home = match &sprout.home {
        Home::Subvolume => "in a subvolume of its own",
        Home::Partition { .. } => "on a partition of its own",
        Home::Root => "in the root",
    };
    writeln!(f, "           every change to the root; /home is {home}")
}

fn show_entry(f: &mut Formatter<'_>, filesystem: &Filesystem, entry: &Entry) -> fmt::Result {
    let subvolume = filesystem.subvolume.as_deref() == Some(entry.path.as_str());
    let what = match &entry.content {
        Content::Directory if subvolume => "subvolume".to_owned(),
        Content::Directory => "directory".into(),
        Content::File { text } => format!("file, {} bytes", text.len()),
        Content::Symlink { target } => format!("link to {target}"),
    };
    let a = &entry.attributes;
    let label = a
        .label()
        .map(|label| format!(", {label}"))
        .unwrap_or_default();
    writeln!(
        f,
        "             /{} ({what}, {:04o} {}:{}{label})",
        entry.path, a.mode, a.uid, a.gid
    )
}

fn boot(f: &mut Formatter<'_>, plan: &Plan) -> fmt::Result {
    let boot = &plan.boot;
    writeln!(f, "boot       {}", boot.firmware.join(" and "))?;
    let all: Vec<&str> = boot
        .arguments
        .iter()
        .chain(&boot.extra)
        .map(String::as_str)
        .collect();
    if !all.is_empty() {
        writeln!(f, "           every live entry gets: {}", all.join(" "))?;
    }
    if !boot.live.is_empty() {
        writeln!(
            f,
            "           entries that start the image's own root get: {}",
            boot.live.join(" ")
        )?;
    }
    if let Some(wait) = boot.pause.describe() {
        writeln!(f, "           the menu {wait}")?;
    }
    if let (Some(root), Some(initrd)) = (&boot.root, &boot.initrd) {
        writeln!(f, "           {root} takes the place of root=live:…")?;
        writeln!(
            f,
            "           {initrd} becomes an initrd with a udev rule for the sprout"
        )?;
        writeln!(
            f,
            "           an entry that checks the medium starts the image's own root, without persistence"
        )?;
    }
    for file in &boot.files {
        writeln!(
            f,
            "           {} ({}): starts '{}' first",
            file.file,
            file.read_by.join(", "),
            file.first
        )?;
        if let Some(without) = &file.without {
            writeln!(f, "             '{without}' starts without persistence")?;
        }
        if let Some(block) = file.moved_to {
            writeln!(
                f,
                "             moved to block {block} of the image, where it has room"
            )?;
        }
        if !file.gave_up.is_empty() {
            let names: Vec<&str> = file.gave_up.iter().map(|gave| gave_up(*gave)).collect();
            writeln!(
                f,
                "             made to fit by giving up {}",
                names.join(", ")
            )?;
        }
    }
    let check = match boot.media_check {
        MediaCheck::None => return Ok(()),
        MediaCheck::Kept => "passes as published",
        MediaCheck::Reimplanted => "is computed again for the stick as written",
    };
    writeln!(f, "           the media check {check}")
}

fn gave_up(what: Reclaimed) -> &'static str {
    match what {
        Reclaimed::Comments => "comments",
        Reclaimed::BlankLines => "blank lines",
        Reclaimed::Indentation => "indentation",
        Reclaimed::Variable => "repetition (the arguments are in a variable)",
        Reclaimed::Classes => "menu icons",
        Reclaimed::Title => "a long title",
    }
}
