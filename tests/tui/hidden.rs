// SPDX-License-Identifier: MIT OR Apache-2.0
//! The passphrase of an encrypted /home in the terminal interface: asked for where the plan needs it, typed twice, drawn
//! as stars, handed over with the plan, and nowhere else.

use livestick::plan::Plan;
use livestick::plan::encryption::Encryption;
use livestick::plan::layout::Purpose;
use livestick::ui::tui::amounts::{PLACES, Place};
use livestick::ui::tui::keys::Cmd;
use livestick::ui::tui::work::{Message, Task};
use uuid::Uuid;

use crate::made_up::{Way, plan};
use crate::screens::{COLOUR, SIZES, characters, drawn};

fn encrypted() -> Box<Plan> {
    let mut plan = plan();
    let home = plan.filesystems.iter_mut();
    let mut home = home.filter(|one| one.purpose == Purpose::Home);
    let uuid = Uuid::from_u128(7);
    home.next().unwrap().encryption = Some(Encryption { uuid });
    plan
}

fn to_review() -> Way {
    let mut way = Way::to_sizes();
    way.press(Cmd::Enter);
    let number = way.state.planning.unwrap();
    let plan = Ok(encrypted());
    way.hear(Message::Planned { number, plan });
    way
}

fn shown(way: &Way) -> String {
    let all = SIZES.map(|size| characters(&drawn(&way.state, COLOUR, size)));
    all.concat()
}

#[test]
fn the_toggle_reaches_the_request() {
    let mut way = Way::to_sizes();
    let at = PLACES.iter().position(|place| *place == Place::Encrypted);
    for _ in 0..at.unwrap() {
        way.press(Cmd::Down);
    }
    for wanted in [true, false, true] {
        way.press(Cmd::Right);
        let tasks = way.press(Cmd::Enter);
        let [Task::Plan { request, .. }] = tasks.as_slice() else {
            panic!("{tasks:?}")
        };
        assert_eq!(request.encrypt_home, wanted);
    }
    assert!(shown(&way).contains("encrypted"));
}

#[test]
fn a_passphrase_is_typed_twice_before_the_question() {
    let mut way = to_review();
    way.press(Cmd::Enter);
    way.write("Sesame");
    let first = shown(&way);
    assert!(first.contains("******") && !first.contains("Sesame"));
    // A question mark is a character, and no cry for help.
    way.press(Cmd::Char('?'));
    assert!(!way.state.help);
    way.press(Cmd::Erase);
    way.press(Cmd::Enter);
    assert!(shown(&way).contains("passphrase again"));
    way.write("sesame");
    way.press(Cmd::Enter);
    assert!(way.state.notice.as_ref().unwrap().contains("different"));
    for _ in 0..2 {
        way.write("Sesame");
        way.press(Cmd::Enter);
    }
    assert!(shown(&way).contains("press Enter"), "{}", shown(&way));
    assert!(!format!("{:?}", way.state).contains("Sesame"));
    way.write("ultra");
    let tasks = way.press(Cmd::Enter);
    assert!(!format!("{tasks:?}").contains("Sesame"));
    let [Task::Write(plan, Some(passphrase))] = tasks.as_slice() else {
        panic!("{tasks:?}")
    };
    assert_eq!(passphrase.bytes(), b"Sesame");
    assert_eq!(**plan, *encrypted());
}

#[test]
fn escape_forgets_what_was_typed() {
    let mut way = to_review();
    way.press(Cmd::Enter);
    way.write("Sesame");
    way.press(Cmd::Enter);
    way.press(Cmd::Back);
    assert!(!shown(&way).contains("The passphrase of /home"));
    way.press(Cmd::Enter);
    assert!(!shown(&way).contains("passphrase again"));
    let other = Way::to_question();
    assert!(!shown(&other).contains("passphrase of /home"));
}
