// SPDX-License-Identifier: MIT OR Apache-2.0
//! `isolinux.cfg`: the arguments reach the `append` line of every live label, a plain start is the default, one label
//! starts without persistence.
//!
//! Source: Syslinux, com32/menu/readconfig.c (keywords in any case, `#` comments, `text help … endtext`, what ends a
//! label, `menu default`), doc/menu.txt (`default` counts for a menu only beside `ui`; `ontimeout` beats both) and
//! core/config.inc (`max_cmd_len`: 2047 bytes of command line).

use std::ops::Range;

use super::grub::WITHOUT;
use super::{Arguments, EditError, Edited, Entry, Reclaimed, kernel_line, reclaim};
use crate::units::Bytes;

const RUNGS: [Reclaimed; 4] = [
    Reclaimed::Comments,
    Reclaimed::BlankLines,
    Reclaimed::Indentation,
    Reclaimed::Title,
];

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

/// Gives `text` the arguments, in at most `room` bytes.
pub fn edit(text: &str, arguments: &Arguments, room: Bytes) -> Result<Edited, EditError> {
    let root = arguments.replace_root.iter();
    let all = arguments.persistence.iter().chain(&arguments.extra);
    kernel_line::check_arguments(all.chain(root))?;
    let config = Config::read(text);
    let without = config.existing(arguments);
    let base = config.plain(without).or_else(|| config.any_live(without));
    let base = base.ok_or(EditError::NoLiveEntry)?;
    let (text, steps) = reclaim::fit(room, &RUNGS, |steps| {
        let edited = config.build(arguments, base, without, steps)?;
        Ok(squeeze(&edited, steps))
    })?;
    Ok(describe(text, steps, arguments))
}

/// The files that `text` includes, as it names them, in order.
pub fn includes(text: &str) -> Vec<String> {
    Config::read(text).includes
}

/// Reads an edited text again, so that the report says what is there and not what was meant.
fn describe(text: String, steps: Vec<Reclaimed>, arguments: &Arguments) -> Edited {
    let config = Config::read(&text);
    let without = config.existing(arguments);
    let mut entries = Vec::new();
    for (index, label) in config.labels.iter().enumerate() {
        let words = config.words(label);
        if kernel_line::is_live(&words) {
            let mut wanted = arguments.persistence.iter().chain(&arguments.replace_root);
            entries.push(Entry {
                title: label.title.clone(),
                persistent: arguments.persist()
                    && Some(index) != without
                    && wanted.all(|want| words.contains(&want.as_str())),
                media_check: kernel_line::is_media_check(&words),
            });
        }
    }
    let title = |index: usize| config.labels[index].title.clone();
    let first = config.first().map(title);
    let without = without.filter(|_| arguments.persist()).map(title);
    Edited {
        first: first
            .or_else(|| entries.first().map(|entry| entry.title.clone()))
            .unwrap_or_default(),
        without,
        entries,
        steps,
        text: text.clone(),
    }
}

/// A line without its end, and where it is.
#[derive(Clone, Debug)]
struct Line<'a> {
    /// From the first byte of the line to its end, line feed included.
    span: Range<usize>,
    /// What is on it, without blanks around it.
    text: &'a str,
    /// Whether it is help for people, which has no keywords.
    help: bool,
}

impl<'a> Line<'a> {
    /// What is behind these keywords, if the line begins with them.
    fn after(&self, keywords: &str) -> Option<&'a str> {
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
    fn indentation(&self, text: &'a str) -> &'a str {
        let raw = &text[self.span.clone()];
        &raw[..raw.len() - raw.trim_start().len()]
    }
}

fn lines(text: &str) -> Vec<Line<'_>> {
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
struct Label<'a> {
    name: &'a str,
    title: String,
    /// The line it begins with.
    line: usize,
    kernel: Option<usize>,
    append: Option<usize>,
    /// Other lines that a copy needs: `initrd`, `ipappend`.
    also: Vec<usize>,
    /// `menu default` lines.
    default: Vec<usize>,
    /// The menu it is in: 0 is the one that a user sees first.
    menu: usize,
    hidden: bool,
}

struct Config<'a> {
    text: &'a str,
    lines: Vec<Line<'a>>,
    labels: Vec<Label<'a>>,
    includes: Vec<String>,
    /// An `append` in front of all labels.
    append: Option<usize>,
    /// `default`, `ui`, `ontimeout`: the last of each counts.
    default: Option<usize>,
    ui: Option<usize>,
    ontimeout: Option<usize>,
    /// The submenu for troubles: its last line.
    trouble: Option<usize>,
}

impl<'a> Config<'a> {
    fn read(text: &'a str) -> Config<'a> {
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
    fn value(&self, line: Option<usize>) -> &'a str {
        let text = line
            .and_then(|n| self.lines.get(n))
            .map_or("", |line| line.text);
        text.split_once([' ', '\t'])
            .map_or("", |(_, rest)| rest.trim_start())
    }

    /// The kernel command line of a label: what is behind the kernel's name, then its own `append` or everybody's.
    fn words(&self, label: &Label) -> Vec<&'a str> {
        let kernel = self.value(label.kernel).split_whitespace().skip(1);
        let append = self.value(label.append.or(self.append));
        let append = if append == "-" { "" } else { append };
        kernel.chain(append.split_whitespace()).collect()
    }

