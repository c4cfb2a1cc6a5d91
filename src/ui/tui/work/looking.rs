// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the threads look at: folders, images, disks, and what a plan is made from. Nothing here writes, but a report
//! where a user wants it.

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::super::known::{Entry, ImageFacts, Seen};
use super::{Message, host};
use crate::command;
use crate::disk::probe::Contents;
use crate::disk::standing::Protected;
use crate::disk::{self, Disk, System};
use crate::host::Host;
use crate::image::Image;
use crate::plan::target;
use crate::request::Request;
use crate::units::Bytes;

/// How often the disks are looked at while their table is shown.
const WATCH: Duration = Duration::from_secs(1);
/// The most entries of a folder that are shown.
const ENTRIES: usize = 20_000;

/// The newest wish of several.
fn newest<T>(wishes: &Receiver<T>) -> Option<T> {
    let first = wishes.recv().ok()?;
    Some(wishes.try_iter().last().unwrap_or(first))
}

pub(super) fn inspector(
    wishes: &Receiver<PathBuf>,
    to: &Sender<Message>,
    known: &Mutex<Option<Arc<Host>>>,
) {
    while let Some(path) = newest(wishes) {
        let look = || -> Option<()> {
            let send = |facts| {
                let path = path.clone();
                to.send(Message::Inspected { path, facts }).ok()
            };
            match Image::open(&path) {
                Err(refusal) => send(Err(refusal.to_string())),
                Ok(mut image) => {
                    let host = host(known);
                    send(Ok(Box::new(ImageFacts::of(&image, false, &host))))?;
                    image.look_inside();
                    send(Ok(Box::new(ImageFacts::of(&image, true, &host))))
                }
            }
        };
        match panic::catch_unwind(AssertUnwindSafe(look)) {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) => {
                let facts =
                    Err("looking at it met a defect of this program; the log has more".into());
                let _ = to.send(Message::Inspected { path, facts });
            }
        }
    }
}

pub(super) fn planner(
    requests: &Receiver<(u64, Box<Request>)>,
    to: &Sender<Message>,
    known: &Mutex<Option<Arc<Host>>>,
) {
    let _ = host(known);
    while let Some((number, request)) = newest(requests) {
        let make = || {
            let host = host(known);
            command::plan(&request, &host).map_err(|refusal| refusal.to_string())
        };
        let plan = panic::catch_unwind(AssertUnwindSafe(make))
            .unwrap_or_else(|_| {
                Err("planning met a defect of this program; the log has more".into())
            })
            .map(Box::new);
        if to.send(Message::Planned { number, plan }).is_err() {
            return;
        }
    }
}

/// Lists the disks again and again; what is on one is read when it turns up.
pub(super) fn watch(loops: bool, to: &Sender<Message>, on: &AtomicBool) {
    let mut known: Vec<Seen> = Vec::new();
    let mut said = None;
    loop {
        if !on.load(Ordering::Relaxed) {
            said = None;
            known.clear();
            thread::park();
            continue;
        }
        let system = System::real();
        let listed = disk::list(&system, loops)
            .map(|disks| disks.into_iter().map(|disk| seen(disk, &known)).collect())
            .map_err(|error| error.to_string());
        if said.as_ref() != Some(&listed) {
            if let Ok(listed) = &listed {
                known.clone_from(listed);
            }
            said = Some(listed.clone());
            if to.send(Message::Disks(listed)).is_err() {
                return;
            }
        }
        thread::park_timeout(WATCH);
    }
}

fn seen(disk: Disk, known: &[Seen]) -> Seen {
    if let Some(known) = known.iter().find(|known| known.disk == disk) {
        return known.clone();
    }
    let contents = if disk.size == Bytes::ZERO {
        Ok(Contents::default())
    } else {
        Contents::read(&disk.path, disk.size, &disk.regions())
    };
    let against = contents.as_ref().map_or(Vec::new(), Contents::reasons);
    let now = contents
        .map(|contents| contents.all.iter().filter_map(target::line).collect())
        .map_err(|error| error.to_string());
    Seen {
        standing: disk.standing_with(&Protected::default(), against),
        disk,
        now,
    }
}

pub(super) fn list(folder: &Path) -> Result<Vec<Entry>, String> {
    let read = fs::read_dir(folder)
        .map_err(|error| format!("reading {}: {error}", disk::shown(folder)))?;
    let mut entries: Vec<Entry> = read
        .flatten()
        .take(ENTRIES)
        .filter_map(|entry| {
            let name = disk::shown(Path::new(&entry.file_name())).to_string();
            // Links are followed: what counts is what opening gives.
            let meta = fs::metadata(entry.path()).ok()?;
            let shown = !name.starts_with('.') && (meta.is_dir() || meta.is_file());
            shown.then(|| Entry {
                name,
                path: entry.path(),
                folder: meta.is_dir(),
                size: Bytes(meta.len()),
            })
        })
        .collect();
    entries.sort_by_key(|entry| (entry.folder, !entry.is_image(), entry.name.to_lowercase()));
    Ok(entries)
}

pub(super) fn measure(path: &Path) -> Result<Option<Bytes>, String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(Bytes(meta.len()))),
        Ok(_) => Err(format!("{} is not a regular file", disk::shown(path))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("looking at {}: {error}", disk::shown(path))),
    }
}

pub(super) fn save(path: &Path, text: &str) -> Result<PathBuf, String> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| format!("saving to {}: {error}", disk::shown(path));
    // What is there already is not written over: it may be an image, or a device.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

/// Folders where images may be, those that have some first: the working folder, downloads, mounted media, home.
pub(super) fn places() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let mut places: Vec<PathBuf> = env::current_dir().ok().into_iter().collect();
    let downloads = env::var_os("XDG_DOWNLOAD_DIR").map(PathBuf::from);
    places.extend(downloads.or_else(|| Some(home.as_ref()?.join("Downloads"))));
    let folders = |path: &Path| -> Vec<PathBuf> {
        let read = fs::read_dir(path).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = read
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .take(50)
            .collect();
        folders.sort();
        folders
    };
    for user in folders(Path::new("/run/media")) {
        places.extend(folders(&user));
    }
    places.extend(folders(Path::new("/media")));
    places.push(PathBuf::from("/mnt"));
    places.extend(home);
    let mut known: Vec<PathBuf> = Vec::new();
    for place in places {
        if place.is_dir() && !known.contains(&place) {
            known.push(place);
        }
    }
    let has_image =
        |place: &PathBuf| list(place).is_ok_and(|entries| entries.iter().any(Entry::is_image));
    // A stable sort: within both kinds the order stays.
    known.sort_by_cached_key(|place| !has_image(place));
    known
}
