// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the distribution published of an image: the digests it lists, in which file, and who signed that.
//!
//! Rules:
//!
//! * Of a signed file only the signed text counts; what stands around it might be anybody's.
//! * "Published by" is said of a good signature alone. Everything less is told as what it is: an unsigned file, an
//!   unknown key, a key that has expired. None of those stops; they prove that the image is what the list says, not
//!   who made the list.
//! * A bad signature, a list that was cut off at the image, and two different digests for one name stop before
//!   anything is written. So does an image that has another digest than the one listed.
//! * Nothing is fetched: what lies beside the image, or is named, is all there is.
//!
//! Not looked at: signatures of the image file itself, and digests older than SHA-2.

pub mod armor;
pub mod frame;
mod keys;
pub mod list;
pub mod lookup;
pub mod measure;
pub mod signature;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chain::{Holds, Link};
use crate::digest::{hex, unhex};
use crate::disk::shown;
use crate::form;
use crate::published::signature::Signature;

/// The longest text of a plan or report that comes from a key or a list.
const LONGEST: usize = 512;

/// A digest that distributions publish (FIPS 180-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// 256 bits.
    Sha256,
    /// 512 bits.
    Sha512,
}

impl Algorithm {
    /// Its length in bytes.
    pub fn length(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The name in `--checksum`, plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// One digest of a whole image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum {
    /// Which digest.
    pub algorithm: Algorithm,
    /// Its bytes, as many as the algorithm has.
    #[serde(with = "form::hex")]
    pub value: Vec<u8>,
}

impl Sum {
    /// Reads hexadecimal digits, of which there have to be as many as the algorithm has.
    pub fn parse(algorithm: Algorithm, digits: &[u8]) -> Option<Sum> {
        let digits = std::str::from_utf8(digits).ok()?.to_ascii_lowercase();
        let value = unhex(&digits).filter(|value| value.len() == algorithm.length())?;
        Some(Sum { algorithm, value })
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), hex(&self.value))
    }
}

/// What to compare an image with, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// What lies beside the image.
    #[default]
    Beside,
    /// Nothing.
    Nothing,
    /// This digest.
    Sum(Sum),
    /// What this file lists.
    File(#[serde(with = "form::path")] PathBuf),
}

impl TryFrom<OsString> for Asked {
    type Error = String;

    /// `none`, `sha256:HEX`, `sha512:HEX`, or else the name of a file.
    fn try_from(word: OsString) -> Result<Asked, String> {
        let Some(text) = word.to_str() else {
            return Ok(Asked::File(word.into()));
        };
        if text.is_empty() {
            return Err("it names no file; to compare with nothing write none".into());
        }
        if text == "none" {
            return Ok(Asked::Nothing);
        }
        let Some((name, digits)) = text.split_once(':') else {
            return Ok(Asked::File(word.into()));
        };
        let algorithm = match name.to_ascii_lowercase().as_str() {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "md5" | "sha1" | "sha224" | "sha384" => {
                return Err(format!("{name} is not compared; give sha256 or sha512"));
            }
            _ => return Ok(Asked::File(word.into())),
        };
        let sum = Sum::parse(algorithm, digits.trim().as_bytes());
        sum.map(Asked::Sum).ok_or_else(|| {
            let digits_wanted = algorithm.length() * 2;
            format!("a {name} digest has {digits_wanted} hexadecimal digits, and nothing else")
        })
    }
}

/// What was published of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Published {
    /// It was not looked for (`--checksum none`).
    #[default]
    NotAsked,
    /// There is no list of digests that has the image.
    NotFound {
        /// What was looked at, a sentence each.
        notes: Vec<String>,
    },
    /// A digest was given on the command line.
    Given {
        /// It.
        sum: Sum,
    },
    /// A file lists the image.
    Listed {
        /// One digest of each algorithm, at least one.
        sums: Vec<Sum>,
        /// The file.
        #[serde(with = "form::path")]
        file: PathBuf,
        /// Who vouches for it.
        signature: Signature,
    },
}

impl Published {
    /// The digests that the image must have; none where none is known.
    pub fn sums(&self) -> &[Sum] {
        match self {
            Published::NotAsked | Published::NotFound { .. } => &[],
            Published::Given { sum } => std::slice::from_ref(sum),
            Published::Listed { sums, .. } => sums,
        }
    }

