// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a boot menu waits before it starts an entry by itself, and what it shows meanwhile.
//!
//! The loaders count differently: GRUB in seconds, where 0 starts at once and -1 waits for ever (GNU GRUB manual,
//! `timeout`); isolinux in tenths of a second, where 0 waits for ever (Syslinux, doc/syslinux.txt, `TIMEOUT` and
//! `TOTALTIMEOUT`). Every assignment in a text gets the new value, conditional ones too; a text without one gets it in
//! front. Nothing else of the text changes.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::EditError;
use super::script::{self, Statement};
use super::syslinux::lines;

/// When an entry starts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timeout {
    /// Without waiting for a key.
    AtOnce,
    /// Not without a key.
    Never,
    /// After this many tenths of a second. GRUB's whole seconds are the nearest, but at least one.
    Tenths(u32),
}

impl Timeout {
    fn describe(self) -> String {
        match self {
            Timeout::AtOnce => "starts its first entry at once".into(),
            Timeout::Never => "waits for a key".into(),
            Timeout::Tenths(tenths) => format!("waits {}.{} s", tenths / 10, tenths % 10),
        }
    }

    fn grub(self) -> String {
        match self {
            Timeout::AtOnce => "0".into(),
            Timeout::Never => "-1".into(),
            Timeout::Tenths(tenths) => (tenths.saturating_add(5) / 10).max(1).to_string(),
        }
    }

    fn isolinux(self) -> String {
        match self {
            // The shortest there is, for 0 waits.
            Timeout::AtOnce => "1".into(),
            Timeout::Never => "0".into(),
            Timeout::Tenths(tenths) => tenths.max(1).to_string(),
        }
    }
}

/// What changes of a menu's wait; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// How long GRUB's menu waits for a key.
    pub grub: Option<Timeout>,
    /// How long isolinux' menu waits for a key.
    pub isolinux: Option<Timeout>,
    /// When isolinux starts an entry though keys were pressed, in tenths of a second; 0 is never. GRUB knows no such
    /// thing.
    pub total: Option<u32>,
    /// Whether isolinux shows no message file before the menu. GRUB has none.
    pub no_message: bool,
}

impl Pause {
    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        *self == Pause::default()
    }

    /// What becomes of a menu, for people.
    pub fn describe(&self) -> Option<String> {
        let mut said = Vec::new();
        match (self.grub, self.isolinux) {
            (None, None) => {}
            (Some(grub), Some(isolinux)) if grub == isolinux => said.push(grub.describe()),
            (grub, isolinux) => {
                let of = |timeout: Option<Timeout>, loader: &str| {
                    timeout.map(|timeout| format!("{} with {loader}", timeout.describe()))
                };
                said.extend(of(grub, "GRUB"));
                said.extend(of(isolinux, "isolinux"));
            }
        }
        match self.total {
            None => {}
            Some(0) => said.push("waits as long as keys are pressed with isolinux".into()),
            Some(total) => said.push(format!(
                "starts after {}.{} s whatever keys are pressed with isolinux",
                total / 10,
                total % 10
            )),
        }
        if self.no_message {
            said.push("shows no message before it".into());
        }
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// A GRUB script with it.
    pub fn grub(&self, text: &str) -> Result<String, EditError> {
        let Some(timeout) = self.grub else {
            return Ok(text.to_owned());
        };
        let mut places = Vec::new();
        assignments(text, &script::parse(text)?, &mut places);
        let value = timeout.grub();
        if places.is_empty() {
            return Ok(format!("set timeout={value}\n{text}"));
        }
        Ok(replaced(text, &places, &value))
    }

    /// An isolinux configuration with it.
    pub fn isolinux(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 64);
        if let Some(timeout) = self.isolinux {
            out.extend(["timeout ", &timeout.isolinux(), "\n"]);
        }
        if let Some(total) = self.total.filter(|total| *total > 0) {
            out.extend(["totaltimeout ", &total.to_string(), "\n"]);
        }
        for line in lines(text) {
            let gone = (self.isolinux.is_some() && line.after("timeout").is_some())
                || (self.total.is_some() && line.after("totaltimeout").is_some())
                || (self.no_message && line.after("display").is_some());
            if !gone {
                out += &text[line.span];
            }
        }
        out
    }
}

