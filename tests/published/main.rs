// SPDX-License-Identifier: MIT OR Apache-2.0
//! Published digests, from outside: lists made by coreutils, keys and signatures made by gpg, and the program itself,
//! which has to say what each is worth, and to write nothing where one is wrong.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod lists;
mod signatures;
mod signer;
#[path = "../support/mod.rs"]
mod support;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use support::bench::{Bench, Outcome, Print, ask, poke, sha256};
use support::lab::iso;
use support::program::{run, text};

/// A directory with an image in it, and what shall lie beside that.
struct Download {
    bench: Bench,
    image: PathBuf,
}

impl Download {
    fn new() -> Download {
        Download::named("live.iso")
    }

    fn named(name: &str) -> Download {
        let bench = Bench::new();
        let image = bench.path(name);
        fs::create_dir_all(image.parent().unwrap()).unwrap();
        fs::hard_link(iso("grub2", &[]), &image).unwrap();
        Download { bench, image }
    }

    fn dir(&self) -> &Path {
        self.image.parent().unwrap()
    }

    fn name(&self) -> &str {
        text(Path::new(self.image.file_name().unwrap()))
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// What a program of coreutils writes about the image.
    fn list(&self, tool: &str, options: &[&str]) -> String {
        let output = Command::new(tool)
            .args(options)
            .args(["--", self.name()])
            .current_dir(self.dir())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The digest of the image, by coreutils; of another file it would be what [`wrong`] gives.
    fn sum(&self, tool: &str) -> String {
        let list = self.list(tool, &["--tag"]);
        list.trim_end().rsplit(' ').next().unwrap().to_owned()
    }

    fn inspect(&self, more: &[&str]) -> Outcome {
        ask(&[&["inspect", text(&self.image)], more].concat())
    }

    /// What `inspect --json` says of what was published, which has to succeed.
    fn published(&self, more: &[&str]) -> Value {
        let outcome = self.inspect(&[&["--json"], more].concat());
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let mut events = outcome.events();
        assert_eq!(events.len(), 1);
        let found = &events[0];
        let equal = match found["published"]["state"].as_str().unwrap() {
            "listed" | "given" => "equal",
            _ => "not-compared",
        };
        assert_eq!(found["comparison"]["result"], equal, "{outcome:?}");
        events[0]["published"].take()
    }

    /// `inspect`, a dry run and `write` stop with this status and all of these words; nothing is written.
    fn stops(&self, exit: i32, more: &[&str], words: &[&str]) {
        let target = self.bench.path("stick.img");
        fs::write(&target, vec![7; 64 << 20]).unwrap();
        let before = Print::of(&target);
        let write = ["write", text(&self.image), text(&target), "--yes"];
        let inspect = ["inspect", text(&self.image)];
        for args in [&inspect[..], &[&write[..], &["--dry-run"]].concat(), &write] {
            let dry = args.contains(&"--dry-run");
            let outcome = ask(&[args, more].concat());
            assert_eq!(outcome.code, Some(exit), "{args:?} {outcome:?}");
            assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
            for word in words {
                assert!(outcome.err.contains(word), "no {word:?} in {}", outcome.err);
            }
            assert!(!dry || outcome.out.is_empty(), "{outcome:?}");
            let json = ask(&[args, more, &["--json"]].concat());
            assert_eq!(json.code, Some(exit), "{args:?} {json:?}");
            let failed = json.events().pop().unwrap();
            assert_eq!(failed["failure"]["state"], "untouched", "{failed}");
        }
        assert_eq!(Print::of(&target), before);
    }

    /// The image is another one: `inspect` says so, a dry run cannot know, and `write` stops; nothing is written.
    fn differs(&self, more: &[&str], words: &[&str]) {
        let target = self.bench.path("stick.img");
        fs::write(&target, vec![7; 64 << 20]).unwrap();
        let before = Print::of(&target);
        let write = ["write", text(&self.image), text(&target), "--yes"];
        let inspect = ["inspect", text(&self.image)];
        for args in [&inspect[..], &write] {
            let outcome = ask(&[args, more].concat());
            assert_eq!(outcome.code, Some(4), "{args:?} {outcome:?}");
            assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
            for word in words {
                assert!(outcome.err.contains(word), "no {word:?} in {}", outcome.err);
            }
        }
        let dry = ask(&[&write[..], more, &["--dry-run"]].concat());
        assert_eq!(dry.code, Some(0), "{dry:?}");
        assert!(dry.out.contains("compare the image"), "{dry:?}");
        let inspected = ask(&[&inspect[..], more, &["--json"]].concat());
        assert_eq!(inspected.code, Some(4));
        let events = inspected.events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["comparison"]["result"], "differs");
        let written = ask(&[&write[..], more, &["--json"]].concat());
        assert_eq!(written.code, Some(4));
        let failed = written.events().pop().unwrap();
        assert_eq!(failed["failure"]["exit"], "damaged");
        assert_eq!(failed["failure"]["state"], "untouched", "{failed}");
        assert_eq!(Print::of(&target), before);
    }
}

/// A digest of something else.
fn wrong(sum: &str) -> String {
    let digit = |c: char| if c == '0' { '1' } else { '0' };
    sum.chars()
        .enumerate()
        .map(|(i, c)| if i == 5 { digit(c) } else { c })
        .collect()
}
