// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filesystem behind the image, looked over by its own checker, without a mount and without a change.
//!
//! As root the checker works on a read-only loop device, fresh and past the cache. Without, it works on a file without
//! a name that gets what is not zero of the partition. What a checker can see is said with every result: btrfs has
//! checksums over data and metadata, ext4 and xfs over metadata only. What has a wrong checksum on a btrfs is told with
//! its place on the stick and the file it belongs to ([`btrfs`]).

pub mod btrfs;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::apply::flow::{CHUNK, Stop};
use crate::apply::loopdev::LoopDevice;
use crate::apply::program::{INPUT, run_out};
use crate::chain::{Holds, Link};
use crate::diagnosis::{Again, Cure, Damage};
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
        FsKind::Btrfs => "checksums of data and of one copy of the metadata",
        FsKind::Ext4 => "structure and metadata; ext4 has no checksums of the data in files",
        FsKind::Xfs => "structure and metadata; xfs has no checksums of the data in files",
    }
}

/// What came of looking a filesystem over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The result.
    pub link: Link,
    /// What is known to be damaged; what a checker says without a place is in the link only.
    pub damage: Vec<Damage>,
}

/// Looks `part` over.
pub fn check(
    subject: &Subject,
    part: &Part,
    host: &Host,
    cancel: &AtomicBool,
) -> Result<Checked, Stop> {
    let link = |holds, result: String, how: String| Checked {
        link: Link {
            name: part.purpose.clone(),
            holds,
            result,
            how,
        },
        damage: Vec::new(),
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
    let checked = match looked {
        Ok(checked) => checked,
        Err(Stop::Cancelled) => return Err(Stop::Cancelled),
        Err(Stop::Failed(error)) => {
            let result = format!("{what}{other}: not checked");
            return Ok(link(Holds::NotClaimed, result, format!("{error:#}")));
        }
    };
    let told = format!("{what}{other}");
    Ok(tell(part, kin.is_some(), &told, checked))
}

/// From what a checker said to the result.
fn tell(part: &Part, of_kin: bool, what: &str, checked: Ran) -> Checked {
    let link = |holds, result: String, how: String| Checked {
        link: Link {
            name: part.purpose.clone(),
            holds,
            result,
            how,
        },
        damage: Vec::new(),
    };
    let by = match part.kind {
        FsKind::Btrfs => "btrfs check --check-data-csum",
        FsKind::Ext4 => "e2fsck -fn",
        FsKind::Xfs => "xfs_repair -n",
    };
    let covered = match &checked.further {
        Some(further) => &further.covered,
        None => covered(part.kind),
    };
    let mut how = format!("{by}, read only: {covered}");
    if of_kin || part.purpose == "sprout" {
        how += "; a running system checks them at every read";
    }
    let damage = damage(part, checked.further.as_ref());
    let ignored = |said: &String| said.contains("log which is being ignored");
    if part.kind == FsKind::Xfs && checked.fault.as_ref().is_some_and(ignored) {
        let how = "its log holds changes that are yet to be made; mount it once and verify again";
        let result = format!("{what}: not checked, it was not unmounted cleanly");
        return link(Holds::NotClaimed, result, how.into());
    }
    let healed = checked.fault.is_none();
    let mut said = match (damage.as_slice(), checked.fault) {
        ([], None) => {
            let result = format!("{what}: no fault found");
            return if checked.proven {
                link(Holds::Proven, result, how)
            } else {
                link(
                    Holds::Unproven,
                    result,
                    format!("{how}; read through a cache"),
                )
            };
        }
        ([], Some(said)) => said,
        ([one], _) => format!("a wrong checksum in {}", one.places.join(", ")),
        ([one, more @ ..], _) => format!(
            "wrong checksums in {} ranges, among them {}",
            more.len() + 1,
            one.places.join(", ")
        ),
    };
    if !damage.is_empty() && healed {
        said += "; the other copy is right, and is taken";
    }
    let mut broken = link(Holds::Broken, format!("{what}: {said}"), how);
    broken.damage = damage;
    broken
}

/// What is damaged, with its place on the stick.
fn damage(part: &Part, further: Option<&btrfs::Found>) -> Vec<Damage> {
    let faults = further.map_or(&[][..], |further| &further.faults);
    let damage = |fault: &btrfs::Fault| Damage {
        extent: Extent {
            at: part.extent.at + fault.extent.at,
            len: fault.extent.len,
        },
        exact: false,
        partition: Some(format!("partition {} ({})", part.number, part.purpose)),
        places: vec![fault.place.clone()],
        kind: fault.kind.clone(),
        again: Again::NotRead,
        cure: Cure::None,
    };
    faults
        .iter()
        .filter(|fault| {
            // What another program says is not trusted.
            let end = fault.extent.at.checked_add(fault.extent.len);
            end.is_some_and(|end| end <= part.extent.len)
        })
        .map(damage)
        .collect()
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
) -> Result<Ran, Stop> {
    let looked = sprout::look(subject, part, kin, host, cancel)?;
    let ran = |fault| Ran {
        fault,
        proven: looked.direct,
        further: None,
    };
    let Some(first) = looked.faults.first() else {
        return Ok(ran(None));
    };
    let said = if looked.files.is_empty() {
        format!("btrfs check: {first}; every file can be read")
    } else {
        format!("cannot be read: {} ({first})", looked.files.join(", "))
    };
    Ok(ran(Some(said)))
}

/// How a checker ended.
struct Ran {
    /// Its words, unless it found nothing.
    fault: Option<String>,
    /// Whether what it read came from the medium.
    proven: bool,
    /// What was looked at besides.
    further: Option<btrfs::Found>,
}

fn run(subject: &Subject, part: &Part, host: &Host, cancel: &AtomicBool) -> Result<Ran, Stop> {
    if host.loop_devices
        && let Some(losetup) = host.program(programs::LOSETUP.name)
    {
        let path = subject.path();
        let device = LoopDevice::attach_read_only(&losetup, &path, part.extent)?;
        let mut ran = judge(subject, part, host, (device.path(), None), cancel)?;
        ran.proven = device.is_direct();
        return Ok(ran);
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
    let on = (Path::new(INPUT), Some(&scratch));
    let mut ran = judge(subject, part, host, on, cancel)?;
    ran.proven = *subject.medium.bypass() == Bypass::Direct;
    Ok(ran)
}

/// Runs the checker on a device, or on its standard input.
fn judge(
    subject: &Subject,
    part: &Part,
    host: &Host,
    (device, input): (&Path, Option<&File>),
    cancel: &AtomicBool,
) -> Result<Ran, Stop> {
    let (_, name, _) = programs_of(part.kind);
    let program = host.program(name).context("looking for the checker")?;
    let mut command = Command::new(&program);
    match part.kind {
        FsKind::Btrfs => command.args(["check", "--readonly", "--check-data-csum"]),
        FsKind::Ext4 => command.args(["-f", "-n"]),
        FsKind::Xfs => command.arg("-n"),
    };
    let ended = run_out(command.arg(device), input, cancel)?;
    let further = if part.kind == FsKind::Btrfs {
        let look = btrfs::Look {
            program: &program,
            device,
            input,
            partition: &Window::new(&subject.medium, part.extent),
            cancel,
        };
        Some(look.further(&ended.text)?)
    } else {
        None
    };
    Ok(Ran {
        fault: (!ended.success).then(|| ended.failure().to_string()),
        proven: false,
        further,
    })
}
