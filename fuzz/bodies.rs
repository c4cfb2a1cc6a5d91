// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done with arbitrary bytes, one function for each format: read them as widely as the program does, and hold
//! what has to hold of any bytes. The fuzzer calls these, and so does `tests/fuzzed.rs` with changed small images.
//!
//! Each must come to an end without a panic and without asking for more memory than the input explains.

use livestick::boot::{Arguments, Edited, esp, grub, isolinux};
use livestick::image::initrd;
use livestick::image::iso9660::Iso;
use livestick::image::isomd5;
use livestick::image::root::RootImage;
use livestick::luks;
use livestick::patch::{After, Draft, Patch};
use livestick::plan::ids::Ids;
use livestick::published::armor;
use livestick::published::frame::Frame;
use livestick::published::list::List;
use livestick::read::ReadAt;
use livestick::record::{form, place};
use livestick::superblock;
use livestick::table::Table;
use livestick::units::{Bytes, Extent};

/// An ISO 9660 volume: its trees, its free places, and the edits that boot configurations get.
pub fn iso9660(data: &[u8]) {
    let image = data.to_vec();
    let _ = isomd5::check(&image);
    let Ok(iso) = Iso::read(&image) else { return };
    let _ = iso.unclaimed(&image, &[]);
    for file in iso.files().iter().take(4) {
        let read = iso.contents(&image, file, Bytes(1 << 16));
        assert!(read.is_err() || iso.file(&file.path).is_some());
        let mut draft = Draft::new(&image);
        if iso.replace(&mut draft, file, b"replaced").is_ok() {
            changes_lie_inside(&draft, data.len());
        }
    }
    let _ = iso.truncated(Bytes(data.len() as u64));
}

/// Partition tables: what is read, and a partition that is added.
pub fn gpt_mbr(data: &[u8]) {
    use livestick::table::{NewPartition, Use};
    let image = data.to_vec();
    let _ = superblock::identify(&image);
    let Ok(table) = Table::read(&image) else {
        return;
    };
    let _ = (
        table.boots_bios(),
        table.boots_uefi(),
        table.esp(),
        table.end(),
    );
    let (size, medium) = (Bytes(data.len() as u64), Bytes::mib(4096));
    let Ok(space) = table.space(size, medium, 1) else {
        return;
    };
    if space.to <= space.from + Bytes::mib(8) {
        return;
    }
    let new = NewPartition {
        extent: Extent {
            at: space.from.align_up(Bytes::mib(4)),
            len: Bytes::mib(1),
        },
        name: "fuzz".into(),
        what: Use::LinuxData,
        unique: Ids::new(Some("fuzz")).uuid("partition"),
    };
    let mut draft = Draft::new(&image);
    if table.add(&mut draft, medium, &[new]).is_ok() {
        changes_lie_inside(&draft, data.len());
    }
}

/// An initrd: archives behind archives.
pub fn initrd(data: &[u8]) {
    let _ = initrd::inspect(&data.to_vec());
}

/// A root image: squashfs, EROFS, ext4, and what is nested in one.
pub fn root(data: &[u8]) {
    let image = data.to_vec();
    let Ok(root) = RootImage::inspect(&image) else {
        return;
    };
    let Ok(tree) = root.tree() else { return };
    for path in ["/", "/etc", "/etc/systemd/system", "/home", "/a/b/../c"] {
        let _ = tree.attributes(path);
    }
    for path in ["/etc/os-release", "/etc/fstab"] {
        if let Ok(Some(text)) = tree.read_small(path, 4096) {
            assert!(text.len() <= 4096);
        }
    }
}

/// A GRUB menu.
pub fn grub(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let edit = |text: &str, room| grub::edit(text, &arguments(), room).ok();
    edited(&text, &edit);
}

/// An isolinux menu.
pub fn isolinux(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = isolinux::includes(&text);
    let edit = |text: &str, room| isolinux::edit(text, &arguments(), room).ok();
    edited(&text, &edit);
}

/// A FAT filesystem: the menus in it, and one that grows.
pub fn fat(data: &[u8]) {
    let image = data.to_vec();
    let whole = Extent {
        at: Bytes::ZERO,
        len: Bytes(data.len() as u64),
    };
    let Ok(found) = esp::read(&image, whole) else {
        return;
    };
    for one in found.iter().take(2) {
        let mut draft = Draft::new(&image);
        let text = [&one.text[..], &[b'#'; 3000]].concat();
        if esp::replace(&mut draft, whole, &one.path, &text).is_ok() {
            changes_lie_inside(&draft, data.len());
        }
    }
}

