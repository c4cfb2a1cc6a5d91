// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks that do not have the size they claim: found by `probe` and before a write, and left as they were.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use livestick::capacity::{Finding, Probe};
use livestick::disk::System;
use livestick::host::Host;
use livestick::image::Image;
use livestick::plan::{PlannedTarget, build, target};
use livestick::request::Request;
use livestick::units::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::bench::{Bench, Outcome, ask, livestick, peek};
use crate::support::device::patiently;
use crate::support::fake::{Fake, Lie, Reads};
use crate::support::lab::iso;
use crate::support::program::{output, root, run, text};

const MIB: u64 = 1 << 20;
const CLAIM: u64 = 96 * MIB;

/// What another program reads from the whole disk.
fn sum(disk: &Path) -> String {
    run("blockdev", &["--flushbufs", text(disk)]);
    run("sha256sum", &[text(disk)])
}

fn probe(fake: &Fake, more: &[&str]) -> Outcome {
    let node = text(fake.node());
    ask(&[&["probe", node, "--yes", "--allow-disk", node], more].concat())
}

fn found(outcome: &Outcome) -> (Value, Finding) {
    let last = outcome.events().pop().unwrap();
    assert_eq!(last["event"], "done", "{last}");
    assert_eq!(last["report"]["task"], "probe");
    let capacity = last["report"]["capacity"].clone();
    (capacity.clone(), serde_json::from_value(capacity).unwrap())
}

