// SPDX-License-Identifier: MIT OR Apache-2.0
//! A passphrase that is typed, in a real terminal.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::lab::{iso, livestick, scratch};
use crate::support::program::{run, text};
use crate::{ABLE, SIZES, opens};

#[test]
fn it_is_typed_twice_unseen() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let stick = dir.path().join("stick.img");
    let image = iso("grub2", &ABLE);
    let pty = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut program = CommandBuilder::new(env!("CARGO_BIN_EXE_livestick"));
    program.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    program.args([
        "write",
        text(&image),
        text(&stick),
        "--size",
        "160MiB",
        "--yes",
    ]);
    program.args(SIZES);
    program.arg("--home-encrypt");
    let mut child = pty.slave.spawn_command(program).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut writer = pty.master.take_writer().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut some = [0; 1024];
        while let Ok(len @ 1..) = reader.read(&mut some) {
            if tell.send(some[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    let mut wait = |what: &str, times: usize| {
        let start = Instant::now();
        loop {
            let said = String::from_utf8_lossy(&seen).into_owned();
            if said.matches(what).count() >= times {
                return said;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{what}: {said}");
            if let Ok(some) = told.recv_timeout(Duration::from_millis(100)) {
                seen.extend(some);
            }
        }
    };
    wait("Passphrase for /home", 1);
    assert!(!stick.exists());
    // What it is told from here on is in no core, written to a file or handed to a program.
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.process_id().unwrap()));
    let limits = limits.unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let most: Vec<&str> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(most, ["1", "1"]);
    writer.write_all(b"Alpha-1\r").unwrap();
    wait("The same again", 1);
    writer.write_all(b"Beta-2\r").unwrap();
    wait("two different ones", 1);
    wait("Passphrase for /home", 2);
    writer.write_all(b"Corr\x15Battery x\x7FStaple\r").unwrap();
    wait("The same again", 2);
    writer.write_all(b"Battery Staple\r").unwrap();
    let said = wait("record  ", 1);
    assert!(child.wait().unwrap().success());
    for word in ["Alpha-1", "Beta-2", "Battery", "Staple", "***"] {
        assert!(!said.contains(word), "{said}");
    }
    let out = livestick(&["verify", text(&stick), "--json"]);
    let last = String::from_utf8(out.stdout).unwrap();
    assert!(
        last.contains("header good, content not looked at"),
        "{last}"
    );
    let table = run("sfdisk", &["-J", text(&stick)]);
    let table: Value = serde_json::from_str(&table).unwrap();
    let home = table["partitiontable"]["partitions"].as_array().unwrap();
    let home = home
        .iter()
        .find(|one| one["name"] == "livestick-home")
        .unwrap();
    let number = |key: &str| usize::try_from(home[key].as_u64().unwrap() * 512).unwrap();
    let bytes = fs::read(&stick).unwrap();
    let part = dir.path().join("home");
    fs::write(&part, &bytes[number("start")..][..number("size")]).unwrap();
    assert!(opens(&part, "Battery Staple"));
}
