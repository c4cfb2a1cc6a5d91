// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of a LUKS2 partition: two copies of a binary header, each with its own JSON area and checksum.
//!
//! It is only read: cryptsetup makes it. What is read here is what can be judged without the passphrase: whether each
//! copy is whole, whether they belong together, where and how the data behind them is encrypted, and what trying a
//! passphrase costs. What is in a keyslot's area is not looked into.
//!
//! Source: LUKS2 On-Disk Format Specification 1.1 (cryptsetup, docs/on-disk-format-luks2.pdf), section 2 (binary
//! header, its two places, its checksum) and section 3 (JSON area: `keyslots`, `segments`).

pub mod cipher;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::read::ReadAt;
use crate::units::Bytes;

/// The first header's magic, and the second's (2.1, `magic`).
const MAGICS: [&[u8; 6]; 2] = [b"LUKS\xba\xbe", b"SKUL\xba\xbe"];
/// The binary part of a header, in front of the JSON area (2.1).
const BINARY: usize = 4096;
/// Every size that a header with its JSON area can have, which is where the second one lies, too (2.2, table 1).
const SIZES: [u64; 9] = [
    0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000,
];
/// Where the checksum is in a header, and how long the field is (2.1, `csum`).
const CHECKSUM: std::ops::Range<usize> = 448..512;

/// Which copy of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// At the beginning.
    First,
    /// Behind the first.
    Second,
}

/// A header that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How long it is, with its JSON area.
    pub size: Bytes,
    /// Counts up with every change; both copies have the same.
    pub sequence: u64,
    /// The identifier of the partition's content.
    pub uuid: String,
    /// The JSON area, as it is.
    pub json: String,
}

/// Both copies of the header: each as it is, or what is wrong with it, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// At byte 0.
    pub first: Result<Header, String>,
    /// Behind it.
    pub second: Result<Header, String>,
}

/// What is encrypted: the part of the device behind the headers (3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins; it reaches to the end.
    pub at: Bytes,
    /// "aes-xts-plain64".
    pub cipher: String,
    /// How many bytes are encrypted as one.
    pub sector: Bytes,
    /// What is added to the number of a sector.
    pub tweak: u64,
}

/// What opens a partition: a passphrase, and what trying one costs (3.2, `keyslots` and `kdf`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyslot {
    /// Bytes of the key that it holds.
    pub key: u64,
    /// "argon2id", "pbkdf2", …
    pub kdf: String,
    /// argon2: passes over the memory.
    pub passes: Option<u64>,
    /// argon2: memory in KiB.
    pub memory: Option<u64>,
    /// argon2: threads.
    pub lanes: Option<u64>,
}

/// Reads both copies.
pub fn read(device: &dyn ReadAt) -> Copies {
    let first = header(device, Bytes::ZERO, Which::First);
    let second = match &first {
        Ok(first) => header(device, first.size, Which::Second),
        // Where the second one is, only the first one tells; else it is looked for at each place that it can have.
        Err(_) => SIZES
            .iter()
            .map(|size| header(device, Bytes(*size), Which::Second))
            .reduce(|found, next| if found.is_ok() { found } else { next.or(found) })
            .unwrap_or_else(|| Err("there is none".into())),
    };
    Copies { first, second }
}

impl Copies {
    /// The copy that counts: the good one with the higher sequence number.
    pub fn best(&self) -> Option<&Header> {
        match (&self.first, &self.second) {
            (Ok(first), Ok(second)) if second.sequence > first.sequence => Some(second),
            (Ok(first), _) => Some(first),
            (Err(_), Ok(second)) => Some(second),
            (Err(_), Err(_)) => None,
        }
    }

    /// What is wrong with them, in words; nothing if both are good and alike.
    pub fn fault(&self) -> Option<String> {
        match (&self.first, &self.second) {
            (Ok(first), Ok(second)) if first.sequence != second.sequence => Some(format!(
                "the copies of its header are of different times (sequence {} and {})",
                first.sequence, second.sequence
            )),
            (Ok(first), Ok(second)) if first.uuid != second.uuid || first.json != second.json => {
                Some("the copies of its header are each whole and yet differ".into())
            }
            (Ok(_), Ok(_)) => None,
            (Err(why), Ok(_)) => Some(format!(
                "the first copy of its header is damaged ({why}), the second is good"
            )),
            (Ok(_), Err(why)) => Some(format!(
                "the second copy of its header is damaged ({why}), the first is good"
            )),
            (Err(first), Err(second)) => Some(format!(
                "both copies of its header are damaged (the first: {first}; the second: {second})"
            )),
        }
    }
}

impl Header {
    fn json(&self) -> Result<Value, String> {
        serde_json::from_str(&self.json).map_err(|error| odd(&error))
    }

