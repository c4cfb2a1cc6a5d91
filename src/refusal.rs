// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every "no", with what would make it a "yes". A refusal comes before the first write, always.

use std::path::PathBuf;

use crate::report::Exit;
use crate::units::Bytes;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a file that can be read.
    #[error("reading the image {path}: {why}")]
    ImageUnreadable {
        /// The image.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// No ISO 9660 volume.
    #[error("{path} is not an ISO image: {why}")]
    NotAnIso {
        /// The image.
        path: PathBuf,
        /// What was missing.
        why: String,
    },
    /// An ISO that contradicts itself.
    #[error("the image {path} is damaged: {why}; download it again")]
    Damaged {
        /// The image.
        path: PathBuf,
        /// What contradicts what.
        why: String,
    },
    /// The file is shorter than the volume says.
    #[error(
        "the image {path} is truncated: its volume has {need} bytes, the file only {have}; download it again"
    )]
    Truncated {
        /// The image.
        path: PathBuf,
        /// What the volume descriptor says.
        need: Bytes,
        /// What there is.
        have: Bytes,
    },
    /// Bootable from a disc only.
    #[error(
        "{path} has no isohybrid boot record: it starts from a disc but not from a stick; ask for a hybrid image"
    )]
    NotHybrid {
        /// The image.
        path: PathBuf,
    },
    /// A live system that livestick cannot make persistent.
    #[error(
        "this is a {stack} image: livestick has no persistence for it; leave out the overlay and home options to write it as it is"
    )]
    NoPersistence {
        /// The live system, by name.
        stack: String,
    },
    /// A live system whose initrd lacks what persistence needs.
    #[error("{what} cannot work with this image: {why}; {instead}")]
    Impossible {
        /// "the overlay", "/home".
        what: &'static str,
        /// What is missing.
        why: String,
        /// The next move.
        instead: String,
    },
    /// No kernel line in any boot configuration.
    #[error(
        "no live entry was found in {files}: the kernel arguments for persistence cannot be added; leave out the overlay and home options to write the image as it is"
    )]
    NoLiveEntry {
        /// The files that were looked at.
        files: String,
    },
    /// A boot configuration that cannot hold the arguments.
    #[error("{file} has no room for the boot arguments ({over} bytes too many): {why}")]
    ConfigDoesNotFit {
        /// The file.
        file: String,
        /// How many bytes are missing.
        over: Bytes,
        /// What was tried.
        why: String,
    },
    /// The partition table has no place.
    #[error("no partition can be added: {0}")]
    Table(String),
    /// It does not fit.
    #[error("{0}")]
    Layout(String),
    /// The target is smaller than the image.
    #[error(
        "{target} has {} bytes, the image needs {}; take a larger stick",
        have.grouped(),
        need.grouped()
    )]
    TooSmall {
        /// The target.
        target: PathBuf,
        /// Its size.
        have: Bytes,
        /// The image's size.
        need: Bytes,
    },
    /// The target is not one, or is in use.
    #[error("{0}")]
    Target(String),
    /// What the record tells of is not where the partition table says.
    #[error(
        "the stick was partitioned anew after it was written: {what}: {why}. What lies there now may be somebody's, so nothing is written over it; `livestick write` makes a stick of it again"
    )]
    Repartitioned {
        /// "partition 4 (overlay)".
        what: String,
        /// What is other than it was.
        why: String,
    },
    /// A program of the distribution is missing.
    #[error("{program} is needed to {purpose} and was not found; install the package {package}")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// What for.
        purpose: String,
        /// The package that has it.
        package: &'static str,
    },
    /// A checksum file that is of no use for this image.
    #[error("{0}")]
    Checksum(String),
    /// What was published of the image contradicts itself, or is not what was signed.
    #[error("{0}")]
    Published(String),
    /// An option of livecd-iso-to-disk that has no place here.
    #[error("{option}: {why}")]
    OldOption {
        /// The option.
        option: &'static str,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// A plan that is not applied as it is.
    #[error("the plan is not applied: {0}")]
    Plan(String),
    /// The user said stop where a yes was asked for.
    #[error("stopped as asked; nothing was written")]
    Stopped,
    /// This machine or user cannot do it.
    #[error("{0}")]
    Host(String),
}

impl Refusal {
    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Refusal::Damaged { .. } | Refusal::Truncated { .. } | Refusal::Published(_) => {
                Exit::Damaged
            }
            Refusal::Stopped => Exit::Cancelled,
            _ => Exit::Refused,
        }
    }
}
