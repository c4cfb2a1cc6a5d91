// SPDX-License-Identifier: MIT OR Apache-2.0
//! The JSON form of what serde has no form for, or none that comes back: bytes, paths, extended attributes, patches.
//!
//! Whatever is written comes back byte for byte: a plan is reviewed by one process and applied by another. Bytes are
//! lower-case hexadecimal. What is usually text (paths, values of attributes) is a string where it is UTF-8, and an
//! object `{"hex": …}` where it is not.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest;
use crate::patch::{After, Patch, Why};
use crate::units::Bytes;

/// In place of the new bytes of the one patch that is computed while writing.
const COMPUTED: &str = "computed while writing";

/// What is usually text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Raw {
    Text(String),
    Bytes {
        #[serde(with = "hex")]
        hex: Vec<u8>,
    },
}

impl Raw {
    fn new(bytes: &[u8]) -> Raw {
        match std::str::from_utf8(bytes) {
            Ok(text) => Raw::Text(text.into()),
            Err(_) => Raw::Bytes { hex: bytes.into() },
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Raw::Text(text) => text.into_bytes(),
            Raw::Bytes { hex } => hex,
        }
    }
}

/// Bytes as hexadecimal.
pub mod hex {
    use super::{Deserialize, Deserializer, Error, Serializer, digest};

    /// Two digits a byte.
    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&digest::hex(bytes))
    }

    /// Refuses what is not hexadecimal.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        digest::unhex(&text).ok_or_else(|| Error::custom("bytes that are not hexadecimal"))
    }
}

/// A path.
pub mod path {
    use std::path::Path;

    use super::{
        Deserialize, Deserializer, OsStrExt, OsString, OsStringExt, PathBuf, Raw, Serialize,
        Serializer,
    };

    /// Text where it is UTF-8.
    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        Raw::new(path.as_os_str().as_bytes()).serialize(to)
    }

    /// Any bytes are a path.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Raw::deserialize(from)?.bytes()).into())
    }
}

/// Paths.
pub mod paths {
    use super::{
        Deserialize, Deserializer, OsStrExt, OsString, OsStringExt, PathBuf, Raw, Serializer,
    };

    /// Text where they are UTF-8.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        let raw = |path: &PathBuf| Raw::new(path.as_os_str().as_bytes());
        to.collect_seq(paths.iter().map(raw))
    }

    /// Any bytes are a path.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let all: Vec<Raw> = Deserialize::deserialize(from)?;
        let path = |raw: Raw| OsString::from_vec(raw.bytes()).into();
        Ok(all.into_iter().map(path).collect())
    }
}

/// Extended attributes: an object, value by name. A SELinux label ends with a NUL, which is a part of it.
pub mod attributes {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};

    use super::{Deserializer, Raw, Serializer};

    /// In their order.
    pub fn serialize<S: Serializer>(all: &[(String, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(all.iter().map(|(name, value)| (name, Raw::new(value))))
    }

    /// In the order in which they stand.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, Vec<u8>)>, D::Error> {
        from.deserialize_map(InOrder)
    }

    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, Vec<u8>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("extended attributes by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, Raw>()? {
                all.push((name, value.bytes()));
            }
            Ok(all)
        }
    }
}

