// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal: taken, and always given back. At the normal end, before the message of a panic, on SIGTERM and
//! SIGHUP, while the program is stopped, and while somebody else asks for a password.
//!
//! While it is taken, standard error leads to the log: nothing writes across the screen.

use std::fs::{File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::os::fd::OwnedFd;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

/// Whether the terminal is taken at present, for the panic hook and for giving it back once only.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Where standard error leads when the terminal is given back.
static STDERR: Mutex<Option<OwnedFd>> = Mutex::new(None);
/// Where it leads while the terminal is taken.
static LOG: OnceLock<File> = OnceLock::new();

/// The signals that matter, as flags.
#[derive(Debug)]
pub struct Signals {
    /// SIGTERM, SIGHUP or SIGINT came.
    pub leave: Arc<AtomicBool>,
    /// SIGTSTP came from outside.
    pub stop: Arc<AtomicBool>,
}

impl Signals {
    /// Listens to them from now on.
    pub fn listen() -> io::Result<Signals> {
        let signals = Signals {
            leave: Arc::new(AtomicBool::new(false)),
            stop: Arc::new(AtomicBool::new(false)),
        };
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&signals.leave))?;
        }
        signal_hook::flag::register(SIGTSTP, Arc::clone(&signals.stop))?;
        Ok(signals)
    }
}

/// The terminal while it is taken.
pub struct Screen {
    /// Draws on it.
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub fn take() -> io::Result<Screen> {
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()));
        match terminal {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Takes it again after [`give_back`]; everything will be drawn anew.
    pub fn retake(&mut self) -> io::Result<()> {
        take()?;
        self.terminal.clear()
    }

    /// Stops the program until it is continued, with the terminal given back meanwhile.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // The default action of the signal, which a handler replaced.
        signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
        self.retake()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let entered = execute!(io::stdout(), EnterAlternateScreen, cursor::Hide);
    if let Err(error) = entered {
        give_back();
        return Err(error);
    }
    if let Some(log) = LOG.get() {
        let mut kept = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = rustix::io::dup(io::stderr()).ok();
        }
        let _ = rustix::stdio::dup2_stderr(log);
    }
    Ok(())
}

/// Gives the terminal back as it was, if it is taken. Errors have nobody to be told to: it may be gone.
pub fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    if let Ok(kept) = STDERR.try_lock()
        && let Some(kept) = kept.as_ref()
    {
        let _ = rustix::stdio::dup2_stderr(kept);
    }
}

/// Makes a panic of this thread give the terminal back before its message. Panics of other threads go to the log;
/// whoever waits for those threads tells the user.
pub fn hook_panics() {
    let before = panic::take_hook();
    let here = thread::current().id();
    panic::set_hook(Box::new(move |info| {
        log(&format!("panic: {info}"));
        if thread::current().id() == here {
            give_back();
            before(info);
        }
    }));
}

/// Whether the terminal is gone: its other end was closed.
pub fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut one = [PollFd::new(&stdin, PollFlags::IN)];
    let now = rustix::time::Timespec::default();
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    poll(&mut one, Some(&now)).is_ok() && one[0].revents().intersects(gone)
}

/// Opens the log: in the user's state folder, or where temporary files go. None if neither can be written.
pub fn open_log() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let state = var("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(var("HOME")?.join(".local/state")));
    let path = state
        .and_then(|state| log_in(&state.join("livestick")))
        .or_else(|| {
            // A name that nobody can have prepared.
            let made = tempfile::Builder::new()
                .prefix("livestick-")
                .suffix(".log")
                .tempfile()
                .ok()?;
            let (file, path) = made.keep().ok()?;
            Some((file, path))
        });
    let (file, path) = path?;
    LOG.set(file).ok()?;
    Some(path)
}

/// A log that grew to this many bytes begins anew.
const LOG_LIMIT: u64 = 1 << 20;

fn log_in(folder: &Path) -> Option<(File, PathBuf)> {
    std::fs::create_dir_all(folder).ok()?;
    let path = folder.join("livestick.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .ok()?;
    if file.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        file.set_len(0).ok()?;
    }
    Some((file, path))
}

/// Writes a line to the log.
pub fn log(text: &str) {
    if let Some(mut log) = LOG.get() {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let _ = writeln!(log, "{seconds} [{}] {text}", std::process::id());
    }
}
