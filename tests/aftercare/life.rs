// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reset and detach do.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::grown::{Stick, done, link, not_done, nothing_left, verified};
use crate::support::lab::{iso, livestick, scratch};
use crate::support::program::{command, root, run, text};
use livestick::units::Extent;
use tempfile::TempDir;

/// What a system that ran from the stick could have left behind.
const CHANGE: &str = "mount -o device=$seed $sprout mnt
    rm mnt/@/etc/os-release; head -c 3000000 /dev/urandom >mnt/@/usr/new
    btrfs -q subvolume create mnt/@/var/machines; btrfs -q subvolume create mnt/@/var/machines/one
    echo mine >mnt/@/var/machines/one/file; echo mine >mnt/@home/mine; umount mnt";
/// Whether it is gone, but for people's files.
const AS_NEW: &str = "mount -o device=$seed $sprout mnt
    test -e mnt/@/etc/os-release; test ! -e mnt/@/usr/new; test ! -e mnt/@/var/machines
    test -f mnt/@/etc/udev/rules.d/65-livestick-sprout.rules
    test -L mnt/@/etc/systemd/system/local-fs.target.wants/home.mount
    diff -r --no-dereference -x 65-livestick-sprout.rules -x home.mount mnt/@ mnt/@image >diff || :
    ! grep -v '^Only in mnt/@.*: \\(udev\\|rules.d\\|systemd\\|system\\|local-fs.target.wants\\)$' diff
    btrfs subvolume list mnt; ls mnt/@home; umount mnt";

#[test]
fn reset_puts_the_first_day_back_and_detach_needs_no_seed() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    stick.judge(CHANGE);
    let plan = done(&stick, &["reset", "--dry-run"]);
    assert!(plan.contains("stays      /home, in the sprout"), "{plan}");
    done(&stick, &["reset"]);
    let said = stick.judge(AS_NEW);
    assert!(said.contains("mine"), "{said}");
    assert_eq!(said.matches("path @").count(), 3, "{said}");
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");

    // With /home the sprout is grown anew, and the record tells its new name.
    stick.judge(CHANGE);
    let said = done(&stick, &["reset", "--home"]);
    assert!(said.contains("sprout"), "{said}");
    assert!(!stick.judge(AS_NEW).contains("mine"));
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");
    let (_, said) = link(&report, "sprout");
    assert!(!said.contains("made anew since"), "{said}");

    // In use.
    let part = stick.parts()[1];
    let held = run(
        "losetup",
        &[
            "-f",
            "--show",
            "-o",
            &part.at.to_string(),
            text(&stick.path),
        ],
    );
    for words in [&["reset"][..], &["detach"]] {
        not_done(&stick, words, held.trim().trim_start_matches("/dev/"));
    }
    run("losetup", &["-d", held.trim()]);

    let said = done(&stick, &["detach"]);
    assert!(
        said.contains("nothing that starts needs it any more"),
        "{said}"
    );
    // The seed's partition is wiped, and everything is there.
    let seed = stick.parts()[0];
    let before = fs::read(&stick.path).unwrap();
    let file = fs::File::options().write(true).open(&stick.path).unwrap();
    file.write_all_at(&vec![0; seed.len.index().unwrap()], seed.at.0)
        .unwrap();
    let alone = "btrfs check --readonly --check-data-csum $sprout >/dev/null 2>&1
        mount -o subvol=@ $sprout mnt; find mnt -type f -exec cat {} + | wc -c; test -f mnt/etc/os-release; umount mnt";
    stick.judge(alone);
    file.write_all_at(
        &before[seed.at.index().unwrap()..][..seed.len.index().unwrap()],
        seed.at.0,
    )
    .unwrap();
    let (status, report) = verified(&stick);
    assert_eq!(status, 0, "{report}");
    not_done(&stick, &["detach"], "needs no seed any more");
    stick.judge(&CHANGE.replace("-o device=$seed ", ""));
    done(&stick, &["reset", "--home"]);
    let said = stick.judge(&AS_NEW.replace("-o device=$seed ", ""));
    assert!(!said.contains("mine"), "{said}");
}

