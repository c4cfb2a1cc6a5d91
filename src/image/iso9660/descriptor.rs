// SPDX-License-Identifier: MIT OR Apache-2.0
//! Volume descriptors: what the volume calls itself, how large it is, and where its directory trees begin.
//!
//! Source: ECMA-119 (4th edition), section 8; Joliet Specification (Microsoft, 1995); libblkid of util-linux 2.38 to
//! 2.41, `libblkid/src/superblocks/iso9660.c`, for the label and identifier as the rest of the system sees them.

use crate::read::{ReadAt, ReadError};
use crate::units::{Block, Bytes, Extent};

use super::{BLOCK, be32, le32};

/// What a volume says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The label as blkid prints it and `/dev/disk/by-label` names it: the primary and the Joliet identifier put
    /// together. Empty when there is none.
    pub label: String,
    /// The identifier as blkid prints it ("2026-11-21-00-07-36-00"): the modification date, else the creation date.
    /// `None` when neither is set or the field holds what is not text.
    pub uuid: Option<String>,
    /// The volume space size, from the first block of the medium (or of the partition) on.
    pub space: Block,
    /// Where the primary volume descriptor starts.
    pub pvd: Bytes,
    /// Who published it; may be empty.
    pub publisher: String,
    /// Who prepared it, mostly the name of the mastering program; may be empty.
    pub preparer: String,
    /// The application identifier; may be empty.
    pub application: String,
}

/// How a tree writes its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// As ECMA-119 says, with Rock Ridge's names where they are given.
    Primary,
    /// In big-endian UCS-2.
    Joliet,
}

/// Where a directory tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub names: Names,
    pub extent: Extent,
}

/// A volume descriptor set: one way to see the volume.
#[derive(Debug)]
pub(super) struct Set {
    /// What its block numbers count from.
    pub base: Bytes,
    pub volume: Volume,
    pub roots: Vec<Root>,
    /// The first boot record volume descriptor.
    pub boot_record: Option<Bytes>,
    /// Its descriptors and path tables.
    pub meta: Vec<Extent>,
    /// Whether UDF descriptors follow.
    pub udf: bool,
    /// Whether the two halves of the space size differ.
    pub torn: bool,
}

impl Volume {
    /// Reads no more than the descriptors at the usual place; `None` where there is no volume.
    pub fn read(image: &dyn ReadAt) -> Result<Option<Volume>, ReadError> {
        Ok(Set::read(image, Bytes::ZERO)?.map(|set| set.volume))
    }
}

/// blkid looks at no more; real images have three to five.
const MAX_DESCRIPTORS: u64 = 16;

impl Set {
    /// Reads the descriptors from 32768 bytes behind `base` on; `None` when the first is not one of ECMA-119's or no
    /// primary one is among them.
    pub fn read(image: &dyn ReadAt, base: Bytes) -> Result<Option<Set>, ReadError> {
        let start = base + Bytes(16 * BLOCK);
        let mut primary = None;
        let mut joliet = None;
        let mut set = Set {
            base,
            volume: Volume::default(),
            roots: Vec::new(),
            boot_record: None,
            meta: Vec::new(),
            udf: false,
            torn: false,
        };
        let mut ended = false;
        for number in 0..MAX_DESCRIPTORS {
            let at = start + Bytes(number * BLOCK);
            if at + Bytes(BLOCK) > image.len() {
                break;
            }
            let descriptor = image.read_vec(at, 2048)?;
            match &descriptor[1..6] {
                b"CD001" if !ended => {}
                // ECMA-167, part 2, 8.3: the volume recognition sequence goes on where ECMA-119's ends.
                b"NSR02" | b"NSR03" => set.udf = true,
                b"CD001" | b"BEA01" | b"TEA01" | b"BOOT2" => {}
                _ => break,
            }
            set.meta.push(Extent {
                at,
                len: Bytes(BLOCK),
            });
            if ended || descriptor[1..6] != *b"CD001" {
                continue;
            }
            match descriptor[0] {
                0 if set.boot_record.is_none() => set.boot_record = Some(at),
                1 if primary.is_none() => {
                    set.tree(&descriptor, at, Names::Primary)?;
                    set.torn = le32(&descriptor, 80) != be32(&descriptor, 84);
                    primary = Some((at, descriptor));
                }
                2 => {
                    let names = escapes(&descriptor);
                    set.tree(&descriptor, at, names)?;
                    if names == Names::Joliet && joliet.is_none() {
                        joliet = Some(descriptor);
                    }
                }
                255 => ended = true,
                _ => {}
            }
        }
        let Some((at, primary)) = primary else {
            return Ok(None);
        };
        set.volume = volume(at, &primary, joliet.as_deref());
        Ok(Some(set))
    }

