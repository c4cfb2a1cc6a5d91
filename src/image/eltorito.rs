// SPDX-License-Identifier: MIT OR Apache-2.0
//! El Torito: what firmware boots when the image is a disc, from the boot record and the catalogue it points to.
//!
//! Source: "El Torito" Bootable CD-ROM Format Specification 1.0, sections 2 to 2.6; the EFI platform number is in
//! UEFI 2.10, section 13.3.2.1.
//!
//! Rules: the catalogue is read up to 4 blocks and 64 entries; a catalogue whose validation entry is wrong is no
//! catalogue. What an isohybrid stick boots is in its partition table, not here.

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

/// The firmware an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// x86 BIOS (0).
    Bios,
    /// PowerPC (1).
    PowerPc,
    /// Apple Macintosh (2).
    Mac,
    /// UEFI (0xEF).
    Efi,
    /// Any other number.
    Other(u8),
}

impl From<u8> for Platform {
    fn from(number: u8) -> Platform {
        match number {
            0 => Platform::Bios,
            1 => Platform::PowerPc,
            2 => Platform::Mac,
            0xef => Platform::Efi,
            other => Platform::Other(other),
        }
    }
}

/// One boot image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The firmware it is for.
    pub platform: Platform,
    /// Whether firmware may boot it.
    pub bootable: bool,
    /// Whether it poses as a floppy or a hard disk.
    pub emulated: bool,
    /// Where it starts, and how much of it the catalogue says to load (in steps of 512 bytes). The image itself may
    /// be longer: boot loaders load 4 sectors and fetch the rest, and the count ends at 65535 sectors.
    pub load: Extent,
}

/// The boot catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The bytes it occupies, whole blocks.
    pub extent: Extent,
    /// The boot images, in the catalogue's order.
    pub entries: Vec<Entry>,
}

const ENTRY: usize = 32;
const MAX_BLOCKS: u64 = 4;
const MAX_ENTRIES: usize = 64;

impl Catalogue {
    /// Reads the catalogue that the boot record volume descriptor at `record` points to; `None` when the record is
    /// for another boot system.
    pub fn read(image: &dyn ReadAt, record: Bytes) -> Result<Option<Catalogue>, ReadError> {
        let descriptor = image.read_vec(record, 2048)?;
        // Section 2: type 0, "CD001", version 1, and the boot system identifier padded with zeros.
        if descriptor[..7] != *b"\0CD001\x01"
            || !descriptor[7..].starts_with(b"EL TORITO SPECIFICATION")
        {
            return Ok(None);
        }
        let at = Block(le32(&descriptor, 0x47)).bytes();
        let len = Bytes(MAX_BLOCKS * 2048).min(image.len() - at);
        let bytes = image.read_vec(at, len.index().unwrap_or(0))?;
        let Some(validation) = bytes.get(..ENTRY) else {
            return Err(ReadError::malformed(
                "boot catalogue",
                at,
                "it would lie beyond the end of the image; is the download complete?",
            ));
        };
        // Section 2.1: header 1, key bytes, and all sixteen words add up to zero.
        let sum = validation.chunks_exact(2).fold(0u16, |sum, word| {
            sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
        });
        if validation[0] != 1 || validation[30..] != [0x55, 0xaa] || sum != 0 {
            return Err(ReadError::malformed(
                "boot catalogue",
                at,
                "its validation entry is wrong",
            ));
        }
        let (entries, used) = entries(&bytes, Platform::from(validation[1]));
        let len = Bytes(used as u64).align_up(Bytes(2048));
        Ok(Some(Catalogue {
            extent: Extent { at, len },
            entries,
        }))
    }
}

/// The initial entry and those of all sections, and how many bytes were looked at.
fn entries(bytes: &[u8], first: Platform) -> (Vec<Entry>, usize) {
    let mut found = Vec::new();
    let mut rest = bytes.chunks_exact(ENTRY).skip(1);
    let mut used = ENTRY;
    if let Some(initial) = rest.next() {
        used += ENTRY;
        found.push(entry(initial, first));
    }
    // Section 2.3: a header announces how many entries follow; 0x91 marks the last header.
    let (mut platform, mut left, mut last) = (first, 0u16, false);
    for chunk in rest {
        match chunk[0] {
            // Section 2.5: an extension belongs to the entry before it and is not counted.
            0x44 if left > 0 || used > 2 * ENTRY => {}
            _ if left > 0 && found.len() < MAX_ENTRIES => {
                found.push(entry(chunk, platform));
                left -= 1;
            }
            header @ (0x90 | 0x91) if !last => {
                platform = Platform::from(chunk[1]);
                left = u16::from_le_bytes([chunk[2], chunk[3]]);
                last = header == 0x91;
            }
            _ => break,
        }
        used += ENTRY;
    }
    (found, used)
}

/// Section 2.2 (initial entry) and 2.4 (section entry): the same fields in the same places.
fn entry(chunk: &[u8], platform: Platform) -> Entry {
    Entry {
        platform,
        bootable: chunk[0] == 0x88,
        emulated: chunk[1] & 15 != 0,
        load: Extent {
            at: Block(le32(chunk, 8)).bytes(),
            len: Bytes(u64::from(u16::from_le_bytes([chunk[6], chunk[7]])) * 512),
        },
    }
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        word.copy_from_slice(from);
    }
    u32::from_le_bytes(word)
}
