// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of the interface, as a value: it changes by commands, by what the threads found out, and by time, and by
//! nothing else. What is to be done comes back as tasks; drawing only reads.
//!
//! A plan becomes [`Task::Write`] in one place: when, in the review of that very plan, its word was typed.

use std::path::PathBuf;
use std::time::Instant;

use super::amounts::Amounts;
use super::browser::{self, Browser};
use super::ended::{self, Ended};
use super::errand::{Errand, Question, heading};
use super::job::{self, Job, Origin, Outcome};
use super::keys::Cmd;
use super::known::{Compared, ImageFacts, Memory};
use super::review::{self, Review};
use super::room::Room;
use super::sticks::{self, Sticks, Target};
use super::work::{Message, Task};
use crate::disk::shown;
use crate::doctor::Checkup;
use crate::event;
use crate::report::Exit;

/// Where a user is on the way.
#[derive(Debug)]
pub enum Screen {
    /// Choosing an image.
    Image,
    /// Choosing a stick.
    Stick,
    /// How much it shall remember.
    Persistence,
    /// Reading the plan, and confirming it.
    Review(Review),
    /// Watching a job: writing, or an errand.
    Writing(Box<Job>),
    /// What came of it.
    Report(Box<Ended>),
}

/// The steps of the way.
pub const WAY: [&str; 6] = ["Image", "Stick", "Persistence", "Review", "Write", "Report"];

impl Screen {
    /// Which step it is, of [`WAY`].
    pub fn number(&self) -> usize {
        match self {
            Screen::Image => 0,
            Screen::Stick => 1,
            Screen::Persistence => 2,
            Screen::Review(_) => 3,
            Screen::Writing(_) => 4,
            Screen::Report(_) => 5,
        }
    }
}

/// Something that happens to the state.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Cmd(Cmd),
    /// From a thread.
    Message(Message),
    /// Nothing but time.
    Tick,
}

/// Everything the interface knows.
#[derive(Debug)]
pub struct State {
    /// Where the user is.
    pub screen: Screen,
    /// The file browser.
    pub browser: Browser,
    /// The table of sticks.
    pub sticks: Sticks,
    /// The sizes.
    pub amounts: Amounts,
    /// The chosen image.
    pub image: Option<ImageFacts>,
    /// The chosen target.
    pub target: Option<Target>,
    /// Whether the keys of the screen are shown.
    pub help: bool,
    /// What the machine has and lacks, once somebody asked for help.
    pub checkup: Option<Checkup>,
    /// A line for the user to read, until the next key.
    pub notice: Option<String>,
    /// The plan that is being made.
    pub planning: Option<u64>,
    /// How many plans were asked for.
    plans: u64,
    /// Bytes a second that the last stick was written at.
    pub measured: Option<f64>,
    /// What time it is.
    pub now: Instant,
    /// How the program would end now.
    pub exit: Option<Exit>,
    /// Where the log is.
    pub log: Option<PathBuf>,
    /// Whether the chosen image or target changed since the sizes were made to fit.
    fresh: bool,
}

impl State {
    /// The first screen; `file` is proposed for a stick image file.
    pub fn new(now: Instant) -> State {
        State {
            screen: Screen::Image,
            browser: Browser::default(),
            sticks: Sticks::new("stick.img"),
            amounts: Amounts::default(),
            image: None,
            target: None,
            help: false,
            checkup: None,
            notice: None,
            planning: None,
            plans: 0,
            measured: None,
            now,
            exit: None,
            log: None,
            fresh: true,
        }
    }

    /// What was chosen on the command line.
    pub fn given(&mut self, image: Option<PathBuf>, target: Option<PathBuf>) -> Vec<Task> {
        let mut tasks = Vec::new();
        if let Some(image) = image {
            // Of a name alone the parent would be no folder that can be shown.
            let image = std::path::absolute(&image).unwrap_or(image);
            if image.is_dir() {
                self.browser.open(&image, &mut tasks);
            } else {
                self.browser.land_on(&image, &mut tasks);
                self.browser.wanted = Some(image.clone());
                tasks.push(Task::Inspect(image));
            }
        }
        if let Some(target) = target {
            self.sticks.give(target);
        }
        tasks
    }

