// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of GRUB scripts: what is left when their quotes are off and their variables have values.
//!
//! Source: GNU GRUB, grub-core/script/yylex.l (quotes, names) and execute.c (splitting of unquoted values).

use std::collections::BTreeMap;

/// How long a variable's value may become; a hostile text must not double it forever.
const VALUE: usize = 8 << 10;

/// Values of variables.
pub type Values = BTreeMap<String, String>;

/// How long the variable name is that `bytes` begin with.
pub fn name_len(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'?' | b'#' | b'*' | b'@') => 1,
        Some(b) if b.is_ascii_digit() => bytes.iter().take_while(|b| b.is_ascii_digit()).count(),
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => bytes
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count(),
        _ => 0,
    }
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Characters, without their quotes.
    Text(String),
    /// The value of a variable. Unquoted, it falls into words at blanks (GNU GRUB, grub-core/script/execute.c,
    /// `grub_script_env_get`: `GRUB_SCRIPT_ARG_TYPE_VAR`).
    Variable {
        /// Its name.
        name: String,
        /// Whether in double quotes.
        quoted: bool,
    },
}

/// Takes the quotes off a word.
pub fn parts(raw: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut text = String::new();
    let mut chars = raw.char_indices().peekable();
    let mut quoted = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, '\n')) | None => {}
                Some((_, '\r')) if chars.peek().is_some_and(|(_, c)| *c == '\n') => {
                    chars.next();
                }
                Some((_, next)) if quoted && !matches!(next, '$' | '\\' | '"') => {
                    text.push('\\');
                    text.push(next);
                }
                Some((_, next)) => text.push(next),
            },
            '"' => quoted = !quoted,
            '\'' if !quoted => {
                for (_, c) in chars.by_ref() {
                    if c == '\'' {
                        break;
                    }
                    text.push(c);
                }
            }
            '$' => {
                let rest = &raw[at + 1..];
                if !quoted && rest.starts_with('"') {
                    continue;
                }
                let braces = rest.starts_with('{');
                let name = &rest[usize::from(braces)..];
                let len = name_len(name.as_bytes());
                if len == 0 {
                    text.push('$');
                    continue;
                }
                if !text.is_empty() {
                    out.push(Part::Text(std::mem::take(&mut text)));
                }
                out.push(Part::Variable {
                    name: name[..len].to_owned(),
                    quoted,
                });
                // Names are ASCII: as many characters as bytes.
                for _ in 0..len + 2 * usize::from(braces) {
                    chars.next();
                }
            }
            _ => text.push(c),
        }
    }
    if !text.is_empty() || out.is_empty() {
        out.push(Part::Text(text));
    }
    out
}

/// One more value that a variable may have.
pub fn add_value(all: &mut String, value: &str) {
    if all.len() + value.len() < VALUE {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(value);
    }
}

/// The words that a word becomes, if every variable in it is known.
pub fn expand(raw: &str, values: &Values, arguments: &[String]) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut some = false;
    let mut split = false;
    for part in parts(raw) {
        let (value, quoted) = match part {
            Part::Text(text) => (text, true),
            Part::Variable { name, quoted } => {
                let value = match name.as_str() {
                    "@" | "*" => arguments.join(" "),
                    name => match name.parse::<usize>() {
                        Ok(number) => number
                            .checked_sub(1)
                            .and_then(|i| arguments.get(i).cloned())
                            .unwrap_or_default(),
                        Err(_) => values.get(name)?.clone(),
                    },
                };
                (value, quoted)
            }
        };
        if quoted {
            some = true;
            if let Some(last) = words.last_mut().filter(|last| last.len() < VALUE) {
                last.push_str(&value);
            }
            continue;
        }
        split = true;
        for (i, piece) in value.split_whitespace().enumerate() {
            let count = words.len();
            match words.last_mut() {
                Some(last) if i == 0 && last.len() < VALUE => last.push_str(piece),
                _ if count < VALUE / 2 => words.push(piece.to_owned()),
                _ => {}
            }
        }
    }
    if split && !some {
        words.retain(|word| !word.is_empty());
    }
    Some(words)
}

/// What is known of a word: its text, and the values of the variables that have one.
pub fn known(raw: &str, values: &Values) -> String {
    let mut out = String::new();
    for part in parts(raw) {
        match part {
            Part::Text(text) => out.push_str(&text),
            Part::Variable { name, .. } => match values.get(&name) {
                Some(value) if out.len() + value.len() < VALUE => out.push_str(value),
                Some(_) => {}
                None => {
                    out.push_str("${");
                    out.push_str(&name);
                    out.push('}');
                }
            },
        }
    }
    out
}

/// Words as they are written behind others.
pub fn appended(words: &[&str]) -> String {
    words
        .iter()
        .fold(String::new(), |line, word| line + " " + &quote(word))
}

/// Whether GRUB reads a word as it stands: without quotes, variables, wildcards or ends of commands.
pub fn is_safe(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_./:=,+@%^~-".contains(&b))
}

/// A word that GRUB reads as `word`.
pub fn quote(word: &str) -> String {
    if is_safe(word) {
        word.to_owned()
    } else if !word.contains('\'') {
        format!("'{word}'")
    } else {
        let mut out = String::from("\"");
        for c in word.chars() {
            if matches!(c, '$' | '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_their_quotes() {
        let text = |s: &str| Part::Text(s.to_owned());
        assert_eq!(parts("'a b'c"), [text("a bc")]);
        assert_eq!(parts(r#""a \" b"\ c"#), [text("a \" b c")]);
        assert_eq!(parts("$\"x\""), [text("x")]);
        assert_eq!(
            parts("($root)/b${x}\"$y\""),
            [
                text("("),
                Part::Variable {
                    name: "root".into(),
                    quoted: false
                },
                text(")/b"),
                Part::Variable {
                    name: "x".into(),
                    quoted: false
                },
                Part::Variable {
                    name: "y".into(),
                    quoted: true
                },
            ]
        );
    }
}
