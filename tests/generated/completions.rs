// SPDX-License-Identifier: MIT OR Apache-2.0
//! Completions for bash, zsh and fish, made from the parser: what its value hints say of a word is what is offered.
//!
//! clap's own generator knows files, but neither images nor sticks, offers `<IMAGE>` itself as a word in bash, and makes
//! one program's completions of one parser; so the scripts are templates here, filled with the tables that the parser
//! gives.

use std::fmt::Write as _;

use clap::builder::ValueHint;
use clap::{Arg, ArgAction, Command, CommandFactory};
use livestick::cli::Cli;
use livestick::livecd_iso_to_disk;
use livestick::livecd_iso_to_disk::rows::{Fate, Row, Takes};

use crate::committed;

/// `livestick list`, made a list of the nodes of sticks: each stands at the start of a line, the verdict in the next.
const SED: &str = r"/^\//h; /^ *can be written$/{g;s/ .*//p;}; /^ *cannot be written: mounted at [^,]*\(, mounted at [^,]*\)*$/{g;s/ .*//p;}";

/// What is offered for a word.
enum Offer {
    /// Live images, and directories on the way to them.
    Images,
    /// Disks that can be written, stick image files, directories.
    Sticks,
    /// Every file.
    Files,
    /// These words.
    Words(Vec<String>),
    /// The names of commands, one of which follows.
    Commands,
    /// The same, where none follows.
    Topics,
    /// Nothing: a size, a text.
    Nothing,
}

impl Offer {
    /// By the value hints: a path is a stick, a file called IMAGE is one, and every other file is just that.
    fn of(arg: &Arg) -> Offer {
        let words = arg.get_possible_values();
        if !words.is_empty() {
            let names = words.iter().map(|word| word.get_name().to_owned());
            return Offer::Words(names.collect());
        }
        match arg.get_value_hint() {
            ValueHint::AnyPath => Offer::Sticks,
            ValueHint::FilePath if value(arg) == "IMAGE" => Offer::Images,
            ValueHint::FilePath => Offer::Files,
            _ => Offer::Nothing,
        }
    }

    fn bash(&self) -> String {
        match self {
            Offer::Images => "images".into(),
            Offer::Sticks => "sticks".into(),
            Offer::Files => "files".into(),
            Offer::Words(words) => words.join(","),
            Offer::Commands => "commands".into(),
            Offer::Topics => "topics".into(),
            Offer::Nothing => "none".into(),
        }
    }

    fn zsh(&self) -> String {
        match self {
            Offer::Images => "_livestick_images".into(),
            Offer::Sticks => "_livestick_sticks".into(),
            Offer::Files => "_files".into(),
            Offer::Words(words) => format!("({})", words.join(" ")),
            Offer::Commands | Offer::Topics => "_livestick_commands".into(),
            Offer::Nothing => " ".into(),
        }
    }

    fn fish(&self) -> String {
        match self {
            Offer::Images => "-x -a '(__livestick_files \"iso|img\")'".into(),
            Offer::Sticks => "-x -a '(__livestick_sticks)'".into(),
            Offer::Files => "-r -F".into(),
            Offer::Words(words) => format!("-x -a '{}'", words.join(" ")),
            Offer::Commands | Offer::Topics | Offer::Nothing => "-x".into(),
        }
    }
}

/// What a word is called: IMAGE.
fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let given = names.first().map(ToString::to_string);
    given.unwrap_or_else(|| arg.get_id().to_string().to_uppercase())
}

/// An option.
struct Choice {
    /// "-n", "--dry-run".
    words: Vec<String>,
    help: String,
    /// What stands behind it, and what that is called.
    takes: Option<(String, Offer)>,
    repeats: bool,
    /// Nothing else counts beside it.
    alone: bool,
}

/// A place for a word that is no option.
struct Place {
    called: String,
    offer: Offer,
}

/// A command with what it takes.
struct Spoken {
    name: String,
    about: String,
    choices: Vec<Choice>,
    places: Vec<Place>,
}

