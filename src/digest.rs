// SPDX-License-Identifier: MIT OR Apache-2.0
//! Digests and raw bytes as text.

use std::fmt::Write;

/// Bytes in lower-case hexadecimal, as digests stand in CHECKSUM files.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
