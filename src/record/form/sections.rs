// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is in the sections of a copy.

use uuid::Uuid;

use super::bytes::Reader;
use super::{FormError, Header, damaged, index};
use crate::record::{
    CHUNK, Change, EspFile, Kept, Origin, OriginStanding, Part, Record, RecordedImage, Sha256Sum,
    tree,
};
use crate::units::Bytes;

/// The tags of the sections, in the order in which they are written.
const TAGS: [&[u8; 4]; 11] = [
    b"TOOL", b"TIME", b"IMAG", b"MEDI", b"CHNG", b"KEPT", b"PART", b"ESPF", b"CHNK", b"ROOT",
    b"MADE",
];

/// The payloads of the sections that are known, in the order of [`TAGS`], in whatever order they stand.
pub(super) fn payloads<'a>(
    body: &'a [u8],
    header: &Header,
) -> Result<[Option<Reader<'a>>; 11], FormError> {
    let mut found = [const { None }; 11];
    let mut all = Reader::new(body, header.header);
    for _ in 0..header.sections {
        let at = all.at;
        let tag: [u8; 4] = all.array()?;
        let len = index(u64::from(all.u32()?));
        let start = all.at;
        let payload = all.take(len)?;
        let padding = all.take(len.next_multiple_of(8) - len)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(damaged(start + len, "a section is not padded with zeros"));
        }
        let Some(place) = TAGS.iter().position(|known| **known == tag) else {
            continue;
        };
        if found[place].replace(Reader::new(payload, start)).is_some() {
            let why = format!("the section {} is there twice", name(tag));
            return Err(damaged(at, why));
        }
    }
    if !all.rest.is_empty() {
        return Err(damaged(all.at, "there is more behind its last section"));
    }
    Ok(found)
}

/// The record in the sections.
pub(super) fn record(body: &[u8], header: &Header) -> Result<Record, FormError> {
    let mut payloads = payloads(body, header)?;
    // What form 1.0 did not have.
    let making = match payloads.last_mut().and_then(Option::take) {
        Some(reader) => reader.whole(Reader::text)?,
        None => String::new(),
    };
    let mut next = payloads.into_iter().zip(TAGS);
    let mut section = || match next.next() {
        Some((Some(reader), _)) => Ok(reader),
        Some((None, tag)) => Err(damaged(
            header.length,
            format!("the section {} is missing", name(*tag)),
        )),
        None => Err(damaged(header.length, "a section is missing")),
    };
    let tool = section()?.whole(Reader::text)?;
    let written = section()?.whole(Reader::u64)?;
    let image = section()?.whole(image)?;
    let (medium, region) = section()?.whole(|r| Ok((Bytes(r.u64()?), r.extent()?)))?;
    let changes = section()?.whole(|r| r.list(20, change))?;
    let kept = section()?.whole(|r| r.list(16, kept))?;
    let parts = section()?.whole(|r| r.list(48, part))?;
    let esp = section()?.whole(|r| r.list(44, esp_file))?;
    let chunks = section()?.whole(|r| {
        if Bytes(u64::from(r.u32()?)) != CHUNK {
            return Err(damaged(r.at - 4, "its chunks are not of 1 MiB"));
        }
        r.list(32, Reader::array)
    })?;
    let root: Sha256Sum = section()?.whole(Reader::array)?;
    if root != tree::root(&chunks) {
        return Err(damaged(header.length, "its root is not that of its chunks"));
    }
    Ok(Record {
        generation: header.generation,
        tool,
        written,
        image,
        medium,
        region,
        changes,
        kept,
        parts,
        making,
        esp,
        chunks,
    })
}

pub(super) fn image(r: &mut Reader<'_>) -> Result<RecordedImage, FormError> {
    let (size, sha256) = (Bytes(r.u64()?), r.array()?);
    let standing = match r.u32()? {
        0 => OriginStanding::None,
        1 => OriginStanding::Listed,
        2 => OriginStanding::Signed,
        _ => {
            let why = "the image's origin has an unknown standing";
            return Err(damaged(r.at - 4, why));
        }
    };
    let (name, label, words) = (r.text()?, r.text()?, r.text()?);
    Ok(RecordedImage {
        name,
        label,
        size,
        sha256,
        origin: Origin { standing, words },
    })
}

pub(super) fn change(r: &mut Reader<'_>) -> Result<Change, FormError> {
    Ok(Change {
        at: Bytes(r.u64()?),
        before: r.bytes()?,
        after: r.bytes()?,
        why: r.text()?,
    })
}

pub(super) fn kept(r: &mut Reader<'_>) -> Result<Kept, FormError> {
    Ok(Kept {
        at: Bytes(r.u64()?),
        bytes: r.bytes()?,
        what: r.text()?,
    })
}

pub(super) fn part(r: &mut Reader<'_>) -> Result<Part, FormError> {
    Ok(Part {
        extent: r.extent()?,
        number: r.u32()?,
        uuid: Uuid::from_bytes(r.array()?),
        purpose: r.text()?,
        kind: r.text()?,
        partuuid: r.text()?,
    })
}

pub(super) fn esp_file(r: &mut Reader<'_>) -> Result<EspFile, FormError> {
    Ok(EspFile {
        size: Bytes(r.u64()?),
        sha256: r.array()?,
        path: r.text()?,
    })
}

pub(super) fn name(tag: [u8; 4]) -> String {
    tag.escape_ascii().to_string()
}