/// The first sentence of a help text, in a line.
fn line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let ends = ["; ", ": ", ". ", " [default"];
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())]
        .trim_end_matches('.')
        .to_owned()
}

impl Spoken {
    fn of(command: &Command) -> Spoken {
        let mut spoken = Spoken {
            name: command.get_name().to_owned(),
            about: line(&command.get_about().unwrap().to_string()),
            choices: Vec::new(),
            places: Vec::new(),
        };
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if arg.is_positional() {
                spoken.places.push(Place {
                    called: value(arg),
                    offer: Offer::of(arg),
                });
                continue;
            }
            let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
            let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
            // What a question mark stands for in a shell is not for here.
            let shorts = shorts.iter().filter(|short| **short != '?');
            let words = shorts.map(|short| format!("-{short}"));
            let takes = arg.get_action().takes_values();
            spoken.choices.push(Choice {
                words: words
                    .chain(longs.iter().map(|long| format!("--{long}")))
                    .collect(),
                help: line(&help),
                takes: takes.then(|| (value(arg), Offer::of(arg))),
                repeats: matches!(arg.get_action(), ArgAction::Append | ArgAction::Count),
                alone: matches!(arg.get_id().as_str(), "help" | "version"),
            });
        }
        for choice in &spoken.choices {
            // The scripts read clusters of letters as flags.
            assert!(
                choice.takes.is_none() || choice.words.iter().all(|word| word.starts_with("--"))
            );
        }
        spoken
    }

    /// The old command line: what is refused is not offered, and a word that may be left out is not waited for.
    fn classic() -> Spoken {
        let mut spoken = Spoken::of(&livecd_iso_to_disk::command());
        spoken.choices.retain_mut(|choice| {
            let word = choice.words.iter().find(|word| word.starts_with("--"));
            let row = Row::spelled(word.unwrap()).unwrap();
            choice.help = line(row.text);
            choice.alone = choice.words.contains(&"--help".to_owned());
            if let Takes::Perhaps(..) = row.takes {
                choice.takes = None;
            }
            row.fate != Fate::Refused
        });
        spoken
    }

    fn bash(&self) -> String {
        let mut words = Vec::new();
        for choice in &self.choices {
            let behind = choice.takes.as_ref();
            let behind = behind.map_or(String::new(), |(_, offer)| format!("={}", offer.bash()));
            words.extend(choice.words.iter().map(|word| format!("{word}{behind}")));
        }
        let places: Vec<String> = self.places.iter().map(|place| place.offer.bash()).collect();
        let (name, words, places) = (&self.name, words.join(" "), places.join(" "));
        format!("    {name}) options=({words}) places=({places}) ;;")
    }

    fn zsh_options(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for choice in &self.choices {
            let help = quoted(&choice.help);
            let behind = choice
                .takes
                .as_ref()
                .map_or(String::new(), |(called, offer)| {
                    format!(":{}:{}", quoted(called), offer.zsh())
                });
            let equals = if choice.takes.is_some() { "=" } else { "" };
            let words = choice.words.join(" ");
            let others = match (choice.alone, choice.repeats) {
                (true, _) => "(- *)".into(),
                (_, true) => "*".into(),
                _ => format!("({words})"),
            };
            for word in &choice.words {
                lines.push(format!("'{others}{word}{equals}[{help}]{behind}'"));
            }
        }
        lines
    }

    fn zsh(&self) -> String {
        let mut words = self.zsh_options();
        for place in &self.places {
            // Not "::" for what may be left out: the next place's would be offered along.
            words.push(format!(
                "':{}:{}'",
                quoted(&place.called),
                place.offer.zsh()
            ));
        }
        let words = words.join(" \\\n            ");
        format!(
            "    {})\n        _arguments -s -S \\\n            {words}\n        ;;",
            self.name
        )
    }

    fn fish(&self, programs: &str) -> String {
        let mut lines = String::new();
        let name = &self.name;
        for choice in &self.choices {
            let mut line = format!("complete {programs} -n '__livestick_at {name}'");
            for word in &choice.words {
                let _ = match word.strip_prefix("--") {
                    Some(long) => write!(line, " -l {long}"),
                    None => write!(line, " -s {}", &word[1..]),
                };
            }
            if let Some((_, offer)) = &choice.takes {
                let _ = write!(line, " {}", offer.fish());
            }
            let help = choice.help.replace('\'', "\\'");
            let _ = writeln!(lines, "{} -d '{help}'", line.trim_end());
        }
        for (number, place) in self.places.iter().enumerate() {
            let offer = place.offer.fish();
            if !offer.is_empty() {
                let _ = writeln!(
                    lines,
                    "complete {programs} -n '__livestick_at {name} {number}' {offer}"
                );
            }
        }
        lines
    }
}

