// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manual pages: synopsis and options from the parser, the rest from `man/prose`.

use std::fs;
use std::path::Path;
use std::process::Command as Process;

use clap::{Command, CommandFactory};
use livestick::cli::Cli;

use crate::committed;

/// Every command that has a page, with the page's name.
fn pages() -> Vec<(Command, String)> {
    let top = Cli::command().version(env!("CARGO_PKG_VERSION"));
    let mut pages = vec![(top.clone(), "livestick".to_owned())];
    for sub in top.get_subcommands() {
        let name = format!("livestick-{}", sub.get_name());
        let bin = format!("livestick {}", sub.get_name());
        pages.push((sub.clone().bin_name(bin), name));
    }
    let old = livestick::livecd_iso_to_disk::command().disable_version_flag(true);
    pages.push((old, livestick::livecd_iso_to_disk::NAME.to_owned()));
    pages
}

/// What is written for a page: what comes before the options, and what behind them.
fn prose(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("man/prose/{name}.roff"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .collect();
    let mut wanted = vec!["DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
    if name == "livestick" {
        // All of them are in the help of the program.
        wanted.remove(1);
    }
    assert_eq!(headings, wanted, "{name}");
    let second = text.match_indices(".SH ").nth(1).unwrap().0;
    let (before, behind) = text.split_at(second);
    (before.to_owned(), behind.to_owned())
}

#[test]
fn man_pages_say_what_the_parser_knows() {
    for (command, name) in pages() {
        let (before, behind) = prose(&name);
        let ending = command.get_after_help().map(ToString::to_string);
        let version = name == "livestick";
        let command = command
            .after_help("")
            .disable_help_subcommand(true)
            .disable_version_flag(!version)
            .subcommand_required(false);
        let shown: &'static str = Box::leak(name.clone().into_boxed_str());
        let page = clap_mangen::Man::new(command.name(shown))
            .source(format!("livestick {}", env!("CARGO_PKG_VERSION")))
            .manual("User Commands");
        let mut text = Vec::new();
        page.render_title(&mut text).unwrap();
        // No date; without its place the source would stand there.
        let title = String::from_utf8(text)
            .unwrap()
            .replace(" 1  \"", " 1 \"\" \"");
        let mut text = title.into_bytes();
        page.render_name_section(&mut text).unwrap();
        page.render_synopsis_section(&mut text).unwrap();
        text.extend(before.into_bytes());
        page.render_options_section(&mut text).unwrap();
        if name == "livestick" {
            page.render_subcommands_section(&mut text).unwrap();
            text.extend(exit_status(&ending.unwrap()).into_bytes());
        }
        text.extend(behind.into_bytes());
        committed(&format!("man/{name}.1"), &text);
    }
}

/// The exit status of a help text's end, as a section whose lines stay lines.
fn exit_status(help: &str) -> String {
    let lines = help.lines().skip(1).map(|line| line.replace('-', "\\-"));
    let lines: Vec<String> = lines.collect();
    format!(".SH \"EXIT STATUS\"\n.nf\n{}\n.fi\n", lines.join("\n"))
}

/// Nothing in a page makes the formatter complain, at the usual width.
#[test]
fn the_pages_are_rendered_without_a_warning() {
    let rendered = |program: &str, args: &[&str], page: &Path| {
        let mut command = Process::new(program);
        command.args(args).arg(page);
        let out = command
            .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "80")])
            .output()
            .unwrap();
        let warned = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && warned.is_empty(),
            "{program}, {}: {warned}",
            page.display()
        );
        String::from_utf8(out.stdout).unwrap()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.is_file()).collect();
    assert_eq!(
        files.len(),
        pages().len() + 1,
        "one for each command, and the record's"
    );
    for page in files {
        let said = rendered("man", &["--warnings", "-E", "UTF-8", "-l"], &page);
        for heading in ["NAME", "DESCRIPTION", "SEE ALSO"] {
            let there = said.lines().any(|line| line == heading);
            assert!(there, "{}: no {heading}", page.display());
        }
        rendered("groff", &["-t", "-man", "-Tutf8", "-ww", "-z"], &page);
    }
}

/// What a page sends its reader to is there.
#[test]
fn see_also_leads_somewhere() {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for (_, name) in pages() {
        let (_, behind) = prose(&name);
        let (_, also) = behind.split_once(".SH SEE ALSO\n").unwrap();
        for line in also.lines() {
            let line = line.strip_prefix(".BR ").unwrap().trim_end_matches(',');
            let (page, section) = line.split_once(" (").unwrap();
            let page = page.replace('\\', "");
            let section = section.trim_end_matches(')');
            if page.starts_with("live") {
                let file = man.join(format!("{page}.{section}"));
                assert!(file.is_file(), "{name}: {}", file.display());
            }
        }
    }
}
