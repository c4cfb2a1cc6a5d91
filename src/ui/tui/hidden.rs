// SPDX-License-Identifier: MIT OR Apache-2.0
//! A passphrase that is being typed, twice. Nothing but its length is ever drawn, and its memory is wiped.

use std::fmt;

use zeroize::Zeroizing;

use super::keys::Cmd;
use crate::secret::{LONGEST, Passphrase};

/// What was typed so far.
#[derive(Clone)]
pub struct Hidden {
    /// The first time, once it was all typed.
    first: Option<Passphrase>,
    text: Zeroizing<Vec<u8>>,
}

/// What a command leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// More is to be typed.
    More,
    /// It was typed twice alike.
    Twice(Passphrase),
    /// Something the user should read.
    Say(String),
    /// Not a command for a text.
    NotMine,
}

impl Default for Hidden {
    fn default() -> Hidden {
        Hidden {
            first: None,
            text: empty(),
        }
    }
}

/// So much room that memory never moves.
fn empty() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LONGEST + 4))
}

impl Hidden {
    /// Whether it is typed for the second time.
    pub fn is_again(&self) -> bool {
        self.first.is_some()
    }

    /// How many characters there are.
    pub fn len(&self) -> usize {
        let starts = self.text.iter().filter(|byte| **byte & 0xC0 != 0x80);
        starts.count()
    }

    /// Whether nothing is typed yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes a command.
    pub fn command(&mut self, cmd: Cmd) -> Typed {
        match cmd {
            Cmd::Char(c) => {
                let mut bytes = Zeroizing::new([0; 4]);
                // What is too long is told when it is complete.
                if self.text.len() <= LONGEST {
                    let bytes = c.encode_utf8(&mut *bytes).as_bytes();
                    self.text.extend_from_slice(bytes);
                }
                Typed::More
            }
            Cmd::Erase => {
                while self.text.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
                Typed::More
            }
            Cmd::Delete => {
                self.text = empty();
                Typed::More
            }
            Cmd::Enter => self.enter(),
            _ => Typed::NotMine,
        }
    }

    fn enter(&mut self) -> Typed {
        let typed = std::mem::replace(&mut self.text, empty());
        match (self.first.take(), Passphrase::new(typed)) {
            (None, Ok(first)) => {
                self.first = Some(first);
                Typed::More
            }
            (None, Err(why)) => Typed::Say(why.to_string()),
            (Some(first), Ok(again)) if first == again => Typed::Twice(first),
            (Some(_), _) => Typed::Say("these were two different ones; type it anew".into()),
        }
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(hidden: &mut Hidden, text: &str) -> Typed {
        for c in text.chars() {
            assert_eq!(hidden.command(Cmd::Char(c)), Typed::More);
        }
        assert_eq!(hidden.len(), text.chars().count());
        hidden.command(Cmd::Enter)
    }

    #[test]
    fn it_is_typed_twice_and_never_shown() {
        let mut hidden = Hidden::default();
        assert_eq!(typed(&mut hidden, "Käse"), Typed::More);
        assert!(hidden.is_again() && hidden.is_empty());
        assert!(!format!("{hidden:?}").contains("se"));
        let Typed::Twice(passphrase) = typed(&mut hidden, "Käse") else {
            panic!("not taken")
        };
        assert_eq!(passphrase.bytes(), "Käse".as_bytes());
    }

    #[test]
    fn two_different_ones_are_none() {
        let mut hidden = Hidden::default();
        assert!(matches!(typed(&mut hidden, ""), Typed::Say(_)));
        assert_eq!(typed(&mut hidden, "one"), Typed::More);
        assert!(matches!(typed(&mut hidden, "two"), Typed::Say(_)));
        assert!(!hidden.is_again());
        assert_eq!(typed(&mut hidden, "oné"), Typed::More);
        hidden.command(Cmd::Char('x'));
        hidden.command(Cmd::Erase);
        assert!(matches!(typed(&mut hidden, "oné"), Typed::Twice(_)));
        assert_eq!(hidden.command(Cmd::Back), Typed::NotMine);
    }
}
