// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `livecd-iso-to-disk`, so that scripts which call it go on working.
//!
//! Rules:
//!
//! * No option is silently ignored: each is honoured, mapped to something else, which is printed, or refused with the
//!   reason and the new way. Which it is, is a row of one table ([`rows`]).
//! * What the old tool did wrong is not kept: the exit status tells how it ended, extra arguments reach the kernel,
//!   `--force` does not delete a `/home`, and nothing ends at 4 GiB.
//! * The old tool kept what was on a disk unless `--format` was given. livestick always writes whole disks; so a disk
//!   without `--format` is refused, and a partition is taken for its whole disk only with it.
//! * What comes out is an ordinary [`Request`]; everything behind that is the same as for `livestick write`.

pub mod rows;
mod target;
pub mod words;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, ValueHint};

pub use target::{Target, home_on};

use crate::boot::pause::{Pause, Timeout};
use crate::published::Asked;
use crate::refusal::Refusal;
use crate::request::{FsKind, Request, Size, Wanted, mebibytes};
use rows::{Fate, Name, ROWS, Row, Takes};
use words::Given;

/// What it is called.
pub const NAME: &str = "livecd-iso-to-disk";

/// What a command line comes to.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are bools"
)]
pub struct Job {
    /// The stick, as asked for; the target is the word that was given.
    pub request: Request,
    /// Whether nothing is asked.
    pub force: bool,
    /// Whether everything on a disk may be lost.
    pub format: bool,
    /// Whether a `/home` on it may be lost without a question.
    pub delete_home: bool,
    /// The file that has the passphrase of `/home`, where it is not asked for.
    pub passphrase_file: Option<PathBuf>,
    /// Whether UEFI has to start it.
    pub efi: bool,
    /// What options became, for people.
    pub said: Vec<String>,
}

/// Why a command line comes to nothing.
#[derive(Debug)]
pub enum No {
    /// It contradicts itself.
    Usage(String),
    /// An option is refused.
    Refused(Refusal),
}

impl Job {
    /// What is asked for.
    pub fn of(given: &[Given], source: &Path, target: &Path) -> Result<Job, No> {
        let mut job = Job::default();
        job.request.image = source.to_path_buf();
        job.request.target = target.to_path_buf();
        let mut reading = Reading::default();
        for one in given {
            reading.take(one, &mut job)?;
        }
        reading.end(&mut job)?;
        Ok(job)
    }

    fn say(&mut self, option: &str, what: &str) {
        self.said.push(format!("{option}: {what}"));
    }
}

/// What counts only together with other options.
#[derive(Default)]
struct Reading {
    overlay: Option<Wanted>,
    home: Option<Wanted>,
    /// The option that asks for no overlay.
    no_overlay: Option<&'static str>,
    /// The filesystem behind `--format`.
    format_fs: Option<FsKind>,
    unencrypted: bool,
    crypted: bool,
}

impl Reading {
    fn take(&mut self, given: &Given, job: &mut Job) -> Result<(), No> {
        let row = Row::of(given.name);
        let option = row.word();
        let word = match &given.word {
            None => "",
            Some(word) => word
                .to_str()
                .ok_or_else(|| No::Usage(format!("the word behind {option} is not UTF-8")))?,
        };
        if row.fate == Fate::Mapped {
            job.say(option, row.text);
        }
        match given.name {
            Name::Help | Name::Compress | Name::NoEsp | Name::NoMac | Name::ResetMbr => {}
            Name::Format => {
                job.format = true;
                self.format(word, job)?;
            }
            Name::Msdos => job.format = true,
            Name::Efi => job.efi = true,
            Name::NoVerify => job.request.checksum = Asked::Nothing,
            Name::Force => job.force = true,
            Name::AllowDisk => job.request.allow_disk = Some(word.to_owned()),
            Name::DeleteHome => job.delete_home = true,
            Name::Timeout => timeout(word, &mut job.request.pause)?,
            Name::TotalTimeout => job.request.pause.total = Some(tenths(option, word)?),
            Name::NoBootMsg => job.request.pause.no_message = true,
            Name::NoMenu => {
                job.request.pause.grub = Some(Timeout::AtOnce);
                job.request.pause.isolinux = Some(Timeout::AtOnce);
            }
            Name::ExtraKernelArgs => {
                let words = word.split_whitespace().map(Into::into);
                job.request.extra_arguments.extend(words);
            }
            Name::OverlaySize => self.overlay = Some(part(option, word, job)?),
            Name::Overlayfs => {
                if word == "temp" {
                    self.no_overlay = Some("--overlayfs temp");
                }
            }
            Name::NoOverlay => self.no_overlay = Some(option),
            Name::HomeSize => self.home = Some(part(option, word, job)?),
            Name::UnencryptedHome => self.unencrypted = true,
            Name::CryptedHome => self.crypted = true,
            Name::PassphraseFile => job.passphrase_file = Some(PathBuf::from(word)),
            Name::LiveDir if word == "LiveOS" => {}
            Name::Label
            | Name::Multi
            | Name::LiveDir
            | Name::SkipCopy
            | Name::Xo
            | Name::XoNoHome
            | Name::ResetOverlay
            | Name::CopyOverlay
            | Name::CopyHome
            | Name::Swap
            | Name::SkipCompress
            | Name::Updates
            | Name::Kickstart => return Err(No::Refused(refused(row))),
        }
        Ok(())
    }

