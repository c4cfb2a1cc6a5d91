// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick that is not as it was: partitioned anew behind the image, changed while a question waited, pulled out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use livestick::aftercare::{self, Request, What};
use livestick::chain::Holds;
use livestick::event::Event;
use livestick::host::Host;
use livestick::report::{Exit, Failure, StickState};
use tempfile::TempDir;

use crate::support::device::Loop;
use crate::support::grown::{Stick, done, not_done, verified};
use crate::support::lab::{iso, livestick, scratch};
use crate::support::program::{root, run, text};

/// A stick image file with an overlay on ext4 and a `/home`.
fn with_overlay(layout: &str) -> Stick {
    let dir = TempDir::new_in(scratch()).unwrap();
    let (path, image) = (dir.path().join("stick.img"), iso(layout, &[]));
    let words = [
        "write",
        text(&image),
        text(&path),
        "--size",
        "640MiB",
        "--yes",
    ];
    let more = [
        "--overlay-size-mb",
        "128",
        "--overlay-fs",
        "ext4",
        "--home-size-mb",
        "128",
        "--home-fs",
        "ext4",
    ];
    let out = livestick(&[&words[..], &more].concat());
    assert!(out.status.success(), "{out:?}");
    Stick { dir, path, image }
}

/// The numbers of the partitions of the overlay and of `/home`.
fn numbers(stick: &Stick) -> [String; 2] {
    let said = run("sfdisk", &["--json", text(&stick.path)]);
    let table: serde_json::Value = serde_json::from_str(&said).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let number = |at: u64| {
        let here = partitions.iter().find(|one| one["start"] == at / 512);
        let node = here.unwrap()["node"].as_str().unwrap().to_owned();
        node.rsplit("img").next().unwrap().to_owned()
    };
    let parts = stick.parts();
    [number(parts[0].at.0), number(parts[1].at.0)]
}

/// Runs sfdisk on a stick image file, with this text.
fn sfdisk(path: &Path, options: &[&str], script: &str) {
    let script = format!(
        "sfdisk --quiet --no-reread --force {} {} <<'END'\n{script}\nEND",
        options.join(" "),
        text(path)
    );
    run("sh", &["-e", "-c", &script]);
}

#[test]
fn what_was_partitioned_anew_is_not_written_over() {
    for layout in ["grub2", "isolinux"] {
        let stick = with_overlay(layout);
        let whole = fs::read(&stick.path).unwrap();
        let [overlay, home] = numbers(&stick);
        let changes: [(&str, &dyn Fn()); 4] = [
            ("not in the partition table any more", &|| {
                run(
                    "sfdisk",
                    &["--quiet", "--delete", text(&stick.path), &overlay],
                );
            }),
            ("and is at byte", &|| {
                sfdisk(&stick.path, &["-N", &overlay], ", 64MiB");
            }),
            ("its PARTUUID was", &|| {
                let id = "0B2BFEB0-0DB2-4B0F-8B0C-0123456789AB";
                if layout == "grub2" {
                    run(
                        "sfdisk",
                        &["--quiet", "--part-uuid", text(&stick.path), &overlay, id],
                    );
                } else {
                    run(
                        "sfdisk",
                        &["--quiet", "--disk-id", text(&stick.path), "0x12345678"],
                    );
                }
            }),
            ("partition", &|| {
                run("sfdisk", &["--quiet", "--delete", text(&stick.path)]);
            }),
        ];
        for (why, change) in changes {
            change();
            not_done(&stick, &["reset"], "partitioned anew after it was written");
            not_done(&stick, &["reset"], why);
            fs::write(&stick.path, &whole).unwrap();
        }
        // What is not written to is nobody's business here.
        run("sfdisk", &["--quiet", "--delete", text(&stick.path), &home]);
        not_done(&stick, &["reset", "--home"], "(home)");
        done(&stick, &["reset"]);
        fs::write(&stick.path, &whole).unwrap();
        done(&stick, &["reset", "--home"]);
        assert_eq!(verified(&stick).0, 0);
    }
}

