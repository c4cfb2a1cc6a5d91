// SPDX-License-Identifier: MIT OR Apache-2.0
//! Syslinux's configuration language: lines with keywords, labels, menus, and which label starts by itself.
//!
//! Source: Syslinux, com32/menu/readconfig.c and doc/menu.txt.

use std::ops::Range;

use super::grub::WITHOUT;
use super::{Arguments, kernel_line};

/// Words that name what a label starts (Syslinux, doc/syslinux.txt; com32/menu/readconfig.c, `kernel_types`).
const KERNELS: [&str; 10] = [
    "kernel",
    "linux",
    "boot",
    "bss",
    "pxe",
    "fdimage",
    "comboot",
    "com32",
    "config",
    "localboot",
];

/// A line without its end, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// From the first byte of the line to its end, line feed included.
    pub(super) span: Range<usize>,
    /// What is on it, without blanks around it.
    pub(super) text: &'a str,
    /// Whether it is help for people, which has no keywords.
    pub(super) help: bool,
}

impl<'a> Line<'a> {
    /// What is behind these keywords, if the line begins with them.
    pub(super) fn after(&self, keywords: &str) -> Option<&'a str> {
        if self.help {
            return None;
        }
        let mut rest = self.text;
        for keyword in keywords.split(' ') {
            let head = rest.get(..keyword.len())?;
            let tail = rest.get(keyword.len()..)?;
            let ends = tail.is_empty() || tail.starts_with([' ', '\t']);
            if !head.eq_ignore_ascii_case(keyword) || !ends {
                return None;
            }
            rest = tail.trim_start();
        }
        Some(rest)
    }

    /// The blanks in front.
    pub(super) fn indentation(&self, text: &'a str) -> &'a str {
        let raw = &text[self.span.clone()];
        &raw[..raw.len() - raw.trim_start().len()]
    }
}

pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut out: Vec<Line> = Vec::new();
    let mut at = 0;
    let mut help = false;
    for raw in text.split_inclusive('\n') {
        let mut line = Line {
            span: at..at + raw.len(),
            text: raw.trim(),
            help: false,
        };
        at += raw.len();
        if help {
            help = line.after("endtext").is_none();
            line.help = true;
        } else {
            help = line.after("text").is_some();
        }
        out.push(line);
    }
    out
}

/// A `label`.
#[derive(Clone, Debug)]
pub(super) struct Label<'a> {
    pub(super) name: &'a str,
    pub(super) title: String,
    /// The line it begins with.
    pub(super) line: usize,
    pub(super) kernel: Option<usize>,
    pub(super) append: Option<usize>,
    /// Other lines that a copy needs: `initrd`, `ipappend`.
    pub(super) also: Vec<usize>,
    /// `menu default` lines.
    pub(super) default: Vec<usize>,
    /// The menu it is in: 0 is the one that a user sees first.
    pub(super) menu: usize,
    pub(super) hidden: bool,
}

pub(super) struct Config<'a> {
    pub(super) text: &'a str,
    pub(super) lines: Vec<Line<'a>>,
    pub(super) labels: Vec<Label<'a>>,
    pub(super) includes: Vec<String>,
    /// An `append` in front of all labels.
    pub(super) append: Option<usize>,
    /// `default`, `ui`, `ontimeout`: the last of each counts.
    pub(super) default: Option<usize>,
    pub(super) ui: Option<usize>,
    pub(super) ontimeout: Option<usize>,
    /// The submenu for troubles: its last line.
    pub(super) trouble: Option<usize>,
}

