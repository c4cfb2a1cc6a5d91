// SPDX-License-Identifier: MIT OR Apache-2.0
//! A record for a stick that was written without one.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use livestick::event::Event;
use livestick::read::{ReadAt, ReadError, Source, Window};
use livestick::record::place::{self, WriteAt};
use livestick::record::{Change, EspFile, Kept, Origin, Part, Record, RecordedImage, form, tree};
use livestick::table::Table;
use livestick::ui::json;
use livestick::units::{Bytes, Extent};
use sha2::{Digest, Sha256};

struct Rw(File, RefCell<()>);
impl ReadAt for Rw {
    fn len(&self) -> Bytes {
        Bytes(self.0.metadata().unwrap().len())
    }
    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0
            .read_exact_at(buf, at.0)
            .map_err(|source| ReadError::Io { at, len: 0, source })
    }
}
impl WriteAt for Rw {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        self.0.write_all_at(bytes, at.0).unwrap();
        Ok(())
    }
    fn flush(&self) -> Result<(), ReadError> {
        self.0.sync_all().unwrap();
        Ok(())
    }
}

pub fn record(stick: &Path, image: &Path, said: &str) {
    let rw = Rw(
        File::options().read(true).write(true).open(stick).unwrap(),
        RefCell::new(()),
    );
    if matches!(
        place::find(&rw, false, &mut |_| true),
        place::Search::Found(_)
    ) {
        return;
    }
    let Event::Planned { plan, .. } = json::parse(said.lines().next().unwrap().as_bytes()).unwrap()
    else {
        panic!()
    };
    let bytes = fs::read(image).unwrap();
    let size = Bytes(bytes.len() as u64);
    let table = Table::read(&rw).unwrap();
    let start = place::region_start(table.end().max(size));
    let there = |at: Bytes, len: usize| rw.read_vec(at, len).unwrap();
    let changes = plan.patches.iter().map(|p| Change {
        at: p.at,
        before: p.before.clone(),
        after: there(p.at, p.before.len()),
        why: p.why.to_string(),
    });
    let mut esp = Vec::new();
    if let Some(partition) = table.esp() {
        let window = Window::new(&rw, partition.extent);
        let _ = &window;
        let dump = crate::support::program::run(
            "mdir",
            &[
                "-/",
                "-b",
                "-i",
                &format!("{}@@{}", stick.display(), partition.extent.at),
            ],
        );
        for line in dump.lines().filter(|line| !line.ends_with('/')) {
            let out = crate::support::program::output(
                "mtype",
                &[
                    "-i",
                    &format!("{}@@{}", stick.display(), partition.extent.at),
                    line,
                ],
            );
            esp.push(EspFile {
                path: line.trim_start_matches("::").into(),
                size: Bytes(out.stdout.len() as u64),
                sha256: Sha256::digest(&out.stdout).into(),
            });
        }
    }
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < size.0 {
        let len = (size.0 - at).min(1 << 20);
        chunks.push(tree::leaf(&there(Bytes(at), usize::try_from(len).unwrap())));
        at += len;
    }
    let mut record = Record {
        generation: 1,
        tool: "livestick 0.1.0".into(),
        written: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
        image: RecordedImage {
            name: image.file_name().unwrap().to_str().unwrap().into(),
            label: plan.image.label.clone(),
            size,
            sha256: Sha256::digest(&bytes).into(),
            origin: Origin::default(),
        },
        medium: rw.len(),
        region: Extent {
            at: start,
            len: Bytes::mib(2),
        },
        changes: changes.collect(),
        kept: plan
            .behind
            .iter()
            .map(|b| Kept {
                at: b.at,
                bytes: b.bytes.clone(),
                what: b.what.clone(),
            })
            .collect(),
        parts: plan
            .filesystems
            .iter()
            .enumerate()
            .map(|(_, f)| Part {
                purpose: f.purpose.to_string(),
                number: table
                    .partitions()
                    .iter()
                    .find(|p| p.extent == f.extent)
                    .map_or(0, |p| p.number),
                extent: f.extent,
                kind: f.kind.name().into(),
                uuid: f.uuid,
                partuuid: String::new(),
            })
            .collect(),
        esp,
        chunks,
    };
    record.changes.sort_by_key(|c| c.at);
    let _ = (Source::new, form::MAJOR);
    let _ = fat_unused;
    place::store(&rw, &record).unwrap();
}
fn fat_unused() {}
