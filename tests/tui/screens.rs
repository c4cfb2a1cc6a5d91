// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every screen looks like, at three sizes, in colour, without, and in ASCII. What is expected is in
//! `tests/golden/tui`; `LIVESTICK_GOLDEN=write` keeps what is drawn now.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use livestick::doctor::{About, Checkup, Finding};
use livestick::event::{Event, Task as Purpose};
use livestick::published::Published;
use livestick::report::{Exit, Failure, StickState};
use livestick::ui::tui::glyphs::{Look, Set};
use livestick::ui::tui::keys::Cmd;
use livestick::ui::tui::known::{Compared, Digest};
use livestick::ui::tui::screens::draw;
use livestick::ui::tui::state::State;
use livestick::ui::tui::work::{Message, Task};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Style};

use crate::made_up::{IMAGE, Way, digest, looked, probed};

pub const SIZES: [(u16, u16); 3] = [(60, 16), (80, 24), (120, 40)];

pub const COLOUR: Look = Look {
    set: Set::Rich,
    colour: true,
};
const NO_COLOUR: Look = Look {
    set: Set::Rich,
    colour: false,
};
const ASCII: Look = Look {
    set: Set::Ascii,
    colour: false,
};
const CONSOLE: Look = Look {
    set: Set::Console,
    colour: true,
};

