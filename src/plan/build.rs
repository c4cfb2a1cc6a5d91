// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a request and facts to a plan, or to a refusal. Nothing is written here, and nothing is asked of the system:
//! the same request and facts give the same plan (identifiers are random unless `--seed` is given).

mod partitions;
mod starting;
mod wanted;

use crate::capacity::Probe;
use crate::disk::direct::Kind;
use crate::disk::shown;
use crate::host::Host;
use crate::image::Image;
use crate::patch::Draft;
use crate::plan::boot::MediaCheck;
use crate::plan::ids::Ids;
use crate::plan::layout::Purpose;
use crate::plan::making::Making;
use crate::plan::{Behind, Covered, Plan, PlannedImage, PlannedTarget, sprout};
use crate::published::Published;
use crate::read::ReadError;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::sprout::Part;
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
        notes.extend(self.pause_note());
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
}
