// SPDX-License-Identifier: MIT OR Apache-2.0
//! A medium that holds something else than what was written to it, or none at all.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use std::{fs, thread};

use livestick::apply;
use livestick::command::plan;
use livestick::event::{Event, Work};
use livestick::host::Host;
use livestick::plan::Plan;
use livestick::report::{Exit, Failure, Report, StickState, Verdict};
use livestick::request::{FsKind, Request, Size, Wanted};
use livestick::units::Bytes;
use serde_json::Value;

use crate::failing::write_to;
use crate::support::bench::{Bench, ask, peek, poke, sha256};
use crate::support::lab::iso;
use crate::support::program::{root, run, text};
use crate::{BLANK, judge_blank, judge_complete};

/// A plan for `target` with an overlay that takes no time to make.
pub fn planned(image: &Path, target: &Path) -> (Plan, Host) {
    let host = Host::look();
    let wanted = |size| {
        Some(Wanted {
            size,
            fs: Some(FsKind::Ext4),
        })
    };
    let request = Request {
        image: image.into(),
        target: target.into(),
        allow_disk: Some(text(target).into()),
        overlay: wanted(Size::Fixed(Bytes::mib(16))),
        home: wanted(Size::Rest),
        ..Request::default()
    };
    (plan(&request, &host).unwrap(), host)
}

pub fn applied(plan: &Plan, host: &Host, mut seen: impl FnMut(&Event)) -> Result<Report, Failure> {
    let never = AtomicBool::new(false);
    apply::run(plan, host, &never, &mut |event| seen(&event))
}

/// When the medium changes what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After the last write of everything but the first MiB.
    BeforeReadBack,
    /// After the very last write.
    AfterTheHead,
}

/// Writes through `plan` to `target`; the storage (`backing`) inverts the byte at `at` behind the writer's back.
fn flipped(
    plan: &Plan,
    host: &Host,
    backing: &Path,
    at: u64,
    when: When,
) -> Result<Report, Failure> {
    let mut work = Work::Blank;
    let mut last = Bytes::ZERO;
    let mut flips = 0;
    let total: Bytes = plan.steps().iter().map(|step| step.bytes).sum();
    let head: Bytes = plan.steps().last().unwrap().bytes;
    // The first MiB is counted twice in its step: written, and read back.
    let written = total.0 - head.0 / 2;
    let mut flip = || {
        let was = peek(backing, at, 1)[0];
        poke(backing, at, &[!was]);
        File::open(backing).unwrap().sync_all().unwrap();
        flips += 1;
    };
    let ended = applied(plan, host, |event| match event {
        Event::Started { step } => {
            work = plan.steps()[*step].work;
            if work == Work::ReadBack && when == When::BeforeReadBack {
                flip();
            }
        }
        Event::Progress { done, .. } => {
            let complete = done.0 >= written && last.0 < written;
            if work == Work::FirstMib && complete && when == When::AfterTheHead {
                flip();
            }
            last = *done;
        }
        _ => {}
    });
    assert_eq!(flips, 1, "the byte was not changed at the right moment");
    ended
}

/// Places of a stick where a wrong byte has to be found, by name.
fn places(plan: &Plan, image: &Path) -> Vec<(&'static str, u64, When)> {
    use When::{AfterTheHead, BeforeReadBack};
    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(image)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let esp = partitions
        .iter()
        .find(|p| p["type"].as_str().unwrap().starts_with("C12A7328"));
    let esp = esp.unwrap();
    let (start, sectors) = (
        esp["start"].as_u64().unwrap(),
        esp["size"].as_u64().unwrap(),
    );
    let size = fs::metadata(image).unwrap().len();
    let patched = |from: u64, to: u64| {
        let inside = plan
            .patches
            .iter()
            .filter(|p| p.at.0 >= from && p.at.0 < to);
        // The longest is the text of the menu, not its length or its clusters.
        inside
            .max_by_key(|patch| patch.extent().len)
            .unwrap_or_else(|| panic!("no change between {from} and {to}"))
            .at
            .0
    };
    let esp = (start * 512, (start + sectors) * 512);
    let mut places = vec![
        ("the boot code", 0, AfterTheHead),
        ("the signature of the MBR", 510, AfterTheHead),
        ("the head of the GPT", 512 + 56, AfterTheHead),
        ("the volume descriptor", 32768 + 40, AfterTheHead),
        (
            "the last byte of the first MiB",
            (1 << 20) - 1,
            AfterTheHead,
        ),
        (
            "the first byte behind the first MiB",
            1 << 20,
            BeforeReadBack,
        ),
        ("the ISO area", 3 << 20, BeforeReadBack),
        (
            "a changed menu in the ISO area",
            patched(1 << 20, esp.0),
            BeforeReadBack,
        ),
        ("the system partition", esp.1 - 512, BeforeReadBack),
        (
            "a changed menu in the system partition",
            patched(esp.0, esp.1),
            BeforeReadBack,
        ),
        ("the last byte of the image", size - 1, BeforeReadBack),
    ];
    for behind in &plan.behind {
        places.push(("the backup GPT", behind.at.0, BeforeReadBack));
        let end = behind.at.0 + behind.bytes.len() as u64;
        places.push(("the end of the backup GPT", end - 1, BeforeReadBack));
    }
    places
}

fn judge_flips(image: &Path, target: &Path, backing: &Path) {
    let (first, _) = planned(image, target);
    assert!(!first.behind.is_empty());
    for (place, at, when) in places(&first, image) {
        let (plan, host) = planned(image, target);
        let failure = flipped(&plan, &host, backing, at, when);
        let failure = failure.map(|report| report.to_string()).expect_err(place);
        assert_eq!(failure.exit, Exit::NotVerified, "{place}: {failure}");
        assert_eq!(failure.state, StickState::Blank, "{place}: {failure}");
        assert!(!failure.message.contains("verified"), "{place}: {failure}");
        judge_blank(backing);
    }
    // And with nothing changed it is complete.
    let (plan, host) = planned(image, target);
    let report = applied(&plan, &host, |_| {}).unwrap();
    assert_eq!(
        (report.exit, report.state),
        (Exit::Verified, StickState::Complete)
    );
}

