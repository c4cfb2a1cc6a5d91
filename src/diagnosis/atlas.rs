// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies where on a stick: from a range of bytes to names that people know.
//!
//! It is drawn from the stick itself (or from the image, where there is one), which may be damaged: whatever cannot be
//! followed leaves a gap, and [`Atlas::flaws`] says so. Only metadata are read.
//!
//! Sources: UEFI 2.10, 5.2 and 5.3 (MBR, GPT); ECMA-119 by [`crate::image::iso9660`]; FAT by [`crate::boot::fat`].

use crate::boot::fat;
use crate::image::boot_file::Esp;
use crate::image::iso9660::Iso;
use crate::read::{ReadAt, Window};
use crate::record::Record;
use crate::table::{Scheme, Table};
use crate::units::{Bytes, Extent};

/// The part of an ISO 9660 volume that is not its own (ECMA-119, 6.2.1): sixteen blocks.
const SYSTEM_AREA: Bytes = Bytes(32768);

/// A named range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub extent: Extent,
    /// What.
    pub name: String,
}

/// Everything that has a name on a stick.
#[derive(Clone, Debug, Default)]
pub struct Atlas {
    /// Sorted by start.
    places: Vec<Place>,
    partitions: Vec<Place>,
    /// How much of the stick is the image's.
    image: Bytes,
    /// The EFI system partition.
    esp: Option<Extent>,
    /// Why names may be missing.
    flaws: Vec<String>,
}

impl Atlas {
    /// Draws the atlas of `bytes`, a whole stick or an image, of which the first `image` bytes are the image's.
    pub fn draw(bytes: &dyn ReadAt, image: Bytes, record: Option<&Record>) -> Atlas {
        let mut atlas = Atlas {
            image,
            ..Atlas::default()
        };
        let table = match Table::read(bytes) {
            Ok(table) => Some(table),
            Err(error) => {
                atlas.flaws.push(error.to_string());
                None
            }
        };
        atlas.system_area(bytes, table.as_ref(), record);
        let window = Window::new(
            bytes,
            Extent {
                at: Bytes::ZERO,
                len: image,
            },
        );
        match Iso::read(&window) {
            Ok(iso) => atlas.iso(&window, &iso, table.as_ref()),
            Err(error) => {
                atlas.flaws.push(error.to_string());
                // Without a volume the table may still know the system partition.
                let esp = table.as_ref().and_then(Table::esp).map(|esp| esp.extent);
                atlas.system_partition(bytes, esp);
            }
        }
        atlas.behind(table.as_ref(), record);
        atlas
            .places
            .sort_by_key(|place| (place.extent, place.name.clone()));
        atlas.places.dedup();
        atlas
    }

    fn name(&mut self, at: u64, len: u64, name: impl Into<String>) {
        self.place(
            Extent {
                at: Bytes(at),
                len: Bytes(len),
            },
            name,
        );
    }

    fn place(&mut self, extent: Extent, name: impl Into<String>) {
        let name = name.into();
        self.places.push(Place { extent, name });
    }

    /// The first 32 KiB, which are those of partition tables and boot loaders.
    fn system_area(&mut self, bytes: &dyn ReadAt, table: Option<&Table>, record: Option<&Record>) {
        self.name(0, 440, "the boot code of the MBR");
        self.name(440, 6, "the disk signature of the MBR");
        self.name(446, 64, "the partition records of the MBR");
        self.name(510, 2, "the signature of the MBR");
        let header = bytes.read_vec(Bytes(512), 512).unwrap_or_default();
        let backup = record.is_some_and(|record| !record.kept.is_empty());
        let gpt = table.and_then(|table| table.gpt.as_ref());
        if gpt.is_some() || backup || header.starts_with(b"EFI PART") {
            self.name(512, 512, "the header of the GPT");
            // Where a damaged header says nothing, the usual place (UEFI 2.10, 5.3.2).
            let (at, len) = gpt.map_or((1024, 16384), |gpt| {
                (gpt.array.bytes().0, u64::from(gpt.entries) * 128)
            });
            self.name(at, len, "the entries of the GPT");
        }
        if let Some(apm) = table.and_then(|table| table.apm) {
            self.place(apm.extent(), "the Apple partition map");
        }
        self.place(
            Extent {
                at: Bytes(512),
                len: SYSTEM_AREA - Bytes(512),
            },
            "the system area of the ISO",
        );
    }

    fn iso(&mut self, bytes: &dyn ReadAt, iso: &Iso, table: Option<&Table>) {
        for flaw in iso.flaws().iter().take(3) {
            let flaw = format!("{} (at byte {})", flaw.what, flaw.at.grouped());
            self.flaws.push(flaw);
        }
        for directory in iso.directories() {
            self.place(
                directory.extent,
                format!("the directory {}", directory.path),
            );
        }
        let known = |extent: &Extent| iso.directories().iter().any(|d| d.extent == *extent);
        for extent in iso.metadata().iter().filter(|extent| !known(extent)) {
            self.place(*extent, metadata(bytes, *extent));
        }
        if let Some(boot) = iso.boot() {
            self.place(boot.extent, "the boot catalogue");
        }
        let empty = Table {
            scheme: Scheme::None,
            why_none: None,
            partitions: Vec::new(),
            gpt: None,
            mbr: None,
            apm: None,
        };
        let esp = Esp::find(table.unwrap_or(&empty), iso).map(|esp| esp.extent);
        for file in iso.files() {
            for extent in &file.extents {
                // Of the system partition what is in it is named.
                if esp.is_none_or(|esp| !esp.contains(*extent)) {
                    self.place(*extent, file.path.trim_start_matches('/'));
                }
            }
        }
        self.system_partition(bytes, esp);
    }

