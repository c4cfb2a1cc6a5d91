// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal interface: choose an image and a stick, size the persistence, review, write, report.
//!
//! It has no logic of its own. It builds the same [`crate::request::Request`] as the command line, shows the same
//! plan, and consumes the same events. The way of everything in it:
//!
//! ```text
//! key ─▶ Cmd ─┐                     ┌─▶ Task ─▶ thread ─▶ Message ─┐
//! time ───────┼─▶ State::on_event ──┤                              │
//! Message ────┘        ▲            └─▶ draw(&State)               │
//!                      └────────────────────────────────────────────┘
//! ```
//!
//! * Nothing blocks: whatever may take longer than a key press happens in [`work`].
//! * Nothing is drawn unless something changed, and of that only what did.
//! * The terminal is always given back ([`terminal`]).

pub mod amounts;
pub mod browser;
pub mod ended;
pub mod errand;
pub mod glyphs;
pub mod hidden;
pub mod job;
pub mod keys;
pub mod known;
pub mod review;
pub mod room;
pub mod screens;
mod session;
pub mod state;
pub mod sticks;
mod terminal;
pub mod work;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use crate::privilege;
use crate::report::Exit;
use crate::ui::warn;
use work::Writer;

/// What the interface is opened with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An image, or a folder to look for one.
    pub image: Option<PathBuf>,
    /// A target.
    pub target: Option<PathBuf>,
    /// Whether only ASCII is drawn.
    pub ascii: bool,
}

/// Whether there is a terminal to open it on.
pub fn possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Opens it; gives how the last job ended.
pub fn open(options: &Options) -> Result<(), Exit> {
    if !possible() {
        warn("the terminal interface needs a terminal; see livestick --help for commands");
        return Err(Exit::Usage);
    }
    let writer = Writer {
        asks: privilege::needs_root,
        write: privilege::write,
    };
    session::run(options, writer).unwrap_or_else(|error| {
        warn(&format!("the terminal: {error}"));
        Err(Exit::Usage)
    })
}
