// SPDX-License-Identifier: MIT OR Apache-2.0
//! GRUB configurations that only lead to another one: kiwi's on the EFI system partition (kiwi/bootloader/config/grub2.py,
//! `_create_early_boot_script_for_mbrid_search`), Debian's in front of its own.

use super::menu::{Item, Menu};
use super::script::{self, Statement};
use super::words;

/// Where a configuration without live entries leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The file, from the top of its filesystem.
    pub path: String,
    /// Whether it is on a filesystem that the script searches for, and not on the one that the script is on.
    pub elsewhere: bool,
}

/// The file that a configuration without live entries leads to: kiwi's on the EFI system partition, Debian's in front
/// of its own. `None` if it has live entries, leads nowhere, or cannot be read.
pub fn stub_target(text: &str) -> Option<Stub> {
    let parsed = script::parse(text).ok()?;
    let menu = Menu::new(text, &parsed);
    if menu.items.iter().any(Item::live) {
        return None;
    }
    let mut stub = None;
    let mut elsewhere = menu.values.contains_key("root");
    chain(text, &parsed, &menu, &mut elsewhere, &mut stub);
    stub
}

/// Looks for the first command that reads another configuration.
fn chain(
    text: &str,
    body: &[Statement],
    menu: &Menu,
    elsewhere: &mut bool,
    stub: &mut Option<Stub>,
) {
    for statement in body {
        let command = match statement {
            Statement::Maybe { body, .. } => {
                chain(text, body, menu, elsewhere, stub);
                continue;
            }
            Statement::Function { .. } => continue,
            Statement::Command(command) => command,
        };
        let mut words = command.words.iter().map(|word| &text[word.clone()]);
        let name = words.next().unwrap_or_default();
        if name.starts_with("search") {
            *elsewhere = true;
        }
        if stub.is_some()
            || !matches!(
                name,
                "configfile" | "source" | "." | "normal" | "extract_entries_configfile"
            )
        {
            continue;
        }
        let Some(word) = words.find(|word| !word.starts_with("--")) else {
            continue;
        };
        let known = words::known(word, &menu.values);
        let path = match known.strip_prefix('(').and_then(|p| p.split_once(')')) {
            Some((device, rest)) => {
                *elsewhere |= device != "${root}";
                rest
            }
            None => &known,
        };
        // What is still variable has no place that could be looked up.
        if path.starts_with('/') && !path.contains("${") {
            *stub = Some(Stub {
                path: path.to_owned(),
                elsewhere: *elsewhere,
            });
        }
    }
}