    fn system_partition(&mut self, bytes: &dyn ReadAt, esp: Option<Extent>) {
        self.esp = esp;
        let Some(esp) = esp else { return };
        let pieces = fat::pieces(&Window::new(bytes, esp));
        if pieces.is_empty() {
            self.place(esp, "the EFI system partition");
        }
        for (extent, name) in pieces {
            let at = esp.at + extent.at;
            let len = extent.len;
            let name = format!("{} (EFI system partition)", name.trim_start_matches('/'));
            self.place(Extent { at, len }, name);
        }
    }

    /// What lies behind the image.
    fn behind(&mut self, table: Option<&Table>, record: Option<&Record>) {
        let partitions = table.map_or(&[][..], |table| table.partitions());
        for partition in partitions {
            let part = record.and_then(|record| {
                record
                    .parts
                    .iter()
                    .find(|part| part.extent == partition.extent)
            });
            let what = match (part, self.esp) {
                (Some(part), _) => format!(" ({})", part.purpose),
                (None, Some(esp)) if esp == partition.extent => " (EFI system partition)".into(),
                _ => String::new(),
            };
            self.partitions.push(Place {
                extent: partition.extent,
                name: format!("partition {}{what}", partition.number),
            });
        }
        let Some(record) = record else { return };
        for part in &record.parts {
            self.place(part.extent, format!("the {} filesystem", part.purpose));
        }
        for kept in &record.kept {
            let len = Bytes(kept.bytes.len() as u64);
            self.place(Extent { at: kept.at, len }, format!("the {}", kept.what));
        }
        self.place(record.region, "the record");
    }

    /// What lies in `extent`, in order; what lies between named things has a name too.
    pub fn places(&self, extent: Extent) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut special = false;
        for place in self
            .places
            .iter()
            .filter(|place| place.extent.overlaps(extent))
        {
            // The system area is what is left of it.
            if place.name == "the system area of the ISO" {
                special = true;
                continue;
            }
            if !names.contains(&place.name) {
                names.push(place.name.clone());
            }
        }
        if special && (names.is_empty() || extent.end() > SYSTEM_AREA) {
            names.push("the system area of the ISO".into());
        }
        if names.is_empty() {
            names.push(self.gap(extent).into());
        }
        names
    }

    fn gap(&self, extent: Extent) -> &'static str {
        let inside = |esp: Extent| esp.overlaps(extent);
        if self.esp.is_some_and(inside) {
            "free space (EFI system partition)"
        } else if extent.at < self.image {
            "between the files of the image"
        } else {
            "behind the image, outside the partitions"
        }
    }

    /// The partition that `extent` lies in (the smallest, as isohybrids have some in each other).
    pub fn partition(&self, extent: Extent) -> Option<String> {
        self.partitions
            .iter()
            .filter(|partition| partition.extent.overlaps(extent))
            .min_by_key(|partition| partition.extent.len)
            .map(|partition| partition.name.clone())
    }

    /// The EFI system partition.
    pub fn esp(&self) -> Option<Extent> {
        self.esp
    }

    /// Why names may be missing.
    pub fn flaws(&self) -> &[String] {
        &self.flaws
    }
}

/// What a range of ISO 9660 metadata is, by its first bytes.
fn metadata(bytes: &dyn ReadAt, extent: Extent) -> String {
    let head = bytes.read_vec(extent.at, 34).unwrap_or_default();
    let byte = |index: usize| head.get(index).copied().unwrap_or(0);
    let set = if extent.at >= Bytes(2 * 32768) {
        " (as seen from partition 1)"
    } else {
        ""
    };
    if extent.len == Bytes(2048) && head.get(1..6) == Some(b"CD001") {
        // ECMA-119, 8.1.1.
        let kind = match byte(0) {
            0 => "the boot record volume descriptor",
            1 => "the primary volume descriptor",
            2 => "a supplementary volume descriptor (Joliet)",
            255 => "the end of the volume descriptors",
            _ => "a volume descriptor",
        };
        return format!("{kind}{set}");
    }
    // A directory begins with a record for itself (ECMA-119, 6.8.2.2); a path table with one for the root (9.4).
    if byte(0) >= 34 && byte(32) == 1 && byte(33) == 0 {
        return "a directory of another tree (Joliet, or as seen from partition 1)".into();
    }
    if byte(0) == 1 && byte(1) == 0 {
        return "a path table".into();
    }
    "a continuation area of directory records".into()
}
