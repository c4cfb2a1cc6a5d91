// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be probed: a medium, and in tests the model of a counterfeit.

use crate::disk::direct::Medium;
use crate::disk::proof::ReadProof;
use crate::units::Bytes;

/// Addressed memory that may not be what it says.
pub trait Storage {
    /// What it says its size is.
    fn size(&self) -> Bytes;
    /// Fills `buf` from `at`. The error is in words, with the place in it.
    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), String>;
    /// Writes all of `bytes` at `at`.
    fn write(&self, at: Bytes, bytes: &[u8]) -> Result<(), String>;
    /// Makes everything written permanent, and forgets what is cached of it.
    fn flush(&self) -> Result<(), String>;
    /// Begins to count what really comes from the medium.
    fn count(&self) -> Box<dyn Fn() -> Option<Bytes> + '_>;
}

impl Storage for Medium {
    fn size(&self) -> Bytes {
        Medium::size(self)
    }

    fn read(&self, at: Bytes, buf: &mut [u8]) -> Result<(), String> {
        self.read_at(at, buf).map_err(|error| error.to_string())
    }

    fn write(&self, at: Bytes, bytes: &[u8]) -> Result<(), String> {
        self.write_at(at, bytes).map_err(|error| error.to_string())
    }

    fn flush(&self) -> Result<(), String> {
        Medium::flush(self).map_err(|error| error.to_string())
    }

    fn count(&self) -> Box<dyn Fn() -> Option<Bytes> + '_> {
        let proof = ReadProof::start(self);
        Box::new(move || proof.bytes_from_medium())
    }
}
