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
pub mod glyphs;
pub mod job;
pub mod keys;
pub mod known;
pub mod review;
pub mod screens;
pub mod state;
pub mod sticks;
mod terminal;
pub mod work;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self as keyboard, Event as Key};

use crate::apply;
use crate::event::Event;
use crate::report::Exit;
use crate::ui::warn;
use glyphs::Look;
use keys::Cmd;
use state::{Input, Screen, State};
use terminal::Signals;
use work::{Message, Task, Work, Writer};

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

/// How long a message from a thread waits at most to be seen.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often the screen is drawn at most while messages stream in; a key is answered at once.
const FRAME: Duration = Duration::from_millis(100);
/// How often time itself changes the screen while a stick is written.
const TICK: Duration = Duration::from_millis(500);

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
    // The writer with more rights goes here.
    let writer = Writer {
        asks: |_, _| false,
        write: apply::run,
    };
    run(options, writer).unwrap_or_else(|error| {
        warn(&format!("the terminal: {error}"));
        Err(Exit::Usage)
    })
}

fn run(options: &Options, writer: Writer) -> io::Result<Result<(), Exit>> {
    let log = terminal::open_log();
    let signals = Signals::listen()?;
    terminal::hook_panics();
    let loops = options
        .target
        .as_ref()
        .is_some_and(|target| target.to_string_lossy().starts_with("/dev/loop"));
    let (work, messages) = Work::start(writer, loops);
    let mut state = State::new(Instant::now());
    state.log = log;
    let mut session = Session {
        look: Look::of_environment(options.ascii),
        screen: terminal::Screen::take()?,
        work,
        messages,
        signals,
        state,
    };
    session.work.find_places();
    for task in session
        .state
        .given(options.image.clone(), options.target.clone())
    {
        session.work.begin(task);
    }
    let ended = session.run();
    terminal::give_back();
    // Also when the terminal is gone: the stick shall be in a state that has a name.
    session.work.cancel.store(true, Ordering::Relaxed);
    session.work.finish();
    ended?;
    Ok(match session.state.exit {
        _ if session.state.is_writing() => Err(Exit::Cancelled),
        None | Some(Exit::Verified) => Ok(()),
        Some(exit) => Err(exit),
    })
}

struct Session {
    look: Look,
    screen: terminal::Screen,
    work: Work,
    messages: Receiver<Message>,
    signals: Signals,
    state: State,
}

impl Drop for Session {
    /// On the way out of a panic: the terminal first, then the writer is waited for.
    fn drop(&mut self) {
        terminal::give_back();
        self.work.cancel.store(true, Ordering::Relaxed);
        self.work.finish();
    }
}

impl Session {
    fn run(&mut self) -> io::Result<()> {
        let mut drawn: Option<Instant> = None;
        let mut ticked = Instant::now();
        let mut dirty = true;
        let mut asked = true;
        loop {
            let now = Instant::now();
            let rested = drawn.is_none_or(|drawn| now.saturating_duration_since(drawn) >= FRAME);
            if dirty && (asked || rested) {
                self.draw()?;
                drawn = Some(Instant::now());
                (dirty, asked) = (false, false);
            }
            self.work.watch(matches!(self.state.screen, Screen::Stick));
            if keyboard::poll(PATIENCE)? {
                (dirty, asked) = (true, true);
                match keyboard::read()? {
                    Key::Key(key) => {
                        defect_for_tests(&key);
                        if let Some(cmd) = Cmd::of(key)
                            && self.take(Input::Cmd(cmd))?
                        {
                            return Ok(());
                        }
                    }
                    Key::Paste(text) => {
                        for c in text.chars().filter(|c| !c.is_control()) {
                            if self.take(Input::Cmd(Cmd::Char(c)))? {
                                return Ok(());
                            }
                        }
                    }
                    _ => {}
                }
            }
            if self.signals.leave.load(Ordering::Relaxed) || terminal::is_gone() {
                return Ok(());
            }
            if self.signals.stop.swap(false, Ordering::Relaxed) {
                self.screen.suspend()?;
                (dirty, asked) = (true, true);
            }
            while let Ok(message) = self.messages.try_recv() {
                dirty = true;
                if self.take(Input::Message(message))? {
                    return Ok(());
                }
            }
            if self.state.is_writing() && ticked.elapsed() >= TICK {
                ticked = Instant::now();
                dirty = true;
                self.take(Input::Tick)?;
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (state, look) = (&self.state, &self.look);
        self.screen
            .terminal
            .draw(|frame| screens::draw(state, look, frame))?;
        Ok(())
    }

    /// Gives the state something to take; whether to leave.
    fn take(&mut self, input: Input) -> io::Result<bool> {
        if let Input::Message(Message::Job(event)) = &input {
            log_event(event);
        }
        for task in self.state.on_event(input, Instant::now()) {
            match task {
                Task::Quit => return Ok(true),
                Task::Suspend => self.screen.suspend()?,
                Task::Redraw => self.screen.terminal.clear()?,
                Task::Write(plan) if self.work.asks(&plan) => {
                    terminal::give_back();
                    self.work.begin(Task::Write(plan));
                    let first = self.first_event();
                    self.screen.retake()?;
                    for message in first {
                        self.take(Input::Message(message))?;
                    }
                }
                task => self.work.begin(task),
            }
        }
        Ok(false)
    }

    /// Waits, with the terminal given back, until the writer has what it asked for.
    fn first_event(&mut self) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => {
                    let job = matches!(message, Message::Job(_));
                    seen.push(message);
                    if job {
                        return seen;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.signals.leave.load(Ordering::Relaxed) || terminal::is_gone() {
                        self.work.cancel.store(true, Ordering::Relaxed);
                        return seen;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return seen,
            }
        }
    }
}

/// What happened, without the bytes in between.
fn log_event(event: &Event) {
    match event {
        Event::Planned { plan, .. } => terminal::log(&format!("plan:\n{plan}")),
        Event::Started { step } => terminal::log(&format!("step {} begins", step + 1)),
        Event::Finished { step } => terminal::log(&format!("step {} is done", step + 1)),
        Event::Note { text } => terminal::log(&format!("note: {text}")),
        Event::Done { report } => terminal::log(&format!("report:\n{report}")),
        Event::Failed { failure } => {
            terminal::log(&format!("failed: {failure}; {}", failure.state));
        }
        Event::Progress { .. } => {}
    }
}

/// Builds with debug assertions have a key that panics, so that a test can see what becomes of the terminal.
fn defect_for_tests(key: &keyboard::KeyEvent) {
    #[cfg(debug_assertions)]
    {
        let wanted = std::env::var_os("LIVESTICK_TEST_PANIC").is_some();
        assert!(
            !(wanted && key.code == keyboard::KeyCode::F(12)),
            "a panic, as asked for"
        );
    }
    let _ = key;
}
