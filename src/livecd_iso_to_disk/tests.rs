// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every row of the table does what it says.

use std::ffi::OsString;

use super::words::CommandLine;
use super::*;
use crate::units::Bytes;

fn job(line: &str) -> Result<Job, No> {
    let words = line.split_whitespace().map(OsString::from);
    let Ok(CommandLine::Stick {
        given,
        source,
        target,
    }) = CommandLine::read(words)
    else {
        panic!("{line} is no command line")
    };
    Job::of(&given, &source, &target)
}

fn good(line: &str) -> Job {
    job(line).unwrap_or_else(|no| panic!("{line}: {no:?}"))
}

/// A word that the option of a row takes.
fn word_for(row: &Row) -> &'static str {
    match row.takes {
        Takes::Nothing => "",
        Takes::Perhaps(..) if row.name == Name::Format => "ext4",
        Takes::Perhaps(..) => "temp",
        Takes::Word("SIZE[,FSTYPE[,BLKSZ]]" | "SIZE") => "512",
        Takes::Word("TENTHS") => "70",
        Takes::Word(_) => "word",
    }
}

/// What a row changes, as text.
fn changed(line: &str) -> String {
    let plain = format!("{:?}", good("image.iso target"));
    let with = format!("{:?}", good(line));
    assert_ne!(plain, with, "{line} is ignored");
    with
}

#[test]
fn every_row_does_what_it_says() {
    for row in ROWS {
        for spelling in row.words {
            let line = format!("{spelling} {} image.iso target", word_for(row));
            match (row.name, row.fate) {
                (Name::Help, _) => {
                    let words = [OsString::from(spelling)];
                    assert_eq!(CommandLine::read(words), Ok(CommandLine::Help));
                }
                // Nothing changes, because nothing is changed.
                (Name::Compress, _) => assert!(job(&line).is_ok()),
                (Name::HomeSize, _) => {
                    let plain = changed(&format!("--unencrypted-home {line}"));
                    assert!(plain.contains("536870912") && plain.contains("encrypt_home: false"));
                    assert!(changed(&line).contains("encrypt_home: true"));
                }
                // It needs the other beside it.
                (Name::PassphraseFile, _) => {
                    let with = changed(&format!("--home-size-mb 512 {line}"));
                    assert!(with.contains("passphrase_file: Some(\"word\")"), "{with}");
                }
                (_, Fate::Honoured | Fate::New) => {
                    changed(&line);
                }
                (_, Fate::Mapped) => {
                    let said = &good(&line).said;
                    let start = format!("{}: ", row.word());
                    assert!(said.iter().any(|line| line.starts_with(&start)), "{said:?}");
                }
                (_, Fate::Refused) => match job(&line) {
                    Err(No::Refused(Refusal::OldOption { option, why })) => {
                        assert_eq!((option, why), (row.word(), row.text));
                    }
                    other => panic!("{line}: {other:?}"),
                },
            }
        }
    }
}

#[test]
fn sizes_and_filesystems_reach_the_request() {
    let job = good(
        "--format 8192,ext4 --overlay-size-mb 5000 --home-size-mb 600,xfs,4096 --unencrypted-home a b",
    );
    let overlay = job.request.overlay.unwrap();
    assert_eq!(overlay.size, Size::Fixed(Bytes::mib(5000)));
    assert_eq!(overlay.fs, Some(FsKind::Ext4));
    let home = job.request.home.unwrap();
    assert_eq!(home.size, Size::Fixed(Bytes::mib(600)));
    assert_eq!(home.fs, Some(FsKind::Xfs));
    assert!(job.format);
    assert_eq!(job.said.len(), 2, "{:?}", job.said);
    // What is given for the overlay itself counts more.
    let job = good("--format btrfs --overlay-size-mb 512,ext4 a b");
    assert_eq!(job.request.overlay.unwrap().fs, Some(FsKind::Ext4));
    let job = good("--overlay-size-mb 512,vfat a b");
    assert_eq!(job.request.overlay.unwrap().fs, None);
    assert!(job.said[0].contains("vfat is not made"), "{:?}", job.said);
}

