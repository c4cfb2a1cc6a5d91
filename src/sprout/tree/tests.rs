// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::process::Command;

use super::*;

const MOST: Bytes = Bytes(u64::MAX);

fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("usr/bin")).unwrap();
    fs::write(at("usr/bin/program"), vec![7; 3 << 20]).unwrap();
    fs::hard_link(at("usr/bin/program"), at("usr/bin/alias")).unwrap();
    fs::write(at("usr/single"), "one").unwrap();
    symlink("usr/bin", at("bin")).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(at("fifo"))
            .status()
            .unwrap()
            .success()
    );
    if rustix::process::geteuid().is_root() {
        let mknod = ["c", "1", "3"];
        assert!(
            Command::new("mknod")
                .arg(at("null"))
                .args(mknod)
                .status()
                .unwrap()
                .success()
        );
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let file = File::open(at("usr/bin/program")).unwrap();
        set_attribute(file.as_fd(), "security.capability", &capability).unwrap();
    }
    dir
}

fn copy(of: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("cp")
        .args(["-a", "-T"])
        .arg(of)
        .arg(dir.path())
        .status();
    assert!(status.unwrap().success());
    dir
}

fn judge(left: &Path, right: &Path) -> Result<Survey, TreeError> {
    let (left, right) = (File::open(left).unwrap(), File::open(right).unwrap());
    let never = AtomicBool::new(false);
    compare(left.as_fd(), right.as_fd(), &mut |_| {}, &never)
}

#[test]
fn a_copy_by_cp_is_equal_and_is_counted_as_find_counts() {
    let one = sample();
    let two = copy(one.path());
    let found = judge(one.path(), two.path()).unwrap();
    let find = Command::new("find")
        .arg(one.path())
        .args(["-mindepth", "1"])
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&find.stdout).lines().count();
    assert_eq!(found.entries, lines as u64);
    let directory = File::open(one.path()).unwrap();
    let never = AtomicBool::new(false);
    assert_eq!(survey(directory.as_fd(), MOST, &never).unwrap(), found);
    let little = survey(directory.as_fd(), Bytes(4 << 20), &never);
    assert!(matches!(little, Err(TreeError::Absurd { .. })));
}

/// A change to a copy, and what has to be named.
type Case = (&'static str, fn(&Path));

#[test]
fn every_difference_is_seen() {
    let touch = |path: &Path, when: &str| {
        let status = Command::new("touch")
            .args(["-h", "-d", when])
            .arg(path)
            .status();
        assert!(status.unwrap().success());
    };
    // What is changed is given its times back, so that only the change itself can be what is seen.
    let cases: [Case; 8] = [
        ("contents differ at byte 2097152", |at| {
            let file = File::options().write(true).open(at.join("sparse")).unwrap();
            file.write_all_at(&[1], 2 << 20).unwrap();
        }),
        ("instead of 3", |at| {
            fs::write(at.join("usr/single"), "oneone").unwrap();
        }),
        ("it leads to", |at| {
            fs::remove_file(at.join("bin")).unwrap();
            symlink("usr/xxx", at.join("bin")).unwrap();
        }),
        ("mode", |at| {
            fs::set_permissions(at.join("usr/single"), PermissionsExt::from_mode(0o4644)).unwrap();
        }),
        ("not in the copy", |at| {
            fs::remove_file(at.join("fifo")).unwrap();
        }),
        ("not in the original", |at| {
            fs::write(at.join("usr/more"), "").unwrap();
        }),
        ("one file with other names", |at| {
            fs::remove_file(at.join("usr/bin/alias")).unwrap();
            let (from, to) = (at.join("usr/bin/program"), at.join("usr/bin/alias"));
            let cp = Command::new("cp").arg("-a").arg(from).arg(to).status();
            assert!(cp.unwrap().success());
        }),
        ("attribute user.x", |at| {
            let file = File::open(at.join("usr/single")).unwrap();
            set_attribute(file.as_fd(), "user.x", b"1").unwrap();
        }),
    ];
    let one = sample();
    for (what, change) in cases {
        let two = copy(one.path());
        change(two.path());
        for path in [
            "sparse",
            "usr/bin/program",
            "usr/single",
            "bin",
            "fifo",
            "usr/bin",
            "usr",
            ".",
        ] {
            let time = fs::symlink_metadata(one.path().join(path)).unwrap();
            let when = format!("@{}.{:09}", mtime(&time).0, mtime(&time).1);
            if two.path().join(path).symlink_metadata().is_ok() {
                touch(&two.path().join(path), &when);
            }
        }
        let said = judge(one.path(), two.path()).unwrap_err().to_string();
        assert!(said.contains(what), "{what}: {said}");
    }
    let two = copy(one.path());
    touch(&two.path().join("usr/single"), "@1.000000001");
    let said = judge(one.path(), two.path()).unwrap_err().to_string();
    assert!(said.contains("its time"), "{said}");
}

fn mtime(meta: &fs::Metadata) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (meta.mtime(), meta.mtime_nsec())
}

#[test]
fn a_directory_is_entered_by_no_link() {
    let one = sample();
    let top = File::open(one.path()).unwrap();
    assert!(enter(top.as_fd(), "usr/bin").is_ok());
    assert!(enter(top.as_fd(), "bin").is_err());
    assert!(enter(top.as_fd(), "usr/single").is_err());
}
