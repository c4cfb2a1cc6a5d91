// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists that somebody signed.

use std::os::unix::fs::symlink;

use super::signer::{LONG_AGO, Signer};
use super::support::bench::{finish, livestick};
use super::*;

const OWNER: &str = "Lab Project (44) <lab-44@example.org>";

/// What is said of the signature of the list that was found.
fn verdict(download: &Download, keyring: &Path) -> Value {
    let mut found = download.published(&["--keyring", text(keyring)]);
    assert_eq!(found["state"], "listed", "{found}");
    found["signature"].take()
}

#[test]
fn a_good_signature_says_who_published() {
    let download = Download::new();
    let signer = Signer::new(OWNER);
    let list = format!(
        "# a list\n- dash\n{}",
        download.list("sha256sum", &["--tag"])
    );
    let clear = signer.clear(&list, &[]);
    assert!(clear.contains("\n- - dash\n"));
    download.put("Lab-44-CHECKSUM", &clear);
    let good = |keyring: &Path| {
        let verdict = verdict(&download, keyring);
        assert_eq!(verdict["verdict"], "good", "{verdict}");
        assert_eq!(verdict["key"], *signer.print);
        assert_eq!(verdict["owner"], OWNER);
    };
    // Keys in every form: bare, armored, gpg's own box.
    good(&signer.keyring(&[]));
    good(&signer.keyring(&["--armor"]));
    good(&signer.path("pubring.kbx"));
    let keyring = signer.keyring(&["--armor"]);
    let said = format!(
        "published by Lab Project (44) (key {}, good signature), in Lab-44-CHECKSUM",
        signer.print
    );
    let plain = download.inspect(&["--keyring", text(&keyring)]);
    assert!(plain.out.contains(&said), "{plain:?}");
    assert!(plain.out.contains("the image is the published one"));
    // Several keyrings, of which one has it; line ends as they come from other systems.
    let other = Signer::new("Somebody Else <else@example.org>");
    download.put("Lab-44-CHECKSUM", clear.replace('\n', "\r\n"));
    let others = other.keyring(&[]);
    let both = ["--keyring", text(&others), "--keyring", text(&keyring)];
    assert_eq!(download.published(&both)["signature"]["verdict"], "good");

    // With the other alone nobody knows the signer.
    let unknown = verdict(&download, &others);
    assert_eq!(unknown["verdict"], "unknown-key");
    assert_eq!(unknown["key"], *signer.print);
    let plain = download.inspect(&["--keyring", text(&others)]);
    assert!(plain.out.contains("signed by an unknown key"), "{plain:?}");
    assert!(plain.out.contains("counts as unsigned"), "{plain:?}");
    // The distribution of this machine does not know it either; the keys of users are not asked.
    let outcome = finish({
        let mut command = livestick(&["inspect", text(&download.image), "--json"]);
        command.env("GNUPGHOME", signer.path(""));
        command
    });
    let found = &outcome.events()[0]["published"]["signature"];
    assert_eq!(found["verdict"], "unknown-key", "{outcome:?}");
}

#[test]
fn detached_signatures_are_found_by_their_names() {
    let download = Download::new();
    let signer = Signer::new(OWNER);
    let keyring = signer.keyring(&[]);
    let list = download.put("SHA512SUMS", download.list("sha512sum", &[]));
    for (ending, options) in [
        ("asc", &["--armor"][..]),
        ("sig", &[]),
        ("gpg", &["--armor"]),
        ("sign", &[]),
    ] {
        let signature = signer.detached(&list, options);
        let path = download.put(&format!("SHA512SUMS.{ending}"), signature);
        assert_eq!(verdict(&download, &keyring)["verdict"], "good", "{ending}");
        // Not what it signs.
        let bytes = fs::read(&list).unwrap();
        fs::write(&list, [&bytes[..], b"\n"].concat()).unwrap();
        let args = ["--keyring", text(&keyring)];
        download.stops(4, &args, &["bad signature", OWNER, "SHA512SUMS"]);
        fs::write(&list, bytes).unwrap();
        fs::remove_file(path).unwrap();
    }
    // One that nobody knows beside one that is good.
    let other = Signer::new("Old Key <old@example.org>");
    let both = [other.detached(&list, &[]), signer.detached(&list, &[])].concat();
    let path = download.put("SHA512SUMS.gpg", both);
    assert_eq!(verdict(&download, &keyring)["verdict"], "good");
    fs::remove_file(path).unwrap();

    // A good signature of something else in its place: a text of its own, or in a frame.
    let elsewhere = signer.path("elsewhere");
    fs::write(&elsewhere, "hello").unwrap();
    let inline = signer.gpg(&["--armor", "--output", "-", "--sign", text(&elsewhere)]);
    let clear = signer.clear("hello\n", &[]);
    let bytes = signer.gpg(&["--output", "-", "--sign", text(&elsewhere)]);
    for trap in [
        inline,
        clear.into_bytes(),
        bytes,
        b"no signature".to_vec(),
        vec![],
    ] {
        download.put("SHA512SUMS.sig", trap);
        let verdict = verdict(&download, &keyring);
        let word = verdict["verdict"].as_str().unwrap();
        assert!(["none", "unchecked"].contains(&word), "{verdict}");
    }
    fs::remove_file(download.dir().join("SHA512SUMS.sig")).unwrap();
    assert_eq!(verdict(&download, &keyring)["verdict"], "none");
}

