// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that is killed, and one that nobody listens to.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Signal, kill_process};

use crate::stopped::{AtWork, NO_LOOPS};
use crate::support::bench::{Bench, finish, livestick, peek, sha256};
use crate::support::lab::iso;
use crate::support::program::{command, root, text};
use crate::{judge_complete, no_table};

/// A small generator (Knuth, TAOCP 2, 3.3.4): the delays are the same in every run with the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn kill_rounds(rounds: u32, seed: u64, loops: bool) {
    let image = iso("grub2", &[]);
    let more = [
        "--overlay-size",
        "128MiB",
        "--home-size",
        "16MiB",
        "--home-fs",
        "ext4",
    ];
    let hide = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        NO_LOOPS,
        "sh",
    ];
    let wrap = if loops { &[][..] } else { &hide };
    let start = |bench: &mut Bench| {
        let backing = bench.used("stick.img", 200);
        let target = if loops {
            bench.attach(&backing, &[])
        } else {
            backing.clone()
        };
        let args = [
            "write",
            text(&image),
            text(&target),
            "-y",
            "--allow-disk",
            text(&target),
        ];
        let before = sha256(&backing, None);
        let at_work = AtWork::start(bench, &[&args[..], &more].concat(), wrap);
        (backing, target, before, at_work)
    };
    let mut bench = Bench::new();
    let (backing, _, _, mut at_work) = start(&mut bench);
    let began = Instant::now();
    let (last, code) = at_work.end();
    assert_eq!(code, Some(0), "{last}");
    judge_complete(&backing);
    let whole = u64::try_from(began.elapsed().as_micros()).unwrap();
    println!("seed {seed}, a whole write takes {whole} us");
    let mut dice = Dice(seed);
    let mut seen = [0; 3];
    for round in 0..rounds {
        let mut bench = Bench::new();
        let (backing, target, before, mut at_work) = start(&mut bench);
        // Spread over the whole time, and a little beyond.
        let share = whole * 11 / 10 / u64::from(rounds);
        let delay = share * u64::from(round) + dice.below(share.max(1));
        // Somebody reads what it says: a full pipe would stop it.
        let mut stdout = at_work.child.stdout.take().unwrap();
        let reader = thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        sleep(Duration::from_micros(delay));
        let _ = kill_process(at_work.pid(), Signal::KILL);
        at_work.child.wait().unwrap();
        reader.join().unwrap().unwrap();
        at_work.leaves_nothing(&bench, &target, true);
        let head = peek(&target, 0, 512);
        let state = if head[0] == 0x5A {
            assert_eq!(
                sha256(&backing, None),
                before,
                "round {round}: changed, but not begun"
            );
            0
        } else if head == [0; 512] {
            no_table(&target);
            1
        } else {
            judge_complete(&backing);
            2
        };
        seen[state] += 1;
        // Whatever it is, it can be written again at once.
        if round % 4 == 0 {
            let args = [
                "write",
                text(&image),
                text(&target),
                "-y",
                "--allow-disk",
                text(&target),
            ];
            let wrapped = [wrap, &[env!("CARGO_BIN_EXE_livestick")], &args, &more].concat();
            let mut command = command(wrapped[0]);
            command.args(&wrapped[1..]);
            let outcome = finish(command);
            assert_eq!(outcome.code, Some(0), "round {round}: {outcome:?}");
        }
    }
    println!("old {}, blank {}, complete {}", seen[0], seen[1], seen[2]);
    assert!(seen[1] > 0, "never killed in the middle: {seen:?}");
}

#[test]
fn a_kill_at_any_moment_leaves_a_disk_old_blank_or_complete() {
    if !root() {
        return;
    }
    kill_rounds(12, 20_260_917, true);
}

#[test]
fn a_kill_at_any_moment_leaves_a_stick_image_old_blank_or_complete() {
    if !root() {
        return;
    }
    kill_rounds(6, 42, false);
}

#[test]
fn a_write_goes_on_when_nobody_reads_its_words() {
    let image = iso("grub2", &[]);
    for json in [&[][..], &["--json"]] {
        let bench = Bench::new();
        let target = bench.used("stick.img", 64);
        let mut command = livestick(&["write", text(&image), text(&target), "-y"]);
        let mut child = command
            .args(json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let size = fs::metadata(&image).unwrap().len();
        assert_eq!(sha256(&target, Some(size)), sha256(&image, None));

        let target = bench.used("other.img", 64);
        let script = format!(
            "{{ {} write {} {} -y {}; echo $? >{}; }} | head -1",
            env!("CARGO_BIN_EXE_livestick"),
            text(&image),
            text(&target),
            json.join(" "),
            text(&bench.path("status"))
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        assert_eq!(finish(shell).code, Some(0));
        assert_eq!(fs::read_to_string(bench.path("status")).unwrap(), "0\n");
        assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
    }
    // Descriptors that are closed from the start.
    let bench = Bench::new();
    let target = bench.used("stick.img", 64);
    let mut shell = Command::new("sh");
    let words = format!(
        "{} write {} {} -y >&- 2>&-",
        env!("CARGO_BIN_EXE_livestick"),
        text(&image),
        text(&target)
    );
    shell.args(["-c", &words]);
    assert_eq!(finish(shell).code, Some(0));
    let size = fs::metadata(&image).unwrap().len();
    assert_eq!(sha256(&target, Some(size)), sha256(&image, None));
}
