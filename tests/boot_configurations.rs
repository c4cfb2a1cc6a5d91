// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot configurations in the shapes that images have, edited, next to what is expected.
//!
//! `UPDATE_EXPECTED=1 cargo test --test boot_configurations` writes the expected files anew; read the difference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use livestick::boot::{Arguments, EditError, Edited, Reclaimed, grub, isolinux};
use livestick::units::Bytes;

const PLENTY: Bytes = Bytes(1 << 20);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/boot")
}

fn fixture(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn configurations() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            name.contains(".cfg") && !name.contains("stub") && !name.contains("loopback")
        })
        .collect();
    names.sort();
    assert!(names.len() >= 12);
    names
}

fn arguments() -> Arguments {
    let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect();
    Arguments {
        persistence: words(&[
            "rd.live.overlay=UUID=0b0e3b5c-5d4e-4f0a-9d5b-2f6a3c1e7d90:/state/upper",
            "rd.live.overlay.overlayfs=1",
        ]),
        extra: words(&["console=ttyS0,115200"]),
        live: Vec::new(),
        replace_root: None,
        initrd: None,
    }
}

fn edit(name: &str, text: &str, arguments: &Arguments, room: Bytes) -> Result<Edited, EditError> {
    if name.contains("isolinux") {
        isolinux::edit(text, arguments, room)
    } else {
        grub::edit(text, arguments, room)
    }
}

/// GRUB's own parser as a judge.
fn script_check(name: &str, text: &str) {
    if name.contains("isolinux") {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let output = Command::new("grub-script-check").arg(file.path()).output();
    let output = output.expect("grub-script-check (package grub-common) judges these tests");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}\n{text}");
}

fn expect(name: &str, edited: &Edited) {
    let path = folder().join(name);
    let mut lines = vec![
        format!("first: {}", edited.first),
        format!("without: {}", edited.without.as_deref().unwrap_or("-")),
        format!("steps: {:?}", edited.steps),
    ];
    for entry in &edited.entries {
        let persistent = if entry.persistent { ", persistent" } else { "" };
        let check = if entry.media_check {
            ", media check"
        } else {
            ""
        };
        lines.push(format!("entry: {}{persistent}{check}", entry.title));
    }
    let mut text = lines.join(
        "
",
    );
    text += "
----
";
    text += &edited.text;
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
}

/// What every edit has to come to, whatever the configuration.
fn judge(name: &str, edited: &Edited, arguments: &Arguments) {
    script_check(name, &edited.text);
    let Some(without) = edited.without.as_ref() else {
        panic!("{name}: none without persistence\n{}", edited.text);
    };
    assert!(without.to_lowercase().contains("without persistence"));
    let first = edited.entries.iter().find(|e| e.title == edited.first);
    let first = first.unwrap_or_else(|| panic!("{name}: the first entry is not live"));
    assert!(first.persistent && !first.media_check, "{name}: {edited:?}");
    for entry in &edited.entries {
        let left = entry.media_check && arguments.replace_root.is_some();
        assert_eq!(
            entry.persistent,
            entry.title != *without && !left,
            "{name}: {entry:?}"
        );
    }
    let again = edit(name, &edited.text, arguments, PLENTY).unwrap();
    assert_eq!(again.text, edited.text, "{name}: edited twice");
}

#[test]
fn every_configuration_is_edited_as_expected() {
    for name in configurations() {
        let text = fixture(&name);
        script_check(&name, &text);
        let edited = edit(&name, &text, &arguments(), PLENTY).unwrap();
        judge(&name, &edited, &arguments());
        assert!(edited.steps.is_empty(), "{name}");
        expect(&name.replace(".cfg", ".expected"), &edited);
    }
}

