// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root image that is a btrfs itself: whether a sprout can grow from it where it lies, and the two changes that this
//! takes, both in its superblocks: the seed flag, and another label where its own would be taken for the volume's.
//!
//! Rules:
//!
//! * Everything is judged before a byte is written: what the kernel would stumble over, and what it would put right by
//!   writing (a log to replay) is refused, for nothing is ever written to a seed.
//! * The identifier stays the image's. Another one (`metadata_uuid`) is no way: the chunk tree would go on naming the
//!   old one, and a sprout finds its seed by that.
//!
//! Not judged here: the trees. They are read when the image's root is mounted before the first write, and every
//! checksum in them is compared on the medium (`apply`).
//!
//! Source: btrfs-progs, `Documentation/dev/On-disk-format.rst`, "Superblock", and `kernel-shared/uapi/btrfs_tree.h`,
//! `struct btrfs_super_block`: checksum 0 (of 0x20 to the end of the 4 KiB), fsid 0x20, own place 0x30, flags 0x38,
//! magic 0x40, generation 0x48, log root 0x60, size 0x70, devices 0x88, incompatible features 0xbc, type of the
//! checksum 0xc4, this device's item 0xc9 (number 0, size 8), label 0x12b (256 bytes with a NUL).

use sha2::Digest;
use uuid::Uuid;

use crate::patch::{Draft, Why};
use crate::read::{ReadAt, ReadError, Window};
use crate::sprout::Checksum;
use crate::superblock::field::{le16, le64, text};
use crate::units::{Bytes, Extent};

/// Where superblocks are, if the device reaches that far (`BTRFS_SUPER_INFO_OFFSET`, `btrfs_sb_offset`).
const PLACES: [Bytes; 3] = [Bytes(64 << 10), Bytes::mib(64), Bytes::mib(256 << 10)];
/// How long one is.
const LEN: usize = 4096;
/// Where what its checksum covers starts.
const COVERED: usize = 0x20;

const FLAGS: usize = 0x38;
const LABEL: usize = 0x12b;
const LABEL_LEN: usize = 256;

/// `BTRFS_SUPER_FLAG_SEEDING`.
const SEEDING: u64 = 1 << 32;
/// `BTRFS_HEADER_FLAG_WRITTEN`, which every superblock has.
const WRITTEN: u64 = 1;
/// `BTRFS_FEATURE_INCOMPAT_METADATA_UUID`.
const METADATA_UUID: u64 = 1 << 10;
/// The features that a filesystem on one device can have and that change nothing about seeds: mixed backreferences, a
/// default subvolume, mixed groups, LZO, zstd, large metadata, extended references, RAID of 3 and 4 copies, skinny
/// metadata, no holes.
const KNOWN: u64 = 0x37f | 1 << 11;

/// A btrfs inside the image that a sprout can grow from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// Where it lies in the image: whole sectors.
    pub extent: Extent,
    /// Its identifier.
    pub uuid: Uuid,
    /// Its label.
    pub label: Option<String>,
    /// Its checksum.
    pub checksum: Checksum,
    /// Whether it has the seed flag already.
    pub seeding: bool,
    /// Its superblocks, from the beginning of the image.
    copies: Vec<Bytes>,
}

/// Reads the btrfs at `extent` of `image`; `Err` with the reason where no sprout can grow from it.
pub fn read(image: &dyn ReadAt, extent: Extent) -> Result<Result<Within, String>, ReadError> {
    let window = Window::new(image, extent);
    let Some(first) = superblock(&window, PLACES[0])? else {
        return Ok(Err("its superblock is damaged".into()));
    };
    let judged = match judge(&first, extent) {
        Ok(judged) => judged,
        Err(why) => return Ok(Err(why)),
    };
    let mut within = Within {
        extent: Extent {
            at: extent.at,
            len: extent.len.align_down(Bytes(512)),
        },
        uuid: judged.uuid,
        label: text(&first, LABEL, LABEL_LEN),
        checksum: judged.checksum,
        seeding: judged.seeding,
        copies: Vec::new(),
    };
    for place in PLACES {
        if place + Bytes(LEN as u64) > judged.size {
            continue;
        }
        match superblock(&window, place)? {
            // Zeros where mkfs left none.
            None if is_empty(&window, place)? => {}
            None => {
                return Ok(Err(format!(
                    "its copy of the superblock at {} is damaged",
                    place.binary()
                )));
            }
            Some(copy) => {
                let same =
                    |range: std::ops::Range<usize>| copy.get(range.clone()) == first.get(range);
                // Identifier, flags and generation.
                if !same(0x20..0x30) || !same(FLAGS..0x50) {
                    return Ok(Err(format!(
                        "its copy of the superblock at {} is not like the first",
                        place.binary()
                    )));
                }
                within.copies.push(extent.at + place);
            }
        }
    }
    Ok(Ok(within))
}

/// What a sound superblock says.
struct Judged {
    uuid: Uuid,
    checksum: Checksum,
    seeding: bool,
    size: Bytes,
}

