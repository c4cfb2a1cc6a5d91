// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running the programs that judge.

use std::path::Path;
use std::process::{Command, Output};

/// `program`, as the tests run it: in English, and found where administrators' programs are.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Runs a program to its end, however that is.
pub fn output(program: &str, args: &[&str]) -> Output {
    command(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed for this test: {e}"))
}

/// Runs a program to its end and gives its standard output; panics with everything it said if it fails.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}{err}");
    text
}

/// Runs a shell script in a directory, with mounts that end with it; gives its standard output.
pub fn unshared(script: &str, at: &Path) -> String {
    let how = ["--mount", "--propagation", "private", "sh", "-c", script];
    let out = command("unshare").args(how).current_dir(at).output();
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}{err}");
    said
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Whether the tests that need root can run; says so where they cannot.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}