    /// Whether a good signature says that these are the publisher's digests.
    pub fn is_signed(&self) -> bool {
        let Published::Listed { signature, .. } = self else {
            return false;
        };
        matches!(signature, Signature::Good { .. })
    }

    /// Compares with the digests that an image has. The error says which differs, and what to do.
    pub fn compare(&self, name: &str, measured: &[Sum]) -> Result<(), String> {
        for wanted in self.sums() {
            let found = measured.iter().find(|s| s.algorithm == wanted.algorithm);
            if found == Some(wanted) {
                continue;
            }
            let found = found.map_or("not known".into(), |found| hex(&found.value));
            let origin = match self {
                Published::Listed { file, .. } => format!("{} says", shown(file)),
                _ => "the command line says".into(),
            };
            return Err(format!(
                "the image {} does not match: its {} is {found}, {origin} {}; download it again",
                shown(Path::new(name)),
                wanted.algorithm.name(),
                hex(&wanted.value)
            ));
        }
        Ok(())
    }

    /// The link of the chain that this is, of an image that was compared. Without a signature, or the user's own word,
    /// nothing is claimed.
    pub fn link(&self) -> Link {
        let sums: Vec<String> = self.sums().iter().map(ToString::to_string).collect();
        let how = match sums.as_slice() {
            [] => String::new(),
            sums => format!("the image has {}", sums.join(" and ")),
        };
        let vouched = self.is_signed() || matches!(self, Published::Given { .. });
        Link {
            name: "published digest".into(),
            holds: if vouched {
                Holds::Proven
            } else {
                Holds::NotClaimed
            },
            result: self.to_string(),
            how,
        }
    }

    /// What could not be from [`lookup::find`]. Who signed what is the planner's word all the same.
    pub fn audit(&self) -> Result<(), &'static str> {
        let sums = self.sums();
        if let [one, two] = sums
            && one.algorithm >= two.algorithm
        {
            return Err("it has two published digests of one kind");
        }
        let listed = matches!(self, Published::Listed { .. });
        if sums.len() > 2 || (listed && sums.is_empty()) {
            return Err("it has an odd number of published digests");
        }
        if sums
            .iter()
            .any(|sum| sum.value.len() != sum.algorithm.length())
        {
            return Err("it has a published digest that is none");
        }
        let texts: Vec<&String> = match self {
            Published::NotFound { notes } => notes.iter().collect(),
            Published::Listed { signature, .. } => signature.texts(),
            _ => Vec::new(),
        };
        if texts.len() > lookup::CANDIDATES
            || texts
                .iter()
                .any(|text| text.len() > 2 * LONGEST || text.contains(char::is_control))
        {
            return Err("what it says of the published digest is odd");
        }
        Ok(())
    }
}

impl fmt::Display for Published {
    /// In one line, without the digests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Published::NotAsked => write!(f, "no published digest was looked for"),
            Published::NotFound { notes } if notes.is_empty() => {
                write!(f, "no published digest found")
            }
            Published::NotFound { notes } => {
                write!(f, "no published digest found ({})", notes.join(", "))
            }
            Published::Given { sum } => {
                let name = sum.algorithm.name();
                write!(f, "{name} given on the command line")
            }
            Published::Listed {
                file, signature, ..
            } => {
                let file = file.file_name().map_or(file.as_path(), Path::new);
                signature.tell(f, &shown(file))
            }
        }
    }
}

/// What came of comparing an image with what was published of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Comparison {
    /// There is nothing to compare with, or it was not wanted.
    NotCompared {
        /// Why.
        why: String,
    },
    /// It has the digests.
    Equal,
    /// It has others.
    Differs {
        /// Its own.
        measured: Vec<Sum>,
        /// Both in words, and what to do.
        why: String,
    },
}

