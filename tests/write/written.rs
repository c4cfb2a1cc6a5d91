// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick as asked for, and as written: the image, the target, the plan and the events.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use livestick::table::{NewPartition, Table, Use};
use livestick::units::{Bytes, Extent, MIB};
use serde_json::Value;
use tempfile::TempDir;

use crate::events;
use crate::rubbish;
use crate::support::device::{Loop, left_behind, patiently};
use crate::support::lab::{iso, scratch};
use crate::support::program::{command, text};
use crate::support::stick::Stick;

/// What is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A file that livestick makes.
    New,
    /// A file that is there, full of rubbish.
    File,
    /// A block device, full of rubbish.
    Device,
}

/// A stick as asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub layout: &'a str,
    /// Options of small-iso.
    pub options: &'a [&'a str],
    pub backing: Backing,
    /// Kind and MiB.
    pub overlay: Option<(&'a str, u64)>,
    pub home: Option<(&'a str, u64)>,
    /// More options of livestick.
    pub more: &'a [&'a str],
    /// As an ordinary user.
    pub ordinary: bool,
}

impl<'a> Asked<'a> {
    /// The image alone, into a new file.
    pub fn plain(layout: &'a str) -> Asked<'a> {
        Asked {
            layout,
            options: &[],
            backing: Backing::New,
            overlay: None,
            home: None,
            more: &[],
            ordinary: false,
        }
    }

    /// With an overlay and a home.
    pub fn persistent(layout: &'a str, overlay: (&'a str, u64), home: (&'a str, u64)) -> Asked<'a> {
        Asked {
            overlay: Some(overlay),
            home: Some(home),
            ..Asked::plain(layout)
        }
    }
}

/// A partition of the plan.
pub struct Planned<'a> {
    pub purpose: &'a str,
    pub kind: &'a str,
    pub at: u64,
    pub len: u64,
    pub label: &'a str,
    pub uuid: &'a str,
    pub partuuid: &'a str,
    pub number: u32,
    /// The plan's own words.
    pub json: &'a Value,
}

/// A stick as written.
pub struct Written {
    pub image: PathBuf,
    /// The file that holds the stick's bytes, whatever was written to.
    pub path: PathBuf,
    pub size: u64,
    /// Whether there were old bytes.
    pub used: bool,
    pub events: Vec<Value>,
    _dir: TempDir,
    _device: Option<Loop>,
}

/// A number of the plan.
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// Text of the plan.
pub fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Writes the stick; it has to be written and verified, with nothing left behind on the machine.
pub fn write(asked: Asked<'_>) -> Written {
    // An ordinary user gets neither into a home directory nor to a build directory in one.
    let top = if asked.ordinary {
        Path::new("/var/tmp")
    } else {
        scratch()
    };
    let dir = TempDir::new_in(top).unwrap();
    let mut image = iso(asked.layout, asked.options);
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_livestick"));
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    if asked.ordinary {
        for file in [&mut image, &mut program] {
            let copy = dir.path().join(file.file_name().unwrap());
            fs::copy(&*file, &copy).unwrap();
            *file = copy;
        }
        for place in [dir.path(), &work] {
            chown(place, Some(65534), Some(65534)).unwrap();
        }
    }
    let path = work.join("stick.img");
    let parts = [asked.overlay, asked.home].into_iter().flatten();
    let parts: u64 = parts.map(|(_, mib)| mib * MIB).sum();
    let room = fs::metadata(&image)
        .unwrap()
        .len()
        .next_multiple_of(4 * MIB);
    // Not a multiple of anything but sectors.
    let size = room + parts + 20 * MIB + 7 * 512;

    let mut arguments: Vec<String> = ["write", text(&image)].map(str::to_owned).into();
    let mut device = None;
    match asked.backing {
        Backing::New => {
            arguments.extend([text(&path).into(), "--size".into(), format!("{size}B")]);
        }
        Backing::File => {
            rubbish::fill(&path, size);
            chown(&path, asked.ordinary.then_some(65534), None).unwrap();
            arguments.push(text(&path).into());
        }
        Backing::Device => {
            rubbish::fill(&path, size);
            let attached = device.insert(Loop::over(&path));
            let node = text(&attached.node).to_owned();
            arguments.extend([node.clone(), "--allow-disk".into(), node]);
        }
    }
    for (what, wanted) in [("overlay", asked.overlay), ("home", asked.home)] {
        if let Some((kind, mib)) = wanted {
            arguments.extend([format!("--{what}-fs"), kind.into()]);
            arguments.extend([format!("--{what}-size-mb"), mib.to_string()]);
        }
    }
    // No two sticks at one time may have filesystems of one UUID: the kernel would take one for the other.
    let seed = format!("{:?} {:?} {}", asked.backing, asked.options, asked.ordinary);
    let seed = [asked.layout, &seed, &asked.more.join(" ")].concat();
    arguments.extend(["--seed".into(), seed, "--yes".into(), "--json".into()]);
    arguments.extend(asked.more.iter().map(|&more| more.to_owned()));

    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    chown(&temporary, asked.ordinary.then_some(65534), None).unwrap();
    let livestick = |more: &[&str]| {
        let mut run = if asked.ordinary {
            let mut run = command("setpriv");
            run.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            run.arg(&program);
            run
        } else {
            command(text(&program))
        };
        let run = run.env("TMPDIR", &temporary).args(&arguments).args(more);
        let out = run.output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {said}{err}");
        assert_eq!(err, "", "{arguments:?}");
        said
    };
    let dry = livestick(&["--dry-run"]);
    if asked.backing == Backing::New {
        assert!(!path.exists(), "a dry run made the target");
    } else {
        assert_eq!(rubbish::touched(&path, 0..16 * MIB), None);
        assert_eq!(rubbish::touched(&path, size - 4 * MIB..size), None);
    }
    let events = events::judge(&livestick(&[]));
    let dry: Value = serde_json::from_str(&dry).expect("one object");
    let mut planned = events[0]["plan"].clone();
    planned["version"] = 1.into();
    assert_eq!(dry, planned, "the dry run and the run");

    nothing_left(dir.path(), &path, device.as_ref());
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    Written {
        image,
        path,
        size,
        used: asked.backing != Backing::New,
        events,
        _dir: dir,
        _device: device,
    }
}

/// Of what livestick needed while it wrote: no loop device, no mount, no file.
fn nothing_left(dir: &Path, path: &Path, device: Option<&Loop>) {
    let held = || {
        let mut left = left_behind(path, dir);
        if let Some(device) = device {
            left.retain(|line| !line.starts_with(&format!("{} ", device.node.display())));
            left.extend(left_behind(&device.node, dir));
        }
        left
    };
    // Whoever looks at all disks of the machine has it open for a moment, and it goes with its last user.
    let gone = patiently(|| held().is_empty());
    assert!(gone, "left behind: {:?}", held());
    let names = |dir: &Path| -> Vec<_> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(&dir.join("tmp")), [""; 0]);
    assert_eq!(names(path.parent().unwrap()), ["stick.img"]);
}

