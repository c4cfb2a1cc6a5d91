// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads behind the screens. Whatever may take longer than a key press happens here; what comes of it goes down
//! one channel, in the order in which it happened.

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::known::{Entry, ImageFacts, Seen};
use crate::command;
use crate::disk::probe::Contents;
use crate::disk::standing::Protected;
use crate::disk::{self, Disk, System};
use crate::event::Event;
use crate::host::Host;
use crate::image::Image;
use crate::plan::{Plan, target};
use crate::report::{Exit, Failure, Report, StickState};
use crate::request::Request;
use crate::units::Bytes;

/// How often the disks are looked at while their table is shown.
const WATCH: Duration = Duration::from_secs(1);
/// The most entries of a folder that are shown.
const ENTRIES: usize = 20_000;

/// Something that the screens want done.
#[derive(Debug)]
pub enum Task {
    /// Read this folder.
    List(PathBuf),
    /// Look at this image; an older wish is forgotten.
    Inspect(PathBuf),
    /// How large is this file?
    Measure(PathBuf),
    /// Make a plan.
    Plan {
        /// Comes back with the plan.
        number: u64,
        /// What is wanted.
        request: Box<Request>,
    },
    /// Write this plan, which was reviewed and confirmed.
    Write(Box<Plan>),
    /// Stop writing.
    Cancel,
    /// Write a report to a file.
    Save {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Stop the program until it is continued.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Leave.
    Quit,
}

/// What was found out, or happened.
#[derive(Debug)]
pub enum Message {
    /// Where images may be.
    Places(Vec<PathBuf>),
    /// A folder was read.
    Listed {
        /// Which.
        folder: PathBuf,
        /// What is in it.
        entries: Result<Vec<Entry>, String>,
    },
    /// An image was looked at; twice, first without its initrd.
    Inspected {
        /// Which.
        path: PathBuf,
        /// What it is.
        facts: Result<ImageFacts, String>,
    },
    /// The disks were listed.
    Disks(Result<Vec<Seen>, String>),
    /// A file was measured.
    Measured {
        /// Which.
        path: PathBuf,
        /// Its size; none if it does not exist.
        size: Result<Option<Bytes>, String>,
    },
    /// A plan was made.
    Planned {
        /// Which.
        number: u64,
        /// The plan, or why there is none.
        plan: Result<Box<Plan>, String>,
    },
    /// The job goes on.
    Job(Event),
    /// A report was saved.
    Saved(Result<PathBuf, String>),
}

/// Applies a plan: tells what happens, stops when asked to. [`crate::apply::run`] has this form.
pub type Write = fn(&Plan, &Host, &AtomicBool, &mut dyn FnMut(Event)) -> Result<Report, Failure>;

/// Who writes. This is the one place where a writer with more rights is put in.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Whether it will ask something on the terminal before its first event.
    pub asks: fn(&Plan, &Host) -> bool,
    /// Applies the plan.
    pub write: Write,
}

/// The threads.
pub struct Work {
    results: Sender<Message>,
    inspect: Sender<PathBuf>,
    plan: Sender<(u64, Box<Request>)>,
    /// Whether the table of disks is on the screen.
    watching: Arc<AtomicBool>,
    watcher: thread::Thread,
    host: Arc<Mutex<Option<Arc<Host>>>>,
    /// Tells the job at work to stop.
    pub cancel: Arc<AtomicBool>,
    job: Option<JoinHandle<()>>,
    writer: Writer,
}

impl Work {
    /// Starts the threads; `loops` lists loop devices as well.
    pub fn start(writer: Writer, loops: bool) -> (Work, Receiver<Message>) {
        let (results, messages) = channel();
        let (inspect, wishes) = channel();
        let (plan, requests) = channel();
        let watching = Arc::new(AtomicBool::new(false));
        let host = Arc::new(Mutex::new(None));
        let to = results.clone();
        thread::spawn(move || inspector(&wishes, &to));
        let (to, known) = (results.clone(), Arc::clone(&host));
        thread::spawn(move || planner(&requests, &to, &known));
        let (to, on) = (results.clone(), Arc::clone(&watching));
        let watcher = thread::spawn(move || watch(loops, &to, &on));
        let work = Work {
            results,
            inspect,
            plan,
            watching,
            watcher: watcher.thread().clone(),
            host,
            cancel: Arc::new(AtomicBool::new(false)),
            job: None,
            writer,
        };
        (work, messages)
    }

