// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts as text: what `inspect` and `list` print.

use std::fmt::Write;

use serde::Serialize;

use crate::disk::standing::{Protected, Standing};
use crate::disk::{Disk, shown};
use crate::image::Image;
use crate::image::boot_file::Role;
use crate::image::root::RootKind;
use crate::persistence::home;
use crate::plan::sprout;
use crate::plan::target::sizes;
use crate::published::{Comparison, Published};
use crate::refusal::Refusal;
use crate::request::Size;
use crate::table::{Kind, Scheme};

/// An image, what was published of it, and whether it is that.
#[derive(Serialize)]
pub struct Inspected<'a> {
    /// The image.
    #[serde(flatten)]
    pub image: &'a Image,
    /// What was published of it.
    pub published: &'a Published,
    /// Whether it is that.
    pub comparison: &'a Comparison,
}

/// What an image is, and whether it is what was published.
pub fn inspected(inspected: &Inspected<'_>) -> String {
    let mut out = image(inspected.image);
    let mut line = |name: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<11}{text}");
    };
    line("digest", inspected.published.to_string());
    for sum in inspected.published.sums() {
        line("", sum.to_string());
    }
    match inspected.comparison {
        Comparison::Equal if inspected.published.is_signed() => {
            line("", "the image is the published one".into());
        }
        Comparison::Equal => line("", "the image has this digest".into()),
        // The first line has said so.
        Comparison::NotCompared { .. } if inspected.published.sums().is_empty() => {}
        Comparison::NotCompared { why } => line("", format!("not compared: {why}")),
        Comparison::Differs { measured, .. } => {
            for sum in measured {
                line("", format!("the image has another one: {sum}"));
            }
        }
    }
    out
}

/// What an image is.
pub fn image(image: &Image) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<11}{text}");
    };
    volume(image, &mut line);
    table(image, &mut line);
    boot(image, &mut line);
    inside(image, &mut line);
    can(image, &mut line);
    for oddity in &image.oddities {
        line("odd", oddity.clone());
    }
    out
}

/// Takes a name and a text.
type Line<'a> = &'a mut dyn FnMut(&str, String);

fn volume(image: &Image, line: Line<'_>) {
    line(
        "image",
        format!(
            "{}, {} bytes ({})",
            image.name,
            image.size.grouped(),
            image.size.binary()
        ),
    );
    let uuid = image.uuid.as_deref().unwrap_or("none");
    line("volume", format!("'{}', UUID {uuid}", image.label));
    line("live", image.stack.name().to_owned());
    if let Some(name) = image.tree.as_ref().and_then(|tree| tree.name.as_ref()) {
        line("system", name.clone());
    }
    if let Some(root) = &image.root {
        let packed = root
            .compression
            .as_ref()
            .map_or(String::new(), |with| format!(" ({with})"));
        let kind = match &root.kind {
            RootKind::Tree(kind) => format!("{kind}{packed}, the root tree itself"),
            RootKind::Nested { path, inner } => {
                format!("squashfs{packed} that holds {path} ({})", inner.kind)
            }
        };
        line("root", format!("{}: {kind}", root.file.path));
    }
}

fn table(image: &Image, line: Line<'_>) {
    let table = &image.table;
    let scheme = match (table.scheme, &table.gpt) {
        (Scheme::Gpt, Some(gpt)) => {
            format!("GPT with {} entries at sector {}", gpt.entries, gpt.array)
        }
        (Scheme::Gpt, None) => "GPT".into(),
        (Scheme::Mbr, _) => "MBR".into(),
        (Scheme::None, _) => {
            format!(
                "none{}",
                table
                    .why_none
                    .as_ref()
                    .map_or(String::new(), |why| format!(" ({why})"))
            )
        }
    };
    let apm = if table.apm.is_some() {
        ", an Apple partition map beside it"
    } else {
        ""
    };
    line("table", scheme + apm);
    for partition in table.partitions() {
        let kind = match partition.kind {
            Kind::Gpt(guid) => guid.to_string(),
            Kind::Mbr(byte) => format!("type {byte:#04x}"),
        };
        let name = partition.name.as_deref().unwrap_or_default();
        line(
            "",
            format!(
                "{}: at {}, {}, {kind} {name}",
                partition.number,
                partition.extent.at.grouped(),
                partition.extent.len.binary()
            ),
        );
    }
}

fn boot(image: &Image, line: Line<'_>) {
    if let Some(esp) = &image.esp {
        let place = match (&esp.file, esp.partition) {
            (Some(file), _) => format!("the file {file}"),
            (None, Some(number)) => format!("partition {number}"),
            (None, None) => "of the boot catalogue".into(),
        };
        line(
            "ESP",
            format!(
                "{place}, at {}, {}",
                esp.extent.at.grouped(),
                esp.extent.len.binary()
            ),
        );
    }
    for config in &image.configs {
        let role = match &config.role {
            Role::Menu(by) => format!(
                "menu of {} live entries, for {}",
                config.live_entries,
                by.join(" and ")
            ),
            Role::Stub(to) => format!("leads to {to}"),
            Role::Unread => "not read on a stick".into(),
            Role::Other => "no live entry".into(),
        };
        let place = match (config.extent, config.slack) {
            (Some(extent), Some(slack)) => format!(
                ", at {}, {} bytes and {} to spare, {} directory records",
                extent.at.grouped(),
                config.size,
                slack,
                config.records.len()
            ),
            _ => format!(", {} bytes", config.size),
        };
        line("boot", format!("{}: {role}{place}", config.name()));
    }
    if let (Some(kernel), Some(initrd)) = (&image.kernel, &image.initrd) {
        line(
            "kernel",
            format!(
                "{}, initrd {} ({})",
                kernel.path,
                initrd.path,
                initrd.extent.len.binary()
            ),
        );
    }
    line(
        "check",
        match &image.media_check {
            Some(sum) => format!("isomd5sum {}", sum.md5),
            None => "no isomd5sum implanted".into(),
        },
    );
}

