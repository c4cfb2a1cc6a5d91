// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of images, compared with what xorriso, libblkid and the bytes themselves tell.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::partitions::blkid;
use crate::support::lab::{iso, livestick, scratch};
use crate::support::program::{root, run, text};
use crate::written::{Written, number, word};

/// A file of the ISO tree, from xorriso's report: first block, blocks, bytes, path.
fn files(image: &Path) -> Vec<(u64, u64, u64, String)> {
    let report = run(
        "xorriso",
        &[
            "-indev",
            text(image),
            "-find",
            "/",
            "-exec",
            "report_lba",
            "--",
        ],
    );
    let line = |line: &str| {
        let fields: Vec<&str> = line
            .strip_prefix("File data lba:")?
            .splitn(5, ',')
            .map(str::trim)
            .collect();
        let number = |i: usize| fields[i].parse::<u64>().unwrap();
        let path = fields[4].trim_matches('\'').to_owned();
        Some((number(1), number(2), number(3), path))
    };
    report.lines().filter_map(line).collect()
}

fn inspect(image: &Path) -> Value {
    let out = livestick(&["inspect", "--json", text(image)]);
    assert!(out.status.success());
    let facts: Value = serde_json::from_slice(&out.stdout).expect("one object");
    assert_eq!(facts["version"], 1);
    assert_eq!(facts["oddities"], serde_json::json!([]));
    facts
}

pub fn judge_facts(image: &Path) {
    let facts = inspect(image);
    assert_eq!(facts["label"], blkid(image, "LABEL", &[]));
    assert_eq!(facts["uuid"], blkid(image, "UUID", &[]));
    let bytes = fs::read(image).unwrap();
    let files = files(image);
    let place = |path: &str| {
        let found = files.iter().find(|(_, _, _, name)| name == path);
        found.map_or_else(|| panic!("{path}"), |(block, _, len, _)| (*block, *len))
    };
    for fact in ["kernel", "initrd", "root"] {
        let (block, len) = place(word(&facts[fact]["path"]));
        assert_eq!(
            facts[fact]["extent"],
            serde_json::json!({ "at": block * 2048, "len": len }),
            "{fact}"
        );
    }
    let configs = facts["configs"].as_array().unwrap();
    let in_iso: Vec<&Value> = configs
        .iter()
        .filter(|config| config["place"] == "iso")
        .collect();
    assert!(!in_iso.is_empty());
    for config in in_iso {
        let (block, len) = place(word(&config["file"]));
        assert_eq!(
            config["extent"],
            serde_json::json!({ "at": block * 2048, "len": len })
        );
        assert_eq!(config["slack"], len.next_multiple_of(2048) - len);
        let records: Vec<u64> = config["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect();
        assert_eq!(records, records_of(&bytes, block, len), "{config}");
    }
}

/// Where directory records of a file begin, found without reading any directory: by the block and the length in both
/// byte orders (ECMA-119, 9.1), as seen from the whole disk and from the partition 16 blocks in.
fn records_of(bytes: &[u8], block: u64, len: u64) -> Vec<u64> {
    let both = |n: u64| {
        let n = u32::try_from(n).unwrap();
        [n.to_le_bytes(), n.to_be_bytes()].concat()
    };
    let mut found = Vec::new();
    for offset in [0, 16] {
        let wanted = [both(block - offset), both(len)].concat();
        let mut windows = bytes.windows(16).enumerate();
        while let Some((at, _)) = windows.find(|(_, window)| *window == wanted) {
            found.push(at as u64 - 2);
        }
    }
    found.sort_unstable();
    found
}

/// The root image is of the kind that small-iso was asked for, and libblkid says the same of its bytes.
pub fn judge_root(image: &Path, kind: &str) {
    let facts = inspect(image);
    let extent = &facts["root"]["extent"];
    let (at, len) = (
        number(&extent["at"]).to_string(),
        number(&extent["len"]).to_string(),
    );
    let (outer, inner) = kind
        .split_once('-')
        .map_or((kind, None), |(outer, inner)| (outer, Some(inner)));
    assert_eq!(
        blkid(image, "TYPE", &["--offset", &at, "--size", &len]),
        outer
    );
    let told = facts["root"]["kind"].to_string();
    match inner {
        None => assert_eq!(facts["root"]["kind"]["tree"], outer, "{told}"),
        Some(inner) => {
            let nested = &facts["root"]["kind"]["nested"]["inner"];
            assert_eq!(nested["kind"], inner, "{told}");
            assert_eq!(nested["label"], "Anaconda", "{told}");
        }
    }
}

/// No file of the stick lies on another one, and what was moved lies where the image has nothing.
pub fn judge_places(written: &Written) {
    let mut files = files(&written.path);
    files.retain(|(_, blocks, ..)| *blocks > 0);
    files.sort();
    // Two names of one file are one place.
    files.dedup_by(|a, b| (a.0, a.1) == (b.0, b.1));
    for pair in files.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
    }
    let image = fs::read(&written.image).unwrap();
    for file in written.plan()["boot"]["files"].as_array().unwrap() {
        let Some(block) = file["moved_to"].as_u64() else {
            continue;
        };
        let (_, blocks, _, _) = files.iter().find(|(at, ..)| *at == block).unwrap();
        let (from, to) = (block * 2048, (block + blocks) * 2048);
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        assert!(image[from..to].iter().all(|byte| *byte == 0), "{file}");
    }
}

/// What `inspect` says can be done is what a plan is made for, and what it says cannot be done is refused.
#[test]
fn what_an_image_can_do_is_what_a_plan_takes() {
    if !root() {
        return;
    }
    let images: [(&str, &[&str]); 6] = [
        (
            "grub2",
            &["--cryptsetup", "generator program library module"],
        ),
        ("grub2", &["--rootfs", "btrfs"]),
        ("grub2", &["--drivers", "ext4 overlay squashfs"]),
        ("isolinux", &[]),
        ("kiwi", &[]),
        ("debian-live", &[]),
    ];
    for (layout, options) in images {
        let image = iso(layout, options);
        let out = livestick(&["inspect", text(&image)]);
        let said = String::from_utf8(out.stdout).unwrap();
        let stick = scratch().join("never.img");
        let takes = |more: &[&str]| {
            let plan = [
                "write",
                text(&image),
                text(&stick),
                "--size",
                "2GiB",
                "--dry-run",
            ];
            livestick(&[&plan, more].concat()).status.code() == Some(0)
        };
        for (words, more) in [
            ("persistent overlay on /", &["--overlay-size-mb", "400"][..]),
            (
                "grow a btrfs sprout from",
                &["--persistence", "sprout", "--overlay-size-mb", "400"],
            ),
        ] {
            assert_eq!(
                said.contains(words),
                takes(more),
                "{layout} {options:?}, {words}: {said}"
            );
        }
    }
}
