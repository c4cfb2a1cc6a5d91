// SPDX-License-Identifier: MIT OR Apache-2.0
//! Life with a stick that keeps changes: throwing them away, and making a sprout independent of its seed.
//!
//! Rules:
//!
//! * The stick's record says what was made and how. Without one nothing is done, and what it says is judged like a plan
//!   from somebody else, for whoever can write to a stick can write a record.
//! * The image's range is not touched, nor is the seed: what is verified of them holds on.
//! * A sprout's root is put back in one step ([`crate::apply::regrow`]); people's files stay unless they are asked for.
//! * What was changed is looked over by its own checker in the end, as `verify` does it.

pub mod job;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::disk::direct::Kind;
use crate::disk::{System, shown};
use crate::event::{Step, Task, Work};
use crate::host::Host;
use crate::plan::audit::audit_sprout;
use crate::plan::filesystem::Filesystem;
use crate::plan::layout::Purpose;
use crate::plan::making::Making;
use crate::plan::{PlannedTarget, target};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::request;
use crate::sprout::{Home, Sprout};
use crate::superblock::Details;
use crate::units::{Bytes, Extent};
use crate::verify::filesystem::Part;
use crate::verify::sprout::superblock;
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
    sprout: Option<Sprout>,
    stays: Vec<String>,
}

/// A plan as JSON.
#[derive(Debug, Serialize)]
pub struct Listing<'a> {
    actions: &'a [Action],
    stays: &'a [String],
}

