// SPDX-License-Identifier: MIT OR Apache-2.0
//! Media that mix things up, lose them, or cannot be proven to have been read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::stick::{Stick, verify};
use crate::support::bench::{peek, poke};
use crate::support::device::{Loop, Mounted};
use crate::support::fake::{Fake, Lie};
use crate::support::program::{root, run, text};

const MIB: u64 = 1 << 20;

/// A stick whose chunks all differ from each other where it matters.
fn random() -> Stick {
    Stick::of("grub2", &["--size", "32"], &[])
}

#[test]
fn chunks_at_each_others_places_are_told_as_such() {
    let stick = random();
    let first = stick.file("/LiveOS/squashfs.img").next_multiple_of(MIB);
    let (a, b) = (first, first + 7 * MIB);
    let len = usize::try_from(MIB).unwrap();
    let at_b = peek(&stick.path, b, len);
    let at_a = poke(&stick.path, a, &at_b);
    poke(&stick.path, b, &at_a);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.cause() == "swapped");
    verified.must(verified.damage().len() == 2 && verified.names("LiveOS/squashfs.img"));
    for (one, belongs) in verified.damage().iter().zip([b, a]) {
        verified.must(one["kind"] == "elsewhere" && one["belongs"] == belongs);
    }
    let repaired = stick.repair(&[]);
    repaired.must(repaired.code == Some(0));
    assert!(stick.is_pristine());
}

#[test]
fn lost_chunks_are_told_by_kind_and_the_ranges_are_exact_with_the_image() {
    let stick = random();
    let first = stick.file("/LiveOS/squashfs.img").next_multiple_of(MIB);
    let len = usize::try_from(MIB).unwrap();
    poke(&stick.path, first, &vec![0; len]);
    poke(&stick.path, first + 4 * MIB, &vec![0xFF; len]);
    poke(&stick.path, first + 8 * MIB + 4096, &[0xFF; 4096]);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.cause() == "damaged");
    let kinds: Vec<_> = verified
        .damage()
        .iter()
        .map(|one| one["kind"].clone())
        .collect();
    assert_eq!(kinds, ["zeros", "ones", "other"]);
    let exact = stick.verify(&[text(&stick.image)]);
    let last = exact.damage().last().unwrap();
    exact.must(last["kind"] == "ones" && last["exact"] == true);
    let at = last["extent"]["at"].as_u64().unwrap();
    let end = at + last["extent"]["len"].as_u64().unwrap();
    let hole = first + 8 * MIB + 4096;
    assert!(
        at >= hole && end <= hole + 4096 && end - at > 4000,
        "{at} to {end}"
    );
}

#[test]
fn a_stick_that_wraps_around_is_told_by_what_it_holds() {
    let stick = random();
    let first = stick.file("/LiveOS/squashfs.img").next_multiple_of(MIB);
    let len = usize::try_from(MIB).unwrap();
    for i in 0..5 {
        let later = peek(&stick.path, first + (i + 9) * MIB, len);
        poke(&stick.path, first + i * MIB, &later);
    }
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.cause() == "smaller-than-claimed");
    let repaired = stick.repair(&[]);
    assert_eq!(repaired.code, Some(3));
    assert!(repaired.failure().contains("smaller than it claims"));
}

#[test]
fn a_stick_that_drops_its_end_is_told_by_what_is_missing() {
    let stick = random();
    let from = 12 * MIB;
    let len = usize::try_from(stick.image_size() - from).unwrap();
    poke(&stick.path, from, &vec![0; len]);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.cause() == "smaller-than-claimed");
    let says = verified.report["diagnosis"]["says"].as_str().unwrap();
    assert!(says.contains("12 582 912"), "{says}");
    // A file that was cut has less room than was written.
    stick.restore();
    File::options()
        .write(true)
        .open(&stick.path)
        .unwrap()
        .set_len(20 * MIB)
        .unwrap();
    let cut = stick.verify(&[]);
    assert_eq!(cut.code, Some(6), "{:#}", cut.report);
}