    /// Notes the tree that a primary or supplementary descriptor describes.
    fn tree(&mut self, descriptor: &[u8], at: Bytes, names: Names) -> Result<(), ReadError> {
        let block = u16::from_le_bytes([descriptor[128], descriptor[129]]);
        if u64::from(block) != BLOCK {
            let why = format!("its blocks have {block} bytes; only 2048 are supported");
            return Err(ReadError::malformed("volume descriptor", at, why));
        }
        let place = |block: u32| self.base + Block(block).bytes();
        // 8.4.18: the root directory record is 34 bytes at 156.
        let root = Root {
            names,
            extent: Extent {
                at: place(le32(descriptor, 158)) + Bytes(u64::from(descriptor[157]) * BLOCK),
                len: Bytes(u64::from(le32(descriptor, 166))),
            },
        };
        // 8.4.13 to 8.4.17: size, then type L (little-endian) and type M (big-endian), each with an optional copy.
        let len = Bytes(u64::from(le32(descriptor, 132)));
        let tables = [
            le32(descriptor, 140),
            le32(descriptor, 144),
            be32(descriptor, 148),
            be32(descriptor, 152),
        ];
        let tables: Vec<Extent> = tables
            .into_iter()
            .filter(|block| *block != 0)
            .map(|block| Extent {
                at: place(block),
                len,
            })
            .collect();
        // An enhanced descriptor (ECMA-119, 8.5) may show the primary tree again.
        if !self.roots.iter().any(|known| known.extent == root.extent) {
            self.roots.push(root);
        }
        self.meta.extend(tables);
        Ok(())
    }
}

impl Default for Volume {
    fn default() -> Volume {
        Volume {
            label: String::new(),
            uuid: None,
            space: Block(0),
            pvd: Bytes::ZERO,
            publisher: String::new(),
            preparer: String::new(),
            application: String::new(),
        }
    }
}

/// Joliet Specification, "SVD Escape Sequences Field": UCS-2 level 1, 2 or 3.
fn escapes(descriptor: &[u8]) -> Names {
    match &descriptor[88..91] {
        b"%/@" | b"%/C" | b"%/E" => Names::Joliet,
        _ => Names::Primary,
    }
}

fn volume(at: Bytes, primary: &[u8], joliet: Option<&[u8]>) -> Volume {
    let text = |from: usize, len: usize| {
        String::from_utf8_lossy(&primary[from..from + len])
            .trim_matches([' ', '\0'])
            .to_owned()
    };
    Volume {
        label: label(&primary[40..72], joliet.map(|joliet| &joliet[40..72])),
        uuid: match date(&primary[830..847]) {
            Date::Unset => match date(&primary[813..830]) {
                Date::Set(uuid) => uuid,
                Date::Unset => None,
            },
            Date::Set(uuid) => uuid,
        },
        space: Block(le32(primary, 80)),
        pvd: at,
        publisher: text(318, 128),
        preparer: text(446, 128),
        application: text(574, 128),
    }
}

enum Date {
    Unset,
    Set(Option<String>),
}

/// 8.4.26.1: sixteen digits and a time zone; sixteen '0' and a zero mean that there is no date.
fn date(field: &[u8]) -> Date {
    let (digits, zone) = field.split_at(16);
    if digits.iter().all(|digit| *digit == b'0') && zone == [0] {
        return Date::Unset;
    }
    if !digits.iter().all(u8::is_ascii_graphic) {
        return Date::Set(None);
    }
    let mut uuid = String::with_capacity(22);
    for (i, digit) in digits.iter().enumerate() {
        if i >= 4 && i % 2 == 0 {
            uuid.push('-');
        }
        uuid.push(char::from(*digit));
    }
    Date::Set(Some(uuid))
}

/// The label as libblkid composes it: Joliet's holds 16 characters of any script, the primary one 32 of ASCII with
/// '_' for the rest. Where they agree but for case and '_', the better character of each place is taken, then the
/// primary one's tail; where they contradict each other Joliet's counts.
fn label(primary: &[u8], joliet: Option<&[u8]>) -> String {
    let Some(joliet) = joliet else {
        let text = primary.split(|byte| *byte == 0).next().unwrap_or_default();
        return String::from_utf8_lossy(text).trim_end().to_owned();
    };
    let units: Vec<u16> = joliet
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let units = merged(&units, primary).unwrap_or(units);
    let text = units.split(|unit| *unit == 0).next().unwrap_or_default();
    String::from_utf16_lossy(text).trim_end().to_owned()
}

fn merged(joliet: &[u16], primary: &[u8]) -> Option<Vec<u16>> {
    let mut whole = Vec::with_capacity(primary.len());
    let mut letters = primary.iter().copied();
    let mut units = joliet.iter().copied().peekable();
    while let Some(mut unit) = units.next() {
        let Some(letter) = letters.next() else { break };
        if (0xd800..0xdc00).contains(&unit) {
            // One '_' stands for both halves of a surrogate pair.
            if let Some(low) = units.next_if(|low| (0xdc00..0xe000).contains(low)) {
                whole.push(unit);
                unit = low;
            }
        }
        let same = u8::try_from(unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&letter));
        whole.push(if letter == b'_' {
            unit
        } else if unit == u16::from(b'_') || same && !letter.is_ascii_uppercase() {
            u16::from(letter)
        } else if same {
            unit
        } else {
            return None;
        });
    }
    whole.extend(letters.map(u16::from));
    Some(whole)
}
