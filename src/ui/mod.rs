// SPDX-License-Identifier: MIT OR Apache-2.0
//! Front ends: they build requests and consume events, and have no logic of their own.

pub mod confirm;
pub mod facts;
pub mod json;
pub mod pace;
pub mod plain;
pub mod tui;

use std::io::{self, Write};

/// Prints lines to standard output. Where it goes nobody listens any more (a closed pipe) the work goes on.
pub fn say(text: &str) {
    let text = escaped(text, &['\n']);
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints one line to standard error.
pub fn warn(text: &str) {
    let line = format!("livestick: {}\n", escaped(text, &[]));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// `text` with control characters escaped but for those in `but`: names of files, volumes and menu entries come from
/// images, and an image must not command the terminal.
pub fn escaped(text: &str, but: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !but.contains(&c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_cannot_command_the_terminal() {
        let title = "Start\u{1b}[2J\u{9b}1m \u{fc}ber\nnext";
        assert_eq!(
            escaped(title, &['\n']),
            "Start\\u{1b}[2J\\u{9b}1m \u{fc}ber\nnext"
        );
        assert_eq!(escaped("a\nb", &[]), "a\\nb");
    }
}
