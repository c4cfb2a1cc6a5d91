// SPDX-License-Identifier: MIT OR Apache-2.0
//! OpenPGP's armor taken off, and its packets told apart by kind. Nothing in them is understood here: that is gpgv's.
//!
//! Source: RFC 9580, sections 4.2 (packet headers) and 6 (armor). The armor's checksum is not looked at; it is
//! optional, and signatures prove more.

/// The armor of signatures.
pub const SIGNATURE: &str = "SIGNATURE";
/// The armor of keys.
pub const PUBLIC_KEY: &str = "PUBLIC KEY BLOCK";

/// A signature (section 5.2).
pub const SIGNATURE_PACKET: u8 = 2;
/// What a public key is made of: the key, signatures, trust, user IDs, attributes, subkeys (section 10.1).
pub const KEY_PACKETS: [u8; 6] = [6, 2, 12, 13, 17, 14];

/// The bytes of all blocks of this kind; none where there is none, or one is not whole.
pub fn remove(text: &[u8], kind: &str) -> Option<Vec<u8>> {
    let begin = format!("-----BEGIN PGP {kind}-----").into_bytes();
    let end = format!("-----END PGP {kind}-----").into_bytes();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut bytes = Vec::new();
    let mut any = false;
    while lines.any(|line| line == begin) {
        any = true;
        let mut digits = Base64::default();
        let mut head = true;
        loop {
            let line = lines.next()?;
            if line == end {
                break;
            }
            if head {
                // Headers have a colon, which the digits have not; an empty line may be missing behind none.
                head = line.contains(&b':');
                if head || line.is_empty() {
                    continue;
                }
            }
            if !line.starts_with(b"=") {
                digits.line(line, &mut bytes)?;
            }
        }
        digits.end()?;
    }
    any.then_some(bytes)
}

/// Base64 (RFC 4648, section 4) in lines.
#[derive(Default)]
struct Base64 {
    bits: u32,
    count: u8,
    padded: bool,
}

impl Base64 {
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for digit in line {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.padded = true;
                    continue;
                }
                _ => return None,
            };
            if self.padded {
                return None;
            }
            self.bits = (self.bits << 6 | u32::from(value)) & 0x3FFF;
            self.count += 6;
            if self.count >= 8 {
                self.count -= 8;
                out.push((self.bits >> self.count).to_le_bytes()[0]);
            }
        }
        Some(())
    }

    /// A lone digit is six bits of nothing.
    fn end(self) -> Option<()> {
        (self.count < 6).then_some(())
    }
}

/// Whether `bytes` are packets of these kinds, at least one, each whole.
pub fn are(bytes: &[u8], kinds: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match packet(rest) {
            Some((kind, behind)) if kinds.contains(&kind) => rest = behind,
            _ => return false,
        }
    }
    !bytes.is_empty()
}

/// The kind of the first packet, and what comes behind it. Neither packet has an indefinite or partial length here.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    let (kind, len, rest) = match tag {
        0xC0..=0xFF => {
            let (first, rest) = rest.split_first()?;
            let (len, rest) = match first {
                0..=191 => (usize::from(*first), rest),
                192..=223 => {
                    let (second, rest) = rest.split_first()?;
                    let high = usize::from(first - 192) << 8;
                    (high + usize::from(*second) + 192, rest)
                }
                224..=254 => return None,
                255 => (number(rest.get(..4)?), rest.get(4..)?),
            };
            (tag & 0x3F, len, rest)
        }
        0x80..=0xBF => {
            let octets = match tag & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return None,
            };
            let len = number(rest.get(..octets)?);
            (tag >> 2 & 0x0F, len, rest.get(octets..)?)
        }
        _ => return None,
    };
    Some((kind, rest.get(len..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn armored(digits: &str) -> Option<Vec<u8>> {
        let text = format!(
            "noise\n-----BEGIN PGP SIGNATURE-----\nVersion: 1\n\n{digits}\n=abcd\n-----END PGP SIGNATURE-----\n"
        );
        remove(text.as_bytes(), SIGNATURE)
    }

    #[test]
    fn armor_comes_off() {
        assert_eq!(armored("Zm9vYmFy").as_deref(), Some(b"foobar".as_slice()));
        assert_eq!(
            armored("Zm9v\r\nYmE=").as_deref(),
            Some(b"fooba".as_slice())
        );
        assert_eq!(armored("Zm9vYg==").as_deref(), Some(b"foob".as_slice()));
        for wrong in ["Zm9v!", "Z", "Zg==Zg"] {
            assert_eq!(armored(wrong), None, "{wrong}");
        }
        assert_eq!(remove(b"nothing", SIGNATURE), None);
    }

    #[test]
    fn packets_are_told_apart() {
        assert!(are(&[0xC2, 1, 0, 0x88, 2, 0, 0], &[2]));
        assert!(!are(&[0xC2, 2, 0], &[2]));
        assert!(!are(&[0xC8, 1, 0], &[2]));
        assert!(!are(&[0xC2, 0xE0, 0], &[2]));
        assert!(!are(&[0x8B, 0], &[2]));
        assert!(!are(&[], &[2]));
        assert!(!are(b"KBXf", &KEY_PACKETS));
    }

    proptest! {
        #[test]
        fn nothing_is_a_panic(bytes: Vec<u8>, digits: String) {
            let _ = are(&bytes, &[2, 6]);
            let _ = armored(&digits);
            let _ = remove(&bytes, PUBLIC_KEY);
        }
    }
}