#[test]
fn only_the_signed_text_counts() {
    let download = Download::new();
    let signer = Signer::new(OWNER);
    let keyring = signer.keyring(&[]);
    let args = ["--keyring", text(&keyring)];
    let (sum, right) = (
        download.sum("sha256sum"),
        download.list("sha256sum", &["--tag"]),
    );
    let other = wrong(&sum);
    let clear = signer.clear(&right, &[]);
    // Lines around it, which would contradict or be all there is.
    for text in [
        format!("{other}  live.iso\n{clear}"),
        format!("{clear}{other}  live.iso\n"),
        format!("{other}  live.iso\n\n{clear}\n\nSHA256 (live.iso) = {other}\n"),
    ] {
        download.put("CHECKSUM", text);
        let found = download.published(&args);
        assert_eq!(found["sums"][0]["value"], *sum);
        assert_eq!(found["signature"]["verdict"], "good");
    }
    let about = signer.clear(&format!("{sum}  another.iso\n"), &[]);
    let file = download.put("CHECKSUM", format!("{right}{about}{right}"));
    assert_eq!(download.published(&args)["state"], "not-found");
    let named = [&args[..], &["--checksum", text(&file)]].concat();
    download.stops(3, &named, &["does not list live.iso", "only another.iso"]);
    // A second frame, and a head that hides lines.
    download.put("CHECKSUM", format!("{clear}{about}"));
    download.stops(4, &args, &["more than one signed part"]);
    let head = clear.replacen("Hash: ", &format!("SHA256 (live.iso) = {other}\nHash: "), 1);
    download.put("CHECKSUM", head);
    download.stops(4, &args, &["head of unknown form"]);
}

#[test]
fn what_was_changed_after_it_was_signed_stops() {
    let download = Download::new();
    let signer = Signer::new(OWNER);
    let keyring = signer.keyring(&[]);
    let args = ["--keyring", text(&keyring)];
    let sum = download.sum("sha256sum");
    // Signed with another digest, then made to fit the image.
    let list = format!("SHA256 (live.iso) = {}\n", wrong(&sum));
    let clear = signer.clear(&list, &[]);
    let file = download.put("Lab-CHECKSUM", clear.replace(&wrong(&sum), &sum));
    download.stops(4, &args, &["bad signature", OWNER, "Lab-CHECKSUM"]);
    // Of somebody else's list that is no matter.
    let other = clear.replace("live.iso", "other.iso");
    fs::write(&file, &other).unwrap();
    assert_eq!(download.published(&args)["state"], "not-found");
    // Nor is it looked at where nothing shall be.
    fs::write(&file, clear.replace(&wrong(&sum), &sum)).unwrap();
    assert_eq!(
        download.published(&["--checksum", "none"])["state"],
        "not-asked"
    );

    // Cut off anywhere.
    let whole = signer.clear(&download.list("sha256sum", &["--tag"]), &[]);
    for mark in ["-----END", "-----BEGIN PGP SIGNATURE", "=", "Hash: "] {
        let at = whole.rfind(mark).unwrap();
        fs::write(&file, &whole[..at]).unwrap();
        if mark == "Hash: " {
            assert_eq!(download.published(&args)["state"], "not-found");
            let notes = download.published(&args)["notes"].to_string();
            assert!(notes.contains("is damaged"), "{notes}");
        } else {
            download.stops(4, &args, &["Lab-CHECKSUM is damaged", "download it again"]);
        }
    }
    let at = whole.find("SHA256 (").unwrap();
    fs::write(&file, &whole[at..]).unwrap();
    download.stops(4, &args, &["the beginning of its signed text is missing"]);
}

