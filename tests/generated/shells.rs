// SPDX-License-Identifier: MIT OR Apache-2.0
//! What bash, zsh and fish offer with the completions: asked of the shells, in a folder with some files, on a machine
//! whose disks are made up.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use livestick::disk::bus::Bus;
use livestick::disk::{DevNumber, Disk, Use};
use livestick::ui::facts;
use livestick::units::Bytes;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

/// How long anything may take that a person would wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a shell offers for each of some lines.
type Shell = fn(&Folder, &[&str]) -> Vec<Offered>;

const SHELLS: [Shell; 3] = [bash, zsh, fish];

type Offered = BTreeSet<String>;

/// The completions, a folder to complete in, and a livestick that lists made-up disks and notes with what else it is
/// called.
struct Folder {
    dir: TempDir,
}

fn disk(name: &str, bus: Bus, points: &[&str]) -> Disk {
    let path = PathBuf::from(format!("/dev/{name}"));
    let mounted = points.iter().map(|point| Use::Mount {
        source: path.display().to_string(),
        point: point.into(),
    });
    Disk {
        name: name.into(),
        dev: DevNumber { major: 8, minor: 0 },
        size: Bytes(8_004_304_896),
        logical_sector: Bytes(512),
        physical_sector: Bytes(512),
        read_only: name == "sde",
        removable: Some(bus == Bus::Usb),
        optical: false,
        vendor: Some("Ada".into()),
        model: Some("Fit / can be written".into()),
        serial: Some("4C53".into()),
        bus,
        diskseq: Some(1),
        partitions: Vec::new(),
        uses: mounted.collect(),
        backing: None,
        path,
    }
}

