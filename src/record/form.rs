// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record as bytes: one copy of it, as it lies on a stick. `livestick-record(5)` says the same for other programs.
//!
//! Rules:
//!
//! * A header of 128 bytes, then sections. All numbers are little endian; nothing is compressed.
//! * The header's digest covers its first 96 bytes, which hold the digest of everything behind it: so a copy that was
//!   torn, cut or edited is no record, whatever is in it.
//! * What is new in a minor version is a section of its own, and a reader skips sections that it does not know. What
//!   was there keeps its meaning, or the major version grows.
//! * A copy says where it lies, so that bytes that look like a record inside somebody's file are none.
//! * No length is trusted, and what the numbers say is compared: a digest proves that nobody slipped, not that nobody
//!   lied.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::field::{Reader, Writer, count, damaged, index};
use crate::record::{
    CHUNK, Change, EspFile, Kept, Origin, OriginStanding, Part, REGION_GRAIN, Record,
    RecordedImage, Sha256Sum, tree,
};
use crate::units::{Bytes, MIB};

/// The first bytes of a copy.
pub const MAGIC: &[u8; 16] = b"LIVESTICK-RECORD";
/// What this program reads and writes.
pub const MAJOR: u16 = 1;
/// What this program writes; it reads every minor version of its major one.
pub const MINOR: u16 = 0;
/// How long a header is.
pub const HEADER: usize = 128;
/// A header may grow, to this at most.
const LONGEST_HEADER: usize = 4096;
/// A copy that says it is longer is none: its chunks would be those of an image of 500 GB.
pub const LONGEST: u64 = 16 * MIB;
/// A copy's place is a multiple of this long.
pub const PLACE_GRAIN: Bytes = Bytes::mib(1);

/// Where the fields of the header are.
mod offset {
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

/// How long a copy of a record will be whose texts and ranges are those of `record` and whose image has that size,
/// rounded up to whole [`PLACE_GRAIN`]s: half of the region.
pub fn place_of(record: &Record) -> Bytes {
    let chunks = record.image.size.0.div_ceil(CHUNK.0);
    let missing = chunks
        .saturating_sub(record.chunks.len() as u64)
        .saturating_mul(32);
    Bytes((encode(record, Bytes::ZERO, Bytes::ZERO).len() as u64).saturating_add(missing))
        .align_up(PLACE_GRAIN)
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
    put(offset::MAJOR, &MAJOR.to_le_bytes());
    put(offset::MINOR, &MINOR.to_le_bytes());
    put(offset::HEADER, &count(HEADER).to_le_bytes());
    put(offset::GENERATION, &record.generation.to_le_bytes());
    put(offset::LENGTH, &length.to_le_bytes());
    put(offset::HERE, &here.0.to_le_bytes());
    put(offset::OTHER, &other.0.to_le_bytes());
    put(offset::SECTIONS, &sections.to_le_bytes());
    put(offset::BODY_DIGEST, &Sha256::digest(&*body));
    let seal = Sha256::digest(&header[..offset::HEADER_DIGEST]);
    header[offset::HEADER_DIGEST..].copy_from_slice(&seal);
    out
}

/// Reads and checks the header at the start of `bytes`, of which it needs [`HEADER`].
pub fn header(bytes: &[u8]) -> Result<Header, FormError> {
    if !bytes.starts_with(MAGIC) {
        return Err(FormError::Absent);
    }
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return Err(damaged(bytes.len(), "it ends inside its header"));
    };
    let mut fields = Reader::new(&head[offset::MAJOR..offset::HEADER_DIGEST], offset::MAJOR);
    let (major, minor) = (fields.u16()?, fields.u16()?);
    let sealed =
        Sha256::digest(&head[..offset::HEADER_DIGEST])[..] == head[offset::HEADER_DIGEST..];
    if major > MAJOR {
        // Its header may be sealed in another way, so the seal is not looked at.
        return Err(FormError::NewerVersion { major, minor });
    }
    if !sealed {
        return Err(damaged(0, "the digest of its header is another one"));
    }
    if major != MAJOR {
        return Err(damaged(offset::MAJOR, "there is no form of that number"));
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
            offset::HEADER,
            "its header has an impossible length",
        ));
    }
    if length > LONGEST || length < header as u64 {
        return Err(damaged(offset::LENGTH, "it has an impossible length"));
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
    let Some(body) = bytes.get(header.header..header.length) else {
        return Err(damaged(bytes.len(), "it ends before its length"));
    };
    if Sha256::digest(body)[..] != header.body {
        let why = "the digest of what follows the header is another one";
        return Err(damaged(header.header, why));
    }
    let record = sections(body, &header)?;
    sound(&record, &header)?;
    Ok((header, record))
}

