// SPDX-License-Identifier: MIT OR Apache-2.0
//! The original image back from a stick.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::stick::{Stick, Verified};
use crate::support::bench::ask;
use crate::support::program::{root, run, text};

fn extract(stick: &Stick, out: &str, more: &[&str]) -> Verified {
    let args = ["extract", text(&stick.path), out, "--json"];
    Verified::of(ask(&[&args, more].concat()))
}

#[test]
fn what_is_extracted_is_the_original_byte_for_byte() {
    for layout in ["grub2", "isolinux"] {
        let stick = Stick::persistent(layout);
        let out = stick.bench.path("out file.iso");
        let extracted = extract(&stick, text(&out), &[]);
        extracted.must(extracted.code == Some(0));
        run("cmp", &[text(&out), text(&stick.image)]);
        let mode = fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        // Not twice, unless it is asked for.
        let again = extract(&stick, text(&out), &[]);
        assert_eq!(again.code, Some(3));
        assert!(again.failure().contains("--force"), "{}", again.failure());
        fs::write(&out, "old").unwrap();
        let forced = extract(&stick, text(&out), &["--force"]);
        forced.must(forced.code == Some(0));
        run("cmp", &[text(&out), text(&stick.image)]);
        assert!(stick.is_pristine());
    }
}

#[test]
fn nothing_is_extracted_from_a_damaged_stick_and_nothing_is_left_behind() {
    let stick = Stick::persistent("grub2");
    stick.flip(stick.file("/LiveOS/squashfs.img") + 1_500_000);
    let out = stick.bench.path("out.iso");
    let extracted = extract(&stick, text(&out), &[]);
    assert_eq!(extracted.code, Some(6), "{:?}", extracted.outcome);
    assert!(
        extracted.failure().contains("livestick verify"),
        "{}",
        extracted.failure()
    );
    let names = fs::read_dir(stick.bench.dir.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["stick.img"]);
    // What was there stays.
    fs::write(&out, "precious").unwrap();
    assert_eq!(extract(&stick, text(&out), &["--force"]).code, Some(6));
    assert_eq!(fs::read(&out).unwrap(), b"precious");
}

#[test]
fn a_report_never_takes_the_place_of_the_image() {
    let stick = Stick::new("grub2", &[]);
    let out = stick.bench.path("out.iso");
    // The same place in other words, while nothing is there yet.
    let other = stick.bench.dir.path().join(".").join("out.iso");
    let link = stick.bench.path("link");
    std::os::unix::fs::symlink(stick.bench.dir.path(), &link).unwrap();
    for report in [&out, &other, &link.join("out.iso")] {
        let refused = extract(&stick, text(&out), &["--report", text(report)]);
        assert_eq!(refused.code, Some(2), "{report:?}: {:?}", refused.outcome);
        assert!(!out.exists());
    }
    let beside = stick.bench.path("report.txt");
    let done = extract(&stick, text(&out), &["--report", text(&beside)]);
    done.must(done.code == Some(0));
    run("cmp", &[text(&out), text(&stick.image)]);
    assert!(
        fs::read_to_string(beside)
            .unwrap()
            .contains("byte for byte")
    );
}

#[test]
fn what_is_a_link_is_not_followed() {
    let stick = Stick::new("grub2", &[]);
    let (out, precious) = (stick.bench.path("out.iso"), stick.bench.path("precious"));
    for there in [true, false] {
        if there {
            fs::write(&precious, "precious").unwrap();
        } else {
            fs::remove_file(&precious).unwrap();
        }
        let _ = fs::remove_file(&out);
        std::os::unix::fs::symlink(&precious, &out).unwrap();
        for more in [&[][..], &["--force"]] {
            let refused = extract(&stick, text(&out), more);
            assert_eq!(refused.code, Some(3), "{:?}", refused.outcome);
        }
        assert_eq!(precious.exists(), there);
    }
}

#[test]
fn places_where_nothing_may_be_made_are_refused() {
    let stick = Stick::new("grub2", &[]);
    let directory = text(stick.bench.dir.path()).to_owned();
    for out in [
        text(&stick.path),
        &directory,
        "/dev/null",
        "/dev/new.iso",
        "/no/such/place/out.iso",
    ] {
        let refused = extract(&stick, out, &["--force"]);
        assert_eq!(refused.code, Some(3), "{out}: {:?}", refused.outcome);
        assert!(!refused.failure().is_empty());
    }
    assert!(stick.is_pristine());
    let image = crate::stick::verify(&stick.image, &[]);
    // An image is no stick, but one without a record.
    assert_eq!(image.link("record")["holds"], "not-claimed");
    let out = stick.bench.path("x.iso");
    let args = ["extract", text(&stick.image), text(&out), "--json"];
    assert_eq!(ask(&args).code, Some(3));
}

#[test]
fn the_image_is_not_put_on_the_stick_it_comes_from() {
    if !root() {
        return;
    }
    let mut stick = Stick::persistent("grub2");
    let path = stick.path.clone();
    let (start, len) = stick.partition("0fc63daf");
    let disk = stick.bench.attach(&path, &["--direct-io=on"]);
    // A partition node of its own is not to be had everywhere, so a loop device on the disk stands in for it.
    let window = crate::support::device::Loop::window(&disk, start, len);
    let mounted = crate::support::device::Mounted::new(text(&window.node), &[]);
    let out = mounted.path().join("out.iso");
    let args = ["extract", text(&disk), text(&out), "--json"];
    let refused = Verified::of(ask(&args));
    assert_eq!(refused.code, Some(3), "{:?}", refused.outcome);
    assert!(
        refused.failure().contains("on the stick itself"),
        "{}",
        refused.failure()
    );
}
