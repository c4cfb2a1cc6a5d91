// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signatures of checksum files, judged by gpgv.
//!
//! Only its status lines decide (GnuPG, `doc/DETAILS`, "Format of the --status-fd output"), never its exit status or
//! its words: a file may have several signatures, of which one good one is enough and one bad one too much. gpgv gets
//! copies of the bytes that were read, in a directory of its own, keys that were picked here, and no other home.

use std::env;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::programs::GPGV;
use crate::published::keys::Keys;
use crate::published::tame;

/// The most that is read of what gpgv says, or of a text that it hands out.
const MOST: u64 = 8 << 20;
/// A signature takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Digests of signatures that are as good as none: MD5, SHA-1, RIPEMD-160 (RFC 9580, section 9.5).
const WEAK: [&str; 3] = ["1", "2", "3"];

/// Who vouches for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Signature {
    /// Nobody.
    None,
    /// The owner of a key that is known.
    Good {
        /// Its fingerprint, that of the primary key.
        key: String,
        /// Its first user ID.
        owner: String,
    },
    /// A key that is known, but has expired.
    Expired {
        /// Its fingerprint.
        key: String,
        /// Its first user ID.
        owner: String,
    },
    /// A key that its owner has revoked.
    Revoked {
        /// Its fingerprint.
        key: String,
        /// Its first user ID.
        owner: String,
    },
    /// Somebody.
    UnknownKey {
        /// The key's fingerprint or ID, as far as the signature tells.
        key: String,
    },
    /// Not known: it could not be checked, or does not count any more.
    Unchecked {
        /// Why.
        why: String,
    },
}

impl Signature {
    /// The texts in it that come from elsewhere.
    pub(super) fn texts(&self) -> Vec<&String> {
        match self {
            Signature::None => Vec::new(),
            Signature::Good { key, owner }
            | Signature::Expired { key, owner }
            | Signature::Revoked { key, owner } => vec![key, owner],
            Signature::UnknownKey { key } => vec![key],
            Signature::Unchecked { why } => vec![why],
        }
    }

    /// How much it is worth, the best first.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Signature::Good { .. } => 0,
            Signature::Expired { .. } => 1,
            Signature::Revoked { .. } => 2,
            Signature::UnknownKey { .. } => 3,
            Signature::Unchecked { .. } => 4,
            Signature::None => 5,
        }
    }

    /// Says what it is worth for `file`.
    pub(super) fn tell(&self, f: &mut fmt::Formatter<'_>, file: &dyn Display) -> fmt::Result {
        match self {
            Signature::None => write!(f, "listed in an unsigned file, {file}"),
            Signature::Good { key, owner } => write!(
                f,
                "published by {} (key {key}, good signature), in {file}",
                name(owner)
            ),
            Signature::Expired { key, owner } => write!(
                f,
                "listed in {file}, signed by {} with a key that has expired ({key}), so counts as unsigned",
                name(owner)
            ),
            Signature::Revoked { key, owner } => write!(
                f,
                "listed in {file}, signed by {} with a key that was revoked ({key}), so counts as unsigned",
                name(owner)
            ),
            Signature::UnknownKey { key } => write!(
                f,
                "listed in {file}, signed by an unknown key ({key}), so counts as unsigned"
            ),
            Signature::Unchecked { why } => write!(
                f,
                "listed in {file}, whose signature proves nothing ({why}), so counts as unsigned"
            ),
        }
    }
}

/// A user ID without its mail address, where it has a name too.
fn name(owner: &str) -> &str {
    match owner.split_once('<') {
        Some((name, _)) if !name.trim().is_empty() => name.trim(),
        _ => owner,
    }
}

/// A signature that is not of this text: either was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The key it claims.
    pub key: String,
    /// The owner of that.
    pub owner: String,
}

/// What gpgv is given.
#[derive(Clone, Copy, Debug)]
pub enum Signed<'a> {
    /// A text in its frame; gpgv hands the text out.
    Clear(&'a [u8]),
    /// A text, and its signature.
    Detached {
        /// The text.
        text: &'a [u8],
        /// The signature, armored or not.
        signature: &'a [u8],
    },
}

/// Judges a signature. Of a clear-signed file with a good one the signed text comes too.
pub fn judge(signed: Signed<'_>, keys: &Keys) -> Result<(Signature, Option<Vec<u8>>), Bad> {
    let Some(gpgv) = found(GPGV.name) else {
        let why = "gpgv was not found; install the package gpgv".into();
        return Ok((Signature::Unchecked { why }, None));
    };
    let said = match run(&gpgv, signed, keys) {
        Ok(said) => said,
        Err(error) => {
            let why = tame(&format!("running gpgv: {error}"));
            return Ok((Signature::Unchecked { why }, None));
        }
    };
    let verdict = verdict(&said.status, matches!(signed, Signed::Clear(_)))?;
    let wants_text = matches!(signed, Signed::Clear(_)) && verdict.rank() == 0;
    if wants_text && said.text.is_none() {
        let why = "gpgv did not give the signed text".into();
        return Ok((Signature::Unchecked { why }, None));
    }
    Ok((verdict, said.text.filter(|_| wants_text)))
}

