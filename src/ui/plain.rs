// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events as text: one line that grows on a terminal, a line a step where nobody watches.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::event::{Event, Step, Work};
use crate::ui::say;
use crate::units::Bytes;

/// How often the line on a terminal is drawn again.
const PACE: Duration = Duration::from_millis(200);
/// Reading a stick is about this much faster than writing it, as long as nothing is known.
const READ_FASTER: f64 = 3.0;

/// Prints events.
#[derive(Debug)]
pub struct Plain {
    terminal: bool,
    steps: Vec<Step>,
    clock: Clock,
    drawn: Option<Instant>,
    line: usize,
}

/// What is known of the speed.
#[derive(Debug)]
struct Clock {
    /// When the step at work began, and how much was done then.
    began: (Instant, Bytes),
    /// Bytes a second that were written.
    write: Option<f64>,
}

impl Default for Plain {
    fn default() -> Plain {
        Plain {
            terminal: io::stderr().is_terminal(),
            steps: Vec::new(),
            clock: Clock {
                began: (Instant::now(), Bytes::ZERO),
                write: None,
            },
            drawn: None,
            line: 0,
        }
    }
}

impl Plain {
    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { steps, .. } | Event::Begun { steps, .. } => {
                self.steps.clone_from(steps);
            }
            Event::Started { step } => {
                let before: Bytes = self.steps.iter().take(*step).map(|s| s.bytes).sum();
                self.clock.began = (Instant::now(), before);
                if !self.terminal {
                    say(&format!(
                        "{}/{} {}\n",
                        step + 1,
                        self.steps.len(),
                        self.title(*step)
                    ));
                }
            }
            Event::Progress { step, done, total } => self.progress(*step, *done, *total),
            Event::Finished { step } => self.remember(*step),
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
        self.steps.get(step).map_or("", |step| step.title.as_str())
    }

    fn progress(&mut self, step: usize, done: Bytes, total: Bytes) {
        if !self.terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < PACE) {
            return;
        }
        self.drawn = Some(Instant::now());
        let (began, before) = self.clock.began;
        let rate = rate(done - before, began.elapsed());
        let percent = done.0.saturating_mul(100) / total.0.max(1);
        let left = self
            .left(step, done, rate)
            .map_or(String::new(), |left| format!(", {} left", duration(left)));
        let speed = rate.map_or(String::new(), |rate| {
            format!(", {}/s", whole(rate).decimal())
        });
        let text = format!(
            "{percent:3} %  {} of {}{speed}{left}  {}",
            done.binary(),
            total.binary(),
            self.title(step)
        );
        self.draw(&text);
    }

    /// How long the rest will take at the speeds known so far.
    fn left(&self, step: usize, done: Bytes, rate: Option<f64>) -> Option<Duration> {
        let now = rate?;
        let reading = |work: Work| work == Work::ReadBack;
        let at_work = self.steps.get(step)?.work;
        if at_work == Work::Probe {
            // Marks tell nothing about how fast an image goes.
            return None;
        }
        let write = if reading(at_work) {
            self.clock.write.unwrap_or(now)
        } else {
            now
        };
        let read = if reading(at_work) {
            now
        } else {
            write * READ_FASTER
        };
        let mut end = Bytes::ZERO;
        let mut seconds = 0.0;
        for step in &self.steps {
            end += step.bytes;
            let rest = (end - done).min(step.bytes);
            seconds += float(rest) / if reading(step.work) { read } else { write };
        }
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn remember(&mut self, step: usize) {
        let Some(done) = self.steps.get(step) else {
            return;
        };
        if done.work == Work::Copy {
            self.clock.write = rate(done.bytes, self.clock.began.0.elapsed());
        }
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

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate for people needs three digits"
)]
fn float(bytes: Bytes) -> f64 {
    bytes.0 as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut at the limits of the integer, which is as good for a rate"
)]
fn whole(rate: f64) -> Bytes {
    Bytes(rate as u64)
}

fn rate(bytes: Bytes, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.5 && bytes > Bytes::ZERO).then(|| float(bytes) / seconds)
}

fn duration(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}