    /// What the steps of the way are called; the fifth by the job at work.
    pub fn way(&self) -> [&'static str; 6] {
        let task = match &self.screen {
            Screen::Writing(job) => job.origin.task(),
            Screen::Report(ended) => ended.task,
            _ => event::Task::Write,
        };
        let mut way = WAY;
        way[4] = heading(task);
        way
    }

    /// Whether a job is at work.
    pub fn is_writing(&self) -> bool {
        matches!(self.screen, Screen::Writing(_))
    }

    /// Whether letters are text at present.
    pub fn is_typing(&self) -> bool {
        match &self.screen {
            Screen::Image => self.browser.typing,
            Screen::Stick => self.sticks.typing(),
            Screen::Persistence => self.amounts.typing(),
            Screen::Review(review) => review.typing(),
            Screen::Writing(job) => job.question.is_some() && !job.asking,
            Screen::Report(ended) => ended.saving.is_some(),
        }
    }

    /// What the sizes are judged against, once image and target are chosen.
    pub fn room(&self) -> Option<Room> {
        Some(Room::of(self.image.as_ref()?, self.target.as_ref()?))
    }

    /// Takes what happened; gives what is to be done.
    pub fn on_event(&mut self, input: Input, now: Instant) -> Vec<Task> {
        self.now = now;
        let mut tasks = Vec::new();
        match input {
            Input::Tick => {
                if let Screen::Writing(job) = &mut self.screen {
                    job.tick(now);
                }
            }
            Input::Cmd(cmd) => self.command(cmd, &mut tasks),
            Input::Message(message) => self.message(message, &mut tasks),
        }
        tasks
    }

    fn command(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) {
        match cmd {
            Cmd::Suspend => return tasks.push(Task::Suspend),
            Cmd::Redraw => return tasks.push(Task::Redraw),
            _ => {}
        }
        self.notice = None;
        if self.help {
            self.help = false;
            if cmd != Cmd::Interrupt {
                return;
            }
        }
        if cmd == Cmd::Help || (cmd == Cmd::Char('?') && !self.is_typing()) {
            self.help = true;
            if self.checkup.is_none() {
                tasks.push(Task::Examine);
            }
            return;
        }
        if cmd == Cmd::Interrupt && !self.is_writing() {
            return tasks.push(Task::Quit);
        }
        let leave = cmd == Cmd::Char('q') && !self.is_typing() && !self.is_writing();
        if leave {
            return tasks.push(Task::Quit);
        }
        match &mut self.screen {
            Screen::Image => {
                let choice = self.browser.command(cmd, tasks);
                self.image_chosen(choice, cmd);
            }
            Screen::Stick => {
                let mut choice = self.sticks.command(cmd, tasks);
                if matches!(choice, sticks::Choice::NotMine) && !self.sticks.typing() {
                    let image = self.image.as_ref().map(|image| image.path.as_path());
                    choice = self.sticks.errand(cmd, image);
                }
                self.stick_chosen(choice, cmd, tasks);
            }
            Screen::Persistence => self.persistence(cmd, tasks),
            Screen::Review(_) => self.review(cmd, tasks),
            Screen::Writing(job) => match job.command(cmd) {
                job::Choice::Cancel => tasks.push(Task::Cancel),
                job::Choice::Answer(yes) => tasks.push(Task::Consent(yes)),
                job::Choice::Say(text) => self.notice = Some(text),
                job::Choice::Stay | job::Choice::NotMine => {}
            },
            Screen::Report(ended) => {
                if ended.command(cmd, tasks) == ended::Choice::Another {
                    self.another();
                }
            }
        }
    }