/// Where the program is that a shell would run by this name.
fn found(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

struct Said {
    status: String,
    text: Option<Vec<u8>>,
}

fn run(gpgv: &Path, signed: Signed<'_>, keys: &Keys) -> anyhow::Result<Said> {
    let dir = tempfile::Builder::new().prefix("livestick-").tempdir()?;
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("home"))?;
    fs::write(at("keys.gpg"), &keys.packets)?;
    let status = File::create(at("status"))?;
    let mut command = Command::new(gpgv);
    command
        .env("LC_ALL", "C")
        .env("GNUPGHOME", at("home"))
        .env_remove("LANGUAGE")
        .stdin(Stdio::null())
        .stdout(status)
        .stderr(Stdio::null())
        .arg("--homedir")
        .arg(at("home"))
        .args(["--status-fd", "1", "--keyring"])
        .arg(at("keys.gpg"));
    for keybox in &keys.boxes {
        command.arg("--keyring").arg(keybox);
    }
    match signed {
        Signed::Clear(frame) => {
            fs::write(at("signed"), frame)?;
            command.arg("--output").arg(at("text")).arg(at("signed"));
        }
        Signed::Detached { text, signature } => {
            fs::write(at("signature"), signature)?;
            fs::write(at("text"), text)?;
            command.arg(at("signature")).arg(at("text"));
        }
    }
    let mut child = command.spawn()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            anyhow::bail!("it does not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let read = |name: &str| -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(at(name))?.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(Said {
        status: String::from_utf8_lossy(&read("status")?).into_owned(),
        text: match signed {
            Signed::Clear(_) => read("text").ok(),
            Signed::Detached { .. } => None,
        },
    })
}

/// What is known of one of several signatures.
#[derive(Default)]
struct One {
    /// The line that judges it, with the key and the owner.
    judged: Option<(Word, String, String)>,
    /// The primary key's fingerprint, where the signature itself is right.
    valid: Option<String>,
    /// Why it is nothing worth although it is right.
    weak: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Good,
    Expired,
    Over,
    Revoked,
    Bad,
    Unknown,
    Error,
}

/// The best of all signatures, unless one is bad.
fn verdict(status: &str, clear: bool) -> Result<Signature, Bad> {
    let mut all = vec![One::default()];
    let mut texts = 0;
    for line in status.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let of = |index: usize| words.get(index).copied().unwrap_or_default();
        let key = || tame(of(1));
        let owner = || user_id(&words);
        let Some(one) = all.last_mut() else { break };
        match of(0) {
            "NEWSIG" => all.push(One::default()),
            "PLAINTEXT" => texts += 1,
            "GOODSIG" => one.judged = Some((Word::Good, key(), owner())),
            "EXPSIG" => one.judged = Some((Word::Over, key(), owner())),
            "EXPKEYSIG" => one.judged = Some((Word::Expired, key(), owner())),
            "REVKEYSIG" => one.judged = Some((Word::Revoked, key(), owner())),
            "BADSIG" => one.judged = Some((Word::Bad, key(), owner())),
            // Key, algorithms, class, time, reason (9: no public key), fingerprint or a dash.
            "ERRSIG" => {
                let word = if of(6) == "9" {
                    Word::Unknown
                } else {
                    Word::Error
                };
                let print = Some(of(7)).filter(|print| print.len() >= 40);
                let key = print.map_or_else(key, tame);
                one.judged = Some((word, key, String::new()));
            }
            // Fingerprint, date, time, expiry, version, reserved, algorithm, digest, class, primary fingerprint.
            "VALIDSIG" => {
                one.weak = WEAK.contains(&of(8)) || !["00", "01"].contains(&of(9));
                let primary = Some(of(10)).filter(|print| !print.is_empty());
                one.valid = Some(tame(primary.unwrap_or(of(1))));
            }
            _ => {}
        }
    }
    let mut best = Signature::Unchecked {
        why: "gpgv found no signature in it".into(),
    };
    // A frame has one text; what is not a frame must have none of its own, or that is what was judged.
    if texts > usize::from(clear) {
        return Ok(best);
    }
    for One {
        judged,
        valid,
        weak,
    } in all
    {
        let Some((word, key, owner)) = judged else {
            continue;
        };
        let print = valid.clone().unwrap_or_else(|| key.clone());
        let unchecked = |why: String| Signature::Unchecked { why };
        let this = match word {
            Word::Bad => return Err(Bad { key, owner }),
            Word::Unknown => Signature::UnknownKey { key },
            Word::Error => unchecked(format!("gpgv cannot check a signature by key {key}")),
            Word::Over => unchecked(format!("it has expired; it was made by {owner}")),
            _ if valid.is_none() => unchecked("gpgv does not call it valid".into()),
            _ if weak => unchecked("it is of a kind that can be forged".into()),
            Word::Good => Signature::Good { key: print, owner },
            Word::Expired => Signature::Expired { key: print, owner },
            Word::Revoked => Signature::Revoked { key: print, owner },
        };
        if this.rank() < best.rank() {
            best = this;
        } else if let (Signature::Unchecked { why: old }, Signature::Unchecked { why }) =
            (&mut best, this)
        {
            *old = why;
        }
    }
    Ok(best)
}

