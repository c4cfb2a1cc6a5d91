// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a job ends early: what stopped it, what that is called, and with which exit status.

use crate::apply::flow::Stop;
use crate::disk::direct::{Kind, MediumError};
use crate::disk::gone;
use crate::plan::PlannedTarget;
use crate::report::{Exit, Failure, StickState};

/// Says of a failed job that its target was pulled out, where that is so; `next` is to be done once it is plugged in
/// again.
pub(crate) fn tell_if_gone(
    target: &PlannedTarget,
    step: Option<&str>,
    next: &str,
    failure: &mut Failure,
) {
    if let Some(message) = gone(target, step, next) {
        failure.exit = Exit::WriteFailed;
        failure.message = message;
    }
}

/// The same for a job that came to its end, with a result that says nothing then.
pub(crate) fn gone(target: &PlannedTarget, step: Option<&str>, next: &str) -> Option<String> {
    let disk = target.identity.as_ref();
    let disk = disk.filter(|_| target.kind == Kind::Disk)?;
    gone::told(&target.path, disk, step, next)
}

/// How a job ends early.
pub(super) enum End {
    /// Before the first write: the target is not what the plan saw, or cannot be had.
    Refused(anyhow::Error),
    /// Before the first write: the image is not the published one.
    Image(anyhow::Error),
    /// By the user.
    Cancelled,
    /// Writing, or what belongs to it.
    Write(anyhow::Error),
    /// What was read is not what was written.
    Verify(anyhow::Error),
    /// The target does not have the size it claims.
    Counterfeit(anyhow::Error),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> End {
        match stop {
            Stop::Cancelled => End::Cancelled,
            Stop::Failed(error) => End::Write(error),
        }
    }
}

impl From<MediumError> for End {
    fn from(error: MediumError) -> End {
        End::Write(error.into())
    }
}

impl End {
    pub(super) fn into_failure(self, state: StickState) -> Failure {
        let (exit, message) = match self {
            End::Refused(error) => (Exit::Refused, told(&error)),
            End::Image(error) => (Exit::Damaged, told(&error)),
            End::Cancelled => (Exit::Cancelled, "stopped as asked".into()),
            End::Write(error) => (Exit::WriteFailed, told(&error)),
            End::Verify(error) => (Exit::NotVerified, told(&error)),
            End::Counterfeit(error) => (Exit::Counterfeit, told(&error)),
        };
        Failure {
            exit,
            message,
            state,
        }
    }
}

/// An error with its causes, none said twice: errors of this program name their source in their own text.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let source = std::io::Error::other("no luck");
        let error = MediumError::Flush {
            path: "/dev/sdx".into(),
            source,
        };
        let error = anyhow::Error::from(error).context("making the overlay filesystem");
        assert_eq!(
            told(&error),
            "making the overlay filesystem: flushing /dev/sdx to the medium: no luck; what is on it is not known"
        );
    }
}
