// SPDX-License-Identifier: MIT OR Apache-2.0
//! Verify, repair and extract by keys alone, in a real terminal; what came of it is judged by others. And that nobody
//! writes to a stick who was not told to.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use livestick::event::Event;
use livestick::host::Host;
use livestick::report::{Exit, StickState};
use livestick::ui::tui::errand::{Errand, What};
use livestick::ui::tui::known::{Compared, Digest};
use livestick::ui::tui::work::errands;
use livestick::ui::tui::work::{Message, Task, Work, Writer};
use tempfile::TempDir;

use crate::driven::{CLEAR, ESCAPE, lab};
use crate::support::device::Loop;
use crate::support::program::{command, output, run, text};
use crate::terminal::{Terminal, livestick};

/// The lab with a stick that the program wrote.
pub fn with_stick() -> TempDir {
    let dir = lab();
    let args = [
        "write",
        "live.iso",
        "stick.img",
        "--size",
        "256MiB",
        "--yes",
    ];
    let mut write = command(env!("CARGO_BIN_EXE_livestick"));
    let written = write.args(args).current_dir(dir.path()).output().unwrap();
    // 6 is for media that cannot be asked (a file in memory).
    let code = written.status.code().unwrap();
    assert!([0, 6].contains(&code), "{written:?}");
    dir
}

/// The same, on a loop device that stands in for a disk.
pub struct OnDisk {
    pub dir: TempDir,
    /// What is behind the device.
    pub stick: PathBuf,
    pub disk: Loop,
}

impl OnDisk {
    pub fn new() -> OnDisk {
        OnDisk::over(with_stick())
    }

    pub fn over(dir: TempDir) -> OnDisk {
        let stick = dir.path().join("stick.img");
        let disk = Loop::direct(&stick);
        OnDisk { dir, stick, disk }
    }

    pub fn node(&self) -> &str {
        text(&self.disk.node)
    }

    /// As the system names it, without a folder.
    pub fn name(&self) -> &str {
        self.disk.node.file_name().unwrap().to_str().unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.stick).unwrap()
    }
}

/// Flips a bit in the middle of the image.
pub fn flip(dir: &Path) {
    let size = fs::metadata(dir.join("live.iso")).unwrap().len();
    let stick = dir.join("stick.img");
    let mut byte = [0];
    let file = OpenOptions::new().read(true).write(true).open(stick);
    let file = file.unwrap();
    file.read_exact_at(&mut byte, size / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 4], size / 2).unwrap();
}

fn same(a: &Path, b: &Path) -> bool {
    output("cmp", &[text(a), text(b)]).status.success()
}

#[test]
fn keys_alone_verify_repair_and_extract_a_stick_image_file() {
    let dir = with_stick();
    let path = |name: &str| dir.path().join(name);
    let (stick, pristine) = (path("stick.img"), path("pristine.img"));
    fs::copy(&stick, &pristine).unwrap();
    let command = livestick(dir.path(), &["tui", "live.iso", "stick.img"]);
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.see("[2 Stick]");
    terminal.see("A stick image file");
    terminal.press(ESCAPE);
    terminal.see_no("One that exists is written over");
    // The last row, whatever disks come and go.
    terminal.press_and_see("\x1b[F", "▸ a stick image file");
    terminal.press_and_see("v", "[6 Report]");
    terminal.see("chain");
    terminal.see("5 Verify");
    assert!(same(&stick, &pristine));
    terminal.press_and_see("w", "[2 Stick]");
    // One bit in the image: named, and cured after the word, not before.
    flip(dir.path());
    terminal.press_and_see("v", "damage");
    terminal.press_and_see("w", "[2 Stick]");
    // What became of a chunk only the image tells.
    terminal.press_and_see("V", "1 bit flipped");
    terminal.press_and_see("w", "[2 Stick]");
    terminal.press_and_see("r", " Repair ");
    terminal.press_and_see("\r", "Type stick.img");
    terminal.press_and_see("yes\r", "is not 'stick.img'");
    terminal.press_and_see(ESCAPE, "[6 Report]");
    terminal.see("Nothing was written");
    assert!(!same(&stick, &pristine));
    terminal.press_and_see("w", "[2 Stick]");
    terminal.press_and_see("r", " Repair ");
    terminal.press_and_see("\r", "Type stick.img");
    terminal.press_and_see("stick.img\r", "cured");
    assert!(same(&stick, &pristine));
    terminal.press_and_see("w", "[2 Stick]");
    terminal.press_and_see("x", "Get the image back");
    terminal.press_and_see(&format!("{CLEAR}live.iso\r"), "exists");
    terminal.see("[2 Stick]");
    terminal.press_and_see("x", "Get the image back");
    terminal.press_and_see(&format!("{CLEAR}back.iso\r"), "The image is back");
    assert!(same(&path("live.iso"), &path("back.iso")));
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.was_given_back();
}

