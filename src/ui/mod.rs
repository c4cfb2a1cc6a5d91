// SPDX-License-Identifier: MIT OR Apache-2.0
//! Front ends: they build requests and consume events, and have no logic of their own.

pub mod confirm;
pub mod facts;
pub mod json;
pub mod pace;
pub mod plain;
pub mod tui;

use std::io::{self, Write};

/// Prints to standard output. Where it goes nobody listens any more (a closed pipe) the work goes on.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line to standard error.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "livestick: {text}");
}
