// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop: keys, messages, signals and time go to the state, tasks come back, and what changed is drawn.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self as keyboard, Event as Key};

use super::glyphs::Look;
use super::keys::Cmd;
use super::state::{Input, Screen, State};
use super::terminal::{self, Signals};
use super::work::{Message, Task, Work, Writer};
use super::{Options, screens};
use crate::disk::shown;
use crate::event::{self, Event};
use crate::report::Exit;
use crate::ui::warn;

/// How long a message from a thread waits at most to be seen; a key is answered at once. Shorter costs more than it
/// gives: crossterm's wait spins through its last millisecond.
const PATIENCE: Duration = Duration::from_millis(150);
/// How often the screen is drawn at most while messages stream in; a key is answered at once.
const FRAME: Duration = Duration::from_millis(100);
/// How often time itself changes the screen while a stick is written.
const TICK: Duration = Duration::from_millis(500);

/// Opens the interface; gives how the last job ended.
pub(super) fn run(options: &Options, writer: Writer) -> io::Result<Result<(), Exit>> {
    let log = terminal::open_log();
    let signals = Signals::listen()?;
    terminal::hook_panics();
    terminal::watch_end()?;
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
    // Also when the terminal is gone: the stick shall be in a state that has a name.
    session.leave();
    if !session.over() {
        ended?;
    }
    Ok(match session.state.exit {
        None if session.over() => Err(Exit::Cancelled),
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
        self.leave();
    }
}

impl Session {
    /// Gives the terminal back and ends the job at work; tells how that ended, for nobody saw it.
    fn leave(&mut self) {
        terminal::give_back();
        if !self.state.is_writing() {
            return;
        }
        self.work.cancel.store(true, Ordering::Relaxed);
        self.work.finish();
        for message in self.messages.try_iter() {
            if let Message::Job(event) = &message {
                log_event(event);
            }
            self.state.on_event(Input::Message(message), Instant::now());
        }
        if let Screen::Report(ended) = &self.state.screen {
            match &ended.result {
                Ok(report) if report.task == event::Task::Write => {
                    warn(&format!("{} is written", report.stick));
                }
                Ok(report) => warn(&report.to_string()),
                Err(failure) => warn(&format!("{failure}; {}", failure.state)),
            }
        }
    }

    /// Whether a signal or the end of the terminal says to leave.
    fn over(&self) -> bool {
        self.signals.leave.load(Ordering::Relaxed)
            || self.signals.interrupt.load(Ordering::Relaxed)
            || terminal::is_gone()
    }

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
            if self.over() {
                return Ok(());
            }
            if self.signals.stop.swap(false, Ordering::Relaxed) {
                self.suspend()?;
                (dirty, asked) = (true, true);
            }
            if self.signals.went_on.swap(false, Ordering::Relaxed) {
                // It was stopped by a signal that cannot be caught, and the shell had the terminal.
                terminal::give_back();
                self.screen.retake()?;
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
        let (state, look) = (&self.state, self.look);
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
                Task::Suspend => self.suspend()?,
                Task::Redraw => self.screen.anew()?,
                Task::Write(plan, passphrase) if self.work.asks(&plan) => {
                    terminal::give_back();
                    warn(&format!(
                        "writing to {} takes root; a password may be asked for",
                        shown(&plan.target.path)
                    ));
                    self.work.begin(Task::Write(plan, passphrase));
                    let first = self.first_event()?;
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

    /// Stops the program until it is continued, if there is a shell that could do so.
    fn suspend(&mut self) -> io::Result<()> {
        if terminal::nobody_continues() {
            self.state.notice = Some("there is no shell to go back to".into());
            return Ok(());
        }
        terminal::give_back();
        terminal::stop(&self.signals)?;
        self.screen.retake()
    }

    /// Waits, with the terminal given back, until the writer has what it asked for, or has not got it.
    fn first_event(&mut self) -> io::Result<Vec<Message>> {
        let heard = self.heard_first();
        // Whoever asks gets Ctrl-C too, and may be gone before it was seen here; it was meant for the question.
        self.signals.interrupt.store(false, Ordering::Relaxed);
        heard
    }

    fn heard_first(&mut self) -> io::Result<Vec<Message>> {
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => {
                    let job = matches!(message, Message::Job(_));
                    seen.push(message);
                    if job {
                        return Ok(seen);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(seen),
            }
            // Ctrl-C is an answer to the question; the plan is still there after it.
            let interrupted = self.signals.interrupt.swap(false, Ordering::Relaxed);
            if interrupted || self.over() {
                self.work.cancel.store(true, Ordering::Relaxed);
            }
            if self.signals.stop.swap(false, Ordering::Relaxed) && !terminal::nobody_continues() {
                terminal::stop(&self.signals)?;
            }
        }
    }
}

/// What happened, without the bytes in between.
fn log_event(event: &Event) {
    match event {
        Event::Planned { plan, .. } => terminal::log(&format!("plan:\n{plan}")),
        Event::Begun { task, target, .. } => terminal::log(&format!("{task:?}: {target}")),
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
