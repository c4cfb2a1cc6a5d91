// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the record and the partitions go, what is entered in the table, and what the filesystems hold.

use super::Planner;
use super::wanted::Persistence;
use crate::host::Host;
use crate::patch::Draft;
use crate::persistence::home::Mechanism;
use crate::persistence::tree::{Attributes, Entry};
use crate::persistence::{encrypted_home, home};
use crate::plan::encryption::Encryption;
use crate::plan::filesystem::{Filesystem, Filling};
use crate::plan::ids::Ids;
use crate::plan::layout::{Ask, Purpose, Slot, lay_out};
use crate::plan::record::PlannedRecord;
use crate::plan::{encryption, sprout};
use crate::refusal::Refusal;
use crate::request::FsKind;
use crate::sprout::within::Within;
use crate::sprout::{Home, Part, Source, Sprout, room};
use crate::table::{Added, NewPartition, TableError, Use};

/// What came of entering partitions.
pub(super) struct Entered {
    /// Those behind the image.
    pub(super) added: Added,
    /// Which of them is the first that is not the record's.
    pub(super) first: usize,
    /// The one inside it.
    pub(super) seed: Option<Part>,
}

impl Planner<'_> {
    /// Enters the new partitions in the table, and makes a root image a seed, where there is one that can be.
    pub(super) fn enter(
        &self,
        draft: &mut Draft<'_>,
        ids: &Ids,
        slots: &[Slot],
        persistence: &Persistence,
        record: Option<&mut PlannedRecord>,
    ) -> Result<Entered, Refusal> {
        let image = self.image;
        let table = |error: TableError| Refusal::Table(error.to_string());
        let inside = persistence.within.as_ref().map(|within| Slot {
            what: Purpose::Seed,
            extent: within.extent,
        });
        let entries = slots.len() + usize::from(inside.is_some());
        let room = image.table.takes(image.bytes(), entries + 1);
        let room = room.map_err(table)?;
        let own = record.filter(|_| room);
        let mut new: Vec<NewPartition> = own.iter().map(|own| own.entry(ids)).collect();
        let first = new.len();
        new.extend(slots.iter().map(|slot| entry(slot, ids)));
        let over = inside.as_ref().map(|slot| entry(slot, ids));
        let mut added = match &over {
            None => image.table.add(draft, self.size, &new),
            Some(over) => image.table.add_with(draft, self.size, over, &new),
        }
        .map_err(table)?;
        let mut seed = None;
        if let (Some(slot), Some(within)) = (inside, &persistence.within) {
            let label = sprout::other_label(image, within, ids);
            let change = within.change(draft, label.as_deref());
            change.map_err(|error| self.damaged(&error))?;
            seed = Some(Part {
                number: added.numbers.remove(0),
                extent: slot.extent,
                partuuid: added.partuuids.remove(0),
                label: label.or(within.label.clone()).unwrap_or_default(),
            });
        }
        if let Some(own) = own {
            own.number = added.numbers.first().copied();
        }
        Ok(Entered { added, first, seed })
    }

    /// Where the record and the partitions go.
    pub(super) fn places(
        &self,
        persistence: &Persistence,
    ) -> Result<(Option<PlannedRecord>, Vec<Slot>), Refusal> {
        let (size, table) = (self.image.size, &self.image.table);
        let count = persistence.wanted.len();
        if count == 0 {
            return Ok((PlannedRecord::alone(size, table, self.size), Vec::new()));
        }
        let and_space = match persistence.within {
            None => PlannedRecord::and_space,
            Some(_) => PlannedRecord::and_space_with,
        };
        let (record, space) = and_space(size, table, self.size, count).map_err(|error| {
            let text = error.to_string();
            match persistence.within {
                // It says how many entries there are, and a user counts another number of partitions.
                Some(_) => Refusal::Table(format!(
                    "{text} (one is for the image's root, which the sprout grows from); or use --persistence overlay"
                )),
                None => Refusal::Table(text),
            }
        })?;
        let asks: Vec<Ask> = persistence
            .wanted
            .iter()
            .map(|(what, wanted, kind)| Ask {
                what: *what,
                size: wanted.size,
                smallest: match what {
                    Purpose::Home if self.request.encrypt_home => encryption::smallest(*kind),
                    Purpose::Seed => room::SMALLEST_SEED,
                    Purpose::Sprout => room::SMALLEST_SPROUT,
                    _ => kind.smallest(),
                },
            })
            .collect();
        let slots = lay_out(&space, &asks).map_err(|error| Refusal::Layout(error.to_string()))?;
        Ok((record, slots))
    }

    pub(super) fn filesystem(
        &self,
        slot: &Slot,
        kind: FsKind,
        number: u32,
        partuuid: String,
        ids: &Ids,
    ) -> Result<Filesystem, Refusal> {
        let uuid = ids.uuid(&format!("{} filesystem", slot.what));
        let short = uuid.simple().to_string();
        let root = Attributes::plain(0o755);
        let (top, prefix) = match slot.what {
            Purpose::Overlay => (Some(self.needs(&root)?.top()), "ovl"),
            Purpose::Home | Purpose::Seed | Purpose::Sprout => (None, "home"),
        };
        // Twelve characters are what XFS has room for.
        let label: String = format!("{prefix}-{short}").chars().take(12).collect();
        let encrypted = slot.what == Purpose::Home && self.request.encrypt_home;
        let encryption = encrypted.then(|| Encryption {
            uuid: ids.uuid(&format!("{} encryption", slot.what)),
        });
        let made = match &encryption {
            Some(_) => encryption::making(self.host)?,
            None => Filesystem::decide(kind, self.file, top, self.host)?,
        };
        Ok(Filesystem {
            purpose: slot.what,
            number,
            extent: slot.extent,
            partuuid,
            kind,
            label,
            uuid,
            backing: made.backing,
            filling: made.filling,
            subvolume: made.subvolume,
            compressed: made.compressed,
            encryption,
            tree: Vec::new(),
        })
    }

    /// Puts the trees into the filesystems; gives the kernel arguments.
    pub(super) fn fill(
        &self,
        persistence: &Persistence,
        filesystems: &mut [Filesystem],
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>, Refusal> {
        let known = |path: &str| self.image.tree.as_ref()?.directories.get(path).cloned();
        let root = known("").unwrap_or_else(Attributes::unknown_root);
        let needs = self.needs(&root)?;
        let mut arguments = Vec::new();
        let home = filesystems
            .iter()
            .find(|fs| fs.purpose == Purpose::Home)
            .map(|fs| (fs.uuid.to_string(), fs.kind, fs.encryption.clone()));
        for filesystem in filesystems.iter_mut() {
            let uuid = filesystem.uuid.to_string();
            match filesystem.purpose {
                Purpose::Overlay => {
                    filesystem.tree = needs.tree();
                    arguments.extend(needs.arguments(&uuid, &filesystem.label));
                    if let (Some((home, kind, encryption)), Some(Mechanism::Unit)) =
                        (&home, persistence.mechanism)
                    {
                        let upper = needs.upper();
                        filesystem.tree.extend(match encryption {
                            None => home::unit(&upper, home, *kind, &known),
                            Some(Encryption { uuid }) => {
                                let image = self.image.tree.as_ref();
                                let own = image.and_then(|tree| tree.unlocking.crypttab.as_ref());
                                encrypted_home::units(&upper, uuid, *kind, own, &known)
                            }
                        });
                    }
                }
                // A seed and a sprout are no filesystems of this list.
                Purpose::Seed | Purpose::Sprout => {}
                Purpose::Home => {
                    let top = known("home").unwrap_or_else(|| Attributes::plain(0o755));
                    filesystem.tree = vec![Entry::directory("", top)];
                    if let Some(mechanism) = persistence.mechanism {
                        arguments.extend(mechanism.arguments(&uuid, filesystem.kind));
                        let how = mechanism.describe();
                        notes.push(if persistence.seed.is_some() {
                            "/home is mounted by home.mount in the sprout".into()
                        } else {
                            format!("/home is {how}")
                        });
                        if filesystem.encryption.is_some() {
                            notes.push(encrypted_home::NOTE.into());
                        }
                    }
                }
            }
            note_limits(filesystem, self.host, notes);
        }
        Ok(arguments)
    }

    /// The plan for a seed and a sprout in these partitions.
    pub(super) fn sprout(
        &self,
        source: Source,
        within: Option<&Within>,
        (seed, grown): (&Part, &Part),
        filesystems: &[Filesystem],
        ids: &Ids,
    ) -> Sprout {
        let known = |path: &str| self.image.tree.as_ref()?.directories.get(path);
        let partition = filesystems.iter().find(|fs| fs.purpose == Purpose::Home);
        Sprout {
            source,
            seed: seed.clone(),
            seed_uuid: within.map_or_else(|| ids.uuid("seed filesystem"), |within| within.uuid),
            checksum: within.map_or(self.request.csum, |within| within.checksum),
            within: within.is_some(),
            sprout: grown.clone(),
            home: match partition {
                Some(filesystem) => Home::Partition {
                    uuid: filesystem.uuid.to_string(),
                    fs: filesystem.kind,
                },
                // The tree of a btrfs is read when it is mounted, and one without a `/home` is refused then.
                None if known("home").is_some() || within.is_some() => Home::Subvolume,
                None => Home::Root,
            },
        }
    }
}

