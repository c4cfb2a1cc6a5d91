// SPDX-License-Identifier: MIT OR Apache-2.0
//! `isolinux.cfg`: the arguments reach the `append` line of every live label, a plain start is the default, one label
//! starts without persistence.
//!
//! Source: Syslinux, com32/menu/readconfig.c (keywords in any case, `#` comments, `text help … endtext`, what ends a
//! label, `menu default`), doc/menu.txt (`default` counts for a menu only beside `ui`; `ontimeout` beats both) and
//! core/config.inc (`max_cmd_len`: 2047 bytes of command line). What the keywords are is in `syslinux`.

use std::ops::Range;

use super::grub::WITHOUT;
use super::syslinux::{Config, Label, lines};
use super::{Arguments, EditError, Edited, Entry, Reclaimed, kernel_line, reclaim};
use crate::units::Bytes;

const RUNGS: [Reclaimed; 4] = [
    Reclaimed::Comments,
    Reclaimed::BlankLines,
    Reclaimed::Indentation,
    Reclaimed::Title,
];

/// Gives `text` the arguments, in at most `room` bytes.
pub fn edit(text: &str, arguments: &Arguments, room: Bytes) -> Result<Edited, EditError> {
    kernel_line::check_arguments(arguments.all())?;
    let config = Config::read(text);
    let without = config.existing(arguments);
    let base = config.plain(without).or_else(|| config.any_live(without));
    let base = base.ok_or(EditError::NoLiveEntry)?;
    let (text, steps) = reclaim::fit(room, &RUNGS, |steps| {
        let edited = config.build(arguments, base, without, steps)?;
        Ok(squeeze(&edited, steps))
    })?;
    let edited = describe(text, steps, arguments);
    if arguments.persist() && !edited.entries.iter().any(|entry| entry.persistent) {
        // The one append line of all entries is that of an entry without persistence: it cannot be both.
        return Err(EditError::NoLiveEntry);
    }
    Ok(edited)
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
    let first = first.or_else(|| entries.first().map(|entry| entry.title.clone()));
    let without = without.filter(|_| arguments.persist()).map(title);
    Edited {
        first: first.unwrap_or_default(),
        without,
        entries,
        steps,
        text,
    }
}

impl<'a> Config<'a> {
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
        let kept = arguments.kept();
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
            let plain = Some(index) == without || arguments.leaves(&words);
            if !plain {
                wanted = kernel_line::missing(&words, &arguments.persistence);
                if !(shared && global) {
                    self.add_initrd(label, number, &words, arguments, &mut changes)?;
                }
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
            let extra = if plain { &kept } else { &arguments.extra };
            wanted.extend(kernel_line::missing(&words, extra));
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

    /// Loads one more file behind the initrd of a label whose arguments are on this line. Names stand behind one
    /// another with commas (syslinux, doc/syslinux.txt, "INITRD").
    fn add_initrd(
        &self,
        label: &Label,
        number: usize,
        words: &[&str],
        arguments: &Arguments,
        changes: &mut Vec<(Range<usize>, String)>,
    ) -> Result<(), EditError> {
        let Some(path) = &arguments.initrd else {
            return Ok(());
        };
        let own = label
            .also
            .iter()
            .find(|line| self.lines[**line].text.to_lowercase().starts_with("initrd"));
        let word = words.iter().find(|word| word.starts_with("initrd="));
        let place = match (own, word) {
            (Some(line), _) => Some((*line, self.lines[*line].text)),
            (None, Some(word)) => Some((number, *word)),
            (None, None) => None,
        };
        let place = place.and_then(|(line, text)| {
            let at = self.lines[line].text.find(text)?;
            Some((self.start(line) + at + text.len(), text))
        });
        let Some((end, text)) = place else {
            return Err(EditError::Argument {
                argument: path.clone(),
                why: "cannot be loaded by an entry that loads no initrd",
            });
        };
        if !text.ends_with(path.as_str()) {
            changes.push((end..end, format!(",{path}")));
        }
        Ok(())
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
        let kept = arguments.kept();
        append.extend(kernel_line::missing(&all, &kept));
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
