// SPDX-License-Identifier: MIT OR Apache-2.0
//! The image on its way to the stick: one pass, with the changes put in as it streams by and its digests taken.
//!
//! The first MiB is not written here. It is what makes a stick bootable, so it is handed back, complete with the
//! media check that is only known at the end, to be written after everything else was read back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::apply::flow::{Stage, Stop, flow};
use crate::digest::hex;
use crate::disk::buffer::Buffer;
use crate::image::isomd5::{Check, MediaSum};
use crate::patch::{After, Patch, lay, part};
use crate::units::{Bytes, Extent, MIB};

/// The part of a stick that is written last.
pub const HEAD: Bytes = Bytes(MIB);

/// What came out of the pass.
pub struct Copied {
    /// SHA-256 of the image file as it was read.
    pub sha256: String,
    /// The first MiB (or less, of a smaller image) as it has to be on the stick.
    pub head: Vec<u8>,
    /// Every changed range with what it has become and what the image has there.
    pub changed: Vec<(Bytes, Vec<u8>, Vec<u8>)>,
}

/// What is to be copied.
pub struct Copy<'a> {
    /// The open image.
    pub image: &'a File,
    /// Its size.
    pub size: Bytes,
    /// The plan's changes, sorted.
    pub patches: &'a [Patch],
    /// The isomd5sum to be computed, where a patch wants one.
    pub media_sum: Option<MediaSum>,
    /// The sum that is replaced by it: a damaged image must not get one that passes.
    pub published: Option<Check>,
}

impl Copy<'_> {
    /// Streams the image; `write` gets everything behind the first MiB, in order.
    pub fn run(
        self,
        write: impl FnMut(Bytes, &mut Buffer, usize) -> anyhow::Result<()>,
        cancel: &AtomicBool,
    ) -> Result<Copied, Stop> {
        let Copy {
            image,
            size,
            patches,
            mut media_sum,
            mut published,
        } = self;
        let fill = |at: Bytes, chunk: &mut [u8]| {
            image
                .read_exact_at(chunk, at.0)
                .with_context(|| format!("reading {} bytes of the image at byte {at}", chunk.len()))
        };
        let mut sha256 = Sha256::new();
        let mut head = vec![0; size.min(HEAD).index().unwrap_or(0)];
        fill(Bytes::ZERO, &mut head)?;
        sha256.update(&head);
        if let Some(check) = &mut published {
            check.update(Bytes::ZERO, &head);
        }
        change(patches, Bytes::ZERO, &mut head)?;
        if let Some(sum) = &mut media_sum {
            sum.update(Bytes::ZERO, &head);
        }

        let mut stages: Vec<Stage<'_>> = Vec::new();
        if let Some(check) = &mut published {
            stages.push(Box::new(|at, chunk| {
                check.update(at, chunk);
                Ok(())
            }));
        }
        stages.push(Box::new(|at, chunk| {
            sha256.update(&*chunk);
            change(patches, at, chunk)
        }));
        if let Some(sum) = &mut media_sum {
            stages.push(Box::new(|at, chunk| {
                sum.update(at, chunk);
                Ok(())
            }));
        }
        let rest = Extent {
            at: HEAD,
            len: size - HEAD,
        };
        flow(rest, fill, stages, write, cancel)?;

        if published.is_some_and(|check| !check.passes()) {
            return Err(Stop::Failed(anyhow::anyhow!(
                "the image is damaged: its bytes do not match the checksum implanted in it; download it again"
            )));
        }
        let check = match media_sum {
            None => None,
            Some(sum) => Some(
                sum.finish()
                    .context("computing the media check: the image ended early")?,
            ),
        };
        let mut changed = Vec::with_capacity(patches.len());
        for patch in patches {
            let after = match (&patch.after, &check) {
                (After::Bytes(after), _) => after.clone(),
                (After::MediaCheck, Some(text)) => text.to_vec(),
                (After::MediaCheck, None) => {
                    return Err(Stop::Failed(anyhow::anyhow!(
                        "the plan has a media check but no sum"
                    )));
                }
            };
            if patch.after == After::MediaCheck {
                lay(&mut head, Bytes::ZERO, patch.at, &after);
            }
            changed.push((patch.at, after, patch.before.clone()));
        }
        Ok(Copied {
            sha256: hex(&sha256.finalize()),
            head,
            changed,
        })
    }
}

/// Puts the changes into a chunk, after a look at whether the image still holds what the plan saw.
fn change(patches: &[Patch], at: Bytes, chunk: &mut [u8]) -> anyhow::Result<()> {
    for patch in patches {
        let Some((index, before)) = part(at, chunk.len(), patch.at, &patch.before) else {
            continue;
        };
        if chunk[index..index + before.len()] != *before {
            bail!(
                "the image changed at byte {} after the plan was made; plan again",
                patch.at
            );
        }
        if let After::Bytes(after) = &patch.after {
            lay(chunk, at, patch.at, after);
        }
    }
    Ok(())
}