    /// Whether the disks shall be looked at every second.
    pub fn watch(&self, on: bool) {
        if self.watching.swap(on, Ordering::Relaxed) != on {
            self.watcher.unpark();
        }
    }

    /// Looks for places where images may be.
    pub fn find_places(&self) {
        let to = self.results.clone();
        thread::spawn(move || to.send(Message::Places(places())));
    }

    /// Begins a task, unless it is one for the terminal.
    pub fn begin(&mut self, task: Task) {
        let to = self.results.clone();
        match task {
            Task::List(folder) => {
                thread::spawn(move || {
                    let entries = list(&folder);
                    to.send(Message::Listed { folder, entries })
                });
            }
            Task::Inspect(path) => {
                let _ = self.inspect.send(path);
            }
            Task::Measure(path) => {
                thread::spawn(move || {
                    let size = measure(&path);
                    to.send(Message::Measured { path, size })
                });
            }
            Task::Plan { number, request } => {
                let _ = self.plan.send((number, request));
            }
            Task::Write(plan) => self.write(plan),
            Task::Cancel => self.cancel.store(true, Ordering::Relaxed),
            Task::Save { path, text } => {
                thread::spawn(move || {
                    let saved = save(&path, &text);
                    to.send(Message::Saved(saved))
                });
            }
            Task::Suspend | Task::Redraw | Task::Quit => {}
        }
    }

    /// Whether the writer will ask something on the terminal first.
    pub fn asks(&self, plan: &Plan) -> bool {
        (self.writer.asks)(plan, &host(&self.host))
    }

    fn write(&mut self, plan: Box<Plan>) {
        self.finish();
        self.cancel = Arc::new(AtomicBool::new(false));
        let (to, cancel) = (self.results.clone(), Arc::clone(&self.cancel));
        let (host, write) = (host(&self.host), self.writer.write);
        self.job = Some(thread::spawn(move || {
            let mut ended = false;
            let mut sink = |event: Event| {
                ended |= matches!(event, Event::Done { .. } | Event::Failed { .. });
                let _ = to.send(Message::Job(event));
            };
            let work = AssertUnwindSafe(|| write(&plan, &host, &cancel, &mut sink));
            let outcome = panic::catch_unwind(work);
            if !ended {
                let failure = match outcome {
                    Ok(Err(failure)) => failure,
                    _ => Failure {
                        exit: Exit::WriteFailed,
                        message: "writing stopped by a defect of this program; the log has more"
                            .into(),
                        state: StickState::Unknown,
                    },
                };
                let _ = to.send(Message::Job(Event::Failed { failure }));
            }
        }));
    }

    /// Waits for the job at work. Whoever leaves in the middle of it sets [`Work::cancel`] first.
    pub fn finish(&mut self) {
        if let Some(job) = self.job.take() {
            let _ = job.join();
        }
    }
}

/// What this machine can do, looked at once.
fn host(known: &Mutex<Option<Arc<Host>>>) -> Arc<Host> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.get_or_insert_with(|| Arc::new(Host::look())))
}

/// The newest wish of several.
fn newest<T>(wishes: &Receiver<T>) -> Option<T> {
    let first = wishes.recv().ok()?;
    Some(wishes.try_iter().last().unwrap_or(first))
}

fn inspector(wishes: &Receiver<PathBuf>, to: &Sender<Message>) {
    while let Some(path) = newest(wishes) {
        let look = || -> Option<()> {
            let send = |facts| {
                let path = path.clone();
                to.send(Message::Inspected { path, facts }).ok()
            };
            match Image::open(&path) {
                Err(refusal) => send(Err(refusal.to_string())),
                Ok(mut image) => {
                    send(Ok(ImageFacts::of(&image, false)))?;
                    image.look_inside();
                    send(Ok(ImageFacts::of(&image, true)))
                }
            }
        };
        match panic::catch_unwind(AssertUnwindSafe(look)) {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) => {
                let facts =
                    Err("looking at it met a defect of this program; the log has more".into());
                let _ = to.send(Message::Inspected { path, facts });
            }
        }
    }
}