/// The sections that are known, in whatever order they stand.
fn sections(body: &[u8], header: &Header) -> Result<Record, FormError> {
    const TAGS: [&[u8; 4]; 10] = [
        b"TOOL", b"TIME", b"IMAG", b"MEDI", b"CHNG", b"KEPT", b"PART", b"ESPF", b"CHNK", b"ROOT",
    ];
    let mut found: [Option<Reader<'_>>; 10] = [const { None }; 10];
    let mut all = Reader::new(body, header.header);
    for _ in 0..header.sections {
        let at = all.at;
        let tag: [u8; 4] = all.array()?;
        let len = index(u64::from(all.u32()?));
        let start = all.at;
        let payload = all.take(len)?;
        if all
            .take(len.next_multiple_of(8) - len)?
            .iter()
            .any(|b| *b != 0)
        {
            return Err(damaged(start + len, "a section is not padded with zeros"));
        }
        let Some(place) = TAGS.iter().position(|known| **known == tag) else {
            continue;
        };
        if found[place].replace(Reader::new(payload, start)).is_some() {
            return Err(damaged(
                at,
                format!("the section {} is there twice", name(tag)),
            ));
        }
    }
    if !all.rest.is_empty() {
        return Err(damaged(all.at, "there is more behind its last section"));
    }
    let mut next = found.into_iter().zip(TAGS);
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
        esp,
        chunks,
    })
}

