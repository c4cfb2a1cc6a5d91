// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Apple partition map of an isohybrid: only whether there is one, because no edit may touch it.
//!
//! Source: Inside Macintosh: Devices, chapter 3 (SCSI Manager), "The Driver Descriptor Record" and "The Partition
//! Map". xorriso writes one for images that Macs start from disc or stick.

use serde::Serialize;

use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

/// Facts about an Apple partition map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Apm {
    /// The size of a block, the unit of the map.
    pub block: Bytes,
    /// How many entries, one per block from block 1 on, the map says it has.
    pub entries: u32,
}

impl Apm {
    /// Reads the map's own description, if there is one: "ER" at byte 0, and "PM" at block 1.
    pub fn read(image: &dyn ReadAt) -> Result<Option<Apm>, ReadError> {
        if image.len() < Bytes(512) {
            return Ok(None);
        }
        let mut descriptor = [0; 4];
        image.read_exact_at(Bytes::ZERO, &mut descriptor)?;
        let [b'E', b'R', high, low] = descriptor else {
            return Ok(None);
        };
        let block = Bytes(u64::from(u16::from_be_bytes([high, low])));
        if block < Bytes(512) || image.len() < block + Bytes(8) {
            return Ok(None);
        }
        let mut entry = [0; 8];
        image.read_exact_at(block, &mut entry)?;
        let [b'P', b'M', _, _, a, b, c, d] = entry else {
            return Ok(None);
        };
        let entries = u32::from_be_bytes([a, b, c, d]);
        Ok(Some(Apm { block, entries }))
    }

    /// Where its entries are.
    pub fn extent(self) -> Extent {
        Extent {
            at: self.block,
            len: Bytes(self.block.0 * u64::from(self.entries)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_found_by_both_its_marks() {
        let mut image = vec![0; 8192];
        image[..4].copy_from_slice(b"ER\x08\x00");
        assert_eq!(Apm::read(&image).unwrap(), None);
        image[2048..2056].copy_from_slice(&[b'P', b'M', 0, 0, 0, 0, 0, 3]);
        let apm = Apm::read(&image).unwrap().unwrap();
        assert_eq!((apm.block, apm.entries), (Bytes(2048), 3));
        assert_eq!(apm.extent().range(), 2048..8192);
        assert_eq!(Apm::read(&&image[..2052]).unwrap(), None);
    }
}
