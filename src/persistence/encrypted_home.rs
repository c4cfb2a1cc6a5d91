// SPDX-License-Identifier: MIT OR Apache-2.0
//! An encrypted `/home`: what lies in the overlay's upper directory so that the image's own systemd asks for the
//! passphrase at boot and mounts it.
//!
//! * `/etc/crypttab` names the partition; the image's own lines stay in front. systemd's generator makes
//!   `systemd-cryptsetup@stickhome.service` of it, which nothing but `home.mount` starts (`noauto`).
//! * `home.mount` requires that service, and is wanted, not required, by local-fs.target: after three wrong passphrases
//!   or without any the boot goes on, with the image's own `/home`, and a line on the console says so.
//! * The device behind the mapping is waited for as long as the question stands; systemd would give up after 90 s.
//!
//! Sources: crypttab(5), systemd.mount(5), systemd.device(5), systemd.unit(5) (`OnFailure=` is also for a unit whose
//! dependency failed: systemd, `src/core/job.c`, `job_finish_and_invalidate`).

use uuid::Uuid;

use crate::persistence::home::{UNIT_DIRECTORY, directories, wanted};
use crate::persistence::tree::{Attributes, Entry};
use crate::request::FsKind;

/// The name of the mapping: /dev/mapper/stickhome.
pub const NAME: &str = "stickhome";
/// Where the partition is named.
pub const CRYPTTAB: &str = "etc/crypttab";
/// How long the passphrase is waited for, in seconds.
const PATIENCE: u32 = 180;
/// What is said where it was not opened.
const CLOSED: &str = "livestick-home-closed.service";
/// For people, in the plan.
pub const NOTE: &str = "the passphrase of /home is asked for at boot, where the keyboard has the layout that the image starts with";

/// The image's own `/etc/crypttab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypttab {
    /// Its text.
    pub text: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Whether a crypttab has a line of this name already.
pub fn is_taken(text: &str) -> bool {
    let first = |line: &str| line.split_whitespace().next() == Some(NAME);
    text.lines().any(first)
}

/// What opens and mounts `/home`, below `upper`. `luks` is the encrypted partition, `own` the image's own crypttab;
/// `attributes` answers for a directory of the image.
pub fn units(
    upper: &str,
    luks: &Uuid,
    fs: FsKind,
    own: Option<&Crypttab>,
    attributes: &dyn Fn(&str) -> Option<Attributes>,
) -> Vec<Entry> {
    let (mut tree, units) = directories(upper, attributes);
    let etc = attributes("etc").unwrap_or_else(|| units.clone());
    let mut table = own.map(|own| own.text.clone()).unwrap_or_default();
    if !table.is_empty() && !table.ends_with('\n') {
        table.push('\n');
    }
    let line = format!("{NAME} UUID={luks} none luks,noauto,tries=3,timeout={PATIENCE}\n");
    table += &line;
    let like = own.map_or_else(|| etc.for_child(0o600), |own| own.attributes.clone());
    tree.push(Entry::file(format!("{upper}/{CRYPTTAB}"), table, like));
    let mut unit = |path: &str, text: String| {
        let path = format!("{upper}/{UNIT_DIRECTORY}/{path}");
        tree.push(Entry::file(path, text, units.for_child(0o644)));
    };
    unit(
        CLOSED,
        "[Unit]\nDescription=Say that the encrypted /home of this stick is not mounted\n\
         DefaultDependencies=no\n\n\
         [Service]\nType=oneshot\nStandardOutput=journal+console\n\
         ExecStart=/bin/echo \"The encrypted /home of this stick was not opened; /home is that of the live system, which is not encrypted.\"\n"
            .into(),
    );
    // Waits for the answer, and not for a machine.
    let device = format!("dev-mapper-{NAME}.device.d");
    let path = format!("{upper}/{UNIT_DIRECTORY}/{device}");
    let text = "[Unit]\nJobRunningTimeoutSec=infinity\n".into();
    tree.push(Entry::directory(&path, units.for_child(0o755)));
    tree.push(Entry::file(
        format!("{path}/50-livestick.conf"),
        text,
        units.for_child(0o644),
    ));
    let opening = format!("systemd-cryptsetup@{NAME}.service");
    tree.extend(wanted(
        upper,
        format!(
            "[Unit]\nDescription=Persistent /home of this stick, encrypted\n\
             Requires={opening}\nAfter={opening}\nBefore=local-fs.target\nOnFailure={CLOSED}\n\n\
             [Mount]\nWhat=/dev/mapper/{NAME}\nWhere=/home\nType={fs}\n"
        ),
        &units,
    ));
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    const LUKS: Uuid = uuid::uuid!("11111111-2222-4333-8444-555555555555");

    fn file<'a>(tree: &'a [Entry], path: &str) -> (&'a str, &'a Attributes) {
        let entry = tree.iter().find(|entry| entry.path == path).unwrap();
        let crate::persistence::tree::Content::File { text } = &entry.content else {
            panic!("{path} is no file")
        };
        (text, &entry.attributes)
    }

    #[test]
    fn the_images_own_lines_stay_in_front() {
        let line = format!("stickhome UUID={LUKS} none luks,noauto,tries=3,timeout=180\n");
        let tree = units("u", &LUKS, FsKind::Ext4, None, &|_| None);
        let (text, attributes) = file(&tree, "u/etc/crypttab");
        assert_eq!((text, attributes.mode), (line.as_str(), 0o600));
        let own = Crypttab {
            text: "# swap\nswap /dev/x /dev/urandom swap".into(),
            attributes: Attributes::plain(0o640),
        };
        let tree = units("u", &LUKS, FsKind::Ext4, Some(&own), &|_| None);
        let (text, attributes) = file(&tree, "u/etc/crypttab");
        assert_eq!(text, format!("{}\n{line}", own.text));
        assert_eq!(*attributes, own.attributes);
        assert!(!is_taken(&own.text) && is_taken(text));
    }

    #[test]
    fn a_wrong_passphrase_does_not_take_the_boot_with_it() {
        let tree = units("u", &LUKS, FsKind::Btrfs, None, &|_| None);
        let (mount, _) = file(&tree, "u/etc/systemd/system/home.mount");
        assert!(mount.contains("Requires=systemd-cryptsetup@stickhome.service\n"));
        assert!(mount.contains("What=/dev/mapper/stickhome\nWhere=/home\nType=btrfs\n"));
        let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
        // Wanted by local-fs.target, and by nothing more than wanted.
        assert!(paths.contains(&"u/etc/systemd/system/local-fs.target.wants/home.mount"));
        assert!(!paths.iter().any(|path| path.contains("requires")));
        // Each in a directory that was made before.
        for (i, entry) in tree.iter().enumerate() {
            let (parent, _) = entry.path.rsplit_once('/').unwrap();
            let known = parent == "u" || paths[..i].contains(&parent);
            assert!(known, "{}", entry.path);
        }
    }
}
