// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checksum files: which digests a text lists, and which of them belong to a name.
//!
//! The forms, one a line, ended by LF or CR LF:
//!
//! * `SHA256 (NAME) = HEX`: BSD's, and `sha256sum --tag` (GNU coreutils manual, "md5 invocation"; md5(1) of FreeBSD);
//!   OpenSSL writes `SHA2-256(NAME)= HEX`.
//! * `HEX  NAME`, `HEX *NAME`: GNU's, text and binary; `HEX NAME` is BSD's with `-r`.
//! * A line that begins with a backslash has `\\`, `\n` and `\r` in its name escaped (the same manual).
//! * `HEX` alone, which says nothing of a name: it counts only where the file's own name does.
//!
//! The algorithm of a GNU line is told by the length of its digest. Other digests, comments and other text are passed
//! over. What looks like a line for SHA-2 with too few digits, or too many, is remembered: it may have been cut off.

use crate::published::{Algorithm, Sum};

/// The lines of one file.
#[derive(Debug, Default)]
pub struct List {
    entries: Vec<Entry>,
}

/// A line: whose digest, and the digest, or how many digits there are in its place.
#[derive(Debug)]
struct Entry {
    name: Option<Vec<u8>>,
    sum: Result<Sum, usize>,
}

/// Why a list says nothing for certain of an image that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// Two digests of one kind.
    TwoDigests(Sum, Sum),
    /// A digest with this many digits.
    CutOff(usize),
}

impl List {
    /// Reads a text.
    pub fn parse(text: &[u8]) -> List {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        List {
            entries: lines.filter_map(entry).collect(),
        }
    }

    /// The digests of the first of `names` that is listed, one of each algorithm, sorted; none where none of them is.
    /// `own` tells whether a digest without a name is this image's.
    ///
    /// A name that is listed as it is goes before one that is listed in some directory.
    pub fn find(&self, names: &[Vec<u8>], own: bool) -> Result<Vec<Sum>, Unclear> {
        for name in names {
            let here = |listed: &[u8]| trim(listed) == trim(name);
            let below = |listed: &[u8]| {
                let last = listed.rsplit(|byte| *byte == b'/').next();
                last.is_some_and(here)
            };
            for matches in [&here as &dyn Fn(&[u8]) -> bool, &below] {
                let sums = self.sums(|listed| listed.is_some_and(matches))?;
                if !sums.is_empty() {
                    return Ok(sums);
                }
            }
        }
        if own {
            return self.sums(|listed| listed.is_none());
        }
        Ok(Vec::new())
    }

    fn sums(&self, matches: impl Fn(Option<&[u8]>) -> bool) -> Result<Vec<Sum>, Unclear> {
        let mut sums: Vec<Sum> = Vec::new();
        for entry in &self.entries {
            if !matches(entry.name.as_deref()) {
                continue;
            }
            let sum = entry.sum.clone().map_err(Unclear::CutOff)?;
            match sums.iter().find(|s| s.algorithm == sum.algorithm) {
                None => sums.push(sum),
                Some(same) if *same == sum => {}
                Some(other) => return Err(Unclear::TwoDigests(other.clone(), sum)),
            }
        }
        sums.sort();
        Ok(sums)
    }

    /// Whether anything is listed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The one name that is listed, with its digest, if there is but one.
    pub fn only(&self) -> Option<(&[u8], &Sum)> {
        let mut good = self.entries.iter().filter_map(|entry| {
            let sum = entry.sum.as_ref().ok()?;
            Some((entry.name.as_deref()?, sum))
        });
        let (name, sum) = good.next()?;
        let mut others = good.filter(|(other, _)| *other != name);
        others.next().is_none().then_some((name, sum))
    }
}

fn trim(name: &[u8]) -> &[u8] {
    let name = name.trim_ascii();
    name.strip_prefix(b"./").unwrap_or(name)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (name, sum) = bsd(line).or_else(|| gnu(line))?;
    let name = name.map(|name| {
        if escaped {
            unescape(name)
        } else {
            name.to_vec()
        }
    });
    Some(Entry { name, sum })
}

type Parts<'a> = (Option<&'a [u8]>, Result<Sum, usize>);

/// `SHA256 (NAME) = HEX`.
fn bsd(line: &[u8]) -> Option<Parts<'_>> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let algorithm = match line[..open].trim_ascii() {
        b"SHA256" | b"SHA2-256" | b"SHA-256" => Algorithm::Sha256,
        b"SHA512" | b"SHA2-512" | b"SHA-512" => Algorithm::Sha512,
        _ => return None,
    };
    let rest = &line[open + 1..];
    // A name may have parentheses too, digits have none.
    let close = rest.iter().rposition(|byte| *byte == b')')?;
    let digits = rest[close + 1..].trim_ascii().strip_prefix(b"=")?;
    let digits = digits.trim_ascii();
    let sum = Sum::parse(algorithm, digits).ok_or(digits.len());
    Some((Some(&rest[..close]), sum))
}

