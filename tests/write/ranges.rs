// SPDX-License-Identifier: MIT OR Apache-2.0
//! The image's range of a stick: it differs from the image where the plan says so and nowhere else, and the digests of
//! the report are those of sha256sum.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use livestick::digest::hex;
use livestick::units::MIB;

use crate::rubbish;
use crate::support::program::{output, run, text};
use crate::written::{Written, number, word};

/// Ranges that differ, by the plan: start, end, and whether it is the media check's.
fn listed(written: &Written) -> Vec<(usize, usize, bool)> {
    let patches = written.plan()["patches"].as_array().unwrap();
    let range = |patch: &serde_json::Value| {
        let at = usize::try_from(number(&patch["at"])).unwrap();
        let len = usize::try_from(number(&patch["len"])).unwrap();
        (at, at + len, patch["why"]["kind"] == "media-check")
    };
    patches.iter().map(range).collect()
}

pub fn judge(written: &Written) {
    let image = fs::read(&written.image).unwrap();
    let mut now = vec![0; image.len()];
    let stick = File::open(&written.path).unwrap();
    stick.read_exact_at(&mut now, 0).unwrap();
    let restored = sha256(&image);

    let listed = listed(written);
    for (i, &(from, to, media_check)) in listed.iter().enumerate() {
        assert!(i == 0 || listed[i - 1].1 <= from, "unsorted ranges");
        assert_ne!(image[from..to], now[from..to], "nothing differs at {from}");
        // A sum is a field of its own: it is listed whole, with the words around the digits.
        if !media_check {
            assert_ne!(image[from], now[from], "first byte of {from}..{to}");
            assert_ne!(image[to - 1], now[to - 1], "last byte of {from}..{to}");
            let after = word(&written.plan()["patches"][i]["after"]);
            assert_eq!(after, hex(&now[from..to]), "at {from}");
        }
        now[from..to].copy_from_slice(&image[from..to]);
    }
    for (i, (a, b)) in image.chunks(4096).zip(now.chunks(4096)).enumerate() {
        assert!(
            a == b,
            "not listed: {:?}",
            first(a, b).map(|at| i * 4096 + at)
        );
    }

    let report = written.report();
    assert_eq!(report["exit"], "verified");
    assert_eq!(report["state"], "complete");
    assert_eq!(report["sha256"], restored);
    let back = &report["read_back"];
    assert_eq!(back["restored"], restored);
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");
    let size = image.len().to_string();
    let tree = run(reader, &["--tree", text(&written.path), &size]);
    assert_eq!(back["tree"], tree.trim());
    run(reader, &["--check", text(&written.path)]);
    assert_eq!(back["verdict"], "verified");
    assert_eq!(back["bytes"], image.len());
    assert_eq!(back["ranges"], listed.len());
    let changed: usize = listed.iter().map(|(from, to, _)| to - from).sum();
    assert_eq!(back["changed"], changed);
    let check = output("checkisomd5", &[text(&written.path)]);
    let verdict = String::from_utf8_lossy(&check.stderr);
    assert!(
        check.status.success() && verdict.contains("the result is: PASS"),
        "{verdict}"
    );
    if written.used {
        between(written);
    }
}

/// Behind the image nothing changes but the partitions and what the plan lists.
fn between(written: &Written) {
    let mut taken: Vec<_> = written
        .partitions()
        .iter()
        .map(|partition| (partition.at, partition.at + partition.len))
        .collect();
    for behind in written.plan()["behind"].as_array().unwrap() {
        let at = number(&behind["at"]);
        taken.push((at, at + word(&behind["bytes"]).len() as u64 / 2));
    }
    if let Some(region) = written.plan()["record"].get("region") {
        let at = number(&region["at"]);
        taken.push((at, at + number(&region["len"])));
    }
    taken.sort_unstable();
    taken.push((written.size, written.size));
    let mut at = written.image_size();
    let mut kept = 0;
    for (from, to) in taken {
        assert!(at <= from, "overlap at {from}");
        assert_eq!(rubbish::touched(&written.path, at..from), None);
        kept += from - at;
        at = to;
    }
    assert!(kept > MIB, "only {kept} bytes to look at");
}

fn first(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

fn sha256(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let line = run("sha256sum", &[text(file.path())]);
    line.split(' ').next().unwrap().to_owned()
}
