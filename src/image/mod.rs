// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an image is: the facts that a plan is made from, read only, without a full read.
//!
//! [`Image::open`] reads descriptors, directories, tables, boot configurations and superblocks: some hundred
//! kilobytes of an image of any size. [`Image::look_inside`] then opens the initrd and the root tree, which takes
//! longer. Where a fact could not be read the reason stands in its place; only what no stick can be made without
//! (a readable volume that is all there) is an error.

pub mod boot_file;
pub mod eltorito;
pub mod erofs;
pub mod ext4;
pub mod initrd;
pub mod iso9660;
pub mod isomd5;
pub mod root;
pub mod squashfs;
pub mod stack;
pub mod unlocking;

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::DevNumber;
use crate::image::boot_file::{Config, Esp};
use crate::image::eltorito::Platform;
use crate::image::initrd::Initrd;
use crate::image::iso9660::Iso;
use crate::image::isomd5::Implanted;
use crate::image::root::{FileKind, RootImage, RootKind, TreeError};
use crate::image::stack::Stack;
use crate::image::unlocking::Unlocking;
use crate::persistence::tree::Attributes;
use crate::read::{ReadAt, ReadError, Source, Window};
use crate::refusal::Refusal;
use crate::superblock::Superblock;
use crate::table::Table;
use crate::units::{Bytes, Extent};

/// A file of the image that matters: its path and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Its path in the ISO tree.
    pub path: String,
    /// Its bytes (the first extent of a file with several).
    pub extent: Extent,
}

/// The root image: what the initrd mounts.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// The file.
    #[serde(flatten)]
    pub file: Placed,
    /// What it is.
    pub kind: RootKind,
    /// How it is compressed.
    pub compression: Option<String>,
}

/// What is known of the root tree.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RootTree {
    /// Mode, owner and extended attributes of the directories that persistence builds on, by path without a leading
    /// slash; those that the image lacks are not in it.
    pub directories: BTreeMap<String, Attributes>,
    /// The system's own name (`PRETTY_NAME` of os-release(5)).
    pub name: Option<String>,
    /// Whether its livesys scripts read `persistenthome=`.
    pub livesys: bool,
    /// Whether it can open an encrypted `/home`.
    #[serde(skip)]
    pub unlocking: Unlocking,
    /// Why the tree could not be read, where it could not.
    pub unread: Option<String>,
}

/// Which bytes were looked at: the file, and when it was last written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    dev: DevNumber,
    inode: u64,
    size: Bytes,
    /// When its content changed last: seconds since 1970, and nanoseconds of that second.
    seconds: i64,
    nanoseconds: i64,
}

impl Version {
    /// That of an open file.
    pub fn of(meta: &Metadata) -> Version {
        Version {
            dev: DevNumber::from_raw(meta.dev()),
            inode: meta.ino(),
            size: Bytes(meta.size()),
            seconds: meta.mtime(),
            nanoseconds: meta.mtime_nsec(),
        }
    }
}

/// A live image.
#[derive(Serialize)]
pub struct Image {
    /// Where it is, links resolved.
    pub path: PathBuf,
    /// Its file name.
    pub name: String,
    /// Its size.
    pub size: Bytes,
    /// The volume label.
    pub label: String,
    /// The volume's identifier, in blkid's form.
    pub uuid: Option<String>,
    /// How much of the file the volume is.
    pub volume: Bytes,
    /// The partition tables.
    pub table: Table,
    /// The firmwares for which the image has a boot image.
    pub disc_boot: Vec<String>,
    /// The EFI system partition.
    pub esp: Option<Esp>,
    /// Every boot configuration file.
    pub configs: Vec<Config>,
    /// The kernel.
    pub kernel: Option<Placed>,
    /// The initrd.
    pub initrd: Option<Placed>,
    /// The live system.
    pub stack: Stack,
    /// The root image, or nothing where there is none.
    pub root: Option<Root>,
    /// The implanted isomd5sum.
    pub media_check: Option<Implanted>,
    /// What the initrd holds; known after [`Image::look_inside`].
    pub initrd_facts: Option<Initrd>,
    /// What the root tree says; known after [`Image::look_inside`].
    pub tree: Option<RootTree>,
    /// What is odd, in words.
    pub oddities: Vec<String>,
    /// The ISO 9660 trees.
    #[serde(skip)]
    pub iso: Iso,
    /// What all this is known of.
    #[serde(skip)]
    pub version: Version,
    #[serde(skip)]
    source: Source,
}

