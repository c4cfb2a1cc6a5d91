// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes wrong while a stick is written: the power, the medium, the user. Whatever it is, the stick is as it was,
//! blank, or complete, and nobody is told that it was verified when it was not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::device::{Loop, Mounted};
use support::lab::{iso, scratch};
use support::program::{output, root, run, text};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// The part of a stick that makes it boot.
const HEAD: u64 = MIB;

/// What a write is asked for here.
const OPTIONS: [&str; 5] = ["--yes", "--overlay-size-mb", "200", "--overlay-fs", "btrfs"];

fn image() -> PathBuf {
    iso("kiwi", &["--size", "40"])
}

/// A file of 512 MiB whose first MiB is that of another stick.
fn used(directory: &Path) -> PathBuf {
    let path = directory.join("stick.img");
    let file = File::create(&path).unwrap();
    file.set_len(512 * MIB).unwrap();
    file.write_all_at(&old_head(), 0).unwrap();
    path
}

/// The head of a stick with a partition, and bytes that look like nothing else.
fn old_head() -> Vec<u8> {
    let mut head: Vec<u8> = (0..HEAD).map(|i| (i * 7 % 251) as u8).collect();
    head[446..510].fill(0);
    head[446 + 4] = 0x83;
    head[446 + 9] = 8;
    head[446 + 13] = 8;
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    head
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = vec![0; HEAD as usize];
    File::open(path)
        .unwrap()
        .read_exact_at(&mut head, 0)
        .unwrap();
    head
}

fn is_blank(path: &Path) -> bool {
    head(path)[..512].iter().all(|byte| *byte == 0)
}

