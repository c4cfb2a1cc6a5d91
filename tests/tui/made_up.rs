// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the threads of the interface could have found out, made up: an image, some disks, a plan, a report.
//!
//! `tests/fixtures/tui` holds what `inspect`, and `write --dry-run --json --seed demo --overlay-size-mb 7052 --home-size
//! rest` (what the third preset asks for) on a file of 30 752 000 000 bytes, said of `small-iso kiwi … --label
//! Fedora-SoaS-Live-42 --title "Fedora-SoaS-Live 42" --size 1100`, with the bytes behind the image cut short.
//!
//! The screens of the README are of one stick that is written once: what one of them says, no other contradicts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use livestick::capacity::places::Probe;
use livestick::capacity::{Capacity, Finding};
use livestick::chain::{Holds, Link};
use livestick::diagnosis::{self as damage, Again, Cause, Cure, Damage};
use livestick::disk::bus::Bus;
use livestick::disk::direct::Kind;
use livestick::disk::standing::{Reason, Standing};
use livestick::disk::{DevNumber, Disk, Identity};
use livestick::event::{Event, Step, Task as Purpose, Work};
use livestick::plan::Plan;
use livestick::published::signature::Signature;
use livestick::published::{Algorithm, Published, Sum};
use livestick::report::{Exit, Failure, Made, ReadBack, Report, StickState, Verdict};
use livestick::request::FsKind;
use livestick::table::Table;
use livestick::ui::json;
use livestick::ui::tui::keys::Cmd;
use livestick::ui::tui::known::{Compared, Digest, Entry, ImageFacts, Memory, Seed, Seen, pairs};
use livestick::ui::tui::state::{Input, State};
use livestick::ui::tui::work::{Message, Task};
use livestick::units::{Bytes, Extent};

pub const IMAGE: &str = "/home/ada/Downloads/Fedora-SoaS-Live-42.iso";
const SIZE: u64 = 1_152_319_488;
const STICK: u64 = 30_752_000_000;

pub fn entries() -> Vec<Entry> {
    let file = |name: &str, size| Entry {
        name: name.into(),
        path: PathBuf::from("/home/ada/Downloads").join(name),
        folder: false,
        size: Bytes(size),
    };
    let folder = Entry {
        folder: true,
        ..file("Manuals", 0)
    };
    vec![
        file("debian-live-13-amd64-xfce.iso", 3_338_666_000),
        file("Fedora-SoaS-Live-42.iso", SIZE),
        file("Notes \u{fc}ber \u{6f22}\u{5b57}\n.txt", 12),
        folder,
    ]
}

/// An MBR with one partition, as old hybrid images have it.
fn table() -> Table {
    let mut head = vec![0; 4096];
    head[0] = 0xFA;
    head[440..444].copy_from_slice(&[1, 2, 3, 4]);
    head[446] = 0x80;
    head[450] = 0x17;
    let sectors = u32::try_from(SIZE / 512).unwrap();
    head[458..462].copy_from_slice(&sectors.to_le_bytes());
    head[510..512].copy_from_slice(&[0x55, 0xAA]);
    Table::read(&head).unwrap()
}

pub fn image() -> ImageFacts {
    ImageFacts {
        path: IMAGE.into(),
        name: "Fedora-SoaS-Live-42.iso".into(),
        size: Bytes(SIZE),
        label: "Fedora-SoaS-Live-42".into(),
        table: table(),
        memory: Memory::Possible(vec![FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs]),
        seed: Ok(Seed::Made(Bytes(1 << 30))),
        lines: pairs(include_str!("../fixtures/tui/inspect.txt")),
    }
}

