// SPDX-License-Identifier: MIT OR Apache-2.0
//! A record for a stick that was written without one, made from the plan, the image and what is on the stick.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use livestick::disk::direct::{Kind, Medium};
use livestick::event::Event;
use livestick::plan::Plan;
use livestick::read::{ReadAt, ReadError};
use livestick::record::place::{self, Search, WriteAt};
use livestick::record::{Change, EspFile, Kept, Origin, Part, Record, RecordedImage, tree};
use livestick::table::Table;
use livestick::ui::json;
use livestick::units::{Bytes, Extent, MIB};
use sha2::{Digest, Sha256};

use crate::support::program::{output, run, text};

/// A stick to write to.
struct Open(Medium);

impl ReadAt for Open {
    fn len(&self) -> Bytes {
        ReadAt::len(&self.0)
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact_at(at, buf)
    }
}

impl WriteAt for Open {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        self.0.write_at(at, bytes).unwrap();
        Ok(())
    }

    fn flush(&self) -> Result<(), ReadError> {
        self.0.flush().unwrap();
        Ok(())
    }
}

/// Puts a record on the stick, unless it has one; `said` is what `write --json` said.
pub fn record(stick: &Path, image: &Path, said: &str) {
    let medium = Medium::open(&stick.canonicalize().unwrap(), Kind::File).unwrap();
    if matches!(place::find(&medium, false, &mut |_| true), Search::Found(_)) {
        return;
    }
    let first = said.lines().next().unwrap();
    let Event::Planned { plan, .. } = json::parse(first.as_bytes()).unwrap() else {
        panic!("no plan: {first}")
    };
    let table = Table::read(&medium).unwrap();
    let bytes = fs::read(image).unwrap();
    let size = Bytes(bytes.len() as u64);
    let esp = table
        .esp()
        .map_or(Vec::new(), |esp| files(stick, esp.extent));
    let chunks = (0..size.0.div_ceil(MIB)).map(|index| {
        let len = (size.0 - index * MIB).min(MIB);
        let chunk = medium.read_vec(Bytes(index * MIB), usize::try_from(len).unwrap());
        tree::leaf(&chunk.unwrap())
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let record = Record {
        generation: 1,
        tool: "livestick".into(),
        written: now.as_secs(),
        image: RecordedImage {
            name: image.file_name().unwrap().to_str().unwrap().into(),
            label: plan.image.label.clone(),
            size,
            sha256: Sha256::digest(&bytes).into(),
            origin: Origin::default(),
        },
        medium: ReadAt::len(&medium),
        region: Extent {
            at: place::region_start(table.end().max(size)),
            len: Bytes::mib(2),
        },
        changes: changes(&plan, &medium),
        kept: kept(&plan),
        parts: parts(&plan, &table),
        esp,
        chunks: chunks.collect(),
    };
    place::store(&Open(medium), &record).unwrap();
}

/// The changed ranges, as they are on the stick: the media check is not in the plan.
fn changes(plan: &Plan, medium: &Medium) -> Vec<Change> {
    let change = |patch: &livestick::patch::Patch| Change {
        at: patch.at,
        before: patch.before.clone(),
        after: medium.read_vec(patch.at, patch.before.len()).unwrap(),
        why: patch.why.to_string(),
    };
    let mut all: Vec<Change> = plan.patches.iter().map(change).collect();
    all.sort_by_key(|change| change.at);
    all
}

fn kept(plan: &Plan) -> Vec<Kept> {
    let kept = |behind: &livestick::plan::Behind| Kept {
        at: behind.at,
        bytes: behind.bytes.clone(),
        what: behind.what.clone(),
    };
    plan.behind.iter().map(kept).collect()
}

fn parts(plan: &Plan, table: &Table) -> Vec<Part> {
    let part = |filesystem: &livestick::plan::filesystem::Filesystem| {
        let own = |p: &&livestick::table::Partition| p.extent == filesystem.extent;
        Part {
            purpose: filesystem.purpose.to_string(),
            number: table.partitions().iter().find(own).map_or(0, |p| p.number),
            extent: filesystem.extent,
            kind: filesystem.kind.name().into(),
            uuid: filesystem.uuid,
            partuuid: String::new(),
        }
    };
    plan.filesystems.iter().map(part).collect()
}

/// The files of a system partition, read by mtools.
fn files(stick: &Path, esp: Extent) -> Vec<EspFile> {
    let drive = format!("{}@@{}", text(stick), esp.at);
    let listing = run("mdir", &["-/", "-b", "-i", &drive]);
    let paths = listing.lines().filter(|line| !line.ends_with('/'));
    paths
        .map(|path| {
            let bytes = output("mtype", &["-i", &drive, path]).stdout;
            EspFile {
                path: path.trim_start_matches("::").into(),
                size: Bytes(bytes.len() as u64),
                sha256: Sha256::digest(&bytes).into(),
            }
        })
        .collect()
}
