// SPDX-License-Identifier: MIT OR Apache-2.0
//! Life with a stick that keeps changes: throwing them away, and making a sprout independent of its seed.
//!
//! Rules:
//!
//! * The stick's record says what was made and how. Without one nothing is done, and what it says is judged like a plan
//!   from somebody else, for whoever can write to a stick can write a record.
//! * The image's range is not touched, nor is the seed: what is verified of them holds on.
//! * What is written to is where the record and the partition table both say ([`places`]), and that is asked twice: for
//!   the plan, and once more with the target held, after somebody thought about the question.
//! * A sprout's root is put back in one step ([`crate::apply::regrow`]); people's files stay unless they are asked for.
//! * What was changed is looked over by its own checker in the end, as `verify` does it.

mod actions;
mod grown;
pub mod job;
mod places;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use self::actions::{Resetting, detach};
use self::grown::Grown;

use crate::disk::direct::Kind;
use crate::disk::{System, shown};
use crate::event::{Step, Task, Work};
use crate::host::Host;
use crate::plan::audit::audit_sprout;
use crate::plan::filesystem::Filesystem;
use crate::plan::making::Making;
use crate::plan::sprout::need_to_change;
use crate::plan::{PlannedTarget, target};
use crate::read::ReadAt;
use crate::record::{self, Record};
use crate::refusal::Refusal;
use crate::request;
use crate::sprout::Sprout;
use crate::units::{Bytes, Extent};
use crate::verify::filesystem::Part;
use crate::verify::subject::Subject;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Changes are thrown away.
    Reset {
        /// People's files, too.
        home: bool,
    },
    /// The sprout gets everything that it still has in its seed.
    Detach,
}

