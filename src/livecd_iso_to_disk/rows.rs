// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of `livecd-iso-to-disk`'s options: what each was called, what it takes, and what becomes of it.
//!
//! Everything that knows the options is made from this table: the reader of command lines, `--help`, the man page,
//! and the tests, which ask every row to do what it says.
//!
//! Source: livecd-tools, tools/livecd-iso-to-disk.sh (its usage text and its loop over the arguments).

/// What an option is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `--help`.
    Help,
    /// `--format`.
    Format,
    /// `--msdos`.
    Msdos,
    /// `--efi`.
    Efi,
    /// `--noesp`.
    NoEsp,
    /// `--nomac`.
    NoMac,
    /// `--reset-mbr`.
    ResetMbr,
    /// `--label`.
    Label,
    /// `--multi`.
    Multi,
    /// `--livedir`.
    LiveDir,
    /// `--skipcopy`.
    SkipCopy,
    /// `--noverify`.
    NoVerify,
    /// `--force`.
    Force,
    /// `--xo`.
    Xo,
    /// `--xo-no-home`.
    XoNoHome,
    /// `--timeout`.
    Timeout,
    /// `--totaltimeout`.
    TotalTimeout,
    /// `--nobootmsg`.
    NoBootMsg,
    /// `--nomenu`.
    NoMenu,
    /// `--allow-disk`.
    AllowDisk,
    /// `--extra-kernel-args`.
    ExtraKernelArgs,
    /// `--overlay-size-mb`.
    OverlaySize,
    /// `--overlayfs`.
    Overlayfs,
    /// `--no-overlay`.
    NoOverlay,
    /// `--reset-overlay`.
    ResetOverlay,
    /// `--copy-overlay`.
    CopyOverlay,
    /// `--home-size-mb`.
    HomeSize,
    /// `--crypted-home`.
    CryptedHome,
    /// `--home-passphrase-file`.
    PassphraseFile,
    /// `--unencrypted-home`.
    UnencryptedHome,
    /// `--copy-home`.
    CopyHome,
    /// `--delete-home`.
    DeleteHome,
    /// `--swap-size-mb`.
    Swap,
    /// `--compress`.
    Compress,
    /// `--skipcompress`.
    SkipCompress,
    /// `--updates`.
    Updates,
    /// `--ks`.
    Kickstart,
}

/// What follows an option.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A word, called this in the help.
    Word(&'static str),
    /// A word if the next one is such, called this in the help.
    Perhaps(&'static str, fn(&str) -> bool),
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It means what it meant.
    Honoured,
    /// It becomes something else, which is printed.
    Mapped,
    /// The old tool did not have it.
    New,
    /// It stops the program before anything is written, and the reason and the new way are told.
    Refused,
}

impl Fate {
    /// The word in the man page.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Honoured => "honoured",
            Fate::Mapped => "mapped",
            Fate::New => "new",
            Fate::Refused => "refused",
        }
    }
}

/// An option.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub name: Name,
    /// Its spellings, the usual one first.
    pub words: &'static [&'static str],
    /// What follows it.
    pub takes: Takes,
    /// What becomes of it.
    pub fate: Fate,
    /// That in a line: what it does (honoured), what it becomes (mapped), why not and what to do instead (refused).
    pub text: &'static str,
}

impl Row {
    /// The usual spelling.
    pub fn word(&self) -> &'static str {
        self.words.first().copied().unwrap_or_default()
    }

    /// The row of that spelling.
    pub fn spelled(word: &str) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.words.contains(&word))
    }

    /// The row of that option.
    pub fn of(name: Name) -> &'static Row {
        let mut rows = ROWS.iter();
        // The first row stands for what is not there; a test sees that every option is.
        rows.find(|row| row.name == name).unwrap_or(&ROWS[0])
    }
}

/// `8192`, `8192,ext4,4096`, `ext4`: what the old tool took for a size and filesystem.
fn is_format(word: &str) -> bool {
    let mut parts = word.trim_matches(['{', '}']).split(',');
    let first = parts.next().unwrap_or_default();
    let number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    let kinds = [
        "ext2", "ext3", "ext4", "fat", "vfat", "msdos", "btrfs", "xfs", "f2fs",
    ];
    number || kinds.contains(&first)
}

fn is_temp(word: &str) -> bool {
    word == "temp"
}

const fn row(
    name: Name,
    words: &'static [&'static str],
    takes: Takes,
    fate: Fate,
    text: &'static str,
) -> Row {
    Row {
        name,
        words,
        takes,
        fate,
        text,
    }
}

use Fate::{Honoured, Mapped, New, Refused};
use Takes::{Nothing, Perhaps, Word};