impl Written {
    pub fn plan(&self) -> &Value {
        &self.events[0]["plan"]
    }

    pub fn report(&self) -> &Value {
        &self.events.last().unwrap()["report"]
    }

    /// The image's size.
    pub fn image_size(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }

    pub fn partitions(&self) -> Vec<Planned<'_>> {
        let all = self.plan()["filesystems"].as_array().unwrap().iter();
        let planned = all.map(|json| Planned {
            purpose: word(&json["purpose"]),
            kind: word(&json["kind"]),
            at: number(&json["extent"]["at"]),
            len: number(&json["extent"]["len"]),
            label: word(&json["label"]),
            uuid: word(&json["uuid"]),
            partuuid: word(&json["partuuid"]),
            number: u32::try_from(number(&json["number"])).unwrap(),
            json,
        });
        planned.collect()
    }

    /// For the judges of partition tables.
    pub fn stick(&self) -> Stick {
        let partitions = self.partitions();
        let new = partitions.iter().map(|partition| NewPartition {
            extent: Extent {
                at: Bytes(partition.at),
                len: Bytes(partition.len),
            },
            name: format!("livestick-{}", partition.purpose),
            what: Use::LinuxData,
            // An MBR has numbers instead, which are no UUIDs.
            unique: partition.partuuid.parse().unwrap_or_default(),
        });
        Stick {
            image: self.image.clone(),
            path: self.path.clone(),
            before: Table::read(&fs::read(&self.image).unwrap()).unwrap(),
            numbers: partitions.iter().map(|p| p.number).collect(),
            partuuids: partitions.iter().map(|p| p.partuuid.into()).collect(),
            new: new.collect(),
            dir: None,
        }
    }
}
