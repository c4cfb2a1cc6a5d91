// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filesystem behind the image, looked over by its own checker, without a mount and without a change.
//!
//! As root the checker works on a read-only loop device, fresh and past the cache. Without, it works on a file without
//! a name that gets what is not zero of the partition. What a checker can see is said with every result: btrfs has
//! checksums over data and metadata, ext4 and xfs over metadata only.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::apply::flow::{CHUNK, Stop};
use crate::apply::loopdev::LoopDevice;
use crate::apply::program::{INPUT, run_on};
use crate::chain::{Holds, Link};
use crate::disk::buffer::Buffer;
use crate::disk::direct::Bypass;
use crate::host::{Host, programs_of};
use crate::programs;
use crate::read::{ReadAt, Window};
use crate::request::FsKind;
use crate::units::{Bytes, Extent};
use crate::verify::sprout::{self, Kin};
use crate::verify::subject::{self, Subject};

/// A filesystem behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// "overlay", "home", "partition 4".
    pub purpose: String,
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: FsKind,
    /// Where it is.
    pub extent: Extent,
    /// The filesystem's identifier as recorded.
    pub uuid: Option<String>,
}

impl Part {
    /// One that a record lists, if its kind is known.
    pub fn recorded(part: &crate::record::Part) -> Option<Part> {
        Some(Part {
            purpose: part.purpose.clone(),
            number: part.number,
            kind: subject::kind(&part.kind)?,
            extent: part.extent,
            uuid: Some(part.uuid.to_string()),
        })
    }
}

/// What a checker sees.
fn covered(kind: FsKind) -> &'static str {
    match kind {
        FsKind::Btrfs => "checksums of all data and metadata",
        FsKind::Ext4 => "structure and metadata; ext4 has no checksums of the data in files",
        FsKind::Xfs => "structure and metadata; xfs has no checksums of the data in files",
    }
}

/// Looks `part` over.
pub fn check(
    subject: &Subject,
    part: &Part,
    host: &Host,
    cancel: &AtomicBool,
) -> Result<Link, Stop> {
    let link = |holds, result: String, how: String| Link {
        name: part.purpose.clone(),
        holds,
        result,
        how,
    };
    let what = format!("{} {}", part.kind, part.extent.len.binary());
    let found = sprout::superblock(subject, part);
    let kin = found.as_ref().and_then(|found| Kin::of(subject, found));
    let used = match &kin {
        None => subject.used(part.number),
        Some(_) => Kin::used(subject),
    };
    if let Some(used) = used {
        let how = "it can be checked when it is not in use".into();
        let result = format!("{what}, {used}: not checked");
        return Ok(link(Holds::NotClaimed, result, how));
    }
    let (_, program, package) = programs_of(part.kind);
    if host.program(program).is_none() {
        let how = format!("install the package {package} to have it checked");
        let result = format!("{what}: not checked, {program} is missing");
        return Ok(link(Holds::NotClaimed, result, how));
    }
    let window = Window::new(&subject.medium, part.extent);
    let is = found
        .as_ref()
        .map_or("nothing known", |found| found.kind.name());
    if is != part.kind.name() {
        let how = "its superblock was read".into();
        let result = format!("{what} was made there, and {is} is there now");
        return Ok(link(Holds::Broken, result, how));
    }
    let uuid = found.and_then(|found| found.uuid);
    let other = match (&part.uuid, &uuid) {
        (Some(recorded), Some(now)) if recorded != now => {
            format!(", made anew since (UUID {now})")
        }
        _ => String::new(),
    };
    if part.kind == FsKind::Ext4 && needs_recovery(&window) {
        let how =
            "its journal holds changes that are yet to be made; mount it once and verify again"
                .into();
        let result = format!("{what}{other}: not checked, it was not unmounted cleanly");
        return Ok(link(Holds::NotClaimed, result, how));
    }
    let by_loop = host.loop_devices && host.program("losetup").is_some();
    if matches!(kin, Some(Kin::Sprout(_))) && !by_loop {
        let how = "its seed has to be there, too; run it as root".into();
        return Ok(link(
            Holds::NotClaimed,
            format!("{what}{other}: not checked"),
            how,
        ));
    }
    let looked = match &kin {
        Some(kin) if by_loop => kinship(subject, part, kin, host, cancel),
        _ => run(subject, part, host, cancel),
    };
    let (outcome, proven) = match looked {
        Ok(checked) => checked,
        Err(Stop::Cancelled) => return Err(Stop::Cancelled),
        Err(Stop::Failed(error)) => {
            let result = format!("{what}{other}: not checked");
            return Ok(link(Holds::NotClaimed, result, format!("{error:#}")));
        }
    };
    let by = match part.kind {
        FsKind::Btrfs => "btrfs check --check-data-csum",
        FsKind::Ext4 => "e2fsck -fn",
        FsKind::Xfs => "xfs_repair -n",
    };
    let mut how = format!("{by}, read only: {}", covered(part.kind));
    if kin.is_some() || part.purpose == "sprout" {
        how += "; a running system checks them at every read";
    }
    Ok(match outcome {
        Ok(()) if proven => link(Holds::Proven, format!("{what}{other}: no fault found"), how),
        Ok(()) => {
            let how = format!("{how}; read through a cache");
            link(
                Holds::Unproven,
                format!("{what}{other}: no fault found"),
                how,
            )
        }
        Err(said) if part.kind == FsKind::Xfs && said.contains("log which is being ignored") => {
            let how =
                "its log holds changes that are yet to be made; mount it once and verify again";
            let result = format!("{what}{other}: not checked, it was not unmounted cleanly");
            link(Holds::NotClaimed, result, how.into())
        }
        Err(said) => link(Holds::Broken, format!("{what}{other}: {said}"), how),
    })
}

