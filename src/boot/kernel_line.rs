// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel command lines as words: which of them mark a live system, and which are missing.
//!
//! Source: dracut, modules.d/90dmsquash-live/parse-dmsquash-live.sh (`root=live:…`, `rd.live.image`, `liveimg`) and
//! dmsquash-live-root.sh (`rd.live.check`, `check`); kiwi, dracut/modules.d/55kiwi-live (`mediacheck`).

use super::{COMMAND_LINE, EditError};
use crate::units::Bytes;

/// What takes the place of `root=live:…` where the root is a sprout ([`crate::sprout::Sprout::root_argument`]).
pub const SPROUT: &str = "root=LABEL=sprout-";

/// Whether these words start a live system.
pub fn is_live<S: AsRef<str>>(words: &[S]) -> bool {
    words.iter().map(AsRef::as_ref).any(|word| {
        word.starts_with("root=live:")
            || word.starts_with(SPROUT)
            || is_on(word, "rd.live.image")
            || is_on(word, "liveimg")
    })
}

/// Whether these words check the medium first.
pub fn is_media_check<S: AsRef<str>>(words: &[S]) -> bool {
    words
        .iter()
        .map(AsRef::as_ref)
        .any(|word| CHECKS.iter().any(|name| is_on(word, name)))
}

/// Whether this word asks for the media check.
pub fn is_check(word: &str) -> bool {
    CHECKS.iter().any(|name| is_on(word, name))
}

const CHECKS: [&str; 3] = ["rd.live.check", "check", "mediacheck"];

/// dracut's `getargbool`: the bare name, or a value other than `0`, `no` and `off`.
fn is_on(word: &str, name: &str) -> bool {
    word.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('=') && !matches!(rest, "=0" | "=no" | "=off")
    })
}

/// Those of `wanted` that `present` lacks.
pub fn missing<'a, S: AsRef<str>>(present: &[S], wanted: &'a [String]) -> Vec<&'a str> {
    wanted
        .iter()
        .map(String::as_str)
        .filter(|want| !present.iter().any(|word| word.as_ref() == *want))
        .collect()
}

/// Refuses a line of `len` bytes that no kernel would read whole.
pub fn check_length(title: &str, len: usize) -> Result<(), EditError> {
    let len = Bytes(len as u64);
    if len <= COMMAND_LINE {
        return Ok(());
    }
    Err(EditError::LineTooLong {
        title: title.to_owned(),
        len,
        limit: COMMAND_LINE,
    })
}

/// Refuses arguments that would break the text around them.
pub fn check_arguments<'a>(all: impl Iterator<Item = &'a String>) -> Result<(), EditError> {
    for argument in all {
        let why = if argument.is_empty() {
            "is empty"
        } else if argument.chars().any(char::is_control) {
            "holds a control character, which no boot configuration can carry"
        } else {
            continue;
        };
        return Err(EditError::Argument {
            argument: argument.clone(),
            why,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_marks_are_words_not_substrings() {
        assert!(is_live(&["quiet", "root=live:CDLABEL=F"]));
        assert!(is_live(&["rd.live.image=1"]));
        assert!(!is_live(&[
            "rd.live.image=0",
            "xroot=live:a",
            "root=/dev/sda"
        ]));
        assert!(is_media_check(&["rd.live.check"]));
        assert!(!is_media_check(&["rd.live.check=0", "rd.live.checkint"]));
    }
}
