// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that looks for what was published of an image, and compares it: at once where that is wanted, else when
//! nothing else was looked at for a while. Another image, and a job that begins, stop it.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime};

use super::super::known::{Compared, Digest};
use super::Message;
use crate::apply::flow::Stop;
use crate::image;
use crate::published::measure::measure;
use crate::published::{Asked, Published, lookup};
use crate::units::Bytes;

/// So long an image is looked at before it is compared unasked.
const IDLE: Duration = Duration::from_secs(3);

/// An image to be looked at.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) path: PathBuf,
    /// Compare it at once.
    pub(super) at_once: bool,
    /// Set when it is not wanted any more.
    pub(super) over: Arc<AtomicBool>,
}

/// What an image file was when it was compared.
type Version = (PathBuf, u64, Option<SystemTime>);

fn version(path: &Path) -> Option<Version> {
    let meta = path.metadata().ok()?;
    Some((path.into(), meta.len(), meta.modified().ok()))
}

pub(super) fn comparer(wishes: &Receiver<Wish>, to: &Sender<Message>) {
    let mut known: HashMap<Version, Digest> = HashMap::new();
    let mut next: Option<Wish> = None;
    loop {
        let Some(first) = next.take().or_else(|| wishes.recv().ok()) else {
            return;
        };
        let wish = wishes.try_iter().last().unwrap_or(first);
        let send = |digest: &Digest| {
            let (path, digest) = (wish.path.clone(), Box::new(digest.clone()));
            to.send(Message::Digest { path, digest }).is_ok()
        };
        let version = version(&wish.path);
        if let Some(digest) = version.as_ref().and_then(|version| known.get(version)) {
            if !send(digest) {
                return;
            }
            continue;
        }
        let look = || Digest::of(find(&wish.path));
        let mut digest = panic::catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| defect());
        if !send(&digest) {
            return;
        }
        if digest.compared != Compared::NotYet {
            continue;
        }
        if !wish.at_once {
            match wishes.recv_timeout(IDLE) {
                Ok(wish) => {
                    next = Some(wish);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        if wish.over.load(Ordering::Relaxed) {
            continue;
        }
        let mut heard = true;
        let going = AssertUnwindSafe(|| {
            compare(&wish, &digest, &mut |percent| {
                let compared = Compared::Going(percent);
                heard &= send(&Digest {
                    compared,
                    ..digest.clone()
                });
            })
        });
        match panic::catch_unwind(going) {
            Ok(Some(compared)) => digest.compared = compared,
            Ok(None) => {}
            Err(_) => digest = defect(),
        }
        if !heard || !send(&digest) {
            return;
        }
        if let (Some(version), Compared::Equal | Compared::Differs(_)) = (version, &digest.compared)
        {
            known.insert(version, digest);
        }
    }
}

fn defect() -> Digest {
    Digest::of(Err(
        "looking for it met a defect of this program; the log has more".into(),
    ))
}

fn find(path: &Path) -> Result<Published, String> {
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    lookup::find(&Asked::Beside, &[], path, &real).map_err(|refusal| refusal.to_string())
}

/// Reads the image; nothing if that is not wanted any more.
fn compare(wish: &Wish, digest: &Digest, progress: &mut dyn FnMut(u64)) -> Option<Compared> {
    let published = digest.published.as_ref().ok()?;
    let failed = |why: &dyn ToString| Some(Compared::Failed(why.to_string()));
    let (file, size) = match image::open(&wish.path).and_then(|file| {
        let size = file.metadata()?.len();
        Ok((file, Bytes(size)))
    }) {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    progress(0);
    let (mut done, mut told) = (0_u64, 0);
    let passed = |len: usize| {
        done += len as u64;
        let percent = done.saturating_mul(100) / size.0.max(1);
        if percent > told {
            told = percent;
            progress(percent);
        }
    };
    match measure(&file, size, published.sums(), passed, &wish.over) {
        Ok(measured) => {
            let name = wish.path.file_name().unwrap_or_default().to_string_lossy();
            Some(match published.compare(&name, &measured) {
                Ok(()) => Compared::Equal,
                Err(why) => Compared::Differs(why),
            })
        }
        Err(Stop::Failed(error)) => failed(&format!("{error:#}")),
        Err(Stop::Cancelled) => None,
    }
}