/// What the initrd can do.
fn inside(image: &Image, line: Line<'_>) {
    let Some(initrd) = &image.initrd_facts else {
        return;
    };
    let version = |number: Option<u32>| number.map_or("unknown".into(), |n| n.to_string());
    let live: Vec<&str> = initrd
        .modules
        .iter()
        .map(String::as_str)
        .filter(|module| {
            [
                "dmsquash-live",
                "dmsquash-live-autooverlay",
                "kiwi-live",
                "overlayfs",
                "btrfs",
                "crypt",
            ]
            .contains(module)
        })
        .collect();
    line(
        "initrd",
        format!(
            "dracut {}, systemd {}, modules {}",
            version(initrd.dracut),
            version(initrd.systemd),
            live.join(" ")
        ),
    );
    let filesystems: Vec<&str> = initrd.filesystems.iter().map(String::as_str).collect();
    line("", format!("mounts {}", filesystems.join(" ")));
}

/// What can be done with the image.
fn can(image: &Image, line: Line<'_>) {
    if !image.stack.persists() {
        let stack = image.stack.name();
        let text = format!("be written as it is; there is no persistence for {stack} images");
        return line("can", text);
    }
    let Some(initrd) = &image.initrd_facts else {
        return;
    };
    line("can", "be written with a persistent overlay on /".into());
    line("", grow(image));
    let facts = home::Facts {
        overlay: false,
        systemd: initrd.systemd,
        livesys: image.tree.as_ref().is_some_and(|tree| tree.livesys),
        attributes: true,
    };
    let home = match facts.mechanism() {
        Ok(mechanism) => {
            let how = mechanism.describe();
            format!("have a /home of its own, with an overlay or without ({how})")
        }
        Err(why) => format!("have a /home of its own with an overlay, not without ({why})"),
    };
    line("", home);
}

/// What a sprout of the image grows from, or why there can be none.
fn grow(image: &Image) -> String {
    let source = match sprout::source(image) {
        Ok(source) => source,
        Err(refusal) => return grows_not(&refusal),
    };
    match sprout::within(image, &source) {
        Ok(Some(_)) => {
            "grow a btrfs sprout from its own root image, which is copied nowhere".into()
        }
        Ok(None) => match sprout::seed(image, &source).size {
            Size::Fixed(room) => {
                let room = room.binary();
                format!("grow a btrfs sprout from a seed made of its root, in {room} of the stick")
            }
            Size::Rest => "grow a btrfs sprout from a seed made of its root".into(),
        },
        Err(refusal) => grows_not(&refusal),
    }
}

fn grows_not(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Impossible { why, .. } => format!("grow no btrfs sprout ({why})"),
        other => format!("grow no btrfs sprout ({other})"),
    }
}

/// A disk with what may be done to it.
#[derive(Debug, Serialize)]
pub struct Listed {
    #[serde(flatten)]
    disk: Disk,
    #[serde(flatten)]
    standing: Standing,
    id: String,
}

/// The disks, as JSON.
#[derive(Debug, Serialize)]
pub struct DiskList {
    disks: Vec<Listed>,
}

impl DiskList {
    /// Judges each.
    pub fn new(disks: Vec<Disk>) -> DiskList {
        let nobody = Protected::default();
        let listed = |disk: Disk| Listed {
            standing: disk.standing(&nobody),
            id: disk.id(),
            disk,
        };
        DiskList {
            disks: disks.into_iter().map(listed).collect(),
        }
    }
}

/// The disks, as a table.
pub fn disks(disks: &[Disk]) -> String {
    if disks.is_empty() {
        return "no disks were found; plug in a stick and list them again\n".into();
    }
    let nobody = Protected::default();
    let mut out = String::new();
    for disk in disks {
        let verdict = match disk.standing(&nobody) {
            Standing::Stick => "can be written".to_owned(),
            Standing::NeedsAllow(reason) => {
                format!("only with --allow-disk {}: {reason}", disk.id())
            }
            Standing::Never(reasons) => {
                let said: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                format!("cannot be written: {}", said.join(", "))
            }
        };
        let serial = disk
            .serial
            .as_deref()
            .map_or(String::new(), |serial| format!(", serial {serial}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<14} {}, {}, {}{serial}",
            shown(&disk.path).to_string(),
            disk.title(),
            sizes(disk.size),
            disk.bus
        );
        let _ = writeln!(out, "{:<14} {verdict}", "");
    }
    out
}
