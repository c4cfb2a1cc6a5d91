// SPDX-License-Identifier: MIT OR Apache-2.0
//! Man pages and completions are made from the command line's parser and committed; this test fails when they are
//! stale. `UPDATE=1 cargo test --test generated` makes them again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod completions;
mod man;
mod shells;

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use livestick::cli::Cli;

/// Compares `text` with the committed file, or writes it.
fn committed(path: &str, text: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let known = fs::read(&path).unwrap_or_default();
    assert!(
        known == text,
        "{} is stale; run UPDATE=1 cargo test --test generated",
        path.display()
    );
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    let mut command = Cli::command();
    let mut all = vec![command.render_long_help().to_string()];
    for sub in command.get_subcommands_mut() {
        all.push(sub.clone().render_long_help().to_string());
    }
    for help in all {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "too long: {line}");
        }
    }
}
