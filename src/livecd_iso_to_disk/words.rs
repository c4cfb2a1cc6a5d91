// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command line of `livecd-iso-to-disk`, cut into options and their words. Nothing is decided here.

use std::ffi::OsString;
use std::path::PathBuf;

use super::rows::{Name, Row, Takes};

/// An option that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which.
    pub name: Name,
    /// What followed it.
    pub word: Option<OsString>,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// It asks how it is used.
    Help,
    /// It asks for a stick.
    Stick {
        /// The options, in order.
        given: Vec<Given>,
        /// The image.
        source: PathBuf,
        /// The stick, or a partition on it.
        target: PathBuf,
    },
}

impl CommandLine {
    /// Reads it, the program's own name left out. The error is one of usage.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, String> {
        let mut words = words.into_iter().peekable();
        let (mut given, mut paths) = (Vec::new(), Vec::new());
        let mut options = true;
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            if options && text == "--" {
                options = false;
                continue;
            }
            if !options || !text.starts_with('-') || text == "-" {
                paths.push(PathBuf::from(word));
                continue;
            }
            let (spelled, value) = match text.split_once('=') {
                // What is behind the sign is taken as it is, as getopt would.
                Some((spelled, value)) if spelled.starts_with("--") => (spelled, Some(value)),
                _ => (text.as_str(), None),
            };
            let row = Row::spelled(spelled)
                .ok_or_else(|| format!("'{spelled}' is no option of livecd-iso-to-disk"))?;
            let word = match (row.takes, value) {
                (Takes::Nothing, None) => None,
                (Takes::Nothing, Some(_)) => return Err(format!("{spelled} takes no word")),
                (_, Some(value)) => Some(OsString::from(value)),
                (Takes::Word(what), None) => Some(
                    words
                        .next()
                        .ok_or_else(|| format!("{spelled} needs a word behind it: {what}"))?,
                ),
                (Takes::Perhaps(_, is_one), None) => {
                    words.next_if(|next| next.to_str().is_some_and(is_one))
                }
            };
            given.push(Given {
                name: row.name,
                word,
            });
        }
        if given.iter().any(|one| one.name == Name::Help) {
            return Ok(CommandLine::Help);
        }
        let [source, target] = <[PathBuf; 2]>::try_from(paths).map_err(|paths| {
            format!(
                "an image and a target are needed, and {} were given",
                paths.len()
            )
        })?;
        Ok(CommandLine::Stick {
            given,
            source,
            target,
        })
    }
}

/// What refusals advise in words of `livestick write`, and the same in the old ones.
const ADVICE: [(&str, &str); 7] = [
    ("add --yes", "add --force"),
    ("leave out --home-encrypt", "add --unencrypted-home"),
    ("without --home-encrypt", "with --unencrypted-home"),
    ("add --unmount, or unmount it yourself", "unmount it"),
    ("say --checksum none", "add --noverify"),
    ("say which is right with --checksum", "add --noverify"),
    (
        "say which with --checksum FILE",
        "remove one, or add --noverify",
    ),
];

/// A refusal with its advice in options that the old command line has.
pub fn in_old_words(refusal: &str) -> String {
    let told = |text: String, (new, old): &(&str, &str)| text.replace(new, old);
    ADVICE.iter().fold(refusal.to_owned(), told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<CommandLine, String> {
        CommandLine::read(line.split(' ').map(OsString::from))
    }

    #[test]
    fn options_and_paths_are_told_apart() {
        let line = "--format --overlay-size-mb 512,ext4 soas.iso --timeout -1 /dev/sdb";
        let Ok(CommandLine::Stick {
            given,
            source,
            target,
        }) = read(line)
        else {
            panic!("{line}")
        };
        assert_eq!(source, PathBuf::from("soas.iso"));
        assert_eq!(target, PathBuf::from("/dev/sdb"));
        let words: Vec<_> = given
            .iter()
            .map(|one| (one.name, one.word.as_ref().and_then(|word| word.to_str())))
            .collect();
        assert_eq!(
            words,
            [
                (Name::Format, None),
                (Name::OverlaySize, Some("512,ext4")),
                (Name::Timeout, Some("-1"))
            ]
        );
    }

    #[test]
    fn a_word_is_taken_where_one_may_follow() {
        for (line, word) in [
            ("--format ext4 a b", Some("ext4")),
            ("--format a b", None),
            ("--format=ext4 a b", Some("ext4")),
            ("--overlayfs temp a b", Some("temp")),
            ("--overlayfs temporary.iso b", None),
        ] {
            let Ok(CommandLine::Stick { given, .. }) = read(line) else {
                panic!("{line}")
            };
            assert_eq!(given[0].word, word.map(OsString::from), "{line}");
        }
    }

    #[test]
    fn advice_is_in_options_that_there_are() {
        let mut sources = String::new();
        for file in [
            "ui/confirm",
            "plan/target",
            "plan/encryption",
            "published/lookup",
        ] {
            let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            sources += &std::fs::read_to_string(path).unwrap();
        }
        sources += include_str!("../apply/encrypted.rs");
        for (new, old) in ADVICE {
            let said = in_old_words(&format!("no; {new}"));
            assert_eq!(said, format!("no; {old}"));
            for option in said.split([' ', ',']).filter(|word| word.starts_with("--")) {
                assert!(Row::spelled(option).is_some(), "{option}");
            }
            // Somebody does say it.
            assert!(sources.contains(new), "{new}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, why) in [
            ("--frob a b", "'--frob' is no option"),
            ("-x a b", "'-x' is no option"),
            ("--force=yes a b", "takes no word"),
            ("a b --label", "needs a word"),
            ("--force a", "1 were given"),
            ("a b c", "3 were given"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
        assert_eq!(
            read("--frob=1 --help a b").unwrap_err(),
            "'--frob' is no option of livecd-iso-to-disk"
        );
        assert_eq!(read("--help"), Ok(CommandLine::Help));
        assert_eq!(read("-h a"), Ok(CommandLine::Help));
        assert!(matches!(read("-- --a --b"), Ok(CommandLine::Stick { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_words_are_read_or_refused(words in proptest::collection::vec("(--)?[a-z=,-]{0,12}", 0..8)) {
            let _ = CommandLine::read(words.into_iter().map(OsString::from));
        }
    }
}
