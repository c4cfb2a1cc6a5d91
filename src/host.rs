// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine can do: the user's rights, the kernel's filesystems, the distribution's programs.
//!
//! Facts only; what follows from a missing one is the planner's to say.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk::shown;
use crate::programs::{self, Program};
use crate::refusal::Refusal;
use crate::request::FsKind;

/// The kernel's node for asking for loop devices.
const LOOP_CONTROL: &str = "/dev/loop-control";

/// One program that goes by many programs' names, and does less than most of them.
const MANY_IN_ONE: [&str; 2] = ["busybox", "toybox"];

/// A version of a program, as far as decisions need it.
pub type Version = (u32, u32);

/// Why there is no program of a name that will do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// There is none at all.
    #[error("it was not found")]
    Missing,
    /// Only busybox'.
    #[error("{} is busybox', which lacks options", shown(.0))]
    Busybox(PathBuf),
    /// Too old a one.
    #[error("{} is {}, and {}.{} or later is needed", shown(.path), told(*.version), .oldest.0, .oldest.1)]
    Old {
        /// Where it is.
        path: PathBuf,
        /// Its own version, where it tells.
        version: Option<Version>,
        /// The first that will do.
        oldest: Version,
    },
}

fn told(version: Option<Version>) -> String {
    version.map_or("of no known version".into(), |(major, minor)| {
        format!("version {major}.{minor}")
    })
}

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
        host.btrfs_progs = host.version(programs::MKFS_BTRFS.name, &["--version"]);
        host.e2fsprogs = host.version(programs::MKFS_EXT4.name, &["-V"]);
        host.cryptsetup = host.version(programs::CRYPTSETUP.name, &["--version"]);
        host
    }

    /// The same machine with its programs in other places.
    #[cfg(test)]
    pub(crate) fn searching(self, search: Vec<PathBuf>) -> Host {
        Host { search, ..self }
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

    /// Where `program` is; busybox' only where it will do.
    pub fn program(&self, program: &str) -> Option<PathBuf> {
        let any = programs::named(program).is_none_or(|program| program.busybox);
        self.all(program).find(|path| any || !self.is_busybox(path))
    }

    /// Where a program is that will do, or why there is none.
    pub fn fit(&self, program: &Program) -> Result<PathBuf, Unfit> {
        let Some(path) = self.program(program.name) else {
            let busybox = self.all(program.name).next();
            return Err(busybox.map_or(Unfit::Missing, Unfit::Busybox));
        };
        let version = match program.name {
            name if name == programs::CRYPTSETUP.name => self.cryptsetup,
            _ => None,
        };
        match program.oldest {
            Some(oldest) if version.is_none_or(|version| version < oldest) => Err(Unfit::Old {
                path,
                version,
                oldest,
            }),
            _ => Ok(path),
        }
    }

    fn all(&self, program: &str) -> impl Iterator<Item = PathBuf> {
        self.search
            .iter()
            .map(move |dir| dir.join(program))
            .filter(|path| path.is_file())
    }

    /// Whether a program is one of busybox' or toybox' many names, as a link of either sort.
    fn is_busybox(&self, path: &Path) -> bool {
        let identity = |path: &Path| fs::metadata(path).ok().map(|is| (is.dev(), is.ino()));
        let own = identity(path);
        let name = fs::canonicalize(path).ok();
        let name = name.as_deref().and_then(Path::file_name);
        name.is_some_and(|name| MANY_IN_ONE.iter().any(|many| name == *many))
            || MANY_IN_ONE
                .iter()
                .flat_map(|many| self.search.iter().map(move |dir| dir.join(many)))
                .any(|many| own.is_some() && identity(&many) == own)
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
        let (mkfs, check) = both_of(kind);
        self.need(mkfs.name, mkfs.package, &purpose)?;
        self.need(check.name, check.package, &purpose)?;
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
        let Some(unshare) = self.program(programs::UNSHARE.name) else {
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

/// Waits until the kernel has random numbers to give, which identifiers are made of. Once, at the start.
///
/// Right after the start of a machine it may have none, until something happens; a rescue shell is where nothing does. The
/// system call has the kernel find some by itself (drivers/char/random.c, `try_to_generate_entropy`, Linux 5.4). Opening
/// `/dev/random` and polling it, which the crate getrandom does in a static program (there is no dlsym to find the call
/// with), only waits: for ever, where no device makes interrupts.
pub fn await_randomness() {
    // Without the call (before Linux 3.17) there is nothing to wait with.
    let _ = rustix::rand::getrandom(&mut [0u8; 1][..], rustix::rand::GetRandomFlags::empty());
}

/// Has temporary files go where they can be written: in a rescue shell that is often not `/tmp`. Once, at the start.
pub fn place_temporary_files() {
    if tempfile::tempfile_in(tempfile::env::temp_dir()).is_ok() {
        return;
    }
    let places = ["/run", "/dev/shm", "/var/tmp"].map(Path::new);
    if let Some(place) = places
        .into_iter()
        .find(|place| tempfile::tempfile_in(place).is_ok())
    {
        // An error means that somebody else has decided already.
        let _ = tempfile::env::override_temp_dir(place);
    }
}

/// The program that makes a filesystem, the one that checks it, and the package that has both.
pub fn programs_of(kind: FsKind) -> (&'static str, &'static str, &'static str) {
    let (mkfs, check) = both_of(kind);
    (mkfs.name, check.name, mkfs.package)
}

fn both_of(kind: FsKind) -> (&'static Program, &'static Program) {
    match kind {
        FsKind::Btrfs => (&programs::MKFS_BTRFS, &programs::BTRFS),
        FsKind::Ext4 => (&programs::MKFS_EXT4, &programs::E2FSCK),
        FsKind::Xfs => (&programs::MKFS_XFS, &programs::XFS_REPAIR),
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
