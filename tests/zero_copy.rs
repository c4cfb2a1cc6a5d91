// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks whose seed is the image's own btrfs, where it lies: judged by the kernel, btrfs-progs, sfdisk and the image.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::device::Loop;
use support::lab::{iso, livestick, scratch};
use support::program::{command, root, run, text, unshared};
use tempfile::TempDir;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/record-reader");

struct Stick {
    dir: TempDir,
    path: PathBuf,
    image: PathBuf,
    record: Value,
}

/// Where a partition of the record is, and its number.
struct Place {
    at: u64,
    len: u64,
    number: u64,
}

impl Stick {
    fn write(image: &Path, more: &[&str]) -> Stick {
        let dir = TempDir::new_in(scratch()).unwrap();
        let path = dir.path().join("stick.img");
        let all = [
            "write",
            text(image),
            text(&path),
            "--size",
            "640MiB",
            "--yes",
        ];
        let sizes = ["--overlay-size-mb", "256"];
        let out = livestick(&[&all[..], &sizes, more].concat());
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}{err}");
        assert!(said.contains("the image's own root"), "{said}");
        let record: Value = serde_json::from_str(&run(READER, &["--check", text(&path)])).unwrap();
        Stick {
            dir,
            image: image.to_owned(),
            record: record["record"].clone(),
            path,
        }
    }

    fn part(&self, purpose: &str) -> Place {
        let parts = self.record["partitions"].as_array().unwrap();
        let part = parts
            .iter()
            .find(|part| part["purpose"] == purpose)
            .unwrap();
        let number = |name: &str| part[name].as_u64().unwrap();
        Place {
            at: number("at"),
            len: number("length"),
            number: number("number"),
        }
    }

    /// The root image's place in the ISO, by xorriso.
    fn file(&self) -> (u64, u64) {
        let how = ["-indev", text(&self.image), "-find", "/LiveOS/rootfs.img"];
        let said = run("xorriso", &[&how[..], &["-exec", "report_lba"]].concat());
        let line = said
            .lines()
            .find(|line| line.starts_with("File data lba:"))
            .unwrap();
        let field = |at: usize| {
            line.split([':', ','])
                .nth(at)
                .unwrap()
                .trim()
                .parse::<u64>()
        };
        (field(2).unwrap() * 2048, field(4).unwrap())
    }

    /// Runs a script with the seed and the sprout attached, in a mount namespace of its own.
    fn judge(&self, script: &str) -> String {
        let (seed, sprout) = (self.part("seed"), self.part("sprout"));
        let script = format!(
            "set -e; mkdir -p mnt
             seed=$(losetup -f --show -r --offset {} --sizelimit {} stick.img)
             sprout=$(losetup -f --show --offset {} --sizelimit {} stick.img)
             trap 'umount -q mnt || :; btrfs device scan --forget $sprout || :; btrfs device scan --forget $seed || :
                   losetup -d $seed $sprout' EXIT
             {script}",
            seed.at, seed.len, sprout.at, sprout.len
        );
        unshared(&script, self.dir.path())
    }

    fn verified(&self) {
        let out = livestick(&["verify", text(&self.path)]);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{said}");
        assert!(said.contains("seed             verified"), "{said}");
        assert!(said.contains("sprout           verified"), "{said}");
    }

    /// The bytes of the seed.
    fn seed(&self) -> Vec<u8> {
        let place = self.part("seed");
        let mut bytes = vec![0; usize::try_from(place.len).unwrap()];
        let file = fs::File::open(&self.path).unwrap();
        file.read_exact_at(&mut bytes, place.at).unwrap();
        bytes
    }

    /// What the partition table says of a number, by sfdisk: first byte and length.
    fn entry(&self, number: u64) -> (u64, u64) {
        let said = run("sfdisk", &["--json", text(&self.path)]);
        let table: Value = serde_json::from_str(&said).unwrap();
        let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
        let ends = |one: &&Value| {
            one["node"]
                .as_str()
                .unwrap()
                .ends_with(&format!("img{number}"))
        };
        let one = partitions.iter().find(ends).unwrap();
        let bytes = |name: &str| one[name].as_u64().unwrap() * 512;
        (bytes("start"), bytes("size"))
    }
}

fn nothing_left(stick: &Path) {
    let loops = run("losetup", &["-a"]);
    assert!(!loops.contains(text(stick)), "{loops}");
}