fn planner(
    requests: &Receiver<(u64, Box<Request>)>,
    to: &Sender<Message>,
    known: &Mutex<Option<Arc<Host>>>,
) {
    let _ = host(known);
    while let Some((number, request)) = newest(requests) {
        let make = || {
            let host = host(known);
            command::plan(&request, &host).map_err(|refusal| refusal.to_string())
        };
        let plan = panic::catch_unwind(AssertUnwindSafe(make))
            .unwrap_or_else(|_| {
                Err("planning met a defect of this program; the log has more".into())
            })
            .map(Box::new);
        if to.send(Message::Planned { number, plan }).is_err() {
            return;
        }
    }
}

/// Lists the disks again and again; what is on one is read when it turns up.
fn watch(loops: bool, to: &Sender<Message>, on: &AtomicBool) {
    let mut known: Vec<Seen> = Vec::new();
    let mut said = None;
    loop {
        if !on.load(Ordering::Relaxed) {
            said = None;
            known.clear();
            thread::park();
            continue;
        }
        let system = System::real();
        let listed = disk::list(&system, loops)
            .map(|disks| disks.into_iter().map(|disk| seen(disk, &known)).collect())
            .map_err(|error| error.to_string());
        if said.as_ref() != Some(&listed) {
            if let Ok(listed) = &listed {
                known.clone_from(listed);
            }
            said = Some(listed.clone());
            if to.send(Message::Disks(listed)).is_err() {
                return;
            }
        }
        thread::park_timeout(WATCH);
    }
}

fn seen(disk: Disk, known: &[Seen]) -> Seen {
    if let Some(known) = known.iter().find(|known| known.disk == disk) {
        return known.clone();
    }
    let contents = if disk.size == Bytes::ZERO {
        Ok(Contents::default())
    } else {
        Contents::read(&disk.path, disk.size, &disk.regions())
    };
    let against = contents.as_ref().map_or(Vec::new(), Contents::reasons);
    let now = contents
        .map(|contents| contents.all.iter().filter_map(target::line).collect())
        .map_err(|error| error.to_string());
    Seen {
        standing: disk.standing_with(&Protected::default(), against),
        disk,
        now,
    }
}

fn list(folder: &Path) -> Result<Vec<Entry>, String> {
    let read = fs::read_dir(folder)
        .map_err(|error| format!("reading {}: {error}", disk::shown(folder)))?;
    let mut entries: Vec<Entry> = read
        .flatten()
        .take(ENTRIES)
        .filter_map(|entry| {
            let name = disk::shown(Path::new(&entry.file_name())).to_string();
            // Links are followed: what counts is what opening gives.
            let meta = fs::metadata(entry.path()).ok()?;
            let shown = !name.starts_with('.') && (meta.is_dir() || meta.is_file());
            shown.then(|| Entry {
                name,
                path: entry.path(),
                folder: meta.is_dir(),
                size: Bytes(meta.len()),
            })
        })
        .collect();
    entries.sort_by_key(|entry| (entry.folder, !entry.is_image(), entry.name.to_lowercase()));
    Ok(entries)
}

fn measure(path: &Path) -> Result<Option<Bytes>, String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(Bytes(meta.len()))),
        Ok(_) => Err(format!("{} is not a regular file", disk::shown(path))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("looking at {}: {error}", disk::shown(path))),
    }
}

fn save(path: &Path, text: &str) -> Result<PathBuf, String> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| format!("saving to {}: {error}", disk::shown(path));
    // What is there already is not written over: it may be an image, or a device.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

/// Folders where images may be, those that have some first: the working folder, downloads, mounted media, home.
fn places() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let mut places: Vec<PathBuf> = env::current_dir().ok().into_iter().collect();
    let downloads = env::var_os("XDG_DOWNLOAD_DIR").map(PathBuf::from);
    places.extend(downloads.or_else(|| Some(home.as_ref()?.join("Downloads"))));
    let folders = |path: &Path| -> Vec<PathBuf> {
        let read = fs::read_dir(path).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = read
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .take(50)
            .collect();
        folders.sort();
        folders
    };
    for user in folders(Path::new("/run/media")) {
        places.extend(folders(&user));
    }
    places.extend(folders(Path::new("/media")));
    places.push(PathBuf::from("/mnt"));
    places.extend(home);
    let mut known: Vec<PathBuf> = Vec::new();
    for place in places {
        if place.is_dir() && !known.contains(&place) {
            known.push(place);
        }
    }
    let has_image =
        |place: &PathBuf| list(place).is_ok_and(|entries| entries.iter().any(Entry::is_image));
    // A stable sort: within both kinds the order stays.
    known.sort_by_cached_key(|place| !has_image(place));
    known
}