/// What is drawn of a state.
pub fn drawn(state: &State, look: Look, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(state, look, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The characters of a screen, without blanks at the ends of lines.
pub fn characters(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut covered = 0;
        for x in 0..buffer.area.width {
            if covered > 0 {
                covered -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            covered = ratatui::text::Span::raw(symbol).width().saturating_sub(1);
            line += symbol;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The styles of a screen: for each row the stretches that are not plain.
fn styles(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut x = 0;
        let mut line = String::new();
        while x < buffer.area.width {
            let style = buffer[(x, y)].style();
            let from = x;
            while x < buffer.area.width && buffer[(x, y)].style() == style {
                x += 1;
            }
            if let Some(name) = name(style) {
                let _ = write!(line, " {from}-{}:{name}", x - 1);
            }
        }
        if !line.is_empty() {
            let _ = writeln!(text, "{y}{line}");
        }
    }
    text
}

fn name(style: Style) -> Option<String> {
    let mut words = Vec::new();
    for (colour, ground) in [(style.fg, "on-it"), (style.bg, "behind")] {
        if let Some(colour) = colour.filter(|colour| *colour != Color::Reset) {
            // The eight that every terminal with colours has.
            let word = format!("{colour:?}").to_lowercase();
            assert!(
                [
                    "red", "green", "yellow", "blue", "magenta", "cyan", "white", "black"
                ]
                .contains(&word.as_str()),
                "{word}"
            );
            words.push(if ground == "behind" {
                format!("on {word}")
            } else {
                word
            });
        }
    }
    if !style.add_modifier.is_empty() {
        words.push(
            format!("{:?}", style.add_modifier)
                .replace("Modifier(", "")
                .replace(')', ""),
        );
    }
    (!words.is_empty()).then(|| words.join(","))
}

/// Every screen by name, with what leads to it.
fn all() -> Vec<(&'static str, Way)> {
    let mut all = the_way();
    all.extend(besides());
    all
}

/// The screens of the way to a written stick.
fn the_way() -> Vec<(&'static str, Way)> {
    use Cmd::{Back, Char, Down, End, Enter, Help, Left, Next};
    let pressed = |mut way: Way, keys: &[Cmd]| {
        for key in keys {
            way.press(*key);
        }
        way
    };
    let typed = |mut way: Way, text: &str| {
        way.write(text);
        way
    };
    let stalled = {
        let mut way = Way::to_writing();
        way.event(Event::Note {
            text: "the kernel says that the stick does 1.5 Mbit/s only; try another port".into(),
        });
        way.wait(Duration::from_secs(42));
        way
    };
    let size = typed(pressed(Way::to_sizes(), &[Down]), "4Gi");
    let wrong = pressed(typed(Way::to_question(), "sandisk"), &[Enter]);
    let allow = pressed(Way::to_sticks(), &[Down, Down, Down, Enter]);
    let never = pressed(Way::to_sticks(), &[Down, Down, Down, Down, Enter]);
    vec![
        ("image", Way::to_image()),
        ("image-facts", pressed(Way::to_image(), &[Char(' ')])),
        ("image-filter", typed(Way::to_image(), "so")),
        ("image-empty", Way::new()),
        ("stick-nothing-chosen", Way::to_sticks()),
        ("stick", pressed(Way::to_sticks(), &[Down])),
        ("stick-mounted", pressed(Way::to_sticks(), &[Down, Down])),
        ("stick-never", never),
        ("stick-allow", allow),
        ("stick-file", pressed(Way::to_sticks(), &[Char('f')])),
        ("persistence", Way::to_sizes()),
        ("persistence-typed", size),
        (
            "persistence-sprout",
            pressed(Way::to_sizes(), &[Down, Down, Left]),
        ),
        ("persistence-help", pressed(Way::to_sizes(), &[Down, Help])),
        ("review", Way::to_review()),
        (
            "review-unfolded",
            pressed(Way::to_review(), &[Next, Char(' ')]),
        ),
        ("review-end", pressed(Way::to_review(), &[Char('a'), End])),
        ("review-question", Way::to_question()),
        ("review-wrong", wrong),
        ("writing", Way::to_writing()),
        ("writing-stalled", stalled),
        ("writing-asking", pressed(Way::to_writing(), &[Back])),
        ("report", Way::to_report()),
        ("report-saving", pressed(Way::to_report(), &[Char('s')])),
        ("report-failed", Way::to_failure()),
    ]
}

/// The screens of what is done besides writing, and of the published digest.
fn besides() -> Vec<(&'static str, Way)> {
    use Cmd::{Back, Char, Down, Help};
    let pressed = |mut way: Way, keys: &[Cmd]| {
        for key in keys {
            way.press(*key);
        }
        way
    };
    let heard = |mut way: Way, message| {
        way.hear(message);
        way
    };
    let ended = |key, report| {
        let mut way = Way::to_errand(&[Char(key)]).looking(Purpose::Verify);
        way.event(Event::Done { report });
        way
    };
    let denied = {
        let mut way = Way::to_errand(&[Char('v')]);
        let failure = Failure {
            exit: Exit::Denied,
            message:
                "this takes root for /dev/sdb; leave with q and run: sudo livestick verify /dev/sdb"
                    .into(),
            state: StickState::Untouched,
        };
        way.event(Event::Failed { failure });
        way
    };
    let differs = Compared::Differs(format!(
        "the image Fedora-SoaS-Live-42.iso does not match: its sha256 is {}, /home/ada/Downloads/Fedora-SoaS-42-CHECKSUM says {}; download it again",
        "ab".repeat(32),
        "5a".repeat(32)
    ));
    let unpublished = Message::Digest {
        path: IMAGE.into(),
        digest: Box::new(Digest::of(Ok(Published::NotFound { notes: Vec::new() }))),
    };
    let verifying = || Way::to_errand(&[Char('v')]).looking(Purpose::Verify);
    vec![
        (
            "image-comparing",
            heard(Way::to_image(), digest(Compared::Going(34))),
        ),
        ("image-differs", heard(Way::to_image(), digest(differs))),
        ("image-unpublished", heard(Way::to_image(), unpublished)),
        (
            "stick-no-probe",
            pressed(Way::to_sticks(), &[Down, Char('c')]),
        ),
        ("stick-help", pressed(Way::to_sticks(), &[Down, Down, Help])),
        (
            "stick-repair",
            pressed(Way::to_sticks(), &[Down, Char('r')]),
        ),
        (
            "stick-extract",
            pressed(Way::to_sticks(), &[Down, Char('x')]),
        ),
        ("stick-denied", denied),
        ("verifying", verifying()),
        ("verifying-asking", pressed(verifying(), &[Back])),
        ("repair-question", Way::to_repair_question()),
        ("probe-question", Way::to_probe_question()),
        (
            "report-verified",
            ended('v', looked(Purpose::Verify, false)),
        ),
        ("report-damaged", ended('v', looked(Purpose::Verify, true))),
        ("report-counterfeit", ended('p', probed())),
    ]
}

#[test]
fn every_screen_looks_as_it_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tui");
    let keep = env::var_os("LIVESTICK_GOLDEN").is_some_and(|value| value == "write");
    let mut stale = Vec::new();
    for (name, way) in all() {
        let mut text = String::new();
        for size in SIZES {
            let colour = drawn(&way.state, COLOUR, size);
            let none = drawn(&way.state, NO_COLOUR, size);
            let ascii = drawn(&way.state, ASCII, size);
            let (columns, rows) = size;
            let _ = writeln!(text, "==== {columns}x{rows}\n{}", characters(&colour));
            let _ = writeln!(text, "---- styles\n{}", styles(&colour));
            assert_eq!(characters(&none), characters(&colour));
            let _ = writeln!(text, "---- styles with NO_COLOR\n{}", styles(&none));
            let _ = writeln!(text, "---- in ASCII\n{}", characters(&ascii));
        }
        let path = folder.join(format!("{name}.txt"));
        if keep {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?} look different; LIVESTICK_GOLDEN=write keeps them as they are now"
    );
}

#[test]
fn no_terminal_gets_what_it_does_not_have() {
    for (name, way) in all() {
        for size in SIZES {
            let ascii = drawn(&way.state, ASCII, size);
            assert!(characters(&ascii).is_ascii(), "{name}");
            let plain = styles(&drawn(&way.state, NO_COLOUR, size));
            for colour in ["red", "green", "yellow", "blue", "magenta", "cyan", "white"] {
                assert!(!plain.contains(colour), "{name}: {colour}");
            }
            // The glyphs of the console's usual fonts: Latin-1 and the box and block characters of code page 437.
            let console = characters(&drawn(&way.state, CONSOLE, size));
            let strange = console.chars().find(|c| {
                !c.is_ascii()
                    && !matches!(c, '\u{a0}'..='\u{ff}')
                    && !"─│┌┐└┘├┤┬┴┼█▄▀░▒▓".contains(*c)
            });
            assert_eq!(strange, None, "{name}");
        }
    }
}

#[test]
fn a_file_name_does_not_command_the_terminal() {
    for (name, way) in all() {
        let buffer = drawn(&way.state, COLOUR, (120, 40));
        let text = buffer.content.iter().map(ratatui::buffer::Cell::symbol);
        let control = text.flat_map(str::chars).find(|c| c.is_control());
        assert_eq!(control, None, "{name}");
    }
}

#[test]
fn in_the_smallest_window_nothing_essential_is_cut() {
    let shows = |way: &Way, words: &[&str]| {
        let text = characters(&drawn(&way.state, ASCII, (60, 16)));
        for word in words {
            assert!(text.contains(word), "no {word:?} in\n{text}");
        }
    };
    for (name, way) in all() {
        shows(
            &way,
            if name.contains("help") {
                &["Keys:"]
            } else {
                &["keys"]
            },
        );
    }
    shows(
        &Way::to_image(),
        &["[1 Image]", "Fedora-SoaS", "dracut dmsquash-live", "1.2 GB"],
    );
    shows(
        &Way::to_sticks(),
        &["sdb", "SanDisk", "30.8 GB", "yes", "nvme0n1", "no: holds /"],
    );
    shows(
        &Way::to_sizes(),
        &["overlay", "/home", "image 1.1 GiB", "free", "takes about"],
    );
    shows(
        &Way::to_question(),
        &["ALL DATA ON IT WILL BE LOST", "HOLIDAY", "Type Ultra", "> "],
    );
    shows(
        &Way::to_writing(),
        &["%", "left", "4. write", "at work", "5. make the overlay"],
    );
    // Where not all steps have room, the one at work has.
    let mut way = Way::to_writing();
    for step in 4..9 {
        way.event(Event::Finished { step: step - 1 });
        way.event(Event::Started { step });
    }
    shows(&way, &["9. write and read back the first MiB", "at work"]);
    shows(
        &Way::to_repair_question(),
        &["Write this again?", "1 bit flipped", "Type Ultra", "> "],
    );
    shows(
        &Way::to_probe_question(),
        &["contents are as before", "Type Ultra"],
    );
    let mut other = Way::to_image();
    other.hear(digest(Compared::Differs("its sha256 is another".into())));
    shows(&other, &["the image has another one"]);
    let mut keys = Way::to_sticks();
    for key in [Cmd::Down, Cmd::Down, Cmd::Help] {
        keys.press(key);
    }
    // All of them, to the last.
    shows(&keys, &["compare it with its record", "Ctrl-C"]);
    shows(
        &Way::to_failure(),
        &[
            "No such device",
            "The stick is blank",
            "press w to write it",
        ],
    );
    shows(
        &Way::to_report(),
        &["verified: 1 152 319 488 bytes", "more lines below"],
    );
}

#[test]
fn a_window_that_is_too_small_says_so_and_nothing_panics_in_any() {
    for (name, way) in all() {
        for columns in (0..=130).step_by(9).chain([59, 60]) {
            for rows in (0..=45).step_by(4).chain([15, 16]) {
                let buffer = drawn(&way.state, COLOUR, (columns, rows));
                let small = columns < 60 || rows < 16;
                if columns >= 40 && rows >= 4 {
                    let told = characters(&buffer).contains("Please make it larger");
                    assert_eq!(told, small, "{name} at {columns} x {rows}");
                }
            }
        }
    }
}

#[test]
fn the_help_says_what_the_machine_lacks() {
    let finding = |what: &str, needed| Finding {
        what: what.into(),
        about: About::Program,
        there: false,
        needed,
        detail: None,
        cost: "no overlay and no /home on btrfs".into(),
        package: None,
    };
    let mut way = Way::to_image();
    assert!(matches!(way.press(Cmd::Help)[..], [Task::Examine]));
    let before = characters(&drawn(&way.state, ASCII, (80, 24)));
    assert!(!before.contains("Missing here"), "{before}");
    let mut checkup = Checkup {
        ready: false,
        findings: vec![finding("gpgv", false), finding("mkfs.btrfs", true)],
    };
    way.hear(Message::Examined(Box::new(checkup.clone())));
    let text = characters(&drawn(&way.state, ASCII, (80, 24)));
    for words in [
        "Missing here: mkfs.btrfs. Without it: no overlay and no /home",
        "Missing here, and not needed: gpgv",
        "`livestick doctor` tells",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    checkup.findings.clear();
    checkup.ready = true;
    way.hear(Message::Examined(Box::new(checkup)));
    let text = characters(&drawn(&way.state, ASCII, (80, 24)));
    assert!(text.contains("This machine has all that"), "{text}");
    // It was looked at once.
    way.press(Cmd::Back);
    assert!(way.press(Cmd::Help).is_empty());
}