/// Compares the image's range with the image: all differences are listed in the record.
fn differs_as_listed(stick: &Stick) {
    let image = fs::read(&stick.image).unwrap();
    let written = &fs::read(&stick.path).unwrap()[..image.len()];
    let changes = stick.record["changes"].as_array().unwrap();
    let mut back = written.to_vec();
    let mut of_seed = 0;
    for change in changes {
        let at = usize::try_from(change["at"].as_u64().unwrap()).unwrap();
        let before = change["before"].as_str().unwrap();
        let why = change["why"].as_str().unwrap();
        of_seed += usize::from(why.contains("root image"));
        for (i, pair) in before.as_bytes().chunks(2).enumerate() {
            let pair = std::str::from_utf8(pair).unwrap();
            back[at + i] = u8::from_str_radix(pair, 16).unwrap();
        }
    }
    assert!(back == image, "a difference is not listed");
    assert!(of_seed > 0, "{changes:?}");
}

fn whole(layout: &str, options: &[&str], more: &[&str]) -> Option<Stick> {
    if !root() {
        return None;
    }
    let image = iso(layout, &[&["--rootfs", "btrfs"][..], options].concat());
    let stick = Stick::write(&image, more);
    let (seed, file) = (stick.part("seed"), stick.file());
    assert_eq!((seed.at, seed.len), file);
    assert_eq!(stick.entry(seed.number), file);
    let sprout = stick.part("sprout");
    assert_eq!(stick.entry(sprout.number), (sprout.at, sprout.len));
    assert!(sprout.at >= fs::metadata(&image).unwrap().len());
    differs_as_listed(&stick);
    stick.verified();

    // The tree is the image's; a change in the sprout is none of the seed.
    let before = stick.seed();
    let said = stick.judge(&format!(
        "own=$(losetup -f --show -r --offset {} --sizelimit {} {})
         mount -o ro $own mnt; (cd mnt; find . -printf '%P %y %m %U:%G %s %T@ %l\\n' | sort; find . -type f -exec sha256sum {{}} + | sort) >own
         umount mnt; btrfs device scan --forget $own; losetup -d $own
         mount -o device=$seed,subvol=@image $sprout mnt
         (cd mnt; find . -printf '%P %y %m %U:%G %s %T@ %l\\n' | sort; find . -type f -exec sha256sum {{}} + | sort) >grown
         umount mnt
         diff own grown
         mount -o device=$seed,subvol=@ $sprout mnt
         ls mnt/etc/udev/rules.d; cat mnt/etc/udev/rules.d/*.rules mnt/etc/systemd/system/home.mount
         rm -rf mnt/usr; head -c 3000000 /dev/urandom >mnt/new; sync; umount mnt
         btrfs inspect-internal dump-super $seed",
        file.0,
        file.1,
        text(&stick.image)
    ));
    assert!(said.contains("SEEDING"), "{said}");
    assert!(said.contains("63-livestick-seed.rules"), "{said}");
    assert!(said.contains("SYSTEMD_READY}=\"0\""), "{said}");
    assert!(stick.seed() == before, "the seed was written to");
    stick.verified();
    run("checkisomd5", &[text(&stick.path)]);
    nothing_left(&stick.path);
    Some(stick)
}

#[test]
fn gpt() {
    whole("grub2", &["--rootfs-label", "Own"], &[]);
}

#[test]
fn mbr_with_a_home_partition() {
    let home = ["--home-size-mb", "64", "--home-fs", "ext4"];
    let Some(stick) = whole("isolinux", &[], &home) else {
        return;
    };
    // The seed has a slot, the others are logical.
    assert!(stick.part("seed").number <= 4);
    assert!(stick.part("sprout").number >= 5);
    assert!(stick.part("home").number >= 5);
}

/// The volume's label would be found twice.
#[test]
fn a_label_that_is_the_volumes_gives_way() {
    let volume = "Lab-Workstation-Live-42";
    let Some(stick) = whole("kiwi", &["--label", volume, "--rootfs-label", volume], &[]) else {
        return;
    };
    let said = stick.judge("blkid -p -s LABEL -o value $seed; blkid -p -s LABEL -o value $sprout");
    assert!(!said.contains(volume), "{said}");
    let mut labels = said.lines();
    assert!(labels.next().unwrap().starts_with("seed-"), "{said}");
    assert!(labels.next().unwrap().starts_with("sprout-"), "{said}");
}

/// Life with it: reset, and one that needs its seed no more.
#[test]
fn it_is_reset_and_detached_as_others_are() {
    if !root() {
        return;
    }
    let stick = Stick::write(&iso("grub2", &["--rootfs", "btrfs"]), &[]);
    stick.judge("mount -o device=$seed,subvol=@ $sprout mnt; rm -rf mnt/usr; touch mnt/home/x mnt/new; umount mnt");
    let did = |what: &str| {
        let out = livestick(&[what, text(&stick.path), "--yes"]);
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{what}: {err}");
    };
    did("reset");
    stick.judge("mount -o device=$seed,subvol=@ $sprout mnt; test -d mnt/usr; test ! -e mnt/new; umount mnt");
    stick.verified();
    did("detach");
    stick.judge("btrfs device scan --forget $seed || :; mount -o subvol=@ $sprout mnt; test -d mnt/usr; umount mnt");
    differs_as_listed(&stick);
    nothing_left(&stick.path);
}

/// Their seeds have one identifier; each sprout has to get its own stick's.
#[test]
fn two_sticks_of_one_image_at_once() {
    if !root() {
        return;
    }
    let image = iso("isolinux", &["--rootfs", "btrfs", "--rootfs-label", "Two"]);
    let first = Stick::write(&image, &[]);
    let path = text(&first.path).to_owned();
    let (seed, sprout) = (first.part("seed"), first.part("sprout"));
    // The first one is in use while the second is written and verified.
    let in_use = String::from("mount -o device=$seed,subvol=@ $sprout mnt; echo kept >mnt/kept\n");
    let second = TempDir::new_in(scratch()).unwrap();
    let other = second.path().join("other.img");
    let program = env!("CARGO_BIN_EXE_livestick");
    let script = format!(
        "{in_use}{program} write {} {} --size 640MiB --yes --overlay-size-mb 256 >/dev/null
         {program} verify {}
         btrfs filesystem show mnt
         grep -qx kept mnt/kept; md5sum mnt/usr/share/payload >/dev/null; umount mnt",
        text(&image),
        text(&other),
        text(&other)
    );
    let said = first.judge(&script);
    assert!(said.contains("seed             verified"), "{said}");
    assert!(said.contains("sprout           verified"), "{said}");
    first.verified();
    // Signatures are the disks' own, and so are the identifiers of the partitions.
    let id = |path: &Path| run("sfdisk", &["--disk-id", text(path)]);
    assert_ne!(id(&first.path), id(&other));
    let entries = (first.entry(seed.number), first.entry(sprout.number));
    assert_eq!(
        entries,
        ((seed.at, seed.len), (sprout.at, sprout.len)),
        "{path}"
    );
    nothing_left(&first.path);
    nothing_left(&other);
}

/// The same seed on another stick is damaged, and there for everybody to see: that is the other one's fault.
#[test]
fn what_is_wrong_with_another_sticks_seed_is_not_blamed_on_this_one() {
    if !root() {
        return;
    }
    let image = iso("grub2", &["--rootfs", "btrfs", "--rootfs-label", "Same"]);
    let (one, two) = (Stick::write(&image, &[]), Stick::write(&image, &[]));
    let (seed, sprout) = (two.part("seed"), two.part("sprout"));
    // A tree of it cannot be read, and neither can most of its data.
    let file = fs::File::options().write(true).open(&two.path).unwrap();
    let wrong = vec![0x5a; 4096];
    for at in (seed.at + (5 << 20)..seed.at + seed.len - 4096).step_by(1 << 16) {
        file.write_all_at(&wrong, at).unwrap();
    }
    // As if it were plugged in: before any device of the first one, and behind all of them.
    // The kernel lists them in the order in which their numbers were used first, so free ones are made before the last.
    drop([(); 8].map(|()| Loop::over(&two.path)));
    let used = |number: &u32| Path::new(&format!("/sys/block/loop{number}")).exists();
    let last = (200..250).find(|number| !used(number));
    let last = format!("/dev/loop{}", last.unwrap_or(200 + std::process::id() % 50));
    let held = [
        Loop::window(&two.path, seed.at, seed.len),
        Loop::window(&two.path, sprout.at, sprout.len),
        Loop::named(&last, &two.path, seed.at, seed.len),
    ];
    // It is taken for this one's by whoever looks through all devices, where it is the last of them: tests that run at
    // the same time may have put another one there.
    let both = one.judge("btrfs check --readonly --check-data-csum $sprout 2>&1 || echo wrong");
    let blamed = both.ends_with("wrong\n");
    println!("who looks through all devices blames the wrong one: {blamed}");
    one.verified();
    let out = livestick(&["reset", text(&one.path), "--yes"]);
    let err = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{err}");
    drop(held);
    one.verified();
    let out = livestick(&["verify", text(&two.path)]);
    assert_eq!(out.status.code(), Some(6));
    nothing_left(&one.path);
    nothing_left(&two.path);
}

/// An image that differs from one that works by what a script does to `root.img` in it; refused with these words.
fn refused(script: &str, words: &str) {
    let image = iso("grub2", &["--rootfs", "btrfs", "--rootfs-label", "Hostile"]);
    let dir = TempDir::new_in(scratch()).unwrap();
    let (own, stick) = (dir.path().join("own.iso"), dir.path().join("stick.img"));
    fs::copy(&image, &own).unwrap();
    let how = ["-indev", text(&own), "-find", "/LiveOS/rootfs.img"];
    let said = run("xorriso", &[&how[..], &["-exec", "report_lba"]].concat());
    let line = said
        .lines()
        .find(|line| line.starts_with("File data lba:"))
        .unwrap();
    let lba: u64 = line
        .split([':', ','])
        .nth(2)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let script = format!(
        "set -e; mkdir -p mnt; at={}
         dd if=own.iso of=root.img bs=4096 skip=$at iflag=skip_bytes count={} status=none
         size=$(stat -c %s root.img)
         {script}
         test $(stat -c %s root.img) -le $size
         dd if=root.img of=own.iso bs=4096 seek=$at oflag=seek_bytes conv=notrunc status=none",
        lba * 2048,
        line.split([':', ','])
            .nth(3)
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
            / 2,
    );
    let how = ["--mount", "--propagation", "private", "sh", "-c"];
    let mut unshare = command("unshare");
    let out = unshare
        .args(how)
        .arg(script)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{err}");
    let all = [
        "write",
        text(&own),
        text(&stick),
        "--size",
        "640MiB",
        "--yes",
    ];
    let sprout = ["--persistence", "sprout", "--overlay-size-mb", "256"];
    let out = livestick(&[&all[..], &sprout].concat());
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && err.contains(words),
        "{words}: {err}"
    );
    assert!(!stick.exists(), "a file was left");
    nothing_left(&stick);
}

#[test]
fn what_cannot_be_a_seed_is_refused_before_anything_is_written() {
    if !root() {
        return;
    }
    // As large as before, and with room.
    let own = "mkfs.btrfs -q -f -M root.img; loop=$(losetup -f --show root.img); mount -o commit=300 $loop mnt";
    let end = "umount mnt; btrfs device scan --forget $loop; losetup -d $loop";
    // What was synchronised is in the log, and the copy is from before it was committed.
    refused(
        &format!(
            "{own}; sync; echo new >mnt/new; sync mnt/new; cp root.img live; {end}; mv live root.img"
        ),
        "log to replay",
    );
    refused(
        &format!(
            "{own}; truncate -s 200M more; more=$(losetup -f --show more)
             btrfs device add -f $more mnt; umount mnt; btrfs device scan --forget $loop
             btrfs device scan --forget $more; losetup -d $loop $more"
        ),
        "2 devices",
    );
    refused(
        "printf x | dd of=root.img bs=1 seek=66000 conv=notrunc status=none",
        "superblock is damaged",
    );
    // Where its first tree is, by btrfs-progs.
    refused(
        "at=$at; tree=$(btrfs inspect-internal dump-super root.img | awk '$1 == \"chunk_root\" { print $2 }')
         dd if=/dev/zero of=root.img bs=4096 seek=$((tree / 4096)) count=4 conv=notrunc status=none",
        "no sprout can grow",
    );
    refused(
        &format!("{own}; mkdir mnt/var; btrfs subvolume create mnt/var/sub; {end}"),
        "has a subvolume in its root",
    );
}
