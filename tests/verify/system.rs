// SPDX-License-Identifier: MIT OR Apache-2.0
//! Systems that mount a stick's EFI system partition without being asked, and leave traces.

use crate::stick::Stick;
use crate::support::bench::poke;
use crate::support::program::{output, run, text};

/// Mtools on the system partition.
fn mtool(stick: &Stick, program: &str, args: &[&str]) {
    let esp = stick.partition("c12a7328").0;
    let drive = format!("{}@@{esp}", text(&stick.path));
    run(program, &[&["-i", &drive], args].concat());
}

/// The stick must be told to have been changed by a system, and to start as before.
fn judge(stick: &Stick, sign: &str) {
    for more in [&[][..], &[text(&stick.image)]] {
        let verified = stick.verify(more);
        verified.must(verified.code == Some(6) && verified.holds("image") == "broken");
        verified.must(verified.cause() == "system-changed");
        verified.must(verified.holds("boot files") == "proven");
        let says = verified.report["diagnosis"]["says"].as_str().unwrap();
        assert!(says.contains(sign), "no '{sign}' in {says}");
        assert!(
            verified.names("EFI system partition"),
            "{:?}",
            verified.places()
        );
    }
    let repaired = stick.repair(&[]);
    repaired.must(repaired.code == Some(0) && repaired.cause() == "cured");
    assert!(stick.is_pristine());
}

#[test]
fn folders_that_desktops_make_are_told_from_damage() {
    let stick = Stick::new("grub2", &[]);
    mtool(&stick, "mmd", &["::/.fseventsd"]);
    judge(&stick, "'.fseventsd'");
    mtool(&stick, "mmd", &["::/System Volume Information"]);
    let file = stick.bench.path("IndexerVolumeGuid");
    std::fs::write(&file, "guid").unwrap();
    mtool(
        &stick,
        "mcopy",
        &[text(&file), "::/System Volume Information/"],
    );
    judge(&stick, "'System Volume Information'");
}

#[test]
fn a_partition_that_is_marked_as_in_use_is_told_from_damage() {
    let stick = Stick::new("grub2", &[]);
    let esp = stick.partition("c12a7328").0;
    // What the kernel does at a mount, and takes back at the unmount that a pulled stick never gets.
    let was = poke(&stick.path, esp + 37, &[0])[0];
    poke(&stick.path, esp + 37, &[was | 1]);
    judge(&stick, "marked as in use");
}

#[test]
fn a_changed_boot_file_is_never_blamed_on_a_mount() {
    let stick = Stick::new("grub2", &[]);
    let file = stick.bench.path("grub.cfg");
    std::fs::write(&file, "set timeout=0\n").unwrap();
    let esp = stick.partition("c12a7328").0;
    let drive = format!("{}@@{esp}", text(&stick.path));
    let listing = run("mdir", &["-/", "-b", "-i", &drive]);
    let config = listing
        .lines()
        .find(|line| line.to_lowercase().ends_with("grub.cfg"))
        .unwrap();
    output("mcopy", &["-o", "-i", &drive, text(&file), config]);
    let verified = stick.verify(&[]);
    verified.must(verified.code == Some(6) && verified.cause() == "damaged");
    verified.must(verified.holds("boot files") == "broken");
    let repaired = stick.repair(&[]);
    repaired.must(repaired.code == Some(0));
    assert!(stick.is_pristine());
}