/// Every option, in the order of the man page.
pub const ROWS: &[Row] = &[
    row(
        Name::Help,
        &["--help", "-h", "-?"],
        Nothing,
        Honoured,
        "Tell how it is used. The exit status is 0, where the old tool's was 1",
    ),
    row(
        Name::Format,
        &["--format"],
        Perhaps("SIZE[,FSTYPE[,BLKSZ]]", is_format),
        Honoured,
        "Write over the whole disk, and everything on it is lost; needed for a disk, whose name may be that of a \
         partition on it. A filesystem that livestick makes (btrfs, ext4, xfs) becomes the overlay's, where one is \
         made; what of this is of no use (a size or block size, for the image keeps its own partitions) is printed",
    ),
    row(
        Name::Msdos,
        &["--msdos"],
        Nothing,
        Mapped,
        "Means --format; the partition table is the image's own, which every BIOS and UEFI takes that takes the image",
    ),
    row(
        Name::Efi,
        &["--efi", "--mactel"],
        Nothing,
        Honoured,
        "Make a stick that UEFI starts: the image's own EFI system partition does it; an image without one is refused",
    ),
    row(
        Name::NoEsp,
        &["--noesp"],
        Nothing,
        Mapped,
        "The image's own EFI system partition stays; it is a part of what is proven",
    ),
    row(
        Name::NoMac,
        &["--nomac"],
        Nothing,
        Mapped,
        "The image's own partition for Macs stays where it has one; it is a part of what is proven",
    ),
    row(
        Name::ResetMbr,
        &["--reset-mbr", "--resetmbr"],
        Nothing,
        Mapped,
        "Always done: the image's own boot record is written with the image",
    ),
    row(
        Name::Label,
        &["--label"],
        Word("LABEL"),
        Refused,
        "the image's boot menus look for the image's own label; leave the option out",
    ),
    row(
        Name::Multi,
        &["--multi"],
        Nothing,
        Refused,
        "a stick holds one image, so that it can be proven whole; take a stick for each",
    ),
    row(
        Name::LiveDir,
        &["--livedir"],
        Word("DIR"),
        Refused,
        "the image's own folder stays where its initrd looks for it; leave the option out. LiveOS, the old default, is \
         taken",
    ),
    row(
        Name::SkipCopy,
        &["--skipcopy", "--reconfig"],
        Nothing,
        Refused,
        "the boot menus are a part of what is written and proven; write the stick again with the options it shall have",
    ),
    row(
        Name::NoVerify,
        &["--noverify"],
        Nothing,
        Mapped,
        "The image is not compared with what was published of it (--checksum none); what was written is read back all \
         the same",
    ),
    row(
        Name::Force,
        &["--force"],
        Nothing,
        Honoured,
        "Ask nothing. It deletes no /home on a stick of livestick's, be it a partition or inside an overlay or a \
         sprout: --delete-home has to be given too, also where it cannot be read whether there is one",
    ),
    row(
        Name::AllowDisk,
        &["--allow-disk"],
        Word("ID"),
        New,
        "Write to a disk that does not look like a stick: its serial, or its path if it has none. The old tool asked \
         nobody",
    ),
    row(
        Name::Xo,
        &["--xo"],
        Nothing,
        Refused,
        "sticks for the OLPC XO's Open Firmware are not made; leave the option out to make one for PCs",
    ),
    row(
        Name::XoNoHome,
        &["--xo-no-home"],
        Nothing,
        Refused,
        "sticks for the OLPC XO's Open Firmware are not made; leave the option out to make one for PCs",
    ),
    row(
        Name::Timeout,
        &["--timeout"],
        Word("TENTHS"),
        Honoured,
        "How long the boot menu waits, in tenths of a second; GRUB takes the nearest whole seconds. -1 waits for a key, \
         -0 starts at once; 0 does the one with isolinux and the other with GRUB, as it always did",
    ),
    row(
        Name::TotalTimeout,
        &["--totaltimeout"],
        Word("TENTHS"),
        Honoured,
        "When isolinux starts though keys are pressed, in tenths of a second; an image without isolinux is refused, for \
         GRUB has no such thing",
    ),
    row(
        Name::NoBootMsg,
        &["--nobootmsg"],
        Nothing,
        Honoured,
        "isolinux shows no message before its menu; GRUB has none, and that is printed where the image has no isolinux",
    ),
    row(
        Name::NoMenu,
        &["--nomenu"],
        Nothing,
        Mapped,
        "The menu starts its first entry at once, whatever --timeout says",
    ),
    row(
        Name::ExtraKernelArgs,
        &["--extra-kernel-args"],
        Word("ARGS"),
        Honoured,
        "More kernel arguments, for every entry of every menu that starts the live system",
    ),
    row(
        Name::OverlaySize,
        &["--overlay-size-mb"],
        Word("SIZE[,FSTYPE[,BLKSZ]]"),
        Honoured,
        "A persistent overlay of so many MiB, in a partition of its own without the limit of 4 GiB; FSTYPE btrfs, ext4 \
         or xfs, others become the best that the image can mount, and that is printed",
    ),
    row(
        Name::Overlayfs,
        &["--overlayfs"],
        Perhaps("temp", is_temp),
        Mapped,
        "Always so: every overlay is an overlayfs, never a sprout. With temp: no persistent overlay is made",
    ),
    row(
        Name::NoOverlay,
        &["--no-overlay"],
        Nothing,
        Mapped,
        "No persistent overlay is made; the image's own temporary one is used",
    ),
    row(
        Name::ResetOverlay,
        &["--reset-overlay"],
        Nothing,
        Refused,
        "a stick's overlay is emptied without its image: `livestick reset TARGET`",
    ),
    row(
        Name::CopyOverlay,
        &["--copy-overlay"],
        Nothing,
        Refused,
        "an overlay is not copied, for it holds keys and identities of one system; copy the files that matter",
    ),
    row(
        Name::HomeSize,
        &["--home-size-mb"],
        Word("SIZE[,FSTYPE[,BLKSZ]]"),
        Honoured,
        "A persistent /home of so many MiB, in a partition of its own; the filesystem as for the overlay",
    ),
    row(
        Name::CryptedHome,
        &["--crypted-home"],
        Nothing,
        Honoured,
        "The /home of --home-size-mb is encrypted (LUKS2); so it is without this option, too. The passphrase is asked \
         for twice, and at each boot; the image has to have what opens it, and an overlay has to be made",
    ),
    row(
        Name::PassphraseFile,
        &["--home-passphrase-file"],
        Word("FILE"),
        New,
        "Take the passphrase of the encrypted /home from this file, whose only line it is. The old tool asked on the \
         terminal only. Where sudo's log_input is set, sudo records any passphrase that is typed under it or handed \
         through it to the writer: use su or run0 there",
    ),
    row(
        Name::UnencryptedHome,
        &["--unencrypted-home"],
        Nothing,
        Honoured,
        "The /home of --home-size-mb is not encrypted",
    ),
    row(
        Name::CopyHome,
        &["--copy-home"],
        Nothing,
        Refused,
        "a /home is not copied while a stick is written; make one with --home-size-mb and copy the files into it",
    ),
    row(
        Name::DeleteHome,
        &["--delete-home"],
        Nothing,
        Honoured,
        "Together with --force: the /home on the target may be lost. Without --force the question tells what will be \
         lost, and that this option counts for nothing is printed",
    ),
    row(
        Name::Swap,
        &["--swap-size-mb"],
        Word("SIZE"),
        Refused,
        "live systems swap to compressed memory, and swapping to a stick wears it out; leave the option out, or make a \
         swap file in the overlay from the running system",
    ),
    row(
        Name::Compress,
        &["--compress"],
        Nothing,
        Honoured,
        "The compressed root image stays as it is, as every byte of the image",
    ),
    row(
        Name::SkipCompress,
        &["--skipcompress"],
        Nothing,
        Refused,
        "the image stays as it was published, so that it can be proven; leave the option out",
    ),
    row(
        Name::Updates,
        &["--updates"],
        Word("FILE"),
        Refused,
        "no file is added to the image; serve it, and give --extra-kernel-args inst.updates=URL",
    ),
    row(
        Name::Kickstart,
        &["--ks"],
        Word("FILE"),
        Refused,
        "no file is added to the image; put it on a stick labelled OEMDRV as ks.cfg, or serve it and give \
         --extra-kernel-args inst.ks=URL",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_in_one_row() {
        let mut seen = std::collections::BTreeSet::new();
        for row in ROWS {
            assert!(!row.words.is_empty());
            assert_eq!(Row::of(row.name).words, row.words);
            for word in row.words {
                assert!(seen.insert(*word), "{word} is there twice");
                assert_eq!(Row::spelled(word).unwrap().name, row.name);
            }
        }
    }

    #[test]
    fn the_word_behind_format_is_told_from_an_image() {
        for word in ["8192", "8192,ext4", "ext4", "{4096,btrfs,16}", "vfat"] {
            assert!(is_format(word), "{word}");
        }
        for word in ["soas.iso", "./ext4", "--efi", "", "ext4.iso", "/dev/sdb"] {
            assert!(!is_format(word), "{word}");
        }
    }
}
