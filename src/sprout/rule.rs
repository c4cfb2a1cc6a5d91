// SPDX-License-Identifier: MIT OR Apache-2.0
//! The udev rule without which no system starts from a sprout, and the initrd that carries it.
//!
//! systemd's `64-btrfs.rules` asks the kernel whether all devices of a btrfs are there, and holds the device back as long
//! as they are not. The kernel counts devices by filesystem identifier; a sprout's superblock says two, and the seed has
//! another identifier, so the answer is "no" for ever (btrfs-progs issue 365; seen with Linux 6.1 to 6.18). The rule
//! says instead: this sprout is ready when its seed is there. `64-btrfs.rules` looks again at whatever was not ready
//! when a btrfs becomes ready, so it does not matter which of the two appears first.
//!
//! An initrd is a row of cpio archives (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`), so the rule
//! gets into the image's own initrd by loading one more file behind it. Files replace files.

use std::fmt::Write;

use crate::sprout::Sprout;

/// The place of the rule, in the initrd and in the running system, without a leading slash.
pub const PATH: &str = "etc/udev/rules.d/65-livestick-sprout.rules";

/// The place of the rule that comes before systemd's.
const FOREIGN: &str = "etc/udev/rules.d/63-livestick-seed.rules";

/// The place of the hook in an initrd of dracut.
const HOOK: &str = "usr/lib/dracut/hooks/initqueue/finished/90-livestick-sprout.sh";

/// The rules for a sprout, by their places.
pub fn rules(sprout: &Sprout) -> Vec<(&'static str, String)> {
    let mut rules = vec![(PATH, rule(sprout))];
    if sprout.within {
        rules.push((FOREIGN, foreign(sprout)));
    }
    rules
}

fn rule(sprout: &Sprout) -> String {
    let mut tests = String::new();
    for link in sprout.seed_links() {
        let _ = write!(tests, "TEST==\"/dev/disk/{link}\", ");
    }
    format!(
        "# A sprout is ready when its seed is there.\n\
         SUBSYSTEM==\"block\", ENV{{ID_FS_LABEL}}==\"{}\", ENV{{ID_BTRFS_READY}}==\"0\", {tests}ENV{{SYSTEMD_READY}}=\"1\"\n",
        sprout.sprout.label
    )
}

/// Another stick of the same image has the same seed, byte for byte, and the kernel takes the last one that it was shown.
/// What is not ready is not shown to it by `64-btrfs.rules`.
fn foreign(sprout: &Sprout) -> String {
    format!(
        "# The same seed on another stick.\n\
         SUBSYSTEM==\"block\", ENV{{ID_FS_UUID}}==\"{}\", ENV{{ID_PART_ENTRY_UUID}}!=\"{}\", ENV{{SYSTEMD_READY}}=\"0\"\n",
        sprout.seed_uuid, sprout.seed.partuuid
    )
}

/// A hook of dracut's initqueue: the start goes on when it succeeds, which it does when the seed is there, or when the
/// sprout needs none any more. When that takes too long dracut repeats its text on
/// the console and gives up (dracut `modules.d/*dracut-systemd/dracut-initqueue.sh`, read in 059, 106 and 112), so the
/// text says what is wrong.
fn hook(sprout: &Sprout) -> String {
    let (label, seed) = (&sprout.sprout.label, sprout.seed_uuid);
    let links = sprout.seed_links();
    let there: Vec<String> = links
        .iter()
        .map(|link| format!("[ -e /dev/disk/{link} ]"))
        .collect();
    let there = there.join(" && ");
    format!(
        "# The seed of this stick (btrfs {seed}) is missing or damaged. Restart, and choose 'without persistence'.\n\
         {{ {there}; }} || case $(udevadm info -q property -n /dev/disk/by-label/{label} 2>/dev/null) in \
         *ID_BTRFS_READY=1*) ;; *) false ;; esac\n"
    )
}