#[test]
fn without_a_yes_nothing_is_written() {
    let dir = with_stick();
    flip(dir.path());
    let before = run("sha256sum", &[text(&dir.path().join("stick.img"))]);
    let errand = Errand {
        what: What::Repair(dir.path().join("live.iso")),
        path: dir.path().join("stick.img"),
        description: "stick image file".into(),
        disk: false,
        unmount: false,
        allow: None,
    };
    let (mut asked, mut events) = (0, 0);
    let never = AtomicBool::new(false);
    let ended = errands::run(
        &errand,
        &Host::look(),
        &never,
        &mut |target, what| {
            asked += 1;
            assert_eq!(target.path.file_name().unwrap(), "stick.img");
            assert!(what.contains("write "), "{what}");
            false
        },
        &mut |event| {
            events += 1;
            assert!(!matches!(event, Event::Done { .. }));
        },
    );
    let failure = ended.unwrap_err();
    assert_eq!(
        (failure.exit, failure.state),
        (Exit::Cancelled, StickState::Untouched)
    );
    assert!(asked == 1 && events > 3);
    let after = run("sha256sum", &[text(&dir.path().join("stick.img"))]);
    assert_eq!(before, after);
    // Whoever leaves while a question waits has said no.
    let writer = Writer {
        asks: |_, _| false,
        write: |_, _, _, _, _| panic!("nothing is to be written"),
    };
    let (mut work, messages) = Work::start(writer, false);
    work.begin(Task::Errand(Box::new(errand)));
    while !matches!(messages.recv().unwrap(), Message::Asked { .. }) {}
    work.finish();
    let last = messages.try_iter().last();
    assert!(matches!(last, Some(Message::Job(Event::Failed { .. }))));
    let after = run("sha256sum", &[text(&dir.path().join("stick.img"))]);
    assert_eq!(before, after);
}

#[test]
fn whoever_may_not_is_told_what_to_run() {
    let mut host = Host::look();
    host.root = false;
    let dir = TempDir::new().unwrap();
    // Not there, so that nobody may open it, not even root.
    let path = dir.path().join("it's sdb");
    let errand = |what, unmount| Errand {
        what,
        path: path.clone(),
        description: String::new(),
        disk: true,
        unmount,
        allow: None,
    };
    for (errand, said) in [
        (errand(What::Verify(None), true), "livestick verify "),
        (errand(What::Probe { full: false }, false), "sdb'"),
        (errand(What::Probe { full: true }, false), "sdb' --full"),
        (errand(What::Repair("a b".into()), true), "'a b' --unmount"),
        (errand(What::Extract("c".into()), false), "sdb' c"),
    ] {
        let mut events = 0;
        let never = AtomicBool::new(false);
        let ended = errands::run(
            &errand,
            &host,
            &never,
            &mut |_, _| panic!("there is nothing to ask"),
            &mut |_| events += 1,
        );
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Denied);
        let message = failure.message;
        assert!(message.contains(said), "{message}");
        assert!(message.contains("it'\\''s sdb'"), "{message}");
        assert_eq!(events, 0);
    }
}

/// The last that is said of an image's digest before `done` says so.
fn digest(messages: &std::sync::mpsc::Receiver<Message>, done: impl Fn(&Digest) -> bool) -> Digest {
    loop {
        if let Message::Digest { digest, .. } = messages.recv().unwrap()
            && done(&digest)
        {
            return *digest;
        }
    }
}

#[test]
fn an_image_is_compared_with_the_list_beside_it() {
    let dir = lab();
    let image = dir.path().join("live.iso");
    let writer = Writer {
        asks: |_, _| false,
        write: |_, _, _, _, _| panic!("nothing is to be written"),
    };
    let (mut work, messages) = Work::start(writer, false);
    // Nothing beside it: nothing to compare with.
    work.begin(Task::Inspect(image.clone()));
    let found = digest(&messages, |_| true);
    assert_eq!(found.compared, Compared::Nothing);
    // sha256sum is the judge.
    let sum = |name: &str| {
        let out = command("sha256sum")
            .arg(name)
            .current_dir(dir.path())
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    let settled = |digest: &Digest| {
        !matches!(
            digest.compared,
            Compared::NotYet | Compared::Going(_) | Compared::Nothing
        )
    };
    let list = sum("live.iso");
    fs::write(dir.path().join("SHA256SUMS"), &list).unwrap();
    work.begin(Task::Compare(image.clone()));
    assert_eq!(digest(&messages, settled).compared, Compared::Equal);
    // Without being asked, after a while, and the image has changed.
    OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(fs::metadata(&image).unwrap().len() + 2048)
        .unwrap();
    work.begin(Task::Inspect(image));
    let differs = digest(&messages, settled).compared;
    let Compared::Differs(why) = &differs else {
        panic!("{differs:?}")
    };
    assert!(why.contains(list.split(' ').next().unwrap()), "{why}");
    assert!(why.contains(sum("live.iso").split(' ').next().unwrap()));
}
