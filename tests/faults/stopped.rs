// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user who stops.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::support::bench::{Bench, livestick};
use crate::support::device::left_behind;
use crate::support::lab::iso;
use crate::support::program::{command, root, text};
use crate::{BLANK, judge_blank};

/// `livestick` at work: its events as they come, a directory of its own for what is temporary, a mark on every
/// process that it starts.
pub struct AtWork {
    pub child: Child,
    said: Option<BufReader<std::process::ChildStdout>>,
    temporary: PathBuf,
    mark: String,
}

impl AtWork {
    pub fn start(bench: &Bench, args: &[&str], wrap: &[&str]) -> AtWork {
        let temporary = bench.path("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mark = format!("LIVESTICK_TEST={}", text(bench.dir.path()));
        let (name, value) = mark.split_once('=').unwrap();
        let words = [wrap, &[env!("CARGO_BIN_EXE_livestick")], args, &["--json"]].concat();
        let mut command = command(words[0]);
        command
            .args(&words[1..])
            .env(name, value)
            .env("TMPDIR", &temporary);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, as a shell makes one for each command.
        let child = command.process_group(0).spawn().unwrap();
        AtWork {
            child,
            said: None,
            temporary,
            mark,
        }
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let stdout = &mut self.child.stdout;
        let said = self
            .said
            .get_or_insert_with(|| BufReader::new(stdout.take().unwrap()));
        said.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Waits for an event.
    fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) {
        while let Some(event) = self.next() {
            if wanted(&event) {
                return;
            }
        }
        panic!("it ended before what was waited for");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The last event and the status.
    pub fn end(&mut self) -> (Value, Option<i32>) {
        let mut last = Value::Null;
        while let Some(event) = self.next() {
            last = event;
        }
        (last, self.child.wait().unwrap().code())
    }

    /// Processes that carry the mark.
    fn started(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|entry| {
                let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|one| one == self.mark.as_bytes())
            })
            .map(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).replace('\0', " ")
            })
            .collect()
    }

    /// Nothing of it is there any more: at once where it ended by itself, and where it was killed as soon as the
    /// kernel has cleaned up. Only a few directories in the place for temporary files outlive a SIGKILL.
    pub fn leaves_nothing(&self, bench: &Bench, target: &Path, killed: bool) {
        let start = Instant::now();
        let left = loop {
            let mut left = self.started();
            left.extend(left_behind(target, bench.dir.path()));
            if left.is_empty() || start.elapsed() > Duration::from_secs(5) {
                break left;
            }
            sleep(Duration::from_millis(10));
        };
        assert!(left.is_empty(), "left behind: {left:?}");
        let beside = fs::read_dir(target.parent().unwrap()).unwrap().flatten();
        let names = beside.map(|entry| entry.file_name().into_string().unwrap());
        let odd: Vec<_> = names.filter(|name| name.contains("livestick-")).collect();
        assert!(odd.is_empty(), "beside the target: {odd:?}");
        let temporary: Vec<_> = fs::read_dir(&self.temporary).unwrap().flatten().collect();
        assert!(killed || temporary.is_empty(), "{temporary:?}");
    }
}

/// Steps by kind, from the first event.
fn step(planned: &Value, work: &str) -> u64 {
    let steps = planned["steps"].as_array().unwrap();
    let at = steps
        .iter()
        .position(|step| step["work"] == work || step["work"].get(work).is_some());
    at.unwrap() as u64
}

/// In a /dev without loop devices filesystems are made in a scratch file, also by root.
pub const NO_LOOPS: &str = "mount -t tmpfs none /dev && for d in null:3 zero:5 random:8 urandom:9; do \
     mknod -m 666 /dev/${d%:*} c 1 ${d#*:}; done && exec \"$@\"";

fn stops(signal: Signal, work: &str, group: bool, loops: bool) {
    let mut bench = Bench::new();
    let image = iso("grub2", &["--size", "160"]);
    let backing = bench.used("disk.img", 600);
    let hide = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        NO_LOOPS,
        "sh",
    ];
    let (target, wrap) = if loops {
        (bench.attach(&backing, &[]), &[][..])
    } else {
        (backing.clone(), &hide[..])
    };
    let args = [
        "write",
        text(&image),
        text(&target),
        "-y",
        "--allow-disk",
        text(&target),
    ];
    let more = [
        "--overlay-size",
        "300MiB",
        "--home-size",
        "16MiB",
        "--home-fs",
        "ext4",
    ];
    let mut at_work = AtWork::start(&bench, &[&args[..], &more].concat(), wrap);
    let planned = at_work.next().unwrap();
    let step = step(&planned, work);
    if work == "copy" {
        let before = planned["steps"][0]["bytes"].as_u64().unwrap();
        at_work.until(|event| {
            event["event"] == "progress"
                && event["step"] == step
                && event["done"].as_u64().unwrap() > before
        });
    } else {
        at_work.until(|event| event["event"] == "started" && event["step"] == step);
    }
    if group {
        kill_process_group(at_work.pid(), signal).unwrap();
    } else {
        kill_process(at_work.pid(), signal).unwrap();
    }
    let (last, code) = at_work.end();
    assert_eq!(code, Some(130), "{signal:?} in {work}: {last}");
    assert_eq!(last["event"], "failed", "{last}");
    assert_eq!(last["failure"]["exit"], "cancelled", "{last}");
    assert_eq!(last["failure"]["state"], "blank", "{last}");
    at_work.leaves_nothing(&bench, &target, false);
    judge_blank(&target);
}

#[test]
fn stopping_in_the_middle_leaves_a_blank_stick_and_no_processes() {
    if !root() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        stops(signal, "copy", false, true);
    }
    // On a terminal the whole group gets it, and a filesystem's maker must not take it for its own.
    stops(Signal::INT, "copy", true, true);
}

#[test]
fn stopping_while_a_filesystem_is_made_leaves_a_blank_stick_and_no_processes() {
    if !root() {
        return;
    }
    stops(Signal::INT, "format", false, true);
    stops(Signal::INT, "format", true, true);
    stops(Signal::TERM, "format", false, true);
    stops(Signal::INT, "format", true, false);
}

#[test]
fn stopping_while_reading_back_leaves_a_blank_stick() {
    if !root() {
        return;
    }
    stops(Signal::INT, "read-back", false, true);
}

#[test]
fn the_words_of_a_stop_are_one_line() {
    let bench = Bench::new();
    let image = iso("grub2", &["--size", "160"]);
    let target = bench.used("stick.img", 256);
    let mut command = livestick(&["write", text(&image), text(&target), "-y"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("write grub2")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("livestick: stopped as asked; {BLANK}\n"));
    judge_blank(&target);
}
