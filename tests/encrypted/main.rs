// SPDX-License-Identifier: MIT OR Apache-2.0
//! An encrypted `/home`, judged from outside: cryptsetup opens it with the right passphrase and no other, OpenSSL
//! decrypts it, the checkers of others find a whole filesystem inside; and the passphrase is nowhere that it may not be.

// clippy.toml's leave for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod refused;
#[path = "../support/mod.rs"]
mod support;
mod typed;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::device::Loop;
use support::lab::{iso, livestick, scratch};
use support::program::{command, output, root, run, text};
use tempfile::TempDir;

const SECRET: &str = "Correct-Horse 9 ß";
/// Everything that opening it takes.
const ABLE: [&str; 2] = ["--cryptsetup", "generator program library module"];

/// What a write with a small overlay and a small home takes.
const SIZES: [&str; 8] = [
    "--overlay-size-mb",
    "48",
    "--overlay-fs",
    "ext4",
    "--home-size-mb",
    "40",
    "--home-fs",
    "ext4",
];

/// A stick with an encrypted home, and where that is.
struct Stick {
    dir: TempDir,
    plan: Value,
    events: String,
}

impl Stick {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The partition for this purpose, in a file of its own.
    fn partition(&self, purpose: &str) -> PathBuf {
        let path = self.path(purpose);
        let planned = self.planned(purpose);
        let number = |key: &str| planned["extent"][key].as_u64().unwrap();
        let mut bytes = vec![0; usize::try_from(number("len")).unwrap()];
        let stick = File::open(self.path("stick.img")).unwrap();
        stick.read_exact_at(&mut bytes, number("at")).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn planned(&self, purpose: &str) -> &Value {
        let all = self.plan["filesystems"].as_array().unwrap();
        let planned = all.iter().find(|one| one["purpose"] == purpose);
        planned.unwrap()
    }

    fn uuid(&self) -> &str {
        self.planned("home")["encryption"]["uuid"].as_str().unwrap()
    }
}

/// Where a stick is written to, and by whom.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    File,
    OrdinaryUser,
    LoopDevice,
}

