// SPDX-License-Identifier: MIT OR Apache-2.0
//! A `/home` of its own: which mechanism mounts it at boot, and what that needs.
//!
//! Only mechanisms that are known to work for the image at hand are used:
//!
//! * with an overlay, a systemd mount unit in its upper directory (any systemd);
//! * without, `systemd.mount-extra=` (systemd ≥ 254, `systemd-fstab-generator(8)`), or else
//! * `persistenthome=`, where the image's livesys scripts read it (livesys-scripts `livesys-main`).

use crate::persistence::tree::{Attributes, Entry};
use crate::request::FsKind;

/// What mounts `/home`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `home.mount` in the overlay's upper directory.
    Unit,
    /// `systemd.mount-extra=` on the kernel command line.
    MountExtra,
    /// `persistenthome=` on the kernel command line.
    Livesys,
}

/// What is known of the image where `/home` is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the stick gets an overlay.
    pub overlay: bool,
    /// The image's systemd.
    pub systemd: Option<u32>,
    /// Whether its livesys scripts read `persistenthome=`.
    pub livesys: bool,
    /// Whether the attributes of the image's directories are known, so that directories above them can be made.
    pub attributes: bool,
}

/// The first systemd whose fstab generator reads `systemd.mount-extra=` (systemd NEWS, 254).
const MOUNT_EXTRA_SINCE: u32 = 254;

impl Facts {
    /// What will mount `/home`, or why nothing can.
    pub fn mechanism(&self) -> Result<Mechanism, String> {
        let extra = self
            .systemd
            .is_some_and(|version| version >= MOUNT_EXTRA_SINCE);
        match self {
            Facts {
                overlay: true,
                attributes: true,
                ..
            } => Ok(Mechanism::Unit),
            _ if extra => Ok(Mechanism::MountExtra),
            Facts { livesys: true, .. } => Ok(Mechanism::Livesys),
            Facts { overlay: true, .. } => Ok(Mechanism::Unit),
            Facts {
                systemd: Some(version),
                ..
            } => Err(format!(
                "its systemd {version} cannot be told on the kernel command line to mount one"
            )),
            Facts { systemd: None, .. } => Err("no systemd was found in its initrd".into()),
        }
    }
}

impl Mechanism {
    /// The kernel arguments it needs.
    pub fn arguments(self, uuid: &str, fs: FsKind) -> Vec<String> {
        match self {
            Mechanism::Unit => Vec::new(),
            // Not needed to boot, but there before what is local is called mounted (systemd.mount(5)).
            Mechanism::MountExtra => vec![format!(
                "systemd.mount-extra=UUID={uuid}:/home:{fs}:nofail,x-systemd.before=local-fs.target"
            )],
            Mechanism::Livesys => vec![format!("persistenthome=UUID={uuid}")],
        }
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Mechanism::Unit => "mounted by home.mount in the overlay",
            Mechanism::MountExtra => "mounted by systemd.mount-extra= on the kernel command line",
            Mechanism::Livesys => "mounted by the image's livesys scripts (persistenthome=)",
        }
    }
}

/// Where systemd looks for local units, and what pulls local mounts in (systemd.unit(5), systemd.special(7)).
pub const UNIT_DIRECTORY: &str = "etc/systemd/system";
const WANTS: &str = "local-fs.target.wants";

/// `home.mount` (systemd.mount(5)). It is pulled in, not required: a `/home` that fails must not take the boot with it.
pub fn unit_text(what: &str, fs: FsKind, options: Option<&str>) -> String {
    let options = options.map_or(String::new(), |options| format!("Options={options}\n"));
    format!(
        "[Unit]\nDescription=Persistent /home of this stick\nBefore=local-fs.target\n\n\
         [Mount]\nWhat={what}\nWhere=/home\nType={fs}\n{options}"
    )
}

/// `home.mount` and the link that pulls it in, below `upper`. `attributes` answers for a directory of the image, if
/// it has one of that name.
pub fn unit(
    upper: &str,
    uuid: &str,
    fs: FsKind,
    attributes: &dyn Fn(&str) -> Option<Attributes>,
) -> Vec<Entry> {
    let (mut tree, last) = directories(upper, attributes);
    let text = unit_text(&format!("/dev/disk/by-uuid/{uuid}"), fs, None);
    tree.extend(wanted(upper, text, &last));
    tree
}

/// The directories down to the one that pulls local mounts in, and the attributes of that one.
pub(super) fn directories(
    upper: &str,
    attributes: &dyn Fn(&str) -> Option<Attributes>,
) -> (Vec<Entry>, Attributes) {
    let mut tree = Vec::new();
    let mut path = String::new();
    let mut last = attributes("").unwrap_or_else(|| Attributes::plain(0o755));
    for part in UNIT_DIRECTORY.split('/').chain([WANTS]) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
        last = attributes(&path).unwrap_or_else(|| last.for_child(0o755));
        tree.push(Entry::directory(format!("{upper}/{path}"), last.clone()));
    }
    (tree, last)
}

/// `home.mount` with this text, and the link that pulls it in.
pub(super) fn wanted(upper: &str, text: String, like: &Attributes) -> [Entry; 2] {
    [
        Entry::file(
            format!("{upper}/{UNIT_DIRECTORY}/home.mount"),
            text,
            like.for_child(0o644),
        ),
        Entry::symlink(
            format!("{upper}/{UNIT_DIRECTORY}/{WANTS}/home.mount"),
            "../home.mount",
            like.for_child(0o777),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = Facts {
        overlay: false,
        systemd: None,
        livesys: false,
        attributes: true,
    };

    #[test]
    fn the_mechanism_is_one_the_image_has() {
        let with = |facts: Facts| facts.mechanism().ok();
        assert_eq!(
            with(Facts {
                overlay: true,
                ..NOTHING
            }),
            Some(Mechanism::Unit)
        );
        assert_eq!(
            with(Facts {
                systemd: Some(254),
                ..NOTHING
            }),
            Some(Mechanism::MountExtra)
        );
        assert_eq!(
            with(Facts {
                systemd: Some(253),
                livesys: true,
                ..NOTHING
            }),
            Some(Mechanism::Livesys)
        );
        let refused = Facts {
            systemd: Some(252),
            ..NOTHING
        }
        .mechanism()
        .unwrap_err();
        assert!(refused.contains("252"), "{refused}");
    }

    #[test]
    fn the_unit_tree_takes_what_the_image_says_of_its_directories() {
        let label = |name: &str| Attributes {
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: vec![("security.selinux".into(), name.as_bytes().to_vec())],
        };
        let known = |path: &str| match path {
            "etc" => Some(label("etc_t")),
            "etc/systemd/system" => Some(label("systemd_unit_file_t")),
            _ => None,
        };
        let tree = unit("state/upper", "u", FsKind::Ext4, &known);
        let labels: Vec<_> = tree
            .iter()
            .map(|e| (e.path.as_str(), e.attributes.label().unwrap_or_default()))
            .collect();
        assert_eq!(
            labels,
            [
                ("state/upper/etc", "etc_t".to_owned()),
                ("state/upper/etc/systemd", "etc_t".into()),
                (
                    "state/upper/etc/systemd/system",
                    "systemd_unit_file_t".into()
                ),
                (
                    "state/upper/etc/systemd/system/local-fs.target.wants",
                    "systemd_unit_file_t".into()
                ),
                (
                    "state/upper/etc/systemd/system/home.mount",
                    "systemd_unit_file_t".into()
                ),
                (
                    "state/upper/etc/systemd/system/local-fs.target.wants/home.mount",
                    "systemd_unit_file_t".into()
                ),
            ]
        );
    }
}