#[test]
fn a_medium_that_changes_is_caught_though_caches_hold_what_was_there() {
    if !root() {
        return;
    }
    let mut stick = Stick::new("grub2", &[]);
    let (path, at) = (stick.path.clone(), 5 * MIB);
    let disk = stick.bench.attach(&path, &["--direct-io=on"]);
    let sound = verify(&disk, &[]);
    sound.must(sound.code == Some(0));
    assert!(
        sound.link("image")["how"]
            .as_str()
            .unwrap()
            .contains("from the disk")
    );
    // Somebody has the disk open and reads it all the time: its page cache never goes away.
    let stop = Arc::new(AtomicBool::new(false));
    let (file, done) = (File::open(&disk).unwrap(), Arc::clone(&stop));
    let holder = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while !done.load(Ordering::Relaxed) {
            file.read_exact_at(&mut buffer, at).unwrap();
            sleep(Duration::from_millis(1));
        }
    });
    sleep(Duration::from_millis(50));
    let was = poke(&path, at + 7, &[0])[0];
    poke(&path, at + 7, &[!was]);
    File::open(&path).unwrap().sync_all().unwrap();
    assert_eq!(
        peek(&disk, at + 7, 1),
        [was],
        "the cache does not hold what was there"
    );
    let verified = verify(&disk, &[]);
    stop.store(true, Ordering::Relaxed);
    holder.join().unwrap();
    verified.must(verified.code == Some(6) && verified.holds("image") == "broken");
}

#[test]
fn what_cannot_be_proven_is_never_called_verified() {
    if !root() {
        return;
    }
    let mut stick = Stick::persistent("grub2");
    let memory = stick.bench.mount(&["-t", "tmpfs"], "none");
    let copy = memory.join("stick.img");
    fs::copy(&stick.path, &copy).unwrap();
    let verified = verify(&copy, &[]);
    verified.must(verified.code == Some(6) && verified.cause() == "unproven");
    for link in ["image", "record", "boot files", "partition table"] {
        verified.must(verified.holds(link) == "unproven");
    }
    let outcome = crate::support::bench::ask(&["verify", text(&copy)]);
    assert!(!outcome.out.contains("verified"), "{}", outcome.out);
    // A loop device that reads its file through the page cache.
    let path = stick.path.clone();
    let disk = stick.bench.attach(&path, &["--direct-io=off"]);
    let verified = verify(&disk, &[]);
    verified.must(verified.code == Some(6) && verified.holds("image") == "unproven");
}

#[test]
fn a_mounted_stick_is_verified_but_for_what_is_in_use() {
    if !root() {
        return;
    }
    let mut stick = Stick::persistent("grub2");
    let path = stick.path.clone();
    let disk = stick.bench.attach(&path, &["--direct-io=on"]);
    // Partition nodes are not to be had everywhere, so a loop device on the disk stands in for one.
    let (start, len) = stick.part("home");
    let window = Loop::window(&disk, start, len);
    let mounted = Mounted::new(text(&window.node), &[]);
    let verified = verify(&disk, &[]);
    verified.must(verified.code == Some(0) && verified.holds("image") == "proven");
    verified.must(verified.holds("home") == "not-claimed");
    // The file behind it is in use as a whole.
    let verified = verify(&path, &[]);
    verified.must(verified.code == Some(0) && verified.holds("overlay") == "not-claimed");
    let said = verified.link("overlay")["result"].as_str().unwrap();
    assert!(said.contains("in use as loop"), "{said}");
    // It is read while it is mounted, and never written to.
    stick.flip(5 * MIB);
    let args = [
        "repair",
        text(&disk),
        text(&stick.image),
        "-y",
        "--json",
        "--allow-disk",
        text(&disk),
    ];
    let refused = crate::support::bench::ask(&args);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    drop(mounted);
}

#[test]
fn a_disk_is_repaired_as_a_file_is() {
    if !root() {
        return;
    }
    let mut stick = Stick::persistent("grub2");
    let path = stick.path.clone();
    let disk = stick.bench.attach(&path, &["--direct-io=on"]);
    stick.flip(600);
    stick.flip(5 * MIB);
    let args = ["repair", text(&disk), text(&stick.image), "-y", "--json"];
    let refused = crate::support::bench::ask(&args);
    assert_eq!(
        refused.code,
        Some(3),
        "a loop device is no stick: {refused:?}"
    );
    let allowed = [&args[..], &["--allow-disk", text(&disk)]].concat();
    let repaired = crate::stick::Verified::of(crate::support::bench::ask(&allowed));
    repaired.must(repaired.code == Some(0) && repaired.cause() == "cured");
    repaired.must(repaired.report["state"] == "complete");
    assert!(stick.is_pristine());
}

/// The same stick in memory that can be damaged.
fn made(stick: &Stick) -> Fake {
    let fake = Fake::new(64 * MIB, Lie::Honest);
    let (from, to) = (
        format!("if={}", text(&stick.path)),
        format!("of={}", text(fake.node())),
    );
    let how = ["bs=1M", "oflag=direct", "conv=fsync", "status=none"];
    run("dd", &[&[from.as_str(), to.as_str()], &how[..]].concat());
    fake
}