/// Where images keep their kernels and initrds: lorax, kiwi, isolinux of lorax and of livecd-creator, grub-mkrescue's
/// own `/boot` (its users put theirs there), the others.
const KERNELS: [(&str, &str); 8] = [
    ("/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"),
    ("/boot/x86_64/loader/linux", "/boot/x86_64/loader/initrd"),
    ("/isolinux/vmlinuz", "/isolinux/initrd.img"),
    ("/isolinux/vmlinuz0", "/isolinux/initrd0.img"),
    ("/boot/vmlinuz", "/boot/initrd.img"),
    ("/live/vmlinuz", "/live/initrd.img"),
    ("/casper/vmlinuz", "/casper/initrd"),
    (
        "/arch/boot/x86_64/vmlinuz-linux",
        "/arch/boot/x86_64/initramfs-linux.img",
    ),
];

/// Root images (dracut `dmsquash-live-root.sh`; live-boot; archiso).
const ROOTS: [&str; 6] = [
    "/LiveOS/squashfs.img",
    "/LiveOS/rootfs.img",
    "/LiveOS/ext3fs.img",
    "/live/filesystem.squashfs",
    "/casper/filesystem.squashfs",
    "/arch/x86_64/airootfs.sfs",
];

/// The directories whose attributes persistence needs; the empty path is the root.
const DIRECTORIES: [&str; 6] = [
    "",
    "etc",
    "etc/systemd",
    "etc/systemd/system",
    "etc/systemd/system/local-fs.target.wants",
    "home",
];

/// Fedora's script that mounts a persistent `/home` (livesys-scripts, `libexec/livesys/livesys-main`; before that an
/// init script).
const LIVESYS: [&str; 3] = [
    "/usr/libexec/livesys/livesys-main",
    "/etc/rc.d/init.d/livesys",
    "/etc/init.d/livesys",
];

/// The most that is read of a boot configuration or a script.
const TEXT: usize = 1 << 20;

impl Image {
    /// Reads what can be read at once.
    pub fn open(path: &Path) -> Result<Image, Refusal> {
        let unreadable = |error: std::io::Error| Refusal::ImageUnreadable {
            path: path.into(),
            why: error.to_string(),
        };
        let real = path.canonicalize().map_err(unreadable)?;
        let file = open(&real).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Refusal::NotAnIso {
                path: path.into(),
                why: "it is not a regular file".into(),
            });
        }
        let source = Source::new(file, Bytes(metadata.len()));
        Image::read(real, source, Version::of(&metadata))
    }

    fn read(path: PathBuf, source: Source, version: Version) -> Result<Image, Refusal> {
        let damaged = |error: ReadError| Refusal::Damaged {
            path: path.clone(),
            why: error.to_string(),
        };
        if !looks_like_iso(&source) {
            return Err(Refusal::NotAnIso {
                path,
                why: "there is no ISO 9660 volume descriptor at byte 32768".into(),
            });
        }
        let iso = Iso::read(&source).map_err(damaged)?;
        let size = source.len();
        if let Some((need, have)) = iso.truncated(size) {
            return Err(Refusal::Truncated { path, need, have });
        }
        let table = Table::read(&source).map_err(damaged)?;
        let mut oddities: Vec<String> = iso
            .flaws()
            .iter()
            .take(5)
            .map(|flaw| format!("{} (at byte {})", flaw.what, flaw.at))
            .collect();
        let placed = |wanted: &str| {
            let file = iso.file(wanted)?;
            Some(Placed {
                path: file.path.clone(),
                extent: *file.extents.first()?,
            })
        };
        let kernels = KERNELS
            .iter()
            .find_map(|(kernel, initrd)| Some((placed(kernel)?, placed(initrd)?)));
        let (kernel, initrd) = kernels.unzip();
        let root = ROOTS
            .iter()
            .find_map(|wanted| placed(wanted))
            .and_then(|file| {
                let window = Window::new(&source, file.extent);
                match RootImage::inspect(&window) {
                    Ok(image) => Some(Root {
                        compression: image.compression().map(Into::into),
                        kind: image.kind,
                        file,
                    }),
                    Err(error) => {
                        oddities.push(format!("{}: {error}", file.path));
                        None
                    }
                }
            });
        let has = |wanted: &str| iso.directory(wanted).is_some();
        let stack = Stack::of_files(has);
        let esp = Esp::find(&table, &iso);
        let mut configs = boot_file::in_iso(&iso, &source).map_err(damaged)?;
        if let Some(esp) = &esp {
            match boot_file::in_esp(esp, &source) {
                Ok(found) => configs.extend(found),
                Err(why) => oddities.push(format!("the EFI system partition: {why}")),
            }
        }
        boot_file::judge(&mut configs, table.boots_bios(), table.boots_uefi());
        let disc_boot = disc_boot(&iso);
        let mut app_use = [0; isomd5::FIELD_LEN];
        source
            .read_exact_at(isomd5::FIELD.at, &mut app_use)
            .map_err(damaged)?;
        let volume = iso.volume();
        Ok(Image {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            size,
            label: volume.label.clone(),
            uuid: volume.uuid.clone(),
            volume: volume.space.bytes(),
            disc_boot,
            esp,
            configs,
            kernel,
            initrd,
            stack,
            root,
            media_check: Implanted::parse(&app_use),
            initrd_facts: None,
            tree: None,
            oddities,
            table,
            iso,
            version,
            source,
            path,
        })
    }

    /// Opens the initrd and the root tree.
    pub fn look_inside(&mut self) {
        if let Some(initrd) = &self.initrd {
            match initrd::inspect(&Window::new(&self.source, initrd.extent)) {
                Ok(facts) => {
                    self.stack = self.stack.refine(&facts);
                    self.initrd_facts = Some(facts);
                }
                Err(error) => self.oddities.push(format!("{}: {error}", initrd.path)),
            }
        }
        if let Some(root) = &self.root {
            let window = Window::new(&self.source, root.file.extent);
            let kernel = self.kernel.as_ref();
            let release = kernel
                .and_then(|kernel| unlocking::release(&Window::new(&self.source, kernel.extent)));
            let tree = match RootImage::inspect(&window) {
                Ok(image) => read_tree(&image, release.as_deref()),
                Err(error) => RootTree {
                    unread: Some(error.to_string()),
                    ..RootTree::default()
                },
            };
            self.tree = Some(tree);
        }
    }

    /// The bytes of the image.
    pub fn bytes(&self) -> &Source {
        &self.source
    }

    /// What the filesystem nested in the root image says of itself.
    pub fn nested(&self) -> Option<&Superblock> {
        match &self.root.as_ref()?.kind {
            RootKind::Nested { inner, .. } => Some(inner),
            RootKind::Tree(_) => None,
        }
    }
}

