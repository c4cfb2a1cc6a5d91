// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal: taken, and always given back. At the normal end, before the message of a panic, on SIGTERM,
//! SIGHUP and SIGQUIT, while the program is stopped, and while somebody else asks for a password.
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

use crate::disk::shown;
use crate::ui;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

/// Whether the terminal is taken at present, for the panic hook and for giving it back once only.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether its other end was closed.
static GONE: AtomicBool = AtomicBool::new(false);
/// Where standard error leads when the terminal is given back.
static STDERR: Mutex<Option<OwnedFd>> = Mutex::new(None);
/// Where it leads while the terminal is taken.
static LOG: OnceLock<File> = OnceLock::new();
/// Where that is.
static PATH: OnceLock<PathBuf> = OnceLock::new();

/// The signals that matter, as flags.
#[derive(Debug)]
pub struct Signals {
    /// SIGTERM, SIGHUP or SIGQUIT came.
    pub leave: Arc<AtomicBool>,
    /// SIGINT came: from outside, or by Ctrl-C while the terminal is somebody else's.
    pub interrupt: Arc<AtomicBool>,
    /// SIGTSTP came, from where SIGINT comes.
    pub stop: Arc<AtomicBool>,
    /// SIGCONT came.
    pub went_on: Arc<AtomicBool>,
}

impl Signals {
    /// Listens to them from now on.
    pub fn listen() -> io::Result<Signals> {
        let signals = Signals {
            leave: Arc::default(),
            interrupt: Arc::default(),
            stop: Arc::default(),
            went_on: Arc::default(),
        };
        for (signal, flag) in [
            (SIGTERM, &signals.leave),
            (SIGHUP, &signals.leave),
            (SIGQUIT, &signals.leave),
            (SIGINT, &signals.interrupt),
            (SIGTSTP, &signals.stop),
            (SIGCONT, &signals.went_on),
        ] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
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
        self.anew()
    }

    /// Draws everything the next time. Ratatui's own way would ask the terminal where its cursor is, and wait for an
    /// answer that not every terminal gives.
    pub fn anew(&mut self) -> io::Result<()> {
        execute!(io::stdout(), Clear(ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Stops the program until it is continued. The terminal has to be given back before.
pub fn stop(signals: &Signals) -> io::Result<()> {
    // The default action of the signal, which a handler replaced.
    signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
    signals.went_on.store(false, Ordering::Relaxed);
    Ok(())
}

/// Whether no process is left that could continue this one if it stopped: its process group is orphaned (POSIX, base
/// definitions 3.264), as where a terminal runs nothing but livestick. Unknown counts as no.
pub fn nobody_continues() -> bool {
    let Some(own) = Kin::of("self") else {
        return false;
    };
    let mut parent = own.parent;
    // A tool such as sudo may be in between, in the same group.
    for _ in 0..16 {
        // What has the number 0 is outside this process's namespace (pid_namespaces(7)): no shell to go back to there.
        let Some(kin) = (parent != 0)
            .then(|| Kin::of(&parent.to_string()))
            .flatten()
        else {
            return true;
        };
        if kin.session != own.session {
            return true;
        }
        if kin.group != own.group {
            return false;
        }
        parent = kin.parent;
    }
    false
}

/// What a process belongs to (proc_pid_stat(5), fields 4 to 6). Plain numbers: each is 0 where what it names is outside
/// this process's namespace, which is no process number.
struct Kin {
    parent: u32,
    group: u32,
    session: u32,
}

impl Kin {
    /// Of the process with that number, or of `self`.
    fn of(process: &str) -> Option<Kin> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before them may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut numbers = fields.split_whitespace().skip(1);
        let mut next = || numbers.next()?.parse().ok();
        Some(Kin {
            parent: next()?,
            group: next()?,
            session: next()?,
        })
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
    // A terminal that has no other screen (older Linux consoles) is left empty instead.
    let _ = execute!(
        io::stdout(),
        Clear(ClearType::All),
        cursor::MoveTo(0, 0),
        LeaveAlternateScreen,
        cursor::Show
    );
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
            if let Some(path) = PATH.get() {
                ui::warn(&format!(
                    "this is a defect of livestick; its log is {}",
                    shown(path)
                ));
            }
        }
    }));
}

/// Whether the terminal is gone: its other end was closed. Known after [`watch_end`].
pub fn is_gone() -> bool {
    GONE.load(Ordering::Relaxed)
}

/// Notices from now on when the terminal goes away.
///
/// A terminal that is gone reads as an end of file for ever, and crossterm's reader takes that for no news and reads
/// on without a pause. So it gets something else to read from, which has nothing for it.
pub fn watch_end() -> io::Result<()> {
    let (nothing, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK)?;
    thread::spawn(move || {
        let stdin = io::stdin();
        // Without a wish for anything: what is left to hear of is the end.
        let mut end = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut end, None) == Err(rustix::io::Errno::INTR) {}
        GONE.store(true, Ordering::Relaxed);
        let _ = rustix::stdio::dup2_stdin(&nothing);
        // The other end of the pipe stays open, or this would be an end of file, too.
        let _held = held;
        loop {
            thread::park();
        }
    });
    Ok(())
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
    let _ = PATH.set(path.clone());
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
