// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one read of the image's range: every byte comes from the medium once, and on its way each chunk is digested,
//! each changed range is compared and put back, and the whole gives the image's SHA-256 again.
//!
//! What cannot be read costs only itself: a chunk that fails is read in smaller and smaller pieces, and the rest goes
//! on. How often that is tried is bounded, because a dying stick takes its time for every failure.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;

use anyhow::Context;
use sha2::{Digest, Sha256, Sha512};

use crate::apply::flow::{CHUNK, Stage, Stop, flow};
use crate::diagnosis::kind;
use crate::digest::hex;
use crate::disk::direct::Medium;
use crate::disk::proof::ReadProof;
use crate::image::isomd5::Check;
use crate::patch::lay;
use crate::published::{Algorithm, Sum};
use crate::read::{ReadAt, ReadError, Source};
use crate::record::{self, Change, Record, Sha256Sum, tree};
use crate::units::{Bytes, Extent, MIB};
use crate::verify::subject::Subject;
use crate::verify::sums::Sums;

/// Chunk digests are taken on at most so many threads.
const THREADS: usize = 4;
/// What a failing chunk is cut into, coarse and fine.
const PIECES: [usize; 2] = [64 << 10, 4 << 10];
/// After so many failed reads chunks are not cut any more.
const FAILURES: usize = 256;
/// So many differing ranges are kept; what comes later is one range with the last.
const MOST: usize = 1024;

/// What belongs in the range.
#[derive(Default)]
pub struct Expected<'a> {
    /// The digest of each chunk; none where there is no record.
    pub chunks: &'a [Sha256Sum],
    /// The ranges that were changed.
    pub changes: &'a [Change],
    /// The image to compare with.
    pub image: Option<&'a File>,
    /// Where the image might end, if that is not known: the digests are noted at each.
    pub ends: Vec<Bytes>,
    /// Whether SHA-512 is taken besides, because that is what was published.
    pub sha512: bool,
    /// The media check implanted in the stick.
    pub media: Option<Check>,
}

impl<'a> Expected<'a> {
    /// What belongs on `subject`.
    pub fn of(subject: &'a Subject, image: Option<&'a Source>, extent: Extent) -> Expected<'a> {
        let record = subject.record.as_ref();
        Expected {
            chunks: record.map_or(&[], |record: &Record| &record.chunks),
            changes: record.map_or(&[], |record: &Record| &record.changes),
            image: image.map(Source::file),
            ends: if record.is_none() {
                subject
                    .ends
                    .iter()
                    .copied()
                    .filter(|end| *end <= extent.end())
                    .collect()
            } else {
                Vec::new()
            },
            sha512: false,
            media: if record.is_none() {
                subject.media_check.clone()
            } else {
                None
            },
        }
    }
}

/// A chunk that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which one.
    pub index: usize,
    /// [`tree::leaf`] of what was read.
    pub leaf: Sha256Sum,
}

/// What the read gave.
#[derive(Debug, Default)]
pub struct Region {
    /// Bytes that the medium gave.
    pub read: Bytes,
    /// Bytes that the kernel says it fetched.
    pub given: Option<Bytes>,
    /// What could not be read, and why.
    pub unreadable: Vec<(Extent, String)>,
    /// Chunks with another digest than recorded, in order.
    pub wrong: Vec<Wrong>,
    /// Ranges that differ from the image, where there is one.
    pub differences: Vec<Extent>,
    /// SHA-256 with every changed range put back.
    pub restored: String,
    /// The same at each possible end, and at the end of the range; and SHA-512 where it was asked for.
    pub at_ends: Vec<(Bytes, Sum)>,
    /// SHA-256 of the image that was compared with.
    pub image: Option<String>,
    /// Whether the implanted media check passes.
    pub media: Option<bool>,
}

