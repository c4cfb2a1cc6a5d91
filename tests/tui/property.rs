// SPDX-License-Identifier: MIT OR Apache-2.0
//! No sequence of keys and events panics, and none starts a write, a repair or a probe without the typed word.

use std::path::PathBuf;
use std::time::Duration;

use livestick::event::{Event, Task as Purpose, Work};
use livestick::report::StickState;
use livestick::ui::tui::keys::Cmd;
use livestick::ui::tui::known::Compared;
use livestick::ui::tui::state::{Input, Screen};
use livestick::ui::tui::work::{Message, Task};
use livestick::units::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::made_up::{IMAGE, Way, digest, disks, entries, failure, image, plan, report};
use crate::screens::{COLOUR, drawn};

/// Something that happens.
#[derive(Clone, Debug)]
enum Act {
    Key(Cmd),
    /// Several keys, as somebody types who knows where to go.
    Keys(&'static str),
    Heard(Said),
    Time(u64),
}

/// What threads say; made when it is said, for events cannot be copied.
#[derive(Clone, Debug)]
enum Said {
    Places,
    Listed(bool),
    Inspected(bool),
    Disks(usize),
    NoDisks,
    Measured(Option<u64>),
    Planned(u64, bool),
    Begun,
    Started(usize),
    Progress(usize, u64, u64),
    Finished(usize),
    Note(String),
    Done,
    Failed,
    Saved(bool),
    Digest(u64),
    Asked,
    Looked,
}

fn message(said: &Said) -> Message {
    let plan = plan();
    match said {
        Said::Places => Message::Places(vec!["/home/ada/Downloads".into(), "/".into()]),
        Said::Listed(well) => Message::Listed {
            folder: "/home/ada/Downloads".into(),
            entries: if *well {
                Ok(entries())
            } else {
                Err("it is gone".into())
            },
        },
        Said::Inspected(well) => Message::Inspected {
            path: IMAGE.into(),
            facts: if *well {
                Ok(Box::new(image()))
            } else {
                Err("no image".into())
            },
        },
        Said::Disks(count) => Message::Disks(Ok(disks().into_iter().skip(4 - count).collect())),
        Said::NoDisks => Message::Disks(Err("/sys is not there".into())),
        Said::Measured(size) => Message::Measured {
            path: PathBuf::from("stick.img"),
            size: Ok(size.map(Bytes)),
        },
        Said::Planned(number, well) => Message::Planned {
            number: *number,
            plan: if *well {
                Ok(plan)
            } else {
                Err("refused".into())
            },
        },
        Said::Begun => {
            let steps = plan.steps();
            let total = steps.iter().map(|step| step.bytes).sum();
            Message::Job(Event::Planned { plan, steps, total })
        }
        Said::Started(step) => Message::Job(Event::Started { step: *step }),
        Said::Progress(step, done, total) => Message::Job(Event::Progress {
            step: *step,
            done: Bytes(*done),
            total: Bytes(*total),
        }),
        Said::Finished(step) => Message::Job(Event::Finished { step: *step }),
        Said::Note(text) => Message::Job(Event::Note { text: text.clone() }),
        Said::Done => Message::Job(Event::Done { report: report() }),
        Said::Failed => Message::Job(Event::Failed { failure: failure() }),
        Said::Digest(n) => digest(match n {
            0 => Compared::NotYet,
            1 => Compared::Equal,
            2 => Compared::Differs("it is another one".into()),
            3 => Compared::Failed("it cannot be read".into()),
            n => Compared::Going(*n),
        }),
        Said::Asked => Message::Asked {
            target: Box::new(plan.target),
            what: "write      this".into(),
        },
        Said::Looked => Message::Job(Event::Begun {
            task: Purpose::Repair,
            target: "/dev/sdb".into(),
            steps: plan.steps(),
            total: Bytes(7),
        }),
        Said::Saved(well) => Message::Saved(if *well {
            Ok("report.txt".into())
        } else {
            Err("it exists".into())
        }),
    }
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        Just(Said::Places),
        any::<bool>().prop_map(Said::Listed),
        any::<bool>().prop_map(Said::Inspected),
        (0_usize..=4).prop_map(Said::Disks),
        Just(Said::NoDisks),
        any::<Option<u64>>().prop_map(Said::Measured),
        (0_u64..6, any::<bool>()).prop_map(|(n, well)| Said::Planned(n, well)),
        Just(Said::Begun),
        (0_usize..9).prop_map(Said::Started),
        (0_usize..9, any::<u64>(), any::<u64>()).prop_map(|(s, d, t)| Said::Progress(s, d, t)),
        (0_usize..9).prop_map(Said::Finished),
        ".{0,80}".prop_map(Said::Note),
        Just(Said::Done),
        Just(Said::Failed),
        any::<bool>().prop_map(Said::Saved),
        (0_u64..200).prop_map(Said::Digest),
        Just(Said::Asked),
        Just(Said::Looked),
    ]
}

