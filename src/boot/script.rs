// SPDX-License-Identifier: MIT OR Apache-2.0
//! GRUB's script language: tokens, commands with blocks, and words with quotes and variables.
//!
//! Source: GNU GRUB, grub-core/script/yylex.l (tokens, words, quotes) and parser.y (commands, blocks, conditions).
//! The parser is as lenient as an editor needs: it wants blocks and quotes to be closed, and does not judge commands.

use std::ops::Range;

use super::EditError;
use super::words::name_len;

/// How deep blocks and conditions may lie in each other; a hostile text must not exhaust the stack.
const DEPTH: usize = 48;
/// How long a text may be. Real ones have a few KiB.
const LENGTH: usize = 1 << 20;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Blanks, carriage returns (GRUB's file reader drops those), and continued line ends between words.
    Blank,
    /// The end of a line.
    Newline,
    /// From `#` to the end of the line, without that.
    Comment,
    /// A word, quotes and all.
    Word,
    /// One of `;` `|` `&` `<` `>` `{` `}`.
    Symbol,
}

/// A piece of a text. Tokens cover a text without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes.
    pub span: Range<usize>,
}

/// Cuts `text` into tokens.
pub fn tokens(text: &str) -> Result<Vec<Token>, EditError> {
    if text.len() > LENGTH {
        return Err(EditError::Unreadable {
            line: 1,
            why: "the file is longer than any boot configuration",
        });
    }
    let bytes = text.as_bytes();
    let mut out: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                Kind::Blank
            }
            b'\n' => {
                at += 1;
                Kind::Newline
            }
            b'#' => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
                Kind::Comment
            }
            b';' | b'|' | b'&' | b'<' | b'>' | b'{' | b'}' => {
                at += 1;
                Kind::Symbol
            }
            _ => {
                at = word_end(text, at)?;
                if matches!(&text[start..at], "\\\n" | "\\\r\n") {
                    Kind::Blank
                } else {
                    Kind::Word
                }
            }
        };
        match out.last_mut() {
            Some(last) if kind == Kind::Blank && last.kind == Kind::Blank => last.span.end = at,
            _ => out.push(Token {
                kind,
                span: start..at,
            }),
        }
    }
    Ok(out)
}

/// Where the word that starts at `at` ends.
fn word_end(text: &str, start: usize) -> Result<usize, EditError> {
    let bytes = text.as_bytes();
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b';' | b'|' | b'&' | b'<' | b'>' | b'{' | b'}' => break,
            b'\\' if text[at + 1..].starts_with("\r\n") => at += 3,
            b'\\' => at = next_char(text, at + 1),
            b'\'' => match text[at + 1..].find('\'') {
                Some(len) => at += len + 2,
                None => return Err(unreadable(text, at, "a quote is not closed")),
            },
            b'"' => {
                let open = at;
                at += 1;
                loop {
                    match bytes.get(at) {
                        Some(b'"') => break,
                        Some(b'\\') => at = next_char(text, at + 1),
                        Some(_) => at += 1,
                        None => return Err(unreadable(text, open, "a quote is not closed")),
                    }
                }
                at += 1;
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                let len = name_len(&bytes[at + 2..]);
                if len == 0 || bytes.get(at + 2 + len) != Some(&b'}') {
                    return Err(unreadable(text, at, "a variable has no name"));
                }
                at += len + 3;
            }
            _ => at = next_char(text, at),
        }
    }
    Ok(at)
}

/// The offset behind the character at `at` (or the end).
fn next_char(text: &str, at: usize) -> usize {
    let len = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    (at + len).min(text.len())
}

/// A text that GRUB would not read, at byte `at`.
fn unreadable(text: &str, at: usize, why: &'static str) -> EditError {
    let line = 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
    EditError::Unreadable { line, why }
}

/// `{ … }` behind a command.
#[derive(Clone, Debug)]
pub struct Block {
    /// Offset of `{`.
    pub open: usize,
    /// Offset of `}`.
    pub close: usize,
    /// What is in it.
    pub body: Vec<Statement>,
}

/// A command, its words, and the block behind them.
#[derive(Clone, Debug)]
pub struct Command {
    /// At least one.
    pub words: Vec<Range<usize>>,
    /// As of `menuentry`.
    pub block: Option<Block>,
}

impl Command {
    /// Offset of the first byte.
    pub fn start(&self) -> usize {
        self.words.first().map_or(0, |word| word.start)
    }

    /// The offset behind the last byte.
    pub fn end(&self) -> usize {
        let word = self.words.last().map_or(0, |word| word.end);
        self.block.as_ref().map_or(word, |block| block.close + 1)
    }
}

/// A statement of a script.
#[derive(Clone, Debug)]
pub enum Statement {
    /// A command that runs.
    Command(Command),
    /// A command that is kept for later.
    Function {
        /// What calls it.
        name: String,
        /// Offset of the word `function`.
        start: usize,
        /// What it does.
        block: Block,
    },
    /// Statements that may or may not run, or run repeatedly: `if`, `for`, `while`, `until`.
    Maybe {
        /// Offset of the first word.
        start: usize,
        /// All branches, one after the other.
        body: Vec<Statement>,
    },
}

