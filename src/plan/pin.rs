// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which image was meant: pinned when the plan is made, compared before the first write and after the last read.
//!
//! A path says nothing about bytes: a download goes on, a file is replaced by a rename. Device, inode, size and time
//! of change of content tell most of it; that every patch still finds the bytes it replaces tells the rest.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use anyhow::{Context, bail};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::disk::{DevNumber, shown};
use crate::patch::Patch;
use crate::plan::PlannedImage;

/// What tells an image file from every other, and from itself with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The file system that it is on.
    pub dev: DevNumber,
    /// The file.
    pub inode: u64,
    /// When its content changed last (`st_mtim`): seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of that second.
    pub nanoseconds: i64,
}

impl Pin {
    /// The pin of an open file.
    pub fn of(meta: &Metadata) -> Pin {
        Pin {
            dev: DevNumber::from_raw(meta.dev()),
            inode: meta.ino(),
            seconds: meta.mtime(),
            nanoseconds: meta.mtime_nsec(),
        }
    }
}

impl PlannedImage {
    /// Opens the image, if it is still the one that was planned with, and holds what `patches` are to replace.
    pub fn open(&self, patches: &[Patch]) -> anyhow::Result<File> {
        // Not to wait for anybody, should something else be there by now.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
            .open(&self.path)
            .with_context(|| format!("opening the image {}", shown(&self.path)))?;
        self.still(&file)?;
        for patch in patches {
            let mut there = vec![0; patch.before.len()];
            file.read_exact_at(&mut there, patch.at.0)
                .with_context(|| format!("reading the image at byte {}", patch.at))?;
            if there != patch.before {
                bail!(
                    "the image changed at byte {} after the plan was made; plan again",
                    patch.at
                );
            }
        }
        Ok(file)
    }

    /// Whether `file` is what was planned with, unchanged.
    pub fn still(&self, file: &File) -> anyhow::Result<()> {
        let meta = file
            .metadata()
            .with_context(|| format!("looking at the image {}", shown(&self.path)))?;
        if !meta.is_file() || meta.len() != self.size.0 || Pin::of(&meta) != self.pin {
            bail!(
                "the image {} changed after the plan was made; plan again",
                shown(&self.path)
            );
        }
        Ok(())
    }
}
