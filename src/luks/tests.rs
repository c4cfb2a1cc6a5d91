// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers that cryptsetup made, whole and damaged.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const UUID: &str = "0e5a4d5c-26b5-4d2c-8a0c-6b9c0f0f1a2b";

/// The first 64 KiB of what cryptsetup makes.
fn made() -> Vec<u8> {
    static MADE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device");
        File::create(&path).unwrap().set_len(20 << 20).unwrap();
        let mut child = Command::new("cryptsetup")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args([
                "luksFormat",
                "--type",
                "luks2",
                "--batch-mode",
                "--disable-locks",
            ])
            .args(["--key-file", "-", "--sector-size", "512", "--uuid", UUID])
            .args(["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"secret").unwrap();
        assert!(child.wait().unwrap().success());
        let mut bytes = std::fs::read(path).unwrap();
        bytes.truncate(64 << 10);
        bytes
    });
    MADE.clone()
}

/// The place of the second header of what was made.
const SECOND: usize = 0x4000;

#[test]
fn both_copies_of_a_header_are_read() {
    let copies = read(&made());
    assert_eq!(copies.fault(), None);
    let first = copies.best().unwrap();
    assert_eq!(first.uuid, UUID);
    assert_eq!(first.size, Bytes(0x4000));
    let segment = first.segment().unwrap();
    assert_eq!(
        segment,
        Segment {
            at: Bytes::mib(16),
            cipher: cipher::NAME.into(),
            sector: cipher::SECTOR,
            tweak: 0
        }
    );
}

#[test]
fn what_opens_it_is_told_and_what_it_lacks() {
    let bytes = made();
    let copies = read(&bytes);
    let header = copies.best().unwrap();
    let keyslots = header.keyslots().unwrap();
    let [slot] = keyslots.as_slice() else {
        panic!("{keyslots:?}")
    };
    assert_eq!((slot.kdf.as_str(), slot.key), ("pbkdf2", 64));
    assert_eq!((slot.passes, slot.memory), (None, None));
    assert_eq!(header.lacks(Bytes::mib(20)), None);
    assert!(
        header
            .lacks(Bytes::mib(16))
            .unwrap()
            .contains("no encrypted data")
    );
    let with = |place: &str, value: Value| {
        let mut json: Value = serde_json::from_str(&header.json).unwrap();
        *json.pointer_mut(place).unwrap() = value;
        Header {
            json: json.to_string(),
            ..header.clone()
        }
    };
    for (place, value, why) in [
        ("/keyslots", "{}", "no keyslot,"),
        ("/keyslots", "7", "no keyslots"),
        ("/keyslots/0/kdf", "7", "odd"),
        ("/segments", "{}", "no encrypted data"),
        ("/segments", "[]", "no encrypted data"),
        ("/segments/0/type", "\"linear\"", "no encrypted data"),
        ("/segments/0/offset", "\"-1\"", "no encrypted data"),
    ] {
        let changed = with(place, serde_json::from_str(value).unwrap());
        let lacks = changed.lacks(Bytes::mib(20)).unwrap_or_default();
        assert!(lacks.contains(why), "{why}: {lacks}");
    }
}

#[test]
fn one_bad_copy_is_named_and_the_other_counts() {
    for (at, name, other) in [
        (5000, "first", "second"),
        (SECOND + 5000, "second", "first"),
    ] {
        let mut bytes = made();
        bytes[at] ^= 1;
        let copies = read(&bytes);
        let fault = copies.fault().unwrap();
        assert_eq!(
            fault,
            format!(
                "the {name} copy of its header is damaged (its checksum is wrong), the {other} is good"
            )
        );
        assert_eq!(copies.best().unwrap().uuid, UUID);
    }
    // Without its first sector, too.
    let mut bytes = made();
    bytes[..4096].fill(0);
    let copies = read(&bytes);
    assert!(copies.fault().unwrap().contains("it is not there"));
    assert_eq!(copies.best().unwrap().uuid, UUID);
    bytes.fill(0);
    assert_eq!(read(&bytes).best(), None);
    assert!(read(&bytes).fault().unwrap().starts_with("both copies"));
}

#[test]
fn every_bit_of_a_header_counts() {
    let whole = made();
    // All of the binary header, and some of the rest. A SHA-256 fills half of the field for checksums.
    let places = (0..480).chain((512..SECOND).step_by(331));
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(read(&bytes).fault().is_some(), "byte {at}");
    }
}

#[test]
fn copies_of_different_times_are_told() {
    let mut bytes = made();
    bytes[16 + 7] += 1;
    let mut whole = bytes[..SECOND].to_vec();
    whole[CHECKSUM].fill(0);
    bytes[448..480].copy_from_slice(&Sha256::digest(&whole));
    let fault = read(&bytes).fault().unwrap();
    assert!(fault.contains("different times"), "{fault}");
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes: Vec<u8>) {
        prop_assert!(read(&bytes).fault().is_some());
    }

    #[test]
    fn no_change_is_a_panic(changes in prop::collection::vec((0_usize..0x9000, any::<u8>()), 0..6), cut in 0_usize..0x1_0000) {
        let mut bytes = made();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let _ = read(&bytes).fault();
        bytes.truncate(cut);
        let _ = read(&bytes).fault();
    }

    #[test]
    fn no_json_is_a_panic(json in "\\PC{0,200}", number in any::<i128>()) {
        let header = |json: String| Header { size: Bytes(0x4000), sequence: 1, uuid: UUID.into(), json };
        prop_assert!(header(json.clone()).segment().is_err());
        prop_assert!(header(json).lacks(Bytes::mib(20)).is_some());
        let json = format!(r#"{{"segments":{{"0":{{"type":"crypt","offset":"{number}","size":"dynamic","iv_tweak":"0","encryption":"x","sector_size":512}}}}}}"#);
        prop_assert_eq!(header(json).segment().is_ok(), u64::try_from(number).is_ok());
    }
}
