// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edits: a file's new content in its own blocks or in others, and its length and place in every record that names it.
//!
//! Rules: all conditions are looked at before anything is written; the content is written whole blocks, the rest
//! zero, so that nothing of the old text shows behind the new one; both halves of every number are written.

use crate::patch::{Draft, Why};
use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

use super::{BLOCK, File, Iso, Record};

/// Why a file was not edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The new content needs more blocks than the file has.
    #[error("changing {file} in the image: {need} bytes do not fit in its {have}")]
    NoRoom {
        /// The file.
        file: String,
        /// The length of the new content.
        need: Bytes,
        /// The bytes of the file's blocks.
        have: Bytes,
    },
    /// The file cannot be changed at all.
    #[error("changing {file} in the image: {why}")]
    Obstacle {
        /// The file.
        file: String,
        /// What is in the way.
        why: String,
    },
    /// The image could not be read or written to.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Iso {
    /// Whether `len` bytes can replace a file's content where it is.
    pub fn fits(&self, file: &File, len: Bytes) -> bool {
        self.place(file, len).is_ok_and(|place| len <= place.len)
    }

    /// Replaces a file's content where it is, under all its names. `draft` must be of the image that was read; after
    /// a [`relocate`](Iso::relocate) read it again.
    pub fn replace(&self, draft: &mut Draft, file: &File, text: &[u8]) -> Result<(), EditError> {
        let need = Bytes(text.len() as u64);
        let place = self.place(file, need)?;
        if need > place.len {
            return Err(EditError::NoRoom {
                file: file.path.clone(),
                need,
                have: place.len,
            });
        }
        self.write(draft, file, text, place)
    }

    /// Puts a file's new content into the blocks from `to` on, and lets all its names point there. The old blocks
    /// stay as they are. The new ones must be free as [`unclaimed`](Iso::unclaimed) says.
    pub fn relocate(
        &self,
        draft: &mut Draft,
        file: &File,
        to: Block,
        text: &[u8],
    ) -> Result<(), EditError> {
        let need = Bytes(text.len() as u64);
        let old = self.place(file, need)?;
        let place = Extent {
            at: to.bytes(),
            len: need.align_up(Bytes(BLOCK)),
        };
        if self.udf {
            return Err(obstacle(
                file,
                "UDF, which shows the same files, would still show the old content",
            ));
        }
        let claimed = self.claims().iter().any(|claim| claim.overlaps(place));
        if claimed || place.overlaps(old) || place.end() > self.end() {
            let why = format!(
                "the blocks from {to} on belong to something else or lie outside the volume"
            );
            return Err(obstacle(file, &why));
        }
        // Bounded by the length of the text.
        let there = draft.read_vec(place.at, place.len.index().unwrap_or(usize::MAX))?;
        if there.iter().any(|byte| *byte != 0) {
            return Err(obstacle(
                file,
                &format!("the blocks from {to} on are not empty"),
            ));
        }
        self.write(draft, file, text, place)
    }

    /// The file's whole blocks, if it may be changed to `len` bytes.
    fn place(&self, file: &File, len: Bytes) -> Result<Extent, EditError> {
        if let Some(why) = file.obstacle {
            return Err(obstacle(file, why));
        }
        if let Some(flaw) = self.flaws.first() {
            let why = format!(
                "the image's directories are damaged at byte {}: {}",
                flaw.at, flaw.what
            );
            return Err(obstacle(file, &why));
        }
        if self.udf && len != file.size {
            return Err(obstacle(
                file,
                "UDF shows the same files, so its length must stay as it is",
            ));
        }
        if len == Bytes::ZERO {
            return Err(obstacle(file, "it would become empty"));
        }
        let Some(extent) = file.extents.first().copied() else {
            return Err(obstacle(file, "it is empty and has no blocks of its own"));
        };
        let place = Extent {
            at: extent.at,
            len: extent.len.align_up(Bytes(BLOCK)),
        };
        if place.end() > self.size {
            return Err(obstacle(
                file,
                "its last block is not whole; is the download complete?",
            ));
        }
        let others = self
            .data
            .iter()
            .filter(|data| data.extent.at != place.at)
            .map(|data| data.extent);
        if others
            .chain(self.meta.iter().copied())
            .any(|other| other.overlaps(place))
        {
            return Err(obstacle(file, "its blocks belong to something else, too"));
        }
        Ok(place)
    }

    fn write(
        &self,
        draft: &mut Draft,
        file: &File,
        text: &[u8],
        place: Extent,
    ) -> Result<(), EditError> {
        let extent = Extent {
            at: place.at,
            len: Bytes(text.len() as u64),
        };
        let fields = file
            .records
            .iter()
            .map(|record| self.fields(draft, file, record, extent))
            .collect::<Result<Vec<_>, _>>()?;
        let mut whole = text.to_vec();
        whole.resize(place.len.index().unwrap_or(text.len()), 0);
        let name = || file.path.clone();
        draft.write(place.at, &whole, &Why::BootArguments { file: name() })?;
        for (record, fields) in file.records.iter().zip(fields) {
            draft.write(
                record.at + Bytes(2),
                &fields,
                &Why::Directory { file: name() },
            )?;
        }
        Ok(())
    }

    /// The new fields of a record that still points to where it pointed when the image was read.
    fn fields(
        &self,
        draft: &Draft,
        file: &File,
        record: &Record,
        extent: Extent,
    ) -> Result<[u8; 16], EditError> {
        if record.now(draft)?.at != record.extent.at {
            return Err(obstacle(file, "it was moved since the image was read"));
        }
        record
            .fields(extent)
            .filter(|_| extent.end() <= self.size)
            .ok_or_else(|| obstacle(file, "a directory record cannot express its new place"))
    }
}

fn obstacle(file: &File, why: &str) -> EditError {
    EditError::Obstacle {
        file: file.path.clone(),
        why: why.to_owned(),
    }
}
