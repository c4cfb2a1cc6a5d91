// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record as bytes: one copy of it, as it lies on a stick. `livestick-record(5)` says the same for other programs.
//!
//! Rules:
//!
//! * A header of 128 bytes, then sections. All numbers are little endian; nothing is compressed.
//! * The header's digest covers its first 96 bytes, which hold the digest of everything behind its 128: so a copy that
//!   was torn, cut or edited is no record, whatever is in it. A header that grows is covered, too.
//! * What is new in a minor version is a section of its own, and a reader skips sections that it does not know. What
//!   was there keeps its meaning, or the major version grows.
//! * A copy says where it lies, so that bytes that look like a record inside somebody's file are none.
//! * No length is trusted, and what the numbers say is compared: a digest proves that nobody slipped, not that nobody
//!   lied.

mod bytes;
mod sections;
mod sound;

use sha2::{Digest, Sha256};

use bytes::{Reader, Writer};

use crate::record::{CHUNK, OriginStanding, Record, Sha256Sum};
use crate::units::{Bytes, MIB};

/// The first bytes of a copy.
pub const MAGIC: &[u8; 16] = b"LIVESTICK-RECORD";
/// What this program reads and writes.
pub const MAJOR: u16 = 1;
/// What this program writes where there is something to say that 1.0 could not; it reads every minor version of its
/// major one.
pub const MINOR: u16 = 1;
/// How long a header is.
pub const HEADER: usize = 128;
/// A header may grow, to this at most.
const LONGEST_HEADER: usize = 4096;
/// A copy that says it is longer is none: its chunks would be those of an image of 500 GB.
pub const LONGEST: u64 = 16 * MIB;
/// A copy's place is a multiple of this long.
pub const PLACE_GRAIN: Bytes = Bytes::mib(1);

/// Where the fields of the header are.
mod field {
    pub const MAJOR: usize = 16;
    pub const MINOR: usize = 18;
    pub const HEADER: usize = 20;
    pub const GENERATION: usize = 24;
    pub const LENGTH: usize = 32;
    pub const HERE: usize = 40;
    pub const OTHER: usize = 48;
    pub const SECTIONS: usize = 56;
    pub const BODY_DIGEST: usize = 64;
    pub const HEADER_DIGEST: usize = 96;
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// They do not start like one.
    #[error("there is no record")]
    Absent,
    /// The record is of a form that this program does not know.
    #[error(
        "the record was written by a newer livestick (form {major}.{minor}, this one reads {MAJOR}); use that one"
    )]
    NewerVersion {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// It is torn, cut, edited, or contradicts itself.
    #[error("the record is damaged {at} bytes from its start: {why}")]
    Damaged {
        /// Offset from the start of the copy.
        at: Bytes,
        /// What is wrong.
        why: String,
    },
}

/// What the header of a copy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The minor version of the form.
    pub minor: u16,
    /// How long the header is.
    pub header: usize,
    /// The record's generation.
    pub generation: u64,
    /// How long the whole copy is.
    pub length: usize,
    /// Where this copy lies.
    pub here: Bytes,
    /// Where the other one lies.
    pub other: Bytes,
    sections: u32,
    body: Sha256Sum,
}

