// SPDX-License-Identifier: MIT OR Apache-2.0
//! The distribution's programs that livestick runs: one table, from which they are started, refused by name, and told of
//! by `livestick doctor`.
//!
//! Where a program is, and whether the one found will do, is [`crate::host::Host`]'s to say.

/// A program of the distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// The package that has it.
    pub package: &'static str,
    /// Who cannot do without it.
    pub need: Need,
    /// What a user cannot have without it, as the end of "without it …".
    pub cost: &'static str,
    /// Whether busybox' program of that name will do.
    pub busybox: bool,
    /// The first version that has all that is used of it, where older ones are about.
    pub oldest: Option<(u32, u32)>,
}

/// Who cannot do without a program, or a faculty of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A write to a stick with overlay and `/home` on what they are on by default.
    Write,
    /// Nobody; something else is done instead, or less is offered.
    Nobody,
}

const fn program(name: &'static str, package: &'static str, cost: &'static str) -> Program {
    Program {
        name,
        package,
        need: Need::Nobody,
        cost,
        busybox: true,
        oldest: None,
    }
}

const fn needed(name: &'static str, package: &'static str, cost: &'static str) -> Program {
    Program {
        need: Need::Write,
        ..program(name, package, cost)
    }
}

/// Makes btrfs.
pub const MKFS_BTRFS: Program = needed(
    "mkfs.btrfs",
    "btrfs-progs",
    "no overlay and no /home on btrfs, which is the default; --overlay-fs and --home-fs choose another",
);
/// Checks btrfs, and sets compression.
pub const BTRFS: Program = needed(
    "btrfs",
    "btrfs-progs",
    "no overlay and no /home on btrfs, and verify cannot check those of a stick",
);
/// Makes ext4.
pub const MKFS_EXT4: Program = program(
    "mkfs.ext4",
    "e2fsprogs",
    "no overlay and no /home on ext4, and none at all for images that cannot mount btrfs",
);
/// Checks ext4.
pub const E2FSCK: Program = program(
    "e2fsck",
    "e2fsprogs",
    "no overlay and no /home on ext4, and verify cannot check those of a stick",
);
/// Makes XFS.
pub const MKFS_XFS: Program = program("mkfs.xfs", "xfsprogs", "no overlay and no /home on xfs");
/// Checks XFS.
pub const XFS_REPAIR: Program = program(
    "xfs_repair",
    "xfsprogs",
    "no overlay and no /home on xfs, and verify cannot check those of a stick",
);
/// Attaches loop devices to parts of a stick.
pub const LOSETUP: Program = Program {
    // It knows no --sizelimit.
    busybox: false,
    ..needed(
        "losetup",
        "util-linux",
        "no overlay and no /home on a stick, only in a stick image file",
    )
};
/// Keeps a loop device, and fills filesystems.
pub const SH: Program = needed(
    "sh",
    "dash or bash",
    "no overlay and no /home on a stick, only in a stick image file",
);
/// Gives mounts that nobody else sees, and root's files to an ordinary user.
pub const UNSHARE: Program = program(
    "unshare",
    "util-linux",
    "nothing is mounted to fill a filesystem: no compression in btrfs; ordinary users make no overlay and no /home",
);
/// Mounts a new filesystem to fill it.
pub const MOUNT: Program = program(
    "mount",
    "util-linux or mount",
    "an overlay on btrfs or xfs is refused where it would be mounted to be filled",
);
/// The other way.
pub const UMOUNT: Program = program(
    "umount",
    "util-linux or mount",
    "an overlay on btrfs or xfs is refused where it would be mounted to be filled",
);
/// Goes through what was filled in, to have it compressed.
pub const FIND: Program = program(
    "find",
    "findutils",
    "an overlay on btrfs or xfs is refused where it would be mounted to be filled",
);
/// Ends a program together with livestick.
pub const SETPRIV: Program = Program {
    // It knows no --pdeathsig.
    busybox: false,
    ..program(
        "setpriv",
        "util-linux",
        "a killed livestick leaves the mkfs or checker that it had started running",
    )
};
/// Shows the kernel a new partition table.
pub const BLOCKDEV: Program = program(
    "blockdev",
    "util-linux",
    "the system may see the new partitions only after the stick is plugged in again",
);
/// The same, one by one.
pub const PARTX: Program = program(
    "partx",
    "util-linux",
    "where the kernel cannot read a table by itself, the new partitions are seen only after the stick is plugged in again",
);
/// Checks the signatures of checksum files.
pub const GPGV: Program = program(
    "gpgv",
    "gpgv (Fedora: gnupg2)",
    "signatures of checksum files are not checked, and what they list counts as unsigned",
);

/// Makes the header of an encrypted partition.
pub const CRYPTSETUP: Program = Program {
    // It has --volume-key-file (cryptsetup 2.4.0 release notes).
    oldest: Some((2, 4)),
    ..program(
        "cryptsetup",
        "cryptsetup (Debian: cryptsetup-bin)",
        "no encrypted /home",
    )
};

/// All of them, in the order in which they are told of.
pub const ALL: &[&Program] = &[
    &MKFS_BTRFS,
    &BTRFS,
    &MKFS_EXT4,
    &E2FSCK,
    &MKFS_XFS,
    &XFS_REPAIR,
    &LOSETUP,
    &SH,
    &UNSHARE,
    &MOUNT,
    &UMOUNT,
    &FIND,
    &SETPRIV,
    &BLOCKDEV,
    &PARTX,
    &GPGV,
    &CRYPTSETUP,
];

/// The one of that name.
pub fn named(name: &str) -> Option<&'static Program> {
    ALL.iter().copied().find(|program| program.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// Sources without their tests.
    fn sources(at: &Path, into: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") {
                continue;
            }
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                into.push((path.display().to_string(), text.to_owned()));
            }
        }
    }

    #[test]
    fn no_program_is_started_that_is_not_in_the_table() {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        for (file, text) in &all {
            for start in ["Command::new(\"", ".program(\"", ".need(\"", "found(\""] {
                for piece in text.split(start).skip(1) {
                    let name = piece.split('"').next().unwrap();
                    assert!(named(name).is_some(), "{file} runs {name}");
                }
            }
        }
        for program in ALL {
            let constant = program.name.to_uppercase().replace('.', "_");
            let used = all.iter().any(|(file, text)| {
                let mut words = text
                    .split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
                !file.ends_with("programs.rs") && words.any(|word| word == constant)
            });
            assert!(used, "nothing runs {}", program.name);
        }
    }

    #[test]
    fn a_name_is_there_once() {
        for program in ALL {
            assert_eq!(named(program.name), Some(*program));
        }
    }
}
