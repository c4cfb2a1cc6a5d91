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

use uuid::Uuid;

/// The place of the rule, in the initrd and in the running system, without a leading slash.
pub const PATH: &str = "etc/udev/rules.d/65-livestick-sprout.rules";

/// The place of the hook in an initrd of dracut.
const HOOK: &str = "usr/lib/dracut/hooks/initqueue/finished/90-livestick-sprout.sh";

/// The rule for the sprout of this label that grows from the seed of this identifier.
pub fn rule(label: &str, seed: Uuid) -> String {
    format!(
        "# A sprout is ready when its seed is there.\n\
         SUBSYSTEM==\"block\", ENV{{ID_FS_LABEL}}==\"{label}\", ENV{{ID_BTRFS_READY}}==\"0\", \
         TEST==\"/dev/disk/by-uuid/{seed}\", ENV{{SYSTEMD_READY}}=\"1\"\n"
    )
}

/// A hook of dracut's initqueue: the start goes on when it succeeds, which it does when the seed is there, or when the
/// sprout needs none any more. When that takes too long dracut repeats its text on
/// the console and gives up (dracut `modules.d/*dracut-systemd/dracut-initqueue.sh`, read in 059, 106 and 112), so the
/// text says what is wrong.
fn hook(label: &str, seed: Uuid) -> String {
    format!(
        "# The seed of this stick (btrfs {seed}) is missing or damaged. Restart, and choose 'without persistence'.\n\
         [ -e /dev/disk/by-uuid/{seed} ] || case $(udevadm info -q property -n /dev/disk/by-label/{label} 2>/dev/null) in \
         *ID_BTRFS_READY=1*) ;; *) false ;; esac\n"
    )
}

/// The initrd for the sprout of this label that grows from the seed of this identifier.
pub fn initrd(label: &str, seed: Uuid) -> Vec<u8> {
    archive(&[(PATH, &rule(label, seed)), (HOOK, &hook(label, seed))])
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

    use super::*;

    #[test]
    fn cpio_unpacks_the_archive() {
        let text = rule("sprout-1a2b", Uuid::from_u128(7));
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
        let archive = initrd("sprout-1", Uuid::nil());
        assert!(archive.len() <= 2048, "it fits into the smallest file");
        let found = crate::image::initrd::inspect(&archive).unwrap();
        assert!(found.complete, "{:?}", found.stopped);
    }
}
