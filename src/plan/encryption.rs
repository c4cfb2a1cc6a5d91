// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a `/home` is encrypted, as data, and what that takes. The passphrase is no part of a plan.
//!
//! Everything happens in this program and in cryptsetup's, on a file without a name: no device-mapper of the kernel's
//! is needed, so a file is encrypted like a disk, with root or without. What comes out is what `cryptsetup luksFormat`,
//! `mkfs` and dm-crypt would have made of it, and the whole partition is written: what is free in it reads as zeros
//! inside, and outside nobody sees how full it is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::host::Host;
use crate::image::Image;
use crate::plan::filesystem::{Backing, Filling, Making};
use crate::programs::CRYPTSETUP;
use crate::refusal::Refusal;
use crate::request::FsKind;
use crate::units::Bytes;

/// What blkid calls the content of such a partition.
pub const KIND: &str = "crypto_LUKS";
/// What a header and its keyslots take, at most, of a partition (cryptsetup makes it 16 MiB).
pub const HEAD: Bytes = Bytes::mib(16);
/// Memory that trying one passphrase takes, in KiB (argon2id): so much that guessing is dear, and so little that a
/// machine with 1 GiB can open it.
pub const MEMORY_KIB: u32 = 256 << 10;
/// Below this it is not made: what RFC 9106, 4, asks for where memory is scarce. cryptsetup takes less than it is told
/// to on a machine that has less.
pub const LEAST_MEMORY_KIB: u32 = 64 << 10;
/// Passes over that memory.
pub const PASSES: u32 = 4;
/// Threads that may share the work.
pub const LANES: u32 = 4;
/// How a filesystem is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The identifier of the LUKS2 partition.
    pub uuid: Uuid,
}

/// Whether an encrypted `/home` of this image can be made here, and opened there.
pub fn possible(image: &Image, overlay: bool, sprout: bool, host: &Host) -> Result<(), Refusal> {
    let refuse = |why: String, instead: &str| {
        Err(Refusal::Impossible {
            what: "an encrypted /home",
            why,
            instead: instead.into(),
        })
    };
    if sprout {
        return refuse(
            "what asks for the passphrase at boot lies in an overlay, and a sprout has none".into(),
            "use --persistence overlay, or leave out --home-encrypt",
        );
    }
    if !overlay {
        return refuse(
            "what asks for the passphrase at boot lies in the overlay, and none is made".into(),
            "add --overlay-size-mb, or leave out --home-encrypt",
        );
    }
    opened_by(image).or_else(|why| refuse(why, "leave out --home-encrypt"))?;
    need(host)
}

/// Whether the image has what opens an encrypted `/home` when it starts; if not, what is amiss.
pub fn opened_by(image: &Image) -> Result<(), String> {
    let Some(tree) = &image.tree else {
        return Err("the image has no root image that can be read".into());
    };
    if let Some(why) = &tree.unread {
        return Err(format!(
            "it is not known whether the image can open it ({why})"
        ));
    }
    let missing = &tree.unlocking.missing;
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("to open it the image lacks {}", missing.join(", ")))
}

/// Refuses a machine without a cryptsetup that will do.
pub fn need(host: &Host) -> Result<(), Refusal> {
    host.need(CRYPTSETUP.name, CRYPTSETUP.package, "encrypt /home")?;
    host.fit(&CRYPTSETUP).map_err(|unfit| {
        Refusal::Host(format!(
            "encrypting /home: {unfit}; install another one, or leave out --home-encrypt"
        ))
    })?;
    Ok(())
}

/// How an encrypted filesystem is made on this machine: always in a scratch file.
pub fn making(host: &Host) -> Result<Making, Refusal> {
    if !host.user_namespaces {
        return Err(Refusal::Host(
            "the files of a new filesystem have to belong to root, which takes root or user namespaces; run it as root".into(),
        ));
    }
    Ok(Making {
        backing: Backing::Scratch,
        filling: Filling::Mkfs,
        subvolume: None,
        compressed: false,
    })
}

/// The smallest partition for an encrypted filesystem of this kind.
pub fn smallest(kind: FsKind) -> Bytes {
    kind.smallest() + HEAD
}