/// The values that `timeout` is set to.
fn assignments(text: &str, statements: &[Statement], out: &mut Vec<Range<usize>>) {
    for statement in statements {
        match statement {
            Statement::Maybe { body, .. } => assignments(text, body, out),
            Statement::Function { block, .. } => assignments(text, &block.body, out),
            Statement::Command(command) => {
                let word = |n: usize| command.words.get(n).map(|span| (span, &text[span.clone()]));
                let assigned = match word(0) {
                    Some((_, "set")) => word(1),
                    first => first,
                };
                if let Some((span, raw)) = assigned
                    && raw.starts_with("timeout=")
                {
                    out.push(span.start + "timeout=".len()..span.end);
                }
                if let Some(block) = &command.block {
                    assignments(text, &block.body, out);
                }
            }
        }
    }
}

fn replaced(text: &str, places: &[Range<usize>], value: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for place in places {
        out += &text[at..place.start];
        out += value;
        at = place.end;
    }
    out + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRUB: &str = "# wait\nset default=\"1\"\nif [ x = x ]; then\n  timeout=5\nfi\nset timeout=60 # s\nset timeout_style=menu\nmenuentry 'a' { linux /k }\n";

    #[test]
    fn every_assignment_of_a_grub_script_changes_and_nothing_else() {
        let with = |timeout| {
            let pause = Pause {
                grub: Some(timeout),
                ..Pause::default()
            };
            pause.grub(GRUB).unwrap()
        };
        let expect = |value: &str| {
            GRUB.replace("  timeout=5", &format!("  timeout={value}"))
                .replace("timeout=60 #", &format!("timeout={value} #"))
        };
        assert_eq!(with(Timeout::AtOnce), expect("0"));
        assert_eq!(with(Timeout::Never), expect("-1"));
        assert_eq!(with(Timeout::Tenths(94)), expect("9"));
        assert_eq!(with(Timeout::Tenths(95)), expect("10"));
        assert_eq!(with(Timeout::Tenths(2)), expect("1"));
        assert_eq!(with(Timeout::Tenths(u32::MAX)), expect("429496729"));
    }

    #[test]
    fn a_menu_without_a_timeout_gets_one_in_front() {
        let pause = Pause {
            grub: Some(Timeout::Tenths(30)),
            isolinux: Some(Timeout::Tenths(30)),
            ..Pause::default()
        };
        assert_eq!(
            pause.grub("menuentry a { linux /k }").unwrap(),
            "set timeout=3\nmenuentry a { linux /k }"
        );
        assert_eq!(
            pause.isolinux("label linux\n  kernel k"),
            "timeout 30\nlabel linux\n  kernel k"
        );
    }

    #[test]
    fn isolinux_gets_its_own_numbers_and_no_message() {
        let text = "default vesamenu.c32\nTIMEOUT 600\r\ndisplay boot.msg\nmenu color timeout 0 #fff\ntotaltimeout 9\ntext help\n  timeout 1\nendtext\n";
        let pause = Pause {
            isolinux: Some(Timeout::Never),
            total: Some(700),
            no_message: true,
            ..Pause::default()
        };
        assert_eq!(
            pause.isolinux(text),
            "timeout 0\ntotaltimeout 700\ndefault vesamenu.c32\nmenu color timeout 0 #fff\ntext help\n  timeout 1\nendtext\n"
        );
        let total_off = Pause {
            total: Some(0),
            ..Pause::default()
        };
        assert_eq!(
            total_off.isolinux(text),
            text.replace("totaltimeout 9\n", "")
        );
        assert_eq!(Pause::default().isolinux(text), text);
        assert!(Pause::default().is_none());
    }

    #[test]
    fn what_waited_by_other_hands_is_read_as_set() {
        // The text is a menu still: the timeouts of every fixture are found by both languages.
        let pause = Pause {
            grub: Some(Timeout::Tenths(70)),
            isolinux: Some(Timeout::Tenths(70)),
            ..Pause::default()
        };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/boot");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(base) = name.strip_suffix(".cfg") else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            if base.ends_with("isolinux") {
                let edited = pause.isolinux(&text);
                assert!(edited.starts_with("timeout 70\n"), "{name}");
                assert_eq!(pause.isolinux(&edited), edited, "{name}: a second time");
            } else if let Ok(edited) = pause.grub(&text) {
                assert!(edited.contains("timeout=7"), "{name}");
                assert_eq!(pause.grub(&edited).unwrap(), edited, "{name}: again");
            }
            seen += 1;
        }
        assert!(seen > 5, "{seen} fixtures");
    }
}