/// The initrd for a sprout.
pub fn initrd(sprout: &Sprout) -> Vec<u8> {
    let mut files = rules(sprout);
    files.push((HOOK, hook(sprout)));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    archive(&files)
}

/// An archive with these files, in the "newc" format, uncompressed. It holds no directories: those of the image's initrd
/// are there already, and a directory in the place of a link (as `hooks` is one in dracut 106) would replace it.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (inode, (path, text)) in (1..).zip(files) {
        entry(&mut out, inode, 0o100_644, path, text);
    }
    entry(&mut out, 0, 0, "TRAILER!!!", "");
    out
}

/// Header, name, contents; name and contents each padded to four bytes.
fn entry(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, text: &str) {
    let (name_len, text_len) = (name.len() + 1, text.len());
    // Inode, mode, owner, group, links, time, size, device, device of a special file, length of the name, checksum.
    let header = format!(
        "070701{inode:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{text_len:08x}{:08x}{:08x}{:08x}{:08x}{name_len:08x}{:08x}",
        0, 0, 1, 0, 0, 0, 0, 0, 0
    );
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use uuid::Uuid;

    use super::*;
    use crate::sprout::{Checksum, Driver, Home, Part, Source};
    use crate::units::{Bytes, Extent};

    fn sprout(within: bool) -> Sprout {
        let extent = Extent {
            at: Bytes::mib(4),
            len: Bytes::mib(4),
        };
        let part = |label: &str| Part {
            number: 4,
            extent,
            partuuid: Uuid::from_u128(8).to_string(),
            label: label.into(),
        };
        Sprout {
            source: Source {
                extent,
                driver: Driver::Btrfs,
                nested: None,
            },
            seed: part("seed-0123456789ab"),
            seed_uuid: Uuid::from_u128(7),
            checksum: Checksum::Crc32c,
            within,
            sprout: part("sprout-0123456789ab"),
            home: Home::Subvolume,
        }
    }

    #[test]
    fn the_same_seed_on_another_stick_is_shown_to_nobody() {
        let rules = rules(&sprout(true));
        let places: Vec<&str> = rules.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [PATH, FOREIGN]);
        // systemd's rule is number 64.
        assert!(FOREIGN.contains("/63-") && PATH.contains("/65-"));
        let (uuid, partuuid) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let ready = &rules[0].1;
        assert!(ready.contains(&format!("TEST==\"/dev/disk/by-partuuid/{partuuid}\"")));
        assert!(ready.contains(&format!("TEST==\"/dev/disk/by-uuid/{uuid}\"")));
        let foreign = &rules[1].1;
        assert!(foreign.contains(&format!("ENV{{ID_FS_UUID}}==\"{uuid}\"")));
        assert!(foreign.contains(&format!("ENV{{ID_PART_ENTRY_UUID}}!=\"{partuuid}\"")));
        assert!(super::rules(&sprout(false)).len() == 1);
    }

    #[test]
    fn cpio_unpacks_the_archive() {
        let text = rule(&sprout(false));
        let archive = archive(&[(PATH, &text), ("etc/other", "x")]);
        assert!(archive.len().is_multiple_of(4));
        let dir = tempfile::tempdir().unwrap();
        let mut cpio = Command::new("cpio")
            .args(["-i", "-d", "--quiet", "--no-absolute-filenames"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("cpio is needed for this test");
        cpio.stdin.take().unwrap().write_all(&archive).unwrap();
        assert!(cpio.wait().unwrap().success());
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read(PATH), text);
        assert_eq!(read("etc/other"), "x");
    }

    #[test]
    fn our_own_reader_takes_it_for_an_initrd() {
        for within in [false, true] {
            let archive = initrd(&sprout(within));
            assert!(archive.len() <= 2048, "it fits into the smallest file");
            let found = crate::image::initrd::inspect(&archive).unwrap();
            assert!(found.complete, "{:?}", found.stopped);
        }
    }
}