#[test]
fn a_stick_that_a_repair_does_not_cure_is_to_be_replaced() {
    if !root() {
        return;
    }
    let stick = random();
    let fake = made(&stick);
    let node = text(fake.node());
    let image = text(&stick.image);
    let args = ["repair", node, image, "-y", "--json", "--allow-disk", node];
    let repair = || crate::stick::Verified::of(crate::support::bench::ask(&args));
    let first = stick.file("/LiveOS/squashfs.img").next_multiple_of(MIB);
    let (flipped, other) = (first + 6 * MIB, first + 2 * MIB);
    // What is written changes nothing; or it changes something else, far away, that was right when it was looked at.
    for (lie, damaged, said) in [
        (
            Lie::Keeps(flipped),
            flipped,
            "1 of 1 range written again in vain",
        ),
        (
            Lie::Disturbs(flipped, other),
            other,
            "1 other range went wrong meanwhile",
        ),
    ] {
        fake.memory().flip(flipped);
        fake.memory().lie = lie;
        let repaired = repair();
        repaired.must(repaired.code == Some(6) && repaired.cause() == "incurable");
        repaired.must(repaired.holds("image") == "broken");
        let verdict = &repaired.report["diagnosis"];
        assert!(
            verdict["says"].as_str().unwrap().contains(said),
            "{verdict}"
        );
        assert!(verdict["next"].as_str().unwrap().contains("replace"));
        let [damage] = repaired.damage() else {
            panic!("{:#}", repaired.report)
        };
        repaired.must(damage["extent"]["at"] == damaged / MIB * MIB);
        fake.memory().lie = Lie::Honest;
        let cured = repair();
        cured.must(cured.code == Some(0) && cured.cause() == "cured");
        let says = cured.report["diagnosis"]["says"].as_str().unwrap();
        assert!(says.contains("read once more"), "{says}");
    }
}

#[test]
fn what_is_not_proven_is_not_called_cured() {
    if !root() {
        return;
    }
    let mut stick = random();
    let memory = stick.bench.mount(&["-t", "tmpfs"], "none");
    stick.flip(5 * MIB);
    let copy = memory.join("stick.img");
    fs::copy(&stick.path, &copy).unwrap();
    let args = ["repair", text(&copy), text(&stick.image), "-y", "--json"];
    let repaired = crate::stick::Verified::of(crate::support::bench::ask(&args));
    repaired.must(repaired.code == Some(6) && repaired.cause() == "unproven");
    let says = repaired.report["diagnosis"]["says"].as_str().unwrap();
    assert!(says.starts_with("not proven to be cured"), "{says}");
    let (copy, pristine) = (fs::read(&copy).unwrap(), fs::read(&stick.pristine).unwrap());
    assert!(copy == pristine);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_still_checked() {
    if !root() {
        return;
    }
    let stick = random();
    let first = stick.file("/LiveOS/squashfs.img").next_multiple_of(MIB);
    let (bad, flipped) = (first + 2 * MIB + 8192, first + 6 * MIB + 5);
    let fake = made(&stick);
    let sound = verify(fake.node(), &[]);
    sound.must(sound.code == Some(0));
    fake.memory().flip(flipped);
    fake.memory().lie = Lie::FailsReading(bad);
    for more in [&[][..], &[text(&stick.image)]] {
        let verified = verify(fake.node(), more);
        verified.must(verified.code == Some(6) && verified.cause() == "medium-failing");
        verified.must(verified.damage().len() == 2 && verified.names("LiveOS/squashfs.img"));
        let [gone, other] = verified.damage() else {
            panic!("{:#}", verified.report)
        };
        verified.must(gone["kind"] == "unreadable" && gone["again"] == "unreadable");
        // The piece around the one sector, and no more.
        let at = gone["extent"]["at"].as_u64().unwrap();
        let len = gone["extent"]["len"].as_u64().unwrap();
        verified.must(len <= 4096 && at <= bad && bad < at + len);
        let chunk = other["extent"]["at"].as_u64().unwrap();
        verified.must(chunk / MIB == flipped / MIB && other["again"] == "same");
    }
    // Nor is an image made of it.
    let out = stick.bench.path("out.iso");
    let args = ["extract", text(fake.node()), text(&out)];
    let outcome = crate::support::bench::ask(&args);
    assert_eq!(outcome.code, Some(6), "{outcome:?}");
    assert!(!out.exists());
}
