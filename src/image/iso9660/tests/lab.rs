// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees like those of live images, and ISO images that xorriso makes of them.

use std::path::PathBuf;
use std::process::Command;

/// A directory with a tree of files like a live image's, and images made of it.
pub(in crate::image::iso9660) struct Lab {
    pub dir: tempfile::TempDir,
}

/// The options of lorax for 37 and later, but for the BIOS boot image.
pub(in crate::image::iso9660) const LORAX: &[&str] = &[
    "-R",
    "-J",
    "-partition_offset",
    "16",
    "-appended_part_as_gpt",
    "-append_partition",
    "2",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "ESP",
    "-iso_mbr_part_type",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    "-c",
    "boot.cat",
    "--boot-catalog-hide",
    "-b",
    "images/eltorito.img",
    "-no-emul-boot",
    "-boot-load-size",
    "4",
    "-boot-info-table",
    "-eltorito-alt-boot",
    "-e",
    "--interval:appended_partition_2:all::",
    "-no-emul-boot",
];
pub(in crate::image::iso9660) const JOLIET: &[&str] = &["-R", "-J"];
pub(in crate::image::iso9660) const ROCK: &[&str] = &["-R"];
// Without the word xorrisofs writes Rock Ridge anyway.
pub(in crate::image::iso9660) const ONLY_JOLIET: &[&str] = &["--norock", "-J", "-joliet-long"];
pub(in crate::image::iso9660) const PLAIN: &[&str] = &["--norock"];

impl Lab {
    pub fn new() -> Lab {
        let lab = Lab {
            dir: tempfile::tempdir().unwrap(),
        };
        lab.put(
            "boot/grub2/grub.cfg",
            "set default=1\nmenuentry 'Start' { linux /vmlinuz quiet }\n",
        );
        lab.put("boot/grub2/a rather long name, so that its Rock Ridge name needs a continuation area, since a record ends at 255 bytes, and so it goes on and on and on.txt", &"x".repeat(3000));
        lab.put("images/eltorito.img", &"\u{1}".repeat(4096));
        lab.put("images/pxeboot/vmlinuz", &"k".repeat(70_000));
        lab.put("LiveOS/squashfs.img", &"s".repeat(200_001));
        lab.put("EFI/BOOT/BOOT.conf", "another\n");
        lab.put("EFI/BOOT/empty", "");
        lab.put("EFI/BOOT/empty2", "");
        for number in 0..90 {
            lab.put(
                &format!("many/file-{number:03}.mod"),
                &format!("module {number}"),
            );
        }
        for number in 0..7 {
            lab.put(
                &format!("deep/{}leaf", "below/".repeat(number)),
                &format!("leaf {number}"),
            );
        }
        let tree = lab.path("tree");
        std::fs::hard_link(
            tree.join("boot/grub2/grub.cfg"),
            tree.join("EFI/BOOT/grub.cfg"),
        )
        .unwrap();
        std::os::unix::fs::symlink("grub.cfg", tree.join("EFI/BOOT/link.cfg")).unwrap();
        std::fs::write(lab.path("ESP"), vec![0xe5; 1 << 20]).unwrap();
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, name: &str, text: &str) {
        let path = self.path("tree").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn make(&self, label: &str, options: &[&str]) -> (PathBuf, Vec<u8>) {
        let path = self.path(&format!("{}.iso", label.replace('/', "")));
        let mut command = Command::new("xorrisofs");
        command
            .current_dir(self.dir.path())
            .args(["-quiet", "-V", label, "-o"])
            .arg(&path);
        let made = command.args(options).arg("tree").output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let image = std::fs::read(&path).unwrap();
        (path, image)
    }
}
