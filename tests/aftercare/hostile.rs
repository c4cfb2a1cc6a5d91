// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks that were made to harm whoever resets them, and sprouts that a job which was cut short has left.

use std::fs;
use std::os::unix::fs::FileExt;

use livestick::plan::making::Making;
use livestick::read::{ReadAt, ReadError, Source};
use livestick::record::Record;
use livestick::record::place::{self, Search, WriteAt};
use livestick::units::Bytes;

use crate::support::grown::{Stick, done, not_done, nothing_left, verified};
use crate::support::lab::livestick;
use crate::support::program::{root, text};

/// A file that is written to as a stick would be.
struct Bare(Source);

impl ReadAt for Bare {
    fn len(&self) -> Bytes {
        self.0.len()
    }

    fn read_exact_at(&self, at: Bytes, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact_at(at, buf)
    }
}

impl WriteAt for Bare {
    fn write_at(&self, at: Bytes, bytes: &[u8]) -> Result<(), ReadError> {
        self.0.file().write_all_at(bytes, at.0).unwrap();
        Ok(())
    }

    fn flush(&self) -> Result<(), ReadError> {
        Ok(())
    }
}

/// Changes the record of a stick, as whoever can write to it could.
fn rewrite(stick: &Stick, change: impl FnOnce(&mut Record)) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&stick.path)
        .unwrap();
    let size = Bytes(file.metadata().unwrap().len());
    let bare = Bare(Source::new(file, size));
    let Search::Found(found) = place::find(&bare, false, &mut |_| true) else {
        panic!("no record");
    };
    let mut record = found.record;
    record.generation += 1;
    change(&mut record);
    place::store(&bare, &record).unwrap();
}

type Change = fn(&mut Record, &mut Making);

#[test]
fn a_record_that_lies_about_places_is_not_followed() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &["--home-size-mb", "64", "--home-fs", "ext4"]);
    let whole = fs::read(&stick.path).unwrap();
    let changes: [(&str, Change); 4] = [
        ("over", |record, making| {
            // The sprout over people's files.
            let home = record.parts[2].extent;
            record.parts[1].extent = home;
            making.sprout.as_mut().unwrap().sprout.extent = home;
        }),
        ("none of its partitions", |_, making| {
            making.filesystems[0].number = 1;
        }),
        ("two of a kind", |_, making| {
            let home = making.filesystems[0].clone();
            making.filesystems.push(home);
        }),
        ("over", |record, making| {
            let seed = record.parts[0].extent;
            record.parts[2].extent = seed;
            making.filesystems[0].extent = seed;
        }),
    ];
    for (why, change) in changes {
        rewrite(&stick, |record| {
            let mut making = Making::parse(&record.making).unwrap();
            change(record, &mut making);
            record.making = making.text();
        });
        not_done(&stick, &["reset", "--home"], "a record that is not trusted");
        not_done(&stick, &["reset", "--home"], why);
        fs::write(&stick.path, &whole).unwrap();
    }
    rewrite(&stick, |record| record.generation = u64::MAX);
    not_done(&stick, &["reset"], "generation");
}

/// Somebody's file on this machine, and a link to where it is.
const LINKED: &str = "mkdir -p machine; echo secret >machine/secret
    rm -rf mnt/@image/home; ln -s $PWD/machine mnt/@image/home; umount mnt";

/// Whether the secret came on the stick.
fn leaked(stick: &Stick) -> bool {
    let bytes = fs::read(&stick.path).unwrap();
    bytes.windows(6).any(|six| six == b"secret")
}

#[test]
fn no_link_on_a_stick_leads_to_this_machines_files() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    let whole = fs::read(&stick.path).unwrap();
    // In the seed, from which a sprout is grown anew.
    stick.judge(&format!(
        "btrfstune -f -S 0 $seed >/dev/null 2>&1; mount $seed mnt\n{LINKED}\nbtrfstune -S 1 $seed >/dev/null"
    ));
    let sprout = stick.parts()[1];
    let (from, to) = (sprout.at.index().unwrap(), sprout.end().index().unwrap());
    let before = fs::read(&stick.path).unwrap();
    let out = livestick(&["reset", text(&stick.path), "--home", "--yes"]);
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{err}");
    assert!(err.contains("/home is no directory"), "{err}");
    assert!(!leaked(&stick));
    // It was known before anything went.
    let after = fs::read(&stick.path).unwrap();
    assert!(after[from..to] == before[from..to]);
    nothing_left(&stick.path);

    // In a sprout that needs no seed, whose root and home are put back.
    fs::write(&stick.path, whole).unwrap();
    done(&stick, &["detach"]);
    stick.judge(&format!(
        "mount $sprout mnt; echo mine >mnt/@home/mine\n{LINKED}"
    ));
    let out = livestick(&["reset", text(&stick.path), "--home", "--yes"]);
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(err.contains("/home is no directory"), "{err}");
    assert!(!leaked(&stick));
    let said = stick.judge("mount $sprout mnt; cat mnt/@home/mine; umount mnt");
    assert_eq!(said, "mine\n");
    nothing_left(&stick.path);
}