    /// What opens it: every keyslot that it lists.
    pub fn keyslots(&self) -> Result<Vec<Keyslot>, String> {
        #[derive(Deserialize)]
        struct Said {
            key_size: u64,
            kdf: Kdf,
        }
        #[derive(Deserialize)]
        struct Kdf {
            #[serde(rename = "type")]
            kind: String,
            time: Option<u64>,
            memory: Option<u64>,
            cpus: Option<u64>,
        }
        let json = self.json()?;
        let keyslots = json.get("keyslots").and_then(Value::as_object);
        let keyslots = keyslots.ok_or("its JSON area tells of no keyslots")?;
        // What holds no passphrase has none: that of a partition which is being encrypted anew (3.2.4).
        let with_kdf = keyslots.values().filter(|said| said.get("kdf").is_some());
        with_kdf
            .map(|said| {
                let Said { key_size, kdf } =
                    Said::deserialize(said).map_err(|error| odd(&error))?;
                Ok(Keyslot {
                    key: key_size,
                    kdf: kdf.kind,
                    passes: kdf.time,
                    memory: kdf.memory,
                    lanes: kdf.cpus,
                })
            })
            .collect()
    }

    /// Whether it has what a partition of `len` bytes needs to be opened: a keyslot, and an encrypted segment inside
    /// it; or what it lacks.
    pub fn lacks(&self, len: Bytes) -> Option<String> {
        let keyslots = match self.keyslots() {
            Ok(keyslots) => keyslots,
            Err(why) => return Some(why),
        };
        if keyslots.is_empty() {
            return Some("it has no keyslot, so no passphrase opens it".into());
        }
        let json = self.json().unwrap_or_default();
        let segments = json.get("segments").and_then(Value::as_object);
        let inside = |segment: &Value| {
            let text = |key| segment.get(key).and_then(Value::as_str).unwrap_or_default();
            let at = text("offset").parse::<u64>();
            text("type") == "crypt" && at.is_ok_and(|at| Bytes(at) < len)
        };
        if segments.is_none_or(|segments| !segments.values().any(inside)) {
            return Some("it tells of no encrypted data inside the partition".into());
        }
        None
    }

    /// What it says is encrypted, if that is one part to the end of the device; else why not.
    pub fn segment(&self) -> Result<Segment, String> {
        #[derive(Deserialize)]
        struct Said {
            #[serde(rename = "type")]
            kind: String,
            offset: String,
            size: String,
            iv_tweak: String,
            encryption: String,
            sector_size: u64,
        }
        let json = self.json()?;
        let segments = json.get("segments").and_then(Value::as_object);
        let segments = segments.ok_or("its JSON area tells of no segments")?;
        let [said] = segments.values().collect::<Vec<_>>()[..] else {
            return Err(format!("it has {} segments", segments.len()));
        };
        let said = Said::deserialize(said).map_err(|error| odd(&error))?;
        if said.kind != "crypt" || said.size != "dynamic" {
            return Err(format!(
                "its segment is '{}' of size '{}'",
                said.kind, said.size
            ));
        }
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("'{text}' in its segment is no number"))
        };
        Ok(Segment {
            at: Bytes(number(&said.offset)?),
            tweak: number(&said.iv_tweak)?,
            cipher: said.encryption,
            sector: Bytes(said.sector_size),
        })
    }
}

fn odd(error: &serde_json::Error) -> String {
    format!("its JSON area is odd: {error}")
}

/// The header at `at`, if it is one.
fn header(device: &dyn ReadAt, at: Bytes, which: Which) -> Result<Header, String> {
    let unread = |error: crate::read::ReadError| error.to_string();
    let binary = device.read_vec(at, BINARY).map_err(unread)?;
    let field = |from: usize, len: usize| binary.get(from..from + len).unwrap_or_default();
    let be = |from: usize| {
        let bytes = field(from, 8).try_into().unwrap_or_default();
        u64::from_be_bytes(bytes)
    };
    let text = |from: usize, len: usize| {
        let bytes = field(from, len);
        let end = bytes.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
    };
    let magic = MAGICS[usize::from(which == Which::Second)];
    if field(0, 6) != magic {
        return Err("it is not there".into());
    }
    if field(6, 2) != [0, 2] {
        return Err("it is of another version than 2".into());
    }
    let size = be(8);
    if !SIZES.contains(&size) || be(256) != at.0 {
        return Err("it does not say its own size and place".into());
    }
    let algorithm = text(72, 32);
    if algorithm != "sha256" {
        return Err(format!(
            "its checksum is of another kind than SHA-256: '{}'",
            algorithm.escape_debug()
        ));
    }
    let len = Bytes(size).index().unwrap_or(BINARY);
    let mut whole = device.read_vec(at, len).map_err(unread)?;
    let mut sum = [0; 32];
    sum.copy_from_slice(&whole[CHECKSUM][..32]);
    whole[CHECKSUM].fill(0);
    if Sha256::digest(&whole)[..] != sum {
        return Err("its checksum is wrong".into());
    }
    let json = whole.get(BINARY..).unwrap_or_default();
    let end = json.iter().position(|byte| *byte == 0);
    let json = String::from_utf8_lossy(&json[..end.unwrap_or(json.len())]).into_owned();
    Ok(Header {
        size: Bytes(size),
        sequence: be(16),
        uuid: text(168, 40),
        json,
    })
}

#[cfg(test)]
mod tests;