/// Reads `extent` of `medium`; `seen` is told of every chunk.
pub fn read(
    medium: &Medium,
    extent: Extent,
    expected: &Expected<'_>,
    cancel: &AtomicBool,
    mut seen: impl FnMut(usize),
) -> Result<Region, Stop> {
    let mut reader = Reader {
        medium,
        size: medium.size(),
        proof: None,
        given: Some(Bytes::ZERO),
        read: Bytes::ZERO,
        failures: 0,
        unreadable: Vec::new(),
    };
    let threads = if expected.chunks.is_empty() {
        0
    } else {
        let cores = available_parallelism().map_or(1, usize::from);
        cores.saturating_sub(1).clamp(1, THREADS)
    };
    let mut wrong: Vec<Vec<Wrong>> = vec![Vec::new(); threads];
    let mut restored = Sums::<Sha256>::new(Algorithm::Sha256, &expected.ends);
    let mut sha512 = expected
        .sha512
        .then(|| Sums::<Sha512>::new(Algorithm::Sha512, &expected.ends));
    let mut media = expected.media.clone();
    let mut differences = Vec::new();
    let mut image_digest = Sha256::new();

    let mut stages: Vec<Stage<'_>> = Vec::new();
    for (thread, wrong) in wrong.iter_mut().enumerate() {
        stages.push(Box::new(move |at, bytes| {
            digest(at, bytes, expected.chunks, thread, threads, wrong);
            Ok(())
        }));
    }
    let with_media = media.is_some();
    if let Some(media) = &mut media {
        stages.push(Box::new(|at, bytes| {
            media.update(at, bytes);
            Ok(())
        }));
    }
    stages.push(Box::new(|at, bytes| {
        for change in expected.changes {
            lay(bytes, at, change.at, &change.before);
        }
        restored.update(at, bytes);
        Ok(())
    }));
    if let Some(sha512) = &mut sha512 {
        // Behind the stage that puts the changed ranges back.
        stages.push(Box::new(|at, bytes| {
            sha512.update(at, bytes);
            Ok(())
        }));
    }
    if let Some(image) = expected.image {
        stages.push(against(image, &mut image_digest, &mut differences));
    }
    let take = |_, _: &mut crate::disk::buffer::Buffer, len| {
        seen(len);
        Ok(())
    };
    flow(
        extent,
        |at, bytes| {
            reader.fill(at, bytes);
            Ok(())
        },
        stages,
        take,
        cancel,
    )?;

    let mut wrong: Vec<Wrong> = wrong.into_iter().flatten().collect();
    wrong.sort_unstable_by_key(|wrong| wrong.index);
    let mut at_ends = restored.finish(extent.end());
    let whole = at_ends.last().map(|(_, sum)| hex(&sum.value));
    at_ends.extend(
        sha512
            .into_iter()
            .flat_map(|sums| sums.finish(extent.end())),
    );
    Ok(Region {
        read: reader.read,
        given: reader.given,
        unreadable: reader.unreadable,
        wrong,
        differences,
        restored: whole.unwrap_or_default(),
        at_ends,
        image: expected.image.map(|_| hex(&image_digest.finalize())),
        media: if with_media {
            media.map(Check::passes)
        } else {
            None
        },
    })
}

/// Reads the image, for its digest and for what differs from it.
fn against<'a>(
    image: &'a File,
    digest: &'a mut Sha256,
    differences: &'a mut Vec<Extent>,
) -> Stage<'a> {
    let mut own = vec![0; CHUNK];
    Box::new(move |at, bytes| {
        let own = &mut own[..bytes.len()];
        image
            .read_exact_at(own, at.0)
            .with_context(|| format!("reading the image at byte {at}"))?;
        digest.update(&*own);
        if own != bytes {
            add(differences, kind::differences(at, bytes, own));
        }
        Ok(())
    })
}

/// Digests those recorded chunks in `bytes` that are this thread's.
fn digest(
    at: Bytes,
    bytes: &[u8],
    expected: &[Sha256Sum],
    thread: usize,
    threads: usize,
    wrong: &mut Vec<Wrong>,
) {
    let size = record::CHUNK.index().unwrap_or(CHUNK);
    let first = Bytes(at.0 / record::CHUNK.0).index().unwrap_or(usize::MAX);
    for (index, chunk) in (first..).zip(bytes.chunks(size)) {
        if index % threads != thread {
            continue;
        }
        let leaf = tree::leaf(chunk);
        if expected.get(index) != Some(&leaf) {
            wrong.push(Wrong { index, leaf });
        }
    }
}

