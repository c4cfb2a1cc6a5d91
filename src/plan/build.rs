// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a request and facts to a plan, or to a refusal. Nothing is written here, and nothing is asked of the system:
//! the same request and facts give the same plan (identifiers are random unless `--seed` is given).

use crate::boot::Arguments;
use crate::capacity::Probe;
use crate::disk::direct::Kind;
use crate::disk::shown;
use crate::host::Host;
use crate::image::Image;
use crate::image::boot_file::{Config, Loader};
use crate::image::initrd::LiveScript;
use crate::image::isomd5;
use crate::patch::{After, Draft, Patch, Why};
use crate::persistence::encrypted_home;
use crate::persistence::home::{self, Mechanism};
use crate::persistence::overlay::Needs;
use crate::persistence::tree::{Attributes, Entry};
use crate::plan::boot::{BootPlan, MediaCheck, carry, edit, media_check};
use crate::plan::encryption::{self, Encryption};
use crate::plan::filesystem::Filesystem;
use crate::plan::ids::Ids;
use crate::plan::layout::{Ask, Purpose, Slot, lay_out};
use crate::plan::making::Making;
use crate::plan::record::PlannedRecord;
use crate::plan::{Behind, Covered, Plan, PlannedImage, PlannedTarget, sprout};
use crate::published::Published;
use crate::read::{ReadAt, ReadError};
use crate::refusal::Refusal;
use crate::request::{self, FsKind, Request, Wanted};
use crate::sprout::within::Within;
use crate::sprout::{Home, Part, Source, Sprout, room, rule};
use crate::table::{Added, NewPartition, TableError, Use};
use crate::units::{Block, Bytes};

/// Makes the plan.
pub fn build(
    request: &Request,
    image: &Image,
    target: PlannedTarget,
    host: &Host,
) -> Result<Plan, Refusal> {
    if !image.table.is_isohybrid() {
        return Err(Refusal::NotHybrid {
            path: image.path.clone(),
        });
    }
    if target.size < image.size {
        return Err(Refusal::TooSmall {
            target: target.path,
            have: target.size,
            need: image.size,
        });
    }
    // A disk is written by root, whoever plans.
    let elevated;
    let host = if target.kind == Kind::Disk && !host.root {
        elevated = host.as_root();
        &elevated
    } else {
        host
    };
    let planner = Planner {
        request,
        image,
        host,
        size: target.size,
        file: target.kind != Kind::Disk,
    };
    planner.plan(target)
}

struct Planner<'a> {
    request: &'a Request,
    image: &'a Image,
    host: &'a Host,
    /// Of the target.
    size: Bytes,
    /// Whether the target is a regular file.
    file: bool,
}

/// The filesystems and what they ask of the kernel command line.
#[derive(Default)]
struct Persistence {
    wanted: Vec<(Purpose, Wanted, FsKind)>,
    mechanism: Option<Mechanism>,
    /// What a seed is made from, where there is to be one.
    seed: Option<Source>,
    /// That itself, where it can be the seed.
    within: Option<Within>,
    notes: Vec<String>,
}

/// What came of entering partitions.
struct Entered {
    /// Those behind the image.
    added: Added,
    /// Which of them is the first that is not the record's.
    first: usize,
    /// The one inside it.
    seed: Option<Part>,
}

