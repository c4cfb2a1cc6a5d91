// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stick that is looked at: open for reading, with its record and what it says of itself.

use std::path::{Path, PathBuf};

use crate::disk::direct::{Kind, Medium, MediumError};
use crate::disk::target::{Target, TargetError};
use crate::disk::{Disk, Identity, System, Use, gone, shown};
use crate::image::iso9660::Iso;
use crate::image::isomd5::{self, Check, Implanted};
use crate::plan::target::{describe, sizes};
use crate::read::{ReadAt, Source, Window};
use crate::record::{CHUNK, Record, Sha256Sum, tree};
use crate::refusal::Refusal;
use crate::report::{Exit, Failure, StickState};
use crate::request::FsKind;
use crate::superblock::{self, Details};
use crate::table::Table;
use crate::units::{Bytes, Extent};
use crate::verify::filesystem::Part;
use crate::verify::stored::{self, Copy};

/// An image may be longer than the volume in it by padding and the backup of a GPT; nobody's is by more than this.
const PADDING: Bytes = Bytes::mib(64);

/// A stick.
#[derive(Debug)]
pub struct Subject {
    /// The stick, open to be read.
    pub medium: Medium,
    /// The disk, if it is one.
    pub disk: Option<Disk>,
    /// What uses a stick image file: "loop0".
    pub user: Option<String>,
    /// Path and description, for people.
    pub words: String,
    /// What was written, by the newest good copy of the record.
    pub record: Option<Record>,
    /// The copies of the record, as they were found.
    pub copies: Vec<Copy>,
    /// Why there is no record, if something like one was found.
    pub fault: Option<String>,
    /// The filesystems behind the image.
    pub parts: Vec<Part>,
    /// Where the image may end, if there is no record.
    pub ends: Vec<Bytes>,
    /// The media check that is implanted in the stick.
    pub media_check: Option<Check>,
}

impl Subject {
    /// Opens a stick and reads its record.
    pub fn open(path: &Path, system: &System) -> Result<Subject, Refusal> {
        let refuse = |error: &dyn ToString| Refusal::Target(error.to_string());
        let (path, kind, disk, user) = match Target::resolve(path, None, system) {
            Ok(Target::Disk(disk)) => (disk.path.clone(), Kind::Disk, Some(*disk), None),
            Ok(Target::File { path, .. }) => (path, Kind::File, None, None),
            Ok(Target::NewFile { path }) => {
                return Err(Refusal::Target(format!("{} does not exist", shown(&path))));
            }
            // It is only read.
            Err(TargetError::InUse { path, by }) => {
                let real = path.canonicalize().map_err(|error| refuse(&error))?;
                (real, Kind::File, None, Some(by))
            }
            Err(error) => return Err(refuse(&error)),
        };
        let medium = Medium::open_to_read(&path, kind).map_err(|error| unopened(&error))?;
        let size = medium.size();
        if size == Bytes::ZERO {
            return Err(Refusal::Target(format!(
                "{} has no bytes; is a medium in it?",
                shown(&path)
            )));
        }
        let words = match &disk {
            Some(disk) => describe(disk),
            None => format!("stick image file, {}", sizes(size)),
        };
        let found = stored::find(&medium);
        let mut subject = Subject {
            words: format!("{}   {words}", path.display()),
            record: found.record,
            copies: found.copies,
            fault: found.fault,
            parts: Vec::new(),
            ends: Vec::new(),
            media_check: None,
            medium,
            disk,
            user,
        };
        subject.parts = subject.find_parts();
        if subject.record.is_none() {
            subject.look_at_volume();
        }
        Ok(subject)
    }

    /// The failure that it is to a job if the stick was pulled out, at this step. Asked only after errors: it waits a
    /// second for a disk to go.
    pub fn gone(&self, step: Option<&str>) -> Option<Failure> {
        let disk = self.disk.as_ref()?;
        let next = "run the same command again";
        let message = gone::told(&disk.path, &Identity::of(disk), step, next)?;
        Some(Failure {
            exit: Exit::WriteFailed,
            message,
            state: StickState::Untouched,
        })
    }

