// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record of a job: made of the plan and of what was read back, and put on the stick before its first MiB is.
//!
//! The digests in it are of bytes that came back from the medium, after they were compared with what was written. So
//! a record exists only where reading back succeeded.

use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::apply::copy::Copied;
use crate::apply::verify::Digests;
use crate::boot::esp;
use crate::digest::unhex;
use crate::disk::direct::{Medium, MediumError};
use crate::patch::{After, Draft};
use crate::plan::Plan;
use crate::plan::making::Making;
use crate::plan::record::PlannedRecord;
use crate::published::Published;
use crate::read::Source;
use crate::record::{
    Change, EspFile, Kept, Origin, OriginStanding, Part, Record, RecordedImage, place,
};
use crate::report::Made;

/// What is made zeros where a copy will be: its header, whatever the medium's sector.
const BLANKED: usize = 4096;

/// Takes away the headers of a record that was there before, so that none of another stick is found if this job does
/// not come to its end.
pub fn blank(medium: &Medium, planned: &PlannedRecord) -> Result<(), MediumError> {
    let zeros = [0; BLANKED];
    for at in place::places(planned.region) {
        medium.write_at(at, &zeros)?;
    }
    Ok(())
}

/// The record of what was written and read back.
pub fn record(
    plan: &Plan,
    planned: &PlannedRecord,
    image: &File,
    copied: &Copied,
    digests: &Digests,
    made: &[Made],
) -> anyhow::Result<Record> {
    let changes = copied.changed.iter().map(|(at, after, before)| Change {
        at: *at,
        before: before.clone(),
        after: after.clone(),
        why: plan
            .patches
            .iter()
            .find(|patch| patch.at == *at)
            .map(|patch| patch.why.to_string())
            .unwrap_or_default(),
    });
    let kept = plan.behind.iter().map(|behind| Kept {
        at: behind.at,
        bytes: behind.bytes.clone(),
        what: behind.what.clone(),
    });
    let filesystems = plan.filesystems.iter().map(|filesystem| Part {
        purpose: filesystem.purpose.to_string(),
        number: filesystem.number,
        extent: filesystem.extent,
        kind: filesystem.outside().0.into(),
        uuid: filesystem.outside().1,
        partuuid: filesystem.partuuid.clone(),
    });
    let mut parts = seed_and_sprout(plan, made)?;
    parts.extend(filesystems);
    let sha256 = unhex(&copied.sha256).and_then(|bytes| bytes.try_into().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(Record {
        generation: 1,
        tool: concat!("livestick ", env!("CARGO_PKG_VERSION")).into(),
        written: now.map_or(0, |since| since.as_secs()),
        image: RecordedImage {
            name: plan.image.name.clone(),
            label: plan.image.label.clone(),
            size: plan.image.size,
            sha256: sha256.context("the image has no SHA-256")?,
            origin: origin(&plan.image.published),
        },
        medium: plan.target.size,
        region: planned.region,
        changes: changes.collect(),
        kept: kept.collect(),
        parts,
        making: Making::of(&plan.filesystems, plan.sprout.as_ref()).text(),
        esp: esp_files(plan, planned, image),
        chunks: digests.chunks.clone(),
    })
}

/// The seed and the sprout as they were made: the sprout's identifier is the kernel's choice.
fn seed_and_sprout(plan: &Plan, made: &[Made]) -> anyhow::Result<Vec<Part>> {
    let Some(sprout) = &plan.sprout else {
        return Ok(Vec::new());
    };
    let grown = made.iter().find(|made| made.purpose == "sprout");
    let grown = grown.and_then(|made| made.uuid.parse().ok());
    let grown = grown.context("the sprout has no identifier")?;
    let part = |purpose: &str, part: &crate::sprout::Part, uuid| Part {
        purpose: purpose.into(),
        number: part.number,
        extent: part.extent,
        kind: "btrfs".into(),
        uuid,
        partuuid: part.partuuid.clone(),
    };
    Ok(vec![
        part("seed", &sprout.seed, sprout.seed_uuid),
        part("sprout", &sprout.sprout, grown),
    ])
}

/// What is known of the image's origin. The image has the published digests: it was compared before the first write.
fn origin(published: &Published) -> Origin {
    let standing = match published {
        Published::NotAsked | Published::NotFound { .. } => OriginStanding::None,
        signed if signed.is_signed() => OriginStanding::Signed,
        Published::Given { .. } | Published::Listed { .. } => OriginStanding::Listed,
    };
    Origin {
        standing,
        words: published.to_string(),
    }
}

/// The files of the EFI system partition as they are on the stick. Where it cannot be read as FAT there are none: that
/// is no fault of the stick's, and its bytes are in the digests of the chunks.
fn esp_files(plan: &Plan, planned: &PlannedRecord, image: &File) -> Vec<EspFile> {
    let Some(extent) = planned.esp else {
        return Vec::new();
    };
    let Ok(image) = image.try_clone() else {
        return Vec::new();
    };
    let source = Source::new(image, plan.image.size);
    let mut draft = Draft::new(&source);
    for patch in &plan.patches {
        // The media check is not on the system partition.
        if let After::Bytes(after) = &patch.after
            && draft.write(patch.at, after, &patch.why).is_err()
        {
            return Vec::new();
        }
    }
    esp::files(&draft, extent).unwrap_or_default()
}
