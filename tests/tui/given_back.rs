// SPDX-License-Identifier: MIT OR Apache-2.0
//! However the program ends or pauses, the terminal is as it was before.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::driven::{ESCAPE, lab, slow, to_the_sizes, to_the_stuck_writer};
use crate::support::program::{root, run};
use crate::terminal::{Terminal, in_dir, livestick, stty};

/// Whether the first MiB of a file is zeros.
fn is_blank(path: &Path) -> bool {
    fs::read(path).unwrap()[..1 << 20]
        .iter()
        .all(|byte| *byte == 0)
}

#[test]
fn while_it_is_open_the_terminal_is_another_one() {
    // The other tests compare with this: they could not fail if nothing was ever changed.
    let dir = lab();
    let mut terminal = Terminal::start(livestick(dir.path(), &[]), 80, 24);
    terminal.see("[1 Image]");
    assert!(terminal.is_alternate() && terminal.hides_cursor());
    assert!(!terminal.is_given_back());
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.was_given_back();
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let dir = lab();
    let mut command = livestick(dir.path(), &[]);
    command.env("LIVESTICK_TEST_PANIC", "1");
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see("dracut dmsquash-live");
    terminal.press("\x1b[24~");
    assert_eq!(terminal.end().exit_code(), 101);
    terminal.was_given_back();
    terminal.see("panicked");
    terminal.see("its log is");
}

#[test]
fn signals_end_it_and_give_the_terminal_back() {
    for signal in ["TERM", "HUP", "INT", "QUIT"] {
        let dir = lab();
        let mut terminal = Terminal::start(livestick(dir.path(), &[]), 80, 24);
        to_the_sizes(&mut terminal);
        terminal.signal(signal);
        assert_eq!(terminal.end().exit_code(), 130, "{signal}");
        terminal.was_given_back();
    }
}

#[test]
fn a_signal_while_it_writes_leaves_a_blank_stick_and_says_so() {
    let dir = lab();
    let mut terminal = Terminal::start(slow(&dir), 80, 24);
    to_the_stuck_writer(&mut terminal);
    terminal.signal("TERM");
    assert_eq!(terminal.end().exit_code(), 130);
    terminal.was_given_back();
    terminal.see("the stick is blank");
    assert!(is_blank(&dir.path().join("stick.img")));
}

#[test]
fn a_terminal_that_is_pulled_away_ends_it() {
    let dir = lab();
    // A terminal in the terminal, whose emulator is killed.
    let mut command = slow(&dir);
    let argv = command.get_argv_mut();
    let program = argv[0].clone().into_string().unwrap();
    *argv = ["script", "-qec", &program, "/dev/null"]
        .map(Into::into)
        .to_vec();
    let mut terminal = Terminal::start(command, 80, 24);
    to_the_stuck_writer(&mut terminal);
    // A program that it starts looks like it until it is that program.
    terminal.until("just one", || livesticks(dir.path()).len() == 1);
    terminal.signal("KILL");
    terminal.until("its end", || livesticks(dir.path()).is_empty());
    assert!(is_blank(&dir.path().join("stick.img")));
    let log = fs::read_to_string(dir.path().join(".local/state/livestick/livestick.log")).unwrap();
    assert!(
        log.contains("failed: stopped as asked; the stick is blank"),
        "{log}"
    );
}

#[test]
fn a_shell_gets_the_terminal_and_gives_it_back() {
    let dir = lab();
    let mut command = in_dir("bash", dir.path());
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("PS1", "shell> ");
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see("shell>");
    let program = env!("CARGO_BIN_EXE_livestick");
    terminal.press_and_see(&format!("{program}\r"), "[1 Image]");
    let taken = stty(&terminal.tty);
    // By its key; by the signal; by the one that cannot be caught.
    let stops: [&dyn Fn(&mut Terminal); 3] = [
        &|terminal| terminal.press("\x1a"),
        &|_| signal_child("TSTP", dir.path()),
        &|_| signal_child("STOP", dir.path()),
    ];
    for (i, stop) in stops.into_iter().enumerate() {
        stop(&mut terminal);
        terminal.until("the shell has the terminal", || {
            stty(&terminal.tty) != taken && (i == 2 || !terminal.is_alternate())
        });
        terminal.press("\r");
        terminal.press("echo $((6 * 7))\r");
        terminal.see("42");
        terminal.press("clear; fg\r");
        terminal.see("[1 Image]");
        terminal.until("the terminal is taken again", || {
            stty(&terminal.tty) == taken && terminal.is_alternate() && terminal.hides_cursor()
        });
        terminal.press_and_see("?", "Keys: Image");
        terminal.press(ESCAPE);
        terminal.see_no("Keys: Image");
    }
    terminal.press("q");
    terminal.see("shell>");
    terminal.press("exit\r");
    terminal.end();
}

/// The livesticks that run in this folder.
fn livesticks(dir: &Path) -> Vec<String> {
    let program = fs::canonicalize(env!("CARGO_BIN_EXE_livestick")).unwrap();
    let here = fs::canonicalize(dir).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let is = |link: &str, what: &Path| {
            fs::read_link(entry.path().join(link)).is_ok_and(|path| path == what)
        };
        is("exe", &program) && is("cwd", &here)
    })
    .map(|entry| entry.file_name().into_string().unwrap())
    .collect()
}

/// Sends a signal to the livestick that runs in this folder.
fn signal_child(name: &str, dir: &Path) {
    for pid in livesticks(dir) {
        run("kill", &["-s", name, &pid]);
    }
}

#[test]
fn where_no_shell_could_continue_it_it_does_not_stop() {
    let dir = lab();
    let mut terminal = Terminal::start(livestick(dir.path(), &[]), 80, 24);
    terminal.see("dracut dmsquash-live");
    terminal.press_and_see("\x1a", "there is no shell to go back to");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    let start = Instant::now();
    while !terminal.is_given_back() {
        assert!(start.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(10));
    }
}

/// As in a container: the parent's session began outside, and has no number inside.
#[test]
fn in_a_container_no_shell_could_continue_it_either() {
    if !root() {
        return;
    }
    let dir = lab();
    let mut container = in_dir("unshare", dir.path());
    container.args(["--pid", "--fork", "--mount-proc"]);
    container.args(["setsid", "--fork", "--ctty", "--wait"]);
    container.arg(env!("CARGO_BIN_EXE_livestick"));
    let mut terminal = Terminal::start(container, 80, 24);
    terminal.see("dracut dmsquash-live");
    terminal.press_and_see("\x1a", "there is no shell to go back to");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
}
