// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot menus of a stick, fetched as the loaders' firmware would find them: from every directory tree of the ISO,
//! and from the EFI system partition.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use tempfile::TempDir;

use crate::support::program::{output, run, text};
use crate::support::stick::sfdisk;
use crate::written::Written;

/// How a menu is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Grub,
    Isolinux,
}

/// The menus of the ISO tree that a loader reads on a stick.
fn in_iso(layout: &str) -> (&'static str, Language) {
    match layout {
        "isolinux" | "isolinux-mac" => ("/isolinux/isolinux.cfg", Language::Isolinux),
        "grub2" | "kiwi" => ("/boot/grub2/grub.cfg", Language::Grub),
        "apm" => ("/boot/grub/grub.cfg", Language::Grub),
        other => panic!("{other}"),
    }
}

/// Whether the EFI system partition has a menu of its own (and the ISO's `/EFI/BOOT` the same), or only leads to the one
/// in the ISO.
fn menu_on_esp(layout: &str) -> bool {
    matches!(layout, "isolinux" | "isolinux-mac" | "grub2")
}

const ON_ESP: &str = "::/EFI/BOOT/grub.cfg";

/// The menus have `persistence` and `extra` where they have to be.
pub fn judge(written: &Written, layout: &str, extra: &[&str]) {
    let boot = &written.plan()["boot"];
    let persistence = boot["arguments"].as_array().unwrap().iter();
    let persistence: Vec<&str> = persistence.map(|word| word.as_str().unwrap()).collect();
    let mut menus = vec![in_iso(layout)];
    if menu_on_esp(layout) {
        menus.push(("/EFI/BOOT/grub.cfg", Language::Grub));
    }
    for (path, language) in menus {
        let copies = copies(written, path);
        for (tree, menu) in &copies {
            assert_eq!(menu, &copies[0].1, "{path}: {tree}");
        }
        // Without a partition that begins with a volume of its own there are two trees, with one four.
        let trees = if matches!(layout, "grub2" | "kiwi") {
            4
        } else {
            2
        };
        assert_eq!(copies.len(), trees);
        let original = extract(&written.image, path, "any");
        menu(&original, &copies[0].1, language, &persistence, extra);
    }

    let (esp_before, esp) = (esp(&written.image), esp(&written.path));
    let (before, now) = (
        on_esp(&written.image, esp_before),
        on_esp(&written.path, esp),
    );
    assert_eq!(esp_before, esp);
    if menu_on_esp(layout) {
        menu(&before, &now, Language::Grub, &persistence, extra);
    } else {
        assert_eq!(before, now);
        assert_eq!(live(&now, Language::Grub).len(), 0);
    }
    let window = window(&written.path, esp);
    run("fsck.vfat", &["-n", text(&window)]);
}

fn menu(before: &str, now: &str, language: Language, persistence: &[&str], extra: &[&str]) {
    if language == Language::Grub {
        // GRUB itself takes functions inside of `if`, as kiwi writes them, and goes on; its checker does not.
        let all = accepted(before).is_ok();
        let rest = |text: &str| text[text.find("\nload_video").unwrap()..].to_owned();
        let (before, now) = if all {
            (before.to_owned(), now.to_owned())
        } else {
            (rest(before), rest(now))
        };
        assert_eq!(accepted(&before), Ok(()));
        assert_eq!(accepted(&now), Ok(()), "{now}");
    }
    let (before, entries) = (live(before, language), live(now, language));
    let words = |entry: &Entry| -> Vec<String> {
        entry.line.split_whitespace().map(str::to_owned).collect()
    };
    let has = |entry: &Entry, all: &[&str]| {
        let line = words(entry);
        let times = all.iter().map(|a| line.iter().filter(|w| w == a).count());
        let times: Vec<usize> = times.collect();
        assert!(
            times.iter().all(|n| *n == times[0] && *n <= 1),
            "{}",
            entry.line
        );
        times[0] == 1
    };
    for entry in &entries {
        assert!(extra.is_empty() || has(entry, extra), "{}", entry.line);
    }
    // What was in the lines is there still, in its order; the entries are in theirs.
    let old: Vec<&Entry> = entries
        .iter()
        .filter(|e| persistence.is_empty() || has(e, persistence))
        .collect();
    assert_eq!(old.len(), before.len(), "{now}");
    for (was, is) in before.iter().zip(&old) {
        assert_eq!(
            words(was),
            without(words(is), &[persistence, extra].concat())
        );
    }
    let first: Vec<&Entry> = entries.iter().filter(|entry| entry.default).collect();
    assert_eq!(first.len(), 1, "{now}");
    if persistence.is_empty() {
        assert_eq!(entries.len(), before.len());
        return;
    }
    // One entry more, the plain start without persistence.
    assert_eq!(entries.len(), before.len() + 1, "{now}");
    let forgets = entries
        .iter()
        .find(|entry| !has(entry, persistence))
        .unwrap();
    assert!(
        forgets.title.ends_with("without persistence"),
        "{}",
        forgets.title
    );
    let check = |entry: &&Entry| words(entry).iter().any(|word| word == "rd.live.check");
    let plain = before.iter().find(|entry| !check(entry)).unwrap();
    assert_eq!(words(plain), without(words(forgets), extra));
    // The first thing that starts by itself is the plain start, and it remembers.
    assert!(has(first[0], persistence) && !check(&first[0]));
    assert_eq!(
        words(plain),
        without(words(first[0]), &[persistence, extra].concat())
    );
}

