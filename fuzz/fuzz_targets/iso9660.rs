// SPDX-License-Identifier: MIT OR Apache-2.0
//! Volume descriptors, directories of every tree, the boot catalogue, and the implanted media check.
#![no_main]

use libfuzzer_sys::fuzz_target;
use livestick::image::isomd5;
use livestick::image::iso9660::Iso;
use livestick::units::Bytes;

/// Where descriptors begin: the system area before them is no subject.
const SYSTEM_AREA: usize = 32768;

fuzz_target!(|data: &[u8]| {
    let image = [&vec![0; SYSTEM_AREA], data].concat();
    if let Ok(iso) = Iso::read(&image) {
        for file in iso.files() {
            let _ = iso.contents(&image, file, Bytes(1 << 16));
        }
        let _ = iso.unclaimed(&image, &[]);
    }
    let _ = isomd5::check(&image);
});