fn image(r: &mut Reader<'_>) -> Result<RecordedImage, FormError> {
    let (size, sha256) = (Bytes(r.u64()?), r.array()?);
    let standing = match r.u32()? {
        0 => OriginStanding::None,
        1 => OriginStanding::Listed,
        2 => OriginStanding::Signed,
        _ => {
            return Err(damaged(
                r.at - 4,
                "the image's origin has an unknown standing",
            ));
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

fn change(r: &mut Reader<'_>) -> Result<Change, FormError> {
    Ok(Change {
        at: Bytes(r.u64()?),
        before: r.bytes()?,
        after: r.bytes()?,
        why: r.text()?,
    })
}

fn kept(r: &mut Reader<'_>) -> Result<Kept, FormError> {
    Ok(Kept {
        at: Bytes(r.u64()?),
        bytes: r.bytes()?,
        what: r.text()?,
    })
}

fn part(r: &mut Reader<'_>) -> Result<Part, FormError> {
    Ok(Part {
        extent: r.extent()?,
        number: r.u32()?,
        uuid: Uuid::from_bytes(r.array()?),
        purpose: r.text()?,
        kind: r.text()?,
        partuuid: r.text()?,
    })
}

fn esp_file(r: &mut Reader<'_>) -> Result<EspFile, FormError> {
    Ok(EspFile {
        size: Bytes(r.u64()?),
        sha256: r.array()?,
        path: r.text()?,
    })
}

fn name(tag: [u8; 4]) -> String {
    tag.escape_ascii().to_string()
}

/// Whether the numbers go together.
fn sound(record: &Record, header: &Header) -> Result<(), FormError> {
    let wrong = |why: &str| Err(damaged(header.header, why));
    let size = record.image.size;
    let inside = |at: Bytes, len: usize, end: Bytes| {
        let last = at.checked_add(Bytes(len as u64));
        last.is_some_and(|last| last <= end)
    };
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
        if kept.at < size || !inside(kept.at, kept.bytes.len(), record.medium) {
            return wrong("what the partition table keeps is not behind the image");
        }
    }
    for part in &record.parts {
        let extent = part.extent;
        let fits = extent
            .at
            .checked_add(extent.len)
            .is_some_and(|end| end <= record.medium);
        if extent.at < size || !fits || extent.overlaps(region) {
            return wrong("a partition is not behind the image, or in the record's region");
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Extent;

    /// A record of an image of `chunks` chunks and some bytes, whose region starts behind it.
    pub fn record(chunks: u64, generation: u64) -> Record {
        let size = Bytes(chunks * MIB - 1000);
        let at = size.align_up(REGION_GRAIN);
        let mut record = Record {
            generation,
            tool: "livestick 0.0".into(),
            written: 1_700_000_000,
            image: RecordedImage {
                name: "live.iso".into(),
                label: "LIVE".into(),
                size,
                sha256: [7; 32],
                origin: Origin {
                    standing: OriginStanding::Signed,
                    words: "published".into(),
                },
            },
            medium: at + Bytes::mib(24),
            region: Extent {
                at,
                len: Bytes::mib(2),
            },
            changes: (1..7)
                .map(|i| Change {
                    at: Bytes(i * 5000),
                    before: vec![1; 3000],
                    after: vec![2; 3000],
                    why: "boot arguments in /EFI/BOOT/grub.cfg".into(),
                })
                .collect(),
            kept: vec![Kept {
                at: at + Bytes::mib(23),
                bytes: vec![3; 248 * 128 + 512],
                what: "backup of the GPT".into(),
            }],
            parts: vec![Part {
                purpose: "overlay".into(),
                number: 5,
                extent: Extent {
                    at: at + Bytes::mib(4),
                    len: Bytes::mib(8),
                },
                kind: "btrfs".into(),
                uuid: Uuid::from_u128(5),
                partuuid: "0-5".into(),
            }],
            esp: (0..20)
                .map(|i| EspFile {
                    path: format!("/EFI/BOOT/fonts/{i}"),
                    size: Bytes(i),
                    sha256: [9; 32],
                })
                .collect(),
            chunks: (0..chunks).map(|i| tree::leaf(&i.to_le_bytes())).collect(),
        };
        record.region.len = Bytes(2 * place_of(&record).0);
        record
    }

    fn copy(record: &Record) -> Vec<u8> {
        let [here, other] = crate::record::place::places(record.region);
        encode(record, here, other)
    }

    /// Makes both digests right, whatever was changed.
    pub fn seal(copy: &mut [u8]) {
        if copy.len() < HEADER {
            return;
        }
        let body = Sha256::digest(&copy[HEADER..]);
        copy[64..96].copy_from_slice(&body);
        let head = Sha256::digest(&copy[..96]);
        copy[96..128].copy_from_slice(&head);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for chunks in [1, 3, 4096] {
            let record = record(chunks, 3);
            assert!(decode(&copy(&record)).unwrap().1 == record);
        }
    }

    #[test]
    fn a_record_of_a_4_gib_image_is_small() {
        let len = copy(&record(4096, 1)).len();
        assert!(len < 200 << 10, "{len}");
    }

    #[test]
    fn the_room_is_known_before_the_digests_are() {
        let whole = record(40_000, 1);
        let mut planned = whole.clone();
        planned.chunks.clear();
        assert_eq!(place_of(&planned), place_of(&whole));
        assert_eq!(place_of(&whole), Bytes::mib(2));
    }

    #[test]
    fn every_byte_counts() {
        let bytes = copy(&record(3, 1));
        for at in (0..bytes.len()).step_by(7).chain(0..HEADER) {
            let mut edited = bytes.clone();
            edited[at] ^= 1;
            assert!(decode(&edited).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_form_is_told_from_damage_and_new_sections_are_skipped() {
        let record = record(3, 1);
        let mut newer = copy(&record);
        newer[16] = 2;
        let error = decode(&newer).unwrap_err();
        assert_eq!(error, FormError::NewerVersion { major: 2, minor: 0 });
        assert!(error.to_string().contains("newer livestick"), "{error}");

        let mut more = copy(&record);
        more[18] = 9;
        more[56] += 1;
        more.extend(*b"NEWS\x03\0\0\0abc\0\0\0\0\0");
        let length = more.len() as u64;
        more[32..40].copy_from_slice(&length.to_le_bytes());
        seal(&mut more);
        assert!(decode(&more).unwrap().1 == record);
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        let cases: [fn(&mut Record); 9] = [
            |r| r.chunks.truncate(2),
            |r| r.changes.reverse(),
            |r| r.changes[0].after.truncate(2),
            |r| r.changes[5].at = Bytes(3 * MIB - 3000),
            |r| r.changes[5].at = Bytes(u64::MAX),
            |r| r.region.at = Bytes::mib(5),
            |r| r.medium = Bytes::mib(4),
            |r| r.kept[0].at = Bytes(u64::MAX),
            |r| r.parts[0].extent = r.region,
        ];
        for (number, wrong) in cases.iter().enumerate() {
            let mut record = record(3, 1);
            wrong(&mut record);
            let error = decode(&copy(&record)).unwrap_err();
            assert!(
                matches!(error, FormError::Damaged { .. }),
                "{number}: {error}"
            );
        }
        let mut elsewhere = encode(&record(3, 1), Bytes::ZERO, Bytes::mib(5));
        seal(&mut elsewhere);
        assert!(decode(&elsewhere).is_err());
    }

    proptest! {
        #[test]
        fn sealed_bytes_never_panic(
            changes in prop::collection::vec((0..1_usize << 16, any::<u8>()), 0..8),
            fields in prop::collection::vec((20..64_usize, any::<u8>()), 0..3),
            rubbish in prop::collection::vec(any::<u8>(), 0..2000),
            cut: prop::sample::Index,
        ) {
            let mut bytes = copy(&record(3, 1));
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at.max(HEADER)] = byte;
            }
            for (at, byte) in fields {
                bytes[at] = byte;
            }
            seal(&mut bytes);
            let _ = decode(&bytes);
            let _ = decode(&bytes[..cut.index(bytes.len())]);
            let mut bytes = [&bytes[..HEADER], &rubbish].concat();
            let length = bytes.len() as u64;
            bytes[32..40].copy_from_slice(&length.to_le_bytes());
            seal(&mut bytes);
            let _ = decode(&bytes);
        }
    }
}