fn disk(name: &str, minor: u32, size: u64, model: &str, bus: Bus) -> Disk {
    let (vendor, model) = model.split_once(' ').unwrap();
    Disk {
        name: name.into(),
        path: format!("/dev/{name}").into(),
        dev: DevNumber { major: 8, minor },
        size: Bytes(size),
        logical_sector: Bytes(512),
        physical_sector: Bytes(512),
        read_only: false,
        removable: Some(bus == Bus::Usb),
        optical: false,
        vendor: Some(vendor.into()),
        model: Some(model.into()),
        serial: Some(format!("4C53000{minor}")),
        bus,
        diskseq: Some(minor.into()),
        partitions: Vec::new(),
        uses: Vec::new(),
        backing: None,
    }
}

pub fn stick() -> Seen {
    Seen {
        disk: disk("sdb", 16, STICK, "SanDisk Ultra Fit", Bus::Usb),
        standing: Standing::Stick,
        now: Ok(vec!["sdb1: vfat, 'HOLIDAY', 28.6 GiB".into()]),
    }
}

pub fn disks() -> Vec<Seen> {
    vec![
        stick(),
        Seen {
            disk: disk(
                "sdc",
                32,
                8_004_304_896,
                "Kingston DataTraveler 2.0",
                Bus::Usb,
            ),
            standing: Standing::Never(vec![Reason::Mounted {
                point: "/run/media/ada/SCHOOL".into(),
            }]),
            now: Ok(vec!["sdc1: ext4, 'SCHOOL', 7.5 GiB".into()]),
        },
        Seen {
            disk: disk("sda", 0, 500_107_862_016, "WDC WD5000LPVX", Bus::Ata),
            standing: Standing::NeedsAllow(Reason::NotPluggable { bus: Bus::Ata }),
            now: Err("permission denied".into()),
        },
        Seen {
            disk: disk("nvme0n1", 7, 512_110_190_592, "Samsung SSD 970", Bus::Nvme),
            standing: Standing::Never(vec![Reason::Holds { point: "/".into() }]),
            now: Ok(Vec::new()),
        },
    ]
}

/// A plan for that stick, whose word is its model's: "Ultra".
pub fn plan() -> Box<Plan> {
    let text = include_str!("../fixtures/tui/plan.json");
    let mut plan: Plan = json::parse(text.as_bytes()).unwrap();
    plan.target.path = "/dev/sdb".into();
    plan.target.description = "SanDisk Ultra Fit, 30.8 GB (28.6 GiB), serial 4C5300016".into();
    plan.target.kind = Kind::Disk;
    plan.target.now = vec!["sdb1: vfat, 'HOLIDAY', 28.6 GiB".into()];
    plan.target.identity = Some(Identity {
        dev: DevNumber {
            major: 8,
            minor: 16,
        },
        inode: None,
        size: plan.target.size,
        model: Some("Ultra Fit".into()),
        serial: Some("4C5300016".into()),
        diskseq: Some(16),
    });
    // What a file has not: it is probed, and what was published lies beside the image.
    plan.image.published = published();
    plan.probe = Probe::of(plan.target.size);
    Box::new(plan)
}

pub fn report() -> Box<Report> {
    let plan = plan();
    let made = plan.filesystems.iter().map(|filesystem| Made {
        purpose: filesystem.purpose.to_string(),
        size: filesystem.extent.len,
        filesystem: filesystem.describe(),
        uuid: filesystem.uuid.to_string(),
        checked_by: "btrfs check".into(),
    });
    let mut report = Report::new(
        Purpose::Write,
        format!("/dev/sdb   {}", plan.target.description),
    );
    report.exit = Exit::Verified;
    report.state = StickState::Complete;
    report.image = Some(plan.image.name.clone());
    report.image_size = Some(plan.image.size);
    report.sha256 = Some("5a".repeat(32));
    report.published = Some(plan.image.published.clone());
    report.read_back = Some(ReadBack {
        bytes: plan.image.size,
        verdict: Verdict::Verified {
            proof: "direct reads; the kernel fetched 1 152 319 488 bytes from the device".into(),
        },
        tree: "90ab".repeat(16),
        restored: "5a".repeat(32),
        ranges: plan.patches.len(),
        changed: plan.changed(),
        reasons: plan.reasons(),
    });
    report.capacity = Some(Capacity {
        claimed: Bytes(STICK),
        finding: Finding::Genuine,
        full: false,
        blank: false,
        marks: plan.probe.as_ref().unwrap().places.len(),
        read: plan.probe.as_ref().unwrap().search.len,
        verdict: Verdict::Verified {
            proof: "direct reads".into(),
        },
        lost: Vec::new(),
        left: Vec::new(),
    });
    report.made = made.collect();
    report.boot = vec![
        "BIOS and UEFI: persistent by default".into(),
        "'Start Fedora-SoaS-Live 42 without persistence' is in the menu".into(),
    ];
    report.notes = vec!["the stick can be pulled out now".into()];
    report.seconds = 321.0;
    Box::new(report)
}

