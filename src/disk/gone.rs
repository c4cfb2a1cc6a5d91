// SPDX-License-Identifier: MIT OR Apache-2.0
//! A disk that was pulled out in the middle of a job, in words.
//!
//! The kernel's errors for it name anything but that ("No space left on device", "Input/output error"); a probe takes
//! them for bad places, a checker for damage. So whoever ended with errors asks here before it says what they mean.

use std::path::Path;

use super::{Identity, System, shown};

/// What to say if the disk that was at `path` is gone: at which step, and what is `next` to be done.
pub fn told(path: &Path, disk: &Identity, step: Option<&str>, next: &str) -> Option<String> {
    disk.is_gone(&System::real()).then(|| {
        format!(
            "{} is gone: it was pulled out, or lost its connection, at the step \"{}\"; plug it in and {next}",
            shown(path),
            step.unwrap_or("open it")
        )
    })
}
