// SPDX-License-Identifier: MIT OR Apache-2.0
//! The live system inside an image: which family of scripts finds the root image and mounts it at boot.
//!
//! Told by the files an image has and, where two families share those, by what its initrd holds. Sources: the
//! families' own defaults, each named at its variant.

use serde::Serialize;

use crate::image::initrd::Initrd;

/// A family of live systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stack {
    /// dracut's dmsquash-live (`LiveOS/squashfs.img`): Fedora and its remixes.
    DmsquashLive,
    /// kiwi's own kiwi-live, which uses the same files: openSUSE.
    KiwiLive,
    /// Debian's live-boot (`live/filesystem.squashfs`).
    DebianLive,
    /// Ubuntu's casper (`casper/`).
    Casper,
    /// Arch Linux's archiso (`arch/`).
    Archiso,
    /// Alpine's diskless mode (`apks`).
    Alpine,
    /// Slax (`slax/`).
    Slax,
    /// None of these.
    Unknown,
}

impl Stack {
    /// What the files of an image tell: `has` answers whether a path exists.
    pub fn of_files(has: impl Fn(&str) -> bool) -> Stack {
        let table = [
            ("/LiveOS", Stack::DmsquashLive),
            ("/live", Stack::DebianLive),
            ("/casper", Stack::Casper),
            ("/arch", Stack::Archiso),
            ("/apks", Stack::Alpine),
            ("/slax", Stack::Slax),
        ];
        table
            .iter()
            .find(|(path, _)| has(path))
            .map_or(Stack::Unknown, |(_, stack)| *stack)
    }

    /// What is left of that after a look into the initrd.
    #[must_use]
    pub fn refine(self, initrd: &Initrd) -> Stack {
        let has = |module: &str| initrd.modules.contains(module);
        match self {
            Stack::DmsquashLive if has("kiwi-live") && !has("dmsquash-live") => Stack::KiwiLive,
            other => other,
        }
    }

    /// Its name, as in "this is a … image".
    pub fn name(self) -> &'static str {
        match self {
            Stack::DmsquashLive => "dracut dmsquash-live",
            Stack::KiwiLive => "kiwi-live",
            Stack::DebianLive => "Debian live-boot",
            Stack::Casper => "Ubuntu casper",
            Stack::Archiso => "archiso",
            Stack::Alpine => "Alpine diskless",
            Stack::Slax => "Slax",
            Stack::Unknown => "live system of unknown kind",
        }
    }

    /// Whether livestick can make it remember.
    pub fn persists(self) -> bool {
        self == Stack::DmsquashLive
    }
}