/// A user ID: the words from the third on, with `%XX` in place of odd bytes.
fn user_id(words: &[&str]) -> String {
    let text = words.get(2..).unwrap_or_default().join(" ");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(more.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            bytes.push(byte);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    tame(&String::from_utf8_lossy(&bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRINT: &str = "7455F7DB7E5F30E0E2F1DF4DADDE5981EFD389B6";

    fn lines(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.replace('@', PRINT));
        let lines: Vec<String> = lines.map(|line| format!("[GNUPG:] {line}")).collect();
        lines.join("\n")
    }

    const GOOD: &str = "GOODSIG ADDE5981EFD389B6 L%C3%A4b %25 <lab>";
    const VALID: &str = "VALIDSIG @ 2026-11-21 1795238960 0 4 0 22 8 01 @";
    const UNKNOWN: &str = "ERRSIG ADDE5981EFD389B6 22 8 01 1795238960 9 @";
    const BAD: &str = "BADSIG ADDE5981EFD389B6 Lab";

    #[test]
    fn status_lines_decide() {
        let judged = |all: &[&str]| verdict(&lines(all), true);
        let good = Ok(Signature::Good {
            key: PRINT.into(),
            owner: "Läb % <lab>".into(),
        });
        assert_eq!(judged(&["PLAINTEXT 74 0", "NEWSIG", GOOD, VALID]), good);
        // One that is known and one that is not: releases are signed by an old and a new key.
        assert_eq!(judged(&["NEWSIG", UNKNOWN, "NEWSIG", GOOD, VALID]), good);
        assert_eq!(judged(&["NEWSIG", GOOD, VALID, "NEWSIG", UNKNOWN]), good);
        let unknown = Ok(Signature::UnknownKey { key: PRINT.into() });
        assert_eq!(
            judged(&["NEWSIG", UNKNOWN, "NO_PUBKEY ADDE5981EFD389B6"]),
            unknown
        );
        for bad in [
            &["NEWSIG", BAD][..],
            &["NEWSIG", GOOD, VALID, "NEWSIG", BAD],
            &["NEWSIG", BAD, "NEWSIG", GOOD, VALID],
        ] {
            assert!(judged(bad).is_err());
        }
        let unchecked = |all: &[&str]| {
            let verdict = judged(all);
            assert!(
                matches!(verdict, Ok(Signature::Unchecked { .. })),
                "{all:?}: {verdict:?}"
            );
        };
        unchecked(&[]);
        unchecked(&["NEWSIG", GOOD]);
        // The lines of two signatures do not make one good one.
        unchecked(&["NEWSIG", GOOD, "NEWSIG", VALID]);
        unchecked(&["PLAINTEXT 1", "PLAINTEXT 2", "NEWSIG", GOOD, VALID]);
        unchecked(&["NEWSIG", GOOD, &VALID.replace(" 8 01", " 2 01")]);
        unchecked(&["NEWSIG", GOOD, &VALID.replace(" 8 01", " 8 10")]);
        unchecked(&["NEWSIG", "ERRSIG ADDE5981EFD389B6 22 8 01 1795238960 4 -"]);
        let inline = verdict(&lines(&["PLAINTEXT 1", "NEWSIG", GOOD, VALID]), false);
        assert!(matches!(inline, Ok(Signature::Unchecked { .. })));
        let expired = judged(&["NEWSIG", &GOOD.replace("GOODSIG", "EXPKEYSIG"), VALID]);
        assert!(matches!(expired, Ok(Signature::Expired { .. })));
        unchecked(&["NEWSIG", &GOOD.replace("GOODSIG", "EXPSIG"), VALID]);
        let revoked = judged(&["NEWSIG", &GOOD.replace("GOODSIG", "REVKEYSIG"), VALID]);
        assert!(matches!(revoked, Ok(Signature::Revoked { .. })));
        // What gpgv says to people is nothing.
        assert_eq!(verdict("GOODSIG x y\n", true), judged(&[]));
    }

    proptest! {
        #[test]
        fn no_status_is_a_panic(text: String, word in "[A-Z]{6,9}", rest in "[ %0-9a-f]{0,60}") {
            let _ = verdict(&text, true);
            let _ = verdict(&format!("[GNUPG:] {word} {rest}\n[GNUPG:] GOODSIG {rest}\n"), false);
        }
    }
}