#[test]
fn keys_that_count_no_more_are_said_to() {
    let download = Download::new();
    let list = download.list("sha256sum", &["--tag"]);
    let expired = Signer::expired("Lab 11 <lab-11@example.org>");
    download.put("CHECKSUM", expired.clear(&list, &LONG_AGO));
    let keyring = expired.keyring(&[]);
    let said = verdict(&download, &keyring);
    assert_eq!(said["verdict"], "expired");
    assert_eq!(said["key"], *expired.print);
    let plain = download.inspect(&["--keyring", text(&keyring)]);
    let words = "signed by Lab 11 with a key that has expired";
    assert!(plain.out.contains(words), "{plain:?}");
    assert!(!plain.out.contains("published by"), "{plain:?}");

    let revoked = Signer::new("Lab 12 <lab-12@example.org>");
    download.put("CHECKSUM", revoked.clear(&list, &[]));
    assert_eq!(verdict(&download, &revoked.keyring(&[]))["verdict"], "good");
    revoked.revoke();
    let keyring = revoked.keyring(&[]);
    assert_eq!(verdict(&download, &keyring)["verdict"], "revoked");
    let plain = download.inspect(&["--keyring", text(&keyring)]);
    assert!(
        plain.out.contains("with a key that was revoked"),
        "{plain:?}"
    );

    // A digest of which two texts can be made to have the same.
    let weak = Signer::new("Lab 13 <lab-13@example.org>");
    download.put("CHECKSUM", weak.clear(&list, &["--digest-algo", "SHA1"]));
    assert_eq!(
        verdict(&download, &weak.keyring(&[]))["verdict"],
        "unchecked"
    );

    // A signature for a day.
    let old = Signer::old("Lab 14 <lab-14@example.org>");
    let day = [&LONG_AGO[..], &["--default-sig-expire", "1d"]].concat();
    let keyring = old.keyring(&[]);
    download.put("CHECKSUM", old.clear(&list, &LONG_AGO));
    assert_eq!(verdict(&download, &keyring)["verdict"], "good");
    download.put("CHECKSUM", old.clear(&list, &day));
    let said = verdict(&download, &keyring);
    assert_eq!(said["verdict"], "unchecked");
    assert!(
        said["why"].as_str().unwrap().contains("has expired"),
        "{said}"
    );

    // The list itself is compared all the same.
    let sum = download.sum("sha256sum");
    let changed = list.replace(&sum, &wrong(&sum));
    download.put("CHECKSUM", expired.clear(&changed, &LONG_AGO));
    let keyring = expired.keyring(&[]);
    download.differs(&["--keyring", text(&keyring)], &[&sum, &wrong(&sum)]);
}

#[test]
fn without_gpgv_that_is_said() {
    let download = Download::new();
    let signer = Signer::new(OWNER);
    let list = download.list("sha256sum", &["--tag"]);
    download.put("CHECKSUM", signer.clear(&list, &[]));
    // A place with everything but gpgv.
    let bench = Bench::new();
    for tool in ["unshare", "true", "setpriv"] {
        symlink(format!("/usr/bin/{tool}"), bench.path(tool)).unwrap();
    }
    let keyring = signer.keyring(&[]);
    let args = [
        "inspect",
        text(&download.image),
        "--keyring",
        text(&keyring),
    ];
    let outcome = finish({
        let mut command = livestick(&args);
        command.env("PATH", bench.dir.path());
        command
    });
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.out.contains("install the package gpgv"),
        "{outcome:?}"
    );
    assert!(outcome.out.contains("counts as unsigned"), "{outcome:?}");
    assert!(outcome.out.contains("the image has this digest"));
    // A keyring that is none is said before anything else.
    download.put("empty", "");
    let empty = download.dir().join("empty");
    let args = ["--keyring", text(&empty)];
    download.stops(3, &args, &["empty", "has no OpenPGP keys"]);
}
