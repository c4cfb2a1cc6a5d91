// SPDX-License-Identifier: MIT OR Apache-2.0
//! The README shows what the screens look like, and leads through the interface: both are true.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::driven::judge;
use crate::made_up::Way;
use crate::screens::{COLOUR, characters, drawn};
use crate::support::lab::{iso, scratch};
use crate::support::program::{command, text};

const FROM: &str = "<!-- screens: made by tests/tui/readme.rs -->\n";
const TO: &str = "<!-- end of the screens -->";

fn readme() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn the_screens_are_as_they_are_drawn() {
    let mut sticks = Way::to_sticks();
    sticks.press(livestick::ui::tui::keys::Cmd::Down);
    let mut shown = String::new();
    for way in [
        Way::to_image(),
        sticks,
        Way::to_sizes(),
        Way::to_question(),
        Way::to_writing(),
        Way::to_report(),
    ] {
        let screen = characters(&drawn(&way.state, COLOUR, (80, 20)));
        let _ = write!(shown, "\n```\n{screen}```\n");
    }
    shown.push('\n');
    let (path, text) = readme();
    let (before, rest) = text.split_once(FROM).unwrap();
    let (known, after) = rest.split_once(TO).unwrap();
    if env::var_os("UPDATE").is_some() {
        fs::write(path, format!("{before}{FROM}{shown}{TO}{after}")).unwrap();
        return;
    }
    assert!(
        known == shown,
        "the screens in README.md are stale; run UPDATE=1 cargo test --test tui readme"
    );
}

/// The commands of the README's walk-through.
fn walk_through() -> String {
    let (_, text) = readme();
    let (_, rest) = text.split_once("<!-- walk-through -->\n\n```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_walk_through_in_tmux_writes_a_stick() {
    // tmux's socket has to have a short path.
    let sockets = TempDir::new_in("/tmp").unwrap();
    let dir = TempDir::new_in(scratch()).unwrap();
    let demo = dir.path().join("target/demo");
    fs::create_dir_all(&demo).unwrap();
    fs::copy(iso("grub2", &["--size", "64"]), demo.join("live.iso")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_livestick"));
    let release = dir.path().join("target/release");
    fs::create_dir_all(&release).unwrap();
    std::os::unix::fs::symlink(program, release.join("livestick")).unwrap();
    let tmux = |script: &str| {
        let mut shell = command("bash");
        shell
            .args(["-euc", script])
            .current_dir(dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", dir.path())
            .env("TERM", "xterm-256color")
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", sockets.path());
        shell
    };
    let mut script = tmux(&walk_through()).spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = script.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_secs(120) {
            let screen = tmux("tmux capture-pane -p").output().unwrap();
            let _ = script.kill();
            let _ = tmux("tmux kill-server").output();
            panic!("stuck at:\n{}", String::from_utf8_lossy(&screen.stdout));
        }
        sleep(Duration::from_millis(50));
    };
    let _ = tmux("tmux kill-server").output();
    assert!(status.success());
    judge(&demo.join("live.iso"), &demo.join("stick.img"));
    assert_eq!(fs::metadata(demo.join("stick.img")).unwrap().len(), 2 << 30);
    assert!(text(&demo).ends_with("target/demo"));
}