impl Plan {
    /// The plan as data.
    pub fn listing(&self) -> Listing<'_> {
        Listing {
            actions: &self.actions,
            stays: &self.stays,
        }
    }

    /// What doing it means, in a sentence.
    pub fn meaning(&self) -> String {
        let path = shown(&self.target.path);
        let description = &self.target.description;
        match self.what {
            What::Reset { .. } => {
                let home = if self.stays.iter().any(|stays| stays.contains("/home")) {
                    ""
                } else {
                    ", with all that is in /home"
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
            Action::Grow => "grow the sprout anew from its seed, with an empty /home".into(),
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
                    let seed = self.sprout.as_ref().map(|sprout| sprout.seed.extent.len);
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
        for (partition, part) in self.changed().iter().enumerate() {
            steps.push(Step {
                title: format!("check the {} filesystem ({})", part.purpose, part.kind),
                work: Work::CheckFilesystem { partition },
                bytes: Bytes(part.extent.len.0 / 64),
            });
        }
        steps
    }

    /// The partitions that are changed, as a look at the stick has them.
    fn changed(&self) -> Vec<Part> {
        let changed = |purpose: &str| {
            self.actions.iter().any(|action| match action {
                Action::Make { filesystem } => filesystem.purpose.to_string() == purpose,
                _ => purpose == "sprout",
            })
        };
        let parts = self.record.parts.iter();
        parts
            .filter(|part| changed(&part.purpose))
            .filter_map(Part::recorded)
            .collect()
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
    let making = Making::parse(&record.making).filter(|making| of_record(making, &record));
    let Some(making) = making else {
        return Err(no(
            "does not tell in its record how its partitions were made; write it again",
        ));
    };
    let sprout = making.sprout.clone();
    let (actions, stays) = match request.what {
        What::Reset { home } => reset(&making, home, &subject, &target, host)?,
        What::Detach => detach(sprout.as_ref(), &subject, &target)?,
    };
    if (target.kind == Kind::Disk || sprout.is_some()) && !(host.root && host.loop_devices) {
        return Err(Refusal::Host(format!(
            "changing {} takes root and loop devices; run it as root, with the loop module loaded",
            shown(&target.path)
        )));
    }
    if let Some(sprout) = &sprout {
        audit_sprout(sprout, record.image.size, host)?;
    }
    Ok(Plan {
        target,
        actions,
        what: request.what,
        record,
        sprout,
        stays,
    })
}

/// Whether the partitions of `making` are those of the record, whose places are known to be sound.
fn of_record(making: &Making, record: &Record) -> bool {
    let listed = |purpose: &str, extent: Extent| {
        let parts = &record.parts;
        parts
            .iter()
            .any(|part| part.purpose == purpose && part.extent == extent)
    };
    let filesystems = &making.filesystems;
    let parts = making
        .sprout
        .iter()
        .flat_map(|sprout| [("seed", &sprout.seed), ("sprout", &sprout.sprout)]);
    filesystems
        .iter()
        .all(|one| listed(&one.purpose.to_string(), one.extent))
        && parts
            .into_iter()
            .all(|(purpose, part)| listed(purpose, part.extent))
}

/// The filesystem as this machine would make it.
fn as_here(
    filesystem: &Filesystem,
    target: &PlannedTarget,
    host: &Host,
) -> Result<Filesystem, Refusal> {
    let top = filesystem.tree.first().map(|entry| entry.path.as_str());
    let top = top.filter(|_| filesystem.purpose == Purpose::Overlay);
    let made = Filesystem::decide(filesystem.kind, target.kind != Kind::Disk, top, host)?;
    let filesystem = Filesystem {
        backing: made.backing,
        filling: made.filling,
        subvolume: made.subvolume,
        compressed: made.compressed,
        ..filesystem.clone()
    };
    filesystem.audit(target.kind != Kind::Disk, host)?;
    Ok(filesystem)
}

/// What a reset does, and what it leaves alone.
fn reset(
    making: &Making,
    home: bool,
    subject: &Subject,
    target: &PlannedTarget,
    host: &Host,
) -> Result<(Vec<Action>, Vec<String>), Refusal> {
    let mut actions = Vec::new();
    let mut stays = vec!["the image, its boot menus and the record".to_owned()];
    if let Some(sprout) = &making.sprout {
        stays.push("the seed".into());
        let inside = home && sprout.home == Home::Subvolume;
        // Grown anew it is as on the first day, whatever happened to it; but then everything in it goes.
        let whole = inside || (home && sprout.home == Home::Root);
        actions.push(if whole && !detached(sprout, subject) {
            Action::Grow
        } else {
            Action::Root { home: inside }
        });
        if !home && sprout.home == Home::Subvolume {
            stays.push("/home, in the sprout".into());
        }
    }
    for filesystem in &making.filesystems {
        if filesystem.purpose == Purpose::Home && !home {
            stays.push("the partition of /home".into());
            continue;
        }
        if filesystem.encryption.is_some() {
            return Err(refusal(
                &target.path,
                "has an encrypted /home, which is not made anew without its passphrase; leave out --home, or write the stick again",
            ));
        }
        let filesystem = Box::new(as_here(filesystem, target, host)?);
        actions.push(Action::Make { filesystem });
    }
    if actions.is_empty() {
        return Err(refusal(
            &target.path,
            "keeps nothing but /home; add --home to throw that away",
        ));
    }
    Ok((actions, stays))
}

/// The sprout as a look at the stick has it.
fn part_of(sprout: &Sprout) -> Part {
    Part {
        purpose: "sprout".into(),
        number: sprout.sprout.number,
        kind: request::FsKind::Btrfs,
        extent: sprout.sprout.extent,
        uuid: None,
    }
}

/// Whether the sprout needs no seed any more.
fn detached(sprout: &Sprout, subject: &Subject) -> bool {
    superblock(subject, &part_of(sprout)).is_some_and(|found| {
        matches!(
            found.details,
            Details::Btrfs {
                seeding: false,
                devices: 1,
                ..
            }
        )
    })
}

fn detach(
    sprout: Option<&Sprout>,
    subject: &Subject,
    target: &PlannedTarget,
) -> Result<(Vec<Action>, Vec<String>), Refusal> {
    let Some(sprout) = sprout else {
        return Err(refusal(
            &target.path,
            "has no sprout to detach from its seed",
        ));
    };
    if detached(sprout, subject) {
        return Err(refusal(
            &target.path,
            "has a sprout that needs no seed any more",
        ));
    }
    let stays = vec![
        "everything that was changed, and /home".to_owned(),
        format!(
            "the seed in partition {}: nothing that starts needs it any more, and `verify` knows it as before",
            sprout.seed.number
        ),
    ];
    Ok((vec![Action::Detach], stays))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::filesystem::{Backing, Filling};
    use crate::record::form::tests::made_up;
    use crate::request::FsKind;

    #[test]
    fn what_a_record_says_elsewhere_is_not_written_over() {
        let record = made_up(3, 1);
        let part = &record.parts[0];
        let filesystem = |purpose, extent| Filesystem {
            purpose,
            number: part.number,
            extent,
            partuuid: part.partuuid.clone(),
            kind: FsKind::Ext4,
            label: "ovl-1".into(),
            uuid: part.uuid,
            backing: Backing::Loop,
            filling: Filling::Mkfs,
            subvolume: None,
            compressed: false,
            encryption: None,
            tree: Vec::new(),
        };
        let says = |filesystem| {
            let making = Making::of(&[filesystem], None);
            let text = making.text();
            let read = Making::parse(&text).unwrap();
            assert_eq!(read, making);
            of_record(&read, &record)
        };
        assert!(says(filesystem(Purpose::Overlay, part.extent)));
        assert!(!says(filesystem(Purpose::Home, part.extent)));
        let whole = Extent {
            at: Bytes::ZERO,
            len: record.medium,
        };
        assert!(!says(filesystem(Purpose::Overlay, whole)));
        assert_eq!(Making::default().text(), "");
        assert_eq!(Making::parse("{}"), None);
    }
}
