// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine can do: the user's rights, the kernel's filesystems, the distribution's programs.
//!
//! Facts only; what follows from a missing one is the planner's to say.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::refusal::Refusal;
use crate::request::FsKind;

/// The kernel's node for asking for loop devices.
const LOOP_CONTROL: &str = "/dev/loop-control";

/// A version of a program, as far as decisions need it.
pub type Version = (u32, u32);

/// What gives a program mounts that nobody else sees and that end with it, and with everything that it has started
/// (unshare(1)).
pub const PRIVATE: &[&str] = &[
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--propagation",
    "private",
];

/// What this machine can do.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact that stands alone"
)]
pub struct Host {
    /// Whether the user is root.
    pub root: bool,
    /// Whether the kernel hands out loop devices to this user.
    pub loop_devices: bool,
    /// Whether an ordinary user may be root of a namespace, which mkfs needs to make files that belong to root.
    pub user_namespaces: bool,
    /// Whether something can be mounted where nobody else sees it. Not so in a chroot whose root is no mount.
    pub private_mounts: bool,
    /// Filesystems the kernel has or can load.
    pub filesystems: BTreeSet<String>,
    /// The version of btrfs-progs, where installed.
    pub btrfs_progs: Option<Version>,
    /// The version of e2fsprogs, where installed.
    pub e2fsprogs: Option<Version>,
    /// The version of cryptsetup, where installed.
    pub cryptsetup: Option<Version>,
    /// Where programs are looked for.
    search: Vec<PathBuf>,
}

impl Host {
    /// Looks at the machine.
    pub fn look() -> Host {
        let mut search: Vec<PathBuf> = env::var_os("PATH")
            .map(|path| env::split_paths(&path).collect())
            .unwrap_or_default();
        // An ordinary user's PATH often lacks the places where mkfs lives.
        search.extend(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
        let root = rustix::process::geteuid().is_root();
        let mut host = Host {
            root,
            // In a container the node may be there for nothing.
            loop_devices: root
                && OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(LOOP_CONTROL)
                    .is_ok(),
            user_namespaces: false,
            private_mounts: false,
            filesystems: kernel_filesystems(),
            btrfs_progs: None,
            e2fsprogs: None,
            cryptsetup: None,
            search,
        };
        host.user_namespaces = root || host.try_unshare(&["--map-root-user"]);
        host.private_mounts = root && host.try_unshare(PRIVATE);
        host.btrfs_progs = host.version("mkfs.btrfs", &["--version"]);
        host.e2fsprogs = host.version("mkfs.ext4", &["-V"]);
        host.cryptsetup = host.version("cryptsetup", &["--version"]);
        host
    }

    /// This machine as livestick would find it if root ran it, as far as that can be known before.
    #[must_use]
    pub fn as_root(&self) -> Host {
        Host {
            root: true,
            loop_devices: self.loop_devices || Path::new(LOOP_CONTROL).exists(),
            user_namespaces: true,
            private_mounts: self.private_mounts || (!self.root && root_is_mounted()),
            ..self.clone()
        }
    }

    /// Where `program` is.
    pub fn program(&self, program: &str) -> Option<PathBuf> {
        self.search
            .iter()
            .map(|dir| dir.join(program))
            .find(|path| path.is_file())
    }

    /// Where `program` of `package` is, or the refusal that names both.
    pub fn need(
        &self,
        program: &'static str,
        package: &'static str,
        purpose: &str,
    ) -> Result<PathBuf, Refusal> {
        self.program(program)
            .ok_or_else(|| Refusal::MissingProgram {
                program,
                purpose: purpose.into(),
                package,
            })
    }

    /// The programs that make and check a filesystem of this kind.
    pub fn need_filesystem_programs(&self, kind: FsKind, purpose: &str) -> Result<(), Refusal> {
        let purpose = format!("make the {purpose} filesystem");
        let (mkfs, check, package) = programs_of(kind);
        self.need(mkfs, package, &purpose)?;
        self.need(check, package, &purpose)?;
        Ok(())
    }

    /// The places where programs are looked for, as a value of PATH.
    pub fn path(&self) -> OsString {
        // Each came from PATH or is written here, so none holds a colon.
        env::join_paths(&self.search).unwrap_or_default()
    }

    /// Whether filesystems of this kind can be mounted, out of sight.
    pub fn mounts(&self, kind: FsKind) -> bool {
        self.private_mounts && self.filesystems.contains(kind.name())
    }

    fn try_unshare(&self, how: &[&str]) -> bool {
        let Some(unshare) = self.program("unshare") else {
            return false;
        };
        Command::new(unshare)
            .args(how)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn version(&self, program: &str, args: &[&str]) -> Option<Version> {
        let output = Command::new(self.program(program)?)
            .args(args)
            .output()
            .ok()?;
        // mke2fs says its version on standard error.
        let text = [output.stdout, output.stderr].concat();
        parse_version(&String::from_utf8_lossy(&text))
    }
}

/// The program that makes a filesystem, the one that checks it, and the package that has both.
pub fn programs_of(kind: FsKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        FsKind::Btrfs => ("mkfs.btrfs", "btrfs", "btrfs-progs"),
        FsKind::Ext4 => ("mkfs.ext4", "e2fsck", "e2fsprogs"),
        FsKind::Xfs => ("mkfs.xfs", "xfs_repair", "xfsprogs"),
    }
}

/// The first "N.M" in a program's answer to the question for its version.
fn parse_version(text: &str) -> Option<Version> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .find_map(|word| {
            let mut numbers = word.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
}

/// Whether `/` is a mount point (fifth field of proc_pid_mountinfo(5)), without which mounts cannot be made private.
fn root_is_mounted() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some("/"))
}

/// What `/proc/filesystems` lists, and what the running kernel has as modules.
fn kernel_filesystems() -> BTreeSet<String> {
    let listed = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mut all: BTreeSet<String> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(Into::into)
        .collect();
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let modules = Path::new("/lib/modules").join(release).join("modules.dep");
    for line in fs::read_to_string(modules).unwrap_or_default().lines() {
        let name = line.split(':').next().unwrap_or_default();
        if let Some(rest) = name.strip_prefix("kernel/fs/") {
            all.extend(rest.split('/').next().map(Into::into));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(
            parse_version("mkfs.btrfs, part of btrfs-progs v6.2\n"),
            Some((6, 2))
        );
        assert_eq!(parse_version("mke2fs 1.47.0 (5-Feb-2023)\n"), Some((1, 47)));
        assert_eq!(parse_version("no number here"), None);
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let mut host = Host::look();
        host.search = vec![PathBuf::from("/nonexistent")];
        let refusal = host
            .need_filesystem_programs(FsKind::Xfs, "home")
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "mkfs.xfs is needed to make the home filesystem and was not found; install the package xfsprogs"
        );
    }
}
