// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text that has to fit: wrapped, cut, padded, by the columns that a terminal gives its characters.

use ratatui::text::Span;

fn width(c: char) -> usize {
    let mut bytes = [0; 4];
    Span::raw(&*c.encode_utf8(&mut bytes)).width()
}

/// How many columns `text` takes.
pub fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` in lines of at most `room` columns, broken at blanks where possible; all but the first indented by `hang`.
pub fn wrap(text: &str, room: usize, hang: usize) -> Vec<String> {
    let room = room.max(8);
    let hang = hang.min(room / 2);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    // Where the line can be broken: the byte behind the last blank.
    let mut blank = None;
    for c in text.chars().filter(|c| !c.is_control()) {
        if used + width(c) > room {
            let rest = match blank.take() {
                Some(at) => line.split_off(at),
                None => String::new(),
            };
            lines.push(line.trim_end().to_owned());
            line = format!("{:hang$}{}", "", rest.trim_start());
            used = columns(&line);
            if c == ' ' && rest.is_empty() {
                continue;
            }
        }
        line.push(c);
        used += width(c);
        // A blank in the indentation is no place to break at.
        if c == ' ' && !line.trim().is_empty() && used > hang {
            blank = Some(line.len());
        }
    }
    if !line.trim().is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The beginning of `text`, at most `room` columns, with a mark where something was cut.
pub fn start_of(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        used += width(c);
        if used + 1 > room {
            break;
        }
        out.push(c);
    }
    if room > 0 {
        out.push('…');
    }
    out
}

/// The end of `text`, at most `room` columns, with a mark where something was cut.
pub fn end_of(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut used = 0;
    let mut kept: Vec<char> = Vec::new();
    for c in text.chars().rev() {
        used += width(c);
        if used + 1 > room {
            break;
        }
        kept.push(c);
    }
    if room > 0 {
        kept.push('…');
    }
    kept.iter().rev().collect()
}

/// `text` in exactly `room` columns.
pub fn fit(text: &str, room: usize) -> String {
    let cut = start_of(text, room);
    let pad = room.saturating_sub(columns(&cut));
    format!("{cut}{:pad$}", "")
}

/// `text` at the right end of `room` columns.
pub fn fit_right(text: &str, room: usize) -> String {
    let cut = start_of(text, room);
    let pad = room.saturating_sub(columns(&cut));
    format!("{:pad$}{cut}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_blanks_and_cut_where_there_are_none() {
        assert_eq!(wrap("one two three", 8, 0), ["one two", "three"]);
        assert_eq!(wrap("one two three", 9, 2), ["one two", "  three"]);
        assert_eq!(wrap("abcdefghijkl", 8, 0), ["abcdefgh", "ijkl"]);
        assert_eq!(wrap("  at 5  b", 20, 0), ["  at 5  b"]);
        assert_eq!(wrap("", 20, 0), [""]);
        assert_eq!(wrap("漢字漢字漢字", 8, 0), ["漢字漢字", "漢字"]);
    }

    #[test]
    fn cut_text_says_so() {
        assert_eq!(start_of("abcdef", 4), "abc…");
        assert_eq!(end_of("abcdef", 4), "…def");
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(fit_right("ab", 4), "  ab");
        assert_eq!(start_of("漢字漢", 4), "漢…");
    }
}