#[test]
fn reset_makes_an_overlay_anew_and_leaves_home() {
    if !root() {
        return;
    }
    let dir = TempDir::new_in(scratch()).unwrap();
    for (fs_kind, home) in [("ext4", "btrfs"), ("btrfs", "ext4")] {
        let (path, image) = (dir.path().join("stick.img"), iso("grub2", &[]));
        let _ = fs::remove_file(&path);
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
            fs_kind,
            "--home-size-mb",
            "128",
            "--home-fs",
            home,
        ];
        assert!(livestick(&[&words[..], &more].concat()).status.success());
        let stick = Stick {
            dir: TempDir::new_in(scratch()).unwrap(),
            path: path.clone(),
            image,
        };
        let parts = stick.parts();
        let both = |script: &str| {
            let mount = |name: &str, extent: &Extent| {
                format!(
                    "d=$(losetup -f --show -o {} --sizelimit {} {}); all=\"$all $d\"; mkdir -p {name}; mount $d {name}\n",
                    extent.at,
                    extent.len,
                    text(&path)
                )
            };
            let script = format!(
                "set -e; all=; trap 'umount upper home || :; losetup -d $all' EXIT\n{}{}{script}",
                mount("upper", &parts[0]),
                mount("home", &parts[1])
            );
            let mut unshare = command("unshare");
            unshare
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg(script)
                .current_dir(dir.path());
            let out = unshare.output().unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            String::from_utf8(out.stdout).unwrap()
        };
        let list = "find upper -printf '%P %m %U %y\\n' | sort; blkid -p -o export $d | grep UUID=";
        let first = both(list);
        let junk =
            "f=$(find upper -name 'overlay-*' | head -1); echo x >$f/junk; echo mine >home/mine";
        both(junk);
        done(&stick, &["reset"]);
        assert_eq!(both(list), first);
        assert_eq!(both("cat home/mine"), "mine\n");
        let (status, report) = verified(&stick);
        assert_eq!(status, 0, "{report}");
        done(&stick, &["reset", "--home"]);
        assert_eq!(both("ls home | grep mine || :"), "");
        assert_eq!(verified(&stick).0, 0);
        not_done(&stick, &["detach"], "no sprout");
    }
    // Nothing is kept, or nobody tells.
    let path = dir.path().join("plain.img");
    let image = iso("grub2", &[]);
    let words = [
        "write",
        text(&image),
        text(&path),
        "--size",
        "64MiB",
        "--yes",
    ];
    assert!(livestick(&words).status.success());
    let stick = Stick {
        dir: TempDir::new_in(scratch()).unwrap(),
        path,
        image,
    };
    not_done(&stick, &["reset"], "plain image");
    fs::write(&stick.path, fs::read(&stick.image).unwrap()).unwrap();
    not_done(&stick, &["reset"], "no record");
}

#[test]
fn a_reset_that_is_killed_leaves_a_root_and_nothing_behind() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &["--size", "48"], &[]);
    stick.judge(CHANGE);
    let program = env!("CARGO_BIN_EXE_livestick");
    for round in 0..8 {
        let mut child = Command::new(program)
            .args(["reset", text(&stick.path), "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(40 + round * 90));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_left(&stick.path);
        stick.judge("mount -o device=$seed,subvol=@ $sprout mnt; test -d mnt/usr; umount mnt");
    }
    done(&stick, &["reset"]);
    let said = stick.judge(AS_NEW);
    assert!(said.contains("mine"), "{said}");
    assert_eq!(said.matches("path @").count(), 3, "{said}");
}

#[test]
fn a_regrowing_that_is_killed_is_told_from_one_that_came_to_its_end() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &["--size", "48"], &[]);
    let program = env!("CARGO_BIN_EXE_livestick");
    let mut unfinished = 0;
    for round in 0..10 {
        let mut child = Command::new(program)
            .args(["reset", text(&stick.path), "--home", "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(60 + round * 50));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_left(&stick.path);
        let out = livestick(&["reset", text(&stick.path), "--dry-run"]);
        if out.status.success() {
            // Then it is whole.
            stick.judge(
                "mount -o device=$seed $sprout mnt; test -d mnt/@/usr; test -d mnt/@home
                 test -f mnt/@/etc/udev/rules.d/65-livestick-sprout.rules; umount mnt",
            );
        } else {
            let err = String::from_utf8_lossy(&out.stderr);
            assert!(
                err.contains("`livestick reset --home` grows it anew"),
                "{err}"
            );
            unfinished += 1;
        }
    }
    println!("{unfinished} of 10 were cut short");
    done(&stick, &["reset", "--home"]);
    assert_eq!(verified(&stick).0, 0);
}