impl Statement {
    /// Offset of the first byte.
    pub fn start(&self) -> usize {
        match self {
            Statement::Command(command) => command.start(),
            Statement::Function { start, .. } | Statement::Maybe { start, .. } => *start,
        }
    }
}

/// Reads a script.
pub fn parse(text: &str) -> Result<Vec<Statement>, EditError> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        text,
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    let (body, end) = parser.list()?;
    match end {
        None => Ok(body),
        Some(_) => Err(parser.wrong("a block or condition ends that was never begun")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The next token that is no blank.
    fn peek(&mut self) -> Option<(Kind, &'a str, Range<usize>)> {
        while self
            .tokens
            .get(self.at)
            .is_some_and(|t| t.kind == Kind::Blank)
        {
            self.at += 1;
        }
        self.tokens
            .get(self.at)
            .map(|t| (t.kind, &self.text[t.span.clone()], t.span.clone()))
    }

    fn wrong(&self, why: &'static str) -> EditError {
        let at = self
            .tokens
            .get(self.at)
            .map_or(self.text.len(), |t| t.span.start);
        unreadable(self.text, at, why)
    }

    /// Statements up to the word or brace that ends them, which stays unread.
    fn list(&mut self) -> Result<(Vec<Statement>, Option<&'a str>), EditError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("blocks and conditions lie too deep in each other"));
        }
        let mut body = Vec::new();
        let end = loop {
            let Some((kind, raw, span)) = self.peek() else {
                break None;
            };
            match (kind, raw) {
                (Kind::Symbol, "}") => break Some(raw),
                (Kind::Symbol, "{") => return Err(self.wrong("a block has no command")),
                (Kind::Word, "then" | "elif" | "else" | "fi" | "do" | "done" | "esac") => {
                    break Some(raw);
                }
                (Kind::Word, "function") => {
                    self.at += 1;
                    let Some((Kind::Word, name, _)) = self.peek() else {
                        return Err(self.wrong("a function has no name"));
                    };
                    self.at += 1;
                    let block = self
                        .block()?
                        .ok_or_else(|| self.wrong("a function has no block"))?;
                    body.push(Statement::Function {
                        name: name.to_owned(),
                        start: span.start,
                        block,
                    });
                }
                (Kind::Word, "if" | "while" | "until" | "for") => {
                    self.at += 1;
                    let inner = self.condition(raw)?;
                    body.push(Statement::Maybe {
                        start: span.start,
                        body: inner,
                    });
                }
                (Kind::Word, _) => body.push(Statement::Command(self.command()?)),
                _ => self.at += 1,
            }
        };
        self.depth -= 1;
        Ok((body, end))
    }

    /// What is behind `if`, `while`, `until` or `for`, and its last word.
    fn condition(&mut self, opener: &str) -> Result<Vec<Statement>, EditError> {
        let (closer, between): (&str, &[&str]) = match opener {
            "if" => ("fi", &["then", "elif", "else"]),
            _ => ("done", &["do"]),
        };
        let mut body = Vec::new();
        loop {
            let (more, end) = self.list()?;
            // The words between `for` and `do` are no command.
            if !(opener == "for" && end == Some("do")) {
                body.extend(more);
            }
            match end {
                Some(end) if end == closer => {
                    self.at += 1;
                    return Ok(body);
                }
                Some(end) if between.contains(&end) => self.at += 1,
                _ => return Err(self.wrong("a condition is not closed")),
            }
        }
    }

    fn command(&mut self) -> Result<Command, EditError> {
        let mut words = Vec::new();
        while let Some((Kind::Word, _, span)) = self.peek() {
            words.push(span);
            self.at += 1;
        }
        let block = self.block()?;
        Ok(Command { words, block })
    }

    fn block(&mut self) -> Result<Option<Block>, EditError> {
        let Some((Kind::Symbol, "{", open)) = self.peek() else {
            return Ok(None);
        };
        self.at += 1;
        let (body, _) = self.list()?;
        let Some((Kind::Symbol, "}", close)) = self.peek() else {
            return Err(self.wrong("a block is not closed"));
        };
        self.at += 1;
        Ok(Some(Block {
            open: open.start,
            close: close.start,
            body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_nest_and_unclosed_ones_are_named() {
        let parsed =
            parse("submenu a {\n menuentry 'b }' { true }\n}\nif x; then y; fi\n").unwrap();
        assert_eq!(parsed.len(), 2);
        let EditError::Unreadable { line, .. } = parse("a\nb {\n c\n").unwrap_err() else {
            panic!();
        };
        assert_eq!(line, 4);
        assert!(parse("a 'b\n").is_err());
        assert!(parse("a }\n").is_err());
        assert!(parse(&"a { ".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn tokens_cover_any_text(text in "\\PC*|[a${}'\"\\\\ \n\r\t;#|&<>=-]*") {
            if let Ok(tokens) = tokens(&text) {
                let mut at = 0;
                for token in &tokens {
                    prop_assert_eq!(token.span.start, at);
                    prop_assert!(text.is_char_boundary(token.span.end));
                    at = token.span.end;
                }
                prop_assert_eq!(at, text.len());
                for token in tokens {
                    super::super::words::parts(&text[token.span]);
                }
            }
            let _ = parse(&text);
        }
    }
}
