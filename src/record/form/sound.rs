// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether what a record says goes together: a digest proves that nobody slipped, not that nobody lied.

use super::{FormError, Header, LONGEST, PLACE_GRAIN, damaged, index};
use crate::record::{CHUNK, REGION_GRAIN, Record};
use crate::units::{Bytes, Extent};

/// Whether the numbers go together.
pub(super) fn sound(record: &Record, header: &Header) -> Result<(), FormError> {
    let wrong = |why: &str| Err(damaged(header.header, why));
    let size = record.image.size;
    let inside = |at: Bytes, len: usize, end: Bytes| {
        let last = at.checked_add(Bytes(len as u64));
        last.is_some_and(|last| last <= end)
    };
    if size == Bytes::ZERO {
        return wrong("its image is empty");
    }
    if record.chunks.len() as u64 != size.0.div_ceil(CHUNK.0) {
        return wrong("it does not have as many chunks as the image");
    }
    let mut free = Bytes::ZERO;
    for change in &record.changes {
        if change.before.len() != change.after.len() || change.before.is_empty() {
            return wrong("a changed range is not as long as before");
        }
        if change.at < free || !inside(change.at, change.before.len(), size) {
            return wrong("a changed range is not in its order, or not inside the image");
        }
        free = change.at + Bytes(change.before.len() as u64);
    }
    let region = record.region;
    let place = Bytes(region.len.0 / 2);
    if region.at < size
        || !region.at.0.is_multiple_of(REGION_GRAIN.0)
        || !region.len.0.is_multiple_of(2 * PLACE_GRAIN.0)
        || place < Bytes(header.length as u64)
        || place.0 > LONGEST
        || !inside(region.at, index(region.len.0), record.medium)
    {
        return wrong("its region cannot be where it says");
    }
    let copies = [region.at, region.at + place];
    if header.here == header.other
        || !copies.contains(&header.here)
        || !copies.contains(&header.other)
    {
        return wrong("its copies are not in its region");
    }
    for kept in &record.kept {
        let (at, len) = (kept.at, Bytes(kept.bytes.len() as u64));
        let fits = inside(at, kept.bytes.len(), record.medium);
        let kept = Extent { at, len };
        // A repair writes it: never over what somebody saved.
        let of_others = record.parts.iter().map(|part| part.extent);
        let taken = of_others.chain([region]).any(|other| kept.overlaps(other));
        if at < size || !fits || taken {
            return wrong(
                "what the partition table keeps is not behind the image, or in the record's region or a partition",
            );
        }
    }
    for part in &record.parts {
        let extent = part.extent;
        let fits = extent
            .at
            .checked_add(extent.len)
            .is_some_and(|end| end <= record.medium);
        // A seed may be a file of the image.
        let inside = part.purpose == "seed" && fits && extent.end() <= size;
        if (extent.at < size && !inside) || !fits || extent.overlaps(region) {
            return wrong("a partition is not behind the image, or in the record's region");
        }
    }
    Ok(())
}