/// Text from a key or a list, fit to be shown: no control characters, not endless.
fn tame(text: &str) -> String {
    let mut tame = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if tame.len() + c.len_utf8() > LONGEST {
            break;
        }
        tame.push(c);
    }
    tame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, byte: u8) -> Sum {
        let value = vec![byte; algorithm.length()];
        Sum { algorithm, value }
    }

    fn listed(sums: Vec<Sum>, signature: Signature) -> Published {
        let file = "/d/SHA256SUMS".into();
        Published::Listed {
            sums,
            file,
            signature,
        }
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let read = |word: &str| Asked::try_from(OsString::from(word));
        assert_eq!(read("none"), Ok(Asked::Nothing));
        assert_eq!(read("./none"), Ok(Asked::File("./none".into())));
        assert_eq!(read("a:b"), Ok(Asked::File("a:b".into())));
        let upper = format!("SHA256:{}", "AB".repeat(32));
        assert_eq!(read(&upper), Ok(Asked::Sum(sum(Algorithm::Sha256, 0xab))));
        let long = format!("sha512:{}", "01".repeat(64));
        assert_eq!(read(&long), Ok(Asked::Sum(sum(Algorithm::Sha512, 1))));
        for wrong in ["sha256:", "sha256:12", "md5:12", "", "sha512:zz"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let short = format!("sha256:{}é", "a".repeat(62));
        assert!(read(&short).is_err());
    }

    #[test]
    fn every_state_comes_back_from_json_and_says_what_it_is() {
        let (key, owner) = ("0123".to_owned(), "Lab <a@b>".to_owned());
        let one = vec![sum(Algorithm::Sha256, 1)];
        let all = [
            (Published::NotAsked, "no published digest was looked for"),
            (
                Published::NotFound { notes: Vec::new() },
                "no published digest found",
            ),
            (
                Published::NotFound {
                    notes: vec!["SHA256SUMS does not list it".into()],
                },
                "no published digest found (SHA256SUMS does not list it)",
            ),
            (
                Published::Given {
                    sum: sum(Algorithm::Sha512, 2),
                },
                "sha512 given on the command line",
            ),
            (
                listed(one.clone(), Signature::None),
                "listed in an unsigned file, SHA256SUMS",
            ),
            (
                listed(
                    one.clone(),
                    Signature::Good {
                        key: key.clone(),
                        owner: owner.clone(),
                    },
                ),
                "published by Lab (key 0123, good signature), in SHA256SUMS",
            ),
            (
                listed(one.clone(), Signature::UnknownKey { key: key.clone() }),
                "listed in SHA256SUMS, signed by an unknown key (0123), so counts as unsigned",
            ),
            (
                listed(
                    one.clone(),
                    Signature::Expired {
                        key: key.clone(),
                        owner: owner.clone(),
                    },
                ),
                "listed in SHA256SUMS, signed by Lab with a key that has expired (0123), so counts as unsigned",
            ),
            (
                listed(one, Signature::Revoked { key, owner }),
                "listed in SHA256SUMS, signed by Lab with a key that was revoked (0123), so counts as unsigned",
            ),
        ];
        for (state, said) in all {
            assert_eq!(state.to_string(), said);
            assert_eq!(state.audit(), Ok(()), "{said}");
            let vouched = said.contains("published by") || said.contains("given");
            let link = state.link();
            assert_eq!(link.holds == Holds::Proven, vouched, "{said}");
            assert_eq!(link.how.is_empty(), state.sums().is_empty());
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<Published>(&json).unwrap(), state);
        }
    }

    #[test]
    fn what_no_lookup_gives_is_refused() {
        let short = Sum {
            algorithm: Algorithm::Sha256,
            value: vec![1],
        };
        let (a, b) = (sum(Algorithm::Sha256, 1), sum(Algorithm::Sha512, 1));
        let wild = Signature::UnknownKey { key: "a\nb".into() };
        for odd in [
            listed(vec![], Signature::None),
            listed(vec![short.clone()], Signature::None),
            listed(vec![a.clone(), a.clone()], Signature::None),
            listed(vec![b.clone(), a.clone()], Signature::None),
            listed(vec![a.clone(), b.clone(), b.clone()], Signature::None),
            listed(vec![a.clone()], wild),
            Published::Given { sum: short },
            Published::NotFound {
                notes: vec!["x".repeat(2000)],
            },
        ] {
            assert!(odd.audit().is_err(), "{odd:?}");
        }
        assert_eq!(listed(vec![a, b], Signature::None).audit(), Ok(()));
    }

    #[test]
    fn a_mismatch_names_both() {
        let (a, b) = (sum(Algorithm::Sha256, 1), sum(Algorithm::Sha256, 2));
        let published = listed(vec![a.clone()], Signature::None);
        assert_eq!(published.compare("x", std::slice::from_ref(&a)), Ok(()));
        let said = published.compare("x", &[b]).unwrap_err();
        assert!(said.contains(&"01".repeat(32)) && said.contains(&"02".repeat(32)));
        assert!(published.compare("x", &[]).is_err());
    }
}
