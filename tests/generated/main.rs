// SPDX-License-Identifier: MIT OR Apache-2.0
//! Man pages and completions are made from the command line's parser and committed; this test fails when they are
//! stale. `UPDATE=1 cargo test --test generated` makes them again.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod completions;
mod shells;

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use livestick::cli::Cli;

/// Compares `text` with the committed file, or writes it.
fn committed(path: &str, text: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let known = fs::read(&path).unwrap_or_default();
    assert!(
        known == text,
        "{} is stale; run UPDATE=1 cargo test --test generated",
        path.display()
    );
}

#[test]
fn man_pages_say_what_the_parser_knows() {
    let command = Cli::command().version(env!("CARGO_PKG_VERSION"));
    let mut pages = vec![(command.clone(), "livestick".to_owned())];
    for sub in command.get_subcommands() {
        let name = format!("livestick-{}", sub.get_name());
        let bin = format!("livestick {}", sub.get_name());
        pages.push((
            sub.clone().version(env!("CARGO_PKG_VERSION")).bin_name(bin),
            name,
        ));
    }
    let old = livestick::livecd_iso_to_disk::command();
    pages.push((old, livestick::livecd_iso_to_disk::NAME.to_owned()));
    for (command, name) in pages {
        let ending = command
            .get_after_help()
            .map(|text| exit_status(&text.to_string()));
        let command = command
            .after_help("")
            .disable_help_subcommand(true)
            .subcommand_required(false);
        let shown: &'static str = Box::leak(name.clone().into_boxed_str());
        let page = clap_mangen::Man::new(command.name(shown))
            .source(format!("livestick {}", env!("CARGO_PKG_VERSION")))
            .manual("User Commands");
        let mut text = Vec::new();
        page.render_title(&mut text).unwrap();
        page.render_name_section(&mut text).unwrap();
        page.render_synopsis_section(&mut text).unwrap();
        page.render_description_section(&mut text).unwrap();
        page.render_options_section(&mut text).unwrap();
        if name == "livestick" {
            page.render_subcommands_section(&mut text).unwrap();
        }
        text.extend(ending.unwrap_or_default().into_bytes());
        if name == "livestick" {
            text.extend(include_bytes!("../../packaging/examples.roff"));
        }
        committed(&format!("man/{name}.1"), &text);
    }
}

/// The exit status of a help text's end, as a section whose lines stay lines.
fn exit_status(help: &str) -> String {
    let lines = help.lines().skip(1).map(|line| line.replace('-', "\\-"));
    let lines: Vec<String> = lines.collect();
    format!(".SH \"EXIT STATUS\"\n.nf\n{}\n.fi\n", lines.join("\n"))
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    let mut command = Cli::command();
    let mut all = vec![command.render_long_help().to_string()];
    for sub in command.get_subcommands_mut() {
        all.push(sub.clone().render_long_help().to_string());
    }
    for help in all {
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "too long: {line}");
        }
    }
}