fn key() -> impl Strategy<Value = Cmd> {
    let cmds = vec![
        Cmd::Up,
        Cmd::Down,
        Cmd::Left,
        Cmd::Right,
        Cmd::FarLeft,
        Cmd::FarRight,
        Cmd::PageUp,
        Cmd::PageDown,
        Cmd::Home,
        Cmd::End,
        Cmd::Next,
        Cmd::Previous,
        Cmd::Enter,
        Cmd::Back,
        Cmd::Erase,
        Cmd::Delete,
        Cmd::Help,
        Cmd::Redraw,
        Cmd::Suspend,
        Cmd::Interrupt,
    ];
    prop_oneof![
        3 => select(cmds),
        2 => select("ultraULTRA sandiskyYnwsfxrvVpcx09?./\u{fc}\u{6f22}".chars().collect::<Vec<_>>()).prop_map(Cmd::Char),
        1 => any::<char>().prop_map(Cmd::Char),
    ]
}

/// Capital letters stand for keys and messages: Enter, Down, Clear, Planned, Question.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => key().prop_map(Act::Key),
        3 => select(vec!["DE", "EP", "E", "Cultra E", "ultr", "aE", "CultraE", "EultrE", "fstick.imgE", "y", "w", "Dv", "DrE", "Dp", "DV", "DxE", "DrEQCultraE", "DpQultraE"])
            .prop_map(Act::Keys),
        3 => said().prop_map(Act::Heard),
        1 => (0_u64..100_000).prop_map(Act::Time),
    ];
    prop::collection::vec(act, 0..80)
}

/// What was typed for the confirmation, kept apart from what the program thinks of it.
#[derive(Default)]
struct Witness {
    typed: String,
    writes: usize,
    /// Errands whose question was answered with yes.
    consents: usize,
}

impl Witness {
    fn take(&mut self, way: &mut Way, input: Input) {
        let cmd = match &input {
            Input::Cmd(cmd) => Some(*cmd),
            _ => None,
        };
        let asked = asks(way);
        let helped = way.state.help;
        if matches!(input, Input::Message(Message::Asked { .. })) && way.state.is_writing() {
            // Another question, of which nothing is answered.
            self.typed.clear();
        }
        let tasks = way.take(input);
        let writes = tasks.iter().filter(|task| matches!(task, Task::Write(..)));
        let writes = writes.count();
        if writes > 0 {
            self.writes += writes;
            assert!(
                asked && cmd == Some(Cmd::Enter),
                "a write came out of nothing"
            );
            let bare: String = self.typed.split_whitespace().collect();
            assert_eq!(bare.to_lowercase(), "ultra");
            assert!(matches!(way.state.screen, Screen::Writing(_)));
        }
        for task in &tasks {
            let Task::Consent(yes) = task else { continue };
            assert!(asked, "an answer without a question");
            if *yes {
                self.consents += 1;
                assert_eq!(cmd, Some(Cmd::Enter));
                let bare: String = self.typed.split_whitespace().collect();
                assert_eq!(bare.to_lowercase(), "ultra");
            }
        }
        if !asks(way) || !asked {
            self.typed.clear();
            return;
        }
        // While the keys are shown any key only takes them away.
        match cmd.filter(|_| !helped) {
            Some(Cmd::Char(c)) => self.typed.push(c),
            Some(Cmd::Erase) => drop(self.typed.pop()),
            Some(Cmd::Delete) => self.typed.clear(),
            _ => {}
        }
    }
}

fn asks(way: &Way) -> bool {
    match &way.state.screen {
        Screen::Review(review) => review.confirm.is_some(),
        Screen::Writing(job) => job.question.is_some(),
        _ => false,
    }
}

fn play(mut way: Way, acts: &[Act], sizes: &[(u16, u16)]) -> (usize, usize) {
    let mut witness = Witness::default();
    for (i, act) in acts.iter().enumerate() {
        match act {
            Act::Key(cmd) => witness.take(&mut way, Input::Cmd(*cmd)),
            Act::Keys(keys) => {
                for key in keys.chars() {
                    let input = match key {
                        'E' => Input::Cmd(Cmd::Enter),
                        'D' => Input::Cmd(Cmd::Down),
                        'C' => Input::Cmd(Cmd::Delete),
                        'Q' => Input::Message(message(&Said::Asked)),
                        'P' => Input::Message(Message::Planned {
                            number: way.state.planning.unwrap_or(0),
                            plan: Ok(plan()),
                        }),
                        c => Input::Cmd(Cmd::Char(c)),
                    };
                    witness.take(&mut way, input);
                }
            }
            Act::Heard(said) => witness.take(&mut way, Input::Message(message(said))),
            Act::Time(milliseconds) => way.wait(Duration::from_millis(*milliseconds)),
        }
        drawn(&way.state, COLOUR, sizes[i % sizes.len()]);
    }
    (witness.writes, witness.consents)
}

