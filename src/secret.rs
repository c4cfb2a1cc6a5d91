// SPDX-License-Identifier: MIT OR Apache-2.0
//! What nobody may read: the passphrase of an encrypted `/home`.
//!
//! Rules:
//!
//! * It is in no request, plan, event, report, record or error. It goes beside the plan, from whoever asked for it to
//!   the program that takes it on a pipe or as a file without a name; never as an argument or in the environment, and
//!   livestick writes it into no file on a disk. Memory that the system swaps out is the system's; so is what another
//!   program records of a terminal or a pipe (sudo's `log_input`).
//! * Its memory is wiped when it goes away, and no core of this program is dumped ([`keep_from_cores`]). Its debug form
//!   is stars, and it has no other.
//! * At boot it is typed on one line. So what cannot be typed there is no passphrase.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};
use zeroize::Zeroizing;

use crate::disk::shown;

/// The longest passphrase in bytes: what cryptsetup takes from a terminal (cryptsetup, `lib/libcryptsetup.h` and
/// `src/utils_tool.h`, `DEFAULT_PASSPHRASE_SIZE_MAX` 512).
pub const LONGEST: usize = 512;

/// A passphrase.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Why something is no passphrase. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPassphrase {
    /// Nothing at all.
    #[error("the passphrase is empty; choose one")]
    Empty,
    /// More than can be typed.
    #[error("the passphrase has more than {LONGEST} bytes; choose a shorter one")]
    TooLong,
    /// A character that ends a line, or that no keyboard has.
    #[error(
        "the passphrase has a line end or another control character in it, which cannot be typed at boot; choose one without"
    )]
    Control,
    /// Bytes that are no text.
    #[error(
        "the passphrase is not UTF-8, and the keyboard gives UTF-8 at boot; save the file as UTF-8, or choose one of plain letters and digits"
    )]
    NotUtf8,
    /// What some editors put in front of a text.
    #[error(
        "the passphrase begins with a byte order mark (U+FEFF), which no keyboard has; save the file without one"
    )]
    ByteOrderMark,
}

/// Has the kernel dump no core of this program, nor of those that it starts: there would be a passphrase in it. Once, at
/// the start.
///
/// A limit of 1 byte is less than any core has, and the one with which the kernel starts no program to take one either;
/// with 0 that is started (Linux, fs/coredump.c, `do_coredump`; core(5), "Piping core dumps to a program").
pub fn keep_from_cores() {
    let least = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    // Where the hard limit is 0 already it stays so, and nothing goes to a file.
    let _ = setrlimit(Resource::Core, least);
}

impl Passphrase {
    /// Takes bytes for a passphrase.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Passphrase, NoPassphrase> {
        if bytes.is_empty() {
            return Err(NoPassphrase::Empty);
        }
        if bytes.len() > LONGEST {
            return Err(NoPassphrase::TooLong);
        }
        let text = str::from_utf8(&bytes).map_err(|_| NoPassphrase::NotUtf8)?;
        if text.starts_with('\u{FEFF}') {
            return Err(NoPassphrase::ByteOrderMark);
        }
        if text.chars().any(char::is_control) {
            return Err(NoPassphrase::Control);
        }
        Ok(Passphrase(bytes))
    }

    /// Reads the passphrase that is all there is in a file, but for one line end behind it. The error is one of usage.
    pub fn from_file(path: &Path) -> Result<Passphrase, String> {
        // Room for one byte too many behind the line end, so that it is seen, and never so much that memory moves.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
        let read =
            File::open(path).and_then(|file| file.take(LONGEST as u64 + 2).read_to_end(&mut bytes));
        read.map_err(|error| {
            format!(
                "reading the passphrase from {}: {error}; name a file that has it as its only line",
                shown(path)
            )
        })?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Passphrase::new(bytes).map_err(|why| format!("{}: {why}", shown(path)))
    }

    /// Its bytes and a line end, as it goes down a pipe.
    pub fn line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        line.extend_from_slice(&self.0);
        line.push(b'\n');
        line
    }

    /// Its bytes, for the one who has to take them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Passphrase) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for Passphrase {}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its length either.
        f.write_str("Passphrase(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(bytes: &[u8]) -> Result<Passphrase, NoPassphrase> {
        Passphrase::new(Zeroizing::new(bytes.to_vec()))
    }

    fn read(bytes: &[u8]) -> Result<Passphrase, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        Passphrase::from_file(&path)
    }

    #[test]
    fn what_cannot_be_typed_is_no_passphrase() {
        assert_eq!(made(b""), Err(NoPassphrase::Empty));
        assert_eq!(made(b"a\nb"), Err(NoPassphrase::Control));
        assert_eq!(made(b"a\0b"), Err(NoPassphrase::Control));
        assert_eq!(made(&[b'x'; LONGEST + 1]), Err(NoPassphrase::TooLong));
        assert!(made(&[b'x'; LONGEST]).is_ok());
        assert!(made("Käse und Brot".as_bytes()).is_ok());
        // One byte of Latin-1; half a character; a control character of two bytes; what Windows' editor puts in front.
        assert_eq!(made(b"K\xE4se"), Err(NoPassphrase::NotUtf8));
        assert_eq!(made(b"K\xC3"), Err(NoPassphrase::NotUtf8));
        assert_eq!(made("a\u{85}b".as_bytes()), Err(NoPassphrase::Control));
        let marked = made("\u{FEFF}sesame".as_bytes());
        assert_eq!(marked, Err(NoPassphrase::ByteOrderMark));
        assert_eq!(made(b"a\tb"), Err(NoPassphrase::Control));
    }

    #[test]
    fn one_line_end_of_a_file_is_dropped() {
        assert_eq!(read(b"sesame\n").unwrap().bytes(), b"sesame");
        assert_eq!(read(b"sesame").unwrap().bytes(), b"sesame");
        assert_eq!(read(b" sesame ").unwrap().bytes(), b" sesame ");
        assert!(read(b"sesame\n\n").unwrap_err().contains("line end"));
        assert!(read(b"sesame\r\n").unwrap_err().contains("line end"));
        assert!(read(b"\n").unwrap_err().contains("empty"));
        assert!(read(b"").unwrap_err().contains("empty"));
        let mut longest = vec![b'x'; LONGEST];
        assert!(read(&longest).is_ok());
        longest.push(b'\n');
        assert!(read(&longest).is_ok());
        longest.insert(0, b'x');
        assert!(read(&longest).unwrap_err().contains("512"));
        assert!(read(&b"x".repeat(100_000)).unwrap_err().contains("512"));
    }

    #[test]
    fn no_form_of_it_tells_it() {
        let secret = made(b"sesame").unwrap();
        assert_eq!(format!("{secret:?}"), "Passphrase(***)");
        assert_eq!(format!("{secret:#?}"), "Passphrase(***)");
        for error in [read(b"ses\name\n"), read(&[b's'; 600])] {
            assert!(!error.unwrap_err().contains("ses"));
        }
    }
}
