// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was published of an image, and a disk that is verified and probed by keys, in a real terminal. A loop device
//! stands in for a stick; as it does not look like one it has to be named first.

use std::fs;
use std::process::Command;

use crate::driven::{ESCAPE, lab};
use crate::errands::OnDisk;
use crate::support::program::root;
use crate::terminal::{Terminal, livestick};

#[test]
fn the_image_screen_tells_what_was_published() {
    let dir = lab();
    let list = dir.path().join("SHA256SUMS");
    let said = Command::new("sha256sum")
        .arg("live.iso")
        .current_dir(dir.path())
        .output();
    let right = String::from_utf8(said.unwrap().stdout).unwrap();
    let wrong = right.replacen(&right[..8], "00000000", 1);
    // Nothing; the right digest, unsigned; another one.
    for (text, words) in [
        (None, vec!["no published digest found"]),
        (Some(&right), vec!["unsigned", "the image has it"]),
        (Some(&wrong), vec!["the image has another one"]),
    ] {
        if let Some(text) = text {
            fs::write(&list, text).unwrap();
        }
        let mut terminal = Terminal::start(livestick(dir.path(), &[]), 100, 40);
        terminal.see("What it is");
        for words in words {
            terminal.see(words);
        }
        terminal.press("q");
        assert_eq!(terminal.end().exit_code(), 0);
        terminal.was_given_back();
    }
}

const MIB: usize = 1 << 20;

/// The word that a screen wants typed.
fn word(terminal: &Terminal) -> String {
    // A screen is not drawn at once.
    terminal.see("Type ");
    let screen = terminal.text();
    let (_, rest) = screen.split_once("Type ").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_disk_is_verified_and_probed_by_keys() {
    if !root() {
        return;
    }
    let on = OnDisk::new();
    let (node, name, before) = (on.node(), on.name(), on.bytes());
    let program = livestick(on.dir.path(), &["tui", "live.iso", node]);
    let mut terminal = Terminal::start(program, 100, 40);
    terminal.see("[2 Stick]");
    // Nothing is pressed that writes before it is certain which disk that is for.
    let (cursor, job) = (format!("▸ {name} "), format!("Probe: {node},"));
    terminal.see(&cursor);
    terminal.press_and_see("v", "[6 Report]");
    terminal.see("chain");
    assert!(on.bytes() == before);
    terminal.press_and_see("w", "[2 Stick]");
    // The quick probe leaves everything as it was.
    terminal.see(&cursor);
    terminal.press("p");
    terminal.press(&format!("{node}\r"));
    terminal.see("taken back");
    terminal.see(&job);
    terminal.press(&format!("{}\r", word(&terminal)));
    terminal.see("It has the size it claims");
    assert!(on.bytes() == before);
    terminal.press_and_see("w", "[2 Stick]");
    // The other one takes everything, and says so before; no is a no.
    for yes in [false, true] {
        terminal.see(&cursor);
        terminal.press("P");
        terminal.press(&format!("{node}\r"));
        terminal.see("All data on it will be lost");
        terminal.see(&job);
        assert!(on.bytes() == before);
        if yes {
            terminal.press(&format!("{}\r", word(&terminal)));
            terminal.see("It has the size it claims");
        } else {
            terminal.press(ESCAPE);
            terminal.see("stopped before anything was written");
            terminal.see("[2 Stick]");
            assert!(on.bytes() == before);
        }
    }
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    let after = on.bytes();
    assert!(after != before && after[..MIB].iter().all(|byte| *byte == 0));
}
