// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables and boot configurations without room.

use std::fs;

use serde_json::Value;

use crate::support::bench::{Bench, ask, peek, poke};
use crate::support::lab::iso;
use crate::support::program::{run, text};
use crate::{plans, refuses_image};

#[test]
fn a_full_partition_table_is_refused() {
    let bench = Bench::new();
    let full = bench.copy(&iso("isolinux", &[]), "full.iso");
    let table = peek(&full, 446, 64);
    let free: Vec<u64> = (0..4)
        .filter(|i| table[i * 16..][..16] == [0; 16])
        .map(|i| i as u64)
        .collect();
    assert!(!free.is_empty());
    for slot in &free {
        let entry = [0, 0, 2, 0, 0x83, 0, 2, 0, 200, 0, 0, 0, 1, 0, 0, 0];
        poke(&full, 446 + 16 * slot, &entry);
    }
    let shown = run("sfdisk", &["-d", text(&full)]);
    assert_eq!(
        shown.lines().filter(|line| line.contains("start=")).count(),
        4
    );
    refuses_image(
        3,
        &full,
        &["--overlay-size", "1GiB"],
        &["no partition can be added"],
    );
    // As it is it can be written.
    let target = bench.used("stick.img", 32);
    assert_eq!(
        ask(&["write", text(&full), text(&target), "-y"]).code,
        Some(0)
    );
    if free.len() == 2 {
        let half = bench.copy(&iso("isolinux", &[]), "half.iso");
        poke(
            &half,
            446 + 16 * free[0],
            &[0, 0, 2, 0, 0x83, 0, 2, 0, 200, 0, 0, 0, 1, 0, 0, 0],
        );
        plans(&half, &["--overlay-size", "1GiB"]);
    }
}

#[test]
fn a_full_system_partition_is_refused() {
    let bench = Bench::new();
    let full = bench.copy(&iso("grub2", &["--incompressible"]), "full.iso");
    let table: Value = serde_json::from_str(&run("sfdisk", &["-J", text(&full)])).unwrap();
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let esp = partitions
        .iter()
        .find(|p| p["type"].as_str().unwrap().starts_with("C12A7328"));
    let at = esp.unwrap()["start"].as_u64().unwrap() * 512;
    let drive = format!("{}@@{at}", text(&full));
    let config = bench.path("grub.cfg");
    run(
        "mcopy",
        &["-i", &drive, "-n", "::/EFI/BOOT/grub.cfg", text(&config)],
    );
    // Bytes in a cluster: sectors in one, of 512.
    let cluster = usize::from(peek(&full, at + 13, 1)[0]) * 512;
    let mut menu = fs::read(&config).unwrap();
    let fill = (cluster - (menu.len() + 11) % cluster) % cluster;
    menu.extend(format!("set lab='{}'\n", "x".repeat(fill)).bytes());
    assert!(menu.len().is_multiple_of(cluster));
    fs::write(&config, menu).unwrap();
    run(
        "mcopy",
        &["-i", &drive, "-o", text(&config), "::/EFI/BOOT/grub.cfg"],
    );
    let free = || {
        let listing = run("mdir", &["-i", &drive, "::/"]);
        let line = listing
            .lines()
            .rfind(|line| line.contains("bytes free"))
            .unwrap();
        let digits = line
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>();
        digits.parse::<usize>().unwrap()
    };
    let ballast = bench.path("ballast");
    fs::write(&ballast, vec![0xA5; free()]).unwrap();
    run("mcopy", &["-i", &drive, text(&ballast), "::/BALLAST"]);
    assert_eq!(free(), 0);

    let words = [
        "/EFI/BOOT/grub.cfg on the EFI system partition needs",
        "0 are free there",
        "shorter arguments",
    ];
    refuses_image(3, &full, &["--overlay-size", "1GiB"], &words);
    refuses_image(
        3,
        &full,
        &["--extra-kernel-args", "one.more=argument"],
        &words,
    );
    let target = bench.used("stick.img", 32);
    assert_eq!(
        ask(&["write", text(&full), text(&target), "-y"]).code,
        Some(0)
    );
    // One cluster is enough.
    run("mdel", &["-i", &drive, "::/BALLAST"]);
    fs::write(&ballast, vec![0xA5; free() - cluster]).unwrap();
    run("mcopy", &["-i", &drive, text(&ballast), "::/BALLAST"]);
    plans(&full, &["--overlay-size", "1GiB"]);
}
