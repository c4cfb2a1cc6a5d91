// SPDX-License-Identifier: MIT OR Apache-2.0
//! An image that changes while it is read.

use std::fs;
use std::fs::File;
use std::path::Path;

use livestick::event::Event;
use livestick::report::{Exit, StickState};

use crate::judge_blank;
use crate::lying::{applied, planned};
use crate::support::bench::{Bench, poke};
use crate::support::lab::iso;

#[test]
fn an_image_that_changes_while_it_is_read_leaves_a_blank_stick() {
    let bench = Bench::new();
    let original = iso("grub2", &[]);
    let size = fs::metadata(&original).unwrap().len();
    let changes: [fn(&Path, u64); 3] = [
        |image, size| {
            poke(image, size / 2, b"?");
        },
        |image, size| {
            poke(image, size - 1, b"?");
        },
        |image, size| {
            File::options()
                .write(true)
                .open(image)
                .unwrap()
                .set_len(size / 2)
                .unwrap();
        },
    ];
    for change in changes {
        let image = bench.copy(&original, "image.iso");
        let target = bench.used("stick.img", 64);
        let (plan, host) = planned(&image, &target);
        let mut changed = false;
        let failure = applied(&plan, &host, |event| {
            if let (Event::Finished { .. }, false) = (event, changed) {
                // The stick was blanked, the image not yet read.
                change(&image, size);
                changed = true;
            }
        });
        let failure = failure.unwrap_err();
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::WriteFailed, StickState::Blank)
        );
        assert!(failure.message.contains("image"), "{failure}");
        judge_blank(&target);
    }
}