/// What was published of the image.
fn published() -> Published {
    Published::Listed {
        sums: vec![Sum {
            algorithm: Algorithm::Sha256,
            value: vec![0x5a; 32],
        }],
        file: "/home/ada/Downloads/Fedora-SoaS-42-CHECKSUM".into(),
        signature: Signature::Good {
            key: "B0F4950458F69E1150C6C5EDC8AC4916105EF944".into(),
            owner: "Fedora (42) <fedora-42-primary@fedoraproject.org>".into(),
        },
    }
}

/// The same, and how far it was compared.
pub fn digest(compared: Compared) -> Message {
    Message::Digest {
        path: IMAGE.into(),
        digest: Box::new(Digest {
            published: Ok(published()),
            compared,
        }),
    }
}

/// What a look at the stick could have found: a flipped bit, or nothing.
pub fn looked(task: Purpose, damaged: bool) -> Box<Report> {
    let words = format!("/dev/sdb   {}", plan().target.description);
    let mut report = Report::new(task, words);
    let link = |name: &str, holds, result: &str, how: &str| Link {
        name: name.into(),
        holds,
        result: result.into(),
        how: how.into(),
    };
    let how = "direct reads; the kernel fetched 1 152 319 488 bytes from the device";
    let (holds, result) = if damaged {
        (Holds::Broken, "1 of 1 099 chunks is not as it was written")
    } else {
        (
            Holds::Proven,
            "identical to the image except 11 ranges, 2 876 bytes",
        )
    };
    report.links = vec![
        link(
            "record",
            Holds::Proven,
            "written by livestick 0.1.0 on 2026-11-20",
            "two copies, each with its own checksum",
        ),
        link("image", holds, result, how),
        link(
            "partition table",
            Holds::Proven,
            "as it was written, and its backup",
            "the record",
        ),
        link(
            "home",
            Holds::NotClaimed,
            "ext4, its structures are sound",
            "e2fsck -fn; ext4 keeps no checksums of data",
        ),
    ];
    report.exit = Exit::Verified;
    report.state = StickState::Complete;
    let (cause, says, next) = if damaged {
        report.exit = Exit::NotVerified;
        report.damage = vec![Damage {
            extent: Extent {
                at: Bytes(734_003_207),
                len: Bytes(1),
            },
            exact: true,
            partition: None,
            places: vec!["LiveOS/squashfs.img".into()],
            kind: damage::Kind::Flips { bits: 1 },
            again: Again::Same,
            cure: Cure::Image,
        }];
        (
            Cause::Damaged,
            "1 byte is not as it was written",
            "run `livestick repair` with the image",
        )
    } else {
        (
            Cause::Sound,
            "the stick holds what was written to it",
            "nothing has to be done",
        )
    };
    report.diagnosis = Some(damage::Verdict {
        cause,
        says: says.into(),
        next: next.into(),
    });
    report.seconds = 61.0;
    Box::new(report)
}