    fn image_chosen(&mut self, choice: browser::Choice, cmd: Cmd) {
        match choice {
            browser::Choice::Say(text) => self.notice = Some(text),
            browser::Choice::Image(facts) => {
                self.choose_image(*facts);
                self.screen = Screen::Stick;
            }
            browser::Choice::NotMine if cmd == Cmd::Back => {
                self.notice = Some("this is the first step; q leaves".into());
            }
            browser::Choice::Stay | browser::Choice::NotMine => {}
        }
    }

    fn choose_image(&mut self, facts: ImageFacts) {
        self.fresh |= self
            .image
            .as_ref()
            .is_none_or(|known| known.path != facts.path || known.memory != facts.memory);
        self.image = Some(facts);
    }

    fn stick_chosen(&mut self, choice: sticks::Choice, cmd: Cmd, tasks: &mut Vec<Task>) {
        match choice {
            sticks::Choice::Say(text) => self.notice = Some(text),
            sticks::Choice::Target(target) => {
                self.target = Some(*target);
                if let Some(room) = self.room() {
                    self.amounts.adapt(&room, self.fresh);
                }
                self.fresh = self.is_looking();
                self.screen = Screen::Persistence;
            }
            sticks::Choice::Errand(errand) => self.errand(errand, tasks),
            sticks::Choice::NotMine if cmd == Cmd::Back => self.screen = Screen::Image,
            sticks::Choice::Stay | sticks::Choice::NotMine => {}
        }
    }

    fn errand(&mut self, errand: Box<Errand>, tasks: &mut Vec<Task>) {
        tasks.push(Task::Errand(errand.clone()));
        let job = Job::new(Origin::Errand(errand), self.now);
        self.screen = Screen::Writing(Box::new(job));
    }

    /// Whether it is not known yet if the image can remember.
    fn is_looking(&self) -> bool {
        self.image
            .as_ref()
            .is_some_and(|image| image.memory == Memory::Looking)
    }

    fn persistence(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) {
        let (Some(room), Some(image), Some(target)) = (self.room(), &self.image, &self.target)
        else {
            self.screen = Screen::Stick;
            return;
        };
        match self.amounts.command(cmd, &room) {
            Ok(true) => self.planning = None,
            Err(why) => self.notice = Some(why),
            Ok(false) if cmd == Cmd::Back => {
                self.planning = None;
                self.screen = Screen::Stick;
            }
            Ok(false) if cmd == Cmd::Enter => {
                // The plan would say the same, in words of the command line.
                if let Err(why) = self.amounts.layout(&room) {
                    self.notice = Some(why);
                    return;
                }
                self.plans += 1;
                self.planning = Some(self.plans);
                tasks.push(Task::Plan {
                    number: self.plans,
                    request: Box::new(self.amounts.request(image, target)),
                });
            }
            Ok(false) => {}
        }
    }

    fn review(&mut self, cmd: Cmd, tasks: &mut Vec<Task>) {
        let Screen::Review(review) = &mut self.screen else {
            return;
        };
        match review.command(cmd) {
            review::Choice::Say(text) => self.notice = Some(text),
            review::Choice::NotMine if cmd == Cmd::Back => self.screen = Screen::Persistence,
            review::Choice::Stay | review::Choice::NotMine => {}
            review::Choice::Write => {
                tasks.push(Task::Write(review.plan.clone(), review.secret()));
                let origin = Origin::Review(Box::new(review.clone()));
                let job = Job::new(origin, self.now);
                self.screen = Screen::Writing(Box::new(job));
            }
        }
    }

    /// Back to the table of sticks; the image and the sizes stay as they are. After a write no stick is chosen, or it
    /// might be written again.
    fn another(&mut self) {
        if matches!(&self.screen, Screen::Report(ended) if ended.task == event::Task::Write) {
            self.sticks.cursor = None;
        }
        self.target = None;
        self.screen = Screen::Stick;
    }

