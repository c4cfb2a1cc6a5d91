// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads behind the screens. Whatever may take longer than a key press happens here; what comes of it goes down
//! one channel, in the order in which it happened.

mod looking;
mod writing;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::known::{Entry, ImageFacts, Seen};
use crate::event::Event;
use crate::host::Host;
use crate::plan::Plan;
use crate::request::Request;
use crate::units::Bytes;
use looking::{inspector, list, measure, places, planner, save, watch};
pub use writing::Writer;

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
        facts: Result<Box<ImageFacts>, String>,
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
            let mut sink = |event: Event| {
                let _ = to.send(Message::Job(event));
            };
            writing::run(write, &plan, &host, &cancel, &mut sink);
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
