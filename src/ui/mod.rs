// SPDX-License-Identifier: MIT OR Apache-2.0
//! Front ends: they build requests and consume events, and have no logic of their own.

pub mod confirm;
pub mod facts;
pub mod json;
pub mod plain;

use std::io::{self, Write};

/// Prints to standard output. Where it goes nobody listens any more (a closed pipe) the work goes on.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints one line to standard error. Control characters, which names of files and volumes can hold, are escaped.
pub fn warn(text: &str) {
    let mut line = String::from("livestick: ");
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
