// SPDX-License-Identifier: MIT OR Apache-2.0
//! The look at everything after a repair, and what may be said then: cured, or not.

use std::sync::atomic::AtomicBool;

use super::{Plan, Rewrite};
use crate::diagnosis::{Cause, Cure, Damage, Verdict as Diagnosis};
use crate::disk::{Identity, System, shown};
use crate::event::Task;
use crate::host::Host;
use crate::report::{Exit, Failure, Report, StickState};
use crate::units::Extent;
use crate::verify::steps::Steps;
use crate::verify::subject::Subject;
use crate::verify::{Job, table};

/// Looks at everything once more, but for the filesystems, to which nothing was written.
pub(super) fn look(
    plan: &Plan,
    host: &Host,
    cancel: &AtomicBool,
    steps: &mut Steps<'_>,
) -> Result<Report, Failure> {
    let lost = |why: &str| Failure {
        exit: Exit::NotVerified,
        message: format!(
            "{} was written to, and then {why}; replace the stick, or repair it again",
            shown(&plan.target.path)
        ),
        state: StickState::Partly,
    };
    let subject = Subject::open(&plan.target.path, &System::real())
        .map_err(|why| lost(&format!("it could not be read: {why}")))?;
    if let (Some(pinned), Some(disk)) = (&plan.target.identity, &subject.disk) {
        let same = pinned.compare(&Identity::of(disk));
        same.map_err(|why| lost(&format!("another disk was there: {why}")))?;
    }
    if subject.record.as_ref() != Some(&plan.record) {
        return Err(lost("its record was not there any more"));
    }
    let job = Job {
        subject: &subject,
        image: None,
        published: None,
        host,
        cancel,
    };
    let tables = table::look(&subject);
    let mut look = job.read(tables, |len| steps.progress(len))?;
    let mut report = job.report(Task::Repair, &look);
    let before = &plan.found.report;
    let touched = |extent: Extent| {
        let mut rewrites = plan.rewrites.iter();
        rewrites.any(|rewrite| rewrite.extent.overlaps(extent))
    };
    let mut of_filesystems = Vec::new();
    let mut unchecked = Vec::new();
    // One that stands on the image is made right by what was written there, and so is one that stands on that.
    if subject.parts.iter().any(|part| touched(part.extent)) {
        for part in &subject.parts {
            let checked = job.filesystem(part)?;
            report.links.push(checked.link);
            of_filesystems.extend(checked.damage);
        }
    } else {
        for part in &subject.parts {
            let mut links = before.links.iter();
            report
                .links
                .extend(links.find(|link| link.name == part.purpose).cloned());
            unchecked.push(part.purpose.as_str());
        }
        let own = |one: &&Damage| {
            let mut parts = subject.parts.iter();
            one.cure == Cure::None && parts.any(|part| part.extent.contains(one.extent))
        };
        of_filesystems.extend(before.damage.iter().filter(own).cloned());
    }
    let still = |rewrite: &&Rewrite| {
        let mut damage = look.damage.iter();
        damage.any(|one| one.extent.overlaps(rewrite.extent))
    };
    let tally = Tally {
        written: plan.rewrites.len(),
        still: plan.rewrites.iter().filter(still).count(),
        new: look
            .damage
            .iter()
            .filter(|one| !touched(one.extent))
            .count(),
    };
    look.damage.extend(of_filesystems);
    job.conclude(&look, &mut report);
    report.diagnosis = report.diagnosis.map(|rest| tally.verdict(rest));
    if !unchecked.is_empty() {
        let s = if unchecked.len() == 1 { "was" } else { "were" };
        report.notes.push(format!(
            "{} {s} checked before the repair, which does not write there, and not again after it",
            unchecked.join(" and ")
        ));
    }
    report.state = StickState::Complete;
    Ok(report)
}

/// What came of writing again.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// So many ranges were written.
    written: usize,
    /// So many of them are wrong still.
    still: usize,
    /// So many others are wrong that were right before.
    new: usize,
}

impl Tally {
    /// The verdict, where `rest` is that of everything as it is now.
    fn verdict(self, rest: Diagnosis) -> Diagnosis {
        let Tally {
            written,
            still,
            new,
        } = self;
        let count = |count: usize, what: &str| {
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {what}{s}")
        };
        if still > 0 || new > 0 {
            let of = count(written, "range");
            let vain = (still > 0).then(|| format!("{still} of {of} written again in vain"));
            let ranges = count(new, "other range");
            let worse = (new > 0).then(|| format!("{ranges} went wrong meanwhile"));
            let both: Vec<String> = vain.into_iter().chain(worse).collect();
            let says = format!("not cured: {}", both.join(", and "));
            return Diagnosis {
                cause: Cause::Incurable,
                says,
                next: "replace the stick".into(),
            };
        }
        let again = format!(
            "{} written again, and the whole range of the image read once more",
            count(written, "range")
        );
        let cured = format!("cured: {again}");
        match rest.cause {
            Cause::Sound => Diagnosis {
                cause: Cause::Cured,
                says: cured,
                next: "if it happens again replace the stick".into(),
            },
            Cause::Unproven => Diagnosis {
                says: format!("not proven to be cured: {again}; {}", rest.says),
                ..rest
            },
            _ => Diagnosis {
                says: format!("{cured}; {}", rest.says),
                ..rest
            },
        }
    }
}