impl Planner<'_> {
    fn plan(&self, target: PlannedTarget) -> Result<Plan, Refusal> {
        let Planner { request, image, .. } = *self;
        let mut draft = Draft::new(image.bytes());
        let persistence = self.persistence()?;
        let mut notes = persistence.notes.clone();
        let (mut record, slots) = self.places(&persistence)?;
        if record.is_none() {
            notes.push(
                "the target ends too early for a record of what is written; `livestick verify` will need the image"
                    .into(),
            );
        }
        let ids = Ids::new(request.seed.as_deref());
        let mut filesystems = Vec::new();
        let mut parts = Vec::new();
        let mut sprout = None;
        let mut behind = Vec::new();
        let mut arguments = Vec::new();
        if !slots.is_empty() {
            let entered = self.enter(&mut draft, &ids, &slots, &persistence, record.as_mut())?;
            let (added, first) = (entered.added, entered.first);
            parts.extend(entered.seed);
            behind = added
                .behind
                .into_iter()
                .map(|b| Behind {
                    at: b.at,
                    bytes: b.bytes,
                    what: b.what.into(),
                })
                .collect();
            for (i, slot) in slots.iter().enumerate() {
                let (_, _, kind) = persistence.wanted[i];
                let at = first + i;
                let number = added.numbers.get(at).copied().unwrap_or_default();
                let partuuid = added.partuuids.get(at).cloned().unwrap_or_default();
                if let Purpose::Seed | Purpose::Sprout = slot.what {
                    parts.push(Part {
                        number,
                        extent: slot.extent,
                        partuuid,
                        label: sprout::label(&slot.what.to_string(), &ids),
                    });
                } else {
                    filesystems.push(self.filesystem(slot, kind, number, partuuid, &ids)?);
                }
            }
            arguments = self.fill(&persistence, &mut filesystems, &mut notes)?;
            if let (Some(source), [seed, grown]) = (persistence.seed, parts.as_slice()) {
                let within = persistence.within.as_ref();
                let planned = self.sprout(source, within, (seed, grown), &filesystems, &ids);
                sprout = Some(planned);
            }
        }
        if let Some(sprout) = &sprout {
            arguments.extend(sprout.arguments());
        }
        let boot = self.boot(&mut draft, arguments, sprout.as_ref())?;
        let mut patches = draft.patches().map_err(|error| self.damaged(&error))?;
        let mut media_sum = None;
        if boot.media_check == MediaCheck::Reimplanted {
            self.implant(&mut patches)?;
            let blocks = u32::try_from(image.volume.0 / 2048).map(Block);
            let covered = blocks.ok().zip(image.media_check.clone());
            media_sum = covered.map(|(volume, published)| Covered { volume, published });
        }
        let making = Making::of(&filesystems, sprout.as_ref());
        if let Some(record) = &record {
            record.need(&patches, &behind, &making.text())?;
        }
        Ok(Plan {
            image: PlannedImage {
                path: image.path.clone(),
                name: image.name.clone(),
                size: image.size,
                label: image.label.clone(),
                media_sum,
                version: image.version.clone(),
                // Looked up by whoever has the files: see `command::plan`.
                published: Published::NotAsked,
            },
            probe: self.probe(&target)?,
            target,
            patches,
            behind,
            record,
            filesystems,
            sprout,
            boot,
            notes,
        })
    }

    /// Enters the new partitions in the table, and makes a root image a seed, where there is one that can be.
    fn enter(
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

    /// The plan for a seed and a sprout in these partitions.
    fn sprout(
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

    /// Sticks are probed unless that is not wanted, other disks if it is.
    fn probe(&self, target: &PlannedTarget) -> Result<Option<Probe>, Refusal> {
        let is_disk = target.kind == Kind::Disk;
        let wanted = self.request.probe.unwrap_or(is_disk && target.stick);
        if wanted && !is_disk {
            return Err(Refusal::Target(format!(
                "{} is a file, which has no capacity to probe; leave out --capacity-probe",
                shown(&target.path)
            )));
        }
        Ok(wanted.then(|| Probe::of(target.size)).flatten())
    }

    fn damaged(&self, error: &ReadError) -> Refusal {
        Refusal::Damaged {
            path: self.image.path.clone(),
            why: error.to_string(),
        }
    }

    /// What is wanted and can work.
    fn persistence(&self) -> Result<Persistence, Refusal> {
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
    fn needs<'a>(&'a self, root: &'a Attributes) -> Result<Needs<'a>, Refusal> {
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

    /// Where the record and the partitions go.
    fn places(
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

    fn filesystem(
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
    fn fill(
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

    fn boot(
        &self,
        draft: &mut Draft<'_>,
        arguments: Vec<String>,
        sprout: Option<&Sprout>,
    ) -> Result<BootPlan, Refusal> {
        let Planner { request, image, .. } = *self;
        self.pause()?;
        let extra = request.extra_arguments.clone();
        let root = sprout.map(Sprout::root_argument);
        let mut moved = Vec::new();
        let initrd = match sprout {
            None => None,
            Some(sprout) => {
                let archive = rule::initrd(sprout);
                Some(carry(image, draft, &archive, &mut moved)?)
            }
        };
        let within = sprout.is_some_and(|sprout| sprout.within);
        let live = if within {
            self.live_arguments()
        } else {
            Vec::new()
        };
        let files = if arguments.is_empty() && extra.is_empty() && request.pause.is_none() {
            Vec::new()
        } else {
            let wanted = Arguments {
                persistence: arguments.clone(),
                extra: extra.clone(),
                live: live.clone(),
                replace_root: root.clone(),
                initrd: initrd.clone(),
            };
            edit(image, draft, &wanted, &request.pause, moved)?
        };
        let mut firmware = Vec::new();
        if image.table.boots_bios() {
            firmware.push("BIOS".to_owned());
        }
        if image.table.boots_uefi() {
            firmware.push("UEFI".to_owned());
        }
        Ok(BootPlan {
            firmware,
            arguments,
            extra,
            live,
            pause: request.pause,
            root,
            initrd,
            files,
            media_check: media_check(image, draft)?,
        })
    }

    /// What entries need that start the image's own root once that has the seed flag. dracut's live scripts put a
    /// device-mapper snapshot over a plain root image, and a seed is read-only even there; with overlayfs it is a lower
    /// directory. A sprout must not have it: since 060 the argument puts an overlay over any root (dracut
    /// `modules.d/*overlayfs/mount-overlayfs.sh`).
    fn live_arguments(&self) -> Vec<String> {
        let facts = self.image.initrd_facts.as_ref();
        let dmsquash = facts.is_some_and(|initrd| initrd.live.contains(&LiveScript::DmsquashLive));
        if !dmsquash {
            return Vec::new();
        }
        match facts.and_then(|initrd| initrd.dracut) {
            // Renamed in 110 (dracut-ng d6872bbd).
            Some(110..) => vec!["rd.overlay=1".into()],
            _ => vec!["rd.live.overlay.overlayfs=1".into()],
        }
    }

    /// Whether some menu can wait as it shall.
    fn pause(&self) -> Result<(), Refusal> {
        let isolinux = |config: &Config| config.is_read() && config.loader == Loader::Isolinux;
        if self.request.pause.total.is_some() && !self.image.configs.iter().any(isolinux) {
            return Err(Refusal::Impossible {
                what: "a total timeout",
                why: "GRUB has no such thing, and the image has no isolinux menu".into(),
                instead: "leave it out".into(),
            });
        }
        Ok(())
    }

    /// Adds the isomd5sum of the medium as written to the patches.
    fn implant(&self, patches: &mut Vec<Patch>) -> Result<(), Refusal> {
        let mut before = vec![0; isomd5::FIELD_LEN];
        let field = isomd5::FIELD;
        self.image
            .bytes()
            .read_exact_at(field.at, &mut before)
            .map_err(|error| self.damaged(&error))?;
        patches.push(Patch {
            at: field.at,
            before,
            after: After::MediaCheck,
            why: Why::MediaCheck,
        });
        patches.sort_by_key(|patch| patch.at);
        Ok(())
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
    let lost = !host.root
        || (filesystem.kind == FsKind::Xfs
            && filesystem.filling == super::filesystem::Filling::Mkfs);
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
