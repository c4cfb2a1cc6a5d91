// SPDX-License-Identifier: MIT OR Apache-2.0
//! The implanted media check: isomd5sum's digest of a volume, kept in the volume's own descriptor.
//!
//! Source of every fact here: isomd5sum 1.2.5, `utilities.{h,c}`, `libimplantisomd5.c` and `libcheckisomd5.c`.
//!
//! Rules:
//!
//! * The digest runs from byte 0 to `total`, the primary volume's size less 15 blocks; everything behind is blind.
//! * The 512 bytes of the application use field (byte 883 of the primary volume descriptor at byte 32768) count as
//!   spaces.
//! * The stream is cut into chunks of 32768 bytes. When a chunk *starts* in another fragment (`total / 21` bytes each)
//!   than the last one that was noted, the digest so far, that chunk included, gives three characters.
//! * Other releases divide `offset × 21 / total` instead. The two agree always: a chunk's start is off a boundary by a
//!   multiple of 2048 / 21 bytes, so by nothing or by 97 at least, and rounding the length of a fragment moves the
//!   boundary by less than 20. So a sum from here passes in every release.
//! * Images under about 700 KiB have chunks that skip fragments. What is implanted is what `implantisomd5` implants;
//!   `checkisomd5` refuses it, and so does [`check`].
//!
//! It is no proof against an attacker: MD5, and the sum lies next to what it sums.

use md5::{Digest, Md5};

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

/// Where the sum is implanted: the application use field of the primary volume descriptor at block 16 (ECMA-119,
/// 8.4.32: byte positions 884 to 1395, counted from 1).
pub const FIELD: Extent = Extent {
    at: Bytes(DESCRIPTOR + 883),
    len: Bytes(FIELD_LEN as u64),
};

/// The length of the field.
pub const FIELD_LEN: usize = 512;
/// The primary volume descriptor. isomd5sum reads on when another kind comes first, but then computes a wrong place
/// for it, so only this one can carry a sum.
const DESCRIPTOR: u64 = 32768;
/// The volume space size, big-endian half (ECMA-119, 8.4.8).
const SPACE: u64 = DESCRIPTOR + 84;
const CHUNK: u64 = 32768;
const SKIPPED_BLOCKS: u32 = 15;
const FRAGMENTS: u32 = 20;
const SUMS_LEN: usize = 60;
const NOTICE: &str = "THIS IS NOT THE SAME AS RUNNING MD5SUM ON THIS ISO!!";

/// A sum as it is found in an image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Implanted {
    /// The digest of the whole, 32 hexadecimal digits as implanted.
    pub md5: String,
    /// Blocks at the end of the volume that are not summed; 15 in every image known.
    pub skip_sectors: u32,
    /// The distributor's mark for a released image.
    pub supported: bool,
    /// The characters of all fragments, one after the other; empty when there are none.
    pub fragment_sums: String,
    /// How many fragments; 0 when there are none.
    pub fragment_count: u32,
}

impl Implanted {
    /// Reads the application use field; `None` when it holds no usable sum, as `checkisomd5` judges (the digest and
    /// the number of skipped sectors must be there).
    pub fn parse(app_use: &[u8; FIELD_LEN]) -> Option<Implanted> {
        // `checkisomd5` ends its copy with a NUL.
        let text = &app_use[..FIELD_LEN - 1];
        let md5 = value(text, b"ISO MD5SUM = ")
            .and_then(|rest| rest.get(..32))
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        let skip_sectors = number(text, b"SKIPSECTORS = ")?;
        let sums = value(text, b"FRAGMENT SUMS = ").and_then(|rest| rest.get(..SUMS_LEN));
        let count = number(text, b"FRAGMENT COUNT = ").unwrap_or(FRAGMENTS);
        let divides = (1..=FRAGMENTS * 3).contains(&count) && sums.is_some();
        Some(Implanted {
            md5: String::from_utf8_lossy(md5).into_owned(),
            skip_sectors,
            supported: number(text, b"RHLISOSTATUS=").unwrap_or(0) != 0,
            fragment_sums: String::from_utf8_lossy(sums.unwrap_or_default()).into_owned(),
            fragment_count: if divides { count } else { 0 },
        })
    }
}

/// What follows `key`.
fn value<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(key.len()).position(|window| window == key)?;
    text.get(at + key.len()..)
}

