// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens between the plan and the first write, and what a damaged image comes to: judged from outside, by what
//! is on the target afterwards.

#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use livestick::apply;
use livestick::command;
use livestick::host::Host;
use livestick::report::{Exit, Failure, StickState};
use livestick::request::{Request, Size, Wanted};
use livestick::units::{Bytes, MIB};

/// A small live image.
fn iso(dir: &Path, layout: &str, options: &[&str]) -> PathBuf {
    let path = dir.join("image.iso");
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/small-iso");
    let made = Command::new(lab)
        .arg(layout)
        .arg(&path)
        .args(options)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    path
}

fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Plans, lets `between` happen, and applies; it has to fail.
fn failing(request: &Request, between: impl FnOnce()) -> Failure {
    let host = Host::look();
    let plan = command::plan(request, &host).unwrap();
    between();
    let never = AtomicBool::new(false);
    apply::run(&plan, &host, &never, &mut |_| {}).unwrap_err()
}

/// A loop device that goes away with this.
struct Loop(String);

impl Loop {
    fn over(path: &Path) -> Loop {
        let path = path.to_str().unwrap();
        Loop(run("losetup", &["--find", "--show", path]))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_disk_that_came_into_use_after_the_plan_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = iso(dir.path(), "grub2", &[]);
    let disk = dir.path().join("disk");
    let random: Vec<u8> = (0..64 * MIB).map(|i| (i * i % 253) as u8).collect();
    fs::write(&disk, &random).unwrap();
    let stick = Loop::over(&disk);
    let request = Request {
        image,
        target: stick.0.clone().into(),
        allow_disk: Some(stick.0.clone()),
        ..Request::default()
    };
    // Nothing that an exclusive open would meet: another loop device on top.
    let mut above = None;
    let failure = failing(&request, || {
        above = Some(Loop::over(Path::new(&stick.0)));
    });
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.state, StickState::Untouched);
    let name = above.as_ref().unwrap().0.trim_start_matches("/dev/");
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
    let image = iso(dir.path(), "grub2", &[]);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    // The last byte of the kernel's first half: nothing a plan looks at.
    let text = fs::read(&image).unwrap();
    let at = text.len() / 2;
    file.write_at(&[text[at] ^ 1], at as u64).unwrap();
    let check = Command::new("checkisomd5").arg(&image).status().unwrap();
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
    let check = Command::new("checkisomd5").arg(&target).status().unwrap();
    assert!(!check.success());
}

#[test]
fn an_image_that_changed_after_the_plan_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = iso(dir.path(), "grub2", &[]);
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
