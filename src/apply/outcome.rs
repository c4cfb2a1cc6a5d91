// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a job that came to its end may claim: whether the medium was read, and the report.

use crate::apply::copy::Copied;
use crate::apply::verify::Digests;
use crate::chain::{Holds, Link};
use crate::digest::hex;
use crate::disk::direct::{Bypass, Medium};
use crate::event::Task;
use crate::plan::Plan;
use crate::plan::boot::MediaCheck;
use crate::record::tree;
use crate::report::{Exit, Made, ReadBack, Report, StickState, Verdict};
use crate::request::FsKind;
use crate::sprout::{Driver, Home};
use crate::units::Bytes;

/// Whether `size` bytes that were read back came from the medium: `given` is what the kernel counted.
pub fn verdict(medium: &Medium, size: Bytes, given: Option<Bytes>) -> Verdict {
    let unproven = |reason: String| Verdict::NotVerified { reason };
    if let Bypass::None(why) = medium.bypass() {
        return unproven(format!(
            "{why}, so it cannot be known that the medium was read"
        ));
    }
    if medium.cached_below() {
        return unproven("the file behind the loop device is read through the page cache".into());
    }
    let counted = if medium.is_disk() {
        "from the disk"
    } else {
        "from storage"
    };
    match given {
        Some(given) if given >= size => Verdict::Verified {
            proof: format!(
                "direct reads; the kernel fetched {} bytes {counted}",
                given.grouped()
            ),
        },
        Some(given) => unproven(format!(
            "the kernel fetched only {} bytes {counted}",
            given.grouped()
        )),
        None => unproven("the kernel does not count what it reads".into()),
    }
}

/// The report of a job.
pub fn report(
    plan: &Plan,
    state: StickState,
    copied: Copied,
    digests: Digests,
    verdict: Verdict,
    made: Vec<Made>,
    notes: Vec<String>,
) -> Report {
    let verified = matches!(verdict, Verdict::Verified { .. });
    let mut report = Report::new(
        Task::Write,
        format!(
            "{}   {}",
            plan.target.path.display(),
            plan.target.description
        ),
    );
    report.exit = if verified {
        Exit::Verified
    } else {
        Exit::NotVerified
    };
    report.state = state;
    report.image = Some(plan.image.name.clone());
    report.image_size = Some(plan.image.size);
    report.sha256 = Some(copied.sha256);
    report.published = Some(plan.image.published.clone());
    report.links = links(plan, &digests, &verdict);
    report.read_back = Some(ReadBack {
        bytes: plan.image.size,
        verdict,
        tree: hex(&tree::root(&digests.chunks)),
        restored: digests.restored,
        ranges: plan.patches.len(),
        changed: plan.changed(),
        reasons: plan.reasons(),
    });
    report.made = made;
    report.boot = boot_lines(plan);
    report.notes = notes;
    report
}

/// The links of the chain that writing makes.
fn links(plan: &Plan, digests: &Digests, verdict: &Verdict) -> Vec<Link> {
    let (holds, how) = match verdict {
        Verdict::Verified { proof } => (Holds::Proven, proof.clone()),
        Verdict::NotVerified { reason } => (Holds::Unproven, reason.clone()),
    };
    let image = Link {
        name: "image".into(),
        holds,
        result: "what was read back has the image's sha256 with the changed ranges put back".into(),
        how,
    };
    let record = match &plan.record {
        Some(record) => Link {
            name: "record".into(),
            holds,
            result: format!("two copies, from byte {} on", record.region.at.grouped()),
            how: format!(
                "each read back after it was written; tree {}",
                hex(&tree::root(&digests.chunks))
            ),
        },
        None => Link {
            name: "record".into(),
            holds: Holds::NotClaimed,
            result: "none: the target ends too early".into(),
            how: String::new(),
        },
    };
    vec![plan.image.published.link(), image, record]
}

/// How the stick starts, as far as it follows from what was written.
fn boot_lines(plan: &Plan) -> Vec<String> {
    let boot = &plan.boot;
    let mut first = boot.firmware.join(" and ");
    if !boot.arguments.is_empty() {
        first += ": persistent by default";
    }
    let mut lines = vec![first];
    let withouts: Vec<&String> = boot
        .files
        .iter()
        .filter_map(|file| file.without.as_ref())
        .collect();
    if let Some(without) = withouts.first() {
        lines.push(format!("'{without}' is in the menu"));
    }
    if let Some(sprout) = &plan.sprout {
        let home = match sprout.home {
            Home::Partition { fs, .. } if fs != FsKind::Btrfs => "",
            _ => " and /home",
        };
        let without = if sprout.source.drivers().last() == Some(Driver::Btrfs) {
            ""
        } else {
            "; without persistence none is"
        };
        lines.push(format!(
            "every read of /{home} is compared with its checksum ({}), be it of the image's root or of a change{without}",
            sprout.checksum
        ));
    }
    match boot.media_check {
        MediaCheck::None => {}
        MediaCheck::Kept => lines.push("the media check is as published".into()),
        MediaCheck::Reimplanted => lines.push("the media check is computed for this stick".into()),
    }
    lines
}