fn write(fs_kind: &str, mib: u64, who: Who) -> Stick {
    let dir = match who {
        // Nobody gets into a build directory in somebody's home.
        Who::OrdinaryUser => TempDir::new_in("/var/tmp"),
        _ => TempDir::new_in(scratch()),
    };
    let dir = dir.unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::copy(iso("grub2", &ABLE), path("live.iso")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_livestick"), path("livestick")).unwrap();
    fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
    // Old bytes, which must not show through.
    let stick = File::create(path("stick.img")).unwrap();
    stick.set_len((mib + 120) << 20).unwrap();
    for at in 100..mib + 100 {
        stick.write_all_at(&[0xA5; 4096], at << 20).unwrap();
    }
    fs::create_dir(path("tmp")).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let device;
    let mut target = text(&path("stick.img")).to_owned();
    let mut run = command(text(&path("livestick")));
    match who {
        Who::File => {}
        Who::OrdinaryUser => {
            for name in ["stick.img", "tmp", ""] {
                chown(path(name), Some(65534), Some(65534)).unwrap();
            }
            run = command("setpriv");
            run.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            run.arg(path("livestick"));
        }
        Who::LoopDevice => {
            device = Loop::over(&path("stick.img"));
            text(&device.node).clone_into(&mut target);
            run.args(["write", "--allow-disk", &target]);
        }
    }
    if who != Who::LoopDevice {
        run.arg("write");
    }
    let (size, secret) = (mib.to_string(), path("secret"));
    run.args([text(&path("live.iso")), &target, "--yes", "--json"]);
    run.args(["--overlay-size-mb", "48", "--overlay-fs", "ext4"]);
    run.args(["--home-size-mb", &size, "--home-fs", fs_kind]);
    run.args(["--home-encrypt", "--home-passphrase-file", text(&secret)]);
    let out = run.env("TMPDIR", path("tmp")).output().unwrap();
    let events = String::from_utf8(out.stdout).unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{events}{said}");
    assert_eq!(fs::read_dir(path("tmp")).unwrap().count(), 0);
    let first: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    Stick {
        plan: first["plan"].clone(),
        events,
        dir,
    }
}

/// Whether cryptsetup takes a passphrase for a partition.
fn opens(partition: &Path, secret: &str) -> bool {
    let file = partition.with_extension("try");
    fs::write(&file, secret).unwrap();
    let arguments = ["open", "--test-passphrase", "--disable-locks", "--key-file"];
    let out = output(
        "cryptsetup",
        &[&arguments[..], &[text(&file), text(partition)]].concat(),
    );
    // 2: no key with this passphrase (cryptsetup(8)).
    assert!(matches!(out.status.code(), Some(0 | 2)), "{out:?}");
    out.status.success()
}

/// What cryptsetup, OpenSSL and the filesystem's own checker say.
fn judge(stick: &Stick, fs_kind: &str) {
    let home = stick.partition("home");
    assert!(opens(&home, SECRET));
    assert!(!opens(&home, "correct-horse 9 ß"));
    assert!(!opens(&home, &format!("{SECRET}\n")));

    let said = run("cryptsetup", &["luksDump", "--disable-locks", text(&home)]);
    for (name, value) in [
        ("UUID:", stick.uuid()),
        ("offset:", "16777216 [bytes]"),
        ("cipher:", "aes-xts-plain64"),
        ("sector:", "512 [bytes]"),
        ("PBKDF:", "argon2id"),
        ("Memory:", "262144"),
        ("Time cost:", "4"),
    ] {
        let is = |line: &str| line.trim().strip_prefix(name).map(str::trim) == Some(value);
        assert!(said.lines().any(is), "{name} {value}\n{said}");
    }
    let probed = run("blkid", &["-p", "-o", "export", text(&home)]);
    assert!(probed.contains("TYPE=crypto_LUKS"), "{probed}");
    assert!(probed.contains(&format!("UUID={}", stick.uuid())));

    // No sector of the data looks like another, though most of what is inside is zeros.
    let bytes = fs::read(&home).unwrap();
    let mut sectors: Vec<&[u8]> = bytes[16 << 20..].chunks(512).collect();
    let count = sectors.len();
    sectors.sort_unstable();
    sectors.dedup();
    assert_eq!(sectors.len(), count);

    let key = stick.path("key");
    let dump = ["luksDump", "--dump-volume-key", "--batch-mode"];
    let secret = stick.path("home.try");
    fs::write(&secret, SECRET).unwrap();
    let from = ["--disable-locks", "--key-file", text(&secret)];
    let to = ["--volume-key-file", text(&key), text(&home)];
    run("cryptsetup", &[&dump[..], &from, &to].concat());
    let plain = stick.path("plain");
    let decrypt = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/luks-plain");
    run(
        decrypt,
        &[text(&home), text(&key), "16777216", text(&plain)],
    );
    let inside = run("blkid", &["-p", "-o", "export", text(&plain)]);
    assert!(inside.contains(&format!("TYPE={fs_kind}")), "{inside}");
    let planned = stick.planned("home");
    for (name, key) in [("UUID", "uuid"), ("LABEL", "label")] {
        let line = format!("{name}={}", planned[key].as_str().unwrap());
        assert!(inside.lines().any(|said| said == line), "{line}\n{inside}");
    }
    match fs_kind {
        "ext4" => run("e2fsck", &["-fn", text(&plain)]),
        _ => run("btrfs", &["check", "--check-data-csum", text(&plain)]),
    };
    // Not one of the old bytes, and zeros where nothing is.
    let plain = fs::read(&plain).unwrap();
    assert!(
        plain
            .chunks(4096)
            .any(|block| block.iter().all(|byte| *byte == 0))
    );
    let old = [0xA5; 64];
    assert!(!plain.chunks(64).any(|part| part == old));
    assert!(!bytes.chunks(64).any(|part| part == old));
}

/// Changes a byte of the stick's home.
fn flip(stick: &Stick, at: u64) {
    let start = stick.planned("home")["extent"]["at"].as_u64().unwrap();
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .open(stick.path("stick.img"))
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, start + at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], start + at).unwrap();
}

/// What verify says of the home, and its exit status.
fn verified(stick: &Stick) -> (Option<i32>, Value) {
    let out = livestick(&["verify", text(&stick.path("stick.img")), "--json"]);
    let said = String::from_utf8(out.stdout).unwrap();
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let links = last["report"]["links"].as_array().unwrap();
    let home = links.iter().find(|link| link["name"] == "home").unwrap();
    (out.status.code(), home.clone())
}

