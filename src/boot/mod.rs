// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot configurations, edited text to text: what the loaders of a live image read, with the arguments that make a
//! system remember.
//!
//! Rules:
//!
//! * Every live entry gets the arguments, whatever its loader command is called; what is no live entry is left alone.
//! * The entry that starts by itself is a plain start, not the media check.
//! * One entry starts without persistence, so that a broken overlay never locks anyone out.
//! * Nothing that was there changes its meaning. Where room is short, comments, blanks and indentation go first (see
//!   [`Reclaimed`]); where that is not enough, the caller learns by how much and moves the file.
//! * Editing an edited text changes nothing.
//!
//! What this module does not do: find the files in an image (`image`), or write them there (`plan`); only the FAT
//! system partition, which is a filesystem inside the image, is read and written here ([`esp`]).

mod default;
pub mod esp;
pub(crate) mod fat;
pub mod grub;
pub mod isolinux;
mod kernel_line;
mod menu;
pub mod pause;
mod reclaim;
mod script;
mod stub;
mod syslinux;
mod words;

use crate::units::Bytes;

/// What a kernel accepts as its command line: 2047 bytes and a NUL on x86 (Linux, arch/x86/include/asm/setup.h,
/// `COMMAND_LINE_SIZE`). Syslinux has the same limit (core/config.inc, `max_cmd_len`); GRUB cuts silently at what the
/// kernel image declares (Linux boot protocol 2.06, `cmdline_size`).
pub const COMMAND_LINE: Bytes = Bytes(2047);

/// What the kernel command lines are to gain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Appended to every live entry except the one without persistence.
    pub persistence: Vec<String>,
    /// Appended to every live entry, that one included.
    pub extra: Vec<String>,
    /// Appended to every live entry that starts the image's own root, as the one without persistence does, and those that
    /// are left alone because they check the medium.
    pub live: Vec<String>,
    /// A word that takes the place of `root=live:…` in every live entry except the one without persistence.
    pub replace_root: Option<String>,
    /// A file that is loaded behind the initrd of every entry that gets `replace_root`, by its path in the image.
    pub initrd: Option<String>,
}

impl Arguments {
    /// Every word that may be written.
    fn all(&self) -> impl Iterator<Item = &String> {
        let appended = self.persistence.iter().chain(&self.extra);
        let appended = appended.chain(&self.live);
        appended.chain(&self.replace_root).chain(&self.initrd)
    }

    /// What an entry gains that starts the image's own root.
    fn kept(&self) -> Vec<String> {
        self.extra.iter().chain(&self.live).cloned().collect()
    }

    /// Whether an entry with these words is left as it is but for the extra ones: another root would take the medium
    /// out of a check's sight.
    fn leaves<S: AsRef<str>>(&self, words: &[S]) -> bool {
        self.replace_root.is_some() && kernel_line::is_media_check(words)
    }

    /// Whether some entries will differ from the one without persistence.
    fn persist(&self) -> bool {
        !self.persistence.is_empty() || self.replace_root.is_some()
    }
}

/// A live entry of an edited menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The title a user sees.
    pub title: String,
    /// Whether it has the persistence arguments.
    pub persistent: bool,
    /// Whether it checks the medium before it starts (`rd.live.check`, `mediacheck`).
    pub media_check: bool,
}

/// What had to be given up so that an edited text fits.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reclaimed {
    /// Comments.
    Comments,
    /// Blank lines, and blanks at the ends of lines.
    BlankLines,
    /// Indentation, and rows of blanks between words.
    Indentation,
    /// The arguments were put into one variable (GRUB only).
    Variable,
    /// `--class` options of menu entries, which choose icons (GRUB only).
    Classes,
    /// The entry without persistence is called just that.
    Title,
}

/// An edited boot configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// The live entries, in the order of the text.
    pub entries: Vec<Entry>,
    /// The title of the entry that starts by itself.
    pub first: String,
    /// The title of the entry without persistence; none where nothing persists.
    pub without: Option<String>,
    /// What was given up, in this order.
    pub steps: Vec<Reclaimed>,
}

/// Why a boot configuration was not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No entry starts a live system: perhaps the file only leads to another one.
    #[error(
        "no entry of this boot configuration starts a live system; look for the file it leads to"
    )]
    NoLiveEntry,
    /// Everything was given up, and the text is still too long for its place.
    #[error("the edited boot configuration is {over} bytes too long for its place; move the file")]
    DoesNotFit {
        /// By how much.
        over: Bytes,
        /// The shortest text that means the same.
        smallest: String,
    },
    /// A kernel command line would be longer than what kernels take.
    #[error(
        "the kernel command line of \"{title}\" would have {len} bytes, and {limit} is the limit; \
         pass fewer or shorter arguments"
    )]
    LineTooLong {
        /// The entry.
        title: String,
        /// How long the line would be.
        len: Bytes,
        /// How long it may be.
        limit: Bytes,
    },
    /// The text is not what its loader would read.
    #[error("the boot configuration cannot be read at line {line}: {why}")]
    Unreadable {
        /// The line, counted from one.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An argument that no boot configuration can carry.
    #[error("the kernel argument {argument:?} {why}")]
    Argument {
        /// The argument.
        argument: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
