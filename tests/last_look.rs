// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens between the plan and the first write, and what a damaged image comes to: judged from outside, by what
//! is on the target afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use livestick::apply;
use livestick::command;
use livestick::host::Host;
use livestick::report::{Exit, Failure, StickState};
use livestick::request::{Request, Size, Wanted};
use livestick::units::{Bytes, MIB};

use support::device::Loop;
use support::lab::iso;
use support::program::{output, root, text};

/// A small live image of the test's own.
fn own(dir: &Path) -> PathBuf {
    let path = dir.join("image.iso");
    fs::copy(iso("grub2", &[]), &path).unwrap();
    path
}

/// Plans, lets `between` happen, and applies; it has to fail.
fn failing(request: &Request, between: impl FnOnce()) -> Failure {
    let host = Host::look();
    let plan = command::plan(request, &host).unwrap();
    between();
    let never = AtomicBool::new(false);
    apply::run(&plan, &host, &never, &mut |_| {}).unwrap_err()
}

#[test]
fn a_disk_that_came_into_use_after_the_plan_is_left_alone() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = own(dir.path());
    let disk = dir.path().join("disk");
    let random: Vec<u8> = (0..64 * MIB).map(|i| (i * i % 253) as u8).collect();
    fs::write(&disk, &random).unwrap();
    let stick = Loop::over(&disk);
    let request = Request {
        image,
        target: stick.node.clone(),
        allow_disk: Some(text(&stick.node).into()),
        ..Request::default()
    };
    // Nothing that an exclusive open would meet: another loop device on top.
    let mut above = None;
    let failure = failing(&request, || {
        above = Some(Loop::over(&stick.node));
    });
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.state, StickState::Untouched);
    let name = text(&above.as_ref().unwrap().node).trim_start_matches("/dev/");
    assert!(
        failure.message.contains(&format!("in use as {name}")),
        "{}",
        failure.message
    );
    drop(above);
    drop(stick);
    assert!(fs::read(&disk).unwrap() == random);
}

#[test]
fn a_damaged_image_gets_no_checksum_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let image = own(dir.path());
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    // The last byte of the kernel's first half: nothing a plan looks at.
    let bytes = fs::read(&image).unwrap();
    let at = bytes.len() / 2;
    file.write_at(&[bytes[at] ^ 1], at as u64).unwrap();
    let check = output("checkisomd5", &[text(&image)]).status;
    assert!(!check.success());
    let target = dir.path().join("stick.img");
    let mut request = Request {
        image,
        target: target.clone(),
        create: Some(Bytes::mib(512)),
        overlay: Some(Wanted {
            size: Size::Fixed(Bytes::mib(128)),
            fs: None,
        }),
        ..Request::default()
    };
    let failure = failing(&request, || {});
    assert_eq!(failure.exit, Exit::WriteFailed);
    assert_eq!(failure.state, StickState::Blank);
    assert!(failure.message.contains("damaged"), "{}", failure.message);
    let mut head = vec![1; 1 << 20];
    fs::File::open(&target)
        .unwrap()
        .read_exact_at(&mut head, 0)
        .unwrap();
    assert!(head.iter().all(|byte| *byte == 0));
    // As it was published it can still be had, with the check that fails.
    request.overlay = None;
    request.create = None;
    let host = Host::look();
    let plan = command::plan(&request, &host).unwrap();
    let report = apply::run(&plan, &host, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(report.exit, Exit::Verified);
    let check = output("checkisomd5", &[text(&target)]).status;
    assert!(!check.success());
}

#[test]
fn an_image_that_changed_after_the_plan_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = own(dir.path());
    let target = dir.path().join("stick.img");
    let request = Request {
        image: image.clone(),
        target: target.clone(),
        create: Some(Bytes::mib(64)),
        ..Request::default()
    };
    let failure = failing(&request, || {
        let file = fs::OpenOptions::new().append(true).open(&image).unwrap();
        file.set_len(fs::metadata(&image).unwrap().len() + 2048)
            .unwrap();
    });
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.state, StickState::Untouched);
    assert!(!target.exists());
}
