// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody who is not root writes a stick: the terminal is the password's as long as it is asked for, a refusal leads
//! back to the plan, and the writer that was started as root tells the screens what it does.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use portable_pty::CommandBuilder;
use tempfile::TempDir;

use crate::driven::ESCAPE;
use crate::support::device::Loop;
use crate::support::lab::iso;
use crate::support::program::{root, run, text};
use crate::terminal::{Terminal, in_dir};

/// In the place of sudo: "right" hands the plan to a writer that root started, anything else is a wrong password.
const ASK: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
printf 'Password: ' > /dev/tty
read -r answer < /dev/tty
if [ "$answer" = right ]; then
  exec 3<&0
  cat <&3 > plan &
  exec cat events
fi
echo 'ask: 1 incorrect password attempt' >&2
exit 1
"#;

/// A folder that everybody can look into, with an image and the program.
fn lab() -> TempDir {
    let dir = TempDir::new_in("/tmp").unwrap();
    let open = |name: &str, mode| {
        fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    fs::copy(iso("grub2", &[]), dir.path().join("live.iso")).unwrap();
    open("live.iso", 0o644);
    let program = dir.path().join("livestick");
    fs::copy(env!("CARGO_BIN_EXE_livestick"), program).unwrap();
    fs::write(dir.path().join("ask"), ASK).unwrap();
    open("ask", 0o755);
    for pipe in ["plan", "events"] {
        run("mkfifo", &["-m", "666", text(&dir.path().join(pipe))]);
    }
    dir
}

fn as_nobody(dir: &Path, disk: &Path) -> CommandBuilder {
    let mut command = in_dir("setpriv", dir);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args([text(&dir.join("livestick")), "tui", "live.iso", text(disk)]);
    command.env("LIVESTICK_SU", dir.join("ask"));
    command
}

/// From the review to the question for a password.
fn to_the_password(terminal: &mut Terminal) {
    terminal.press_and_see("\r", "and press Enter; Esc goes back.");
    let screen = terminal.text();
    let (_, rest) = screen.split_once("Type ").unwrap();
    let word = rest.split(' ').next().unwrap().to_owned();
    terminal.press(&format!("{word}\r"));
    terminal.see("Password:");
    // It is a plain terminal at that time, and nothing is drawn over what is typed.
    terminal.was_given_back();
}

#[test]
fn a_password_is_asked_for_on_a_plain_terminal() {
    if !root() {
        return;
    }
    let dir = lab();
    let file = dir.path().join("disk.img");
    File::create(&file).unwrap().set_len(400 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-L", "OLD", text(&file)]);
    let disk = Loop::over(&file);
    let before = run("cksum", &[text(&file)]);
    let mut terminal = Terminal::start(as_nobody(dir.path(), &disk.node), 80, 24);
    terminal.see("[2 Stick]");
    let name = disk.node.file_name().unwrap().to_str().unwrap().to_owned();
    terminal.see(&format!("On {name} now"));
    terminal.press_and_see("\r", "Not a stick by its looks");
    terminal.press(&format!("{}\r", text(&disk.node)));
    terminal.see("the overlay takes the rest");
    terminal.press_and_see("\r", "[4 Review]");

    to_the_password(&mut terminal);
    terminal.press("wrong\r");
    terminal.see("did not give the right to write (1 incorrect password attempt)");
    terminal.see("[4 Review]");
    assert!(terminal.is_alternate() && terminal.hides_cursor());

    to_the_password(&mut terminal);
    terminal.press("\x03");
    terminal.see("[4 Review]");
    // Which of the two was faster to hear of it.
    terminal.until("why", || {
        let text = terminal.text();
        text.contains("stopped as asked") || text.contains("did not give the right to write")
    });
    // The plan is still there to be read, and left.
    terminal.press_and_see("?", "Keys: Review");
    terminal.press(ESCAPE);
    terminal.see_no("Keys: Review");
    assert_eq!(run("cksum", &[text(&file)]), before);

    let mut writer = Command::new("sh")
        .args(["-c", "exec ./livestick apply-plan < plan > events"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    to_the_password(&mut terminal);
    terminal.press("right\r");
    terminal.see("[6 Report]");
    terminal.see("overlay");
    terminal.see("the stick out");
    assert!(writer.wait().unwrap().success());
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.was_given_back();
    let label = run("blkid", &["-p", "-s", "LABEL", "-o", "value", text(&file)]);
    assert_eq!(label.trim(), "Lab-WS-Live-42");
    let said = run("sgdisk", &["--verify", text(&file)]);
    assert!(said.contains("No problems found"), "{said}");
}
