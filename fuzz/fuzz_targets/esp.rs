// SPDX-License-Identifier: MIT OR Apache-2.0
//! FAT system partitions: reading, and replacing a file on a draft.
#![no_main]

use libfuzzer_sys::fuzz_target;
use livestick::boot::esp;
use livestick::patch::Draft;
use livestick::units::{Bytes, Extent};

fuzz_target!(|data: &[u8]| {
    let image = data.to_vec();
    let extent = Extent {
        at: Bytes::ZERO,
        len: Bytes(image.len() as u64),
    };
    if let Ok(files) = esp::read(&image, extent) {
        for file in files.iter().take(3) {
            let mut draft = Draft::new(&image);
            let _ = esp::replace(&mut draft, extent, &file.path, &[b'#'; 3000]);
        }
    }
});
