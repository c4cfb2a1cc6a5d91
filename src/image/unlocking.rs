// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a live system can open an encrypted `/home`: what its root tree and its kernel have for that.
//!
//! systemd opens it: its generator makes a service of `/etc/crypttab`, a program of its own asks for the passphrase
//! and unlocks, with cryptsetup's library and the kernel's dm-crypt. Many images lack one of these. That the initrd
//! has them does not matter: `/home` is opened by the system that it starts.
//!
//! Sources: systemd-cryptsetup-generator(8), systemd-cryptsetup@.service(8) (in /usr/bin from systemd 256 on); Linux,
//! Documentation/arch/x86/boot.rst (`kernel_version`); modules.dep(5).

use crate::image::root::{Tree, TreeError};
use crate::persistence::encrypted_home::{self, Crypttab};
use crate::read::ReadAt;
use crate::units::Bytes;

/// What opening an encrypted `/home` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlocking {
    /// What the image lacks for it, in words.
    pub missing: Vec<String>,
    /// Its own `/etc/crypttab`, if it has one.
    pub crypttab: Option<Crypttab>,
}

/// systemd's generator.
const GENERATORS: [&str; 2] = [
    "usr/lib/systemd/system-generators/systemd-cryptsetup-generator",
    "lib/systemd/system-generators/systemd-cryptsetup-generator",
];
/// systemd's program.
const PROGRAMS: [&str; 3] = [
    "usr/lib/systemd/systemd-cryptsetup",
    "usr/bin/systemd-cryptsetup",
    "lib/systemd/systemd-cryptsetup",
];
/// Where libraries lie.
const LIBRARIES: [&str; 8] = [
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib",
    "lib64",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "lib",
];
/// cryptsetup's library, as everything that uses it names it.
const LIBRARY: &str = "libcryptsetup.so.12";
/// Where kernels keep their modules.
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];
/// The module.
const DM_CRYPT: &str = "dm-crypt.ko";
/// The most that is read of a list of modules (Fedora's has some hundred KiB), and of a crypttab.
const LIST: usize = 8 << 20;
const TABLE: usize = 64 << 10;

impl Unlocking {
    /// Looks into a root tree; `release` is the kernel's own name, where it is known.
    pub fn look(tree: &Tree<'_>, release: Option<&str>) -> Result<Unlocking, TreeError> {
        let mut missing = Vec::new();
        let any = |paths: &[&str]| -> Result<bool, TreeError> {
            for path in paths {
                if tree.exists(path)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if !any(&GENERATORS)? {
            missing.push("systemd's cryptsetup generator (systemd-cryptsetup-generator)".into());
        }
        if !any(&PROGRAMS)? {
            missing.push("systemd-cryptsetup".into());
        }
        let libraries = LIBRARIES.map(|place| format!("{place}/{LIBRARY}"));
        if !any(&libraries.each_ref().map(String::as_str))? {
            missing.push(format!("cryptsetup's library ({LIBRARY})"));
        }
        match release {
            None => missing.push("a kernel that tells its version".into()),
            Some(release) if !has_dm_crypt(tree, release)? => {
                missing.push(format!("dm-crypt for its kernel {release}"));
            }
            Some(_) => {}
        }
        let table = format!("/{}", encrypted_home::CRYPTTAB);
        let crypttab = match tree.read_small(&table, TABLE) {
            Ok(None) => None,
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) if encrypted_home::is_taken(&text) => {
                    let name = encrypted_home::NAME;
                    missing.push(format!("a free name: {table} has '{name}' already"));
                    None
                }
                Ok(text) => tree.attributes(&table)?.map(|found| Crypttab {
                    text,
                    attributes: super::attributes(&found),
                }),
                Err(_) => {
                    missing.push(format!("a {table} that is text"));
                    None
                }
            },
            Err(why) => {
                missing.push(format!("a {table} that can be read ({why})"));
                None
            }
        };
        Ok(Unlocking { missing, crypttab })
    }
}

/// Whether the kernel has dm-crypt, built in or as a module that is there.
fn has_dm_crypt(tree: &Tree<'_>, release: &str) -> Result<bool, TreeError> {
    for place in MODULES {
        let directory = format!("{place}/{release}");
        let list = |name: &str| tree.read_small(&format!("{directory}/{name}"), LIST);
        if let Some(list) = list("modules.builtin")? {
            let text = String::from_utf8_lossy(&list);
            if text.lines().any(is_dm_crypt) {
                return Ok(true);
            }
        }
        if let Some(list) = list("modules.dep")? {
            let text = String::from_utf8_lossy(&list);
            let paths = text.lines().filter_map(|line| line.split(':').next());
            for path in paths.filter(|path| is_dm_crypt(path)) {
                let path = match path.strip_prefix('/') {
                    Some(path) => path.to_owned(),
                    None => format!("{directory}/{path}"),
                };
                if tree.exists(&path)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// "kernel/drivers/md/dm-crypt.ko.xz".
fn is_dm_crypt(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_prefix(DM_CRYPT)
        .is_some_and(|ending| ending.is_empty() || ending.starts_with('.'))
}

/// The release of an x86 kernel: "6.12.5-200.fc41.x86_64".
pub fn release(kernel: &dyn ReadAt) -> Option<String> {
    let head = kernel.read_vec(Bytes(0x202), 14).ok()?;
    if !head.starts_with(b"HdrS") {
        return None;
    }
    let at = u64::from(u16::from_le_bytes([*head.get(12)?, *head.get(13)?])) + 0x200;
    let text = kernel.read_vec(Bytes(at), 128).ok()?;
    let word = text.split(|byte| *byte == b' ' || *byte == 0).next()?;
    let word = std::str::from_utf8(word).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
    let is_name = !word.is_empty() && word.chars().all(plain) && !word.starts_with('.');
    is_name.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_told_from_others() {
        for path in [
            "kernel/drivers/md/dm-crypt.ko",
            "kernel/drivers/md/dm-crypt.ko.zst",
            "/lib/modules/1/kernel/drivers/md/dm-crypt.ko.xz",
        ] {
            assert!(is_dm_crypt(path), "{path}");
        }
        for path in [
            "kernel/crypto/dm-crypto.ko",
            "dm-crypt.kox",
            "x/dm-crypt",
            "",
        ] {
            assert!(!is_dm_crypt(path), "{path}");
        }
    }

    #[test]
    fn a_kernel_tells_its_release() {
        let mut kernel = vec![0; 0x1000];
        assert_eq!(release(&kernel), None);
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20E..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        assert_eq!(release(&kernel), None);
        let text = b"6.12.5-200.fc41.x86_64 (mockbuild@x) #1 SMP\0";
        kernel[0x500..0x500 + text.len()].copy_from_slice(text);
        assert_eq!(release(&kernel).as_deref(), Some("6.12.5-200.fc41.x86_64"));
        kernel[0x500..0x503].copy_from_slice(b"../");
        assert_eq!(release(&kernel), None);
        kernel[0x20E..0x210].fill(0xFF);
        assert_eq!(release(&kernel), None);
    }
}
