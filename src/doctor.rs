// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `livestick doctor` tells: what this machine has of what livestick makes use of, and what each missing thing costs.
//!
//! The measure is a write of an overlay and a `/home` to a stick with what they are by default (btrfs). Writing an image
//! byte for byte, looking and verifying take none of it. Nothing is written, but for an empty file in the folder for
//! temporary ones and one in the current folder, which have no name.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::OFlags;
use serde::Serialize;

use crate::disk::{System, shown};
use crate::host::{Host, Unfit};
use crate::privilege::Escalation;
use crate::programs::{self, Need, Program};
use crate::request::FsKind;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// A program of the distribution.
    Program,
    /// A faculty of the kernel.
    Kernel,
    /// What else there is around livestick.
    System,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            About::Program => "programs",
            About::Kernel => "kernel",
            About::System => "system",
        })
    }
}

/// Something that is there, or is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: "mkfs.btrfs", "loop devices".
    pub what: String,
    /// Of which sort it is.
    pub about: About,
    /// Whether it is there.
    pub there: bool,
    /// Whether a write with overlay and `/home` cannot do without it.
    pub needed: bool,
    /// Where or how it is there, or why it does not count.
    pub detail: Option<String>,
    /// What cannot be had without it.
    pub cost: String,
    /// The package that has it.
    pub package: Option<String>,
}

/// What there is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkup {
    /// Whether nothing is missing that a write with overlay and `/home` needs.
    pub ready: bool,
    /// All that was looked at.
    pub findings: Vec<Finding>,
}

impl Checkup {
    /// Looks at the machine.
    pub fn of(host: &Host, system: &System) -> Checkup {
        let programs = programs::ALL.iter().map(|one| program(one, host));
        let findings: Vec<Finding> = programs
            .chain(kernel(host, system))
            .chain(surroundings(host, system))
            .collect();
        Checkup {
            ready: findings.iter().all(|one| one.there || !one.needed),
            findings,
        }
    }

    /// What is missing, what is needed first.
    pub fn missing(&self) -> Vec<&Finding> {
        let mut missing: Vec<&Finding> = self.findings.iter().filter(|one| !one.there).collect();
        missing.sort_by_key(|one| !one.needed);
        missing
    }
}

fn program(program: &Program, host: &Host) -> Finding {
    let found = host.fit(program);
    let detail = match &found {
        Ok(path) => Some(shown(path).to_string()),
        Err(Unfit::Missing) => None,
        Err(unfit) => Some(unfit.to_string()),
    };
    Finding {
        what: program.name.into(),
        about: About::Program,
        there: found.is_ok(),
        needed: program.need == Need::Write,
        detail,
        cost: program.cost.into(),
        package: Some(program.package.into()),
    }
}

/// A finding that names no package; the detail is kept where there is one.
fn finding(about: About, what: &str, there: bool, cost: &str) -> Finding {
    Finding {
        what: what.into(),
        about,
        there,
        needed: false,
        detail: None,
        cost: cost.into(),
        package: None,
    }
}

fn kernel(host: &Host, system: &System) -> Vec<Finding> {
    let root = host.as_root();
    let mut all = vec![Finding {
        needed: true,
        ..finding(
            About::Kernel,
            "loop devices",
            root.loop_devices,
            "no overlay and no /home on a stick, only in a stick image file; load the module loop",
        )
    }];
    for (kind, cost) in [
        (
            FsKind::Btrfs,
            "a new btrfs is not mounted to be filled: what is saved in it is not compressed",
        ),
        (
            FsKind::Xfs,
            "a new xfs is not mounted to be filled: the image's SELinux labels are left out in it",
        ),
    ] {
        let there = host.filesystems.contains(kind.name());
        all.push(finding(About::Kernel, kind.name(), there, cost));
    }
    all.push(finding(
        About::Kernel,
        "private mounts",
        root.private_mounts,
        "nothing is mounted to fill a filesystem, as if the kernel had neither btrfs nor xfs",
    ));
    all.push(finding(
        About::Kernel,
        "partitions",
        scans(system),
        "the new partitions cannot be seen on this machine; the stick is as good",
    ));
    all.push(finding(
        About::Kernel,
        "device mapper",
        maps(system),
        "encrypted partitions cannot be opened on this machine",
    ));
    all.push(Finding {
        detail: Some("in the current folder; disks always have them".into()),
        ..finding(
            About::Kernel,
            "direct reads",
            reads_directly(Path::new(".")),
            "a stick image file in the current folder is written, but not called verified (status 6)",
        )
    });
    all
}

fn surroundings(host: &Host, system: &System) -> Vec<Finding> {
    let temporary = tempfile::env::temp_dir();
    let asks = (!host.root).then(Escalation::find);
    let (there, detail) = match &asks {
        None => (true, "this is root".to_owned()),
        Some(Ok(tool)) => (true, format!("{} is asked", shown(&tool.tool))),
        Some(Err(denial)) => (false, denial.to_string()),
    };
    vec![
        Finding {
            needed: true,
            detail: Some(detail),
            ..finding(
                About::System,
                "root",
                there,
                "no stick is written, only stick image files",
            )
        },
        Finding {
            needed: true,
            detail: Some(shown(&temporary).to_string()),
            ..finding(
                About::System,
                "temporary files",
                tempfile::tempfile_in(&temporary).is_ok(),
                "no overlay and no /home; set TMPDIR to a folder that can be written to (2 MiB do)",
            )
        },
        finding(
            About::System,
            "udev",
            system.run.join("udev/data").is_dir(),
            "an ordinary user is not told what is on a stick now, and some serial numbers are not known",
        ),
        finding(
            About::System,
            "libblkid",
            cfg!(feature = "blkid"),
            "livestick's own reading names what is on a stick now: a little less of NTFS, UDF and ZFS",
        ),
    ]
}