#[test]
fn a_wrong_byte_anywhere_in_a_stick_image_is_found() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    judge_flips(&iso("grub2", &[]), &target, &target);
}

#[test]
fn a_wrong_byte_anywhere_on_a_disk_is_found() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let backing = bench.used("disk.img", 64);
    let disk = bench.attach(&backing, &["--direct-io=on"]);
    judge_flips(&iso("grub2", &[]), &disk, &backing);
}

/// Waits until the storage holds `good` at `at`, then inverts it, until told to give up.
fn saboteur(
    backing: &Path,
    at: u64,
    good: Vec<u8>,
    give_up: &Arc<AtomicBool>,
) -> thread::JoinHandle<bool> {
    let (backing, give_up) = (backing.to_owned(), Arc::clone(give_up));
    thread::spawn(move || {
        while !give_up.load(Ordering::Relaxed) {
            if peek(&backing, at, good.len()) == good {
                let bad: Vec<u8> = good.iter().map(|byte| !byte).collect();
                poke(&backing, at, &bad);
                File::open(&backing).unwrap().sync_all().unwrap();
                return true;
            }
            sleep(Duration::from_micros(200));
        }
        false
    })
}

#[test]
fn a_medium_that_loses_what_was_written_is_caught_though_caches_hold_it() {
    if !root() {
        return;
    }
    let image = iso("grub2", &[]);
    let at = 2 << 20;
    let good = peek(&image, at, 4096);
    assert!(good.iter().any(|byte| *byte != good[0]));
    for held in [false, true] {
        let mut bench = Bench::new();
        let backing = bench.used("disk.img", 64);
        let disk = bench.attach(&backing, &["--direct-io=on"]);
        // Somebody has the disk open and reads it all the time: its page cache never goes away.
        let give_up = Arc::new(AtomicBool::new(false));
        let holder = held.then(|| {
            let (file, stop) = (File::open(&disk).unwrap(), Arc::clone(&give_up));
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while !stop.load(Ordering::Relaxed) {
                    let _ = file.read_at(&mut buffer, at);
                    sleep(Duration::from_millis(1));
                }
            })
        });
        let saboteur = saboteur(&backing, at, good.clone(), &give_up);
        // Filesystems are made between writing and reading back: there is time.
        let more = ["--overlay-size", "16MiB", "--overlay-fs", "ext4"];
        let outcome = write_to(&image, &disk, &more);
        give_up.store(true, Ordering::Relaxed);
        assert!(saboteur.join().unwrap(), "the medium was never changed");
        if let Some(holder) = holder {
            holder.join().unwrap();
        }
        assert_eq!(outcome.code, Some(6), "held {held}: {outcome:?}");
        assert!(outcome.err.contains(BLANK), "{}", outcome.err);
        assert!(!outcome.out.contains("verified"), "{}", outcome.out);
        judge_blank(&backing);
    }
}

#[test]
fn what_cannot_be_proven_is_never_called_verified() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    // A filesystem in memory: there is no medium to read from, whether or not it takes O_DIRECT.
    let memory = bench.mount(&["-t", "tmpfs"], "none");
    let image = iso("grub2", &[]);
    let more = ["--overlay-size", "16MiB", "--overlay-fs", "ext4"];
    for (target, more) in [("plain.img", &[][..]), ("overlay.img", &more)] {
        let target = memory.join(target);
        let args = [
            "write",
            text(&image),
            text(&target),
            "-y",
            "--size",
            "64MiB",
        ];
        let outcome = ask(&[&args, more].concat());
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let words = outcome.out.replace("not verified", "");
        assert!(words.len() < outcome.out.len(), "{}", outcome.out);
        for word in ["verified", "identical", "past the caches"] {
            assert!(!words.contains(word), "'{word}' in: {}", outcome.out);
        }
        if more.is_empty() {
            let size = fs::metadata(&image).unwrap().len();
            assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
        }
        let again = ["write", text(&image), text(&target), "-y", "--json"];
        let outcome = ask(&[&again, more].concat());
        assert_eq!(outcome.code, Some(6), "{outcome:?}");
        let done = outcome.events().pop().unwrap();
        assert_eq!(done["event"], "done");
        assert_eq!(done["report"]["exit"], "not-verified");
        assert_eq!(done["report"]["state"], "complete");
        assert_eq!(done["report"]["read_back"]["verdict"], "not-verified");
    }
    // The same through a disk that is kept in memory is proven as far as the disk goes.
    let file = memory.join("disk.img");
    File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let disk = bench.attach(&file, &[]);
    let outcome = write_to(&image, &disk, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_report_of_a_verified_stick_has_the_digest_that_others_compute() {
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let image = iso("grub2", &[]);
    let (plan, host) = planned(&image, &target);
    let report = applied(&plan, &host, |_| {}).unwrap();
    assert!(matches!(
        report.read_back.as_ref().unwrap().verdict,
        Verdict::Verified { .. }
    ));
    let size = fs::metadata(&image).unwrap().len();
    let back = report.read_back.unwrap();
    let written = report.sha256.unwrap();
    assert_eq!(written, sha256(&image, None));
    assert_eq!(back.restored, written);
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");
    let tree = run(reader, &["--tree", text(&target), &size.to_string()]);
    assert_eq!(back.tree, tree.trim());
    run(reader, &["--check", text(&target)]);
    judge_complete(&target);
}