/// A copy of a record: alone, and twice on a medium that has nothing else. What is read can be written and read again.
///
/// Digests would stop every change at the door, so they are made right.
pub fn record(data: &[u8]) {
    let _ = form::decode(data);
    let mut copy = data.to_vec();
    seal(&mut copy);
    if let Ok((header, record)) = form::decode(&copy) {
        let again = form::encode(&record, header.here, header.other);
        assert_eq!(form::decode(&again).map(|read| read.1), Ok(record));
    }
    let mut medium = vec![0; 7 << 20];
    let mut put = |mib: usize, copy: &[u8]| {
        let len = copy.len().min(1 << 20);
        medium[mib << 20..][..len].copy_from_slice(&copy[..len]);
    };
    put(4, &copy);
    // The other copy: the two places exchanged.
    if let Some(places) = copy.get_mut(40..56) {
        places.rotate_left(8);
        seal(&mut copy);
    }
    put(5, &copy);
    let mut asked = 0;
    let found = place::find(&medium, true, &mut |_| {
        asked += 1;
        asked < 200
    });
    if let place::Search::Found(found) = found {
        assert!(found.record.region.end() <= ReadAt::len(&medium));
    }
}

/// Makes the digests of a copy right, where there is room for them (`livestick-record(5)`, "Header").
fn seal(copy: &mut [u8]) {
    use sha2::{Digest, Sha256};
    if !copy.starts_with(form::MAGIC) || copy.len() < form::HEADER {
        return;
    }
    let length = copy[32..40].try_into().map(u64::from_le_bytes);
    let length = length.ok().and_then(|length| usize::try_from(length).ok());
    if let Some(body) = length.and_then(|length| copy.get(form::HEADER..length)) {
        let digest = Sha256::digest(body);
        copy[64..96].copy_from_slice(&digest);
    }
    let digest = Sha256::digest(&copy[..96]);
    copy[96..128].copy_from_slice(&digest);
}

/// A checksum file: its frame, its lines, and keys and signatures in it.
pub fn published(data: &[u8]) {
    let names = [b"live.iso".to_vec()];
    let text = match Frame::of(data) {
        Frame::Signed { whole, text } => {
            // A frame is all there is of it, and no more than was there.
            assert!(whole.len() <= data.len() + 1);
            assert!(
                matches!(Frame::of(&whole), Frame::Signed { text: again, .. } if again == text)
            );
            text
        }
        _ => data.to_vec(),
    };
    let list = List::parse(&text);
    if let Ok(sums) = list.find(&names, true) {
        assert!(
            sums.iter()
                .all(|sum| sum.value.len() == sum.algorithm.length())
        );
        assert!(sums.len() <= 2);
    }
    let _ = list.only();
    for kind in [armor::SIGNATURE, armor::PUBLIC_KEY] {
        let bare = armor::remove(data, kind);
        let _ = armor::are(bare.as_deref().unwrap_or(data), &armor::KEY_PACKETS);
    }
}

fn arguments() -> Arguments {
    Arguments {
        persistence: vec!["rd.live.overlay=UUID=1:/state/upper".into()],
        extra: vec!["extra.argument=1".into()],
        live: Vec::new(),
        replace_root: None,
        initrd: None,
    }
}

/// A text that was edited fits the room that was given, and has the arguments.
fn edited(text: &str, edit: &dyn Fn(&str, Bytes) -> Option<Edited>) {
    for room in [Bytes(text.len() as u64), Bytes::mib(1)] {
        if let Some(edited) = edit(text, room) {
            assert!(edited.text.len() as u64 <= room.0);
            assert!(edited.text.contains("rd.live.overlay=UUID=1:/state/upper"));
            // What was written can be read again.
            let _ = edit(&edited.text, Bytes::mib(1));
        }
    }
}

/// Nothing is changed where no image is, and what is changed was read right.
fn changes_lie_inside(draft: &Draft<'_>, len: usize) {
    let Ok(patches) = draft.patches() else { return };
    for Patch {
        at, before, after, ..
    } in patches
    {
        assert!(at.0 + before.len() as u64 <= len as u64);
        if let After::Bytes(after) = after {
            assert_eq!(after.len(), before.len());
        }
    }
    assert_eq!(draft.len().0, len as u64);
}

/// The head of an encrypted partition, as it is, and with checksums that are right.
pub fn luks(data: &[u8]) {
    let mut bytes = data.to_vec();
    for round in 0..2 {
        let copies = luks::read(&bytes);
        let fault = copies.fault();
        if let Some(header) = copies.best() {
            let _ = header.segment();
        } else {
            assert!(fault.is_some());
        }
        if round == 0 {
            for at in [0, 0x4000] {
                seal_luks(&mut bytes, at);
            }
        }
    }
}

/// Makes the checksum of a header right, where there is room for it (LUKS2 On-Disk Format 1.1, 2.1: `csum`).
fn seal_luks(bytes: &mut [u8], at: usize) {
    use sha2::{Digest, Sha256};
    let Some(header) = bytes.get_mut(at..at + 0x4000) else {
        return;
    };
    header[448..512].fill(0);
    let sum = Sha256::digest(&*header);
    header[448..480].copy_from_slice(&sum);
}