    /// `[size[,fstype[,blksz]]]` of the old tool's first partition, which held the overlay.
    fn format(&mut self, word: &str, job: &mut Job) -> Result<(), No> {
        let mut parts = word.trim_matches(['{', '}']).split(',').peekable();
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let size = parts.next_if(is_number).filter(|size| !size.is_empty());
        let kind = parts.next();
        if size.is_some() || parts.next().is_some() {
            job.say(
                "--format",
                "sizes are of no use, for the image keeps its own partitions",
            );
        }
        if let Some(kind) = kind {
            self.format_fs = filesystem("--format", kind, "the overlay", job)?;
        }
        Ok(())
    }

    fn end(self, job: &mut Job) -> Result<(), No> {
        if let (Some(option), Some(_)) = (self.no_overlay, &self.overlay) {
            return Err(No::Usage(format!(
                "--overlay-size-mb makes an overlay, and {option} asks for none; leave one of them out"
            )));
        }
        if self.crypted && self.unencrypted {
            return Err(No::Usage(
                "--crypted-home and --unencrypted-home contradict each other; leave one of them out"
                    .into(),
            ));
        }
        let encrypted = self.home.is_some() && !self.unencrypted;
        if job.passphrase_file.is_some() && !encrypted {
            return Err(No::Usage(
                "--home-passphrase-file is for an encrypted /home, and none is made; give --home-size-mb, without --unencrypted-home"
                    .into(),
            ));
        }
        for (given, option) in [
            (self.unencrypted, "--unencrypted-home"),
            (self.crypted, "--crypted-home"),
        ] {
            if given && self.home.is_none() {
                job.say(option, "without --home-size-mb no /home is made");
            }
        }
        job.request.encrypt_home = encrypted;
        job.request.overlay = self.overlay.map(|wanted| Wanted {
            fs: wanted.fs.or(self.format_fs),
            ..wanted
        });
        job.request.home = self.home;
        Ok(())
    }
}

fn refused(row: &Row) -> Refusal {
    Refusal::OldOption {
        option: row.word(),
        why: row.text,
    }
}

/// `size[,fstype[,blksz]]` of what is made.
fn part(option: &'static str, word: &str, job: &mut Job) -> Result<Wanted, No> {
    let mut parts = word.trim_matches(['{', '}']).split(',');
    let size = mebibytes(parts.next().unwrap_or_default());
    let size = size.map_err(|error| No::Usage(format!("{option}: {error}")))?;
    let fs = match parts.next() {
        None | Some("") => None,
        Some(kind) => filesystem(option, kind, "it", job)?,
    };
    if parts.next().is_some() {
        job.say(
            option,
            "the block size is the one that the filesystem's own mkfs chooses",
        );
    }
    Ok(Wanted {
        size: Size::Fixed(size),
        fs,
    })
}

/// The filesystem that a word of the old tool names, where livestick makes it.
fn filesystem(option: &str, kind: &str, what: &str, job: &mut Job) -> Result<Option<FsKind>, No> {
    Ok(match kind {
        "btrfs" => Some(FsKind::Btrfs),
        "ext4" => Some(FsKind::Ext4),
        "xfs" => Some(FsKind::Xfs),
        "ext2" | "ext3" | "fat" | "vfat" | "msdos" | "f2fs" => {
            job.said.push(format!(
                "{option}: {kind} is not made; {what} gets the best filesystem that the image can mount"
            ));
            None
        }
        _ => {
            return Err(No::Usage(format!(
                "{option}: '{kind}' is no filesystem; write btrfs, ext4 or xfs"
            )));
        }
    })
}

fn timeout(word: &str, pause: &mut Pause) -> Result<(), No> {
    let (grub, isolinux) = match word {
        "-0" => (Timeout::AtOnce, Timeout::AtOnce),
        "-1" => (Timeout::Never, Timeout::Never),
        "0" => (Timeout::AtOnce, Timeout::Never),
        _ => {
            let both = Timeout::Tenths(tenths("--timeout", word)?);
            (both, both)
        }
    };
    pause.grub = Some(grub);
    pause.isolinux = Some(isolinux);
    Ok(())
}

fn tenths(option: &str, word: &str) -> Result<u32, No> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        No::Usage(format!(
            "{option}: '{word}' is no number of tenths of a second"
        ))
    })
}

/// The parser's form of the table, for `--help`, the man page and completions.
pub fn command() -> Command {
    let mut command = Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Write a live image to a USB stick with the command line of livecd-iso-to-disk")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .max_term_width(80)
        .after_help(crate::cli::EXIT_STATUS)
        .arg(
            Arg::new("source")
                .value_name("IMAGE")
                .value_hint(ValueHint::FilePath)
                .required(true)
                .help("The live image (ISO file)"),
        )
        .arg(Arg::new("target").value_name("TARGET").value_hint(ValueHint::AnyPath).required(true).help(
            "The stick: a whole disk such as /dev/sdb, or a partition on it, which means the whole disk",
        ));
    for row in ROWS {
        let plain = row.word().trim_start_matches('-');
        let mut arg = Arg::new(plain).long(plain).help(format!(
            "[{}] {}.",
            row.fate.word(),
            capital(row.text)
        ));
        let others = row.words.iter().skip(1);
        for word in others {
            arg = match word.strip_prefix("--") {
                Some(long) => arg.visible_alias(long),
                None => arg.visible_short_aliases(word.chars().nth(1)),
            };
        }
        arg = match row.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Word("FILE") => arg.value_name("FILE").value_hint(ValueHint::FilePath),
            Takes::Word(name) => arg.value_name(name),
            Takes::Perhaps(name, _) => arg.value_name(name).num_args(0..=1),
        };
        command = command.arg(arg);
    }
    command
}

/// A sentence as one begins.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Whether a program of that name was called.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|program| PathBuf::from(program).file_name() == Some(OsStr::new(NAME)))
}

#[cfg(test)]
mod tests;
