// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ladder: what is given up, rung by rung, until an edited text fits into the place of the old one.
//!
//! A place is the sectors that a file has in an ISO 9660 image: the text, and what is free behind it in its last block.
//! Some files have nothing free at all. What is given up first means nothing to a loader; GRUB's variable comes before
//! anything a user could see.

use super::script::{self, Kind};
use super::{EditError, Reclaimed};
use crate::units::Bytes;

/// A text on its way down the ladder: built anew for every rung, and never longer than the one before.
pub fn fit(
    room: Bytes,
    rungs: &[Reclaimed],
    mut build: impl FnMut(&[Reclaimed]) -> Result<String, EditError>,
) -> Result<(String, Vec<Reclaimed>), EditError> {
    let fits = |text: &str| text.len() as u64 <= room.0;
    let mut steps = Vec::new();
    let mut text = build(&steps)?;
    for rung in rungs {
        if fits(&text) {
            break;
        }
        steps.push(*rung);
        let shorter = build(&steps)?;
        if shorter.len() < text.len() {
            text = shorter;
        } else {
            steps.pop();
        }
    }
    if fits(&text) {
        return Ok((text, steps));
    }
    Err(EditError::DoesNotFit {
        over: Bytes(text.len() as u64) - room,
        smallest: text,
    })
}

/// A GRUB script without what `steps` give up of its layout.
pub fn script(text: &str, steps: &[Reclaimed]) -> Result<String, EditError> {
    let gone = |step| steps.contains(&step);
    if steps.is_empty() {
        return Ok(text.to_owned());
    }
    let tokens = script::tokens(text)?;
    let mut out = String::with_capacity(text.len());
    // What the current line of `out` has: nothing, blanks only, or more.
    let mut line_start = 0;
    let mut commented = false;
    for token in &tokens {
        let raw = &text[token.span.clone()];
        let at_start = out[line_start..].trim().is_empty();
        match token.kind {
            Kind::Comment if gone(Reclaimed::Comments) && is_plain_comment(raw) => {
                drop_trailing_blanks(&mut out, line_start);
                commented = true;
            }
            Kind::Newline => {
                let blank = at_start && (gone(Reclaimed::BlankLines) || commented);
                if gone(Reclaimed::BlankLines) || blank {
                    drop_trailing_blanks(&mut out, line_start);
                }
                if !blank {
                    out.push('\n');
                    line_start = out.len();
                }
                commented = false;
            }
            Kind::Blank if gone(Reclaimed::Indentation) => {
                if !at_start {
                    out.push(' ');
                }
            }
            _ => out.push_str(raw),
        }
    }
    Ok(out)
}

/// Takes the blanks off the end of `text`, whose last line begins at `start`. One behind a backslash is no trailing
/// blank but an escaped one: it belongs to a word.
fn drop_trailing_blanks(text: &mut String, start: usize) {
    let keep = text.trim_end_matches([' ', '\t', '\r']).len().max(start);
    if !text[..keep].ends_with('\\') {
        text.truncate(keep);
    }
}

/// Whether GRUB's lexer takes this for a comment whatever follows: a quote in the first run of characters could make
/// it the beginning of a word that goes on in the next line (yylex.l: the longest match wins).
fn is_plain_comment(raw: &str) -> bool {
    let run = raw.split([' ', '\t']).next().unwrap_or(raw);
    !run.contains(['\'', '"', '\\'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAYOUT: [Reclaimed; 3] = [
        Reclaimed::Comments,
        Reclaimed::BlankLines,
        Reclaimed::Indentation,
    ];

    #[test]
    fn layout_goes_and_words_stay() {
        let text = "# c\n\n a  'b # \n c' \\\n  d # e\n#don't\n  f \\ \ng";
        assert_eq!(
            script(text, &LAYOUT).unwrap(),
            "a 'b # \n c' d\n#don't\nf \\ \ng"
        );
        assert_eq!(script(text, &[]).unwrap(), text);
        assert_eq!(
            script("a\n\n# b\nc\n", &[Reclaimed::Comments]).unwrap(),
            "a\n\nc\n"
        );
        assert_eq!(
            script("$\\\t\t# c\n", &[Reclaimed::Comments]).unwrap(),
            "$\\\t\t\n"
        );
    }

    fn significant(text: &str) -> Vec<String> {
        let tokens = script::tokens(text).unwrap();
        let mut out: Vec<String> = Vec::new();
        for token in tokens {
            match token.kind {
                Kind::Word | Kind::Symbol => out.push(text[token.span].to_owned()),
                Kind::Newline if out.last().is_some_and(|last| last != "\n") => {
                    out.push("\n".to_owned());
                }
                _ => {}
            }
        }
        out
    }

    proptest! {
        #[test]
        fn no_word_is_lost(text in "[a'\"\\\\ \n\t#;{}$x=]{0,60}", n in 0..4_usize) {
            if script::tokens(&text).is_ok() {
                let shorter = script(&text, &LAYOUT[..n]).unwrap();
                prop_assert!(shorter.len() <= text.len());
                prop_assert_eq!(significant(&shorter), significant(&text));
            }
        }
    }
}
