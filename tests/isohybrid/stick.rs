// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks made from isohybrids by the partition table's code alone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use livestick::patch::{After, Draft};
use livestick::plan::layout::{Ask, Purpose, lay_out};
use livestick::request::Size;
use livestick::table::{Behind, NewPartition, Table, Use};
use livestick::units::{Bytes, Extent, MIB};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Shape, build};
use crate::support::stick::Stick;

fn wanted(sizes: &[Size]) -> Vec<Ask> {
    let ask = |(i, size): (usize, &Size)| Ask {
        what: [Purpose::Overlay, Purpose::Home][i % 2],
        size: *size,
        smallest: Bytes::mib(1),
    };
    sizes.iter().enumerate().map(ask).collect()
}

/// Plans the partitions on a medium of `medium` bytes and makes the stick as the plan says. The medium was used before:
/// its end is full of other things, a backup GPT at the very end among them.
pub fn make(shape: Shape, medium: u64, sizes: &[Size]) -> Stick {
    make_with(shape, medium, sizes).0
}

/// The same, with what had to be written behind the image.
pub fn make_with(shape: Shape, medium: u64, sizes: &[Size]) -> (Stick, Vec<Behind>) {
    let dir = TempDir::new().unwrap();
    let image = build(shape, dir.path());
    make_from(dir, image, medium, sizes)
}

pub fn make_from(
    dir: TempDir,
    image: PathBuf,
    medium: u64,
    sizes: &[Size],
) -> (Stick, Vec<Behind>) {
    let bytes = fs::read(&image).unwrap();
    let before = Table::read(&bytes).unwrap();
    let space = before
        .space(Bytes(bytes.len() as u64), Bytes(medium), sizes.len())
        .unwrap();
    let slots = lay_out(&space, &wanted(sizes)).unwrap();
    let new: Vec<NewPartition> = slots
        .iter()
        .enumerate()
        .map(|(i, slot)| NewPartition {
            extent: slot.extent,
            name: format!("live-{}-{i}", slot.what),
            what: Use::LinuxData,
            unique: Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_0000 + i as u128),
        })
        .collect();
    let mut draft = Draft::new(&bytes);
    let added = before.add(&mut draft, Bytes(medium), &new).unwrap();
    let patches = draft.patches().unwrap();

    let stick = dir.path().join("stick.img");
    fs::copy(&image, &stick).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&stick)
        .unwrap();
    file.set_len(medium).unwrap();
    let stale = medium.saturating_sub(MIB).max(bytes.len() as u64);
    let mut rubbish = vec![0xA5; usize::try_from(medium - stale).unwrap()];
    let last = rubbish.len() / 512 * 512 - 512;
    rubbish[last..last + 8].copy_from_slice(b"EFI PART");
    file.write_all_at(&rubbish, stale).unwrap();
    for patch in &patches {
        let After::Bytes(after) = &patch.after else {
            panic!("{patch:?}");
        };
        file.write_all_at(after, patch.at.0).unwrap();
    }
    for piece in &added.behind {
        assert!(piece.at.0 >= bytes.len() as u64);
        assert!(piece.at.0 + piece.bytes.len() as u64 <= medium);
        for partition in &new {
            let piece = Extent {
                at: piece.at,
                len: Bytes(piece.bytes.len() as u64),
            };
            assert!(!partition.extent.overlaps(piece));
        }
        file.write_all_at(&piece.bytes, piece.at.0).unwrap();
    }
    drop(file);

    // Inside the image, exactly the plan's ranges differ.
    let mut now = vec![0; bytes.len()];
    let file = File::open(&stick).unwrap();
    file.read_exact_at(&mut now, 0).unwrap();
    for patch in &patches {
        let range = patch.extent().range();
        let (from, to) = (
            usize::try_from(range.start).unwrap(),
            usize::try_from(range.end).unwrap(),
        );
        assert_ne!(now[from], bytes[from]);
        assert_ne!(now[to - 1], bytes[to - 1]);
        assert_eq!(bytes[from..to], patch.before);
        now[from..to].copy_from_slice(&bytes[from..to]);
    }
    assert!(now == bytes, "something outside the patches changed");
    assert!(patches.iter().map(|p| p.before.len()).sum::<usize>() < 300 * (1 + new.len()));
    let made = Stick {
        dir: Some(dir),
        image,
        path: stick,
        before,
        numbers: added.numbers,
        partuuids: added.partuuids,
        new,
    };
    (made, added.behind)
}
