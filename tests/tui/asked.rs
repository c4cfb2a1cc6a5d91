// SPDX-License-Identifier: MIT OR Apache-2.0
//! The questions of the command line, in a real terminal: Ctrl-C is a no, at once, and nothing was written.

use std::fs;
use std::path::Path;

use crate::errands::{OnDisk, flip, with_stick};
use crate::support::program::{command, root, text};
use crate::terminal::{Terminal, livestick};

fn asked(dir: &Path, args: &[&str]) -> Terminal {
    let terminal = Terminal::start(livestick(dir, args), 100, 40);
    terminal.see("to go on:");
    terminal
}

#[test]
fn ctrl_c_at_a_question_ends_a_repair() {
    let dir = with_stick();
    flip(dir.path());
    let stick = dir.path().join("stick.img");
    let before = fs::read(&stick).unwrap();
    let report = dir.path().join("report.json");
    for (how, json) in [
        ("\x03", false),
        ("\x03", true),
        ("TERM", false),
        ("QUIT", false),
    ] {
        let args = ["repair", "stick.img", "live.iso", "--report", text(&report)];
        let more: &[&str] = if json { &["--json"] } else { &[] };
        let mut terminal = asked(dir.path(), &[&args, more].concat());
        if how.len() > 1 {
            terminal.signal(how);
        } else {
            terminal.press(how);
        }
        assert_eq!(terminal.end().exit_code(), 130);
        terminal.see("nothing was written");
        assert!(fs::read(&stick).unwrap() == before);
        assert!(!report.exists());
    }
    // An answer is still an answer.
    let mut terminal = asked(dir.path(), &["repair", "stick.img", "live.iso"]);
    terminal.press("stick.img\r");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.see("cured");
    assert!(fs::read(&stick).unwrap() != before);
}

#[test]
fn ctrl_c_at_a_question_ends_a_probe() {
    if !root() {
        return;
    }
    let on = OnDisk::new();
    let (node, before) = (on.node(), on.bytes());
    for more in [&[][..], &["--full"]] {
        let args = [&["probe", node, "--allow-disk", node], more].concat();
        let mut terminal = asked(on.dir.path(), &args);
        terminal.press("\x03");
        assert_eq!(terminal.end().exit_code(), 130);
        assert!(on.bytes() == before);
    }
}

#[test]
fn a_stick_that_was_written_anew_meanwhile_is_not_repaired() {
    if !root() {
        return;
    }
    let dir = with_stick();
    flip(dir.path());
    let on = OnDisk::over(dir);
    let node = on.node();
    let args = ["repair", node, "live.iso", "--allow-disk", node];
    let mut terminal = asked(on.dir.path(), &args);
    // The same disk, the same image, but another stick by now.
    let anew = ["write", "live.iso", node, "--allow-disk", node, "--yes"];
    // Written in the same second it would be the same stick but for this.
    let other = ["--extra-kernel-args", "anew"];
    let mut write = command(env!("CARGO_BIN_EXE_livestick"));
    let written = write
        .args(anew)
        .args(other)
        .current_dir(on.dir.path())
        .output()
        .unwrap();
    assert!(written.status.success(), "{written:?}");
    let before = on.bytes();
    terminal.press(&format!("{}\r", on.name()));
    assert_eq!(terminal.end().exit_code(), 3);
    terminal.see("start again");
    assert!(on.bytes() == before);
}
