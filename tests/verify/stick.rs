// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks to be damaged, each a copy of one that the program wrote once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use livestick::image::iso9660::Iso;
use livestick::read::Source;
use livestick::units::Bytes;
use serde_json::Value;

use crate::support::bench::{Bench, Outcome, ask, poke};
use crate::support::lab::{iso, scratch};
use crate::support::program::{run, text};

/// Options of a stick with both partitions.
pub const PERSISTENT: [&str; 8] = [
    "--overlay-size",
    "136MiB",
    "--overlay-fs",
    "btrfs",
    "--home-size",
    "24MiB",
    "--home-fs",
    "ext4",
];

/// A stick image file.
pub struct Stick {
    pub bench: Bench,
    pub image: PathBuf,
    pub path: PathBuf,
    /// As it was written.
    pub pristine: PathBuf,
}

impl Stick {
    /// A copy of the stick of that layout.
    pub fn new(layout: &str, options: &[&str]) -> Stick {
        Stick::of(layout, &[], options)
    }

    /// The same with options for the image, too.
    pub fn of(layout: &str, image: &[&str], options: &[&str]) -> Stick {
        let pristine = master(layout, image, options);
        let bench = Bench::new();
        let path = bench.path("stick.img");
        copy(&pristine, &path);
        Stick {
            image: iso(layout, image),
            bench,
            path,
            pristine,
        }
    }

    pub fn persistent(layout: &str) -> Stick {
        Stick::new(layout, &PERSISTENT)
    }

    /// Makes it as it was written.
    pub fn restore(&self) {
        copy(&self.pristine, &self.path);
    }

    /// Whether it is as it was written.
    pub fn is_pristine(&self) -> bool {
        let out = crate::support::program::output("cmp", &[text(&self.path), text(&self.pristine)]);
        out.status.success()
    }

    /// Flips one bit.
    pub fn flip(&self, at: u64) {
        let was = poke(&self.path, at, &[0])[0];
        poke(&self.path, at, &[was ^ 4]);
    }

    pub fn image_size(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }

    pub fn iso(&self) -> Iso {
        let source = Source::new(File::open(&self.image).unwrap(), Bytes(self.image_size()));
        Iso::read(&source).unwrap()
    }

    /// Where a file of the image begins.
    pub fn file(&self, path: &str) -> u64 {
        let iso = self.iso();
        iso.file(path)
            .unwrap_or_else(|| panic!("no {path}"))
            .extents[0]
            .at
            .0
    }

    pub fn sfdisk(&self) -> Value {
        serde_json::from_str(&run("sfdisk", &["-J", text(&self.path)])).unwrap()
    }

    /// Start and length of the partition whose type begins so.
    pub fn partition(&self, kind: &str) -> (u64, u64) {
        let table = self.sfdisk();
        let all = table["partitiontable"]["partitions"].as_array().unwrap();
        let one = all
            .iter()
            .find(|p| p["type"].as_str().unwrap().to_lowercase().starts_with(kind))
            .unwrap();
        (
            one["start"].as_u64().unwrap() * 512,
            one["size"].as_u64().unwrap() * 512,
        )
    }

    /// Start and length of the partition of that name.
    pub fn part(&self, name: &str) -> (u64, u64) {
        let table = self.sfdisk();
        let all = table["partitiontable"]["partitions"].as_array().unwrap();
        let named = |p: &&Value| p["name"].as_str().is_some_and(|own| own.contains(name));
        let one = all.iter().find(named).unwrap();
        let sectors = |field: &str| one[field].as_u64().unwrap() * 512;
        (sectors("start"), sectors("size"))
    }

    pub fn verify(&self, more: &[&str]) -> Verified {
        verify(&self.path, more)
    }

    pub fn repair(&self, more: &[&str]) -> Verified {
        let args = [
            "repair",
            text(&self.path),
            text(&self.image),
            "-y",
            "--json",
        ];
        Verified::of(ask(&[&args, more].concat()))
    }
}

pub fn verify(path: &Path, more: &[&str]) -> Verified {
    Verified::of(ask(&[&["verify", text(path), "--json"], more].concat()))
}

fn copy(from: &Path, to: &Path) {
    run(
        "cp",
        &["--sparse=always", "--reflink=auto", text(from), text(to)],
    );
    File::open(to).unwrap().sync_all().unwrap();
}

/// The stick that all others of its kind are copies of.
fn master(layout: &str, image: &[&str], options: &[&str]) -> PathBuf {
    type Made = Arc<OnceLock<PathBuf>>;
    static MADE: LazyLock<Mutex<HashMap<String, Made>>> = LazyLock::new(Mutex::default);
    let name = [&[layout], image, options].concat().join("");
    let made = Arc::clone(MADE.lock().unwrap().entry(name.clone()).or_default());
    let path = made.get_or_init(|| {
        let path = scratch().join(format!("master-{}.img", name.replace('/', "")));
        let image = iso(layout, image);
        let size = if options.is_empty() {
            "64MiB"
        } else {
            "256MiB"
        };
        let size: &[&str] = if options.contains(&"--size") {
            &[]
        } else {
            &["--size", size]
        };
        let args = ["write", text(&image), text(&path), "-y", "--json"];
        let outcome = ask(&[&args, size, options].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        path
    });
    path.clone()
}

/// What the program said of a stick.
#[derive(Debug)]
pub struct Verified {
    pub code: Option<i32>,
    pub report: Value,
    pub outcome: Outcome,
}

impl Verified {
    pub fn of(outcome: Outcome) -> Verified {
        let events = outcome.events();
        assert!(!events.is_empty(), "{outcome:?}");
        let last = events.last().unwrap();
        let report = last["report"].clone();
        let ends = events
            .iter()
            .filter(|event| event["event"] == "done" || event["event"] == "failed");
        assert_eq!(ends.count(), 1, "{outcome:?}");
        Verified {
            code: outcome.code,
            report,
            outcome,
        }
    }

    pub fn failure(&self) -> String {
        let events = self.outcome.events();
        let last = events.last().unwrap();
        last["failure"]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("{last}"))
            .to_owned()
    }

    /// How far a link holds.
    pub fn holds(&self, name: &str) -> &str {
        self.link(name)["holds"].as_str().unwrap()
    }

    pub fn link(&self, name: &str) -> &Value {
        let links = self.report["links"].as_array().unwrap();
        links
            .iter()
            .find(|link| link["name"] == name)
            .unwrap_or_else(|| panic!("no link {name} in {:#}", self.report))
    }

    pub fn damage(&self) -> &[Value] {
        self.report["damage"].as_array().unwrap()
    }

    /// Everything that is named as damaged.
    pub fn places(&self) -> Vec<String> {
        let places = self
            .damage()
            .iter()
            .flat_map(|one| one["places"].as_array().unwrap());
        places
            .map(|place| place.as_str().unwrap().to_owned())
            .collect()
    }

    pub fn names(&self, part: &str) -> bool {
        self.places().iter().any(|place| place.contains(part))
    }

    pub fn cause(&self) -> &str {
        self.report["diagnosis"]["cause"].as_str().unwrap()
    }

    /// It must be so; everything is told otherwise.
    pub fn must(&self, what: bool) {
        assert!(what, "exit {:?}: {:#}", self.code, self.report);
    }
}
