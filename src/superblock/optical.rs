// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filesystems of discs: ISO 9660 and UDF.

use super::{Kind, Superblock, field, part};
use crate::read::{ReadAt, ReadError};
use crate::units::Bytes;

/// The volume descriptors start here, one in each 2048 bytes (ECMA-119, 6.7.1).
const DESCRIPTORS: u64 = 32 << 10;

/// UDF, recognised by its volume structure; label and identifier are not read.
///
/// ECMA-167, part 2, 8.3 and part 3, 9.1: descriptors of 2048 bytes from byte 32768 on, with "BEA01", "NSR02" or
/// "NSR03" at 1; those of ISO 9660 may come before.
pub(super) fn udf(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    for index in 0..32 {
        let Some(name) = part(image, DESCRIPTORS + index * 2048 + 1, 5)? else {
            break;
        };
        match name.as_slice() {
            b"NSR02" | b"NSR03" => return Ok(Some(Superblock::of(Kind::Udf))),
            b"CD001" | b"BEA01" | b"BOOT2" | b"CDW02" => {}
            _ => break,
        }
    }
    Ok(None)
}

/// ISO 9660.
///
/// ECMA-119, 8.4: primary volume descriptor (type 1, "CD001"; volume identifier 40, volume space size 80, logical block
/// size 128, creation date 813, modification date 830). A Joliet descriptor (type 2, escape
/// sequence "%/@", "%/C" or "%/E" at 88) has its own identifier, which counts: it is how libblkid, and so
/// `/dev/disk/by-label`, names the volume.
pub(super) fn iso9660(image: &dyn ReadAt) -> Result<Option<Superblock>, ReadError> {
    let mut primary = None;
    let mut joliet = None;
    for index in 0..32 {
        let Some(block) = part(image, DESCRIPTORS + index * 2048, 2048)? else {
            break;
        };
        if block.get(1..6) != Some(b"CD001") {
            break;
        }
        match block.first() {
            Some(1) if primary.is_none() => primary = Some(block),
            Some(2) if joliet.is_none() => {
                let escape = block.get(88..91);
                if matches!(escape, Some(b"%/@" | b"%/C" | b"%/E")) {
                    joliet = Some(block);
                }
            }
            Some(255) => break,
            _ => {}
        }
    }
    let Some(primary) = primary else {
        return Ok(None);
    };
    let unit = field::le16(&primary, 128).map_or(0, u64::from);
    let size = field::le32(&primary, 80).map(|blocks| Bytes(u64::from(blocks) * unit));
    let name = primary.get(40..72).unwrap_or_default();
    let wide = joliet.as_ref().and_then(|block| block.get(40..72));
    Ok(Some(Superblock {
        label: volume_name(name, wide),
        uuid: date(&primary, 830).or_else(|| date(&primary, 813)),
        size,
        ..Superblock::of(Kind::Iso9660)
    }))
}

/// The label as libblkid forms it (`libblkid/src/superblocks/iso.c`): Joliet's sixteen characters, and behind them
/// the rest of the primary identifier if the two agree so far.
fn volume_name(name: &[u8], wide: Option<&[u8]>) -> Option<String> {
    let Some(wide) = wide else {
        return field::text(name, 0, name.len());
    };
    let wide: Vec<u16> = wide
        .chunks_exact(2)
        .filter_map(|pair| field::be16(pair, 0))
        .collect();
    let mut units = merged(name, &wide).unwrap_or(wide);
    let end = units.iter().position(|&unit| unit == 0);
    units.truncate(end.unwrap_or(units.len()));
    let name = String::from_utf16_lossy(&units);
    let name = name.trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Both names in one, each giving what the other could not hold: "_" stands for anything, capitals for either case, and
/// Joliet ends after sixteen. `None` if they disagree.
fn merged(name: &[u8], wide: &[u16]) -> Option<Vec<u16>> {
    let mut out = Vec::with_capacity(name.len());
    let mut wide = wide.iter().copied().peekable();
    let mut name = name.iter().copied();
    while let Some(mut unit) = wide.next() {
        // A surrogate pair has one character over against it.
        if (0xd800..0xdc00).contains(&unit)
            && let Some(low) = wide.next_if(|low| (0xdc00..0xe000).contains(low))
        {
            out.push(unit);
            unit = low;
        }
        let Some(narrow) = name.next() else { break };
        let other = u8::try_from(unit).unwrap_or(0);
        out.push(if narrow == b'_' {
            unit
        } else if other == b'_' {
            u16::from(narrow)
        } else if unit < 256 && narrow.eq_ignore_ascii_case(&other) {
            u16::from(if narrow.is_ascii_uppercase() {
                other
            } else {
                narrow
            })
        } else {
            return None;
        });
    }
    out.extend(name.map(u16::from));
    Some(out)
}

/// A date of seventeen bytes (ECMA-119, 8.4.26.1) in blkid's form: "2026-03-01-12-00-00-00".
fn date(block: &[u8], at: usize) -> Option<String> {
    let digits = block.get(at..at + 16)?;
    let zone = block.get(at + 16)?;
    if *zone == 0 && digits.iter().all(|&digit| digit == b'0') {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut out = digits.get(..4)?.to_owned();
    for start in (4..16).step_by(2) {
        out.push('-');
        out.push_str(digits.get(start..start + 2)?);
    }
    Some(out)
}
