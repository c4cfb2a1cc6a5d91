// SPDX-License-Identifier: MIT OR Apache-2.0
//! The question before anything is lost.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::bench::{Bench, Print, livestick};
use crate::support::lab::iso;
use crate::support::program::{command, run, text};
use crate::{LIVESTICK, refuses, refuses_as};

/// `livestick` on a terminal of its own.
struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    /// Starts it, and waits until it asks.
    fn start(args: &[&str]) -> Terminal {
        let words = [&[LIVESTICK], args].concat();
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let mut script = command("script");
        script.args([
            "--quiet",
            "--return",
            "--command",
            &quoted.join(" "),
            "/dev/null",
        ]);
        script
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut terminal = Terminal {
            child: script.spawn().unwrap(),
            shown: String::new(),
        };
        terminal.read_to(" to go on: ");
        terminal
    }

    fn read_to(&mut self, end: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !self.shown.ends_with(end) && stdout.read(&mut byte).unwrap() == 1 {
            self.shown.push(char::from(byte[0]));
        }
    }

    /// Types a line, and gives the status and everything that was shown.
    fn answer(mut self, line: &str) -> (Option<i32>, String) {
        let mut stdin = self.child.stdin.take().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        // The end of this input would be the end of the terminal.
        self.read_to("\0");
        let status = self.child.wait().unwrap();
        drop(stdin);
        (status.code(), self.shown.replace("\r\n", "\n"))
    }
}

#[test]
fn without_a_terminal_there_is_no_yes() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = iso("grub2", &[]);
    let args = [text(&image), text(&target)];
    refuses(3, &args, &target, &["no terminal to ask on", "--yes"]);
    // A yes on a pipe is none.
    let start = |args: &[&str]| {
        let mut command = livestick(args);
        let mut yes = Command::new("yes")
            .arg("stick.img")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        command.stdin(yes.stdout.take().unwrap());
        std::thread::spawn(move || yes.wait());
        command
    };
    refuses_as(3, &args, &target, &["no terminal"], start);
}

#[test]
fn the_question_shows_what_will_be_lost_and_takes_the_name_only() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    run("mkfs.ext4", &["-q", "-F", "-L", "precious", text(&target)]);
    let image = iso("grub2", &[]);
    let args = ["write", text(&image), text(&target)];
    let before = Print::of(&target);
    for wrong in ["yes", "y", "", "stick", "STICK.IMG", text(&target)] {
        let (code, shown) = Terminal::start(&args).answer(wrong);
        assert_eq!(code, Some(3), "{wrong}: {shown}");
        assert!(
            shown.contains("ext4") && shown.contains("'precious'"),
            "{shown}"
        );
        assert!(
            shown.contains("will be lost") && shown.contains("Type stick.img to go on"),
            "{shown}"
        );
        assert!(
            shown.contains("'stick.img' was not typed; nothing was written"),
            "{shown}"
        );
        assert_eq!(Print::of(&target), before, "{wrong}");
    }
    let (code, shown) = Terminal::start(&args).answer("stick.img");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("verified"), "{shown}");
    assert_ne!(Print::of(&target), before);
}

#[test]
fn what_changes_while_the_question_stands_is_noticed() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = bench.copy(&iso("grub2", &[]), "image.iso");
    let changed = |what: &Path| {
        let terminal = Terminal::start(&["write", text(&image), text(&target)]);
        let new = bench.copy(what, "new");
        fs::rename(&new, what).unwrap();
        let before = Print::of(&target);
        let (code, shown) = terminal.answer("stick.img");
        assert_eq!(code, Some(3), "{shown}");
        assert_eq!(Print::of(&target), before);
        shown
    };
    let shown = changed(&target);
    assert!(
        shown.contains("not the one the plan was made for"),
        "{shown}"
    );
    let shown = changed(&image);
    assert!(shown.contains("changed after the plan was made"), "{shown}");
}
