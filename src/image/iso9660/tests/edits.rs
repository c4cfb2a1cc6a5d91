// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edited images, read by xorriso in every tree.

use std::path::Path;
use std::process::Command;

use super::super::*;
use super::{JOLIET, LORAX, Lab};
use crate::patch::{Draft, Why};
use crate::units::Block;

const CFG: &str = "/boot/grub2/grub.cfg";

fn bytes(draft: &Draft) -> Vec<u8> {
    draft
        .read_vec(Bytes::ZERO, draft.len().index().unwrap())
        .unwrap()
}

/// What xorriso reads of `name` in a tree of the image.
fn extract(lab: &Lab, image: &Path, how: &str, name: &str) -> Vec<u8> {
    let out = lab.path("extracted");
    let _ = std::fs::remove_file(&out);
    let done = Command::new("xorriso")
        .args(["-osirrox", "on", "-read_fs", how, "-indev"])
        .arg(image)
        .args(["-extract", name])
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::read(out).unwrap()
}

/// The edited image shows `text` under every name in every tree, and nothing else differs.
fn shows(lab: &Lab, before: &[u8], after: &[u8], text: &[u8], offset: bool) {
    let whole = lab.path("whole.iso");
    std::fs::write(&whole, after).unwrap();
    let mut views = vec![whole.clone()];
    if offset {
        let part = lab.path("partition.iso");
        std::fs::write(&part, &after[32768..]).unwrap();
        views.push(part);
    }
    for view in &views {
        for how in ["any", "norock"] {
            for name in [CFG, "/EFI/BOOT/grub.cfg"] {
                assert_eq!(
                    extract(lab, view, how, name),
                    text,
                    "{} {how} {name}",
                    view.display()
                );
            }
            assert_eq!(extract(lab, view, how, "/EFI/BOOT/BOOT.conf"), b"another\n");
        }
        let checked = Command::new("xorriso")
            .arg("-indev")
            .arg(view)
            .args(["-check_media", "--"])
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    let (old, new) = (Iso::read(&before).unwrap(), Iso::read(&after).unwrap());
    assert_eq!(new.flaws(), []);
    for (old, new) in old.files().iter().zip(new.files()) {
        assert_eq!(old.path, new.path);
        if old.path.ends_with("/grub.cfg") {
            assert_eq!(old.records.len(), new.records.len());
            assert!(new.records.iter().all(|record| record.halves_agree(&after)));
        } else {
            assert_eq!((&old.extents, &old.records), (&new.extents, &new.records));
        }
    }
}

#[test]
fn a_replaced_file_is_seen_in_every_tree() {
    let lab = Lab::new();
    for (label, options) in [("LORAX", LORAX), ("RJ", JOLIET)] {
        let (_, image) = lab.make(label, options);
        let iso = Iso::read(&image).unwrap();
        let file = iso.file(CFG).unwrap();
        for len in [1, 57, 2047, 2048] {
            let text = vec![b'#'; len];
            let mut draft = Draft::new(&image);
            assert!(iso.fits(file, Bytes(len as u64)));
            iso.replace(&mut draft, file, &text).unwrap();
            let after = bytes(&draft);
            shows(&lab, &image, &after, &text, label == "LORAX");
            // The block behind the text is zero.
            let at = file.extents[0].at.index().unwrap();
            assert!(after[at + len..at + 2048].iter().all(|byte| *byte == 0));
            for patch in draft.patches().unwrap() {
                let content = Extent {
                    at: Bytes(at as u64),
                    len: Bytes(2048),
                }
                .contains(patch.extent());
                let file = CFG.to_owned();
                let why = if content {
                    Why::BootArguments { file }
                } else {
                    Why::Directory { file }
                };
                assert_eq!(patch.why, why);
            }
        }
        let mut draft = Draft::new(&image);
        assert!(!iso.fits(file, Bytes(2049)));
        assert!(matches!(
            iso.replace(&mut draft, file, &[b'#'; 2049]),
            Err(EditError::NoRoom { .. })
        ));
        assert!(!iso.fits(file, Bytes::ZERO));
        assert!(iso.replace(&mut draft, file, b"").is_err());
        assert!(
            iso.replace(&mut draft, iso.file("/EFI/BOOT/empty").unwrap(), b"x")
                .is_err()
        );
        assert_eq!(draft.patches().unwrap(), []);
        // Twice is as good as once.
        iso.replace(&mut draft, file, &[b'1'; 1000]).unwrap();
        iso.replace(&mut draft, file, b"2").unwrap();
        shows(&lab, &image, &bytes(&draft), b"2", label == "LORAX");
    }
}

#[test]
fn a_relocated_file_is_seen_in_every_tree() {
    let lab = Lab::new();
    for (label, options) in [("LORAX", LORAX), ("RJ", JOLIET)] {
        let (_, image) = lab.make(label, options);
        let iso = Iso::read(&image).unwrap();
        let file = iso.file(CFG).unwrap();
        let room = iso.unclaimed(&image, &[]).unwrap();
        let text = vec![b'+'; 5000];
        let place = room.iter().find(|extent| extent.len.0 >= 4 * 2048).unwrap();
        let to = Block(u32::try_from(place.at.0 / 2048).unwrap());
        let mut draft = Draft::new(&image);
        iso.relocate(&mut draft, file, to, &text).unwrap();
        let after = bytes(&draft);
        shows(&lab, &image, &after, &text, label == "LORAX");
        // The old blocks are as they were.
        let old = file.extents[0].range();
        let old = usize::try_from(old.start).unwrap()..usize::try_from(old.end).unwrap();
        assert_eq!(after[old.clone()], image[old]);
        // What was read before the move is no longer true; what is read from the draft is.
        assert!(iso.replace(&mut draft, file, b"late").is_err());
        let again = Iso::read(&draft).unwrap();
        let moved = again.file(CFG).unwrap().clone();
        assert_eq!(
            moved.extents,
            [Extent {
                at: place.at,
                len: Bytes(5000)
            }]
        );
        again.replace(&mut draft, &moved, &[b'-'; 6144]).unwrap();
        shows(
            &lab,
            &image,
            &bytes(&draft),
            &[b'-'; 6144],
            label == "LORAX",
        );
        // Nothing else fits in the same place, nor on anything that is in use, nor outside.
        let other = again.file("/EFI/BOOT/BOOT.conf").unwrap();
        let clean = Draft::new(&image);
        let before = draft.patches().unwrap();
        for to in [
            to.0,
            to.0 + 2,
            0,
            16,
            19,
            32,
            u32::MAX,
            iso.volume().space.0 - 1,
            iso.volume().space.0,
        ] {
            assert!(
                again.relocate(&mut draft, other, Block(to), b"x").is_err(),
                "{label} {to}"
            );
        }
        for file in iso.files().iter().filter(|file| file.size.0 > 0) {
            let to = Block(u32::try_from(file.extents[0].at.0 / 2048).unwrap());
            assert!(again.relocate(&mut draft, other, to, b"x").is_err());
        }
        assert_eq!(draft.patches().unwrap(), before);
        assert_eq!(clean.patches().unwrap(), []);
        // Two files moved from the same reading of the image do not land on each other.
        let other = iso.file("/EFI/BOOT/BOOT.conf").unwrap();
        assert!(iso.relocate(&mut draft, other, to, b"x").is_err());
        iso.relocate(&mut draft, other, Block(to.0 + 3), b"x")
            .unwrap();
    }
}

#[test]
fn blocks_that_others_use_and_records_that_disagree_are_left_alone() {
    let lab = Lab::new();
    let (_, image) = lab.make("RJ", JOLIET);
    let iso = Iso::read(&image).unwrap();
    let file = iso.file(CFG).unwrap();
    let reads = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image.clone();
        edit(&mut image);
        let iso = Iso::read(&image).unwrap();
        let file = iso.file(CFG).unwrap();
        let fits = iso.fits(file, Bytes(10));
        assert_eq!(
            iso.replace(&mut Draft::new(&image), file, b"0123456789")
                .is_ok(),
            fits
        );
        fits
    };
    assert!(reads(&|_| ()));
    let record = file.records[0].at.index().unwrap();
    // One name claims another length.
    assert!(!reads(&|image| image[record + 10] ^= 1));
    // Another file begins one block before and runs into it.
    let other = iso.file("/EFI/BOOT/BOOT.conf").unwrap().records[0]
        .at
        .index()
        .unwrap();
    let block = u32::try_from(file.extents[0].at.0 / 2048).unwrap();
    assert!(!reads(&|image| {
        image[other + 2..other + 6].copy_from_slice(&(block - 1).to_le_bytes());
        image[other + 10..other + 14].copy_from_slice(&2049u32.to_le_bytes());
    }));
    // It ends just before.
    assert!(reads(&|image| {
        image[other + 2..other + 6].copy_from_slice(&(block - 1).to_le_bytes());
        image[other + 10..other + 14].copy_from_slice(&2048u32.to_le_bytes());
    }));
    // All names of it point into a directory.
    let directory = iso.directory("/many").unwrap().extent.at.0 / 2048;
    let directory = u32::try_from(directory).unwrap();
    assert!(!reads(&|image| {
        for record in file.records.iter() {
            let at = record.at.index().unwrap();
            image[at + 2..at + 6].copy_from_slice(&directory.to_le_bytes());
        }
    }));
    // UDF shows the files, too: the length stays.
    let mut udf = image.clone();
    let end = (16..32).find(|block| udf[block * 2048] == 255).unwrap() * 2048;
    for (number, id) in [b"BEA01", b"NSR02", b"TEA01"].iter().enumerate() {
        let at = end + (number + 1) * 2048;
        udf[at..at + 2048].fill(0);
        udf[at + 1..at + 6].copy_from_slice(*id);
    }
    let iso = Iso::read(&udf).unwrap();
    assert!(iso.has_udf());
    let file = iso.file(CFG).unwrap();
    assert!(iso.fits(file, file.size));
    assert!(!iso.fits(file, file.size - Bytes(1)));
}