/// Whether the kernel has partitions at all, be it by reading a table or by being told (`partx`): a disk that can have any says how many minors (sysfs,
/// Documentation/ABI/stable/sysfs-block, `ext_range`; block/genhd.c gives 1 to disks without). No disk says nothing.
fn scans(system: &System) -> bool {
    let Ok(disks) = fs::read_dir(system.sys.join("block")) else {
        return false;
    };
    let ranges: Vec<u32> = disks
        .flatten()
        .filter_map(|disk| fs::read_to_string(disk.path().join("ext_range")).ok())
        .filter_map(|text| text.trim().parse().ok())
        .collect();
    ranges.is_empty() || ranges.iter().any(|range| *range > 1)
}

/// Whether there is a device mapper: `/proc/misc` lists it, or its module can be loaded.
fn maps(system: &System) -> bool {
    let misc = fs::read_to_string(system.proc.join("misc")).unwrap_or_default();
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let modules = Path::new("/lib/modules").join(release).join("modules.dep");
    let modules = fs::read_to_string(modules).unwrap_or_default();
    misc.contains(" device-mapper") || modules.contains("/dm-mod.ko")
}

/// Whether a file in `folder` can be opened to be read past the cache.
fn reads_directly(folder: &Path) -> bool {
    let open = |file: &File| {
        let flags = rustix::fs::fcntl_getfl(file)? | OFlags::DIRECT;
        rustix::fs::fcntl_setfl(file, flags)
    };
    tempfile::tempfile_in(folder).is_ok_and(|file| open(&file).is_ok())
}

impl fmt::Display for Checkup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.findings.iter().map(|one| one.what.len()).max();
        let wide = wide.unwrap_or(0);
        for about in [About::Program, About::Kernel, About::System] {
            writeln!(f, "{about}")?;
            for one in self.findings.iter().filter(|one| one.about == about) {
                let state = if one.there { "yes    " } else { "missing" };
                let detail = one.detail.as_deref().filter(|_| one.there);
                let line = format!(
                    "  {:wide$}  {state}  {}",
                    one.what,
                    detail.unwrap_or_default()
                );
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        for (needed, title) in [
            (
                true,
                "Missing for a write with overlay and /home. Without it:",
            ),
            (false, "Missing, and not needed. Without it:"),
        ] {
            let missing = self.missing();
            let mut missing = missing.iter().filter(|one| one.needed == needed).peekable();
            if missing.peek().is_some() {
                writeln!(f, "\n{title}")?;
            }
            for one in missing {
                let why = one.detail.iter().map(|detail| format!(" ({detail})"));
                let why: String = why.collect();
                let package = one.package.as_ref();
                let package = package.map_or(String::new(), |p| format!("; install {p}"));
                writeln!(f, "  {:wide$}  {}{why}{package}", one.what, one.cost)?;
            }
        }
        if self.ready {
            writeln!(
                f,
                "\nNothing is missing that a write with overlay and /home needs."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_missing_is_told_with_its_cost() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("busybox"), "").unwrap();
        symlink("busybox", bin.join("losetup")).unwrap();
        symlink("busybox", bin.join("sh")).unwrap();
        fs::hard_link(bin.join("busybox"), bin.join("setpriv")).unwrap();
        let host = Host::look().searching(vec![bin.clone()]);
        let checkup = Checkup::of(&host, &System::at(folder.path()));
        assert!(!checkup.ready);
        let of = |what: &str| {
            checkup
                .findings
                .iter()
                .find(|one| one.what == what)
                .unwrap()
        };
        assert!(of("sh").there);
        for busybox in ["losetup", "setpriv"] {
            assert!(!of(busybox).there);
            assert!(of(busybox).detail.as_ref().unwrap().contains("busybox"));
        }
        assert!(!of("gpgv").needed && of("mkfs.btrfs").needed);
        assert!(!of("udev").there);
        let text = checkup.to_string();
        let needed = text.find("\n  mkfs.btrfs    ").unwrap();
        assert!(needed < text.find("and not needed").unwrap(), "{text}");
        assert!(text.contains("count"), "{text}");
    }

    #[test]
    fn too_old_a_program_is_no_program_here_and_for_a_plan() {
        for (version, why) in [
            (Some((2, 3)), "is version 2.3, and 2.4 or later is needed"),
            (None, "of no known version"),
        ] {
            let mut host = Host::look();
            host.cryptsetup = version;
            let checkup = Checkup::of(&host, &System::real());
            let is = |one: &&Finding| one.what == "cryptsetup";
            let found = checkup.findings.iter().find(is).unwrap();
            assert!(!found.there);
            assert!(found.detail.as_ref().unwrap().contains(why));
            let text = checkup.to_string();
            let cost = text.lines().find(|line| line.contains(why));
            assert!(cost.unwrap().contains("no encrypted /home"), "{text}");
            let refusal = crate::plan::encryption::need(&host).unwrap_err();
            assert!(refusal.to_string().contains(why), "{refusal}");
        }
    }

    #[test]
    fn a_machine_that_has_everything_is_ready() {
        // The tests themselves need all of these.
        let checkup = Checkup::of(&Host::look(), &System::real());
        for one in checkup.findings {
            let programs = one.about == About::Program;
            assert!(one.there || !programs, "{}: {:?}", one.what, one.detail);
        }
    }
}
