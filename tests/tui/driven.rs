// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the first screen to the report by keys alone, in a real terminal; the stick is judged by others.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use portable_pty::CommandBuilder;
use tempfile::TempDir;

use crate::support::lab::{iso, scratch};
use crate::support::program::{output, run, text};
use crate::terminal::{Terminal, livestick};

pub const RIGHT: &str = "\x1b[C";
pub const LEFT: &str = "\x1b[D";
pub const DOWN: &str = "\x1b[B";
pub const ESCAPE: &str = "\x1b";
/// Ctrl-U: empties a field.
pub const CLEAR: &str = "\x15";

/// A folder with an image in it.
pub fn lab() -> TempDir {
    let dir = TempDir::new_in(scratch()).unwrap();
    fs::copy(iso("grub2", &[]), dir.path().join("live.iso")).unwrap();
    dir
}

/// From the first screen to the sizes, for a new stick image file of 1 GiB.
pub fn to_the_sizes(terminal: &mut Terminal) {
    terminal.see("What it is");
    terminal.see("dracut dmsquash-live");
    terminal.press_and_see("\r", "[2 Stick]");
    terminal.press_and_see("f", "A stick image file");
    terminal.press(&format!("{CLEAR}stick.img\t{CLEAR}1GiB\r"));
    terminal.see("[3 Persistence]");
    // Once the initrd was looked into.
    terminal.see("the overlay takes the rest");
}

/// On to the confirmation, of an overlay and a home.
pub fn to_the_question(terminal: &mut Terminal) {
    to_the_sizes(terminal);
    terminal.press_and_see(RIGHT, "half each");
    terminal.press_and_see("\r", "[4 Review]");
    terminal.press_and_see("\r", "Type stick.img");
}

/// What others say of a stick with two btrfs partitions behind a hybrid image with a GPT.
pub fn judge(image: &Path, stick: &Path) {
    let said = run("sgdisk", &["--verify", text(stick)]);
    assert!(said.contains("No problems found"), "{said}");
    let verdict = output("sfdisk", &["--verify", text(stick)]);
    assert!(verdict.status.success(), "{verdict:?}");
    // The media check of the image is computed anew, and still passes.
    run("checkisomd5", &[text(stick)]);
    let size = fs::metadata(image).unwrap().len();
    let limit = size.to_string();
    let differing = output("cmp", &["-l", "-n", &limit, text(image), text(stick)]);
    let differing = String::from_utf8(differing.stdout).unwrap().lines().count();
    assert!((1..65_536).contains(&differing), "{differing} bytes differ");
    let behind = run("partx", &["-r", "-g", "-o", "START,SECTORS", text(stick)]);
    let mut labels = Vec::new();
    for line in behind.lines() {
        let (start, sectors) = line.split_once(' ').unwrap();
        let (at, len): (u64, u64) = (start.parse().unwrap(), sectors.trim().parse().unwrap());
        // The image's own partitions, and the record's.
        let mut magic = [0; 16];
        File::open(stick)
            .unwrap()
            .read_exact_at(&mut magic, at * 512)
            .unwrap();
        if at * 512 < size || magic == *b"LIVESTICK-RECORD" {
            continue;
        }
        let part = stick.with_extension(format!("part{at}"));
        let (from, to) = (format!("if={}", text(stick)), format!("of={}", text(&part)));
        let (skip, count) = (format!("skip={at}"), format!("count={len}"));
        run(
            "dd",
            &[
                &from,
                &to,
                "bs=512",
                &skip,
                &count,
                "conv=sparse",
                "status=none",
            ],
        );
        run("btrfs", &["check", "--readonly", text(&part)]);
        let label = run("blkid", &["-p", "-s", "LABEL", "-o", "value", text(&part)]);
        labels.push(label.split('-').next().unwrap().to_owned());
        fs::remove_file(part).unwrap();
    }
    assert_eq!(labels, ["ovl", "home"]);
}

