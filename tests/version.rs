// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `--version` says.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn git(at: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command
        .current_dir(at)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.invalid"]);
    let output = command.args(args).output().ok()?;
    let said = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| said.trim().to_owned())
}

#[test]
fn the_version_tells_the_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_livestick"))
        .arg("--version")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let plain = concat!("livestick ", env!("CARGO_PKG_VERSION"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match git(here, &["rev-parse", "--short=7", "HEAD"]).filter(|_| here.join(".git").exists()) {
        Some(commit) => {
            let clean = format!("{plain} ({commit})");
            let changed = format!("{plain} ({commit}-changed)");
            assert!([clean, changed].contains(&said.trim().to_owned()), "{said}");
        }
        None => assert!(said.starts_with(plain), "{said}"),
    }
}

/// The build script, compiled and run as cargo would in `at`.
fn built(script: &Path, at: &Path) -> String {
    let output = Command::new(script)
        .current_dir(at)
        .env("CARGO_MANIFEST_DIR", at)
        .env("CARGO_PKG_VERSION", "1.2.3")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("LIVESTICK_VERSION"));
    line.unwrap().split_once("VERSION=").unwrap().1.to_owned()
}

#[test]
fn a_clone_a_package_and_a_bare_folder_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("build");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");
    let mut rustc = Command::new(std::env::var("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition", "2024", "-o"]).arg(&script);
    assert!(rustc.arg(source).status().unwrap().success());

    let bare = dir.path().join("bare");
    fs::create_dir(&bare).unwrap();
    assert_eq!(built(&script, &bare), "1.2.3");

    let clone = dir.path().join("clone");
    fs::create_dir(&clone).unwrap();
    fs::write(clone.join("Cargo.toml"), "one").unwrap();
    for args in [
        &["init", "-q"][..],
        &["add", "."],
        &["commit", "-qm", "one"],
    ] {
        git(&clone, args).unwrap();
    }
    let commit = git(&clone, &["rev-parse", "--short=7", "HEAD"]).unwrap();
    assert_eq!(built(&script, &clone), format!("1.2.3 ({commit})"));
    fs::write(clone.join("Cargo.toml"), "two").unwrap();
    assert_eq!(built(&script, &clone), format!("1.2.3 ({commit}-changed)"));

    // `cargo package` unpacks inside of the clone to see whether it builds.
    let inner = clone.join("target/package/livestick-1.2.3");
    fs::create_dir_all(&inner).unwrap();
    assert_eq!(built(&script, &inner), "1.2.3");
    let noted =
        r#"{"git": {"sha1": "0123456789abcdef0123456789abcdef01234567"}, "path_in_vcs": ""}"#;
    fs::write(inner.join(".cargo_vcs_info.json"), noted).unwrap();
    assert_eq!(built(&script, &inner), "1.2.3 (0123456)");
}