    fn message(&mut self, message: Message, tasks: &mut Vec<Task>) {
        match message {
            Message::Places(places) => {
                let first = places.first().cloned();
                self.browser.places = places;
                if let (true, Some(first)) = (self.browser.folder.as_os_str().is_empty(), first) {
                    self.browser.open(&first, tasks);
                }
            }
            message @ (Message::Listed { .. } | Message::Inspected { .. }) => {
                if let Message::Inspected {
                    path,
                    facts: Ok(facts),
                } = &message
                {
                    self.refresh_image(path, facts);
                }
                let choice = self.browser.message(message, tasks);
                if matches!(self.screen, Screen::Image) {
                    self.image_chosen(choice, Cmd::Enter);
                }
            }
            Message::Digest { path, digest } => {
                let looked_at = match &self.browser.facts {
                    // The facts have links resolved.
                    Some((known, Ok(facts))) if *known == path => Some(&facts.path),
                    _ => None,
                };
                let chosen = self
                    .image
                    .as_ref()
                    .is_some_and(|image| image.path == path || Some(&image.path) == looked_at);
                if let Compared::Differs(why) = &digest.compared
                    && chosen
                    && !self.is_writing()
                {
                    self.notice = Some(why.clone());
                }
                self.browser
                    .message(Message::Digest { path, digest }, tasks);
            }
            Message::Asked { target, what } => {
                if let Screen::Writing(job) = &mut self.screen {
                    job.ask(Question::new(target, what), self.now);
                }
            }
            Message::Disks(seen) => {
                if let Some(said) = self.sticks.listed(seen) {
                    self.notice = Some(said);
                }
            }
            Message::Measured { path, size } => {
                let choice = self.sticks.file.measured(path, size);
                if matches!(self.screen, Screen::Stick) {
                    self.stick_chosen(choice, Cmd::Enter, tasks);
                }
            }
            Message::Planned { number, plan } => self.planned(number, plan),
            Message::Job(event) => self.job(event),
            Message::Examined(checkup) => self.checkup = Some(*checkup),
            Message::Saved(saved) => {
                if let Screen::Report(ended) = &mut self.screen {
                    self.notice = Some(match &saved {
                        Ok(path) => format!("saved to {}", shown(path)),
                        Err(why) => why.clone(),
                    });
                    ended.saved = Some(saved);
                }
            }
        }
    }

    /// The chosen image was looked into in the meantime.
    fn refresh_image(&mut self, path: &PathBuf, facts: &ImageFacts) {
        let chosen = self.image.as_ref();
        if chosen.is_none_or(|chosen| chosen.path != *path && chosen.path != facts.path) {
            return;
        }
        self.choose_image(facts.clone());
        if matches!(self.screen, Screen::Persistence)
            && self.fresh
            && let Some(room) = self.room()
        {
            self.amounts.adapt(&room, true);
            self.fresh = self.is_looking();
        }
    }

    fn planned(&mut self, number: u64, plan: Result<Box<crate::plan::Plan>, String>) {
        if self.planning.take_if(|wanted| *wanted == number).is_none() {
            return;
        }
        match plan {
            Ok(plan) => self.screen = Screen::Review(Review::new(plan)),
            Err(why) => self.notice = Some(why),
        }
    }

    fn job(&mut self, event: crate::event::Event) {
        let now = self.now;
        let Screen::Writing(job) = &mut self.screen else {
            return;
        };
        match job.event(event, now) {
            Outcome::Going => {}
            Outcome::Denied(why) => {
                self.notice = Some(why);
                self.screen = match &job.origin {
                    Origin::Review(review) => Screen::Review((**review).clone()),
                    Origin::Errand(_) => Screen::Stick,
                };
            }
            Outcome::Over(result) => {
                self.measured = job.pace.written().or(self.measured);
                let notes = std::mem::take(&mut job.notes);
                let ended = Ended::new(result, &job.origin, notes);
                self.exit = Some(ended.exit());
                self.screen = Screen::Report(Box::new(ended));
            }
        }
    }
}