/// Words in single quotes and square brackets of `_arguments`.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '[' | ']' | ':' | '\\' => out.extend(['\\', c]),
            '\'' => out.push_str("'\\''"),
            _ => out.push(c),
        }
    }
    out
}

/// livestick itself, its subcommands, and the old command line under its own name.
fn all() -> (Spoken, Vec<Spoken>) {
    let mut command = Cli::command();
    command.build();
    let mut top = Spoken::of(&command);
    let commands = |offer| Place {
        called: "COMMAND".into(),
        offer,
    };
    top.places.push(commands(Offer::Commands));
    let subcommands = command.get_subcommands().map(|sub| match sub.get_name() {
        livecd_iso_to_disk::NAME => Spoken::classic(),
        "help" => Spoken {
            choices: Vec::new(),
            places: vec![commands(Offer::Topics)],
            ..Spoken::of(sub)
        },
        _ => Spoken::of(sub),
    });
    (top, subcommands.collect())
}

#[test]
fn completions_know_what_the_parser_knows() {
    let (top, subcommands) = all();
    let names: Vec<&str> = subcommands.iter().map(|sub| sub.name.as_str()).collect();
    let names = names.join(" ");

    let mut commands = vec![top.bash()];
    commands.extend(subcommands.iter().map(Spoken::bash));
    let script = include_str!("templates/livestick.bash")
        .replace("@COMMANDS@", &commands.join("\n"))
        .replace("@NAMES@", &names)
        .replace("@SED@", SED);
    committed("completions/livestick.bash", script.as_bytes());

    let commands: Vec<String> = subcommands.iter().map(Spoken::zsh).collect();
    let described: Vec<String> = subcommands
        .iter()
        .map(|sub| format!("        '{}:{}'", sub.name, quoted(&sub.about)))
        .collect();
    let options: Vec<String> = top
        .zsh_options()
        .iter()
        .map(|option| format!("        {option} \\"))
        .collect();
    let script = include_str!("templates/_livestick")
        .replace("@COMMANDS@", &commands.join("\n"))
        .replace("@NAMES@", &described.join("\n"))
        .replace("@OPTIONS@", &options.join("\n"))
        .replace("@SED@", SED);
    committed("completions/_livestick", script.as_bytes());

    let mut valued: Vec<&str> = Vec::new();
    let mut commands = top.fish("-c livestick");
    for sub in &subcommands {
        for choice in sub.choices.iter().filter(|choice| choice.takes.is_some()) {
            valued.extend(choice.words.iter().map(String::as_str));
        }
        let about = sub.about.replace('\'', "\\'");
        for at in ["livestick 0", "help 0"] {
            let name = &sub.name;
            let _ = writeln!(
                commands,
                "complete -c livestick -n '__livestick_at {at}' -a {name} -d '{about}'"
            );
        }
        commands.push_str(&sub.fish(match sub.name.as_str() {
            livecd_iso_to_disk::NAME => "-c livestick -c livecd-iso-to-disk",
            _ => "-c livestick",
        }));
    }
    valued.sort_unstable();
    valued.dedup();
    let script = include_str!("templates/livestick.fish")
        .replace("@COMMANDS@", commands.trim_end())
        .replace("@VALUED@", &valued.join(" "))
        .replace("@NAMES@", &names)
        .replace("@SED@", &SED.replace('\\', "\\\\"));
    committed("completions/livestick.fish", script.as_bytes());
}