#[test]
fn a_sprout_whose_seed_went_is_neither_put_back_nor_detached() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    let [seed, _] = numbers(&stick);
    let whole = fs::read(&stick.path).unwrap();
    run("sfdisk", &["--quiet", "--delete", text(&stick.path), &seed]);
    for words in [&["reset"][..], &["reset", "--home"], &["detach"]] {
        not_done(&stick, words, "(seed)");
    }
    fs::write(&stick.path, whole).unwrap();
    done(&stick, &["detach"]);
    // It is of no use any more, and its room may be somebody's.
    run("sfdisk", &["--quiet", "--delete", text(&stick.path), &seed]);
    let out = livestick(&["reset", text(&stick.path), "--yes"]);
    assert!(out.status.success(), "{out:?}");
}

/// Looks, lets `between` happen, and does it; that has to fail.
fn failing(request: &Request, between: impl FnOnce(), mut sink: impl FnMut(&Event)) -> Failure {
    let host = Host::look();
    let plan = aftercare::look(request, &host).unwrap();
    between();
    let never = AtomicBool::new(false);
    aftercare::job::run(&plan, &host, &never, &mut |event| sink(&event)).unwrap_err()
}

fn asked(target: PathBuf, what: What) -> Request {
    Request {
        allow_disk: Some(text(&target).into()),
        target,
        what,
        unmount: false,
    }
}

#[test]
fn what_changed_while_a_question_waited_is_not_written_over() {
    if !root() {
        return;
    }
    let stick = with_overlay("grub2");
    let reset = asked(stick.path.clone(), What::Reset { home: false });
    let first = fs::read(&stick.path).unwrap();
    let [overlay, _] = numbers(&stick);
    let other = with_overlay("grub2");
    let mut held = None;
    let mut cases: [(&str, &mut dyn FnMut()); 3] = [
        ("written to after it was looked at", &mut || {
            // Another stick in its place: the same inode, the same size.
            fs::copy(&other.path, &stick.path).map(drop).unwrap();
        }),
        ("partitioned anew", &mut || {
            run(
                "sfdisk",
                &["--quiet", "--delete", text(&stick.path), &overlay],
            );
        }),
        ("in use as", &mut || held = Some(Loop::over(&stick.path))),
    ];
    for (why, between) in &mut cases {
        let mut before = Vec::new();
        let failure = failing(
            &reset,
            || {
                between();
                before = fs::read(&stick.path).unwrap();
            },
            |_| {},
        );
        assert_eq!(failure.exit, Exit::Refused, "{failure}");
        assert_eq!(failure.state, StickState::Untouched, "{failure}");
        assert!(failure.message.contains(*why), "{why}: {failure}");
        assert!(fs::read(&stick.path).unwrap() == before, "{why}");
        fs::write(&stick.path, &first).unwrap();
    }
    drop(held);
    // A sprout that was detached meanwhile: its record is the same.
    let (stick, _) = Stick::write("grub2", &[], &[]);
    let reset = asked(stick.path.clone(), What::Reset { home: true });
    let failure = failing(&reset, || drop(done(&stick, &["detach"])), |_| {});
    assert_eq!(failure.exit, Exit::Refused, "{failure}");
    assert!(failure.message.contains("another sprout"), "{failure}");
    stick.judge("mount -o subvol=@ $sprout mnt; test -d mnt/usr; umount mnt");
}

#[test]
fn a_stick_that_is_pulled_out_is_told_as_that() {
    if !root() {
        return;
    }
    let stick = with_overlay("grub2");
    let mut plugged = Some(Loop::over(&stick.path));
    let node = plugged.as_ref().unwrap().node.clone();
    let reset = asked(node, What::Reset { home: false });
    let failure = failing(
        &reset,
        || {},
        |event| {
            if let Event::Finished { .. } = event {
                // It goes as soon as nobody has it open: before it is looked over.
                drop(plugged.take());
            }
        },
    );
    assert_eq!(failure.exit, Exit::WriteFailed, "{failure}");
    assert!(failure.message.contains("is gone"), "{failure}");
    assert!(
        failure.message.contains("run the same command again"),
        "{failure}"
    );
    assert_eq!(failure.exit.code(), 5);
}