fn starts() -> impl Strategy<Value = fn() -> Way> {
    let starts: Vec<fn() -> Way> = vec![
        Way::new,
        Way::to_image,
        Way::to_sticks,
        Way::to_sizes,
        Way::to_review,
        Way::to_question,
        Way::to_writing,
        Way::to_report,
        Way::to_failure,
        Way::to_repair_question,
        Way::to_probe_question,
    ];
    select(starts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_nothing_is_written_without_the_word(
        start in starts(),
        acts in acts(),
        sizes in prop::collection::vec((1_u16..140, 1_u16..50), 1..5),
    ) {
        play(start(), &acts, &sizes);
    }

    #[test]
    fn every_key_of_a_terminal_is_a_command_or_nothing(code in any::<char>(), bits in any::<u8>(), f in any::<u8>()) {
        let modifiers = KeyModifiers::from_bits_truncate(bits);
        for code in [KeyCode::Char(code), KeyCode::F(f), KeyCode::Esc, KeyCode::Null, KeyCode::Left] {
            // A control character is never text: it would go into file names and onto the screen.
            if let Some(Cmd::Char(c)) = Cmd::of(KeyEvent::new(code, modifiers)) {
                prop_assert!(!c.is_control());
            }
        }
    }
}

#[test]
fn the_word_does_start_a_write() {
    // Were this not so, the property above would hold of a program that never writes.
    let (size, right) = ([(80, 24)], [Act::Keys("CultraE")]);
    assert_eq!(play(Way::to_question(), &right, &size), (1, 0));
    assert_eq!(
        play(Way::to_question(), &[Act::Keys("ULTRA E")], &size),
        (1, 0)
    );
    assert_eq!(
        play(Way::to_question(), &[Act::Keys(" ultra E")], &size),
        (1, 0)
    );
    for wrong in ["E", "ultrE", "sandiskE", "ultraaE", "yE", "yesE"] {
        assert_eq!(
            play(Way::to_question(), &[Act::Keys(wrong)], &size),
            (0, 0),
            "{wrong}"
        );
        for way in [Way::to_repair_question(), Way::to_probe_question()] {
            assert_eq!(play(way, &[Act::Keys(wrong)], &size), (0, 0), "{wrong}");
        }
    }
    for way in [Way::to_repair_question(), Way::to_probe_question()] {
        assert_eq!(play(way, &[Act::Keys("CultraE")], &size), (0, 1));
    }
    // A plan that was not asked for, or that comes too late, is not shown.
    let mut way = Way::to_sizes();
    way.hear(message(&Said::Planned(7, true)));
    assert!(matches!(way.state.screen, Screen::Persistence));
    way.press(Cmd::Enter);
    let number = way.state.planning.unwrap();
    way.press(Cmd::Right);
    way.hear(message(&Said::Planned(number, true)));
    assert!(matches!(way.state.screen, Screen::Persistence));
}

#[test]
fn a_disk_that_is_no_stick_by_its_looks_is_probed_when_it_was_named() {
    let mut way = Way::to_sticks();
    for _ in 0..3 {
        way.press(Cmd::Down);
    }
    assert!(way.press(Cmd::Char('p')).is_empty());
    way.write("4C530000");
    let tasks = way.press(Cmd::Enter);
    let Some(Task::Errand(errand)) = tasks.first() else {
        panic!("{tasks:?}")
    };
    assert_eq!(errand.allow.as_deref(), Some("4C530000"));
    assert_eq!(
        errand.command(),
        "sudo livestick probe /dev/sda --allow-disk 4C530000"
    );
}

#[test]
fn a_stick_that_is_pulled_out_is_no_longer_chosen() {
    let mut way = Way::to_sticks();
    way.press(Cmd::Down);
    assert_eq!(way.state.sticks.current().unwrap().disk.name, "sdb");
    // Another one in its place, under the same name, is another one.
    let mut other = disks();
    other[0].disk.diskseq = Some(17);
    other[0].disk.serial = Some("OTHER".into());
    way.hear(Message::Disks(Ok(other)));
    assert_eq!(way.state.sticks.cursor, None);
    assert!(
        way.state
            .notice
            .as_ref()
            .unwrap()
            .contains("was pulled out")
    );
    way.press(Cmd::Enter);
    assert!(matches!(way.state.screen, Screen::Stick));
}

#[test]
fn a_password_that_was_refused_leads_back_to_the_review() {
    let mut way = Way::to_question();
    way.write("ultra");
    way.press(Cmd::Enter);
    let mut refused = failure();
    refused.message = "sudo did not give the right to write".into();
    refused.state = StickState::Untouched;
    way.event(Event::Failed { failure: refused });
    assert!(matches!(way.state.screen, Screen::Review(_)));
    assert!(
        way.state
            .notice
            .as_ref()
            .unwrap()
            .contains("did not give the right")
    );
    assert!(!asks(&way));
}

#[test]
fn what_happened_is_told_without_being_asked() {
    let works = plan().steps().into_iter().map(|step| step.work);
    assert_eq!(works.collect::<Vec<_>>().last(), Some(&Work::FirstMib));
    let mut way = Way::to_writing();
    way.press(Cmd::Back);
    assert!(
        way.press(Cmd::Char('y'))
            .iter()
            .any(|task| matches!(task, Task::Cancel))
    );
    // A second time there is nothing more to stop.
    way.press(Cmd::Back);
    assert!(way.press(Cmd::Char('y')).is_empty());
    way.event(Event::Failed { failure: failure() });
    assert!(matches!(way.state.screen, Screen::Report(_)));
}