    /// The filesystems behind the image: those that the record lists, else those that the table shows.
    fn find_parts(&self) -> Vec<Part> {
        if let Some(record) = &self.record {
            return record.parts.iter().filter_map(Part::recorded).collect();
        }
        let Ok(table) = Table::read(&self.medium) else {
            return Vec::new();
        };
        let volume = self.volume().unwrap_or_default();
        let part = |partition: &crate::table::Partition| {
            let window = Window::new(&self.medium, partition.extent);
            let found = superblock::identify(&window).ok()??;
            // The image's root may be a seed, with an entry of its own.
            let seed = matches!(found.details, Details::Btrfs { seeding: true, .. });
            if partition.extent.at < volume && !seed {
                return None;
            }
            Some(Part {
                purpose: format!("partition {}", partition.number),
                number: partition.number,
                kind: kind(found.kind.name())?,
                extent: partition.extent,
                uuid: None,
            })
        };
        table.partitions().iter().filter_map(part).collect()
    }

    /// The size of the ISO volume on it.
    pub(super) fn volume(&self) -> Option<Bytes> {
        let iso = Iso::read(&self.medium).ok()?;
        let size = iso.volume().space.bytes();
        (size > Bytes::ZERO && size <= self.medium.size()).then_some(size)
    }

    /// What a stick without a record says of itself.
    fn look_at_volume(&mut self) {
        let Some(volume) = self.volume() else { return };
        let mut ends = vec![volume, volume.align_up(Bytes::mib(1))];
        if let Ok(table) = Table::read(&self.medium) {
            if let Some(gpt) = &table.gpt {
                ends.push(gpt.backup.bytes() + Bytes(512));
            }
            ends.extend(table.partitions().iter().map(|p| p.extent.end()));
        }
        let most = (volume + PADDING).min(self.medium.size());
        ends.retain(|end| *end >= volume && *end <= most);
        ends.sort_unstable();
        ends.dedup();
        self.ends = ends;
        let mut field = [0; isomd5::FIELD_LEN];
        let read = self.medium.read_exact_at(isomd5::FIELD.at, &mut field);
        let sum = read.ok().and_then(|()| Implanted::parse(&field));
        let blocks = u32::try_from(volume.0 / 2048).unwrap_or(0);
        self.media_check = sum.map(|sum| Check::new(crate::units::Block(blocks), &sum));
    }

    /// The range of the image.
    pub fn extent(&self, image: Option<&Source>) -> Extent {
        let len = match (&self.record, image) {
            (Some(record), _) => record.image.size,
            (None, Some(image)) => image.len(),
            (None, None) => self.ends.last().copied().unwrap_or_default(),
        };
        let at = Bytes::ZERO;
        Extent { at, len }
    }

    /// The recorded chunks that are zeros.
    pub fn zeros(&self) -> Vec<Extent> {
        let Some(record) = &self.record else {
            return Vec::new();
        };
        let zeros = tree::leaf(&vec![0; CHUNK.index().unwrap_or(0)]);
        let of_zeros =
            |(index, leaf): (usize, &Sha256Sum)| (*leaf == zeros).then(|| record.chunk(index));
        record
            .chunks
            .iter()
            .enumerate()
            .filter_map(of_zeros)
            .collect()
    }

    /// Where the partition is mounted, or what else uses it.
    pub fn used(&self, number: u32) -> Option<String> {
        if let Some(user) = &self.user {
            return Some(format!("in use as {user}"));
        }
        let disk = self.disk.as_ref()?;
        let partition = disk.partitions.iter().find(|p| p.number == number);
        let node = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            partition.is_some_and(|partition| partition.name == name)
        };
        disk.uses.iter().find_map(|one| match one {
            Use::Mount { source, point } if node(Path::new(source)) => {
                Some(format!("mounted at {}", shown(point)))
            }
            Use::Holder { device, holder } if node(Path::new(device)) => {
                Some(format!("part of {holder}"))
            }
            Use::Member { device, of } if node(Path::new(device)) => Some(format!("part of {of}")),
            Use::Swap { path } if node(path) => Some("swap".into()),
            Use::Loop { name, file } if node(file) => Some(format!("in use as {name}")),
            _ => None,
        })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.medium.path().to_path_buf()
    }
}

pub(super) fn kind(name: &str) -> Option<FsKind> {
    [FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs]
        .into_iter()
        .find(|kind| kind.name() == name)
}

fn unopened(error: &MediumError) -> Refusal {
    let denied = matches!(
        error,
        MediumError::Open { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied
    );
    let next = if denied { "; run it as root" } else { "" };
    Refusal::Target(format!("{error}{next}"))
}