/// What a probe could have found.
pub fn probed() -> Box<Report> {
    let capacity = Capacity {
        claimed: Bytes(STICK),
        finding: Finding::Drops {
            from: Bytes(8_004_304_896),
        },
        full: false,
        blank: false,
        marks: 215,
        read: Bytes::mib(200),
        verdict: Verdict::Verified {
            proof: "direct reads".into(),
        },
        lost: Vec::new(),
        left: Vec::new(),
    };
    let words = format!("/dev/sdb   {}", plan().target.description);
    let mut report = Report::new(Purpose::Probe, words);
    report.exit = capacity.exit();
    report.state = capacity.state();
    report.capacity = Some(capacity);
    report.seconds = 9.0;
    Box::new(report)
}

pub fn failure() -> Failure {
    Failure {
        exit: Exit::WriteFailed,
        message: "writing 4 MiB at byte 734 003 200 of /dev/sdb: No such device; the stick was pulled out".into(),
        state: StickState::Blank,
    }
}

/// Steps of the way with all that is needed to get there.
pub struct Way {
    pub state: State,
    now: Instant,
}

impl Way {
    pub fn new() -> Way {
        let now = Instant::now();
        let mut way = Way {
            state: State::new(now),
            now,
        };
        way.state.log = Some("/home/ada/.local/state/livestick/livestick.log".into());
        way
    }

    pub fn take(&mut self, input: Input) -> Vec<Task> {
        self.state.on_event(input, self.now)
    }

    pub fn hear(&mut self, message: Message) -> Vec<Task> {
        self.take(Input::Message(message))
    }

    pub fn press(&mut self, cmd: Cmd) -> Vec<Task> {
        self.take(Input::Cmd(cmd))
    }