/// The decimal number between `key` and the next semicolon.
fn number(text: &[u8], key: &[u8]) -> Option<u32> {
    let digits = value(text, key)?.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// The running digest, and the fragments it passed.
#[derive(Clone, Debug)]
struct Run {
    /// Where the blind end begins.
    total: u64,
    /// Length of a fragment.
    fragment: u64,
    /// Characters noted per fragment.
    width: usize,
    hash: Md5,
    next: u64,
    noted: u64,
}

impl Run {
    fn new(volume: Block, skipped: u32, fragments: u32) -> Run {
        let total = (volume.bytes() - Bytes(u64::from(skipped) * 2048)).0;
        let width =
            usize::try_from(fragments).map_or(0, |count| SUMS_LEN.checked_div(count).unwrap_or(0));
        Run {
            total,
            fragment: if fragments == 0 {
                0
            } else {
                total / (u64::from(fragments) + 1)
            },
            // A digest has 16 bytes.
            width: width.min(16),
            hash: Md5::new(),
            next: 0,
            noted: 0,
        }
    }

    /// Takes the next bytes; tells `note` of every fragment passed: its number, where the digest stands, and its
    /// characters. Bytes behind `total` are ignored.
    fn update(&mut self, mut bytes: &[u8], mut note: impl FnMut(u64, Bytes, &str)) {
        while !bytes.is_empty() && self.next < self.total {
            let start = self.next - self.next % CHUNK;
            let end = (start + CHUNK).min(self.total);
            // At most 32768, so it is an index.
            let room = usize::try_from(end - self.next).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.sum(now);
            bytes = later;
            if self.next == end {
                self.pass(start, &mut note);
            }
        }
    }

    /// Sums a piece of one chunk, the field as spaces.
    fn sum(&mut self, piece: &[u8]) {
        let here = Extent {
            at: Bytes(self.next),
            len: Bytes(piece.len() as u64),
        };
        self.next = here.end().0;
        if !here.overlaps(FIELD) {
            self.hash.update(piece);
            return;
        }
        let index = |offset: Bytes| (offset - here.at).index().unwrap_or(0).min(piece.len());
        let (from, to) = (index(FIELD.at), index(FIELD.end()));
        self.hash.update(&piece[..from]);
        self.hash
            .update(&[b' '; FIELD_LEN][..(to - from).min(FIELD_LEN)]);
        self.hash.update(&piece[to..]);
    }

    /// The chunk that starts at `start` is complete.
    fn pass(&mut self, start: u64, note: &mut impl FnMut(u64, Bytes, &str)) {
        let Some(current) = start.checked_div(self.fragment) else {
            return;
        };
        if current == self.noted {
            return;
        }
        self.noted = current;
        let digest = self.hash.clone().finalize();
        // printf("%01x"), cut to one character: the high digit, or the only one.
        let digit = |byte: &u8| {
            let nibble = if *byte > 15 { *byte >> 4 } else { *byte };
            char::from_digit(u32::from(nibble), 16).unwrap_or('0')
        };
        let characters: String = digest.iter().take(self.width).map(digit).collect();
        note(current, Bytes(self.next), &characters);
    }

    fn finish(self) -> String {
        self.hash
            .finalize()
            .iter()
            .fold(String::new(), |mut hex, byte| {
                for nibble in [byte >> 4, byte & 15] {
                    hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
                hex
            })
    }
}

/// The sum of a medium, computed while it is written.
#[derive(Clone)]
pub struct MediaSum {
    run: Run,
    supported: bool,
    sums: String,
    broken: bool,
}

impl MediaSum {
    /// For a volume of `volume` blocks (the primary volume descriptor's volume space size), with the distributor's
    /// mark as it was.
    pub fn new(volume: Block, supported: bool) -> MediaSum {
        MediaSum {
            run: Run::new(volume, SKIPPED_BLOCKS, FRAGMENTS),
            supported,
            sums: String::with_capacity(SUMS_LEN),
            broken: false,
        }
    }

    /// Takes the bytes of the medium from `at` on, which must be where the last chunk ended; any size. The bytes of
    /// the field itself are ignored, as is what lies behind the summed part.
    pub fn update(&mut self, at: Bytes, chunk: &[u8]) {
        if self.run.next >= self.run.total {
            return;
        }
        self.broken |= at.0 != self.run.next;
        let sums = &mut self.sums;
        self.run
            .update(chunk, |_, _, characters| sums.push_str(characters));
    }

    /// The field to implant at [`FIELD`]; `None` when a chunk was missing, so that a wrong sum is never implanted.
    pub fn finish(self) -> Option<[u8; FIELD_LEN]> {
        if self.broken || self.run.next < self.run.total {
            return None;
        }
        let text = format!(
            "ISO MD5SUM = {};SKIPSECTORS = {SKIPPED_BLOCKS};RHLISOSTATUS={};FRAGMENT SUMS = {};FRAGMENT COUNT = {FRAGMENTS};{NOTICE}",
            self.run.finish(),
            u8::from(self.supported),
            self.sums,
        );
        let mut field = [b' '; FIELD_LEN];
        field
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(field)
    }
}

/// The media check of an image, while it is read for another purpose.
#[derive(Clone, Debug)]
pub struct Check {
    run: Run,
    broken: bool,
    expected: String,
}

impl Check {
    /// For a volume of `volume` blocks with this sum implanted.
    pub fn new(volume: Block, sum: &Implanted) -> Check {
        Check {
            run: Run::new(volume, sum.skip_sectors, 0),
            broken: false,
            expected: sum.md5.to_ascii_lowercase(),
        }
    }

    /// Takes the bytes of the image from `at` on, as [`MediaSum::update`] does.
    pub fn update(&mut self, at: Bytes, chunk: &[u8]) {
        if self.run.next >= self.run.total {
            return;
        }
        self.broken |= at.0 != self.run.next;
        self.run.update(chunk, |_, _, _| {});
    }

    /// Whether all of the summed part went by and is what was summed.
    pub fn passes(self) -> bool {
        !self.broken && self.run.next >= self.run.total && self.run.finish() == self.expected
    }
}

/// What the media check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image carries no sum.
    Absent,
    /// Every byte that is summed is as it was.
    Pass,
    /// Something differs.
    Fail {
        /// The first range in which something differs (or in which the sum itself is wrong).
        within: Extent,
    },
}

/// Checks an image against the sum implanted in it, as `checkisomd5` does: reads all of it, up to the first fragment
/// that differs.
pub fn check(image: &dyn ReadAt) -> Result<Verdict, ReadError> {
    let mut head = [0; 7];
    image.read_exact_at(Bytes(DESCRIPTOR), &mut head)?;
    if head[..6] != *b"\x01CD001" {
        return Ok(Verdict::Absent);
    }
    let mut field = [0; FIELD_LEN];
    image.read_exact_at(FIELD.at, &mut field)?;
    let Some(sum) = Implanted::parse(&field) else {
        return Ok(Verdict::Absent);
    };
    let mut space = [0; 4];
    image.read_exact_at(Bytes(SPACE), &mut space)?;
    let mut run = Run::new(
        Block(u32::from_be_bytes(space)),
        sum.skip_sectors,
        sum.fragment_count,
    );
    let mut buffer = vec![0; 1 << 20];
    let mut good = Bytes::ZERO;
    while run.next < run.total {
        let at = Bytes(run.next);
        let want = usize::try_from(run.total - run.next)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        image.read_exact_at(at, &mut buffer[..want])?;
        let mut bad = None;
        let width = run.width;
        run.update(&buffer[..want], |fragment, end, characters| {
            let from = usize::try_from(fragment - 1)
                .unwrap_or(usize::MAX)
                .saturating_mul(width);
            let known = sum.fragment_sums.get(from..from.saturating_add(width));
            if known == Some(characters) {
                good = if bad.is_none() { end } else { good };
            } else {
                bad.get_or_insert(end);
            }
        });
        if let Some(end) = bad {
            return Ok(fail(good, end));
        }
    }
    let total = Bytes(run.total);
    Ok(if run.finish().eq_ignore_ascii_case(&sum.md5) {
        Verdict::Pass
    } else {
        fail(good, total)
    })
}

fn fail(from: Bytes, to: Bytes) -> Verdict {
    Verdict::Fail {
        within: Extent {
            at: from,
            len: to - from,
        },
    }
}

#[cfg(test)]
mod tests;
