// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a reset or a detachment does to a stick, what is lost with that, and what stays.

use super::grown::Grown;
use super::{Action, refusal};
use crate::disk::direct::Kind;
use crate::host::Host;
use crate::plan::PlannedTarget;
use crate::plan::filesystem::Filesystem;
use crate::plan::layout::Purpose;
use crate::plan::making::Making;
use crate::refusal::Refusal;
use crate::sprout::{Home, Sprout};

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

/// What is done, what goes with it, and what stays.
pub(super) type Planned = (Vec<Action>, Vec<String>, Vec<String>);

/// What a reset does.
pub(super) struct Resetting<'a> {
    /// People's files, too.
    pub(super) home: bool,
    /// The stick.
    pub(super) target: &'a PlannedTarget,
    /// Where programs are.
    pub(super) host: &'a Host,
}

impl Resetting<'_> {
    /// What it does, and what goes and stays with that.
    pub(super) fn plan(
        &self,
        making: &Making,
        sprout: Option<&(Sprout, Grown)>,
    ) -> Result<Planned, Refusal> {
        let mut actions = Vec::new();
        let mut goes = Vec::new();
        let mut stays = vec!["the image, its boot menus and the record".to_owned()];
        let changed = "what was changed in the system: files, settings, what was installed";
        if let Some((sprout, grown)) = sprout {
            goes.push(changed.to_owned());
            stays.push("the seed".into());
            actions.push(self.sprout(sprout, *grown)?);
            match (&sprout.home, self.home) {
                (Home::Subvolume, false) => stays.push("/home, in the sprout".into()),
                (Home::Subvolume, true) => goes.push("everything in /home, in the sprout".into()),
                (Home::Root, _) => {
                    goes.push("everything in /home, which is a part of the root".into());
                }
                (Home::Partition { .. }, _) => {}
            }
        }
        let of_home = |filesystem: &&Filesystem| filesystem.purpose == Purpose::Home;
        let own_home = making.filesystems.iter().any(|one| of_home(&one));
        for filesystem in &making.filesystems {
            match (filesystem.purpose, self.home) {
                (Purpose::Home, false) => {
                    stays.push("the partition of /home".into());
                    continue;
                }
                (Purpose::Home, true) => goes.push("everything in the partition of /home".into()),
                _ if own_home => goes.push(changed.to_owned()),
                _ => goes.extend([
                    changed.to_owned(),
                    "everything in /home, which is in the overlay".to_owned(),
                ]),
            }
            if filesystem.encryption.is_some() {
                return Err(refusal(
                    &self.target.path,
                    "has an encrypted /home, which is not made anew without its passphrase; leave out --home, or write the stick again",
                ));
            }
            let filesystem = Box::new(as_here(filesystem, self.target, self.host)?);
            actions.push(Action::Make { filesystem });
        }
        if actions.is_empty() {
            return Err(refusal(
                &self.target.path,
                "keeps nothing but /home; add --home to throw that away",
            ));
        }
        Ok((actions, goes, stays))
    }

    /// How the sprout becomes as it was.
    fn sprout(&self, sprout: &Sprout, grown: Grown) -> Result<Action, Refusal> {
        let inside = self.home && sprout.home == Home::Subvolume;
        // Grown anew it is as on the first day, whatever happened to it; but then everything in it goes.
        let whole = inside || (self.home && sprout.home == Home::Root);
        match grown {
            Grown::OnSeed if whole => Ok(Action::Grow),
            Grown::OnSeed | Grown::Alone => Ok(Action::Root { home: inside }),
            // Nobody's files are in it, or they are to go.
            Grown::Unfinished if whole || matches!(sprout.home, Home::Partition { .. }) => {
                Ok(Action::Grow)
            }
            Grown::Unfinished => Err(refusal(
                &self.target.path,
                "has a sprout that is damaged, or that a job which was cut short left unfinished; `livestick reset --home` grows it anew, with an empty /home",
            )),
            Grown::Foreign => Err(foreign(self.target)),
        }
    }
}

