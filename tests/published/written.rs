// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of it when a stick is written.

use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use livestick::apply;
use livestick::command::plan;
use livestick::event::{Event, Work};
use livestick::host::Host;
use livestick::report::{Exit, StickState};
use livestick::request::Request;
use livestick::units::Bytes;

use super::signer::Signer;
use super::*;

/// The report, or the failure, of a stick of which nothing else is of interest here.
fn write(download: &Download, more: &[&str]) -> (Outcome, PathBuf) {
    let target = download.bench.path("made.img");
    let args = ["write", text(&download.image), text(&target)];
    let how = ["--size", "128MiB", "--yes"];
    (ask(&[&args, &how, more].concat()), target)
}

#[test]
fn a_stick_is_written_when_the_image_is_the_published_one() {
    // A name that takes escapes, in a directory that would.
    let download = Download::named("a b\nc/live \\ (1)\n x.iso");
    let list = download.list("sha256sum", &["--tag"]);
    assert!(list.starts_with('\\'));
    let signer = Signer::new("Lab <lab@example.org>");
    let keyring = signer.keyring(&[]);
    let file = download.put("Lab-CHECKSUM", signer.clear(&list, &[]));
    let args = ["--keyring", text(&keyring)];
    let (outcome, target) = write(&download, &[&args[..], &["--json"]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let events = outcome.events();
    let steps = events[0]["steps"].as_array().unwrap();
    assert_eq!(steps[0]["work"], "check-image");
    assert_eq!(steps[1]["work"], "blank");
    let report = &events.last().unwrap()["report"];
    assert_eq!(report["published"], events[0]["plan"]["image"]["published"]);
    assert_eq!(report["published"]["state"], "listed");
    assert_eq!(report["published"]["file"], text(&file));
    assert_eq!(report["published"]["signature"]["verdict"], "good");
    assert_eq!(report["published"]["sums"][0]["value"], report["sha256"]);
    let size = fs::metadata(&download.image).unwrap().len();
    assert_eq!(sha256(&target, Some(size)), download.sum("sha256sum"));

    // In words, in the plan and in the report.
    let said = format!(
        "digest     published by Lab (key {}, good signature), in Lab-CHECKSUM",
        signer.print
    );
    fs::remove_file(&target).unwrap();
    let (dry, _) = write(&download, &[&args[..], &["--dry-run"]].concat());
    assert!(dry.out.contains(&said), "{dry:?}");
    let sum = format!("\n           sha256:{}\n", download.sum("sha256sum"));
    assert!(dry.out.contains(&sum), "{dry:?}");
    assert!(
        dry.out
            .contains("1. compare the image with its published digest")
    );
    let (outcome, _) = write(&download, &args);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.out.contains(&said), "{outcome:?}");
}

#[test]
fn a_stick_is_written_where_nothing_was_published() {
    let download = Download::new();
    let (outcome, _) = write(&download, &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let said = "digest     no published digest found\n";
    assert!(outcome.out.contains(said), "{outcome:?}");
    // The image is read no more often than it was.
    assert!(!outcome.out.contains("compare the image"), "{outcome:?}");
}

#[test]
fn a_file_that_would_be_made_is_not_when_the_image_does_not_match() {
    let download = Download::new();
    let sum = download.sum("sha512sum");
    let other = format!("sha512:{}", wrong(&sum));
    let (outcome, target) = write(&download, &["--checksum", &other, "--json"]);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    assert!(!target.exists());
    let failed = outcome.events().pop().unwrap();
    assert_eq!(failed["failure"]["exit"], "damaged");
    assert_eq!(failed["failure"]["state"], "untouched");
}

/// An image that is another one by the time it is copied, and hides it: the stick is left blank.
#[test]
fn the_image_that_is_copied_is_the_one_that_was_compared() {
    let bench = Bench::new();
    let image = bench.copy(&iso("grub2", &[]), "live.iso");
    let download = Download { bench, image };
    download.put("SHA256SUMS", download.list("sha256sum", &[]));
    let target = download.bench.path("stick.img");
    let host = Host::look();
    let request = Request {
        image: download.image.clone(),
        target: target.clone(),
        create: Some(Bytes::mib(128)),
        ..Request::default()
    };
    let plan = plan(&request, &host).unwrap();
    let never = AtomicBool::new(false);
    let mut works = Vec::new();
    let ended = apply::run(&plan, &host, &never, &mut |event| match event {
        Event::Planned { steps, .. } => works = steps.iter().map(|step| step.work).collect(),
        Event::Finished { step } if works[step] == Work::CheckImage => {
            let file = fs::File::options()
                .write(true)
                .open(&download.image)
                .unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(&[0x55], 3 << 20).unwrap();
            file.set_modified(written).unwrap();
        }
        _ => {}
    });
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit, Exit::WriteFailed);
    assert_eq!(failure.state, StickState::Blank);
    let words = "changed after it was compared";
    assert!(failure.message.contains(words), "{failure}");
}