#[test]
fn a_place_without_slack_gives_up_layout_first() {
    let mut moved = 0;
    for name in configurations() {
        let text = fixture(&name);
        let room = Bytes(text.len() as u64);
        match edit(&name, &text, &arguments(), room) {
            Ok(edited) => {
                assert!(edited.text.len() <= text.len());
                assert_eq!(edited.steps.first(), Some(&Reclaimed::Comments), "{name}");
                judge(&name, &edited, &arguments());
                expect(&name.replace(".cfg", ".tight.expected"), &edited);
            }
            Err(EditError::DoesNotFit { over, smallest }) => {
                moved += 1;
                assert_eq!(over.0 + room.0, smallest.len() as u64);
                let edited = edit(&name, &text, &arguments(), room + over).unwrap();
                assert_eq!(edited.text, smallest, "{name}");
                judge(&name, &edited, &arguments());
                expect(&name.replace(".cfg", ".tight.expected"), &edited);
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert!(moved > 0, "none of the fixtures was too tight");
}

#[test]
fn every_rung_is_enough_for_its_own_length() {
    for name in configurations() {
        let text = fixture(&name);
        let mut room = edit(&name, &text, &arguments(), PLENTY).unwrap().text.len() as u64;
        let mut last = Vec::new();
        while let Ok(edited) = edit(&name, &text, &arguments(), Bytes(room)) {
            judge(&name, &edited, &arguments());
            assert!(edited.steps.starts_with(&last), "{name}");
            last.clone_from(&edited.steps);
            room = edited.text.len() as u64 - 1;
        }
        assert!(last.len() >= 2, "{name}: {last:?}");
    }
}

#[test]
fn extra_arguments_alone_reach_every_live_entry_and_add_none() {
    let extra = Arguments {
        persistence: Vec::new(),
        ..arguments()
    };
    for name in configurations() {
        let text = fixture(&name);
        let edited = edit(&name, &text, &extra, PLENTY).unwrap();
        script_check(&name, &edited.text);
        assert_eq!(edited.without, None);
        let both = edit(&name, &text, &arguments(), PLENTY).unwrap();
        // One more for persistence; two where each platform has its own.
        let more = both.entries.len() - edited.entries.len();
        assert_eq!(
            more,
            if name.starts_with("platforms") { 2 } else { 1 },
            "{name}"
        );
        assert!(edited.text.contains("console=ttyS0,115200"), "{name}");
        let again = edit(&name, &edited.text, &extra, PLENTY).unwrap();
        assert_eq!(again.text, edited.text, "{name}");
    }
}

#[test]
fn a_replaced_root_leaves_the_way_back() {
    let sprout = Arguments {
        persistence: Vec::new(),
        extra: Vec::new(),
        live: vec!["rd.live.overlay.overlayfs=1".to_owned()],
        replace_root: Some("root=LABEL=sprout-0b0e3b5c".to_owned()),
        initrd: Some("/EFI/BOOT/BOOT.conf".to_owned()),
    };
    for name in [
        "fedora-38-bios.cfg",
        "fedora-44-kiwi.cfg",
        "fedora-36-isolinux.cfg",
    ] {
        let text = fixture(name);
        let edited = edit(name, &text, &sprout, PLENTY).unwrap();
        judge(name, &edited, &sprout);
        // The media check and the entry without persistence go on starting the image's own root.
        let count = |word: &str| edited.text.matches(word).count();
        assert_eq!(count("root=LABEL=sprout-0b0e3b5c"), 2, "{name}");
        assert_eq!(count("root=live:CDLABEL="), 2, "{name}");
        assert_eq!(count("/EFI/BOOT/BOOT.conf"), 2, "{name}");
        // What those two need the others must not have.
        for line in edited.text.lines().filter(|line| line.contains("root=")) {
            let own = line.contains("root=live:");
            assert_eq!(own, line.contains("rd.live.overlay.overlayfs=1"), "{line}");
        }
        let again = edit(name, &edited.text, &sprout, PLENTY).unwrap();
        assert_eq!(again.text, edited.text, "{name}");
        let check = edited.entries.iter().find(|entry| entry.media_check);
        assert!(check.is_some_and(|entry| !entry.persistent), "{name}");
    }
}

#[test]
fn stubs_lead_on_and_have_nothing_to_edit() {
    let target = |name: &str| {
        let text = fixture(name);
        let edited = grub::edit(&text, &arguments(), PLENTY);
        assert_eq!(edited, Err(EditError::NoLiveEntry), "{name}");
        let stub = grub::stub_target(&text).unwrap();
        (stub.path, stub.elsewhere)
    };
    let path = |path: &str, elsewhere| (path.to_owned(), elsewhere);
    assert_eq!(
        target("fedora-44-stub.cfg"),
        path("/boot/grub2/grub.cfg", true)
    );
    assert_eq!(
        target("fedora-44-loopback.cfg"),
        path("/boot/grub2/grub.cfg", false)
    );
    assert_eq!(target("debian-stub.cfg"), path("/EFI/BOOT/grub.cfg", false));
    assert_eq!(
        target("debian-search-stub.cfg"),
        path("/boot/grub/x86_64-efi/grub.cfg", true)
    );
    assert_eq!(grub::stub_target(&fixture("fedora-38-efi.cfg")), None);
}

#[test]
fn included_files_are_named() {
    let included = isolinux::includes(&fixture("upper-case-isolinux.cfg"));
    assert_eq!(included, ["extra.cfg", "more.cfg"]);
}

#[test]
fn a_line_that_no_kernel_reads_whole_is_refused() {
    let long = Arguments {
        extra: vec!["x".repeat(2000)],
        ..Arguments::default()
    };
    for name in ["fedora-38-bios.cfg", "fedora-36-isolinux.cfg"] {
        let refused = edit(name, &fixture(name), &long, PLENTY);
        assert!(
            matches!(refused, Err(EditError::LineTooLong { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn awkward_arguments_arrive_as_they_are() {
    let awkward = Arguments {
        persistence: vec![
            "a=$b;{c}".to_owned(),
            "d='e f'".to_owned(),
            "g=\"h\"".to_owned(),
        ],
        ..Arguments::default()
    };
    for room in [PLENTY, Bytes(1500)] {
        let text = fixture("fedora-38-bios.cfg");
        let edited = match grub::edit(&text, &awkward, room) {
            Err(EditError::DoesNotFit { over, .. }) => {
                grub::edit(&text, &awkward, room + over).unwrap()
            }
            other => other.unwrap(),
        };
        judge("fedora-38-bios.cfg", &edited, &awkward);
        assert!(!edited.steps.contains(&Reclaimed::Variable));
    }
    let broken = Arguments {
        extra: vec!["a\nb".to_owned()],
        ..Arguments::default()
    };
    let refused = grub::edit(&fixture("fedora-38-bios.cfg"), &broken, PLENTY);
    assert!(matches!(refused, Err(EditError::Argument { .. })));
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of which boot configurations are made, and some of which they are not.
    const PIECES: [&str; 44] = [
        "menuentry ",
        "submenu ",
        "'A title' ",
        "\"T $x\" ",
        "'Troubleshooting' ",
        "{ ",
        "{\n",
        "}\n",
        "} ",
        "\n",
        "\\\n",
        "linux /v ",
        "linuxefi /v ",
        "$linux /v ",
        "root=live:CDLABEL=X ",
        "rd.live.image ",
        "rd.live.check ",
        "quiet ",
        "set default=",
        "set default=\"1\"\n",
        "\"${saved_entry}\"\n",
        "1>0\n",
        "if true; then\n",
        "else\n",
        "fi\n",
        "function f {\n",
        "f a b\n",
        "$x ",
        "${x} ",
        "set x=",
        "# comment\n",
        " # don't\n",
        "--class a ",
        "--id b ",
        ";",
        "for i in a b; do\n",
        "done\n",
        "export x\n",
        "\t",
        "'",
        "\"",
        "é ",
        "without persistence",
        "$",
    ];
    const LINES: [&str; 24] = [
        "label a\n",
        "label b\n",
        "LABEL linux\n",
        " kernel vmlinuz\n",
        " append initrd=i root=live:X rd.live.image\n",
        " append root=live:X rd.live.check\n",
        " append -\n",
        " menu label ^T\n",
        " menu default\n",
        "menu default",
        "menu begin ^Troubleshooting\n",
        "menu end\n",
        "menu separator\n",
        "text help\n",
        "endtext\n",
        "default a\n",
        "ui menu.c32\n",
        "default vesamenu.c32\n",
        "ontimeout b\n",
        "# c\n",
        "\n",
        "  \r\n",
        "include x\n",
        "say é\n",
    ];

    /// Lines that mean something and that no edit touches.
    fn others(name: &str, text: &str) -> Vec<String> {
        let touched = [
            "ontimeout",
            "linux",
            "append",
            "kernel",
            "default",
            "menuentry",
            "label",
            "set p=",
            "export p",
        ];
        // GRUB goes on behind a backslash at the end of a line, Syslinux does not.
        let joined = if name.contains("isolinux") {
            text.to_owned()
        } else {
            text.replace("\\\n", " ")
        };
        let kept = joined.lines().filter(|line| {
            let line = line.to_lowercase();
            !touched.iter().any(|word| line.contains(word))
        });
        // An entry may be put in front of a brace.
        kept.flat_map(|line| line.split('}'))
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    fn survives(name: &str, text: &str) -> Result<(), TestCaseError> {
        let Ok(edited) = edit(name, text, &arguments(), PLENTY) else {
            return Ok(());
        };
        let (before, after) = (others(name, text), others(name, &edited.text));
        let mut left = after.iter();
        for line in &before {
            prop_assert!(
                left.any(|other| other.starts_with(line)),
                "{:?} lost in\n{}",
                line,
                edited.text
            );
        }
        let again = edit(name, &edited.text, &arguments(), PLENTY);
        prop_assert!(again.is_ok(), "{:?}\n{}", again, edited.text);
        let tight = edit(name, text, &arguments(), Bytes(text.len() as u64));
        match tight {
            Ok(tight) => prop_assert!(tight.text.len() <= text.len()),
            Err(EditError::DoesNotFit { smallest, .. }) => {
                prop_assert!(smallest.len() <= edited.text.len());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn grub_survives(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
            survives("x.cfg", &pieces.concat())?;
            let _ = grub::stub_target(&pieces.concat());
        }

        #[test]
        fn isolinux_survives(pieces in prop::collection::vec(prop::sample::select(&LINES[..]), 0..40)) {
            survives("isolinux.cfg", &pieces.concat())?;
        }

        #[test]
        fn anything_survives(text in "\\PC*|[a-f=:$ {}'\"\n#\\\\]*") {
            survives("x.cfg", &text)?;
            survives("isolinux.cfg", &text)?;
        }

        #[test]
        fn real_ones_with_something_in_them_survive(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            piece in prop::sample::select(&PIECES[..]),
            cut in 0..8_usize,
        ) {
            let names = configurations();
            let name = &names[which.index(names.len())];
            let mut text = fixture(name);
            let start = at.index(text.len());
            let end = (start + cut).min(text.len());
            // What is put into a value of `default` goes with it, and the lines that it takes in.
            let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let behind = text[end..].find(|c| c != '\n').map_or(text.len(), |at| end + at);
            let first = &text[line..behind];
            prop_assume!(!first.contains("default"));
            text.replace_range(start..end, piece);
            prop_assume!(!text[line..].lines().take(2).any(|line| line.contains("default")));
            prop_assume!(!name.starts_with("variables"));
            survives(name, &text)?;
        }
    }
}
