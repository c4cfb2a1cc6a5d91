// SPDX-License-Identifier: MIT OR Apache-2.0
//! A GRUB menu: its entries and submenus, the kernel lines in them, and the values its variables have.
//!
//! Source: GNU GRUB, grub-core/commands/menuentry.c (options of `menuentry` and `submenu`), grub-core/normal/context.c
//! (a submenu sees exported variables only), grub-core/script/execute.c (functions and their arguments).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::kernel_line;
use super::script::{Block, Command, Statement};
use super::words::{Part, Values, add_value, expand, known, parts};

/// Variables that GRUB itself exports (GNU GRUB, grub-core/kern/main.c, grub-core/normal/main.c).
const EXPORTED: [&str; 6] = [
    "root",
    "prefix",
    "grub_cpu",
    "grub_platform",
    "cmdpath",
    "pxe_default_server",
];

/// A kernel command line of an entry.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words, the command included.
    pub words: Vec<Range<usize>>,
    /// The same behind the kernel's name, with the values of the variables that are known.
    pub expanded: Vec<String>,
    /// Whether it is in a function that the entry calls, and so perhaps in other entries too.
    pub shared: bool,
}

/// An entry or submenu.
#[derive(Clone, Debug)]
pub struct Item {
    /// From its first byte to behind its brace.
    pub span: Range<usize>,
    /// The words in front of its block.
    pub words: Vec<Range<usize>>,
    /// The word that is its title.
    pub title_word: Option<Range<usize>>,
    /// The title, as far as it is known.
    pub title: String,
    /// Whether the title has a variable that is not known.
    pub title_varies: bool,
    /// `--id`.
    pub id: Option<String>,
    /// The brace that opens the block.
    pub open: usize,
    /// The brace that closes the block.
    pub close: usize,
    /// Whether it holds entries instead of commands.
    pub submenu: bool,
    /// Whether it is there only sometimes.
    pub conditional: bool,
    /// The submenu that it is in.
    pub parent: Option<usize>,
    /// The live kernel lines.
    pub lines: Vec<Line>,
    /// The last word of each command that loads an initrd; none of one in a function that the entry calls.
    pub initrds: Vec<Option<Range<usize>>>,
    /// Variables whose values come from outside the entry.
    pub free: BTreeSet<String>,
}

impl Item {
    /// Whether it starts a live system.
    pub fn live(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether it checks the medium first.
    pub fn media_check(&self) -> bool {
        self.lines
            .iter()
            .any(|line| kernel_line::is_media_check(&line.expanded))
    }

    /// Whether it starts a live system and nothing else.
    pub fn plain(&self) -> bool {
        self.live() && !self.media_check()
    }
}

/// A value given to the variable `default`.
#[derive(Clone, Debug)]
pub struct Default {
    /// Where the value is written.
    pub value_span: Range<usize>,
    /// The value, if it is known.
    pub value: Option<String>,
    /// Whether the assignment runs only sometimes.
    pub conditional: bool,
}

/// What a script defines.
#[derive(Debug)]
pub struct Menu<'a> {
    text: &'a str,
    /// Entries and submenus, in the order of the text.
    pub items: Vec<Item>,
    /// Assignments to `default`.
    pub defaults: Vec<Default>,
    /// Variables of the whole script.
    pub values: Values,
    /// Variables that submenus see.
    pub exported: BTreeSet<String>,
    /// Offset of the first statement that defines an entry.
    pub first_item: Option<usize>,
    functions: BTreeMap<&'a str, &'a Block>,
}

