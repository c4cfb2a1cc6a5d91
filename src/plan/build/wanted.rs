// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of the wanted persistence can work with an image and on a machine: overlay or sprout, `/home`, and which
//! filesystems.

use super::Planner;
use crate::persistence::home;
use crate::persistence::home::Mechanism;
use crate::persistence::overlay::Needs;
use crate::persistence::tree::Attributes;
use crate::plan::layout::Purpose;
use crate::plan::{encryption, sprout};
use crate::refusal::Refusal;
use crate::request;
use crate::request::{FsKind, Wanted};
use crate::sprout::Source;
use crate::sprout::within::Within;

/// The filesystems and what they ask of the kernel command line.
#[derive(Default)]
pub(super) struct Persistence {
    pub(super) wanted: Vec<(Purpose, Wanted, FsKind)>,
    pub(super) mechanism: Option<Mechanism>,
    /// What a seed is made from, where there is to be one.
    pub(super) seed: Option<Source>,
    /// That itself, where it can be the seed.
    pub(super) within: Option<Within>,
    pub(super) notes: Vec<String>,
}

impl Planner<'_> {
    /// What is wanted and can work.
    pub(super) fn persistence(&self) -> Result<Persistence, Refusal> {
        let Planner { request, image, .. } = *self;
        let mut persistence = Persistence::default();
        if request.overlay.is_none() && request.home.is_none() {
            return Ok(persistence);
        }
        if !image.stack.persists() {
            return Err(Refusal::NoPersistence {
                stack: image.stack.name().into(),
            });
        }
        let what = if request.overlay.is_some() {
            "the overlay"
        } else {
            "/home"
        };
        let instead = "leave out the overlay and home options to write the image as it is";
        let Some(initrd) = &image.initrd_facts else {
            let why = "its initrd was not found or could not be read".into();
            return Err(Refusal::Impossible {
                what,
                why,
                instead: instead.into(),
            });
        };
        let mountable: Vec<FsKind> = [FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs]
            .into_iter()
            .filter(|kind| initrd.filesystems.contains(kind.name()))
            .collect();
        let sprouts = request.persistence.map_or_else(
            || {
                request.overlay.is_some_and(|overlay| overlay.fs.is_none())
                    && !request.encrypt_home
                    && sprout::by_default(image, self.host)
            },
            |how| how == request::Persistence::Sprout,
        );
        if let Some(wanted) = request.overlay.filter(|_| sprouts) {
            let source = sprout::source(image)?;
            sprout::need(&source, self.host)?;
            persistence.within = sprout::within(image, &source)?;
            if let Some(within) = &persistence.within {
                sprout::same_checksum(request.csum, within)?;
            } else {
                let seed = sprout::seed(image, &source);
                let wanted = &mut persistence.wanted;
                wanted.push((Purpose::Seed, seed, FsKind::Btrfs));
            }
            let grown = (Purpose::Sprout, wanted, FsKind::Btrfs);
            persistence.wanted.push(grown);
            persistence.seed = Some(source);
        } else if let Some(wanted) = request.overlay {
            if let Some(why) = self.needs(&Attributes::plain(0o755))?.obstacle() {
                return Err(Refusal::Impossible {
                    what: "the overlay",
                    why,
                    instead: instead.into(),
                });
            }
            let kind = choose("the overlay", wanted, &mountable)?;
            self.host.need_filesystem_programs(kind, "overlay")?;
            persistence.wanted.push((Purpose::Overlay, wanted, kind));
        }
        if let Some(wanted) = request.home {
            let tree = image.tree.as_ref();
            let facts = home::Facts {
                overlay: request.overlay.is_some(),
                systemd: initrd.systemd,
                livesys: tree.is_some_and(|tree| tree.livesys),
                attributes: tree.is_some_and(|tree| tree.unread.is_none()),
            };
            let mechanism = if persistence.seed.is_some() {
                // The sprout has room for the unit, and says so itself.
                Ok(Mechanism::Unit)
            } else {
                facts.mechanism()
            };
            let mechanism = mechanism.map_err(|why| Refusal::Impossible {
                what: "a persistent /home without an overlay",
                why,
                instead: "add --overlay-size-mb, in which /home can be entered".into(),
            })?;
            if request.encrypt_home {
                let sprout = persistence.seed.is_some();
                encryption::possible(image, request.overlay.is_some(), sprout, self.host)?;
            }
            let kind = choose("/home", wanted, &mountable)?;
            self.host.need_filesystem_programs(kind, "home")?;
            persistence.mechanism = Some(mechanism);
            persistence.wanted.push((Purpose::Home, wanted, kind));
        }
        let unread = image.tree.as_ref().and_then(|tree| tree.unread.as_ref());
        let made = persistence.wanted.iter();
        let mut made = made.filter(|(what, ..)| !matches!(what, Purpose::Seed | Purpose::Sprout));
        if let Some(why) = unread
            && made.next().is_some()
        {
            persistence.notes.push(format!(
                "the attributes of the image's own directories are not known ({why}); root's usual ones are taken"
            ));
        }
        Ok(persistence)
    }

    /// What the overlay needs to know of the image.
    pub(super) fn needs<'a>(&'a self, root: &'a Attributes) -> Result<Needs<'a>, Refusal> {
        let image = self.image;
        let initrd = image
            .initrd_facts
            .as_ref()
            .ok_or_else(|| Refusal::Impossible {
                what: "the overlay",
                why: "its initrd could not be read".into(),
                instead: "write the image as it is".into(),
            })?;
        let nested = image
            .nested()
            .and_then(|inner| Some((inner.label.as_deref()?, inner.uuid.as_deref()?)));
        Ok(Needs {
            initrd,
            volume_label: &image.label,
            volume_uuid: image.uuid.as_deref().unwrap_or_default(),
            nested,
            root,
        })
    }
}

/// The filesystem for a purpose: the user's choice if the image can mount it, else the best that it can.
fn choose(what: &'static str, wanted: Wanted, mountable: &[FsKind]) -> Result<FsKind, Refusal> {
    let listed = mountable
        .iter()
        .map(|kind| kind.name())
        .collect::<Vec<_>>()
        .join(", ");
    let refuse = |why: String, instead: String| Err(Refusal::Impossible { what, why, instead });
    match wanted.fs {
        Some(kind) if !mountable.contains(&kind) => refuse(
            format!("its initrd has no {kind} driver"),
            if listed.is_empty() {
                "write the image as it is".into()
            } else {
                format!("choose one of {listed}")
            },
        ),
        Some(kind) => Ok(kind),
        None => match mountable.first() {
            Some(kind) => Ok(*kind),
            None => refuse(
                "no driver of btrfs, ext4 or xfs was found in its initrd".into(),
                "write the image as it is".into(),
            ),
        },
    }
}