    pub fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.press(Cmd::Char(c));
        }
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.take(Input::Tick);
    }

    /// The first screen, with the image under the cursor and looked at.
    pub fn to_image() -> Way {
        let mut way = Way::new();
        way.hear(Message::Places(vec!["/home/ada/Downloads".into()]));
        way.hear(Message::Listed {
            folder: "/home/ada/Downloads".into(),
            entries: Ok(entries()),
        });
        way.press(Cmd::Down);
        way.hear(Message::Inspected {
            path: IMAGE.into(),
            facts: Ok(Box::new(image())),
        });
        way.hear(digest(Compared::Equal));
        way
    }

    pub fn to_sticks() -> Way {
        let mut way = Way::to_image();
        way.press(Cmd::Enter);
        way.hear(Message::Disks(Ok(disks())));
        way
    }

    pub fn to_sizes() -> Way {
        let mut way = Way::to_sticks();
        way.press(Cmd::Down);
        way.press(Cmd::Enter);
        way.press(Cmd::Right);
        way.press(Cmd::Right);
        way
    }

    pub fn to_review() -> Way {
        let mut way = Way::to_sizes();
        way.press(Cmd::Enter);
        let number = way.state.planning.unwrap();
        way.hear(Message::Planned {
            number,
            plan: Ok(plan()),
        });
        way
    }

    pub fn to_question() -> Way {
        let mut way = Way::to_review();
        way.press(Cmd::Enter);
        way
    }

    /// The writer is in the middle of the image.
    pub fn to_writing() -> Way {
        let mut way = Way::to_question();
        way.write("ultra");
        let tasks = way.press(Cmd::Enter);
        assert!(matches!(tasks.as_slice(), [Task::Write(..)]), "{tasks:?}");
        let (steps, total) = way.begin();
        let copy = steps
            .iter()
            .position(|step| step.work == Work::Copy)
            .unwrap();
        let mut before = Bytes::ZERO;
        for (step, what) in steps.iter().enumerate().take(copy) {
            way.event(Event::Started { step });
            // The image is on a hard disk, and marks are read back.
            let rate = match what.work {
                Work::CheckImage => Bytes::mib(30),
                _ => Bytes::mib(12),
            };
            let mut done = rate;
            while done < what.bytes {
                way.event(Event::Progress {
                    step,
                    done: before + done,
                    total,
                });
                way.wait(Duration::from_millis(500));
                done += rate;
            }
            before += what.bytes;
            way.event(Event::Finished { step });
        }
        way.event(Event::Started { step: copy });
        let mut done = before;
        for i in 0..60_u64 {
            // Sticks are fast for a while, and then they are not.
            done += Bytes::mib(if i < 12 { 20 } else { 6 + i % 5 });
            way.event(Event::Progress {
                step: copy,
                done,
                total,
            });
            way.wait(Duration::from_millis(500));
        }
        way
    }

    pub fn begin(&mut self) -> (Vec<Step>, Bytes) {
        let plan = plan();
        let steps = plan.steps();
        let total = steps.iter().map(|step| step.bytes).sum();
        self.event(Event::Planned {
            plan,
            steps: steps.clone(),
            total,
        });
        (steps, total)
    }

    pub fn event(&mut self, event: Event) {
        self.hear(Message::Job(event));
    }

    pub fn to_report() -> Way {
        let mut way = Way::to_writing();
        way.event(Event::Done { report: report() });
        way
    }

    pub fn to_failure() -> Way {
        let mut way = Way::to_writing();
        way.event(Event::Failed { failure: failure() });
        way
    }

    /// On to what a key of the stick's screen begins.
    pub fn to_errand(keys: &[Cmd]) -> Way {
        let mut way = Way::to_sticks();
        way.press(Cmd::Down);
        for (i, key) in keys.iter().enumerate() {
            let tasks = way.press(*key);
            let begins = tasks.iter().any(|task| matches!(task, Task::Errand(_)));
            assert_eq!(begins, i + 1 == keys.len(), "{tasks:?}");
        }
        way
    }

    /// In the middle of what is read.
    pub fn looking(mut self, task: Purpose) -> Way {
        let step = |title: &str, work, bytes| Step {
            title: title.into(),
            work,
            bytes,
        };
        let steps = vec![
            step(
                "check the partition table and the record",
                Work::CheckTable,
                Bytes::mib(1),
            ),
            step(
                "read the image's range, and compare",
                Work::ReadStick,
                Bytes(SIZE),
            ),
            step(
                "check /home",
                Work::CheckFilesystem { partition: 0 },
                Bytes::ZERO,
            ),
        ];
        let total = steps.iter().map(|step| step.bytes).sum();
        self.event(Event::Begun {
            task,
            target: "/dev/sdb".into(),
            steps,
            total,
        });
        self.event(Event::Started { step: 0 });
        self.event(Event::Finished { step: 0 });
        self.event(Event::Started { step: 1 });
        for i in 1..20 {
            self.event(Event::Progress {
                step: 1,
                done: Bytes::mib(1 + 25 * i),
                total,
            });
            self.wait(Duration::from_millis(500));
        }
        self
    }

    pub fn asked(mut self, what: &str) -> Way {
        self.hear(Message::Asked {
            target: Box::new(plan().target),
            what: what.into(),
        });
        self
    }

    /// A repair asks.
    pub fn to_repair_question() -> Way {
        let way = Way::to_errand(&[Cmd::Char('r'), Cmd::Enter]).looking(Purpose::Repair);
        way.asked(
            "damage     1 byte at byte 734 003 207: LiveOS/squashfs.img; 1 bit flipped; a second read gives the same\nwrite      1 048 576 bytes at byte 734 003 200: LiveOS/squashfs.img\nOnly this is written to /dev/sdb (SanDisk Ultra Fit); nothing else on it changes.",
        )
    }

    /// A probe asks.
    pub fn to_probe_question() -> Way {
        Way::to_errand(&[Cmd::Char('p')]).asked(
            "215 marks of 4 KiB are written, read back and taken back.\nIts contents are as before afterwards. Do not pull it out meanwhile.",
        )
    }
}