/// Adds ranges, joining those that adjoin.
fn add(all: &mut Vec<Extent>, more: Vec<Extent>) {
    for extent in more {
        let full = all.len() >= MOST;
        match all.last_mut() {
            Some(last) if full || last.end() == extent.at => {
                last.len = extent.end() - last.at;
            }
            _ => all.push(extent),
        }
    }
}

/// Reads the medium, whatever happens.
struct Reader<'a> {
    medium: &'a Medium,
    size: Bytes,
    proof: Option<ReadProof>,
    given: Option<Bytes>,
    read: Bytes,
    failures: usize,
    unreadable: Vec<(Extent, String)>,
}

impl Reader<'_> {
    /// Fills `bytes` from the medium; what cannot be read becomes zeros, and is noted.
    fn fill(&mut self, at: Bytes, bytes: &mut [u8]) {
        // The count belongs to the thread that reads, which is this one.
        let medium = self.medium;
        self.proof.get_or_insert_with(|| ReadProof::start(medium));
        let there = (self.size - at)
            .index()
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if there < bytes.len() {
            bytes[there..].fill(0);
            let extent = Extent {
                at: at + Bytes(there as u64),
                len: Bytes((bytes.len() - there) as u64),
            };
            self.note(extent, "the medium ends before it");
        }
        if there > 0 {
            self.piece(at, &mut bytes[..there], &PIECES);
        }
        self.given = self.proof.as_ref().and_then(ReadProof::bytes_from_medium);
    }

    /// Reads a piece; if that fails, in pieces of the next sizes.
    fn piece(&mut self, at: Bytes, bytes: &mut [u8], smaller: &[usize]) {
        let error = match self.medium.read_at(at, bytes) {
            Ok(()) => {
                self.read += Bytes(bytes.len() as u64);
                return;
            }
            Err(error) => error,
        };
        self.failures += 1;
        if let Some((size, smaller)) = smaller.split_first()
            && self.failures < FAILURES
        {
            for (index, piece) in bytes.chunks_mut(*size).enumerate() {
                self.piece(at + Bytes((index * size) as u64), piece, smaller);
            }
            return;
        }
        bytes.fill(0);
        let len = Bytes(bytes.len() as u64);
        let why = std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), ToString::to_string);
        self.note(Extent { at, len }, &why);
    }

    fn note(&mut self, extent: Extent, why: &str) {
        match self.unreadable.last_mut() {
            Some((last, known)) if last.end() == extent.at && known == why => {
                last.len += extent.len;
            }
            _ => self.unreadable.push((extent, why.to_owned())),
        }
    }
}

/// A stick as it should be, as far as that is known: its image's range from the image where there is one, with every
/// changed range as written.
pub struct Meant<'a> {
    /// The stick.
    pub stick: &'a Medium,
    /// The image.
    pub image: Option<&'a Source>,
    /// The ranges that were changed.
    pub changes: &'a [Change],
}

impl ReadAt for Meant<'_> {
    fn len(&self) -> Bytes {
        ReadAt::len(self.stick)
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        let end = at + Bytes(buf.len() as u64);
        match self.image {
            Some(image) if end <= ReadAt::len(image) => image.read_exact_at(at, buf)?,
            _ => self.stick.read_exact_at(at, buf)?,
        }
        for change in self.changes {
            lay(buf, at, change.at, &change.after);
        }
        Ok(())
    }
}

/// A chunk as it should be, from the image or from the record; `None` where neither tells.
pub fn right(
    index: usize,
    found: &[u8],
    record: &Record,
    image: Option<&Source>,
) -> Option<Vec<u8>> {
    let extent = record.chunk(index);
    let expected = record.chunks.get(index)?;
    let mut candidates = Vec::new();
    if let Some(image) = image {
        candidates.push(image.read_vec(extent.at, extent.len.index()?).ok()?);
    }
    candidates.push(found.to_vec());
    candidates.into_iter().find_map(|mut bytes| {
        for change in &record.changes {
            lay(&mut bytes, extent.at, change.at, &change.after);
        }
        (tree::leaf(&bytes) == *expected).then_some(bytes)
    })
}

const _: () = assert!((CHUNK as u64).is_multiple_of(MIB) && record::CHUNK.0 == MIB);
