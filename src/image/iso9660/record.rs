// SPDX-License-Identifier: MIT OR Apache-2.0
//! One directory record, and the System Use entries behind its name.
//!
//! Source: ECMA-119, 9.1; SUSP (IEEE P1281 draft 1.12), section 5; RRIP (IEEE P1282 draft 1.12), section 4.1; zisofs
//! ("ZF") as in libisofs, `doc/zisofs_format.txt`.

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

#[cfg(test)]
use super::be32;
use super::{BLOCK, le32};

/// The bytes of a directory record that lies whole in a directory.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a>(&'a [u8]);

/// The directory bit of the file flags (9.1.6).
const DIRECTORY: u8 = 0x02;
const ASSOCIATED: u8 = 0x04;
const CONTINUES: u8 = 0x80;
/// Fixed part of a record, up to and without the identifier.
const FIXED: usize = 33;
/// Continuation areas followed for one record.
const MAX_CONTINUATIONS: usize = 8;
/// Longest name kept; Linux ends names at 255 bytes.
const MAX_NAME: usize = 1024;

/// What lies at a place in a directory.
pub(super) enum Step<'a> {
    /// A record, and where the next one may be.
    Record(Raw<'a>, usize),
    /// Nothing more in this block.
    NextBlock(usize),
    /// Something that is no record: the rest of the block is lost.
    Broken(&'static str, usize),
    End,
}

/// Looks at `offset` of a directory's bytes. Always advances.
pub(super) fn step(directory: &[u8], offset: usize) -> Step<'_> {
    let Some(len) = directory.get(offset).copied().map(usize::from) else {
        return Step::End;
    };
    let next_block = (offset / 2048 + 1) * 2048;
    // 6.8.1.1: no record crosses the end of a block; the rest of the block is zero.
    if len == 0 {
        return Step::NextBlock(next_block);
    }
    let end = offset + len;
    let bytes = directory
        .get(offset..end.min(next_block))
        .unwrap_or_default();
    if bytes.len() < len {
        return Step::Broken("it runs over the end of its block", next_block);
    }
    if len <= FIXED || FIXED + usize::from(bytes[32]) > len || bytes[32] == 0 {
        return Step::Broken("its name does not fit in it", next_block);
    }
    Step::Record(Raw(bytes), end)
}

impl<'a> Raw<'a> {
    /// What it points to: little-endian halves, as Linux and GRUB read them.
    pub fn extent(self, base: Bytes) -> Extent {
        // 9.1.2: an extended attribute record comes first and is no part of the data.
        let skip = Bytes(u64::from(self.0[1]) * BLOCK);
        Extent {
            at: base + Block(le32(self.0, 2)).bytes() + skip,
            len: Bytes(u64::from(le32(self.0, 10))),
        }
    }

    /// Whether the data cannot be found by start and length alone: extended attributes or interleaving (9.1.7).
    pub fn is_odd(self) -> bool {
        self.0[1] != 0 || self.0[26] != 0 || self.0[27] != 0
    }

    pub fn is_directory(self) -> bool {
        self.0[25] & DIRECTORY != 0
    }

    pub fn is_associated(self) -> bool {
        self.0[25] & ASSOCIATED != 0
    }

    /// Whether the file goes on in the next record.
    pub fn continues(self) -> bool {
        self.0[25] & CONTINUES != 0
    }

    pub fn identifier(self) -> &'a [u8] {
        &self.0[FIXED..FIXED + usize::from(self.0[32])]
    }

    /// The directory itself.
    pub fn is_self(self) -> bool {
        self.identifier() == [0]
    }

    /// The directory above.
    pub fn is_parent(self) -> bool {
        self.identifier() == [1]
    }

    /// The System Use field: behind the identifier and its padding byte.
    pub fn system_use(self) -> &'a [u8] {
        let used = FIXED + usize::from(self.0[32]);
        self.0
            .get(used + usize::from(used % 2 == 1)..)
            .unwrap_or_default()
    }

    /// The name without Rock Ridge's help.
    pub fn plain_name(self, joliet: bool) -> String {
        let name = if joliet {
            let units: Vec<u16> = self
                .identifier()
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        } else {
            String::from_utf8_lossy(self.identifier()).into_owned()
        };
        if self.is_directory() {
            return name;
        }
        // 7.5.1: name, '.', extension, ';', version.
        let unversioned = match name.rsplit_once(';') {
            Some((front, version)) if version.bytes().all(|digit| digit.is_ascii_digit()) => front,
            _ => &name,
        };
        let bare = if joliet {
            unversioned
        } else {
            unversioned.strip_suffix('.').unwrap_or(unversioned)
        };
        bare.to_owned()
    }
}

