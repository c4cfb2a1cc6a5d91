// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root images: superblocks, and paths in SquashFS, EROFS and ext4.
#![no_main]

use libfuzzer_sys::fuzz_target;
use livestick::image::root::RootImage;

fuzz_target!(|data: &[u8]| {
    let image = data.to_vec();
    let Ok(root) = RootImage::inspect(&image) else {
        return;
    };
    if let Ok(tree) = root.tree() {
        for path in ["/", "/etc/systemd/system", "/home", "/etc/os-release"] {
            let _ = tree.attributes(path);
            let _ = tree.read_small(path, 1 << 16);
        }
    }
});
