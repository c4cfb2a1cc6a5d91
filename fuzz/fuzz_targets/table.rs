// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition tables: which one counts, its partitions, and room for more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use livestick::table::Table;
use livestick::units::Bytes;

fuzz_target!(|data: &[u8]| {
    let image = data.to_vec();
    if let Ok(table) = Table::read(&image) {
        let _ = table.space(Bytes(image.len() as u64), Bytes(1 << 32), 2);
    }
});