#[test]
fn keys_alone_lead_from_the_first_screen_to_a_stick() {
    let dir = lab();
    let mut terminal = Terminal::start(livestick(dir.path(), &[]), 80, 24);
    to_the_question(&mut terminal);
    terminal.press_and_see("no\r", "is not 'stick.img'");
    assert!(!dir.path().join("stick.img").exists());
    terminal.press(&format!("{CLEAR}stick.img\r"));
    terminal.see("[6 Report]");
    terminal.see("identical to the image except");
    // The name of the log may be broken into two lines.
    let bare = |text: String| text.split_whitespace().collect::<String>();
    terminal.press("\x1b[6~");
    terminal.until("the log's name", || {
        bare(terminal.text()).contains("livestick.log")
    });
    // The report can be saved, and not over something.
    terminal.press_and_see("s", "Save the report");
    terminal.press_and_see(&format!("{CLEAR}live.iso\r"), "saving to live.iso");
    terminal.press_and_see("s", "Save the report");
    terminal.press_and_see(&format!("{CLEAR}report.txt\r"), "saved to");
    let report = fs::read_to_string(dir.path().join("report.txt")).unwrap();
    assert!(report.contains("read back"), "{report}");
    // Another one with the same settings: back to the sticks, where nothing is chosen.
    terminal.press_and_see("w", "Nothing is chosen by itself");
    terminal.press_and_see("f", "A stick image file");
    terminal.press_and_see(&format!("{CLEAR}other.img\r"), "half each");
    terminal.press("q");
    // A verified stick was the last that happened; 6 is for media that cannot be asked (a file in memory).
    let code = terminal.end().exit_code();
    assert!([0, 6].contains(&code), "{code}");
    terminal.was_given_back();
    judge(&dir.path().join("live.iso"), &dir.path().join("stick.img"));
    let log = fs::read_to_string(dir.path().join(".local/state/livestick/livestick.log")).unwrap();
    assert!(log.contains("report:"), "{log}");
}

#[test]
fn a_window_that_changes_its_size_is_followed_on_every_screen() {
    let dir = lab();
    let mut terminal = Terminal::start(slow(&dir), 80, 24);
    let resized = |terminal: &mut Terminal, heading: &str| {
        terminal.resize(50, 12);
        terminal.see("Please make it larger");
        terminal.resize(60, 16);
        terminal.see(heading);
        terminal.resize(120, 40);
        terminal.see(heading);
        terminal.until("the footer in the last row", || {
            terminal
                .text()
                .lines()
                .nth(39)
                .is_some_and(|line| line.contains("keys"))
        });
        terminal.resize(80, 24);
        terminal.see(heading);
    };
    terminal.see("dracut dmsquash-live");
    resized(&mut terminal, "[1 Image]");
    terminal.press_and_see("?", "Keys: Image");
    resized(&mut terminal, "Keys: Image");
    terminal.press_and_see("\r", "[1 Image]");
    terminal.press_and_see("\r", "[2 Stick]");
    resized(&mut terminal, "[2 Stick]");
    terminal.press_and_see("f", "A stick image file");
    resized(&mut terminal, "A stick image file");
    terminal.press(&format!("{CLEAR}stick.img\t{CLEAR}1GiB\r"));
    terminal.see("the overlay takes the rest");
    resized(&mut terminal, "[3 Persistence]");
    terminal.press_and_see("\r", "[4 Review]");
    resized(&mut terminal, "[4 Review]");
    terminal.press_and_see("\r", "Type stick.img");
    resized(&mut terminal, "Type stick.img");
    terminal.press_and_see("stick.img\r", "at work");
    resized(&mut terminal, "[5 Write]");
    terminal.press_and_see(ESCAPE, "Stop writing?");
    resized(&mut terminal, "Stop writing?");
    terminal.press_and_see("y", "[6 Report]");
    resized(&mut terminal, "[6 Report]");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 130);
    terminal.was_given_back();
}

/// livestick, on a machine whose mkfs.btrfs takes very long.
pub fn slow(dir: &TempDir) -> CommandBuilder {
    let tools = dir.path().join("slow");
    fs::create_dir(&tools).unwrap();
    let tool = tools.join("mkfs.btrfs");
    let real = run("which", &["mkfs.btrfs"]);
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] || sleep 300\nexec {} \"$@\"\n",
        real.trim()
    );
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = livestick(dir.path(), &[]);
    command.env(
        "PATH",
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", text(&tools)),
    );
    command
}

/// On to a writer that is stuck in a step.
pub fn to_the_stuck_writer(terminal: &mut Terminal) {
    to_the_question(terminal);
    terminal.press_and_see("stick.img\r", "at work");
    terminal.see("make the overlay filesystem");
    terminal.see("Making a filesystem moves few bytes");
}