#[test]
fn an_honest_stick_is_genuine_and_unchanged() {
    if !root() {
        return;
    }
    let fake = Fake::new(CLAIM, Lie::Honest);
    let before = sum(fake.node());
    let outcome = probe(&fake, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for said in ["keeps all", "past the caches", "all marks were taken back"] {
        assert!(outcome.out.contains(said), "{}", outcome.out);
    }
    assert_eq!(sum(fake.node()), before);
    assert!(fake.memory().changed().is_empty());
    assert!(fake.memory().writes > 20);
    let outcome = probe(&fake, &["--json"]);
    let (capacity, finding) = found(&outcome);
    assert_eq!(finding, Finding::Genuine);
    assert_eq!(capacity["verdict"], "verified");
    let events = outcome.events();
    assert_eq!(events[0]["event"], "begun");
    let progress: Vec<_> = events.iter().filter(|e| e["event"] == "progress").collect();
    let last = progress.last().unwrap();
    assert_eq!(last["done"], last["total"], "{last}");
    assert_eq!(last["total"], events[0]["total"]);
    let full = probe(&fake, &["--full", "--json"]);
    assert_eq!(full.code, Some(0), "{full:?}");
    assert_eq!(found(&full).1, Finding::Genuine);
    assert!(peek(fake.node(), 0, 1 << 20) == vec![0; 1 << 20]);
}

#[test]
fn a_stick_that_wraps_around_anywhere_is_measured_and_unchanged() {
    if !root() {
        return;
    }
    for real in [32 * MIB, 40 * MIB + 1536, 95 * MIB, 5 * MIB, CLAIM - 4096] {
        let fake = Fake::new(CLAIM, Lie::Wraps(real));
        let before = sum(fake.node());
        let outcome = probe(&fake, &["--json"]);
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let at = Bytes(real);
        assert_eq!(found(&outcome).1, Finding::Wraps { at, size: at });
        assert_eq!(sum(fake.node()), before, "{real}");
        assert!(fake.memory().changed().is_empty());
    }
    let fake = Fake::new(CLAIM, Lie::Wraps(40 * MIB));
    let outcome = probe(&fake, &[]);
    let said = "claims 100.7 MB (96.0 MiB) and has 41.9 MB (40.0 MiB)";
    assert!(outcome.out.contains(said), "{}", outcome.out);
    assert!(outcome.out.contains("return it"), "{}", outcome.out);
    let (capacity, finding) = found(&probe(&fake, &["--full", "--json"]));
    assert_eq!(finding.true_size(), Some(Bytes(40 * MIB)));
    assert_eq!(capacity["blank"], true);
    assert!(peek(fake.node(), 0, 1 << 20) == vec![0; 1 << 20]);
}

#[test]
fn a_stick_that_forgets_is_measured_and_unchanged() {
    if !root() {
        return;
    }
    for (real, reads) in [
        (32 * MIB, Reads::Zeros),
        (40 * MIB + 1536, Reads::Ones),
        (70 * MIB + 8192, Reads::Noise),
    ] {
        let fake = Fake::new(CLAIM, Lie::Drops(real, reads));
        let before = sum(fake.node());
        let outcome = probe(&fake, &["--json"]);
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let (capacity, finding) = found(&outcome);
        let from = finding.true_size().unwrap().0;
        assert!(from <= real && real < from + 8192, "{from} {real}");
        assert_eq!(capacity["left"].as_array().unwrap().len(), 0);
        if !matches!(reads, Reads::Noise) {
            assert_eq!(sum(fake.node()), before);
        }
        assert!(fake.memory().changed().is_empty());
        let from = Bytes(real);
        let full = probe(&fake, &["--full", "--json"]);
        assert_eq!(full.code, Some(6), "{full:?}");
        let (capacity, finding) = found(&full);
        assert_eq!(finding, Finding::Drops { from });
        assert_eq!(capacity["lost"][0]["at"], real);
        assert_eq!(capacity["lost"][0]["len"], CLAIM - real);
    }
}

#[test]
fn a_stick_that_fails_is_not_called_counterfeit() {
    if !root() {
        return;
    }
    let place = Probe::of(Bytes(CLAIM)).unwrap().places[7].0;
    let fake = Fake::new(CLAIM, Lie::FailsReading(place + 512));
    let outcome = probe(&fake, &[]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    let said = format!("the first at byte {place}");
    assert!(outcome.out.contains(&said), "{}", outcome.out);
    assert!(outcome.out.contains("error"), "{}", outcome.out);
    assert_eq!(fake.memory().writes, 0);

    let fake = Fake::new(CLAIM, Lie::FailsWriting(place + 512));
    let outcome = probe(&fake, &["--json"]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    let (capacity, finding) = found(&outcome);
    let Finding::Fails { first, places, .. } = finding else {
        panic!("{finding:?}");
    };
    assert_eq!((first.0, places), (place, 1));
    assert!(capacity["left"].as_array().unwrap().len() <= 1);
    let changed = fake.memory().changed();
    assert!(changed.iter().all(|at| (place..place + 4096).contains(at)));
}

#[test]
fn the_report_of_a_probe_is_saved() {
    if !root() {
        return;
    }
    let dir = tempfile::TempDir::new().unwrap();
    let (data, words) = (dir.path().join("r.json"), dir.path().join("r.txt"));
    let fake = Fake::new(CLAIM, Lie::Wraps(40 * MIB));
    for file in [&data, &words] {
        let outcome = probe(&fake, &["--report", text(file)]);
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
    }
    let saved: Value = serde_json::from_slice(&std::fs::read(data).unwrap()).unwrap();
    assert_eq!(
        (&saved["task"], &saved["exit"]),
        (&"probe".into(), &"counterfeit".into())
    );
    assert!(std::fs::read_to_string(words).unwrap().contains("40.0 MiB"));
    // Never over the disk itself.
    let outcome = probe(&fake, &["--report", text(fake.node())]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

/// Starts a probe of a slow stick, waits for some writes, and sends a signal.
fn interrupted(fake: &Fake, signal: Signal) -> Option<i32> {
    fake.memory().delay = Duration::from_millis(10);
    let node = text(fake.node());
    let mut program = livestick(&["probe", node, "-y", "--allow-disk", node]);
    let mut child = program.stdout(Stdio::null()).spawn().unwrap();
    let begun = fake.memory().writes;
    while fake.memory().writes < begun + 12 {
        sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let code = child.wait().unwrap().code();
    fake.memory().delay = Duration::ZERO;
    code
}

#[test]
fn a_probe_that_is_stopped_takes_its_marks_back() {
    if !root() {
        return;
    }
    for lie in [
        Lie::Honest,
        Lie::Wraps(40 * MIB + 512),
        Lie::Drops(40 * MIB, Reads::Zeros),
    ] {
        let fake = Fake::new(CLAIM, lie);
        let before = sum(fake.node());
        for signal in [Signal::INT, Signal::TERM] {
            assert_eq!(interrupted(&fake, signal), Some(130));
            assert_eq!(sum(fake.node()), before, "{lie:?}");
            assert!(fake.memory().changed().is_empty());
        }
    }
}

#[test]
fn a_probe_that_is_killed_leaves_nothing_but_marks() {
    if !root() {
        return;
    }
    let fake = Fake::new(CLAIM, Lie::Honest);
    assert_eq!(interrupted(&fake, Signal::KILL), None);
    // What was under way still arrives.
    sleep(Duration::from_millis(100));
    let places = Probe::of(Bytes(CLAIM)).unwrap().places;
    let changed = fake.memory().changed();
    assert!(!changed.is_empty());
    for at in &changed {
        let in_place = |place: &Bytes| (place.0..place.0 + 4096).contains(at);
        assert!(places.iter().any(in_place), "{at}");
    }
    assert!(changed.iter().all(|at| *at >= MIB - 4096));
    // And it can be probed again: what was left is what is there now.
    let again = || probe(&fake, &["--json"]);
    assert!(patiently(|| again().code == Some(0)));
    assert_eq!(fake.memory().changed(), changed);
}

#[test]
fn a_write_to_a_counterfeit_does_not_begin() {
    if !root() {
        return;
    }
    let image = iso("grub2", &[]);
    assert!(fs::metadata(&image).unwrap().len() < 40 * MIB);
    let write = |fake: &Fake, more: &[&str]| {
        let node = text(fake.node());
        let args = ["write", text(&image), node, "-y", "--allow-disk", node];
        ask(&[&args, more].concat())
    };
    // The image would fit what they have.
    for lie in [Lie::Wraps(40 * MIB), Lie::Drops(40 * MIB, Reads::Ones)] {
        let fake = Fake::new(CLAIM, lie);
        let before = sum(fake.node());
        let outcome = write(&fake, &["--capacity-probe"]);
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
        for said in [
            "has 41.9 MB",
            "return it",
            "as it was: all marks were taken back",
        ] {
            assert!(outcome.err.contains(said), "{}", outcome.err);
        }
        assert_eq!(sum(fake.node()), before);
        let last = write(&fake, &["--capacity-probe", "--json"]);
        let last = last.events().pop().unwrap();
        assert_eq!(last["failure"]["exit"], "counterfeit", "{last}");
        assert_eq!(last["failure"]["state"], "restored");
        assert!(fake.memory().changed().is_empty());
        // Whoever wants it gets it; what is written is read back all the same.
        let outcome = write(&fake, &["--no-capacity-probe"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
    let place = Probe::of(Bytes(CLAIM)).unwrap().places[7].0;
    let fake = Fake::new(CLAIM, Lie::FailsReading(place));
    let outcome = write(&fake, &["--capacity-probe"]);
    assert_eq!(outcome.code, Some(5), "{outcome:?}");
    assert!(outcome.err.contains("nothing was written"), "{outcome:?}");
    assert_eq!(fake.memory().writes, 0);
}

#[test]
fn a_write_to_an_honest_stick_probes_it_first_and_says_so_in_the_plan() {
    if !root() {
        return;
    }
    let image = iso("grub2", &[]);
    let fake = Fake::new(CLAIM, Lie::Honest);
    let node = text(fake.node());
    let args = ["write", text(&image), node, "-y", "--allow-disk", node];
    let plan = ask(&[&args[..], &["--dry-run"]].concat());
    assert!(!plan.out.contains("probe"), "{}", plan.out);
    let plan = ask(&[&args[..], &["--dry-run", "--capacity-probe"]].concat());
    let places = Probe::of(Bytes(CLAIM)).unwrap().places.len();
    let said = format!("marks are written and taken back at {places} places");
    assert_eq!(plan.out.matches(&said).count(), 2, "{}", plan.out);
    assert!(plan.out.contains("steps      1. probe"), "{}", plan.out);
    assert_eq!(fake.memory().writes, 0);
    // What looks like a stick is probed without being asked for, unless that is not wanted.
    let by_default = |stick: bool, probe: Option<bool>| {
        let request = Request {
            image: image.clone(),
            target: fake.node().into(),
            allow_disk: Some(node.into()),
            probe,
            ..Request::default()
        };
        let target = target::look(&request, &System::real()).unwrap();
        let target = PlannedTarget { stick, ..target };
        let image = Image::open(&image).unwrap();
        let plan = build::build(&request, &image, target, &Host::look()).unwrap();
        plan.probe.is_some()
    };
    assert!(by_default(true, None) && !by_default(false, None));
    assert!(by_default(false, Some(true)) && !by_default(true, Some(false)));
    let outcome = ask(&[&args[..], &["--capacity-probe", "--json"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let events = outcome.events();
    assert_eq!(events[0]["steps"][0]["work"], "probe");
    let last = &events.last().unwrap()["report"];
    assert_eq!(last["exit"], "verified", "{last}");
    assert_eq!(last["capacity"]["finding"], "genuine", "{last}");
    let size = fs::metadata(&image).unwrap().len();
    let len = usize::try_from(size).unwrap();
    assert!(peek(fake.node(), 0, len) == fs::read(&image).unwrap());
    // Nothing else is changed by it: the image alone was written, and the record.
    let region = &events[0]["plan"]["record"]["region"];
    let from = region["at"].as_u64().unwrap();
    let record = from..from + region["len"].as_u64().unwrap();
    let changed = fake.memory().changed();
    let meant = |at: &u64| *at < size || record.contains(at);
    assert!(changed.iter().all(meant), "{changed:?}");
}

#[test]
fn what_may_not_be_written_is_not_probed() {
    let bench = Bench::new();
    let file = bench.used("stick.img", 64);
    let outcome = ask(&["probe", text(&file), "--yes"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.err.contains("give a disk"), "{}", outcome.err);
    let image = iso("grub2", &[]);
    let outcome = ask(&["write", text(&image), text(&file), "-n", "--capacity-probe"]);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    if !root() {
        return;
    }
    let fake = Fake::new(CLAIM, Lie::Honest);
    let node = text(fake.node());
    let refused = |args: &[&str], why: &str| {
        let outcome = ask(&[&["probe", node], args].concat());
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        assert!(outcome.err.contains(why), "{}", outcome.err);
    };
    refused(&["--yes"], "--allow-disk");
    refused(&["--allow-disk", node], "add --yes");
    let user = ["--reuid=1000", "--regid=1000", "--clear-groups"];
    let program = env!("CARGO_BIN_EXE_livestick");
    let args = ["probe", node, "--yes", "--allow-disk", node];
    let outcome = output("setpriv", &[&user[..], &[program], &args].concat());
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(3), "{said}");
    assert!(said.contains("sudo livestick probe"), "{said}");
    assert_eq!(fake.memory().writes, 0);
    run("mkfs.ext4", &["-q", node]);
    let mut bench = Bench::new();
    bench.mount(&[], node);
    let before = fake.memory().writes;
    refused(&["--yes", "--allow-disk", node], "mounted");
    refused(&["--yes", "--allow-disk", node, "--full"], "mounted");
    drop(bench);
    assert!(fake.memory().writes < before + 100);
    assert_eq!(probe(&fake, &[]).code, Some(0));
}
