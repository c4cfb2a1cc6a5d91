// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of livecd-iso-to-disk's options, row by row: what a row claims is there, in the plan, on a stick that was
//! written, or in what is printed. A row without a test of its own does not get through the compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use livestick::boot::pause::Timeout;
use livestick::host::Host;
use livestick::livecd_iso_to_disk::rows::{Fate, Name, ROWS, Row, Takes};
use livestick::livecd_iso_to_disk::words::CommandLine;
use livestick::livecd_iso_to_disk::{Job, NAME};
use livestick::plan::Plan;
use livestick::plan::filesystem::Filesystem;
use livestick::plan::layout::Purpose;
use livestick::published::Published;
use livestick::refusal::Refusal;
use livestick::request::FsKind;
use livestick::units::Bytes;
use support::bench::{Bench, Outcome, Print, finish, peek, poke};
use support::lab::iso;
use support::program::{command, output, root, run, text};

/// Everything that opening an encrypted `/home` takes.
const ABLE: [&str; 2] = ["--cryptsetup", "generator program library module"];

/// A place to try rows in: a stick image file that held something, and the old name.
struct Place {
    bench: Bench,
    stick: PathBuf,
}

impl Place {
    fn new() -> Place {
        let bench = Bench::new();
        let stick = bench.used("stick.img", 700);
        symlink(env!("CARGO_BIN_EXE_livestick"), bench.path(NAME)).unwrap();
        Place { bench, stick }
    }

    /// Calls it with these words in front of an image and the stick. Nobody is there to be asked.
    fn call(&self, image: &Path, words: &[&str]) -> Outcome {
        self.call_on(image, &self.stick, words)
    }

    fn call_on(&self, image: &Path, target: &Path, words: &[&str]) -> Outcome {
        let mut program = command("setsid");
        program.arg("--wait").arg(self.bench.path(NAME)).args(words);
        program.args([image, target]).stdin(Stdio::null());
        finish(program)
    }

    /// The same, from the command line to the plan.
    fn planned(&self, image: &Path, words: &[&str]) -> Result<(Job, Plan), Refusal> {
        let last = [text(image), text(&self.stick)];
        let line = words.iter().chain(&last).map(OsString::from);
        let Ok(CommandLine::Stick {
            given,
            source,
            target,
        }) = CommandLine::read(line)
        else {
            panic!("{words:?} is no command line")
        };
        let job =
            Job::of(&given, &source, &target).unwrap_or_else(|no| panic!("{words:?}: {no:?}"));
        let plan = livestick::command::plan(&job.request, &Host::look())?;
        Ok((job, plan))
    }

    fn plan(&self, image: &Path, words: &[&str]) -> Plan {
        let planned = self.planned(image, words);
        planned.unwrap_or_else(|no| panic!("{words:?}: {no}")).1
    }
}

fn made(plan: &Plan, purpose: Purpose) -> Option<&Filesystem> {
    plan.filesystems.iter().find(|one| one.purpose == purpose)
}

/// A word that an option takes.
fn word(row: &Row) -> Option<&'static str> {
    match (row.name, row.takes) {
        (_, Takes::Nothing | Takes::Perhaps(..)) => None,
        (Name::Swap, _) => Some("512"),
        _ => Some("word"),
    }
}

#[test]
fn what_is_mapped_or_refused_is_printed_in_every_spelling() {
    let place = Place::new();
    let image = iso("grub2", &[]);
    let before = Print::of(&place.stick);
    let (mut mapped, mut refused) = (0, 0);
    for row in ROWS {
        for spelling in row.words {
            let words: Vec<&str> = [*spelling].into_iter().chain(word(row)).collect();
            let said = format!("{}: {}", row.word(), row.text);
            match row.fate {
                Fate::Mapped => {
                    // It stops at the question.
                    let outcome = place.call(&image, &words);
                    assert!(outcome.err.contains(&said), "{words:?}: {}", outcome.err);
                    assert!(outcome.err.contains("no terminal to ask on"));
                    mapped += 1;
                }
                Fate::Refused => {
                    // Neither force nor what else is given helps.
                    let words = [&["--format", "--force"], &words[..]].concat();
                    let outcome = place.call(&image, &words);
                    assert_eq!(outcome.code, Some(3), "{words:?}: {}", outcome.err);
                    assert!(outcome.err.contains(&said), "{words:?}: {}", outcome.err);
                    // The reason, and behind it the new way.
                    let two = ["; ", ": `"]
                        .iter()
                        .any(|between| row.text.contains(between));
                    assert!(two, "{said}");
                    assert!(Print::of(&place.stick) == before, "{words:?}");
                    refused += 1;
                }
                Fate::Honoured | Fate::New => {}
            }
        }
    }
    assert!(mapped > 5 && refused > 10, "{mapped} {refused}");
    assert!(Print::of(&place.stick) == before);
}