#[test]
fn keys_are_answered_while_the_writer_is_stuck() {
    let dir = lab();
    let mut terminal = Terminal::start(slow(&dir), 80, 24);
    to_the_stuck_writer(&mut terminal);
    for _ in 0..5 {
        terminal.press_and_see("?", "Keys: Write");
        terminal.press("?");
        terminal.see_no("Keys: Write");
    }
    terminal.press_and_see(ESCAPE, "Stop writing?");
    terminal.see("the stick will be blank");
    terminal.press("n");
    terminal.see_no("Stop writing?");
    // Letters that leave elsewhere ask here.
    terminal.press_and_see("q", "Stop writing?");
    terminal.press_and_see("y", "[6 Report]");
    terminal.see("The stick is blank");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 130);
    terminal.was_given_back();
    let head = fs::read(dir.path().join("stick.img")).unwrap();
    assert!(head[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn where_nothing_happens_nothing_is_drawn() {
    let dir = lab();
    let mut terminal = Terminal::start(livestick(dir.path(), &[]), 80, 24);
    let idle = |terminal: &Terminal| {
        // What is still on its way to the screen comes first.
        let start = Instant::now();
        let mut drawn = terminal.drawn();
        loop {
            sleep(Duration::from_secs(1));
            if terminal.drawn() == drawn {
                break;
            }
            drawn = terminal.drawn();
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it draws and draws"
            );
        }
        let before = ticks(terminal.pid());
        sleep(Duration::from_secs(3));
        assert_eq!(terminal.drawn(), drawn);
        ticks(terminal.pid()) - before
    };
    to_the_sizes(&mut terminal);
    // Clock ticks are 10 ms (sysconf(_SC_CLK_TCK) is 100 on Linux); 3 are 1 % of a core over 3 s.
    let used = idle(&terminal);
    assert!(used <= 3, "{used} ticks of 10 ms in 3 s on the sizes");
    terminal.press_and_see("\r", "[4 Review]");
    let used = idle(&terminal);
    assert!(used <= 3, "{used} ticks of 10 ms in 3 s on the review");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
}

/// Processor time of a process (proc_pid_stat(5), utime and stime).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_path_of_the_command_line_is_chosen() {
    let dir = lab();
    let mut terminal = Terminal::start(
        livestick(dir.path(), &["tui", "live.iso", "stick.img", "--ascii"]),
        80,
        24,
    );
    terminal.see("[2 Stick]");
    terminal.see("A stick image file");
    assert!(terminal.text().is_ascii(), "{}", terminal.text());
    terminal.press_and_see("\r", "live.iso on stick.img");
    terminal.press_and_see(&LEFT.repeat(2), "/home takes the rest");
    terminal.press_and_see(&format!("{DOWN}{DOWN}{DOWN}{RIGHT}"), "/home");
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.was_given_back();
}

/// Whether a colour is set by "select graphic rendition" (ECMA-48, 8.3.117): 30 to 37, 40 to 47, or 38 and 48 with more.
fn has_colour(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.split("\x1b[").skip(1).any(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .unwrap_or(0);
        let numbers = rest[..end].split(';').filter_map(|n| n.parse::<u8>().ok());
        rest[end..].starts_with('m') && numbers.into_iter().any(|n| matches!(n, 30..=38 | 40..=48))
    })
}

#[test]
fn the_environment_decides_what_the_terminal_gets() {
    let dir = lab();
    let utf8 = ("LC_ALL", "C.UTF-8");
    for (variables, ascii, colour) in [
        ([utf8, ("TERM", "xterm-256color")], false, true),
        ([utf8, ("TERM", "screen")], false, true),
        ([utf8, ("TERM", "vt220")], true, false),
        ([("LC_ALL", "C"), ("TERM", "linux")], true, true),
        ([utf8, ("NO_COLOR", "1")], false, false),
    ] {
        let mut command = livestick(dir.path(), &[]);
        for (name, value) in variables {
            command.env(name, value);
        }
        let mut terminal = Terminal::start(command, 80, 24);
        to_the_sizes(&mut terminal);
        terminal.press("q");
        assert_eq!(terminal.end().exit_code(), 0);
        terminal.was_given_back();
        let bytes = terminal.bytes();
        assert_eq!(bytes.is_ascii(), ascii, "{variables:?}");
        assert_eq!(has_colour(&bytes), colour, "{variables:?}");
    }
}
