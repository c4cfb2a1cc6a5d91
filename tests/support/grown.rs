// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick with a seed and a sprout, and what is asked of it from outside.

use std::fs;
use std::path::{Path, PathBuf};

use livestick::record::place;
use livestick::table::{Kind, Table};
use livestick::units::Extent;
use tempfile::TempDir;

use super::device::patiently;
use super::lab::{iso, livestick, scratch};
use super::program::{run, text, unshared};

pub const SPROUT: [&str; 4] = ["--persistence", "sprout", "--overlay-size-mb", "256"];

pub struct Stick {
    pub dir: TempDir,
    pub path: PathBuf,
    pub image: PathBuf,
}

impl Stick {
    pub fn write(layout: &str, options: &[&str], more: &[&str]) -> (Stick, String) {
        let dir = TempDir::new_in(scratch()).unwrap();
        let (path, image) = (dir.path().join("stick.img"), iso(layout, options));
        let all = [
            &[
                "write",
                text(&image),
                text(&path),
                "--size",
                "640MiB",
                "--yes",
            ],
            &SPROUT[..],
            more,
        ];
        let out = livestick(&all.concat());
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}{err}");
        (Stick { dir, path, image }, said)
    }

    /// The new partitions but the record's, in the order of the medium.
    pub fn parts(&self) -> Vec<Extent> {
        let table = |path: &Path| Table::read(&fs::read(path).unwrap()).unwrap();
        let old = table(&self.image).partitions.len();
        let records = [Kind::Gpt(place::GPT_TYPE), Kind::Mbr(place::MBR_TYPE)];
        let mut parts: Vec<Extent> = table(&self.path).partitions[old..]
            .iter()
            .filter(|partition| !records.contains(&partition.kind))
            .map(|partition| partition.extent)
            .filter(|extent| extent.at.0 > fs::metadata(&self.image).unwrap().len())
            .collect();
        parts.sort();
        parts
    }

    /// Runs a script with the seed and the sprout attached as `$seed` and `$sprout`, in a mount namespace of its own.
    pub fn judge(&self, script: &str) -> String {
        let parts = self.parts();
        let attach = |name: &str, extent: &Extent| {
            format!(
                "{name}=$(losetup -f --show --offset {} --sizelimit {} stick.img)\n",
                extent.at, extent.len
            )
        };
        let script = format!(
            "set -e\nmkdir -p mnt\n{}{}trap 'umount -q mnt || :; losetup -d $seed $sprout' EXIT\n{script}",
            attach("seed", &parts[0]),
            attach("sprout", &parts[1]),
        );
        unshared(&script, self.dir.path())
    }

    pub fn file(&self, path: &str) -> Vec<u8> {
        let to = self.dir.path().join("out");
        let _ = fs::remove_file(&to);
        run(
            "xorriso",
            &[
                "-indev",
                text(&self.path),
                "-osirrox",
                "on",
                "-extract",
                path,
                text(&to),
            ],
        );
        fs::read(to).unwrap()
    }
}

/// What scans for filesystems may hold a loop device open for a moment; it goes when the last one closes it.
pub fn nothing_left(stick: &Path) {
    let held = || run("losetup", &["-a"]).contains(text(stick));
    assert!(patiently(|| !held()), "{}", run("losetup", &["-a"]));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("sprout-"), "{mounts}");
}

/// The report of `livestick verify` as JSON, and its exit status.
pub fn verified(stick: &Stick) -> (i32, serde_json::Value) {
    let report = stick.dir.path().join("verify.json");
    let out = livestick(&["verify", text(&stick.path), "--report", text(&report)]);
    let report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    (out.status.code().unwrap(), report)
}

/// A link of a report: how far it holds, and everything it says.
pub fn link(report: &serde_json::Value, name: &str) -> (String, String) {
    let links = report["links"].as_array().unwrap();
    let link = links.iter().find(|link| link["name"] == name).unwrap();
    let said = format!("{} {}", link["result"], link["how"]);
    (link["holds"].as_str().unwrap().into(), said)
}

/// Runs `livestick` with these words and the stick, which has to succeed.
pub fn done(stick: &Stick, words: &[&str]) -> String {
    let all = [&words[..1], &[text(&stick.path), "--yes"], &words[1..]].concat();
    let out = livestick(&all);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {said}{err}");
    nothing_left(&stick.path);
    said
}

/// Refused, with these words, and not a byte of the stick changed.
pub fn not_done(stick: &Stick, words: &[&str], why: &str) {
    let before = fs::read(&stick.path).unwrap();
    let all = [&words[..1], &[text(&stick.path), "--yes"], &words[1..]].concat();
    let out = livestick(&all);
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{words:?}: {err}");
    assert!(err.contains(why), "{words:?}: {err}");
    assert!(fs::read(&stick.path).unwrap() == before, "{words:?} wrote");
}
