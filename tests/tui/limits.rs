// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the sizes screen says is the largest that works is what the planner takes, and nothing larger.

use livestick::command::plan;
use livestick::host::Host;
use livestick::image::Image;
use livestick::plan::layout::Purpose;
use livestick::request::{FsKind, Size};
use livestick::ui::tui::amounts::{Amounts, Part};
use livestick::ui::tui::known::ImageFacts;
use livestick::ui::tui::room::Room;
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

/// Amounts of two parts.
fn amounts(overlay: u64, home: u64) -> Amounts {
    let part = |mib: u64| Part {
        size: (mib > 0).then(|| Size::Fixed(Bytes(mib * MIB))),
        fs: Some(FsKind::Ext4).filter(|_| mib > 0),
    };
    Amounts {
        overlay: part(overlay),
        home: part(home),
        ..Amounts::default()
    }
}

#[test]
fn what_the_plan_refuses_the_screen_does_not_offer() {
    let host = Host::look();
    let able = ["--cryptsetup", "generator program library module"];
    let size = Bytes(700 * MIB);
    for (layout, options) in [
        ("grub2", &able[..]),
        ("grub2", &[]),
        ("isolinux-mac", &able),
    ] {
        let mut image = Image::open(&iso(layout, options)).unwrap();
        image.look_inside();
        let target = Target {
            path: scratch().join(format!("{layout}-offer.img")),
            size,
            description: String::new(),
            create: Some(size),
            unmount: false,
            allow: None,
            probe: None,
        };
        let facts = ImageFacts::of(&image, true, &host);
        let room = Room::of(&facts, &target);
        let (mut offered, mut not) = (0, 0);
        for (overlay, home) in [(64, 0), (0, 64), (64, 64)] {
            for (sprout, encrypted) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let mut amounts = amounts(overlay, home);
                amounts.sprout = sprout && room.sprout.is_ok();
                amounts.encrypted = encrypted;
                if amounts.sprout {
                    amounts.overlay.fs = None;
                }
                let layout_says = amounts.layout(&room);
                let planned = plan(&amounts.request(&facts, &target), &host);
                let (screen, planner) = (layout_says.is_ok(), planned.is_ok());
                let why = planned.err().map(|refusal| refusal.to_string());
                // Other reasons than those of room and locks are the plan's own to tell.
                let other = why
                    .as_ref()
                    .is_some_and(|why| why.contains("without an overlay"));
                assert!(
                    screen == planner || other,
                    "{layout} {options:?}: {overlay} {home} {sprout} {encrypted}: {layout_says:?}, {why:?}"
                );
                if screen { offered += 1 } else { not += 1 }
            }
        }
        assert!(offered > 0 && not > 0, "{layout}: {offered}, {not}");
    }
}

#[test]
fn why_home_cannot_be_encrypted_is_told_where_it_is_asked_for() {
    use livestick::ui::tui::amounts::{PLACES, Place};
    use livestick::ui::tui::keys::Cmd;
    let mut facts = crate::made_up::image();
    facts.unlocking = Err("to open it the image lacks dm-crypt".into());
    let target = Target {
        path: "stick.img".into(),
        size: Bytes(30_752_000_000),
        description: String::new(),
        create: None,
        unmount: false,
        allow: None,
        probe: None,
    };
    let room = Room::of(&facts, &target);
    let at = PLACES.iter().position(|place| *place == Place::Encrypted);
    let mut amounts = amounts(64, 64);
    amounts.focus = at.unwrap();
    let why = amounts.command(Cmd::Right, &room).unwrap_err();
    assert!(why.contains("dm-crypt") && !amounts.encrypted, "{why}");
    // And it does not stay where another image comes.
    amounts.encrypted = true;
    assert!(amounts.layout(&room).unwrap_err().contains("dm-crypt"));
    amounts.adapt(&room, false);
    assert!(!amounts.encrypted);
}
