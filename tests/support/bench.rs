// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole program run to its end, on targets that are used, attached, mounted or taken, and what is left of these.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::lab::scratch;
use super::program::{command, output, run, text};

/// How the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Outcome {
    fn of(output: &Output) -> Outcome {
        Outcome {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The events of `--json`.
    pub fn events(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// `livestick` with these arguments, ready to be started.
pub fn livestick(args: &[&str]) -> Command {
    let mut program = command(env!("CARGO_BIN_EXE_livestick"));
    program.args(args).stdin(Stdio::null());
    program
}

/// Runs `livestick` to its end, which has to come.
pub fn ask(args: &[&str]) -> Outcome {
    finish(livestick(args))
}

/// Runs a command to its end, which has to come within a minute.
pub fn finish(mut command: Command) -> Outcome {
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap());
    command.stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        sleep(Duration::from_millis(5));
    };
    Outcome::of(&Output {
        status,
        stdout: whole(&out),
        stderr: whole(&err),
    })
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What is at a path, to be compared with what is there later.
#[derive(Debug, PartialEq, Eq)]
pub enum Print {
    Nothing,
    Bytes(String),
    Names(Vec<String>),
    Special,
}

impl Print {
    pub fn of(path: &Path) -> Print {
        let Ok(meta) = fs::metadata(path) else {
            return Print::Nothing;
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            let names = fs::read_dir(path).unwrap();
            let mut names: Vec<_> = names
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            return Print::Names(names);
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Print::Special;
        }
        Print::Bytes(sha256(path, None))
    }
}

/// SHA-256 of a file or device, or of its first bytes.
pub fn sha256(path: &Path, len: Option<u64>) -> String {
    use std::io::Read;
    let file = File::open(path).unwrap();
    let mut rest = file.take(len.unwrap_or(u64::MAX));
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = rest.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        digest.update(&buffer[..n]);
    }
    livestick::digest::hex(&digest.finalize())
}

/// A directory of a test's own, and what it attached and mounted; taken down in the opposite order.
pub struct Bench {
    pub dir: TempDir,
    undo: Vec<Undo>,
}

enum Undo {
    /// A program with its arguments.
    Run(&'static str, Vec<String>),
    /// A loop device, as long as this file is behind it.
    Detach(String, PathBuf),
}

impl Bench {
    /// On a filesystem whose reads the kernel counts, which `/tmp` need not be.
    pub fn new() -> Bench {
        let dir = TempDir::new_in(scratch()).unwrap();
        Bench {
            dir,
            undo: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of `mib` MiB that held something before.
    pub fn used(&self, name: &str, mib: u64) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(mib << 20).unwrap();
        for at in [0, (mib << 20) - (1 << 20)] {
            file.write_all_at(&vec![0x5A; 1 << 20], at).unwrap();
        }
        file.sync_all().unwrap();
        path
    }

    /// An image of a test's own, to be damaged.
    pub fn copy(&self, image: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::copy(image, &path).unwrap();
        path
    }

    /// A loop device over a file.
    pub fn attach(&mut self, file: &Path, options: &[&str]) -> PathBuf {
        let args = [options, &["--find", "--show", text(file)]].concat();
        let node = run("losetup", &args).trim().to_owned();
        // A device of this number may have had partitions, which outlive it.
        output("partx", &["--delete", &node]);
        let undo = Undo::Detach(node.clone(), file.to_path_buf());
        self.undo.push(undo);
        node.into()
    }

    /// Mounts at a place for removable media.
    pub fn mount(&mut self, options: &[&str], source: &str) -> PathBuf {
        let point = tempfile::Builder::new().prefix("livestick-test-").tempdir();
        let point = point.unwrap().keep();
        run("mount", &[options, &[source, text(&point)]].concat());
        self.undone_by("rmdir", &[text(&point)]);
        self.undone_by("umount", &[text(&point)]);
        point
    }

    pub fn undone_by(&mut self, program: &'static str, args: &[&str]) {
        let args = args.iter().map(ToString::to_string).collect();
        self.undo.push(Undo::Run(program, args));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Run(program, args) => {
                    let args: Vec<&str> = args.iter().map(String::as_str).collect();
                    let _ = output(program, &args);
                }
                Undo::Detach(node, file) => {
                    // A device that was detached meanwhile may be somebody else's by now.
                    let name = node.trim_start_matches("/dev/");
                    let backing =
                        fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
                    if backing.is_ok_and(|backing| backing.trim_end() == text(&file)) {
                        output("partx", &["--delete", &node]);
                        output("losetup", &["--detach", &node]);
                    }
                }
            }
        }
    }
}

/// Puts bytes into a file, and gives what was there.
pub fn poke(path: &Path, at: u64, bytes: &[u8]) -> Vec<u8> {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut before = vec![0; bytes.len()];
    file.read_exact_at(&mut before, at).unwrap();
    file.write_all_at(bytes, at).unwrap();
    before
}

/// Bytes of a file.
pub fn peek(path: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(path)
        .unwrap()
        .read_exact_at(&mut bytes, at)
        .unwrap();
    bytes
}
