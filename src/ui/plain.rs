// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as text: one line that grows on a terminal, a line a step where nobody watches.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::event::{Event, Step};
use crate::ui::pace::{Pace, duration, speed};
use crate::ui::say;
use crate::units::Bytes;

/// How often the line on a terminal is drawn again.
const PACE: Duration = Duration::from_millis(200);

/// Prints events.
#[derive(Debug)]
pub struct Plain {
    terminal: bool,
    pace: Pace,
    drawn: Option<Instant>,
    line: usize,
}

impl Default for Plain {
    fn default() -> Plain {
        Plain {
            terminal: io::stderr().is_terminal(),
            pace: Pace::new(Vec::new(), Instant::now()),
            drawn: None,
            line: 0,
        }
    }
}

impl Plain {
    /// For one step that is no job of its own.
    pub fn of_one(step: Step) -> Plain {
        Plain {
            pace: Pace::new(vec![step], Instant::now()),
            ..Plain::default()
        }
    }

    /// Takes what is drawn off the terminal.
    pub fn end(&mut self) {
        self.clear();
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { steps, .. } | Event::Begun { steps, .. } => {
                self.pace = Pace::new(steps.clone(), Instant::now());
            }
            Event::Started { step } => {
                self.pace.started(*step, Instant::now());
                if !self.terminal {
                    say(&format!(
                        "{}/{} {}\n",
                        step + 1,
                        self.pace.steps().len(),
                        self.title(*step)
                    ));
                }
            }
            Event::Progress { step, done, total } => self.progress(*step, *done, *total),
            Event::Finished { step } => self.pace.finished(*step, Instant::now()),
            Event::Note { text } => {
                self.clear();
                say(&format!("note: {text}\n"));
            }
            Event::Done { report } => {
                self.clear();
                say(&report.to_string());
            }
            Event::Failed { failure } => {
                self.clear();
                crate::ui::warn(&format!("{failure}; {}", failure.state));
            }
        }
    }

    fn title(&self, step: usize) -> &str {
        self.pace
            .steps()
            .get(step)
            .map_or("", |step| step.title.as_str())
    }

    fn progress(&mut self, step: usize, done: Bytes, total: Bytes) {
        if !self.terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < PACE) {
            return;
        }
        let now = Instant::now();
        self.drawn = Some(now);
        let percent = done.0.saturating_mul(100) / total.0.max(1);
        let left = self.pace.left(step, done, now);
        let left = left.map_or(String::new(), |left| format!(", {} left", duration(left)));
        let rate = self.pace.rate(done, now);
        let speed = rate.map_or(String::new(), |rate| format!(", {}", speed(rate)));
        let text = format!(
            "{percent:3} %  {} of {}{speed}{left}  {}",
            done.binary(),
            total.binary(),
            self.title(step)
        );
        self.draw(&text);
    }

    fn draw(&mut self, text: &str) {
        let columns =
            rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| size.ws_col.max(20));
        let text: String = crate::ui::escaped(text, &[])
            .chars()
            .take(usize::from(columns) - 1)
            .collect();
        let width = text.chars().count();
        let pad = self.line.saturating_sub(width);
        self.line = width;
        let _ = write!(io::stderr().lock(), "\r{text}{:pad$}", "");
    }

    fn clear(&mut self) {
        if self.line > 0 {
            self.draw("");
            let _ = write!(io::stderr().lock(), "\r");
            self.line = 0;
        }
    }
}