#[test]
fn arguments_and_waits_reach_the_request() {
    let words = ["--extra-kernel-args", "quiet  nomodeset", "a", "b"].map(OsString::from);
    let Ok(CommandLine::Stick { given, .. }) = CommandLine::read(words) else {
        panic!("no command line")
    };
    let job = Job::of(&given, Path::new("a"), Path::new("b")).unwrap();
    assert_eq!(job.request.extra_arguments, ["quiet", "nomodeset"]);
    for (word, grub, isolinux) in [
        ("100", Timeout::Tenths(100), Timeout::Tenths(100)),
        ("0", Timeout::AtOnce, Timeout::Never),
        ("-0", Timeout::AtOnce, Timeout::AtOnce),
        ("-1", Timeout::Never, Timeout::Never),
    ] {
        let pause = good(&format!("--timeout {word} a b")).request.pause;
        assert_eq!(
            (pause.grub, pause.isolinux),
            (Some(grub), Some(isolinux)),
            "{word}"
        );
        assert_eq!(pause.total, None);
    }
    let pause = good("--totaltimeout 900 --nobootmsg a b").request.pause;
    assert_eq!(pause.total, Some(900));
    assert!(pause.no_message);
}

#[test]
fn what_contradicts_itself_is_an_error_of_usage() {
    for line in [
        "--no-overlay --overlay-size-mb 512 a b",
        "--overlayfs temp --overlay-size-mb 512 a b",
        "--overlay-size-mb 0 a b",
        "--overlay-size-mb many a b",
        "--overlay-size-mb 512,zfs a b",
        "--timeout soon a b",
        "--totaltimeout -1 a b",
        "--timeout 99999999999 a b",
        "--home-size-mb 512 --crypted-home --unencrypted-home a b",
        "--home-size-mb 512 --unencrypted-home --home-passphrase-file f a b",
        "--home-passphrase-file f a b",
    ] {
        assert!(matches!(job(line), Err(No::Usage(_))), "{line}");
    }
}

#[test]
fn a_home_is_never_left_unencrypted_by_an_option_that_is_not_there() {
    for (line, encrypted) in [
        ("--home-size-mb 512 a b", true),
        ("--home-size-mb 512 --crypted-home a b", true),
        ("--home-size-mb 512 --unencrypted-home a b", false),
        ("--crypted-home a b", false),
        ("a b", false),
    ] {
        assert_eq!(good(line).request.encrypt_home, encrypted, "{line}");
    }
    let said = &good("--crypted-home a b").said;
    assert!(said[0].contains("no /home is made"), "{said:?}");
}

#[test]
fn an_overlay_of_old_never_becomes_a_sprout() {
    let how = |line: &str| good(line).request.persistence;
    assert_eq!(how("--overlay-size-mb 512 a b"), Some(Persistence::Overlay));
    assert_eq!(
        how("--overlayfs --overlay-size-mb 512 a b"),
        Some(Persistence::Overlay)
    );
    assert_eq!(how("a b"), None);
}

#[test]
fn what_counts_for_nothing_is_said() {
    for (line, said) in [
        (
            "--format ext4 a b",
            "--format: its filesystem is the overlay's",
        ),
        (
            "--timeout 50 --nomenu a b",
            "--timeout: --nomenu counts more",
        ),
        (
            "--nomenu --timeout 50 a b",
            "--timeout: --nomenu counts more",
        ),
        (
            "--format --delete-home a b",
            "--delete-home: it counts together",
        ),
        ("--unencrypted-home a b", "--unencrypted-home: without"),
    ] {
        let job = good(line);
        assert!(
            job.said.iter().any(|one| one.starts_with(said)),
            "{line}: {:?}",
            job.said
        );
    }
    assert!(good("--force --delete-home a b").said.is_empty());
}

#[test]
fn the_old_default_folder_is_taken() {
    assert!(job("--livedir LiveOS a b").is_ok());
    assert!(job("--livedir Other a b").is_err());
}

#[test]
fn the_table_is_a_parser_too() {
    super::command().debug_assert();
    assert!(is_called(Some(OsStr::new("/usr/bin/livecd-iso-to-disk"))));
    assert!(!is_called(Some(OsStr::new("/usr/bin/livestick"))));
    assert!(!is_called(None));
}
