// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small isohybrids in the shapes that distributions ship, built with xorriso and GRUB's and isolinux's own files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::{run, text};

pub mod stick;

/// The shapes, named after who makes them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// lorax until 36, syslinux: MBR with the image in slot 1 (type 0x00), a GPT that nobody reads, an APM.
    Isolinux,
    /// The same with a partition for Macs, so that slot 3 has type 0x00 and an extent.
    IsolinuxMac,
    /// live-build: the same with its partition at LBA 64.
    Debian,
    /// mkarchiso: the system partition appended, MBR.
    Arch,
    /// lorax from 37 on: GPT, system partition appended, a gap partition.
    Grub2,
    /// kiwi: GPT without a gap partition.
    Kiwi,
    /// kiwi without efiparttable=gpt: MBR, type 0xCD.
    KiwiMbr,
    /// Ubuntu: GPT, and a dummy active record in the MBR.
    ForceBootable,
    /// grub-mkrescue: GPT behind an APM.
    Mkrescue,
    /// No hybrid at all: disc only.
    DiscOnly,
}

const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const BASIC: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
const LOAD: &[&str] = &["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];

/// Builds the shape in `dir` and gives the image's path.
pub fn build(shape: Shape, dir: &Path) -> PathBuf {
    let tree = tree(dir);
    let (iso, esp) = (dir.join("image.iso"), dir.join("esp.img"));
    if shape == Shape::Mkrescue {
        run("grub-mkrescue", &["-o", text(&iso), text(&tree)]);
        return iso;
    }

    let isolinux = [
        &["-c", "boot.cat", "-b", "isolinux/isolinux.bin"],
        LOAD,
        &["-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin"],
    ]
    .concat();
    let efi = &[
        "-eltorito-alt-boot",
        "-e",
        "images/efiboot.img",
        "-no-emul-boot",
    ];
    let hybrid = ["-isohybrid-gpt-basdat", "-isohybrid-apm-hfsplus"];
    let mac = &[
        "-eltorito-alt-boot",
        "-e",
        "images/macboot.img",
        "-no-emul-boot",
    ];
    let offset: &[&str] = &["-partition_offset", "16"];
    let appended = &[
        "-append_partition",
        "2",
        ESP_TYPE,
        text(&esp),
        "-eltorito-alt-boot",
        "-e",
        "--interval:appended_partition_2:all::",
        "-no-emul-boot",
    ];
    let appended_gpt: &[&str] = &["-appended_part_as_gpt", "-iso_mbr_part_type", BASIC];
    let grub2 = [
        &["-c", "boot.cat", "-b", "images/eltorito.img"],
        LOAD,
        &[
            "--grub2-boot-info",
            "--grub2-mbr",
            "/usr/lib/grub/i386-pc/boot_hybrid.img",
        ],
        offset,
    ]
    .concat();
    let shaped: Vec<&str> = match shape {
        Shape::Isolinux => [&isolinux, &efi[..], &hybrid].concat(),
        Shape::IsolinuxMac => [
            &isolinux,
            &efi[..],
            &hybrid,
            mac,
            &["-isohybrid-gpt-hfsplus"],
        ]
        .concat(),
        Shape::Debian => [&isolinux, offset, efi, &hybrid].concat(),
        Shape::Arch => [
            &isolinux,
            offset,
            &["--mbr-force-bootable"],
            appended,
            &["-isohybrid-gpt-basdat"],
        ]
        .concat(),
        Shape::Grub2 => [&grub2, appended_gpt, appended].concat(),
        Shape::Kiwi => [&grub2[..], &["-no-pad"], appended_gpt, appended].concat(),
        Shape::KiwiMbr => [&grub2[..], &["-no-pad"], &appended[..]].concat(),
        Shape::ForceBootable => [
            &grub2[..],
            &["--mbr-force-bootable"],
            appended_gpt,
            appended,
        ]
        .concat(),
        Shape::DiscOnly => [&["-b", "isolinux/isolinux.bin"], LOAD].concat(),
        Shape::Mkrescue => unreachable!(),
    };
    let common = ["-as", "mkisofs", "-R", "-J", "-V", "LAB", "-o", text(&iso)];
    run("xorriso", &[&common, &shaped[..], &[text(&tree)]].concat());
    iso
}

/// The files on the image, and `esp.img` beside them.
fn tree(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    for sub in ["isolinux", "images", "LiveOS", "boot/grub", "EFI/BOOT"] {
        fs::create_dir_all(tree.join(sub)).unwrap();
    }
    fs::write(tree.join("LiveOS/squashfs.img"), vec![0x5A; 3 << 20]).unwrap();
    fs::write(tree.join("boot/grub/grub.cfg"), "linux /vmlinuz quiet\n").unwrap();
    fs::copy(
        "/usr/lib/ISOLINUX/isolinux.bin",
        tree.join("isolinux/isolinux.bin"),
    )
    .unwrap();
    for fat in [
        dir.join("esp.img"),
        tree.join("images/efiboot.img"),
        tree.join("images/macboot.img"),
    ] {
        run("mformat", &["-C", "-T", "4096", "-i", text(&fat), "::"]);
    }
    let core = tree.join("images/eltorito.img");
    let format = "i386-pc-eltorito";
    let grub = [
        "-O",
        format,
        "-o",
        text(&core),
        "-p",
        "/boot/grub",
        "biosdisk",
        "iso9660",
        "normal",
    ];
    run("grub-mkimage", &grub);
    tree
}
