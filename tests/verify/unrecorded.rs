// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks without a record.

use std::fs;

use crate::stick::{Stick, Verified, verify};
use crate::support::bench::{Bench, ask, poke, sha256};
use crate::support::lab::iso;
use crate::support::program::{run, text};

/// A stick made by dd.
fn by_dd(bench: &Bench, options: &[&str]) -> (std::path::PathBuf, std::path::PathBuf) {
    let image = iso("grub2", options);
    let path = bench.used("stick.img", 64);
    let (from, to) = (
        format!("if={}", text(&image)),
        format!("of={}", text(&path)),
    );
    run(
        "dd",
        &[&from, &to, "bs=1M", "conv=notrunc,fsync", "status=none"],
    );
    (image, path)
}

#[test]
fn a_stick_made_by_dd_is_verified_against_the_image() {
    let bench = Bench::new();
    let (image, path) = by_dd(&bench, &[]);
    let verified = verify(&path, &[text(&image)]);
    verified.must(verified.code == Some(0) && verified.holds("image") == "proven");
    let at = 5 << 20;
    let was = poke(&path, at, &[0])[0];
    poke(&path, at, &[!was]);
    let verified = verify(&path, &[text(&image)]);
    verified.must(verified.code == Some(6) && verified.damage().len() == 1);
    verified.must(verified.damage()[0]["extent"]["at"] == at);
    // It is the image that is damaged, not what somebody saved.
    verified.must(verified.cause() == "damaged");
}

#[test]
fn the_implanted_sum_is_checked_and_its_blind_spots_are_named() {
    let bench = Bench::new();
    let (image, path) = by_dd(&bench, &[]);
    let verified = verify(&path, &[]);
    verified.must(verified.code == Some(0) && verified.holds("media check") == "proven");
    let how = verified.link("media check")["how"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(how.contains("30 720") && how.contains("MD5"), "{how}");
    // What checkisomd5 cannot see, livestick does not see by it either, but said so.
    let size = fs::metadata(&image).unwrap().len();
    let was = poke(&path, size - 1, &[0])[0];
    poke(&path, size - 1, &[!was]);
    assert_eq!(verify(&path, &[]).code, Some(0));
    let was = poke(&path, 5 << 20, &[0])[0];
    poke(&path, 5 << 20, &[!was]);
    let verified = verify(&path, &[]);
    verified.must(verified.code == Some(6) && verified.holds("media check") == "broken");
}

#[test]
fn where_nothing_can_be_said_nothing_is_claimed() {
    let bench = Bench::new();
    let (_, path) = by_dd(&bench, &["--no-md5"]);
    let verified = verify(&path, &[]);
    verified.must(verified.code == Some(6) && verified.holds("image") == "unproven");
    assert!(
        verified.link("image")["how"]
            .as_str()
            .unwrap()
            .contains("give the image")
    );
    let empty = bench.used("empty.img", 8);
    let verified = verify(&empty, &[]);
    verified.must(verified.code == Some(6));
    for path in ["/no/such/stick.img", "/dev/sdzz", "/dev/null"] {
        let refused = verify(std::path::Path::new(path), &[]);
        assert_eq!(refused.code, Some(3), "{path}");
    }
}

#[test]
fn only_a_recorded_stick_is_repaired_and_only_with_its_image() {
    let bench = Bench::new();
    let (image, path) = by_dd(&bench, &[]);
    let before = sha256(&path, None);
    let args = ["repair", text(&path), text(&image), "-y", "--json"];
    let refused = Verified::of(ask(&args));
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.failure().contains("no record"),
        "{}",
        refused.failure()
    );
    assert_eq!(sha256(&path, None), before);

    let stick = Stick::persistent("grub2");
    stick.flip(5 << 20);
    // The same size, another byte; and another size.
    let other = bench.copy(&stick.image, "other.iso");
    poke(&other, 6 << 20, b"other");
    for other in [other, iso("isolinux", &[])] {
        let args = ["repair", text(&stick.path), text(&other), "-y", "--json"];
        let refused = Verified::of(ask(&args));
        assert_eq!(refused.code, Some(4), "{:?}", refused.outcome);
        assert!(refused.failure().contains("not the one that was written"));
        let verified = stick.verify(&[text(&other)]);
        verified.must(verified.code == Some(6) && verified.holds("image file") == "broken");
    }
    stick.flip(5 << 20);
    assert!(stick.is_pristine());
    // Nothing to do is well done.
    let repaired = stick.repair(&[]);
    repaired.must(repaired.code == Some(0) && repaired.damage().is_empty());
}

