// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition table of a stick, and what libblkid finds in its partitions.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use livestick::table::Scheme;

use crate::support::program::{output, run, text};
use crate::support::stick::{judge_gpt, judge_mbr};
use crate::written::Written;

pub fn judge(written: &Written) {
    let stick = written.stick();
    match stick.before.scheme {
        Scheme::Gpt => judge_gpt(&stick),
        _ => judge_mbr(&stick),
    }
    let verdict = output("sfdisk", &["--verify", text(&written.path)]);
    assert!(verdict.status.success(), "{verdict:?}");
    // To libblkid the whole is still the image.
    let facts = ["LABEL", "UUID", "TYPE", "BLOCK_SIZE", "PTTYPE"];
    for fact in facts {
        assert_eq!(
            blkid(&written.path, fact, &[]),
            blkid(&written.image, fact, &[]),
            "{fact}"
        );
    }
    for partition in written.partitions() {
        let (at, len) = (partition.at.to_string(), partition.len.to_string());
        let window = ["--offset", &at, "--size", &len];
        let found = |fact| blkid(&written.path, fact, &window);
        assert_eq!(found("TYPE"), partition.kind);
        assert_eq!(found("LABEL"), partition.label);
        assert_eq!(found("UUID"), partition.uuid);
    }
}

/// One value of a low-level probe, which fails where old bytes make it ambivalent.
pub fn blkid(path: &Path, fact: &str, window: &[&str]) -> String {
    let query = ["--probe", "--match-tag", fact, "--output", "value"];
    let said = run("blkid", &[&query, window, &[text(path)]].concat());
    said.trim().to_owned()
}

/// The table as sfdisk tells it is the one that was kept, but for the device's name and for the image's own partitions,
/// whose sizes are those of the boot loaders in them. `LIVESTICK_GOLDEN=write` keeps what is told now.
pub fn golden(written: &Written, layout: &str) {
    let own = run("sfdisk", &["-d", text(&written.image)]);
    let own: Vec<String> = own.lines().filter_map(numbered).collect();
    let dump = run("sfdisk", &["-d", text(&written.path)]);
    let dump = dump.lines().filter(|line| !line.starts_with("device: "));
    let lines = dump.map(|line| numbered(line).unwrap_or_else(|| line.to_owned()));
    let lines = lines.filter(|line| !own.contains(line));
    let told: String = lines.map(|line| line + "\n").collect();
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let kept = kept.join(format!("tests/golden/{layout}.sfdisk"));
    if env::var_os("LIVESTICK_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&kept, &told).unwrap();
    }
    assert_eq!(told, fs::read_to_string(&kept).unwrap());
}

/// A partition's line with its number in place of its name.
fn numbered(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(" : ")?;
    let digits = name.rfind(|c: char| !c.is_ascii_digit())? + 1;
    Some(format!("{}: {rest}", &name[digits..]))
}
