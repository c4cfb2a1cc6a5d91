// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clear-signed files: where the signed text begins and ends.
//!
//! Source: RFC 9580, section 7 (the cleartext signature framework; RFC 4880 has the same). The frame is cut out before
//! anything else looks at it, so that whatever stands before and behind reaches neither the verifier nor the list.

use crate::published::armor;

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text without a signature in it.
    Plain,
    /// A signed text with its signature.
    Signed {
        /// From the first line of the frame to its last.
        whole: Vec<u8>,
        /// The text, as the frame has it. That of the verifier goes before it.
        text: Vec<u8>,
    },
    /// A signature, and no text.
    Detached,
    /// A signed text that is not whole, in words.
    Broken(&'static str),
}

impl Frame {
    /// Looks for the frame.
    pub fn of(bytes: &[u8]) -> Frame {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let is = |line: &[u8], mark: &[u8]| line.trim_ascii_end() == mark;
        let count = |mark| lines.iter().filter(|line| is(line, mark)).count();
        match (count(BEGIN), count(SIGNATURE)) {
            (0, 0) => return Frame::Plain,
            (0, _) => {
                let first = lines.iter().find(|line| !line.trim_ascii().is_empty());
                return if first.is_some_and(|line| is(line, SIGNATURE)) {
                    Frame::Detached
                } else {
                    Frame::Broken("the beginning of its signed text is missing")
                };
            }
            (1, 0) => return Frame::Broken("its signature is missing, so it was cut off"),
            (1, 1) => {}
            _ => return Frame::Broken("it has more than one signed part"),
        }
        let from = lines.iter().position(|line| is(line, BEGIN));
        let Some((from, mut rest)) = from.map(|from| (from, &lines[from + 1..])) else {
            return Frame::Plain;
        };
        // Armor headers, of which only one is known, up to an empty line.
        loop {
            let Some((line, more)) = rest.split_first() else {
                return Frame::Broken("it was cut off");
            };
            rest = more;
            if line.trim_ascii().is_empty() {
                break;
            }
            if !line.starts_with(b"Hash: ") {
                return Frame::Broken("its signed text has a head of unknown form");
            }
        }
        let mut text = Vec::new();
        loop {
            let Some((line, more)) = rest.split_first() else {
                return Frame::Broken("its signature stands before its text");
            };
            rest = more;
            if is(line, SIGNATURE) {
                break;
            }
            let line = match line.strip_prefix(b"- ") {
                Some(line) => line,
                None if line.starts_with(b"-") => {
                    return Frame::Broken("its signed text has a line of unknown form");
                }
                None => line,
            };
            text.extend_from_slice(line.trim_ascii_end());
            text.push(b'\n');
        }
        let Some(end) = rest.iter().position(|line| is(line, END)) else {
            return Frame::Broken("its signature was cut off");
        };
        let to = lines.len() - rest.len() + end;
        let mut whole = lines[from..=to].concat();
        if !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        let armored = lines[lines.len() - rest.len() - 1..=to].concat();
        // What else a message could hold (compressed data, other messages) is not for the verifier to see.
        let signature = armor::remove(&armored, armor::SIGNATURE);
        if !signature.is_some_and(|packets| armor::are(&packets, &[armor::SIGNATURE_PACKET])) {
            return Frame::Broken("its signature is damaged");
        }
        Frame::Signed { whole, text }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet of type 2 with one byte.
    const ARMORED: &str = "-----BEGIN PGP SIGNATURE-----\n\nwgEA\n-----END PGP SIGNATURE-----\n";

    fn framed(text: &str) -> String {
        format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{text}{ARMORED}")
    }

    #[test]
    fn only_what_is_inside_is_the_text() {
        let one = framed("in \r\n- - dash\n");
        for around in [
            one.clone(),
            format!("before\n{one}after\n"),
            one.replace('\n', "\r\n"),
        ] {
            let Frame::Signed { whole, text } = Frame::of(around.as_bytes()) else {
                panic!("{around}: {:?}", Frame::of(around.as_bytes()));
            };
            assert_eq!(text, b"in\n- dash\n");
            let whole = String::from_utf8(whole).unwrap().replace('\r', "");
            assert_eq!(whole, one.replace('\r', ""));
        }
        assert_eq!(Frame::of(b"abc  x\n"), Frame::Plain);
        assert_eq!(Frame::of(ARMORED.as_bytes()), Frame::Detached);
    }

    #[test]
    fn what_is_not_whole_is_said() {
        let one = framed("text\n");
        let broken = |text: &str| matches!(Frame::of(text.as_bytes()), Frame::Broken(_));
        for (at, _) in one.match_indices('\n') {
            let (head, tail) = one.split_at(at);
            if at + 1 < one.len() {
                assert!(broken(head), "{head}");
            }
            // Without its first line nothing is signed; what is only a signature is one.
            if at > 0
                && !tail.trim_start().starts_with("-----BEGIN PGP SIGNATURE")
                && tail.contains("BEGIN")
            {
                assert!(broken(tail), "{tail}");
            }
        }
        assert!(broken(&format!("{one}{one}")));
        assert!(broken(&one.replace("Hash: ", "Comment: ")));
        assert!(broken(&one.replace("text", "-text")));
        assert!(broken(&one.replace("wgEA", "wg")));
        // A compressed packet.
        assert!(broken(&one.replace("wgEA", "yAEA")));
    }

    proptest! {
        #[test]
        fn nothing_is_a_panic(bytes: Vec<u8>, at in 0..200_usize, byte: u8, cut in 0..200_usize) {
            let _ = Frame::of(&bytes);
            let mut text = framed("text\n").into_bytes();
            let len = text.len();
            text[at % len] = byte;
            text.truncate(cut);
            let _ = Frame::of(&text);
        }
    }
}
