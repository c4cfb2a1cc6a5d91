// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads behind the screens. Whatever may take longer than a key press happens here; what comes of it goes down
//! one channel, in the order in which it happened.

mod comparing;
pub mod errands;
mod looking;
mod writing;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::errand::Errand;
use super::known::{Digest, Entry, ImageFacts, Seen};
use crate::disk::System;
use crate::doctor::Checkup;
use crate::event::Event;
use crate::host::Host;
use crate::plan::{Plan, PlannedTarget};
use crate::request::Request;
use crate::secret::Passphrase;
use crate::units::Bytes;
use comparing::{Wish, comparer};
use looking::{inspector, list, measure, places, planner, save, watch};
pub use writing::{Write, Writer};

/// Something that the screens want done.
#[derive(Debug)]
pub enum Task {
    /// Read this folder.
    List(PathBuf),
    /// Look at this image; an older wish is forgotten.
    Inspect(PathBuf),
    /// How large is this file?
    Measure(PathBuf),
    /// What does this machine lack?
    Examine,
    /// Make a plan.
    Plan {
        /// Comes back with the plan.
        number: u64,
        /// What is wanted.
        request: Box<Request>,
    },
    /// Compare this image with what was published of it, now.
    Compare(PathBuf),
    /// Write this plan, which was reviewed and confirmed, with the passphrase if it needs one.
    Write(Box<Plan>, Option<Passphrase>),
    /// Do this with a stick. Before it writes anything it asks.
    Errand(Box<Errand>),
    /// The answer to what the job at work asked: yes, for the word was typed; or no.
    Consent(bool),
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
    /// What was published of an image, and how far it was compared.
    Digest {
        /// Which.
        path: PathBuf,
        /// What.
        digest: Box<Digest>,
    },
    /// The job at work asks before it writes.
    Asked {
        /// What it would write to.
        target: Box<PlannedTarget>,
        /// What that means, in lines.
        what: String,
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
    /// The machine was looked at.
    Examined(Box<Checkup>),
    /// A report was saved.
    Saved(Result<PathBuf, String>),
}

/// The threads.
pub struct Work {
    results: Sender<Message>,
    inspect: Sender<PathBuf>,
    compare: Sender<Wish>,
    /// Set, it ends the comparison that is going on.
    comparing: Arc<AtomicBool>,
    plan: Sender<(u64, Box<Request>)>,
    /// Whether the table of disks is on the screen.
    watching: Arc<AtomicBool>,
    watcher: thread::Thread,
    host: Arc<Mutex<Option<Arc<Host>>>>,
    /// Tells the job at work to stop.
    pub cancel: Arc<AtomicBool>,
    job: Option<JoinHandle<()>>,
    /// Answers what the job at work asks.
    consent: Option<Sender<bool>>,
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
        let (to, known) = (results.clone(), Arc::clone(&host));
        thread::spawn(move || inspector(&wishes, &to, &known));
        let (compare, wishes) = channel();
        let to = results.clone();
        thread::spawn(move || comparer(&wishes, &to));
        let (to, known) = (results.clone(), Arc::clone(&host));
        thread::spawn(move || planner(&requests, &to, &known));
        let (to, on) = (results.clone(), Arc::clone(&watching));
        let watcher = thread::spawn(move || watch(loops, &to, &on));
        let work = Work {
            results,
            inspect,
            compare,
            comparing: Arc::default(),
            plan,
            watching,
            watcher: watcher.thread().clone(),
            host,
            cancel: Arc::new(AtomicBool::new(false)),
            job: None,
            consent: None,
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
            Task::Examine => {
                let known = Arc::clone(&self.host);
                thread::spawn(move || {
                    let checkup = Checkup::of(&host(&known), &System::real());
                    to.send(Message::Examined(Box::new(checkup)))
                });
            }
            Task::Inspect(path) => {
                self.compare(path.clone(), false);
                let _ = self.inspect.send(path);
            }
            Task::Compare(path) => self.compare(path, true),
            Task::Measure(path) => {
                thread::spawn(move || {
                    let size = measure(&path);
                    to.send(Message::Measured { path, size })
                });
            }
            Task::Plan { number, request } => {
                let _ = self.plan.send((number, request));
            }
            Task::Write(plan, passphrase) => self.write(plan, passphrase),
            Task::Errand(errand) => self.errand(errand),
            Task::Consent(yes) => {
                if let Some(consent) = self.consent.take() {
                    let _ = consent.send(yes);
                }
            }
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

    fn compare(&mut self, path: PathBuf, at_once: bool) {
        self.comparing.store(true, Ordering::Relaxed);
        self.comparing = Arc::default();
        let over = Arc::clone(&self.comparing);
        let _ = self.compare.send(Wish {
            path,
            at_once,
            over,
        });
    }

    /// Makes room for a job, which needs the machine for itself.
    fn make_room(&mut self) {
        self.finish();
        self.comparing.store(true, Ordering::Relaxed);
        self.cancel = Arc::default();
    }

    fn write(&mut self, plan: Box<Plan>, passphrase: Option<Passphrase>) {
        self.make_room();
        let (to, cancel) = (self.results.clone(), Arc::clone(&self.cancel));
        let (host, write) = (host(&self.host), self.writer.write);
        self.job = Some(thread::spawn(move || {
            let mut sink = |event: Event| {
                let _ = to.send(Message::Job(event));
            };
            let work = |heard: &mut dyn FnMut(Event)| {
                write(&plan, passphrase.as_ref(), &host, &cancel, heard)
            };
            writing::run(work, &mut sink);
        }));
    }

    fn errand(&mut self, errand: Box<Errand>) {
        self.make_room();
        let (consent, answers) = channel();
        self.consent = Some(consent);
        let (to, cancel) = (self.results.clone(), Arc::clone(&self.cancel));
        let known = Arc::clone(&self.host);
        self.job = Some(thread::spawn(move || {
            let mut sink = |event: Event| {
                let _ = to.send(Message::Job(event));
            };
            let mut ask = |target: &PlannedTarget, what: String| {
                let target = Box::new(target.clone());
                let asked = to.send(Message::Asked { target, what });
                asked.is_ok() && errands::answer(&answers, &cancel)
            };
            let work = |heard: &mut dyn FnMut(Event)| {
                errands::run(&errand, &host(&known), &cancel, &mut ask, heard)
            };
            writing::run(work, &mut sink);
        }));
    }

    /// Waits for the job at work. Whoever leaves in the middle of it sets [`Work::cancel`] first.
    pub fn finish(&mut self) {
        // Nobody answers any more.
        self.consent = None;
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