fn accepted(menu: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), menu).unwrap();
    let verdict = output("grub-script-check", &[text(file.path())]);
    let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
    verdict.status.success().then_some(()).ok_or(said)
}

fn without(line: Vec<String>, words: &[&str]) -> Vec<String> {
    line.into_iter()
        .filter(|word| !words.contains(&word.as_str()))
        .collect()
}

/// An entry that starts the live system.
#[derive(Debug)]
struct Entry {
    title: String,
    /// Its kernel arguments, with what variables hold in their place.
    line: String,
    default: bool,
}

fn live(menu: &str, language: Language) -> Vec<Entry> {
    match language {
        Language::Grub => grub(menu),
        Language::Isolinux => isolinux(menu),
    }
}

fn grub(menu: &str) -> Vec<Entry> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut entries = Vec::new();
    let (mut title, mut depth, mut top) = (String::new(), 0_i32, -1);
    let unquoted = |value: &str| value.trim_matches(['"', '\'']).to_owned();
    for line in menu.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "set" if !rest.starts_with("root") => {
                let (name, value) = rest.split_once('=').unwrap();
                variables.push((name.into(), unquoted(value)));
            }
            "menuentry" | "submenu" => {
                top += i32::from(depth == 0);
                let rest = rest.trim_start();
                title = unquoted(rest[1..].split(&rest[..1]).next().unwrap());
            }
            "linux" | "linuxefi" if rest.contains("root=live:") => {
                let mut line = rest.to_owned();
                for (name, value) in &variables {
                    if name != "basicgfx" {
                        line = line.replace(&format!("${{{name}}}"), value);
                    }
                }
                let number = variables.iter().rfind(|(name, _)| name == "default");
                // An entry of a submenu cannot be the default by its menu's number.
                let default = depth == 1 && number.unwrap().1 == top.to_string();
                let title = title.clone();
                entries.push(Entry {
                    title,
                    line,
                    default,
                });
            }
            _ => {}
        }
        depth += i32::from(line.ends_with('{')) - i32::from(line == "}");
    }
    assert_eq!(depth, 0);
    entries
}

fn isolinux(menu: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut title, mut default) = (String::new(), false);
    for line in menu.lines().map(str::trim) {
        if line.starts_with("label ") {
            default = false;
        } else if let Some(text) = line.strip_prefix("menu label ") {
            title = text.replace('^', "");
        } else if line == "menu default" {
            default = true;
            // It may come behind the arguments.
            if let Some(Entry {
                title: of, default, ..
            }) = entries.last_mut()
            {
                *default |= *of == title;
            }
        } else if let Some(rest) = line.strip_prefix("append ")
            && rest.contains("root=live:")
        {
            let (title, line) = (title.clone(), rest.to_owned());
            entries.push(Entry {
                title,
                line,
                default,
            });
        }
    }
    entries
}

/// The file as every directory tree of the ISO has it: Rock Ridge and Joliet, of the whole disk and of the partition
/// that begins with a volume descriptor of its own.
fn copies(written: &Written, path: &str) -> Vec<(String, String)> {
    let mut copies = Vec::new();
    for read in ["any", "norock"] {
        copies.push((format!("disk, {read}"), extract(&written.path, path, read)));
    }
    let (_, partitions) = sfdisk(&written.path);
    let start = partitions[0].1["start"].as_u64().unwrap() * 512;
    let mut head = [0; 6];
    let mut stick = File::open(&written.path).unwrap();
    stick.seek(SeekFrom::Start(start + 32768)).unwrap();
    stick.read_exact(&mut head).unwrap();
    if start > 0 && &head == b"\x01CD001" {
        let partition = window(&written.path, (start, written.image_size() - start));
        for read in ["any", "norock"] {
            copies.push((
                format!("partition, {read}"),
                extract(&partition, path, read),
            ));
        }
    }
    copies
}

fn extract(iso: &Path, path: &str, read: &str) -> String {
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("file");
    let args = [
        "-osirrox",
        "on",
        "-read_fs",
        read,
        "-indev",
        text(iso),
        "-extract",
        path,
        text(&to),
    ];
    run("xorriso", &args);
    fs::read_to_string(&to).unwrap()
}

/// Where sfdisk sees the EFI system partition: start and length in bytes.
fn esp(path: &Path) -> (u64, u64) {
    let (_, partitions) = sfdisk(path);
    let kinds = ["ef", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"];
    let mut found = partitions
        .iter()
        .map(|(_, p)| p)
        .filter(|p| kinds.iter().any(|kind| p["type"] == *kind));
    let esp = found.next().unwrap();
    let sectors = |name: &str| esp[name].as_u64().unwrap() * 512;
    (sectors("start"), sectors("size"))
}

fn on_esp(path: &Path, esp: (u64, u64)) -> String {
    let place = format!("{}@@{}", text(path), esp.0);
    run("mtype", &["-i", &place, ON_ESP])
}

/// A part of a file as a file of its own.
fn window(path: &Path, (at, len): (u64, u64)) -> tempfile::TempPath {
    let part = tempfile::NamedTempFile::new().unwrap();
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    std::io::copy(&mut file.take(len), &mut part.as_file()).unwrap();
    part.into_temp_path()
}