impl Folder {
    fn new() -> Folder {
        let dir = TempDir::new().unwrap();
        let at = dir.path();
        for name in ["bin", "work", "work/dir", "completions"] {
            fs::create_dir(at.join(name)).unwrap();
        }
        for name in ["a.iso", "b.txt", "s.img", "two words.ISO"] {
            fs::write(at.join("work").join(name), "").unwrap();
        }
        // What can be written, what can after unmounting, and what cannot.
        let list = facts::disks(&[
            disk("sdb", Bus::Usb, &[]),
            disk("sdc", Bus::Usb, &["/run/media/ada/SCHOOL", "/mnt"]),
            disk("sdd", Bus::Usb, &["/", "/mnt"]),
            disk("sde", Bus::Usb, &[]),
            disk("sda", Bus::Ata, &[]),
        ]);
        fs::write(at.join("list"), list).unwrap();
        let (list, called) = (at.join("list"), at.join("called"));
        let (list, called) = (list.display(), called.display());
        let fake = format!(
            "#!/bin/sh\n[ \"$1\" != list ] || exec cat {list}\nprintf '%s|' \"$@\" >{called}.new\nmv {called}.new {called}\n"
        );
        for name in ["livestick", "livecd-iso-to-disk"] {
            let program = at.join("bin").join(name);
            fs::write(&program, &fake).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let completions = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
        for name in ["livestick.bash", "_livestick", "livestick.fish"] {
            fs::copy(completions.join(name), at.join("completions").join(name)).unwrap();
        }
        Folder { dir }
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        let at = self.dir.path().display();
        [
            ("PATH", format!("{at}/bin:/usr/bin:/bin")),
            ("HOME", at.to_string()),
            ("TERM", "xterm".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ]
    }

    /// What a script of a shell says.
    fn said(&self, shell: &[&str], script: &str) -> String {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", script]);
        command
            .current_dir(self.dir.path().join("work"))
            .env_clear();
        command.envs(self.environment());
        let output = command.output();
        let output = output
            .unwrap_or_else(|error| panic!("{shell:?}: {error}; tests/lab/packages --install"));
        let said = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (said(output.stdout), said(output.stderr));
        assert!(
            output.status.success() && err.is_empty(),
            "{shell:?}: {err}"
        );
        out
    }

    /// A shell that is typed to.
    fn typed(&self, shell: &[&str]) -> Typed {
        let mut command = CommandBuilder::new(shell[0]);
        command.args(&shell[1..]);
        command.cwd(self.dir.path().join("work"));
        command.env_clear();
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        let pair = native_pty_system()
            .openpty(PtySize {
                cols: 200,
                ..PtySize::default()
            })
            .unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        thread::spawn(move || {
            let mut drawn = [0; 4096];
            while let Ok(1..) = reader.read(&mut drawn) {}
        });
        let keys = pair.master.take_writer().unwrap();
        Typed {
            child,
            keys,
            _master: pair.master,
        }
    }

    /// What a file of this folder has, once it is there; it is gone then.
    fn awaited(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(text) = fs::read_to_string(&path) {
                fs::remove_file(&path).unwrap();
                return text;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("{name} does not come");
    }
}

struct Typed {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    _master: Box<dyn MasterPty + Send>,
}

impl Typed {
    fn write(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(text: &str) -> Offered {
    let names = text
        .lines()
        .map(|line| line.trim_end_matches('/').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Each answer ends with an empty line.
fn answers(said: &str) -> Vec<Offered> {
    said.split_terminator("\n.\n").map(lines).collect()
}

fn bash(folder: &Folder, typed: &[&str]) -> Vec<Offered> {
    let mut script = String::from(". ../completions/livestick.bash\n");
    script += "offer() { COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)); $(complete -p \"$1\" | sed 's/.*-F //; s/ .*//'); printf '%s\\n' \"${COMPREPLY[@]}\" '' .; }\n";
    for line in typed {
        // As readline takes words apart.
        let words = line.replace('=', " = ");
        let words = words
            .strip_suffix("= ")
            .map_or(words.clone(), |words| format!("{words}="));
        let last = if line.ends_with(' ') { "''" } else { "" };
        let _ = writeln!(script, "offer {words}{last}");
    }
    answers(&folder.said(&["bash", "--norc", "--noprofile"], &script))
}

fn fish(folder: &Folder, typed: &[&str]) -> Vec<Offered> {
    let mut script = String::from("source ../completions/livestick.fish\n");
    for line in typed {
        let _ = writeln!(script, "complete -C '{line}' | cut -f 1; echo; echo .");
    }
    let mut offered = answers(&folder.said(&["fish", "--no-config"], &script));
    for (offered, line) in offered.iter_mut().zip(typed) {
        // It gives the whole word, with what stands in front of "=".
        if let Some((_, word)) = line
            .rsplit_once(' ')
            .filter(|(_, word)| word.ends_with('='))
        {
            let bare = offered.iter().map(|one| one.replace(word, ""));
            *offered = bare.collect();
        }
    }
    offered
}

/// zsh completes on a terminal only. What is added as a match is noted.
const ZSHRC: &str = r#"
fpath=(~/completions $fpath)
autoload -Uz compinit
compinit -u -D
typeset -aU noted
compadd() {
    # Functions ask it for themselves, too.
    if ((!${@[(I)-[OAD]]})); then
        local -a offered
        builtin compadd -O offered "$@"
        noted+=("${(@Q)offered}")
    fi
    builtin compadd "$@"
}
offer() {
    noted=()
    zle complete-word
    print -rl -- "$noted[@]" >~/offered.new
    mv ~/offered.new ~/offered
    BUFFER=
}
zle -N offer
bindkey '^I' offer
"#;

fn zsh(folder: &Folder, typed: &[&str]) -> Vec<Offered> {
    fs::write(folder.dir.path().join(".zshrc"), ZSHRC).unwrap();
    let mut shell = folder.typed(&["zsh", "-i"]);
    let mut offered = Vec::new();
    for line in typed {
        shell.write(&format!("{line}\t"));
        let mut all = lines(&folder.awaited("offered"));
        // It shows options where nothing else is left to offer.
        let last = line.rsplit(' ').next();
        all.retain(|one| !one.starts_with('-') || last.is_some_and(|word| word.starts_with('-')));
        offered.push(all);
    }
    offered
}

#[test]
fn what_can_be_used_is_offered() {
    let folder = Folder::new();
    let images = "a.iso dir s.img two_words.ISO";
    let sticks = "/dev/sdb /dev/sdc dir s.img";
    let files = "a.iso b.txt dir s.img two_words.ISO";
    let table = [
        ("livestick wr", "write"),
        ("livestick help det", "detach"),
        ("livestick inspect ", images),
        ("livestick inspect --quick a", "a.iso"),
        ("livestick inspect a.iso ", ""),
        ("livestick write ", images),
        ("livestick write a.iso ", sticks),
        ("livestick write --size 8GiB -n a.iso ", sticks),
        ("livestick write a.iso /dev/sd", "/dev/sdb /dev/sdc"),
        ("livestick write a.iso s.img ", ""),
        ("livestick write -- a.iso ", sticks),
        ("livestick write --overlay-fs ", "btrfs ext4 xfs"),
        ("livestick write --overlay-fs=", "btrfs ext4 xfs"),
        ("livestick write --persistence s", "sprout"),
        ("livestick write --report ", files),
        ("livestick write --checksum ", files),
        ("livestick write --keyring ", files),
        ("livestick write --home-passphrase-file ", files),
        ("livestick write --size ", ""),
        ("livestick write --overlay-fs=ext4 a.iso ", sticks),
        ("livestick verify ", sticks),
        ("livestick verify s.img ", images),
        ("livestick repair ", sticks),
        ("livestick repair s.img ", images),
        ("livestick extract ", sticks),
        ("livestick extract s.img ", files),
        ("livestick reset ", sticks),
        ("livestick detach ", sticks),
        ("livestick probe ", sticks),
        ("livestick tui ", images),
        ("livestick tui a.iso ", sticks),
        ("livestick livecd-iso-to-disk --efi ", images),
        ("livecd-iso-to-disk --efi ", images),
        ("livecd-iso-to-disk --format a.iso ", sticks),
        ("livecd-iso-to-disk --home-passphrase-file ", files),
        ("livecd-iso-to-disk --overlay-size-mb 512 a.iso ", sticks),
    ];
    let typed: Vec<&str> = table.iter().map(|(line, _)| *line).collect();
    for shell in SHELLS {
        let offered = shell(&folder, &typed);
        assert_eq!(offered.len(), table.len());
        for ((line, expected), offered) in table.iter().zip(offered) {
            let expected = expected
                .split_whitespace()
                .map(|word| word.replace('_', " "));
            assert_eq!(offered, expected.collect(), "{line}");
        }
    }
}

#[test]
fn the_options_of_a_command_are_offered() {
    let folder = Folder::new();
    for shell in SHELLS {
        let offered = shell(
            &folder,
            &[
                "livestick write --",
                "livestick list --",
                "livecd-iso-to-disk --",
            ],
        );
        let knows = |number: usize, word: &str| offered[number].contains(word);
        assert!(
            knows(0, "--overlay-size-mb") && knows(0, "--dry-run") && !knows(0, "--loops"),
            "{offered:?}"
        );
        assert!(knows(1, "--loops") && !knows(1, "--report"), "{offered:?}");
        // What is refused is not offered.
        assert!(
            knows(2, "--format") && knows(2, "--home-size-mb") && !knows(2, "--label"),
            "{offered:?}"
        );
    }
}

#[test]
fn bash_quotes_what_it_completes() {
    let folder = Folder::new();
    let mut shell = folder.typed(&["bash", "--norc", "--noprofile", "-i"]);
    shell.write(". ../completions/livestick.bash\n");
    shell.write("livestick write two\t/dev/sdb\n");
    assert_eq!(folder.awaited("called"), "write|two words.ISO|/dev/sdb|");
    // A directory is gone on from.
    shell.write("livestick inspect di\tx.iso\n");
    assert_eq!(folder.awaited("called"), "inspect|dir/x.iso|");
    shell.write("livecd-iso-to-disk --format a\t --home-passphrase-file=b\t\n");
    assert_eq!(
        folder.awaited("called"),
        "--format|a.iso|--home-passphrase-file=b.txt|"
    );
}