/// Opens an image for reading. What is no file is not waited for: a pipe has no end, and perhaps no writer.
pub fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

fn looks_like_iso(source: &Source) -> bool {
    // ECMA-119, 8.1: type 1, "CD001".
    source
        .read_vec(Bytes(32768), 6)
        .is_ok_and(|head| head == b"\x01CD001")
}

/// The firmwares that would start it from a disc.
fn disc_boot(iso: &Iso) -> Vec<String> {
    let entries = iso.boot().map(|catalogue| catalogue.entries.iter());
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.bootable)
        .map(|entry| firmware(entry.platform))
        .collect()
}

fn firmware(platform: Platform) -> String {
    match platform {
        Platform::Bios => "BIOS".into(),
        Platform::Efi => "UEFI".into(),
        Platform::Mac => "Mac".into(),
        Platform::PowerPc => "PowerPC".into(),
        Platform::Other(number) => format!("platform {number}"),
    }
}

fn read_tree(image: &RootImage<'_>, release: Option<&str>) -> RootTree {
    let mut known = RootTree::default();
    let tree = match image.tree() {
        Ok(tree) => tree,
        Err(why) => {
            known.unread = Some(why.to_string());
            return known;
        }
    };
    for path in DIRECTORIES {
        match tree.attributes(&format!("/{path}")) {
            Ok(Some(found)) if found.kind == FileKind::Directory => {
                known.directories.insert(path.into(), attributes(&found));
            }
            Ok(_) => {}
            Err(error) => {
                known.unread = Some(error.to_string());
                return known;
            }
        }
    }
    match Unlocking::look(&tree, release) {
        Ok(unlocking) => known.unlocking = unlocking,
        Err(error) => known
            .unlocking
            .missing
            .push(format!("a root tree that can be read ({error})")),
    }
    let text = |path: &str| match tree.read_small(path, TEXT) {
        Ok(text) => text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        // A file that is compressed in a way not read here: what it would tell is then not known.
        Err(TreeError::Unsupported(_) | TreeError::Read(_)) => None,
    };
    known.name = text("/etc/os-release").as_deref().and_then(pretty_name);
    known.livesys = LIVESYS
        .iter()
        .any(|path| text(path).is_some_and(|script| script.contains("persistenthome")));
    known
}

/// `PRETTY_NAME` of os-release(5).
fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

fn attributes(found: &root::Attributes) -> Attributes {
    // The attributes of overlayfs itself and of a filesystem's own bookkeeping are no property of the directory.
    let kept = |name: &[u8]| !name.starts_with(b"trusted.") && !name.starts_with(b"btrfs.");
    Attributes {
        mode: found.mode & 0o7777,
        uid: found.uid,
        gid: found.gid,
        xattrs: found
            .xattrs
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.clone()))
            .collect(),
    }
}
