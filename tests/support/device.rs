// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loop devices and mounts that go away when they are dropped, also when a test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::lab::scratch;
use super::program::{output, run, text};

/// A loop device. It is held open: were it let go between two mounts, whoever detaches a device of its number that he
/// no longer has would take it away.
pub struct Loop {
    /// Its node.
    pub node: PathBuf,
    _held: File,
}

impl Loop {
    /// Over a whole file.
    pub fn over(file: &Path) -> Loop {
        Loop::attach(&[], file)
    }

    /// Over `len` bytes at `at` of a file.
    pub fn window(file: &Path, at: u64, len: u64) -> Loop {
        let (at, len) = (at.to_string(), len.to_string());
        Loop::attach(&["--offset", &at, "--sizelimit", &len], file)
    }

    /// The same, of this name, for somebody who only reads.
    pub fn named(node: &str, file: &Path, at: u64, len: u64) -> Loop {
        let (at, len) = (at.to_string(), len.to_string());
        let window = ["--read-only", "--offset", &at, "--sizelimit", &len, node];
        run("losetup", &[&window[..], &[text(file)]].concat());
        let held = File::open(node).unwrap();
        let node = PathBuf::from(node);
        Loop { node, _held: held }
    }

    /// Over a whole file that is read and written past the page cache.
    pub fn direct(file: &Path) -> Loop {
        Loop::attach(&["--direct-io=on"], file)
    }

    fn attach(options: &[&str], file: &Path) -> Loop {
        let node = run(
            "losetup",
            &[&["--find", "--show"], options, &[text(file)]].concat(),
        );
        let node = PathBuf::from(node.trim());
        let held = File::open(&node).unwrap();
        Loop { node, _held: held }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It goes when the last user closes it, which is this.
        output("losetup", &["--detach", text(&self.node)]);
    }
}

/// A mounted filesystem.
pub struct Mounted {
    point: TempDir,
}

impl Mounted {
    /// `what` (a device, or a word such as "overlay") mounted with mount's `options`.
    pub fn new(what: &str, options: &[&str]) -> Mounted {
        let point = TempDir::new_in(scratch()).unwrap();
        run("mount", &[options, &[what, text(point.path())]].concat());
        Mounted { point }
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A child that another thread is about to start has copies of this process's files until it runs its program.
        let gone = patiently(|| output("umount", &[text(self.path())]).status.success());
        assert!(gone || thread::panicking(), "unmounting {:?}", self.point);
    }
}

/// Whether `done` comes true within some seconds.
pub fn patiently(done: impl Fn() -> bool) -> bool {
    (0..50).any(|_| {
        let now = done();
        if !now {
            thread::sleep(Duration::from_millis(100));
        }
        now
    })
}

/// What loop devices still hold `file`, and what is still mounted below `directory`.
pub fn left_behind(file: &Path, directory: &Path) -> Vec<String> {
    let held = run("losetup", &["--noheadings", "--output", "NAME,BACK-FILE"]);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let holds = |line: &&str| {
        let back = line.split_once(char::is_whitespace).unwrap_or_default().1;
        back.trim() == text(file)
    };
    let below = |line: &&str| line.contains(text(directory));
    let (held, mounted) = (held.lines().filter(holds), mounts.lines().filter(below));
    held.chain(mounted).map(str::to_owned).collect()
}
