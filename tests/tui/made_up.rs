// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the threads of the interface could have found out, made up: an image, some disks, a plan, a report.
//!
//! `tests/fixtures/tui` holds what `inspect`, and `write --dry-run --json --seed demo --overlay-size 8GiB --home-size
//! rest` on a file of 30 752 000 000 bytes, said of `small-iso kiwi … --label Fedora-SoaS-Live-42 --title
//! "Fedora-SoaS-Live 42" --size 1100`, with the bytes behind the image cut short.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use livestick::disk::bus::Bus;
use livestick::disk::direct::Kind;
use livestick::disk::standing::{Reason, Standing};
use livestick::disk::{DevNumber, Disk, Identity};
use livestick::event::{Event, Step, Task as Purpose};
use livestick::plan::Plan;
use livestick::report::{Exit, Failure, Made, ReadBack, Report, StickState, Verdict};
use livestick::request::FsKind;
use livestick::table::Table;
use livestick::ui::json;
use livestick::ui::tui::keys::Cmd;
use livestick::ui::tui::known::{Entry, ImageFacts, Memory, Seen, pairs};
use livestick::ui::tui::state::{Input, State};
use livestick::ui::tui::work::{Message, Task};
use livestick::units::Bytes;

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
    report.sha256 = Some("5ad1".repeat(16));
    report.read_back = Some(ReadBack {
        bytes: plan.image.size,
        verdict: Verdict::Verified {
            proof: "direct reads; the kernel fetched 1 152 319 488 bytes from the device".into(),
        },
        tree: "90ab".repeat(16),
        restored: "5ad1".repeat(16),
        ranges: plan.patches.len(),
        changed: plan.changed(),
        reasons: plan.reasons(),
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
        assert!(matches!(tasks.as_slice(), [Task::Write(_)]), "{tasks:?}");
        let (steps, total) = way.begin();
        let mut done = Bytes::ZERO;
        way.event(Event::Started { step: 0 });
        done += steps[0].bytes;
        way.event(Event::Finished { step: 0 });
        way.event(Event::Started { step: 1 });
        for i in 0..60_u64 {
            // Sticks are fast for a while, and then they are not.
            done += Bytes::mib(if i < 12 { 20 } else { 6 + i % 5 });
            way.event(Event::Progress {
                step: 1,
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
}