impl<'a> Config<'a> {
    pub(super) fn read(text: &'a str) -> Config<'a> {
        let mut config = Config {
            text,
            lines: lines(text),
            labels: Vec::new(),
            includes: Vec::new(),
            append: None,
            default: None,
            ui: None,
            ontimeout: None,
            trouble: None,
        };
        // Submenus that are open: their number, and whether they are for troubles.
        let mut open: Vec<(usize, bool)> = Vec::new();
        let mut menus = 0;
        let mut in_label = false;
        for (number, line) in config.lines.iter().enumerate() {
            let menu = open.last().map_or(0, |(menu, _)| *menu);
            let label = config.labels.last_mut().filter(|_| in_label);
            let is_trouble = |name: &str| {
                let plain = name.replace('^', "").to_lowercase();
                plain.contains("troubleshoot")
            };
            if let Some(name) = line.after("label") {
                in_label = true;
                config.labels.push(Label {
                    name,
                    title: name.to_owned(),
                    line: number,
                    kernel: None,
                    append: None,
                    also: Vec::new(),
                    default: Vec::new(),
                    menu,
                    hidden: false,
                });
            } else if let Some(name) = line.after("menu begin") {
                in_label = false;
                menus += 1;
                open.push((menus, is_trouble(name)));
            } else if line.after("menu end").is_some() {
                in_label = false;
                if open.pop().is_some_and(|(_, trouble)| trouble) {
                    config.trouble = Some(number);
                }
            } else if line.after("menu separator").is_some() {
                in_label = false;
            } else if let Some(name) = line.after("menu label") {
                match label {
                    Some(label) => label.title = name.replace('^', ""),
                    None => mark(&mut open, is_trouble(name)),
                }
            } else if let Some(name) = line.after("menu title") {
                mark(&mut open, is_trouble(name));
            } else if line.after("menu default").is_some() {
                if let Some(label) = label {
                    label.default.push(number);
                }
            } else if line.after("menu hide").is_some() {
                if let Some(label) = label {
                    label.hidden = true;
                }
            } else if let Some(file) = line.after("include").or(line.after("menu include")) {
                let file = file.split_whitespace().next().unwrap_or_default();
                config.includes.push(file.to_owned());
            } else if line.after("append").is_some() {
                match label {
                    Some(label) => label.append = Some(number),
                    None => config.append = Some(number),
                }
            } else if ["initrd", "ipappend", "sysappend"]
                .iter()
                .any(|k| line.after(k).is_some())
            {
                if let Some(label) = label {
                    label.also.push(number);
                }
            } else if KERNELS.iter().any(|k| line.after(k).is_some()) {
                if let Some(label) = label {
                    label.kernel = Some(number);
                }
            } else if line.after("default").is_some() {
                config.default = Some(number);
            } else if line.after("ui").is_some() {
                config.ui = Some(number);
            } else if line.after("ontimeout").is_some() {
                config.ontimeout = Some(number);
            }
        }
        config
    }

    /// What is behind the keyword on a line.
    pub(super) fn value(&self, line: Option<usize>) -> &'a str {
        let text = line
            .and_then(|n| self.lines.get(n))
            .map_or("", |line| line.text);
        text.split_once([' ', '\t'])
            .map_or("", |(_, rest)| rest.trim_start())
    }

    /// The kernel command line of a label: what is behind the kernel's name, then its own `append` or everybody's.
    pub(super) fn words(&self, label: &Label) -> Vec<&'a str> {
        let kernel = self.value(label.kernel).split_whitespace().skip(1);
        let append = self.value(label.append.or(self.append));
        let append = if append == "-" { "" } else { append };
        kernel.chain(append.split_whitespace()).collect()
    }

    pub(super) fn is_live(&self, label: &Label) -> bool {
        kernel_line::is_live(&self.words(label))
    }

    pub(super) fn is_plain(&self, label: &Label) -> bool {
        let words = self.words(label);
        kernel_line::is_live(&words) && !kernel_line::is_media_check(&words)
    }

    /// The plain start: in the first menu if there is one.
    pub(super) fn plain(&self, without: Option<usize>) -> Option<usize> {
        let find = |anywhere: bool| {
            let mut all = self.labels.iter().enumerate();
            all.find(|(i, label)| {
                let seen = anywhere || label.menu == 0 && !label.hidden;
                Some(*i) != without && seen && self.is_plain(label)
            })
            .map(|(i, _)| i)
        };
        find(false).or_else(|| find(true))
    }

    pub(super) fn any_live(&self, without: Option<usize>) -> Option<usize> {
        let mut all = self.labels.iter().enumerate();
        all.find(|(i, label)| Some(*i) != without && self.is_live(label))
            .map(|(i, _)| i)
    }

    /// The label without persistence, if there is one already.
    pub(super) fn existing(&self, arguments: &Arguments) -> Option<usize> {
        self.labels.iter().position(|label| {
            let words = self.words(label);
            let mut wanted = arguments.persistence.iter().chain(&arguments.replace_root);
            kernel_line::is_live(&words)
                && label.title.to_lowercase().contains(WITHOUT)
                && !wanted.any(|want| words.contains(&want.as_str()))
        })
    }

    /// The label that a command line such as `default`'s begins with.
    pub(super) fn named(&self, command: &str) -> Option<usize> {
        let name = command.split_whitespace().next()?;
        self.labels.iter().position(|label| label.name == name)
    }

    /// Whether a menu is shown. `default` may start one as well as `ui`.
    pub(super) fn has_menu(&self) -> bool {
        let default = self.value(self.default);
        let program = default.split_whitespace().next().unwrap_or_default();
        self.ui.is_some()
            || self.named(default).is_none() && program.to_lowercase().ends_with(".c32")
    }

    /// The label that starts by itself.
    pub(super) fn first(&self) -> Option<usize> {
        if let Some(index) = self.named(self.value(self.ontimeout)) {
            return Some(index);
        }
        let default = self.named(self.value(self.default));
        if !self.has_menu() || self.ui.is_some() && default.is_some() {
            return default;
        }
        let shown = |label: &&Label| label.menu == 0 && !label.hidden;
        let marked = self
            .labels
            .iter()
            .rposition(|label| shown(&label) && !label.default.is_empty());
        marked.or_else(|| self.labels.iter().position(|label| shown(&label)))
    }
}

/// Notes what an open submenu is called.
fn mark(open: &mut [(usize, bool)], trouble: bool) {
    if let Some(menu) = open.last_mut() {
        menu.1 |= trouble;
    }
}
