// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists that nobody signed: their forms, names and faults.

use super::*;

#[test]
fn lists_beside_the_image_are_found_in_every_form() {
    let download = Download::new();
    let (short, long) = (download.sum("sha256sum"), download.sum("sha512sum"));
    let crlf = |text: String| text.replace('\n', "\r\n");
    let lists = [
        (
            "Lab-Live-44-CHECKSUM",
            download.list("sha256sum", &["--tag"]),
        ),
        ("CHECKSUM", crlf(download.list("sha512sum", &["--tag"]))),
        ("SHA256SUMS", download.list("sha256sum", &[])),
        ("SHA512SUMS", download.list("sha512sum", &["--binary"])),
        ("sha256sum.txt", crlf(download.list("sha256sum", &[]))),
        ("sha512sum.txt", download.list("sha512sum", &[])),
        ("live.iso.sha256", format!("{short}\n")),
        ("live.iso.sha512", format!("{}\r\n", long.to_uppercase())),
        ("live.iso.sha256sum", download.list("sha256sum", &[])),
        (
            "live.sha256",
            format!("# two\n{short}  other.iso\n{short}  ./live.iso\n"),
        ),
    ];
    for (name, list) in lists {
        let path = download.put(name, &list);
        let found = download.published(&[]);
        assert_eq!(found["state"], "listed", "{name}");
        assert_eq!(found["file"], text(&path));
        assert_eq!(found["signature"]["verdict"], "none");
        let sum = &found["sums"][0];
        let right = match sum["algorithm"].as_str().unwrap() {
            "sha256" => &short,
            _ => &long,
        };
        assert_eq!(sum["value"], **right, "{name}");
        let plain = download.inspect(&["--quick"]);
        let words = format!("listed in an unsigned file, {name}");
        assert!(plain.out.contains(&words), "{plain:?}");
        assert!(plain.out.contains("not compared: --quick"), "{plain:?}");
        let whole = download.inspect(&[]);
        assert!(whole.out.contains("the image has this digest"), "{whole:?}");
        assert!(!whole.out.contains("published one"), "{whole:?}");
        fs::remove_file(path).unwrap();
    }
    // Both digests, each compared.
    let both = [["sha256sum", "--tag"], ["sha512sum", "--tag"]];
    let both = both.map(|[tool, tag]| download.list(tool, &[tag]));
    download.put("CHECKSUM", both.concat());
    let found = download.published(&[]);
    assert_eq!(found["sums"][0]["value"], *short);
    assert_eq!(found["sums"][1]["value"], *long);
    let changed = both.concat().replace(&long, &wrong(&long));
    download.put("CHECKSUM", changed);
    download.differs(&[], &[&long, &wrong(&long), "download it again"]);
}

#[test]
fn where_nothing_is_found_that_is_said_and_nothing_is_read() {
    let download = Download::new();
    let found = download.published(&[]);
    assert_eq!(found["state"], "not-found");
    let plain = download.inspect(&[]);
    assert!(
        plain.out.contains("no published digest found\n"),
        "{plain:?}"
    );
    let other = format!("{}  other.iso\n", "ab".repeat(32));
    download.put("SHA256SUMS", &other);
    download.put("other.iso.sha256", "ab".repeat(32));
    let plain = download.inspect(&[]);
    let words = "no published digest found (SHA256SUMS does not list it)";
    assert!(plain.out.contains(words), "{plain:?}");
    // What is in the way is not followed, waited for, or read to its end.
    download.put("sha512sum.txt", vec![b'a'; (4 << 20) + 1]);
    run("mkfifo", &[text(&download.dir().join("CHECKSUM"))]);
    fs::create_dir(download.dir().join("X-CHECKSUM")).unwrap();
    let hidden = download.put("hidden", download.list("sha256sum", &[]));
    std::os::unix::fs::symlink(hidden, download.dir().join("live.iso.sha256")).unwrap();
    let found = download.published(&[]);
    assert_eq!(found["state"], "not-found");
    assert_eq!(found["notes"].as_array().unwrap().len(), 5, "{found}");
    let none = download.published(&["--checksum", "none"]);
    assert_eq!(none["state"], "not-asked");
}