/// `HEX  NAME`, or `HEX` alone.
fn gnu(line: &[u8]) -> Option<Parts<'_>> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(end.unwrap_or(line.len()));
    let sum = match digits.len() {
        // MD5, SHA-1, SHA-224, SHA-384; and words that happen to be spelled in digits.
        0..16 | 32 | 40 | 56 | 96 => return None,
        64 => Sum::parse(Algorithm::Sha256, digits),
        128 => Sum::parse(Algorithm::Sha512, digits),
        _ => None,
    };
    let sum = sum.ok_or(digits.len());
    if rest.trim_ascii().is_empty() {
        return Some((None, sum));
    }
    let name = match rest {
        [b' ' | b'\t', b' ' | b'*', name @ ..] if !name.is_empty() => name,
        [b' ' | b'\t', name @ ..] => name,
        _ => return None,
    };
    Some((Some(name), sum))
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(other) => out.push(*other),
            None => out.push(b'\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn find(text: &str, name: &str, own: bool) -> Result<Vec<Sum>, Unclear> {
        List::parse(text.as_bytes()).find(&[name.as_bytes().to_vec()], own)
    }

    fn sum256(byte: u8) -> Sum {
        let value = vec![byte; 32];
        let algorithm = Algorithm::Sha256;
        Sum { algorithm, value }
    }

    #[test]
    fn every_form_is_read() {
        let (a, b) = ("ab".repeat(32), "cd".repeat(64));
        for line in [
            format!("SHA256 (x (1).iso) = {a}"),
            format!("SHA2-256(x (1).iso)= {a}"),
            format!("{a}  x (1).iso"),
            format!("{a} *x (1).iso"),
            format!("{a} x (1).iso"),
            format!("{a}  ./x (1).iso"),
            format!("{a}  some/where/x (1).iso"),
            format!("\u{feff}{}      x (1).iso", a.to_uppercase()),
        ] {
            for end in ["", "\n", "\r\n", "\n# comment\nother text\n"] {
                let text = format!("{line}{end}");
                assert_eq!(
                    find(&text, "x (1).iso", false),
                    Ok(vec![sum256(0xab)]),
                    "{text}"
                );
                assert_eq!(find(&text, "(1).iso", false), Ok(vec![]), "{text}");
                assert_eq!(find(&text, "x (1).is", false), Ok(vec![]), "{text}");
            }
        }
        let both = format!("SHA512 (x) = {b}\r\n# x: 12 bytes\r\nSHA256 (x) = {a}\r\n");
        let found = find(&both, "x", false).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], sum256(0xab));
        assert_eq!(find(&a, "x", true), Ok(vec![sum256(0xab)]));
        assert_eq!(find(&a, "x", false), Ok(vec![]));
    }

    #[test]
    fn old_digests_do_not_count() {
        for text in [
            "ab".repeat(16),
            "ab".repeat(20),
            "ab".repeat(28),
            "ab".repeat(48),
        ] {
            assert_eq!(find(&format!("{text}  x"), "x", true), Ok(vec![]));
            assert_eq!(find(&format!("MD5 (x) = {text}"), "x", true), Ok(vec![]));
        }
    }

    #[test]
    fn what_is_not_clear_is_no_answer() {
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        let two = format!("{a}  x\nSHA256 (x) = {b}\n");
        assert_eq!(
            find(&two, "x", false),
            Err(Unclear::TwoDigests(sum256(0xab), sum256(0xcd)))
        );
        let twice = format!("{a}  x\nSHA256 (x) = {a}\n");
        assert_eq!(find(&twice, "x", false), Ok(vec![sum256(0xab)]));
        let cut = format!("SHA256 (x) = {}", &a[..40]);
        assert_eq!(find(&cut, "x", false), Err(Unclear::CutOff(40)));
        assert_eq!(find(&cut, "y", false), Ok(vec![]));
        assert_eq!(find(&a[..50], "x", true), Err(Unclear::CutOff(50)));
        assert_eq!(
            find(&format!("{}  x", &a[..50]), "x", true),
            Err(Unclear::CutOff(50))
        );
        // A list for two directories is clear for the file that lies at its top.
        let deep = format!("{a}  x\n{b}  deep/x\n");
        assert_eq!(find(&deep, "x", false), Ok(vec![sum256(0xab)]));
        let two = format!("{a}  one/x\n{b}  deep/x\n");
        assert!(find(&two, "x", false).is_err());
    }

    #[test]
    fn the_only_name_is_told() {
        let a = "ab".repeat(32);
        let one = List::parse(format!("{a}  other.iso\n").as_bytes());
        assert_eq!(one.only().unwrap().0, b"other.iso");
        let two = List::parse(format!("{a}  other.iso\n{a}  y\n").as_bytes());
        assert!(two.only().is_none());
    }

    /// GNU coreutils write what is read, also for names that take an escape.
    #[test]
    fn coreutils_lists_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "plain",
            "a b (c) = d",
            "back\\slash",
            "new\nline",
            "cr\rname",
        ] {
            std::fs::write(dir.path().join(name), name).unwrap();
            for (tool, flags) in [
                ("sha256sum", vec![]),
                ("sha256sum", vec!["--tag"]),
                ("sha512sum", vec!["--binary"]),
                ("sha512sum", vec!["--tag"]),
            ] {
                let output = Command::new(tool)
                    .args(&flags)
                    .args(["--", name])
                    .current_dir(dir.path())
                    .output()
                    .unwrap();
                assert!(output.status.success());
                let list = List::parse(&output.stdout);
                let found = list.find(&[name.as_bytes().to_vec()], false).unwrap();
                assert_eq!(found.len(), 1, "{tool} {flags:?} {name:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_is_a_panic(bytes: Vec<u8>, name: Vec<u8>) {
            let list = List::parse(&bytes);
            let _ = (list.find(std::slice::from_ref(&name), true), list.only());
        }

        #[test]
        fn lists_with_bytes_changed_are_no_panic(
            at in 0..300_usize, byte: u8, cut in 0..300_usize
        ) {
            let a = "ab".repeat(32);
            let mut text = format!("\\SHA256 (x\\n) = {a}\r\n{a}  x\n\\{a} *x\\\\\n").into_bytes();
            let at = at % text.len();
            text[at] = byte;
            text.truncate(cut);
            let list = List::parse(&text);
            let _ = (list.find(&[b"x".to_vec()], true), list.only());
        }
    }
}