/// Whoever may make a subvolume may give it any name.
#[test]
fn subvolumes_of_any_name_go_with_the_old_root() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    stick.judge(
        "mount -o device=$seed $sprout mnt; echo mine >mnt/@home/mine
         line=$(printf 'x\\nID 9 gen 9 top level 5 path @livestick-reset')
         mkdir -p \"mnt/@/tmp/$line\"; btrfs -q subvolume create \"mnt/@/tmp/$line/usr\"
         btrfs -q subvolume create \"mnt/@/tmp/$line/usr/$(printf '\\377')\"
         for i in $(seq 260); do btrfs -q subvolume create mnt/@/tmp/$i; done
         ln -s @home mnt/@livestick-reset; umount mnt",
    );
    done(&stick, &["reset"]);
    let found = stick.judge(
        "mount -o device=$seed $sprout mnt; cat mnt/@home/mine; test ! -e mnt/@/tmp/1
         test -d mnt/@/usr; test ! -e mnt/@livestick-reset; btrfs subvolume list mnt | wc -l; umount mnt",
    );
    assert_eq!(found, "mine\n3\n");
    assert_eq!(verified(&stick).0, 0);
}

#[test]
fn a_sprout_that_was_not_grown_to_its_end_is_not_put_back() {
    if !root() {
        return;
    }
    // As long as it has not its own label.
    let unnamed = "mount -o device=$seed $sprout mnt; btrfs filesystem label mnt x; umount mnt";
    let blank = "dd if=/dev/zero of=$sprout bs=1M count=1 conv=notrunc status=none";
    let (stick, _) = Stick::write("grub2", &[], &[]);
    for left in [unnamed, blank] {
        stick.judge(left);
        not_done(&stick, &["reset"], "`livestick reset --home` grows it anew");
        not_done(
            &stick,
            &["detach"],
            "`livestick reset --home` grows it anew",
        );
        done(&stick, &["reset", "--home"]);
        assert_eq!(verified(&stick).0, 0);
    }
    // Something of somebody's.
    stick.judge("mkfs.ext4 -q $sprout");
    for words in [&["reset"][..], &["reset", "--home"], &["detach"]] {
        not_done(&stick, words, "something else where its sprout was");
    }
    // With a partition of its own /home needs not go.
    let (stick, _) = Stick::write("grub2", &[], &["--home-size-mb", "64", "--home-fs", "ext4"]);
    stick.judge(unnamed);
    done(&stick, &["reset"]);
    assert_eq!(verified(&stick).0, 0);
}

#[test]
fn a_damaged_seed_is_found_before_the_sprout_is_gone_and_after_it_was_put_back() {
    if !root() {
        return;
    }
    let (stick, _) = Stick::write("grub2", &[], &[]);
    let whole = fs::read(&stick.path).unwrap();
    let (seed, sprout) = (stick.parts()[0], stick.parts()[1]);
    let file = fs::File::options().write(true).open(&stick.path).unwrap();
    // No tree of it can be read.
    file.write_all_at(&vec![0x5a; 4 << 20], seed.at.0 + (1 << 20))
        .unwrap();
    file.write_all_at(&vec![0x5a; 24 << 20], seed.at.0 + (5 << 20))
        .unwrap();
    let before = fs::read(&stick.path).unwrap();
    let out = livestick(&["reset", text(&stick.path), "--home", "--yes"]);
    let err = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{err}");
    let after = fs::read(&stick.path).unwrap();
    let range = sprout.at.index().unwrap()..sprout.end().index().unwrap();
    assert!(after[range.clone()] == before[range], "{err}");
    // A flipped byte of a file: the root is put back, and not called verified.
    fs::write(&stick.path, whole).unwrap();
    let place = stick.judge(
        "mount -o ro $seed mnt; file=$(find mnt/@image -type f -size +64k | head -1)
         filefrag -v $file | sed -n 's/^ *0: *[0-9]*\\.\\. *[0-9]*: *\\([0-9]*\\)\\.\\..*/\\1/p'; umount mnt
         btrfs inspect-internal dump-tree -t chunk $seed | sed -n '/CHUNK_ITEM/{s/.*CHUNK_ITEM \\([0-9]*\\)).*/chunk \\1/p}; s/.*length \\([0-9]*\\) owner.*/length \\1/p; s/.*stripe [0-9]* devid [0-9]* offset \\([0-9]*\\)/stripe \\1/p'",
    );
    let mut lines = place.lines();
    let logical = lines.next().unwrap().parse::<u64>().unwrap() * 4096;
    let mut chunk = (0, 0);
    let mut at = None;
    for line in lines {
        let (word, number) = line.split_once(' ').unwrap();
        let number = number.parse::<u64>().unwrap();
        match word {
            "chunk" => chunk.0 = number,
            "length" => chunk.1 = number,
            _ if (chunk.0..chunk.0 + chunk.1).contains(&logical) => {
                at = Some(number + logical - chunk.0);
            }
            _ => {}
        }
    }
    let at = seed.at.0 + at.unwrap() + 50;
    let byte = fs::read(&stick.path).unwrap()[usize::try_from(at).unwrap()];
    file.write_all_at(&[!byte], at).unwrap();
    let out = livestick(&["reset", text(&stick.path), "--yes"]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(6), "{said}");
    assert!(said.contains("seed") && said.contains("FAILED"), "{said}");
}