#[test]
fn a_mismatch_stops_before_anything_is_written() {
    let download = Download::new();
    let sum = download.sum("sha256sum");
    let other = wrong(&sum);
    let words = [
        "live.iso",
        sum.as_str(),
        other.as_str(),
        "download it again",
    ];
    download.differs(&["--checksum", &format!("sha256:{other}")], &words);
    let list = download.put("SHA256SUMS", format!("{other}  live.iso\n"));
    download.differs(&[], &words);
    // The user's own word goes before what lies there.
    let right = format!("SHA256:{}", sum.to_uppercase());
    let found = download.published(&["--checksum", &right]);
    assert_eq!(found["sum"]["value"], *sum);
    assert_eq!(download.inspect(&["--checksum", "none"]).code, Some(0));
    fs::remove_file(list).unwrap();

    // One flipped bit in the image.
    let bench = Bench::new();
    let image = bench.copy(&download.image, "live.iso");
    let list = format!("{sum}  live.iso\n");
    fs::write(bench.path("SHA256SUMS"), list).unwrap();
    poke(&image, 3 << 20, &[0x55]);
    let damaged = Download { bench, image };
    let now = sha256(&damaged.image, None);
    damaged.differs(&[], &[&now, &sum]);
    let json = damaged.inspect(&["--json"]).events().remove(0);
    assert_eq!(json["comparison"]["result"], "differs");
    assert_eq!(json["comparison"]["measured"][0]["value"], *now);
    // Nothing of it is read where that is not wanted.
    assert_eq!(damaged.inspect(&["--quick"]).code, Some(0));
}

#[test]
fn a_list_that_is_not_clear_stops() {
    let download = Download::new();
    let (sum, tag) = (
        download.sum("sha256sum"),
        download.list("sha256sum", &["--tag"]),
    );
    let other = wrong(&sum);
    let two = download.put("CHECKSUM", format!("{tag}{other}  live.iso\n"));
    download.stops(4, &[], &["two digests", &sum, &other]);
    fs::write(&two, &tag[..tag.len() - 20]).unwrap();
    download.stops(4, &[], &["cut off", "CHECKSUM", "download it again"]);
    // Cut off before the digest it says nothing.
    fs::write(&two, &tag[..tag.len() - sum.len() - 5]).unwrap();
    assert_eq!(download.published(&[])["state"], "not-found");
    let args = ["--checksum", text(&two)];
    download.stops(3, &args, &["has no SHA-256", "CHECKSUM"]);
    fs::write(&two, &tag).unwrap();
    let beside = download.put("live.iso.sha256", &other);
    download.stops(4, &[], &["different sha256 digests", "--checksum"]);
    assert_eq!(download.published(&args)["state"], "listed");
    fs::write(beside, &sum[..50]).unwrap();
    download.stops(4, &[], &["50 digits", "cut off"]);
}

#[test]
fn a_file_that_is_named_has_to_be_the_one() {
    let download = Download::new();
    let sum = download.sum("sha256sum");
    let stops = |path: &Path, words: &[&str]| {
        download.stops(3, &["--checksum", text(path)], words);
    };
    stops(
        &download.dir().join("none such"),
        &["does not exist", "--checksum none"],
    );
    stops(download.dir(), &["not a regular file"]);
    let file = download.put("list", format!("{sum}  renamed.iso\n"));
    // What was meant is offered, and not taken.
    let offer = format!("--checksum sha256:{sum}");
    stops(
        &file,
        &["does not list live.iso", "only renamed.iso", &offer],
    );
    fs::write(&file, format!("{sum}  a.iso\n{sum}  b.iso\n")).unwrap();
    stops(&file, &["does not list live.iso", "its own name back"]);
    fs::write(&file, "MD5 (live.iso) = d41d8cd98f00b204e9800998ecf8427e\n").unwrap();
    stops(&file, &["has no SHA-256"]);
    // A link to it is all right where it was named, and so is a digest alone.
    fs::write(&file, format!("{sum}\n")).unwrap();
    let link = download.dir().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let found = download.published(&["--checksum", text(&link)]);
    assert_eq!(found["sums"][0]["value"], *sum);
    for (word, why) in [
        ("sha256:12", "64 hexadecimal digits"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "give sha256"),
        ("", "names no file"),
    ] {
        let outcome = download.inspect(&["--checksum", word]);
        assert_eq!(outcome.code, Some(2), "{word} {outcome:?}");
        assert!(outcome.err.contains(why), "{word} {outcome:?}");
    }
    let outcome = download.inspect(&["--checksum", "none", "--keyring", text(&file)]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

#[test]
fn a_link_to_the_image_has_two_names_and_two_places() {
    let download = Download::new();
    let bench = Bench::new();
    let link = bench.path("newest.iso");
    std::os::unix::fs::symlink(&download.image, &link).unwrap();
    let listed = || {
        let outcome = ask(&["inspect", text(&link), "--json"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome.events().remove(0)["published"]["state"].clone()
    };
    let there = download.put("SHA256SUMS", download.list("sha256sum", &[]));
    assert_eq!(listed(), "listed");
    fs::remove_file(there).unwrap();
    assert_eq!(listed(), "not-found");
    let sum = download.sum("sha256sum");
    fs::write(bench.path("SHA256SUMS"), format!("{sum}  newest.iso\n")).unwrap();
    assert_eq!(listed(), "listed");
}