fn livestick(target: &Path, more: &[&str]) -> Command {
    let mut command = support::program::command(env!("CARGO_BIN_EXE_livestick"));
    command
        .arg("write")
        .arg(image())
        .arg(target)
        .args(OPTIONS)
        .args(more);
    command
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A write whose steps can be waited for.
fn started(target: &Path, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = livestick(target, more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn wait_for(lines: &mut BufReader<std::process::ChildStdout>, start: &str) {
    let mut line = String::new();
    while !line.starts_with(start) {
        line.clear();
        assert!(
            lines.read_line(&mut line).unwrap() > 0,
            "no line that starts with {start}"
        );
    }
}

/// Loop devices over `path` are gone, at the latest after a moment.
fn no_loop_device_on(path: &Path) {
    let since = Instant::now();
    loop {
        let all = run(
            "losetup",
            &["--list", "--noheadings", "--output", "BACK-FILE"],
        );
        if !all.contains(text(path)) {
            return;
        }
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "left behind: {all}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// The same stick every time, so that a complete one is known.
const SEED: [&str; 2] = ["--seed", "sigkill"];

#[test]
fn after_a_sigkill_a_stick_is_old_blank_or_complete() {
    let directory = TempDir::new_in(scratch()).unwrap();
    let stick = used(directory.path());
    let began = Instant::now();
    let (code, _, said) = ended(&livestick(&stick, &SEED).output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let whole = began.elapsed();
    let complete = head(&stick);
    let (mut old, mut blank, mut full) = (0, 0, 0);
    // Moments all over the job, in an order that no caching follows.
    for round in 0..16_u32 {
        fs::remove_file(&stick).unwrap();
        used(directory.path());
        let mut child = livestick(&stick, &SEED)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(whole * (round * 7 % 16) / 15);
        child.kill().unwrap();
        child.wait().unwrap();
        let now = head(&stick);
        if now[..512].iter().all(|byte| *byte == 0) {
            blank += 1;
            let seen = output("sfdisk", &["--dump", text(&stick)]);
            assert!(!seen.status.success(), "a blank stick has a table");
        } else if now == old_head() {
            old += 1;
        } else {
            assert!(
                now == complete,
                "round {round}: neither old nor blank nor complete"
            );
            full += 1;
            run("checkisomd5", &[text(&stick)]);
            assert!(run("sgdisk", &["-v", text(&stick)]).contains("No problems found"));
        }
        no_loop_device_on(&stick);
    }
    println!("old {old}, blank {blank}, complete {full}");
    assert!(blank > 0, "no round hit the middle of a job");
    let left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(left, ["stick.img"], "files were left behind");
}

#[test]
fn a_failing_medium_leaves_a_blank_stick_and_the_place_is_told() {
    if !root() {
        return;
    }
    // The loop device promises more than the memory behind it can take: real I/O errors.
    let small = Mounted::new("tmpfs", &["-t", "tmpfs", "-o", "size=24m"]);
    let file = small.path().join("disk");
    File::create(&file).unwrap().set_len(512 * MIB).unwrap();
    let device = Loop::over(&file);
    let target = device.node.clone();
    let allow = ["--allow-disk", text(&target)];
    let (code, _, said) = ended(&livestick(&target, &allow).output().unwrap());
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("at byte"), "{said}");
    assert!(said.contains("blank"), "{said}");
    assert!(is_blank(&target));
    assert!(
        !output("sfdisk", &["--dump", text(&target)])
            .status
            .success()
    );
}

/// Flips the byte at `at` of `file` as soon as the byte range of `seen` holds what it holds in a finished stick.
fn flip_behind(file: PathBuf, seen: (u64, Vec<u8>), at: u64) -> thread::JoinHandle<bool> {
    thread::spawn(move || {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&file)
                .unwrap()
        };
        let since = Instant::now();
        let mut now = vec![0; seen.1.len()];
        while since.elapsed() < Duration::from_secs(60) {
            // Opened anew each time: direct writes of others must be seen.
            let disk = open();
            disk.read_exact_at(&mut now, seen.0).unwrap();
            if now == seen.1 {
                let mut byte = [0];
                disk.read_exact_at(&mut byte, at).unwrap();
                disk.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
                disk.sync_all().unwrap();
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    })
}

#[test]
fn a_byte_that_changes_on_the_medium_before_it_is_read_back_is_found() {
    if !root() {
        return;
    }
    let directory = TempDir::new_in(scratch()).unwrap();
    // What a finished stick holds, so that the moment to strike is known.
    let model = used(directory.path());
    let seed = ["--seed", "flip"];
    assert!(livestick(&model, &seed).output().unwrap().status.success());
    let size = fs::metadata(image()).unwrap().len();
    let piece = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        File::open(&model)
            .unwrap()
            .read_exact_at(&mut bytes, at)
            .unwrap();
        (at, bytes)
    };
    // The last thing of the image that a blank medium does not hold anyway.
    let last = (0..size / 512).rev().map(|sector| piece(sector * 512, 512));
    let end_of_image = last
        .into_iter()
        .find(|(_, bytes)| bytes.iter().any(|b| *b != 0))
        .unwrap();
    let backup_header = piece(512 * MIB - 512, 512);
    // The ISO tree, the system partition (which ends the image), and the backup of the partition table.
    let cases = [
        ("the ISO tree", end_of_image.clone(), 3 * MIB + 17),
        (
            "the system partition",
            end_of_image.clone(),
            end_of_image.0 - 8192,
        ),
        ("the backup of the table", backup_header, 512 * MIB - 100),
    ];
    for (what, seen, at) in cases {
        for held in [false, true] {
            let file = directory.path().join("disk");
            let disk = File::create(&file).unwrap();
            disk.set_len(512 * MIB).unwrap();
            drop(disk);
            let device = Loop::over(&file);
            run("losetup", &["--direct-io=on", text(&device.node)]);
            // Another program that keeps the device open keeps its page cache alive.
            let holder = held.then(|| File::open(&device.node).unwrap());
            if let Some(mut holder) = holder.as_ref() {
                let mut cached = vec![0; 8 << 20];
                holder.read_exact(&mut cached).unwrap();
            }
            let flip = flip_behind(file.clone(), seen.clone(), at);
            let more = ["--allow-disk", text(&device.node), seed[0], seed[1]];
            let (code, out, said) = ended(&livestick(&device.node, &more).output().unwrap());
            assert!(flip.join().unwrap(), "{what}: the moment was missed");
            assert_eq!(code, Some(6), "{what}, held {held}: {out}{said}");
            assert!(!out.contains(": verified"), "{what}: {out}");
            assert!(said.contains("not what was written"), "{what}: {said}");
            assert!(is_blank(&device.node), "{what}: the stick is not blank");
            drop(holder);
            drop(device);
            fs::remove_file(&file).unwrap();
        }
    }
}

#[test]
fn what_is_read_from_memory_is_never_called_verified() {
    if !root() {
        return;
    }
    let memory = Mounted::new("tmpfs", &["-t", "tmpfs", "-o", "size=700m"]);
    let stick = memory.path().join("stick.img");
    let (code, out, said) = ended(&livestick(&stick, &["--size", "512MiB"]).output().unwrap());
    assert_eq!(code, Some(6), "{out}{said}");
    assert!(out.contains("not verified"), "{out}");
    assert!(!out.contains(": verified"), "{out}");
    assert!(!out.contains("identical to the image"), "{out}");
}

#[test]
fn a_stop_leaves_a_blank_stick_and_says_so() {
    let directory = TempDir::new_in(scratch()).unwrap();
    for (signal, step) in [("INT", "2/"), ("INT", "3/"), ("TERM", "3/"), ("HUP", "2/")] {
        let stick = used(directory.path());
        let (child, mut lines) = started(&stick, &[]);
        wait_for(&mut lines, step);
        run("kill", &["-s", signal, &child.id().to_string()]);
        let mut out = String::new();
        lines.read_to_string(&mut out).unwrap();
        let (code, _, said) = ended(&child.wait_with_output().unwrap());
        assert_eq!(code, Some(130), "SIG{signal} at {step}: {out}{said}");
        assert!(said.contains("blank"), "{said}");
        assert!(is_blank(&stick));
        no_loop_device_on(&stick);
        fs::remove_file(&stick).unwrap();
    }
}

#[test]
fn nobody_listening_is_no_reason_to_stop() {
    let directory = TempDir::new_in(scratch()).unwrap();
    let stick = used(directory.path());
    let (mut child, lines) = started(&stick, &[]);
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    run("checkisomd5", &[text(&stick)]);
}