fn judge(block: &[u8], extent: Extent) -> Result<Judged, String> {
    let number = |at| le64(block, at).unwrap_or_default();
    let checksum = checksum(block).ok_or("its checksum is of an unknown type")?;
    let (flags, features) = (number(FLAGS), number(0xbc));
    if number(0x88) != 1 || number(0xc9) != 1 {
        return Err(format!(
            "it is spread over {} devices, and the image has one",
            number(0x88)
        ));
    }
    if number(0x60) != 0 {
        return Err("it was not unmounted cleanly: it has a log to replay".into());
    }
    if flags & !(SEEDING | WRITTEN) != 0 {
        return Err(format!(
            "it is marked as damaged or half converted (flags {flags:#x})"
        ));
    }
    if features & METADATA_UUID != 0 {
        return Err("its identifier was changed by metadata_uuid".into());
    }
    if features & !KNOWN != 0 {
        return Err(format!(
            "it has features that are not known here ({features:#x})"
        ));
    }
    let size = Bytes(number(0x70));
    if size != Bytes(number(0xd1)) || size > extent.len || size < PLACES[0] + Bytes(LEN as u64) {
        return Err(format!(
            "it has {} bytes by its own words, and its file has {}",
            size.grouped(),
            extent.len.grouped()
        ));
    }
    let generation = number(0x48);
    if generation == 0 || number(0xa4) > generation || number(0x50) == 0 || number(0x58) == 0 {
        return Err("its superblock says what cannot be".into());
    }
    let uuid = block.get(0x20..0x30).and_then(|id| id.try_into().ok());
    Ok(Judged {
        uuid: Uuid::from_bytes(uuid.unwrap_or_default()),
        checksum,
        seeding: flags & SEEDING != 0,
        size,
    })
}

/// The superblock at `place`, if it has its magic number, its checksum and its own place.
fn superblock(window: &dyn ReadAt, place: Bytes) -> Result<Option<Vec<u8>>, ReadError> {
    if place + Bytes(LEN as u64) > window.len() {
        return Ok(None);
    }
    let block = window.read_vec(place, LEN)?;
    let sound = block.get(0x40..0x48) == Some(b"_BHRfS_M")
        && le64(&block, 0x30) == Some(place.0)
        && checksum(&block).is_some_and(|kind| sum(kind, &block)[..] == block[..COVERED]);
    Ok(sound.then_some(block))
}

fn is_empty(window: &dyn ReadAt, place: Bytes) -> Result<bool, ReadError> {
    if place + Bytes(LEN as u64) > window.len() {
        return Ok(true);
    }
    let block = window.read_vec(place, LEN)?;
    Ok(block.get(0x40..0x48) == Some(&[0; 8]))
}

fn checksum(block: &[u8]) -> Option<Checksum> {
    Some(match le16(block, 0xc4)? {
        0 => Checksum::Crc32c,
        1 => Checksum::Xxhash,
        2 => Checksum::Sha256,
        3 => Checksum::Blake2,
        _ => return None,
    })
}

/// The checksum of a superblock, as long as its field.
fn sum(kind: Checksum, block: &[u8]) -> [u8; COVERED] {
    let covered = block.get(COVERED..).unwrap_or_default();
    let mut field = [0; COVERED];
    match kind {
        Checksum::Crc32c => {
            let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(covered);
            field[..4].copy_from_slice(&sum.to_le_bytes());
        }
        Checksum::Xxhash => {
            let sum = twox_hash::XxHash64::oneshot(0, covered);
            field[..8].copy_from_slice(&sum.to_le_bytes());
        }
        Checksum::Sha256 => field = sha2::Sha256::digest(covered).into(),
        Checksum::Blake2 => field = blake2::Blake2b256::digest(covered).into(),
    }
    field
}

impl Within {
    /// Sets the seed flag and, where there is to be another, the label, in every superblock, on a draft of the image. What
    /// is so already is no change.
    pub fn change(&self, draft: &mut Draft<'_>, label: Option<&str>) -> Result<(), ReadError> {
        for at in &self.copies {
            let before = draft.read_vec(*at, LEN)?;
            let mut block = before.clone();
            let flags = le64(&block, FLAGS).unwrap_or_default() | SEEDING;
            block[FLAGS..FLAGS + 8].copy_from_slice(&flags.to_le_bytes());
            if let Some(label) = label {
                let field = &mut block[LABEL..LABEL + LABEL_LEN];
                field.fill(0);
                // One byte is the NUL's.
                let len = label.len().min(LABEL_LEN - 1);
                field[..len].copy_from_slice(&label.as_bytes()[..len]);
            }
            if block == before {
                continue;
            }
            let sum = sum(self.checksum, &block);
            block[..COVERED].copy_from_slice(&sum);
            // Apart, so that a plan lists what differs and not what lies between.
            let pieces = [
                (0..COVERED, Why::SeedFlag),
                (FLAGS..FLAGS + 8, Why::SeedFlag),
                (LABEL..LABEL + LABEL_LEN, Why::SeedLabel),
            ];
            for (piece, why) in pieces {
                let place = *at + Bytes(piece.start as u64);
                draft.write(place, &block[piece], &why)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "within/tests.rs"]
mod tests;
