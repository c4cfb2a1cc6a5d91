// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes: behind the inode, and in a block of their own. `Documentation/filesystems/ext4/attributes.rst`.

use super::{Ext4, Inode, malformed};
use crate::image::root::{TreeError, Unsupported, Xattr};
use crate::superblock::field;
use crate::units::Bytes;

const MAGIC: u32 = 0xea02_0000;

/// All attributes of an inode.
pub(super) fn all(ext4: &Ext4<'_>, inode: &Inode) -> Result<Vec<Xattr>, TreeError> {
    let mut all = Vec::new();
    let extra = field::le16(&inode.bytes, 0x80).map_or(0, usize::from);
    let own = inode.bytes.get(128 + extra..).unwrap_or_default();
    if field::le32(own, 0) == Some(MAGIC) {
        // Behind the magic number; values are counted from the first entry.
        let entries = own.get(4..).unwrap_or_default();
        collect(entries, entries, inode.number, &mut all)?;
    }
    let low = field::le32(&inode.bytes, 0x68).map_or(0, u64::from);
    let high = field::le16(&inode.bytes, 0x76).map_or(0, u64::from);
    let block = high << 32 | low;
    if block != 0 {
        let at = block.saturating_mul(ext4.layout.block);
        let len = usize::try_from(ext4.layout.block).unwrap_or(0);
        let block = ext4.image.read_vec(Bytes(at), len)?;
        if field::le32(&block, 0) != Some(MAGIC) {
            return Err(malformed(
                "ext4 attribute block",
                at,
                "it has another magic number",
            ));
        }
        // Behind a header of 32 bytes; values are counted from the block's start.
        let entries = block.get(32..).unwrap_or_default();
        collect(entries, &block, inode.number, &mut all)?;
    }
    Ok(all)
}

/// Entries up to four zero bytes: length of the name 0, prefix 1, offset of the value 2, inode of the value 4, length of
/// the value 8, the name at 16; padded to four bytes.
fn collect(
    mut entries: &[u8],
    values: &[u8],
    number: u64,
    all: &mut Vec<Xattr>,
) -> Result<(), TreeError> {
    while field::le32(entries, 0).is_some_and(|head| head != 0) {
        let fields = || {
            let width = usize::from(field::u8(entries, 0)?);
            let name = entries.get(16..16 + width)?;
            let offset = usize::from(field::le16(entries, 2)?);
            let elsewhere = field::le32(entries, 4)? != 0;
            let len = usize::try_from(field::le32(entries, 8)?).ok()?;
            let value = if elsewhere {
                None
            } else {
                Some(values.get(offset..offset.checked_add(len)?)?)
            };
            Some((field::u8(entries, 1)?, name, value))
        };
        let Some((prefix, name, value)) = fields() else {
            return Err(malformed(
                "ext4 attribute",
                number,
                "it leaves its inode or block",
            ));
        };
        let Some(value) = value else {
            let what = "an ext4 attribute with an inode of its own";
            return Err(Unsupported::Feature(what.to_owned()).into());
        };
        let key: Option<&[u8]> = match prefix {
            0 => Some(b""),
            1 => Some(b"user."),
            2 => Some(b"system.posix_acl_access"),
            3 => Some(b"system.posix_acl_default"),
            4 => Some(b"trusted."),
            6 => Some(b"security."),
            // "system.data" is contents kept in the inode.
            7 if name != b"data" => Some(b"system."),
            _ => None,
        };
        if let Some(key) = key {
            let value = match prefix {
                2 | 3 => acl(value).unwrap_or_else(|| value.to_vec()),
                _ => value.to_vec(),
            };
            all.push(([key, name].concat(), value));
        }
        let step = (16 + name.len()).next_multiple_of(4);
        entries = entries.get(step..).unwrap_or_default();
    }
    Ok(())
}

/// An access list as getxattr(2) gives it: the medium's form (version 1) leaves out the identifier where none is meant.
/// Linux, `fs/ext4/acl.h` and `include/uapi/linux/posix_acl_xattr.h`.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    if field::le32(value, 0)? != 1 {
        return None;
    }
    let mut out = 2_u32.to_le_bytes().to_vec();
    let mut rest = value.get(4..)?;
    while !rest.is_empty() {
        out.extend_from_slice(rest.get(..4)?);
        // ACL_USER and ACL_GROUP have an identifier.
        if matches!(field::le16(rest, 0)?, 2 | 8) {
            out.extend_from_slice(rest.get(4..8)?);
            rest = rest.get(8..)?;
        } else {
            out.extend_from_slice(&u32::MAX.to_le_bytes());
            rest = rest.get(4..)?;
        }
    }
    Some(out)
}