fn foreign(target: &PlannedTarget) -> Refusal {
    refusal(
        &target.path,
        "has something else where its sprout was, which nobody asked to be thrown away; write it again",
    )
}

/// What a detachment does.
pub(super) fn detach(
    sprout: Option<&(Sprout, Grown)>,
    target: &PlannedTarget,
) -> Result<Planned, Refusal> {
    let no = |why| Err(refusal(&target.path, why));
    let sprout = match sprout {
        None => return no("has no sprout to detach from its seed"),
        Some((_, Grown::Alone)) => return no("has a sprout that needs no seed any more"),
        Some((_, Grown::Unfinished)) => {
            return no(
                "has no whole sprout; `livestick reset --home` grows it anew, with an empty /home",
            );
        }
        Some((_, Grown::Foreign)) => return Err(foreign(target)),
        Some((sprout, Grown::OnSeed)) => sprout,
    };
    let stays = vec![
        "everything that was changed, and /home".to_owned(),
        format!(
            "the seed in partition {}: nothing that starts needs it any more, and `verify` knows it as before",
            sprout.seed.number
        ),
    ];
    Ok((vec![Action::Detach], Vec::new(), stays))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::sprout::{Checksum, Driver, Part, Source};
    use crate::units::{Bytes, Extent};

    fn sprout(home: Home) -> Sprout {
        let extent = Extent {
            at: Bytes::mib(4),
            len: Bytes::mib(4),
        };
        let part = Part {
            number: 4,
            extent,
            partuuid: String::new(),
            label: "x".into(),
        };
        Sprout {
            source: Source {
                extent,
                driver: Driver::Squashfs,
                nested: None,
            },
            seed: part.clone(),
            seed_uuid: Uuid::from_u128(7),
            checksum: Checksum::Crc32c,
            within: false,
            sprout: part,
            home,
        }
    }

    #[test]
    fn what_becomes_of_home_is_said_wherever_it_is() {
        let target = PlannedTarget {
            path: "stick.img".into(),
            kind: Kind::File,
            size: Bytes::mib(64),
            identity: None,
            stick: true,
            description: String::new(),
            unmount: Vec::new(),
            now: Vec::new(),
        };
        let host = Host::look();
        let planned = |home: Home, all: bool, grown: Grown| {
            let sprout = sprout(home);
            let making = Making::of(&[], Some(&sprout));
            let resetting = Resetting {
                home: all,
                target: &target,
                host: &host,
            };
            resetting.plan(&making, Some(&(sprout, grown)))
        };
        let own = || Home::Partition {
            uuid: String::new(),
            fs: crate::request::FsKind::Ext4,
        };
        let root = |home| Action::Root { home };
        // Where it is, whether it was asked for, what there is: what is done, and whether it goes with that.
        let cases = [
            (Home::Subvolume, false, Grown::OnSeed, root(false), false),
            (Home::Subvolume, true, Grown::OnSeed, Action::Grow, true),
            (Home::Subvolume, true, Grown::Alone, root(true), true),
            (Home::Subvolume, true, Grown::Unfinished, Action::Grow, true),
            (Home::Root, false, Grown::OnSeed, root(false), true),
            (Home::Root, true, Grown::OnSeed, Action::Grow, true),
            (Home::Root, true, Grown::Alone, root(false), true),
            (own(), false, Grown::OnSeed, root(false), false),
            (own(), false, Grown::Unfinished, Action::Grow, false),
        ];
        for (home, all, grown, action, goes) in cases {
            let what = format!("{home:?} {all} {grown:?}");
            let planned = planned(home, all, grown).unwrap();
            assert_eq!(planned.0, [action], "{what}");
            let told = |lines: &[String]| lines.iter().any(|line| line.contains("/home"));
            assert_eq!(told(&planned.1), goes, "{what}");
        }
        for (home, all, grown) in [
            (Home::Subvolume, false, Grown::Unfinished),
            (Home::Root, false, Grown::Unfinished),
            (Home::Subvolume, true, Grown::Foreign),
            (own(), true, Grown::Foreign),
        ] {
            assert!(planned(home, all, grown).is_err());
        }
    }
}
