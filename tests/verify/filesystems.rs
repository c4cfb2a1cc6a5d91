// SPDX-License-Identifier: MIT OR Apache-2.0
//! One flipped byte in what users save: in the data of a file, in metadata, in a copy that no reader takes.

use std::fs::{self, File};

use crate::stick::{Stick, Verified};
use crate::support::device::{Loop, Mounted};
use crate::support::program::{output, root, run, text};

/// Bytes that are nowhere else on a stick, and that no filesystem makes smaller.
fn noise(seed: &str) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for byte in seed.bytes() {
        state = state.wrapping_mul(31) ^ u64::from(byte);
    }
    (0..40_000)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
}

/// Saves a file in the partition, as a live system does.
fn save(stick: &Stick, part: &str, path: &str, bytes: &[u8]) {
    let (start, len) = stick.part(part);
    let window = Loop::window(&stick.path, start, len);
    let mounted = Mounted::new(text(&window.node), &[]);
    let path = mounted.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    run("sync", &["-f", text(mounted.path())]);
    drop(mounted);
    drop(window);
    File::open(&stick.path).unwrap().sync_all().unwrap();
}

/// Where on the stick the middle of the file with these bytes is.
fn middle(stick: &Stick, bytes: &[u8]) -> u64 {
    let block = &bytes[200 * 1024..201 * 1024];
    let all = fs::read(&stick.path).unwrap();
    let found: Vec<usize> = all
        .chunks(1024)
        .enumerate()
        .filter(|(_, there)| *there == block)
        .map(|(index, _)| index * 1024)
        .collect();
    assert_eq!(found.len(), 1, "the file is not where it can be found");
    found[0] as u64 + 100
}

/// The damage must be one range around `at`, of that name, and nothing else may be blamed.
fn judge(verified: &Verified, link: &str, at: u64, name: &str) {
    verified.must(verified.code == Some(6) && verified.holds(link) == "broken");
    verified.must(verified.holds("image") == "proven");
    verified.must(verified.cause() == "filesystem-damaged");
    let [damage] = verified.damage() else {
        panic!("{:#}", verified.report)
    };
    let start = damage["extent"]["at"].as_u64().unwrap();
    let len = damage["extent"]["len"].as_u64().unwrap();
    verified.must(start <= at && at < start + len && len <= 65536);
    verified.must(damage["kind"] == "checksum" && damage["cure"] == "none");
    let partition = damage["partition"].as_str().unwrap();
    verified.must(partition.contains(link));
    assert!(verified.names(name), "no {name} in {:?}", verified.places());
    let said = verified.link(link)["result"].as_str().unwrap();
    assert!(said.contains(name), "{said}");
}

#[test]
fn a_flipped_byte_in_a_saved_file_is_found_and_the_file_named() {
    if !root() {
        return;
    }
    let both = [
        "--overlay-size",
        "136MiB",
        "--overlay-fs",
        "btrfs",
        "--home-size",
        "128MiB",
        "--home-fs",
        "btrfs",
        "--size",
        "384MiB",
    ];
    let stick = Stick::new("grub2", &both);
    for (part, path) in [
        ("overlay", "saved/deep down/precious file"),
        ("home", "someone/thesis.odt"),
    ] {
        let noise = noise(part);
        save(&stick, part, path, &noise);
        let sound = stick.verify(&[]);
        sound.must(sound.code == Some(0) && sound.holds(part) == "proven");
        let how = sound.link(part)["how"].as_str().unwrap();
        assert!(how.contains("both copies of the metadata"), "{how}");
        let at = middle(&stick, &noise);
        stick.flip(at);
        judge(&stick.verify(&[]), part, at, &format!("/{path}"));
        // People are told the same, and a repair leaves it alone.
        let outcome = crate::support::bench::ask(&["verify", text(&stick.path)]);
        assert!(outcome.out.contains(path), "{}", outcome.out);
        let repaired = stick.repair(&[]);
        judge(&repaired, part, at, &format!("/{path}"));
        stick.flip(at);
    }
}

#[test]
fn each_copy_of_a_btrfs_metadata_is_looked_at() {
    if !root() {
        return;
    }
    let stick = Stick::persistent("grub2");
    save(&stick, "overlay", "saved/file", b"some words");
    let (start, len) = stick.part("overlay");
    let window = Loop::window(&stick.path, start, len);
    // Another program says where the copies are.
    let tree = run(
        "btrfs",
        &[
            "inspect-internal",
            "dump-tree",
            "-t",
            "fs",
            text(&window.node),
        ],
    );
    let leaf = tree
        .lines()
        .find_map(|line| line.strip_prefix("leaf ")?.split(' ').next())
        .unwrap();
    let map = run("btrfs-map-logical", &["-l", leaf, text(&window.node)]);
    drop(window);
    let copies: Vec<u64> = map
        .lines()
        .filter_map(|line| {
            line.split_once(" physical ")?
                .1
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(copies.len(), 2, "{map}");
    for copy in copies {
        let at = start + copy + 5000;
        stick.flip(at);
        judge(
            &stick.verify(&[]),
            "overlay",
            at,
            "one of two copies of its metadata",
        );
        stick.flip(at);
    }
    // The copy of the superblock.
    let at = start + (64 << 20) + 200;
    stick.flip(at);
    judge(&stick.verify(&[]), "overlay", at, "superblock at 64 MiB");
    stick.flip(at);
    let sound = stick.verify(&[]);
    sound.must(sound.code == Some(0));
}

#[test]
fn what_an_ext4_covers_is_said_and_no_more_is_claimed() {
    if !root() {
        return;
    }
    let stick = Stick::persistent("grub2");
    let noise = noise("home");
    save(&stick, "home", "someone/thesis.odt", &noise);
    let at = middle(&stick, &noise);
    // Nothing on the stick can know this; the report says so, to programs and to people.
    stick.flip(at);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(0) && verified.holds("home") == "proven");
    let words = "ext4 has no checksums of the data in files";
    let how = verified.link("home")["how"].as_str().unwrap();
    assert!(how.contains(words), "{how}");
    let outcome = crate::support::bench::ask(&["verify", text(&stick.path)]);
    assert!(outcome.out.contains(words), "{}", outcome.out);
    stick.flip(at);

    // An inode of the same file: debugfs says where.
    let (start, len) = stick.part("home");
    let window = Loop::window(&stick.path, start, len);
    let told = output(
        "debugfs",
        &["-R", "imap /someone/thesis.odt", text(&window.node)],
    );
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let size = run("dumpe2fs", &["-h", text(&window.node)]);
    drop(window);
    let size: u64 = size
        .lines()
        .find_map(|line| line.strip_prefix("Block size:")?.trim().parse().ok())
        .unwrap();
    let (_, place) = told.split_once("located at block ").unwrap();
    let (block, offset) = place.trim().split_once(", offset ").unwrap();
    let offset = u64::from_str_radix(offset.trim_start_matches("0x"), 16).unwrap();
    let at = start + block.parse::<u64>().unwrap() * size + offset + 8;
    stick.flip(at);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.holds("home") == "broken");
    verified.must(verified.cause() == "filesystem-damaged");
}