impl<'a> Menu<'a> {
    /// Reads the menu of a parsed `text`.
    pub fn new(text: &'a str, script: &'a [Statement]) -> Menu<'a> {
        let mut menu = Menu {
            text,
            items: Vec::new(),
            defaults: Vec::new(),
            values: Values::new(),
            exported: EXPORTED.iter().map(|name| (*name).to_owned()).collect(),
            first_item: None,
            functions: BTreeMap::new(),
        };
        menu.survey(script, false);
        for statement in script {
            let before = menu.items.len();
            menu.collect(std::slice::from_ref(statement), None, false);
            if menu.items.len() > before && menu.first_item.is_none() {
                menu.first_item = Some(statement.start());
            }
        }
        menu
    }

    /// Functions and variables, which may be used before they come in the text.
    fn survey(&mut self, body: &'a [Statement], conditional: bool) {
        for statement in body {
            match statement {
                Statement::Function { name, block, .. } => {
                    self.functions.insert(name.as_str(), block);
                }
                Statement::Maybe { body, .. } => self.survey(body, true),
                Statement::Command(command) => {
                    let raw = |i: usize| command.words.get(i).map(|w| &self.text[w.clone()]);
                    if raw(0) == Some("export") {
                        let names = command.words.iter().skip(1);
                        let names: Vec<String> =
                            names.map(|w| self.text[w.clone()].to_owned()).collect();
                        self.exported.extend(names);
                    }
                    let Some((name, span)) = assignment(self.text, command) else {
                        continue;
                    };
                    let raw = &self.text[span.clone()];
                    let value = expand(raw, &self.values, &[]);
                    if name == "default" {
                        self.defaults.push(Default {
                            value_span: span,
                            value: value.clone().map(|words| words.join(" ")),
                            conditional,
                        });
                    } else {
                        // Kept even where a part of it is unknown: `root=live:…$x` is a live mark all the same.
                        let value = value.map_or_else(|| known(raw, &self.values), |w| w.join(" "));
                        let all = self.values.entry(name).or_default();
                        if all.is_empty() || conditional {
                            add_value(all, &value);
                        } else {
                            *all = value;
                        }
                    }
                }
            }
        }
    }

    fn collect(&mut self, body: &'a [Statement], parent: Option<usize>, conditional: bool) {
        for statement in body {
            match statement {
                Statement::Maybe { body, .. } => self.collect(body, parent, true),
                // A function that defines entries: nobody knows how often it is called.
                Statement::Function { block, .. } => self.collect(&block.body, None, true),
                Statement::Command(command) => {
                    let Some(block) = &command.block else {
                        continue;
                    };
                    let name = &self.text[command.words.first().cloned().unwrap_or(0..0)];
                    if !matches!(name, "menuentry" | "submenu" | "hiddenentry") {
                        continue;
                    }
                    // A hidden entry (a patch of openSUSE's GRUB) takes no place that a number could mean.
                    let conditional = conditional || name == "hiddenentry";
                    let item = self.item(command, block, name == "submenu", parent, conditional);
                    let index = self.items.len();
                    self.items.push(item);
                    if name == "submenu" {
                        self.collect(&block.body, Some(index), false);
                    }
                }
            }
        }
    }

    fn item(
        &self,
        command: &Command,
        block: &Block,
        submenu: bool,
        parent: Option<usize>,
        conditional: bool,
    ) -> Item {
        let mut title_word = None;
        let mut id = None;
        let mut words = command.words.iter().skip(1);
        while let Some(word) = words.next() {
            match &self.text[word.clone()] {
                "--class" | "--users" | "--hotkey" | "--source" => {
                    words.next();
                }
                "--id" | "$menuentry_id_option" => {
                    id = words.next().map(|word| plain(&self.text[word.clone()]));
                }
                option if option.starts_with("--") => {
                    id = option.strip_prefix("--id=").map(plain).or(id);
                }
                _ if title_word.is_none() => title_word = Some(word.clone()),
                _ => {}
            }
        }
        let raw_title = title_word.clone().map_or("", |word| &self.text[word]);
        let title = expand(raw_title, &self.values, &[]);
        let mut item = Item {
            span: command.start()..command.end(),
            words: command.words.clone(),
            title_varies: title.is_none(),
            title: title.map_or_else(|| raw_title.to_owned(), |words| words.join(" ")),
            title_word,
            id,
            open: block.open,
            close: block.close,
            submenu,
            conditional,
            parent,
            lines: Vec::new(),
            initrds: Vec::new(),
            free: BTreeSet::new(),
        };
        if !submenu {
            let mut values = self.values.clone();
            let mut own = BTreeSet::new();
            self.read_lines(&block.body, &mut values, &mut own, &[], &mut item, 0);
        }
        item
    }

    /// The live kernel lines of a body, and those of the functions it calls.
    fn read_lines(
        &self,
        body: &[Statement],
        values: &mut Values,
        own: &mut BTreeSet<String>,
        arguments: &[String],
        item: &mut Item,
        depth: usize,
    ) {
        for statement in body {
            let command = match statement {
                Statement::Maybe { body, .. } => {
                    self.read_lines(body, values, own, arguments, item, depth);
                    continue;
                }
                Statement::Function { .. } => continue,
                Statement::Command(command) => command,
            };
            for word in &command.words {
                for part in parts(&self.text[word.clone()]) {
                    if let Part::Variable { name, .. } = part
                        && !own.contains(&name)
                        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    {
                        item.free.insert(name);
                    }
                }
            }
            if let Some((name, span)) = assignment(self.text, command) {
                let value = known(&self.text[span], values);
                values.insert(name.clone(), value);
                own.insert(name);
                continue;
            }
            let words = || {
                let raw = command.words.iter().map(|word| &self.text[word.clone()]);
                raw.flat_map(|raw| {
                    expand(raw, values, arguments).unwrap_or_else(|| {
                        let known = known(raw, values);
                        known.split_whitespace().map(str::to_owned).collect()
                    })
                })
            };
            let name = &self.text[command.words.first().cloned().unwrap_or(0..0)];
            if let Some(block) = self.functions.get(name) {
                // One level: a function that calls another to load a kernel has not been met.
                if depth == 0 {
                    let arguments: Vec<String> = words().skip(1).collect();
                    self.read_lines(&block.body, values, own, &arguments, item, 1);
                }
            } else if known(name, values).starts_with("initrd") {
                let word = command.words.iter().skip(1).last();
                item.initrds.push(word.filter(|_| depth == 0).cloned());
            } else if is_kernel_command(name, values) {
                let expanded: Vec<String> = words().skip(1).collect();
                if kernel_line::is_live(&expanded) {
                    item.lines.push(Line {
                        words: command.words.clone(),
                        expanded: expanded.into_iter().skip(1).collect(),
                        shared: depth > 0,
                    });
                }
            }
        }
    }
}

/// Whether a command loads a kernel or, under a hypervisor, takes its command line.
fn is_kernel_command(raw: &str, values: &Values) -> bool {
    let name = known(raw, values);
    // The last is a variable that nothing in the text sets.
    let names = ["linux", "module", "multiboot", "${"];
    names.iter().any(|known| name.starts_with(known))
}

/// The variable that a command sets, and where its value is written.
fn assignment(text: &str, command: &Command) -> Option<(String, Range<usize>)> {
    let first = command.words.first()?;
    let word = if &text[first.clone()] == "set" {
        command.words.get(1)?
    } else {
        first
    };
    let raw = &text[word.clone()];
    let eq = raw.find('=')?;
    let name = &raw[..eq];
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (good && starts).then(|| (name.to_owned(), word.start + eq + 1..word.end))
}

/// A word without its quotes.
fn plain(raw: &str) -> String {
    known(raw, &Values::new())
}

impl Menu<'_> {
    /// The text in a range.
    pub fn raw(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}