/// Whether an ext4 has to replay its journal (kernel, Documentation/filesystems/ext4/super.rst: `s_feature_incompat`
/// at 0x60 of the superblock at byte 1024, `INCOMPAT_RECOVER` 0x4).
fn needs_recovery(filesystem: &dyn ReadAt) -> bool {
    filesystem
        .read_vec(Bytes(1024 + 0x60), 4)
        .is_ok_and(|bytes| bytes.first().is_some_and(|byte| byte & 4 != 0))
}

/// A seed or a sprout: without a fault, or with the names of the files that have one.
fn kinship(
    subject: &Subject,
    part: &Part,
    kin: &Kin,
    host: &Host,
    cancel: &AtomicBool,
) -> Result<Checked, Stop> {
    let looked = sprout::look(subject, part, kin, host, cancel)?;
    let Some(first) = looked.faults.first() else {
        return Ok((Ok(()), looked.direct));
    };
    let said = if looked.files.is_empty() {
        format!("btrfs check: {first}; every file can be read")
    } else {
        format!("cannot be read: {} ({first})", looked.files.join(", "))
    };
    Ok((Err(said), looked.direct))
}

/// How a checker ended: without a fault, or with its words; and whether what it read came from the medium.
type Checked = (Result<(), String>, bool);

fn run(subject: &Subject, part: &Part, host: &Host, cancel: &AtomicBool) -> Result<Checked, Stop> {
    if host.loop_devices
        && let Some(losetup) = host.program(programs::LOSETUP.name)
    {
        let path = subject.path();
        let device = LoopDevice::attach_read_only(&losetup, &path, part.extent)?;
        let ended = judge(host, part.kind, device.path(), None, cancel)?;
        return Ok((ended, device.is_direct()));
    }
    let beside = subject
        .medium
        .path()
        .parent()
        .filter(|_| !subject.medium.is_disk());
    let temporary = tempfile::env::temp_dir();
    let scratch = tempfile::tempfile_in(beside.unwrap_or(&temporary))
        .context("making a scratch file for the checker")?;
    scratch
        .set_len(part.extent.len.0)
        .context("sizing the scratch file")?;
    let mut buffer = Buffer::new(CHUNK);
    let mut at = Bytes::ZERO;
    while at < part.extent.len {
        if cancel.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        let len = (part.extent.len - at).index().unwrap_or(CHUNK).min(CHUNK);
        subject
            .medium
            .read_at(part.extent.at + at, &mut buffer[..len])
            .context("reading the partition")?;
        for (index, block) in buffer[..len].chunks(64 << 10).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                scratch
                    .write_all_at(block, at.0 + (index * (64 << 10)) as u64)
                    .context("copying the partition for the checker; run it as root, which needs no copy")?;
            }
        }
        at += Bytes(len as u64);
    }
    let ended = judge(host, part.kind, Path::new(INPUT), Some(&scratch), cancel)?;
    Ok((ended, *subject.medium.bypass() == Bypass::Direct))
}

/// Runs the checker.
fn judge(
    host: &Host,
    kind: FsKind,
    device: &Path,
    input: Option<&std::fs::File>,
    cancel: &AtomicBool,
) -> Result<Result<(), String>, Stop> {
    let (_, name, _) = programs_of(kind);
    let program = host.program(name).context("looking for the checker")?;
    let mut command = Command::new(program);
    match kind {
        FsKind::Btrfs => command.args(["check", "--readonly", "--check-data-csum"]),
        FsKind::Ext4 => command.args(["-f", "-n"]),
        FsKind::Xfs => command.arg("-n"),
    };
    match run_on(command.arg(device), input, cancel) {
        Ok(_) => Ok(Ok(())),
        Err(Stop::Failed(error)) => Ok(Err(error.to_string())),
        Err(Stop::Cancelled) => Err(Stop::Cancelled),
    }
}
