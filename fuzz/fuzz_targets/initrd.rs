// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives in every compression.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = livestick::image::initrd::inspect(&data.to_vec());
});
