// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot configuration files of an image: where they are, in which language, and which of them a loader reads
//! when the image is on a stick.
//!
//! On a stick, BIOS starts GRUB or isolinux, which read their configuration from the ISO 9660 tree. UEFI starts a
//! loader from the EFI system partition; which configuration that loader reads depends on how the firmware came to it:
//!
//! * By a GPT: from the partition, where there is a full menu, or a stub that leads to the ISO tree.
//! * By the El Torito catalogue, which EDK2 looks at before an MBR (`MdeModulePkg/Universal/Disk/PartitionDxe`,
//!   `mPartitionDetectRoutineTable`), so with every isohybrid of the older kind: GRUB then takes the whole medium for
//!   its device (`grub-core/disk/efi/efidisk.c`, `grub_efidisk_get_device_name`) and reads `/EFI/BOOT/grub.cfg` of the
//!   ISO tree. Seen in OVMF.
//!
//! Firmwares differ, so a menu in either place counts as read.

use serde::Serialize;

use crate::boot::{Arguments, esp, grub, isolinux};
use crate::image::eltorito::Platform;
use crate::image::iso9660::Iso;
use crate::read::{ReadAt, ReadError};
use crate::table::Table;
use crate::units::{Bytes, Extent};

/// The language of a boot configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// GRUB 2.
    Grub,
    /// isolinux and syslinux.
    Isolinux,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the ISO 9660 tree.
    Iso,
    /// On the EFI system partition.
    Esp,
}

/// What a file is for on a stick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "of")]
pub enum Role {
    /// A menu that firmware of this kind comes to.
    Menu(Vec<String>),
    /// It only leads to another file.
    Stub(String),
    /// No loader reads it on a stick.
    Unread,
    /// It has no live entry and leads nowhere known.
    Other,
}

/// A boot configuration file.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Its path in its place.
    pub file: String,
    /// Where.
    pub place: Place,
    /// Which language.
    pub loader: Loader,
    /// What for.
    pub role: Role,
    /// Its size.
    pub size: Bytes,
    /// Its bytes, in the ISO tree.
    pub extent: Option<Extent>,
    /// Where the directory records that name it start, in the ISO trees.
    pub records: Vec<Bytes>,
    /// How much longer it could get in its place, in the ISO tree.
    pub slack: Option<Bytes>,
    /// How many of its entries start the live system.
    pub live_entries: usize,
    /// Its text.
    #[serde(skip)]
    pub text: String,
}

impl Config {
    /// Whether a loader reads its live entries when the image is on a stick.
    pub fn is_read(&self) -> bool {
        matches!(self.role, Role::Menu(_))
    }

    /// How it is called in plans and messages.
    pub fn name(&self) -> String {
        match self.place {
            Place::Iso => self.file.clone(),
            Place::Esp => format!("{} on the EFI system partition", self.file),
        }
    }
}

/// The EFI system partition of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Esp {
    /// Its bytes.
    pub extent: Extent,
    /// The number of its partition, where it has one.
    pub partition: Option<u32>,
    /// The file of the ISO tree that it is, where it is one.
    pub file: Option<String>,
}

impl Esp {
    /// The one that the partition table names; else the one in the boot catalogue.
    pub fn find(table: &Table, iso: &Iso) -> Option<Esp> {
        let of_file = |at: Bytes| iso.owner(at).map(|file| (file.path.clone(), file.size));
        if let Some(partition) = table.esp() {
            let file = of_file(partition.extent.at).map(|(path, _)| path);
            return Some(Esp {
                extent: partition.extent,
                partition: Some(partition.number),
                file,
            });
        }
        let entry = iso
            .boot()?
            .entries
            .iter()
            .find(|entry| entry.platform == Platform::Efi)?;
        let (path, size) = of_file(entry.load.at)?;
        Some(Esp {
            extent: Extent {
                at: entry.load.at,
                len: size,
            },
            partition: None,
            file: Some(path),
        })
    }
}

/// Where the loaders of live images look.
const IN_ISO: [(&str, Loader); 7] = [
    ("/boot/grub2/grub.cfg", Loader::Grub),
    ("/boot/grub/grub.cfg", Loader::Grub),
    ("/isolinux/isolinux.cfg", Loader::Isolinux),
    ("/boot/isolinux/isolinux.cfg", Loader::Isolinux),
    ("/syslinux/syslinux.cfg", Loader::Isolinux),
    ("/boot/syslinux/syslinux.cfg", Loader::Isolinux),
    ("/EFI/BOOT/grub.cfg", Loader::Grub),
];

/// The most that is read of one.
const LIMIT: Bytes = Bytes::mib(1);

/// The boot configurations in the ISO tree.
pub fn in_iso(iso: &Iso, source: &dyn ReadAt) -> Result<Vec<Config>, ReadError> {
    let mut found = Vec::new();
    for (path, loader) in IN_ISO {
        let Some(file) = iso.file(path) else { continue };
        let text = iso.contents(source, file, LIMIT)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let room = file.size.align_up(Bytes(2048));
        found.push(Config {
            file: file.path.clone(),
            place: Place::Iso,
            loader,
            role: Role::Other,
            size: file.size,
            extent: file.extents.first().copied(),
            records: file.records.iter().map(|record| record.at).collect(),
            slack: Some(room - file.size),
            live_entries: live_entries(loader, &text),
            text,
        });
    }
    Ok(found)
}

/// The boot configurations on the EFI system partition.
pub fn in_esp(esp: &Esp, source: &dyn ReadAt) -> Result<Vec<Config>, String> {
    let files = esp::read(source, esp.extent).map_err(|error| error.to_string())?;
    let configs = files.into_iter().map(|file| {
        let text = String::from_utf8_lossy(&file.text).into_owned();
        Config {
            live_entries: live_entries(Loader::Grub, &text),
            size: Bytes(file.text.len() as u64),
            file: file.path,
            place: Place::Esp,
            loader: Loader::Grub,
            role: Role::Other,
            extent: None,
            records: Vec::new(),
            slack: None,
            text,
        }
    });
    Ok(configs.collect())
}

fn live_entries(loader: Loader, text: &str) -> usize {
    let (nothing, anything) = (Arguments::default(), Bytes(u64::MAX));
    let edited = match loader {
        Loader::Grub => grub::edit(text, &nothing, anything),
        Loader::Isolinux => isolinux::edit(text, &nothing, anything),
    };
    edited.map_or(0, |edited| edited.entries.len())
}

/// Decides what each file is for when the image is on a stick.
pub fn judge(configs: &mut [Config], bios: bool, uefi: bool) {
    let menu_on_esp = configs
        .iter()
        .any(|c| c.place == Place::Esp && c.live_entries > 0);
    for config in configs {
        let for_uefi =
            config.place == Place::Esp || config.file.to_ascii_uppercase().starts_with("/EFI/");
        let mut by = Vec::new();
        if bios && !for_uefi {
            by.push("BIOS".to_owned());
        }
        // GRUB of the ESP comes to the ISO's own configuration by way of a stub, if it has no menu there.
        if uefi && config.loader == Loader::Grub && (for_uefi || !menu_on_esp) {
            by.push("UEFI".to_owned());
        }
        config.role = if by.is_empty() {
            Role::Unread
        } else if config.live_entries > 0 {
            Role::Menu(by)
        } else {
            grub::stub_target(&config.text).map_or(Role::Other, |stub| Role::Stub(stub.path))
        };
    }
}