/// What the System Use entries of one record say, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct SystemUse {
    /// Rock Ridge's name (NM).
    pub name: Option<String>,
    /// Bytes to skip in every System Use field (SP, in the root's first record only).
    pub skip: Option<usize>,
    /// It stands for a directory that was moved here (CL).
    pub child: Option<u32>,
    /// It is the directory's false place (RE).
    pub relocated: bool,
    /// A symbolic link (SL).
    pub link: bool,
    /// Its data are compressed (ZF).
    pub compressed: bool,
    /// The continuation areas that were read.
    pub areas: Vec<Extent>,
    /// What could not be followed.
    pub flaw: Option<&'static str>,
}

impl SystemUse {
    /// Reads the entries in `field` and its continuation areas.
    pub fn read(image: &dyn ReadAt, base: Bytes, field: &[u8]) -> Result<SystemUse, ReadError> {
        let mut found = SystemUse::default();
        let mut name = Vec::new();
        let mut next = found.entries(base, field, &mut name);
        while let Some(area) = next {
            let fits = area.end() <= image.len() && area.len.0 <= 2 * BLOCK;
            if found.areas.len() == MAX_CONTINUATIONS || found.areas.contains(&area) || !fits {
                found.flaw = Some(
                    "its continuation area loops, is too long or lies beyond the end of the image",
                );
                break;
            }
            let bytes = image.read_vec(area.at, area.len.index().unwrap_or(0))?;
            found.areas.push(area);
            next = found.entries(base, &bytes, &mut name);
        }
        if !name.is_empty() {
            found.name = Some(String::from_utf8_lossy(&name).into_owned());
        }
        Ok(found)
    }

    /// Takes the entries of one area; gives the area that continues it.
    fn entries(&mut self, base: Bytes, mut area: &[u8], name: &mut Vec<u8>) -> Option<Extent> {
        let mut next = None;
        // SUSP 4: signature, length, version; fewer than 4 bytes left are padding.
        while let Some(len) = area.get(2).copied().map(usize::from) {
            let Some(entry) = area.get(..len).filter(|_| len >= 4) else {
                break;
            };
            area = &area[len..];
            match &entry[..2] {
                b"SP" if len >= 7 && entry[4..6] == [0xbe, 0xef] => {
                    self.skip = Some(usize::from(entry[6]));
                }
                b"CE" if len >= 28 => {
                    next = Some(Extent {
                        at: base
                            + Block(le32(entry, 4)).bytes()
                            + Bytes(u64::from(le32(entry, 12))),
                        len: Bytes(u64::from(le32(entry, 20))),
                    });
                }
                // RRIP 4.1.4: flags 2 and 4 stand for "." and "..", which no name here can be.
                b"NM" if len >= 5 && entry[4] & 6 == 0 => {
                    let room = MAX_NAME.saturating_sub(name.len());
                    name.extend(entry[5..].iter().take(room));
                }
                b"CL" if len >= 12 => self.child = Some(le32(entry, 4)),
                b"RE" => self.relocated = true,
                b"SL" => self.link = true,
                b"ZF" => self.compressed = true,
                b"ST" => break,
                _ => {}
            }
        }
        next
    }
}

/// A directory record that names a file: what must change when the file's length or place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the record starts.
    pub at: Bytes,
    /// What its block number counts from: 0, or 32768 in the tree that serves partition 1.
    pub base: Bytes,
    /// What it points to, counted from the start of the image.
    pub extent: Extent,
}

impl Record {
    /// The block number and length fields (9.1.3, 9.1.4) for data at `extent`: 16 bytes, to be written 2 bytes behind
    /// the record's start. `None` when `extent` cannot be expressed.
    pub(super) fn fields(&self, extent: Extent) -> Option<[u8; 16]> {
        let from_base = extent.at.0.checked_sub(self.base.0)?;
        if !from_base.is_multiple_of(BLOCK) {
            return None;
        }
        let block = u32::try_from(from_base / BLOCK).ok()?;
        let len = u32::try_from(extent.len.0).ok()?;
        let mut fields = [0; 16];
        fields[..4].copy_from_slice(&block.to_le_bytes());
        fields[4..8].copy_from_slice(&block.to_be_bytes());
        fields[8..12].copy_from_slice(&len.to_le_bytes());
        fields[12..].copy_from_slice(&len.to_be_bytes());
        Some(fields)
    }

    /// What `image` holds in those fields now; the little-endian halves decide, as everywhere.
    pub(super) fn now(&self, image: &dyn ReadAt) -> Result<Extent, ReadError> {
        let mut fields = [0; 16];
        image.read_exact_at(self.at + Bytes(2), &mut fields)?;
        Ok(Extent {
            at: self.base + Block(le32(&fields, 0)).bytes(),
            len: Bytes(u64::from(le32(&fields, 8))),
        })
    }

    /// Whether the big-endian halves in `image` say the same.
    #[cfg(test)]
    pub(super) fn halves_agree(&self, image: &dyn ReadAt) -> bool {
        let mut fields = [0; 16];
        image.read_exact_at(self.at + Bytes(2), &mut fields).is_ok()
            && le32(&fields, 0) == be32(&fields, 4)
            && le32(&fields, 8) == be32(&fields, 12)
    }
}