#[test]
fn every_row_has_the_effect_that_it_claims() {
    let place = Place::new();
    for row in ROWS {
        has_its_effect(row, &place);
    }
}

/// Looks for what a row claims. There is no other arm: a row without one is an error of the compiler.
#[allow(
    clippy::too_many_lines,
    reason = "an arm for each row, in the order of the table"
)]
fn has_its_effect(row: &Row, place: &Place) {
    let (grub, isolinux, able) = (iso("grub2", &[]), iso("isolinux", &[]), iso("grub2", &ABLE));
    let overlay = ["--overlay-size-mb", "64,ext4"];
    let home = [&overlay[..], &["--home-size-mb", "40,ext4"]].concat();
    let with = |more: &[&'static str]| [&home[..], more].concat();
    let none =
        |words: &[&str]| assert!(place.plan(&grub, words).filesystems.is_empty(), "{words:?}");
    match row.name {
        Name::Help => {
            for spelling in row.words {
                let outcome = place.call(&grub, &[spelling]);
                assert_eq!(outcome.code, Some(0), "{}", outcome.err);
                assert!(outcome.out.contains("Usage: livecd-iso-to-disk"));
            }
        }
        // That a disk takes it, and a partition means its disk: tests/livecd_iso_to_disk.rs.
        Name::Format => {
            for (word, kind) in [("4096,ext4", FsKind::Ext4), ("btrfs", FsKind::Btrfs)] {
                let words = ["--format", word, "--overlay-size-mb", "160"];
                let (job, plan) = place.planned(&grub, &words).unwrap();
                assert!(job.format);
                assert_eq!(made(&plan, Purpose::Overlay).unwrap().kind, kind);
                let sized = job
                    .said
                    .iter()
                    .any(|said| said.contains("sizes are of no use"));
                assert_eq!(sized, word.starts_with('4'), "{:?}", job.said);
            }
            let outcome = place.call(&grub, &["--format", "ext4"]);
            assert!(
                outcome.err.contains("no overlay is made"),
                "{}",
                outcome.err
            );
        }
        Name::Msdos => assert!(place.planned(&grub, &["--msdos"]).unwrap().0.format),
        Name::Efi => {
            let plan = place.plan(&isolinux, &["--efi"]);
            assert!(plan.boot.firmware.iter().any(|one| one == "UEFI"));
            for spelling in row.words {
                let outcome = place.call(&without_esp(&place.bench, &isolinux), &[spelling]);
                assert_eq!(outcome.code, Some(3), "{}", outcome.err);
                assert!(
                    outcome.err.contains("a stick that UEFI starts"),
                    "{}",
                    outcome.err
                );
            }
        }
        // The image's own stays, all of it.
        Name::NoEsp | Name::NoMac | Name::ResetMbr | Name::Compress => {
            let (job, plan) = place
                .planned(&iso("isolinux-mac", &[]), &[row.word()])
                .unwrap();
            assert!(plan.patches.is_empty() && plan.behind.is_empty());
            assert_eq!(job.said.is_empty(), row.fate == Fate::Honoured);
        }
        Name::NoVerify => {
            let published = |words: &[&str]| place.plan(&grub, words).image.published;
            assert_ne!(published(&[]), Published::NotAsked);
            assert_eq!(published(&["--noverify"]), Published::NotAsked);
        }
        Name::Force | Name::DeleteHome | Name::PassphraseFile => {
            // On a stick: `a_home_is_lost_only_where_that_was_said`.
            let outcome = place.call(&grub, &["--delete-home"]);
            assert!(
                outcome.err.contains("--delete-home: it counts"),
                "{}",
                outcome.err
            );
            assert!(outcome.err.contains("no terminal to ask on"));
        }
        Name::AllowDisk => allows(place, &grub),
        Name::Timeout => {
            let pause = place.plan(&isolinux, &["--timeout", "70"]).boot.pause;
            let seven = Some(Timeout::Tenths(70));
            assert_eq!((pause.grub, pause.isolinux), (seven, seven));
        }
        Name::TotalTimeout => {
            let pause = place.plan(&isolinux, &["--totaltimeout", "900"]).boot.pause;
            assert_eq!(pause.total, Some(900));
            let refused = place.planned(&grub, &["--totaltimeout", "900"]);
            assert!(
                refused
                    .unwrap_err()
                    .to_string()
                    .contains("no isolinux menu")
            );
        }
        Name::NoBootMsg => {
            let plan = place.plan(&isolinux, &["--nobootmsg"]);
            assert!(plan.boot.pause.no_message && !plan.boot.files.is_empty());
            let plan = place.plan(&grub, &["--nobootmsg"]);
            let note = "no message is shown before a menu";
            assert!(plan.notes.iter().any(|one| one.contains(note)), "{plan}");
            assert!(plan.patches.is_empty() && plan.boot.pause.is_none());
        }
        Name::NoMenu => {
            for words in [
                &["--nomenu"][..],
                &["--nomenu", "--timeout", "70"],
                &["--timeout", "70", "--nomenu"],
            ] {
                let (job, plan) = place.planned(&isolinux, words).unwrap();
                let (pause, now) = (plan.boot.pause, Some(Timeout::AtOnce));
                assert_eq!((pause.grub, pause.isolinux), (now, now), "{words:?}");
                let said = job.said.iter().any(|said| said.starts_with("--timeout: "));
                assert_eq!(said, words.len() > 1, "{:?}", job.said);
            }
        }
        Name::ExtraKernelArgs => {
            let plan = place.plan(&grub, &["--extra-kernel-args", "audit=0 quiet"]);
            assert_eq!(plan.boot.extra, ["audit=0", "quiet"]);
            assert!(plan.boot.files.iter().all(|file| file.entries > 0));
        }
        Name::OverlaySize | Name::Overlayfs => {
            // Where a sprout would be the default it is an overlay all the same.
            let image = iso("kiwi", &["--rootfs", "btrfs", "--size", "200"]);
            for more in [&[][..], &["--overlayfs"]] {
                let words = [more, &["--overlay-size-mb", "160"]].concat();
                let plan = place.plan(&image, &words);
                let overlay = made(&plan, Purpose::Overlay).unwrap();
                assert_eq!(overlay.extent.len, Bytes::mib(160));
                assert!(plan.sprout.is_none());
            }
            none(&["--overlayfs", "temp"]);
            let plan = place.plan(&grub, &overlay);
            assert_eq!(made(&plan, Purpose::Overlay).unwrap().kind, FsKind::Ext4);
            let (job, _) = place
                .planned(&grub, &["--overlay-size-mb", "160,vfat"])
                .unwrap();
            assert!(
                job.said
                    .iter()
                    .any(|said| said.contains("vfat is not made"))
            );
        }
        Name::NoOverlay => none(&["--no-overlay"]),
        Name::HomeSize | Name::UnencryptedHome => {
            let plan = place.plan(&grub, &with(&["--unencrypted-home"]));
            let home = made(&plan, Purpose::Home).unwrap();
            assert_eq!((home.extent.len, home.kind), (Bytes::mib(40), FsKind::Ext4));
            assert_eq!(home.encryption, None);
        }
        Name::CryptedHome => {
            for words in [home.clone(), with(&["--crypted-home"])] {
                let plan = place.plan(&able, &words);
                assert!(made(&plan, Purpose::Home).unwrap().encryption.is_some());
            }
            let refused = place.planned(&able, &["--home-size-mb", "40", "--crypted-home"]);
            assert!(refused.unwrap_err().to_string().contains("overlay"));
            let refused = place.planned(&grub, &with(&["--crypted-home"]));
            assert!(refused.unwrap_err().to_string().contains("the image lacks"));
        }
        // The old default is taken; every other folder is refused, as above.
        Name::LiveDir => none(&["--livedir", "LiveOS"]),
        Name::Label
        | Name::Multi
        | Name::SkipCopy
        | Name::Xo
        | Name::XoNoHome
        | Name::ResetOverlay
        | Name::CopyOverlay
        | Name::CopyHome
        | Name::Swap
        | Name::SkipCompress
        | Name::Updates
        | Name::Kickstart => assert_eq!(row.fate, Fate::Refused, "{row:?}"),
    }
}

/// An image whose table calls no partition one for UEFI.
fn without_esp(bench: &Bench, image: &Path) -> PathBuf {
    let copy = bench.copy(image, "no-esp.iso");
    for slot in 0..4 {
        let at = 446 + 16 * slot + 4;
        if peek(&copy, at, 1) == [0xEF] {
            poke(&copy, at, &[0x17]);
        }
    }
    copy
}

fn allows(place: &Place, image: &Path) {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let file = bench.used("disk.img", 256);
    let disk = bench.attach(&file, &[]);
    let before = Print::of(&file);
    let outcome = place.call_on(image, &disk, &["--format", "--force"]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.err);
    assert!(outcome.err.contains("--allow-disk"), "{}", outcome.err);
    let words = ["--format", "--allow-disk", text(&disk)];
    let outcome = place.call_on(image, &disk, &words);
    assert!(
        outcome.err.contains("no terminal to ask on"),
        "{}",
        outcome.err
    );
    assert!(Print::of(&file) == before);
}

/// Whether cryptsetup opens the home of a stick with this passphrase.
fn opens(place: &Place, secret: &Path) -> bool {
    let table = run("sfdisk", &["--json", text(&place.stick)]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let all = table["partitiontable"]["partitions"].as_array().unwrap();
    let home = all
        .iter()
        .find(|one| one["name"] == "livestick-home")
        .unwrap();
    let number = |key: &str| home[key].as_u64().unwrap() * 512;
    let len = usize::try_from(number("size")).unwrap();
    let part = place.bench.path("home");
    fs::write(&part, peek(&place.stick, number("start"), len)).unwrap();
    let how = ["open", "--test-passphrase", "--disable-locks", "--key-file"];
    let out = output(
        "cryptsetup",
        &[&how[..], &[text(secret), text(&part)]].concat(),
    );
    out.status.success()
}

#[test]
fn a_home_is_lost_only_where_that_was_said() {
    let place = Place::new();
    let (image, able) = (iso("grub2", &[]), iso("grub2", &ABLE));
    let secret = place.bench.path("secret");
    fs::write(&secret, "Sesame").unwrap();
    let overlay = ["--force", "--overlay-size-mb", "64,ext4"];
    let home = ["--home-size-mb", "40,ext4", "--home-passphrase-file"];
    let outcome = place.call(&able, &[&overlay, &home[..], &[text(&secret)]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    assert!(opens(&place, &secret));
    let refused = |words: &[&str], why: &str| {
        let before = Print::of(&place.stick);
        let outcome = place.call(&image, words);
        assert_eq!(outcome.code, Some(3), "{}", outcome.err);
        for why in [why, "--delete-home"] {
            assert!(outcome.err.contains(why), "{why}: {}", outcome.err);
        }
        assert!(Print::of(&place.stick) == before);
    };
    refused(&["--force"], "has a /home of 40.0 MiB");
    // A /home that is a part of an overlay is one, too.
    let outcome = place.call(&image, &[&overlay[..], &["--delete-home"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    refused(&["--force"], "has a /home in its overlay of 64.0 MiB");
    // What cannot be read is no "none": a torn record; and no record, but a table.
    let record = record_of(&place.stick);
    for copy in &record {
        poke(&place.stick, copy + 200, &[0x5A; 64]);
    }
    refused(&["--force"], "cannot be read");
    for copy in &record {
        poke(&place.stick, *copy, &[0; 4096]);
    }
    refused(&["--force"], "has a /home in its overlay of 64.0 MiB");
    // Without one, force is all it takes; and what is on the stick then is the image.
    let outcome = place.call(&image, &["--force", "--delete-home"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let outcome = place.call(&image, &["--force"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    let size = fs::metadata(&image).unwrap().len().to_string();
    run("cmp", &["-n", &size, text(&image), text(&place.stick)]);
}

/// Where the copies of a stick's record are.
fn record_of(stick: &Path) -> Vec<u64> {
    use livestick::read::Source;
    use livestick::record::place::{Search, find};
    let file = fs::File::open(stick).unwrap();
    let size = Bytes(file.metadata().unwrap().len());
    let Search::Found(found) = find(&Source::new(file, size), false, &mut |_| true) else {
        panic!("no record")
    };
    found.copies.iter().map(|copy| copy.at.0).collect()
}