/// A patch as it stands in JSON.
#[derive(Serialize, Deserialize)]
struct PatchForm {
    at: Bytes,
    len: Bytes,
    #[serde(with = "hex")]
    before: Vec<u8>,
    after: String,
    why: Why,
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        PatchForm {
            at: self.at,
            len: self.extent().len,
            before: self.before.clone(),
            after: match &self.after {
                After::Bytes(after) => digest::hex(after),
                After::MediaCheck => COMPUTED.into(),
            },
            why: self.why.clone(),
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for Patch {
    /// A patch has as many bytes before as after, and says how many.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Patch, D::Error> {
        let PatchForm {
            at,
            len,
            before,
            after,
            why,
        } = PatchForm::deserialize(from)?;
        let after = if after == COMPUTED {
            After::MediaCheck
        } else {
            let bytes = digest::unhex(&after)
                .ok_or_else(|| D::Error::custom("a patch of bytes that are not hexadecimal"))?;
            After::Bytes(bytes)
        };
        let patch = Patch {
            at,
            before,
            after,
            why,
        };
        let replaced = match &patch.after {
            After::Bytes(after) => after.len() == patch.before.len(),
            After::MediaCheck => true,
        };
        if patch.extent().len != len || !replaced {
            return Err(D::Error::custom(format!(
                "the patch at byte {at} does not have the length it says"
            )));
        }
        Ok(patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::persistence::tree::{Attributes, Content, Entry};
    use crate::plan::{Behind, PlannedTarget};

    fn back<T: Serialize + for<'de> Deserialize<'de>>(value: &T) -> T {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }

    fn any_why() -> impl Strategy<Value = Why> {
        prop_oneof![
            Just(Why::PartitionTable),
            Just(Why::MediaCheck),
            Just(Why::SeedFlag),
            Just(Why::SeedLabel),
            any::<String>().prop_map(|file| Why::BootArguments { file }),
            any::<String>().prop_map(|file| Why::Directory { file }),
        ]
    }

    fn any_patch() -> impl Strategy<Value = Patch> {
        let bytes = prop::collection::vec(any::<(u8, u8)>(), 0..60);
        (any::<u64>(), bytes, any_why(), any::<bool>()).prop_map(|(at, bytes, why, computed)| {
            let (before, after): (Vec<u8>, Vec<u8>) = bytes.into_iter().unzip();
            Patch {
                at: Bytes(at),
                before,
                after: if computed {
                    After::MediaCheck
                } else {
                    After::Bytes(after)
                },
                why,
            }
        })
    }

    proptest! {
        #[test]
        fn patches_come_back(patch in any_patch()) {
            prop_assert_eq!(back(&patch), patch);
        }

        #[test]
        fn bytes_behind_the_image_come_back(at in any::<u64>(), bytes: Vec<u8>, what: String) {
            let behind = Behind { at: Bytes(at), bytes, what };
            prop_assert_eq!(back(&behind), behind);
        }

        #[test]
        fn trees_come_back_in_their_order(
            path: String,
            text: String,
            kind in 0..3,
            mode: u32,
            uid: u32,
            xattrs in prop::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..4),
        ) {
            let attributes = Attributes { mode, uid, gid: mode ^ uid, xattrs };
            let content = match kind {
                0 => Content::Directory,
                1 => Content::File { text },
                _ => Content::Symlink { target: text },
            };
            let entry = Entry { path, content, attributes };
            prop_assert_eq!(back(&entry), entry);
        }

        #[test]
        fn targets_come_back_whatever_their_paths_are(
            name in prop::collection::vec(1_u8.., 0..20),
            mounts in prop::collection::vec(prop::collection::vec(1_u8.., 0..20), 0..3),
            size: u64,
            inode: Option<u64>,
            serial: Option<String>,
        ) {
            let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
            let target = PlannedTarget {
                path: path(name),
                description: "a stick".into(),
                size: Bytes(size),
                kind: crate::disk::direct::Kind::Disk,
                identity: None,
                stick: inode.is_some(),
                unmount: mounts.into_iter().map(path).collect(),
                now: serial.into_iter().collect(),
            };
            prop_assert_eq!(back(&target), target);
        }

        #[test]
        fn no_text_is_a_panic(text: String, hex in "[0-9a-fA-F]{0,9}") {
            let _ = serde_json::from_str::<Patch>(&text);
            let json = format!(r#"{{"at":1,"len":4,"before":"{hex}","after":"{hex}","why":{{"kind":"media-check"}}}}"#);
            let read = serde_json::from_str::<Patch>(&json);
            prop_assert_eq!(read.is_ok(), hex.len() == 8 && hex == hex.to_lowercase());
        }
    }

    #[test]
    fn a_patch_that_contradicts_itself_is_refused() {
        let patch = |len: u64, before: &str, after: &str| {
            let json = format!(
                r#"{{"at":7,"len":{len},"before":"{before}","after":"{after}","why":{{"kind":"partition-table"}}}}"#
            );
            serde_json::from_str::<Patch>(&json)
        };
        assert!(patch(2, "0102", "0304").is_ok());
        assert!(patch(3, "0102", "0304").is_err());
        assert!(patch(2, "0102", "030405").is_err());
        assert!(patch(2, "0102", "03zz").is_err());
    }
}
