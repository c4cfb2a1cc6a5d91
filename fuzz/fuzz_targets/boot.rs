// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot configurations: what an edit makes of any text can be edited again, to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use livestick::boot::{Arguments, grub, isolinux};
use livestick::units::Bytes;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let arguments = Arguments {
        persistence: vec!["rd.live.overlay=UUID=x:/state/upper".into()],
        extra: vec!["quiet".into()],
        replace_root: None,
    };
    for edit in [grub::edit, isolinux::edit] {
        let _ = edit(&text, &arguments, Bytes(2048));
        if let Ok(once) = edit(&text, &arguments, Bytes(1 << 20)) {
            let _ = edit(&once.text, &arguments, Bytes(1 << 20));
        }
    }
});
