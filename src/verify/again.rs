// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second look at chunks that are wrong: whether they are read the same again, and what is in them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::flow::Stop;
use crate::diagnosis::{Again, Cure, Damage, Kind, kind};
use crate::disk::buffer::Buffer;
use crate::read::{ReadAt, Source};
use crate::record::{self, Record, Sha256Sum, tree};
use crate::units::{Bytes, Extent};
use crate::verify::region::{Region, Wrong, right};
use crate::verify::subject::Subject;

/// So many chunks are read again; a stick with more is not told more about by reading it.
const CHUNKS: usize = 256;

/// What is wrong in the image's range.
pub fn look(
    subject: &Subject,
    image: Option<&Source>,
    region: &Region,
    cancel: &AtomicBool,
) -> Result<Vec<Damage>, Stop> {
    subject.medium.forget();
    let Some(record) = &subject.record else {
        return Ok(without_record(subject, image, region));
    };
    let mut known: HashMap<&Sha256Sum, Bytes> = HashMap::new();
    for (index, leaf) in record.chunks.iter().enumerate().rev() {
        known.insert(leaf, record.chunk(index).at);
    }
    let mut buffer = Buffer::new(record::CHUNK.index().unwrap_or(1 << 20));
    let mut all = Vec::new();
    for (count, wrong) in all_wrong(record, region).iter().enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        let extent = record.chunk(wrong.index);
        let unreadable: Vec<_> = region
            .unreadable
            .iter()
            .filter(|(bad, _)| bad.overlaps(extent))
            .collect();
        let len = extent.len.index().unwrap_or(0).min(buffer.len());
        let found = &mut buffer[..len];
        let again = if count < CHUNKS {
            read(subject, record, wrong, extent, found)
        } else {
            Again::NotRead
        };
        if !unreadable.is_empty() {
            all.extend(unreadable.into_iter().map(|(bad, why)| Damage {
                extent: cut(*bad, extent),
                exact: true,
                kind: Kind::Unreadable { why: why.clone() },
                again,
                ..damage(extent)
            }));
            continue;
        }
        let alone = if again == Again::Same {
            kind::alone(found)
        } else {
            Kind::Other
        };
        // Zeros belong in many places, and are nobody's.
        let kind = match known.get(&wrong.leaf) {
            Some(belongs) if alone == Kind::Other => Kind::Elsewhere { belongs: *belongs },
            _ => alone,
        };
        let whole = Damage {
            kind,
            again,
            ..damage(extent)
        };
        let told = matches!(
            whole.kind,
            Kind::Elsewhere { .. } | Kind::Zeros | Kind::Ones
        );
        let truth = match again {
            Again::Same | Again::Different if !told => right(wrong.index, found, record, image),
            _ => None,
        };
        match truth {
            Some(truth) => all.extend(exact(extent.at, found, &truth, again, Cure::Image)),
            None => all.push(whole),
        }
    }
    Ok(all)
}

/// The wrong chunks, and those that could not be read: in their place are zeros, which may be what belongs there.
pub fn all_wrong(record: &Record, region: &Region) -> Vec<Wrong> {
    let mut all = region.wrong.clone();
    for index in 0..record.chunks.len() {
        let extent = record.chunk(index);
        let unread = region
            .unreadable
            .iter()
            .any(|(bad, _)| bad.overlaps(extent));
        if unread && !all.iter().any(|wrong| wrong.index == index) {
            let leaf = [0; 32];
            all.push(Wrong { index, leaf });
        }
    }
    all.sort_unstable_by_key(|wrong| wrong.index);
    all
}

fn damage(extent: Extent) -> Damage {
    Damage {
        extent,
        exact: false,
        partition: None,
        places: Vec::new(),
        kind: Kind::Other,
        again: Again::NotRead,
        cure: Cure::Image,
    }
}

/// Each range in which `found`, at `at`, is not the `truth`.
pub fn exact(at: Bytes, found: &[u8], truth: &[u8], again: Again, cure: Cure) -> Vec<Damage> {
    let ranges = kind::differences(at, found, truth);
    let index = |place: Bytes| (place - at).index().unwrap_or(0);
    ranges
        .into_iter()
        .map(|extent| {
            let range = index(extent.at)..index(extent.end());
            Damage {
                exact: true,
                kind: kind::against(&found[range.clone()], &truth[range]),
                again,
                cure,
                ..damage(extent)
            }
        })
        .collect()
}

/// The part of `one` that lies in `other`.
fn cut(one: Extent, other: Extent) -> Extent {
    let at = one.at.max(other.at);
    let end = one.end().min(other.end());
    Extent { at, len: end - at }
}

/// Reads a chunk again.
fn read(
    subject: &Subject,
    record: &Record,
    wrong: &Wrong,
    extent: Extent,
    found: &mut [u8],
) -> Again {
    if subject.medium.read_at(extent.at, found).is_err() {
        return Again::Unreadable;
    }
    let leaf = tree::leaf(found);
    if record.chunks.get(wrong.index) == Some(&leaf) {
        Again::Right
    } else if leaf == wrong.leaf {
        Again::Same
    } else {
        Again::Different
    }
}

/// What differs from an image where there is no record: each range on its own.
fn without_record(subject: &Subject, image: Option<&Source>, region: &Region) -> Vec<Damage> {
    let unreadable = region.unreadable.iter().map(|(extent, why)| Damage {
        exact: true,
        kind: Kind::Unreadable { why: why.clone() },
        again: Again::NotRead,
        cure: Cure::None,
        ..damage(*extent)
    });
    let mut all: Vec<Damage> = unreadable.collect();
    let Some(image) = image else { return all };
    for extent in &region.differences {
        if all.iter().any(|known| known.extent.overlaps(*extent)) {
            continue;
        }
        let len = extent.len.min(record::CHUNK).index().unwrap_or(0);
        let there = subject.medium.read_vec(extent.at, len);
        let truth = image.read_vec(extent.at, len);
        let (kind, again) = match (there, truth) {
            (Ok(there), Ok(truth)) if there == truth => (Kind::Other, Again::Right),
            (Ok(there), Ok(truth)) => (kind::against(&there, &truth), Again::Same),
            _ => (Kind::Other, Again::Unreadable),
        };
        all.push(Damage {
            exact: true,
            kind,
            again,
            cure: Cure::None,
            ..damage(*extent)
        });
    }
    all
}