impl What {
    fn task(self) -> Task {
        match self {
            What::Reset { .. } => Task::Reset,
            What::Detach => Task::Detach,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A whole block device, or a stick image file.
    pub target: PathBuf,
    /// What is to be done.
    pub what: What,
    /// Unmount what is mounted from the target.
    pub unmount: bool,
    /// The serial (or path) of a disk that does not look like a stick but is meant.
    pub allow_disk: Option<String>,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
pub enum Action {
    /// A filesystem is made anew, as it was made at first.
    Make {
        /// Which.
        filesystem: Box<Filesystem>,
    },
    /// The root of the sprout is put back to the image's.
    Root {
        /// People's files in the sprout are thrown away, too.
        home: bool,
    },
    /// The sprout is grown anew.
    Grow,
    /// The seed is removed from the sprout.
    Detach,
}

/// What will be done.
#[derive(Debug)]
pub struct Plan {
    /// The target.
    pub target: PlannedTarget,
    /// In the order of doing.
    pub actions: Vec<Action>,
    what: What,
    record: Record,
    sprout: Option<(Sprout, Grown)>,
    goes: Vec<String>,
    stays: Vec<String>,
}

/// A plan as JSON.
#[derive(Debug, Serialize)]
pub struct Listing<'a> {
    actions: &'a [Action],
    goes: &'a [String],
    stays: &'a [String],
}

impl Plan {
    /// The plan as data.
    pub fn listing(&self) -> Listing<'_> {
        Listing {
            actions: &self.actions,
            goes: &self.goes,
            stays: &self.stays,
        }
    }

    /// What doing it means, in a sentence.
    pub fn meaning(&self) -> String {
        let path = shown(&self.target.path);
        let description = &self.target.description;
        match self.what {
            What::Reset { .. } => {
                let home = if self.goes.iter().any(|goes| goes.contains("/home")) {
                    ", with all that is in /home"
                } else {
                    ""
                };
                format!("What is thrown away on {path} ({description}) is lost{home}.")
            }
            What::Detach => {
                format!("On {path} ({description}) nothing is lost; it cannot be undone.")
            }
        }
    }

    fn title(action: &Action) -> String {
        let room = |extent: Extent| extent.len.binary();
        match action {
            Action::Make { filesystem } => format!(
                "make the {} filesystem anew ({}, {})",
                filesystem.purpose,
                filesystem.kind,
                room(filesystem.extent)
            ),
            Action::Root { home: false } => "put the sprout's root back to the image's".into(),
            Action::Root { home: true } => {
                "put the sprout's root back to the image's, and empty its /home".into()
            }
            Action::Grow => "grow the sprout anew from its seed".into(),
            Action::Detach => {
                "copy what is in the seed alone into the sprout, and remove the seed from it".into()
            }
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (partition, action) in self.actions.iter().enumerate() {
            let (work, bytes) = match action {
                Action::Make { filesystem } => (Work::Format { partition }, filesystem.effort()),
                Action::Detach => {
                    let seed = self
                        .sprout
                        .as_ref()
                        .map(|(sprout, _)| sprout.seed.extent.len);
                    (Work::Sprout, seed.unwrap_or_default())
                }
                Action::Root { .. } | Action::Grow => (Work::Sprout, Bytes::mib(16)),
            };
            steps.push(Step {
                title: Plan::title(action),
                work,
                bytes,
            });
        }
        for (partition, part) in self.looked_over().iter().enumerate() {
            steps.push(Step {
                title: format!("check the {} filesystem ({})", part.purpose, part.kind),
                work: Work::CheckFilesystem { partition },
                bytes: Bytes(part.extent.len.0 / 64),
            });
        }
        steps
    }

    /// Whether the partition of this purpose is written to.
    fn changes(&self, purpose: &str) -> bool {
        self.actions.iter().any(|action| match action {
            Action::Make { filesystem } => filesystem.purpose.to_string() == purpose,
            _ => purpose == "sprout",
        })
    }

    /// Whether the sprout needs its seed after this.
    fn needs_seed(&self) -> bool {
        self.actions.iter().any(|action| match action {
            Action::Root { .. } => {
                let grown = self.sprout.as_ref().map(|(_, grown)| *grown);
                grown != Some(Grown::Alone)
            }
            Action::Grow => true,
            Action::Make { .. } | Action::Detach => false,
        })
    }

    /// The partitions that have to be where they were made: those that are written to, and the seed of a sprout.
    fn touched(&self) -> impl Iterator<Item = &record::Part> {
        let detaches = self.actions.contains(&Action::Detach);
        self.record.parts.iter().filter(move |part| {
            let seed = part.purpose == "seed" && (detaches || self.needs_seed());
            seed || self.changes(&part.purpose)
        })
    }

    /// What is looked over in the end: what was changed, and the seed without which it is nothing.
    fn looked_over(&self) -> Vec<Part> {
        let parts = self.record.parts.iter();
        parts
            .filter(|part| {
                (part.purpose == "seed" && self.needs_seed()) || self.changes(&part.purpose)
            })
            .filter_map(Part::recorded)
            .collect()
    }

    /// Refuses a medium that is not as the plan saw it.
    fn still(&self, medium: &dyn ReadAt) -> Result<(), Refusal> {
        places::there(medium, self.touched())?;
        match &self.sprout {
            Some((sprout, grown)) if Grown::of(medium, sprout) != *grown => Err(refusal(
                &self.target.path,
                "has another sprout than when it was looked at; start again",
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "target     {}   {}",
            shown(&self.target.path),
            self.target.description
        )?;
        for action in &self.actions {
            writeln!(f, "do         {}", Plan::title(action))?;
        }
        for goes in &self.goes {
            writeln!(f, "goes       {goes}")?;
        }
        for stays in &self.stays {
            writeln!(f, "stays      {stays}")?;
        }
        Ok(())
    }
}

fn refusal(path: &std::path::Path, why: &str) -> Refusal {
    Refusal::Target(format!("{} {why}", shown(path)))
}

/// Looks at the stick and says what would be done.
pub fn look(request: &Request, host: &Host) -> Result<Plan, Refusal> {
    let system = System::real();
    let asked = request::Request {
        target: request.target.clone(),
        unmount: request.unmount,
        allow_disk: request.allow_disk.clone(),
        ..request::Request::default()
    };
    // Refuses what `write` refuses.
    let target = target::look(&asked, &system)?;
    let no = |why: &str| refusal(&target.path, why);
    let subject = Subject::open(&target.path, &system)?;
    let Some(record) = subject.record.clone() else {
        let why = subject.fault.as_ref();
        let why = why.map_or(String::new(), |fault| format!(" ({fault})"));
        return Err(no(&format!(
            "has no record of what was written to it{why}, so nobody knows what belongs there; write it again"
        )));
    };
    if record.parts.is_empty() {
        return Err(no("is the plain image: it keeps nothing"));
    }
    let Some(making) = Making::parse(&record.making) else {
        return Err(no(
            "does not tell in its record how its partitions were made; write it again",
        ));
    };
    places::sound(&making, &record, target.size).map_err(|why| {
        no(&format!(
            "has a record that is not trusted: {why}; write it again"
        ))
    })?;
    if record.generation == u64::MAX {
        return Err(no(
            "has a record that cannot be changed any more (its generation is the last); write it again",
        ));
    }
    let sprout = making.sprout.clone().map(|sprout| {
        let grown = Grown::of(&subject.medium, &sprout);
        (sprout, grown)
    });
    let (actions, goes, stays) = match request.what {
        What::Reset { home } => Resetting {
            home,
            target: &target,
            host,
        }
        .plan(&making, sprout.as_ref())?,
        What::Detach => detach(sprout.as_ref(), &target)?,
    };
    if (target.kind == Kind::Disk || sprout.is_some()) && !(host.root && host.loop_devices) {
        return Err(Refusal::Host(format!(
            "changing {} takes root and loop devices; run it as root, with the loop module loaded",
            shown(&target.path)
        )));
    }
    if let Some((sprout, _)) = &sprout {
        need_to_change(host)?;
        audit_sprout(sprout, record.image.size)?;
    }
    let plan = Plan {
        target,
        actions,
        what: request.what,
        record,
        sprout,
        goes,
        stays,
    };
    plan.still(&subject.medium)?;
    Ok(plan)
}