fn entry(slot: &Slot, ids: &Ids) -> NewPartition {
    NewPartition {
        extent: slot.extent,
        name: format!("livestick-{}", slot.what),
        what: Use::LinuxData,
        unique: ids.uuid(&format!("{} partition", slot.what)),
    }
}

/// What a filesystem lacks because of the machine it is made on.
fn note_limits(filesystem: &Filesystem, host: &Host, notes: &mut Vec<String>) {
    let purpose = filesystem.purpose;
    if filesystem.kind == FsKind::Btrfs && !filesystem.compressed && filesystem.encryption.is_some()
    {
        notes.push(format!(
            "what is written to the {purpose} is not compressed: setting that takes a mount, and an encrypted filesystem is made without"
        ));
    } else if filesystem.kind == FsKind::Btrfs && !filesystem.compressed {
        notes.push(format!(
            "what is written to the {purpose} is not compressed: setting that takes root, a kernel with btrfs and a private mount"
        ));
    }
    if filesystem.kind == FsKind::Btrfs
        && purpose == Purpose::Overlay
        && filesystem.subvolume.is_none()
    {
        notes.push(format!(
            "the {purpose} has no subvolume of its own: making one takes root and a kernel with btrfs, or btrfs-progs 6.12"
        ));
    }
    let labelled = filesystem
        .tree
        .iter()
        .any(|entry| !entry.attributes.xattrs.is_empty());
    let lost =
        !host.root || (filesystem.kind == FsKind::Xfs && filesystem.filling == Filling::Mkfs);
    if labelled && lost {
        notes.push(format!(
            "the SELinux labels of what is made in the {purpose} are left out: setting them takes root{}",
            if filesystem.kind == FsKind::Xfs {
                ", and a kernel that mounts xfs"
            } else {
                ""
            }
        ));
    }
}