/// One copy of `record`, to lie at `here` while the other one lies at `other`.
pub fn encode(record: &Record, here: Bytes, other: Bytes) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    let mut sections = 0_u32;
    let mut section = |tag: &[u8; 4], payload: Writer| {
        sections += 1;
        out.extend(tag);
        // A section is far below 4 GiB: what goes in was bounded when it was read.
        out.extend(
            u32::try_from(payload.0.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        out.extend(payload.0);
        out.resize(out.len().next_multiple_of(8), 0);
    };
    let image = &record.image;
    section(b"TOOL", Writer::default().text(&record.tool));
    section(b"TIME", Writer::default().u64(record.written));
    let origin = match image.origin.standing {
        OriginStanding::None => 0,
        OriginStanding::Listed => 1,
        OriginStanding::Signed => 2,
    };
    section(
        b"IMAG",
        Writer::default()
            .u64(image.size.0)
            .raw(&image.sha256)
            .u32(origin)
            .text(&image.name)
            .text(&image.label)
            .text(&image.origin.words),
    );
    section(
        b"MEDI",
        Writer::default().u64(record.medium.0).extent(record.region),
    );
    section(
        b"CHNG",
        Writer::list(&record.changes, |w, change| {
            w.u64(change.at.0)
                .bytes(&change.before)
                .bytes(&change.after)
                .text(&change.why)
        }),
    );
    section(
        b"KEPT",
        Writer::list(&record.kept, |w, kept| {
            w.u64(kept.at.0).bytes(&kept.bytes).text(&kept.what)
        }),
    );
    section(
        b"PART",
        Writer::list(&record.parts, |w, part| {
            w.extent(part.extent)
                .u32(part.number)
                .raw(part.uuid.as_bytes())
                .text(&part.purpose)
                .text(&part.kind)
                .text(&part.partuuid)
        }),
    );
    let minor = if record.making.is_empty() {
        0
    } else {
        section(b"MADE", Writer::default().text(&record.making));
        MINOR
    };
    section(
        b"ESPF",
        Writer::list(&record.esp, |w, file| {
            w.u64(file.size.0).raw(&file.sha256).text(&file.path)
        }),
    );
    let chunk = u32::try_from(CHUNK.0).unwrap_or(u32::MAX);
    section(
        b"CHNK",
        record.chunks.iter().fold(
            Writer::default().u32(chunk).u32(count(record.chunks.len())),
            |w, digest| w.raw(digest),
        ),
    );
    section(b"ROOT", Writer::default().raw(&record.root()));

    let (header, body) = out.split_at_mut(HEADER);
    let length = (HEADER + body.len()) as u64;
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(field::MAJOR, &MAJOR.to_le_bytes());
    put(field::MINOR, &minor.to_le_bytes());
    put(field::HEADER, &count(HEADER).to_le_bytes());
    put(field::GENERATION, &record.generation.to_le_bytes());
    put(field::LENGTH, &length.to_le_bytes());
    put(field::HERE, &here.0.to_le_bytes());
    put(field::OTHER, &other.0.to_le_bytes());
    put(field::SECTIONS, &sections.to_le_bytes());
    put(field::BODY_DIGEST, &Sha256::digest(&*body));
    let seal = Sha256::digest(&header[..field::HEADER_DIGEST]);
    header[field::HEADER_DIGEST..].copy_from_slice(&seal);
    out
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Reads and checks the header at the start of `bytes`, of which it needs [`HEADER`].
pub fn header(bytes: &[u8]) -> Result<Header, FormError> {
    if !bytes.starts_with(MAGIC) {
        return Err(FormError::Absent);
    }
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return Err(damaged(bytes.len(), "it ends inside its header"));
    };
    let mut fields = Reader::new(&head[field::MAJOR..field::HEADER_DIGEST], field::MAJOR);
    let (major, minor) = (fields.u16()?, fields.u16()?);
    let sealed = Sha256::digest(&head[..field::HEADER_DIGEST])[..] == head[field::HEADER_DIGEST..];
    if major > MAJOR {
        // Its header may be sealed in another way, so the seal is not looked at.
        return Err(FormError::NewerVersion { major, minor });
    }
    if !sealed {
        return Err(damaged(0, "the digest of its header is another one"));
    }
    if major != MAJOR {
        return Err(damaged(field::MAJOR, "there is no form of that number"));
    }
    let header = index(u64::from(fields.u32()?));
    let generation = fields.u64()?;
    let length = fields.u64()?;
    let (here, other) = (Bytes(fields.u64()?), Bytes(fields.u64()?));
    let sections = fields.u32()?;
    fields.u32()?;
    let body = fields.array()?;
    if !(HEADER..=LONGEST_HEADER).contains(&header) || !header.is_multiple_of(8) {
        return Err(damaged(
            field::HEADER,
            "its header has an impossible length",
        ));
    }
    if length > LONGEST || length < header as u64 {
        return Err(damaged(field::LENGTH, "it has an impossible length"));
    }
    Ok(Header {
        minor,
        header,
        generation,
        length: index(length),
        here,
        other,
        sections,
        body,
    })
}

/// Reads one copy. What follows it in `bytes` is not looked at.
///
/// Errors: [`FormError`]; never a panic, and no more memory than some times `bytes`.
pub fn decode(bytes: &[u8]) -> Result<(Header, Record), FormError> {
    let header = header(bytes)?;
    let Some(behind) = bytes.get(HEADER..header.length) else {
        return Err(damaged(bytes.len(), "it ends before its length"));
    };
    if Sha256::digest(behind)[..] != header.body {
        let why = "the digest of what follows the header is another one";
        return Err(damaged(HEADER, why));
    }
    let record = sections::record(&bytes[header.header..header.length], &header)?;
    sound::sound(&record, &header)?;
    Ok((header, record))
}

fn damaged(at: usize, why: impl Into<String>) -> FormError {
    FormError::Damaged {
        at: Bytes(at as u64),
        why: why.into(),
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
