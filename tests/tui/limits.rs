// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the sizes screen says is the largest that works is what the planner takes, and nothing larger.

use livestick::command::plan;
use livestick::host::Host;
use livestick::image::Image;
use livestick::plan::layout::Purpose;
use livestick::request::{FsKind, Size};
use livestick::ui::tui::amounts::{Amounts, Part, Room};
use livestick::ui::tui::known::ImageFacts;
use livestick::ui::tui::sticks::Target;
use livestick::units::{Bytes, MIB};

use crate::support::lab::{iso, scratch};
use crate::support::program::root;

#[test]
fn the_largest_size_is_the_largest_that_can_be_planned() {
    let host = Host::look();
    for layout in ["grub2", "isolinux", "isolinux-mac", "kiwi"] {
        let path = iso(layout, &[]);
        let mut image = Image::open(&path).unwrap();
        image.look_inside();
        let size = Bytes(700 * MIB);
        let target = Target {
            path: scratch().join(format!("{layout}-limit.img")),
            size,
            description: String::new(),
            create: Some(size),
            unmount: false,
            allow: None,
            probe: None,
        };
        let facts = ImageFacts::of(&image, true, &host);
        let room = Room::of(&facts, &target);
        for sprout in [false, true] {
            if sprout && room.sprout.is_err() {
                // No place for a third partition, or nobody here who could make one.
                assert!(layout == "isolinux-mac" || !root(), "{layout}");
                continue;
            }
            let fs = Some(FsKind::Ext4).filter(|_| !sprout);
            let home = Bytes(64 * MIB);
            let part = |size, fs| Part {
                size: Some(Size::Fixed(size)),
                fs,
            };
            let amounts = Amounts {
                overlay: part(Bytes(64 * MIB), fs),
                sprout,
                home: part(home, Some(FsKind::Ext4)),
                ..Amounts::default()
            };
            let (_, largest) = amounts.limits(Purpose::Overlay, &room).unwrap();
            let planned = |overlay: Bytes| {
                let amounts = Amounts {
                    overlay: part(overlay, fs),
                    ..amounts.clone()
                };
                plan(&amounts.request(&facts, &target), &host)
            };
            let plan = planned(largest);
            assert!(plan.is_ok(), "{layout}, {largest}: {}", plan.unwrap_err());
            assert!(planned(largest + Bytes(MIB)).is_err(), "{layout}");
        }
    }
}