#[test]
fn others_open_decrypt_and_check_what_an_ordinary_user_made() {
    if !root() {
        return;
    }
    let stick = write("ext4", 40, Who::OrdinaryUser);
    judge(&stick, "ext4");
    assert_overlay(&stick);
    assert_told_nowhere(&stick);
    // The record has what is outside, and verify what can be said of it.
    let (code, home) = verified(&stick);
    assert_eq!(
        (code, &home["holds"]),
        (Some(0), &"not-claimed".into()),
        "{home}"
    );
    let result = home["result"].as_str().unwrap();
    assert!(result.ends_with("header good, content not looked at"));
    assert!(
        home["how"]
            .as_str()
            .unwrap()
            .contains("without the passphrase")
    );
    // Resetting the overlay puts back what opens the home, and never makes the home anew in the clear.
    let path = stick.path("stick.img");
    let before = fs::read(stick.partition("home")).unwrap();
    let out = livestick(&["reset", text(&path), "--home", "--yes"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(said.contains("encrypted /home"), "{said}");
    let out = livestick(&["reset", text(&path), "--yes"]);
    assert!(out.status.success(), "{out:?}");
    assert_overlay(&stick);
    assert!(fs::read(stick.partition("home")).unwrap() == before);
    // What is inside cannot be known; each copy of the header can.
    flip(&stick, 20 << 20);
    assert_eq!(verified(&stick).0, Some(0));
    for (at, word) in [(5000, "first copy"), (0x4000 + 5000, "second copy")] {
        flip(&stick, at);
        let (code, home) = verified(&stick);
        assert_eq!(
            (code, &home["holds"]),
            (Some(6), &"broken".into()),
            "{home}"
        );
        let result = home["result"].as_str().unwrap();
        assert!(
            result.contains(word) && result.contains("is good"),
            "{result}"
        );
        flip(&stick, at);
    }
}

#[test]
fn a_header_that_is_another_or_opens_with_nothing_is_never_proven() {
    let stick = write("ext4", 40, Who::File);
    let home = stick.partition("home");
    let start = stick.planned("home")["extent"]["at"].as_u64().unwrap();
    let put_back = || {
        let bytes = fs::read(&home).unwrap();
        let file = OpenOptions::new().write(true).open(stick.path("stick.img"));
        file.unwrap().write_all_at(&bytes, start).unwrap();
    };
    let cryptsetup = |words: &[&str]| {
        let all = [words, &["--batch-mode", "--disable-locks", text(&home)]].concat();
        run("cryptsetup", &all)
    };
    let other = "11111111-2222-4333-8444-555555555555";
    cryptsetup(&["luksUUID", "--uuid", other]);
    put_back();
    let (code, link) = verified(&stick);
    assert_eq!((code, &link["holds"]), (Some(0), &"not-claimed".into()));
    let result = link["result"].as_str().unwrap();
    assert!(
        result.contains(&format!("made anew since (UUID {other})")),
        "{result}"
    );
    cryptsetup(&["luksErase"]);
    put_back();
    let (code, link) = verified(&stick);
    assert_eq!((code, &link["holds"]), (Some(6), &"broken".into()));
    assert!(
        link["result"].as_str().unwrap().contains("no keyslot"),
        "{link}"
    );
}

#[test]
fn others_open_decrypt_and_check_what_root_made_in_a_file() {
    let stick = write("btrfs", 160, Who::File);
    judge(&stick, "btrfs");
    let note = "what is written to the home is not compressed";
    assert!(stick.plan["notes"].to_string().contains(note));
}

#[test]
fn others_open_decrypt_and_check_what_root_made_on_a_device() {
    if root() {
        judge(&write("ext4", 40, Who::LoopDevice), "ext4");
    }
}

/// What the overlay has of it.
fn assert_overlay(stick: &Stick) {
    let overlay = stick.partition("overlay");
    let cat = |path: &str| run("debugfs", &["-R", &format!("cat {path}"), text(&overlay)]);
    let line = format!(
        "stickhome UUID={} none luks,noauto,tries=3,timeout=180\n",
        stick.uuid()
    );
    assert_eq!(cat("/state/upper/etc/crypttab"), line);
    let mount = cat("/state/upper/etc/systemd/system/home.mount");
    assert!(mount.contains("What=/dev/mapper/stickhome\n"), "{mount}");
    let said = run(
        "debugfs",
        &["-R", "stat /state/upper/etc/crypttab", text(&overlay)],
    );
    assert!(said.contains("Mode:  0600"), "{said}");
}

/// The passphrase is in nothing that was printed, and not on the stick.
fn assert_told_nowhere(stick: &Stick) {
    assert!(!stick.events.contains("Horse"));
    let stick = stick.path("stick.img");
    let found = output("grep", &["-qaF", SECRET, text(&stick)]);
    assert_eq!(found.status.code(), Some(1));
}

/// A cryptsetup that first writes down what every process on the machine was called with.
fn spying(dir: &Path) -> PathBuf {
    let place = dir.join("bin");
    fs::create_dir(&place).unwrap();
    let path = place.join("cryptsetup");
    let real = run("sh", &["-c", "command -v cryptsetup"]);
    let seen = dir.join("seen");
    let script = format!(
        "#!/bin/sh\ncase $1 in luksFormat) cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ >>{} 2>/dev/null;; esac\nexec {} \"$@\"\n",
        text(&seen),
        real.trim()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn no_process_is_told_it_in_its_arguments_and_nothing_is_printed() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = |name: &str| dir.path().join(name);
    let (image, stick, secret) = (iso("grub2", &ABLE), path("stick.img"), path("secret"));
    fs::write(&secret, SECRET).unwrap();
    let (report, place) = (path("report.json"), spying(dir.path()));
    let out = command(env!("CARGO_BIN_EXE_livestick"))
        .env(
            "PATH",
            format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", text(&place)),
        )
        .args(["write", text(&image), text(&stick), "--size", "160MiB"])
        .args(["--overlay-size-mb", "48", "--overlay-fs", "ext4"])
        .args([
            "--home-size-mb",
            "40",
            "--home-fs",
            "ext4",
            "--home-encrypt",
        ])
        .args(["--home-passphrase-file", text(&secret), "--yes"])
        .args(["--report", text(&report)])
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(out.status.success(), "{said}");
    let seen = fs::read(path("seen")).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("luksFormat"), "{seen}");
    for text in [&*seen, &said, &fs::read_to_string(&report).unwrap()] {
        assert!(!text.contains("Horse"), "{text}");
    }
    assert!(said.contains("encrypted (LUKS2)"), "{said}");
}