#[test]
fn a_repair_is_listed_and_asked_for_before_it_is_made() {
    let stick = Stick::persistent("grub2");
    stick.flip(5 << 20);
    let damaged = sha256(&stick.path, None);
    let args = ["repair", text(&stick.path), text(&stick.image)];
    let dry = ask(&[&args[..], &["--dry-run"]].concat());
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(
        dry.out.contains("1 048 576 bytes at byte 5 242 880"),
        "{}",
        dry.out
    );
    // Nobody to ask.
    let unasked = ask(&args);
    assert_eq!(unasked.code, Some(3), "{unasked:?}");
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(sha256(&stick.path, None), damaged);
}

#[test]
fn a_published_digest_is_compared_with_and_without_a_record() {
    let bench = Bench::new();
    let (image, path) = by_dd(&bench, &["--no-md5"]);
    let digest = sha256(&image, None);
    let given = format!("sha256:{digest}");
    let verified = verify(&path, &["--checksum", &given]);
    verified.must(verified.code == Some(0) && verified.holds("published digest") == "proven");
    let list = bench.path("SHA256SUMS");
    let stick = Stick::persistent("grub2");
    let own = sha256(&stick.image, None);
    fs::write(&list, format!("{own}  grub2.iso\n")).unwrap();
    let verified = stick.verify(&["--checksum", text(&list)]);
    verified.must(verified.code == Some(0) && verified.holds("published digest") == "proven");
    for verified in [
        stick.verify(&["--checksum", &given]),
        verify(&path, &["--checksum", &format!("sha256:{own}")]),
    ] {
        verified.must(verified.code == Some(6) && verified.holds("published digest") == "broken");
    }
    fs::write(&list, format!("{own}  other.iso\n")).unwrap();
    assert!(matches!(
        stick.verify(&["--checksum", text(&list)]).code,
        Some(3 | 4)
    ));
}

#[test]
fn a_published_sha512_is_compared_too() {
    let bench = Bench::new();
    let (image, path) = by_dd(&bench, &["--no-md5"]);
    let sum = |image: &std::path::Path| {
        let said = run("sha512sum", &[text(image)]);
        said.split(' ')
            .next()
            .unwrap()
            .trim_start_matches('\\')
            .to_owned()
    };
    let given = format!("sha512:{}", sum(&image));
    let verified = verify(&path, &["--checksum", &given]);
    verified.must(verified.code == Some(0) && verified.holds("published digest") == "proven");
    // A list of that kind alone, as some distributions have it, for a stick with changed ranges.
    let stick = Stick::persistent("grub2");
    let list = bench.path("SHA512SUMS");
    let own = sum(&stick.image);
    fs::write(&list, format!("{own}  grub2.iso\n")).unwrap();
    let verified = stick.verify(&["--checksum", text(&list)]);
    verified.must(verified.code == Some(0) && verified.holds("published digest") == "proven");
    // Somebody else's.
    let other = if given.ends_with(&own) {
        "0".repeat(128)
    } else {
        given[7..].to_owned()
    };
    fs::write(&list, format!("{other}  grub2.iso\n")).unwrap();
    let verified = stick.verify(&["--checksum", text(&list)]);
    verified.must(verified.code == Some(6) && verified.holds("published digest") == "broken");
    let how = verified.link("published digest")["how"].as_str().unwrap();
    assert!(how.contains(&own) && how.contains(&other), "{how}");
    fs::write(&list, format!("{own}  grub2.iso\n")).unwrap();
    stick.flip(5 << 20);
    let verified = stick.verify(&["--checksum", text(&list)]);
    verified.must(verified.code == Some(6) && verified.holds("published digest") == "broken");
}