    fn is_live(&self, label: &Label) -> bool {
        kernel_line::is_live(&self.words(label))
    }

    fn is_plain(&self, label: &Label) -> bool {
        let words = self.words(label);
        kernel_line::is_live(&words) && !kernel_line::is_media_check(&words)
    }

    /// The plain start: in the first menu if there is one.
    fn plain(&self, without: Option<usize>) -> Option<usize> {
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

    fn any_live(&self, without: Option<usize>) -> Option<usize> {
        let mut all = self.labels.iter().enumerate();
        all.find(|(i, label)| Some(*i) != without && self.is_live(label))
            .map(|(i, _)| i)
    }

    /// The label without persistence, if there is one already.
    fn existing(&self, arguments: &Arguments) -> Option<usize> {
        self.labels.iter().position(|label| {
            let words = self.words(label);
            let mut wanted = arguments.persistence.iter().chain(&arguments.replace_root);
            kernel_line::is_live(&words)
                && label.title.to_lowercase().contains(WITHOUT)
                && !wanted.any(|want| words.contains(&want.as_str()))
        })
    }

    /// The label that a command line such as `default`'s begins with.
    fn named(&self, command: &str) -> Option<usize> {
        let name = command.split_whitespace().next()?;
        self.labels.iter().position(|label| label.name == name)
    }

    /// Whether a menu is shown. `default` may start one as well as `ui`.
    fn has_menu(&self) -> bool {
        let default = self.value(self.default);
        let program = default.split_whitespace().next().unwrap_or_default();
        self.ui.is_some()
            || self.named(default).is_none() && program.to_lowercase().ends_with(".c32")
    }

    /// The label that starts by itself.
    fn first(&self) -> Option<usize> {
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

    /// The whole text, edited.
    fn build(
        &self,
        arguments: &Arguments,
        base: usize,
        without: Option<usize>,
        steps: &[Reclaimed],
    ) -> Result<String, EditError> {
        let mut changes: Vec<(Range<usize>, String)> = Vec::new();
        let mut global = false;
        for (index, label) in self.labels.iter().enumerate() {
            let words = self.words(label);
            if !kernel_line::is_live(&words) {
                continue;
            }
            let own = label.append.or(self.append);
            let append = own.filter(|n| self.value(Some(*n)) != "-");
            let Some(number) = append.or(label.kernel) else {
                continue;
            };
            let shared = append.is_some() && label.append.is_none();
            let mut wanted = Vec::new();
            let mut replaced = 0;
            if Some(index) != without {
                wanted = kernel_line::missing(&words, &arguments.persistence);
                if let Some(root) = &arguments.replace_root {
                    let line = &self.lines[number];
                    let old = words.iter().find(|word| word.starts_with("root=live:"));
                    let at = old.and_then(|old| Some((old, line.text.find(old)?)));
                    if let Some((old, at)) = at {
                        let at = self.start(number) + at;
                        if !(shared && global) {
                            changes.push((at..at + old.len(), root.clone()));
                        }
                        replaced = root.len().saturating_sub(old.len());
                    } else if !words.contains(&root.as_str()) {
                        wanted.push(root);
                    }
                }
            }
            wanted.extend(kernel_line::missing(&words, &arguments.extra));
            let len: usize = words.iter().chain(&wanted).map(|w| w.len() + 1).sum();
            if !wanted.is_empty() || replaced > 0 {
                // The kernel's name stands in front of the words, and counts here too.
                let kernel = self.value(label.kernel).split_whitespace().next();
                let kernel = kernel.map_or(0, str::len);
                kernel_line::check_length(&label.title, len + kernel + replaced)?;
            }
            if !(shared && global) {
                self.append_words(number, &wanted, &mut changes);
            }
            global |= shared;
        }
        self.set_default(base, without, &mut changes);
        if without.is_none() && arguments.persist() {
            self.add_without(arguments, base, steps, &mut changes);
        }
        changes.sort_by_key(|(span, _)| (span.start, span.end));
        let mut out = String::with_capacity(self.text.len() + 512);
        let mut at = 0;
        for (span, new) in changes {
            out.push_str(self.text.get(at..span.start).unwrap_or_default());
            out.push_str(&new);
            at = at.max(span.end);
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        Ok(out)
    }

    /// Where what is on a line begins.
    fn start(&self, number: usize) -> usize {
        let line = &self.lines[number];
        line.span.start + line.indentation(self.text).len()
    }

    fn append_words(
        &self,
        number: usize,
        wanted: &[&str],
        changes: &mut Vec<(Range<usize>, String)>,
    ) {
        if !wanted.is_empty() {
            let end = self.start(number) + self.lines[number].text.len();
            changes.push((end..end, format!(" {}", wanted.join(" "))));
        }
    }

    /// Makes a plain start the one that starts by itself.
    fn set_default(
        &self,
        base: usize,
        without: Option<usize>,
        changes: &mut Vec<(Range<usize>, String)>,
    ) {
        let label = &self.labels[base];
        let good = |index: usize| self.is_plain(&self.labels[index]) && Some(index) != without;
        if !good(base) {
            return;
        }
        // A menu takes its first entry where nothing else is said; without a menu, nobody knows.
        if self.first().map_or(!self.has_menu(), good) {
            return;
        }
        let menu = self.has_menu();
        for line in [self.ontimeout, self.default].into_iter().flatten() {
            let value = self.value(Some(line));
            if self.named(value).is_some_and(|index| !good(index)) {
                let end = self.start(line) + self.lines[line].text.len();
                changes.push((end - value.len()..end, label.name.to_owned()));
            }
        }
        let by_name = self.ui.is_some() && self.named(self.value(self.default)).is_some();
        if !menu || by_name {
            return;
        }
        let marked: Vec<usize> = (0..self.labels.len())
            .filter(|i| self.labels[*i].menu == label.menu && !self.labels[*i].default.is_empty())
            .collect();
        if marked.last().is_some_and(|index| good(*index)) {
            return;
        }
        for index in marked {
            for line in &self.labels[index].default {
                changes.push((self.lines[*line].span.clone(), String::new()));
            }
        }
        let at = self.lines[label.line].span.end;
        let indentation = self.indentation(label);
        let first = if self.text[..at].ends_with('\n') {
            ""
        } else {
            "\n"
        };
        changes.push((at..at, format!("{first}{indentation}menu default\n")));
    }

    /// How the lines of a label are indented.
    fn indentation(&self, label: &Label) -> &'a str {
        let line = label.kernel.or(label.append).unwrap_or(label.line);
        self.lines[line].indentation(self.text)
    }

    /// A copy of the plain start, with the arguments it had and the extra ones.
    fn add_without(
        &self,
        arguments: &Arguments,
        base: usize,
        steps: &[Reclaimed],
        changes: &mut Vec<(Range<usize>, String)>,
    ) {
        let label = &self.labels[base];
        let indentation = self.indentation(label);
        let newline = if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        let title = if steps.contains(&Reclaimed::Title) {
            "Without persistence".to_owned()
        } else {
            format!("{} {WITHOUT}", label.title)
        };
        let mut name = String::from("plain");
        while self.named(&name).is_some() {
            name.push('x');
        }
        let mut copy = vec![
            format!("label {name}"),
            format!("{indentation}menu label {title}"),
        ];
        let keyword = |line: Option<usize>| {
            let text = line.map_or("", |n| self.lines[n].text);
            text.split([' ', '\t']).next().unwrap_or_default()
        };
        let keep = |word: &&str| {
            !arguments.persistence.iter().any(|p| p == word) && !kernel_line::is_check(word)
        };
        let words = |value: &'a str| value.split_whitespace().filter(keep);
        let mut append: Vec<&str> = match label.append.or(self.append) {
            Some(line) if self.value(Some(line)) != "-" => words(self.value(Some(line))).collect(),
            _ => Vec::new(),
        };
        let all = self.words(label);
        append.extend(kernel_line::missing(&all, &arguments.extra));
        if label.kernel.is_some() {
            let value: Vec<&str> = words(self.value(label.kernel)).collect();
            copy.push(format!(
                "{indentation}{} {}",
                keyword(label.kernel),
                value.join(" ")
            ));
        }
        for line in &label.also {
            copy.push(format!("{indentation}{}", self.lines[*line].text));
        }
        if !append.is_empty() {
            copy.push(format!("{indentation}append {}", append.join(" ")));
        }
        let copy = copy.join(newline);
        let (at, text) = if let Some(line) = self.trouble {
            (self.lines[line].span.start, format!("{copy}{newline}"))
        } else {
            let first = if self.text.ends_with('\n') {
                ""
            } else {
                newline
            };
            (self.text.len(), format!("{first}{copy}{newline}"))
        };
        changes.push((at..at, text));
    }
}

/// Notes what an open submenu is called.
fn mark(open: &mut [(usize, bool)], trouble: bool) {
    if let Some(menu) = open.last_mut() {
        menu.1 |= trouble;
    }
}

/// A configuration without what `steps` give up of its layout.
fn squeeze(text: &str, steps: &[Reclaimed]) -> String {
    let gone = |step| steps.contains(&step);
    let mut out = String::with_capacity(text.len());
    for line in lines(text) {
        let raw = &text[line.span.clone()];
        let comment = line.text.starts_with('#') && gone(Reclaimed::Comments);
        let blank = line.text.is_empty() && gone(Reclaimed::BlankLines);
        if line.help {
            // Shown as it stands.
            out.push_str(raw);
        } else if !comment && !blank {
            let mut kept = raw;
            if gone(Reclaimed::Indentation) {
                kept = kept.trim_start_matches([' ', '\t']);
            }
            if gone(Reclaimed::BlankLines) {
                out.push_str(kept.trim_end());
                if raw.ends_with('\n') {
                    out.push('\n');
                }
            } else {
                out.push_str(kept);
            }
        }
    }
    out
}
