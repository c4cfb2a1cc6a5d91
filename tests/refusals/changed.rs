// SPDX-License-Identifier: MIT OR Apache-2.0
//! What changed between the plan and the write.

use std::fs;
use std::path::Path;

use livestick::apply;
use livestick::command::plan;
use livestick::host::Host;
use livestick::plan::Plan;
use livestick::report::{Exit, Failure, StickState};
use livestick::request::{Request, Size, Wanted};
use livestick::units::Bytes;

use crate::disks;
use crate::support::bench::{Bench, Print, poke};
use crate::support::lab::iso;
use crate::support::program::{output, root, run, text};

fn planned(image: &Path, target: &Path, more: impl FnOnce(&mut Request)) -> (Plan, Host) {
    let host = Host::look();
    let mut request = Request {
        image: image.into(),
        target: target.into(),
        allow_disk: Some(text(target).into()),
        ..Request::default()
    };
    more(&mut request);
    (plan(&request, &host).unwrap(), host)
}

fn applied(plan: &Plan, host: &Host) -> Failure {
    let cancel = std::sync::atomic::AtomicBool::new(false);
    apply::run(plan, host, &cancel, &mut |_| {}).unwrap_err()
}

#[test]
fn a_target_that_changed_since_the_plan_is_refused() {
    let bench = Bench::new();
    let image = iso("grub2", &[]);
    let target = bench.used("stick.img", 64);
    let overlay = |request: &mut Request| {
        request.overlay = Some(Wanted {
            size: Size::Rest,
            fs: Some(livestick::request::FsKind::Ext4),
        });
    };
    let refused = |plan: &Plan, host: &Host, words: &str| {
        let before = Print::of(&target);
        let failure = applied(plan, host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(Print::of(&target), before);
    };
    let (plan, host) = planned(&image, &target, overlay);
    fs::File::options()
        .write(true)
        .open(&target)
        .unwrap()
        .set_len(65 << 20)
        .unwrap();
    refused(&plan, &host, "size");
    let (plan, host) = planned(&image, &target, overlay);
    let other = bench.used("other.img", 65);
    fs::rename(other, &target).unwrap();
    refused(&plan, &host, "inode");
    let (plan, host) = planned(&image, &target, overlay);
    fs::remove_file(&target).unwrap();
    refused(&plan, &host, "looking at");
    assert!(!target.exists());
    // A file that was to be made is there now.
    let (plan, host) = planned(&image, &target, |request| {
        request.create = Some(Bytes::mib(64));
    });
    fs::write(&target, "precious").unwrap();
    refused(&plan, &host, "File exists");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_disk_that_changed_since_the_plan_is_refused() {
    if !root() {
        return;
    }
    let mut bench = Bench::new();
    let (image, disk) = disks::disk(&mut bench, &[]);
    let (plan, host) = planned(&image, &disk, |_| {});
    // Another medium behind the same name, of the same size.
    let other = bench.used("other.img", 64);
    run("losetup", &["-d", text(&disk)]);
    let failure = applied(&plan, &host);
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Refused, StickState::Untouched)
    );
    // Another test may have been given the number meanwhile.
    let again = output("losetup", &[text(&disk), text(&other)]);
    if again.status.success() {
        bench.undone_by("losetup", &["--detach", text(&disk)]);
        let before = Print::of(&other);
        let failure = applied(&plan, &host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(
            failure.message.contains("disk sequence number"),
            "{failure}"
        );
        assert_eq!(Print::of(&other), before);
        run("losetup", &["-d", text(&disk)]);
    }
    // Mounted meanwhile.
    let mut bench = Bench::new();
    let (_, disk) = disks::disk(&mut bench, &[]);
    let (plan, host) = planned(&image, &disk, |_| {});
    run("mkfs.ext4", &["-q", "-F", text(&disk)]);
    bench.mount(&[], text(&disk));
    let failure = applied(&plan, &host);
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Refused, StickState::Untouched)
    );
    assert!(failure.message.contains("is mounted at"), "{failure}");
}

#[test]
fn an_image_that_changed_since_the_plan_is_refused() {
    let bench = Bench::new();
    let image = bench.copy(&iso("grub2", &[]), "image.iso");
    let target = bench.used("stick.img", 64);
    let before = Print::of(&target);
    let at = fs::metadata(&image).unwrap().len() / 2;
    let changes: [&dyn Fn(); 4] = [
        &|| {
            poke(&image, at, b"!");
        },
        &|| {
            fs::File::options()
                .write(true)
                .open(&image)
                .unwrap()
                .set_len(at)
                .unwrap();
        },
        &|| {
            let new = bench.copy(&iso("grub2", &[]), "new.iso");
            fs::rename(new, &image).unwrap();
        },
        &|| fs::remove_file(&image).unwrap(),
    ];
    for change in changes {
        if fs::metadata(&image).unwrap().len() == at {
            fs::copy(iso("grub2", &[]), &image).unwrap();
        }
        let (plan, host) = planned(&image, &target, |_| {});
        change();
        let failure = applied(&plan, &host);
        assert_eq!(
            (failure.exit, failure.state),
            (Exit::Refused, StickState::Untouched)
        );
        assert!(failure.message.contains("image"), "{failure}");
        assert_eq!(Print::of(&target), before);
    }
}
