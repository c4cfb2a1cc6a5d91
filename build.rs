// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `--version` says: the version, and the commit where one is known.
//!
//! In a clone git knows it ("-changed" where sources differ from it). A package made by `cargo package` has it in
//! `.cargo_vcs_info.json`, also where it is unpacked inside somebody's clone, whose commits are none of this. Anywhere
//! else the version is plain.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of.
const SOURCES: [&str; 4] = ["src", "Cargo.toml", "Cargo.lock", "build.rs"];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match packaged(&here).or_else(|| cloned(&here)) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo:rustc-env=LIVESTICK_VERSION={version}");
}

/// The commit that `cargo package` noted.
fn packaged(here: &Path) -> Option<String> {
    let noted = fs::read_to_string(here.join(".cargo_vcs_info.json")).ok()?;
    let sha = noted.split("\"sha1\"").nth(1)?.split('"').nth(1)?;
    Some(sha.get(..7)?.to_owned())
}

/// The commit of the clone whose top this is.
fn cloned(here: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(here).args(args).output();
        let output = output.ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(here).ok()? {
        return None;
    }
    // Each commit, merge and switch appends to it.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    let log = here.join(log);
    if log.exists() {
        println!("cargo:rerun-if-changed={}", log.display());
    }
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    let same = [&["diff", "--quiet", "HEAD", "--"], &SOURCES[..]].concat();
    let changed = git(&same).map_or("-changed", |_| "");
    Some(format!("{commit}{changed}"))
}