#[test]
fn what_cannot_be_looked_over_afterwards_is_no_refusal() {
    let stick = with_overlay("grub2");
    let reset = asked(stick.path.clone(), What::Reset { home: false });
    let away = stick.dir.path().join("away");
    let failure = failing(
        &reset,
        || {},
        |event| {
            if let Event::Finished { .. } = event {
                let _ = fs::rename(&stick.path, &away);
            }
        },
    );
    assert_eq!(failure.exit, Exit::NotVerified, "{failure}");
    assert_eq!(failure.state, StickState::Complete, "{failure}");
    assert!(
        failure.message.contains("was changed, and then"),
        "{failure}"
    );
}

/// What was changed and not looked at is not verified.
#[test]
fn what_came_into_use_before_it_was_looked_over_is_not_called_verified() {
    if !root() {
        return;
    }
    let stick = with_overlay("grub2");
    let reset = asked(stick.path.clone(), What::Reset { home: false });
    let host = Host::look();
    let plan = aftercare::look(&reset, &host).unwrap();
    let mut held = None;
    let never = AtomicBool::new(false);
    let report = aftercare::job::run(&plan, &host, &never, &mut |event| {
        if let (Event::Finished { .. }, None) = (event, &held) {
            held = Some(Loop::over(&stick.path));
        }
    });
    let report = report.unwrap();
    assert_eq!(report.exit, Exit::NotVerified, "{report}");
    assert_eq!(report.links.len(), 1, "{report}");
    assert_eq!(report.links[0].holds, Holds::NotClaimed, "{report}");
}

/// What the image was made of was needed once.
#[test]
fn a_machine_that_cannot_mount_the_image_resets_its_stick() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    let mut host = Host::look();
    host.filesystems.retain(|name| name == "btrfs");
    let reset = asked(stick.path.clone(), What::Reset { home: true });
    let plan = aftercare::look(&reset, &host).unwrap();
    let never = AtomicBool::new(false);
    let report = aftercare::job::run(&plan, &host, &never, &mut |_| {}).unwrap();
    assert_eq!(report.exit, Exit::Verified, "{report}");
    let names: Vec<&str> = report.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["seed", "sprout"]);
    host.filesystems.clear();
    let refused = aftercare::look(&reset, &host).unwrap_err().to_string();
    assert!(refused.contains("no btrfs"), "{refused}");
}

#[test]
fn what_goes_is_told_before() {
    let dir = TempDir::new_in(scratch()).unwrap();
    let path = dir.path().join("stick.img");
    let image = iso("grub2", &[]);
    let written = |more: &[&str]| {
        let _ = fs::remove_file(&path);
        let words = [
            "write",
            text(&image),
            text(&path),
            "--size",
            "640MiB",
            "--yes",
            "--overlay-size-mb",
            "128",
            "--overlay-fs",
            "ext4",
        ];
        assert!(livestick(&[&words[..], more].concat()).status.success());
    };
    let told = |words: &[&str]| {
        let all = [&["reset", text(&path), "--dry-run"], words].concat();
        let out = livestick(&all);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    written(&[]);
    let said = told(&[]);
    assert!(
        said.contains("goes       what was changed in the system"),
        "{said}"
    );
    assert!(
        said.contains("goes       everything in /home, which is in the overlay"),
        "{said}"
    );
    assert!(
        !said.contains("stays      the partition of /home"),
        "{said}"
    );
    let host = Host::look();
    let plan = aftercare::look(&asked(path.clone(), What::Reset { home: false }), &host).unwrap();
    assert!(
        plan.meaning().contains("with all that is in /home"),
        "{}",
        plan.meaning()
    );
    written(&["--home-size-mb", "64", "--home-fs", "ext4"]);
    let said = told(&[]);
    assert!(
        said.contains("goes       what was changed in the system"),
        "{said}"
    );
    assert!(!said.contains("everything in"), "{said}");
    assert!(said.contains("stays      the partition of /home"), "{said}");
    let plan = aftercare::look(&asked(path.clone(), What::Reset { home: false }), &host).unwrap();
    assert!(!plan.meaning().contains("/home"), "{}", plan.meaning());
    let said = told(&["--home"]);
    assert!(
        said.contains("goes       everything in the partition of /home"),
        "{said}"
    );
    let said: serde_json::Value = serde_json::from_str(&told(&["--json"])).unwrap();
    assert_eq!(said["goes"].as_array().unwrap().len(), 1, "{said}");
}
