// SPDX-License-Identifier: MIT OR Apache-2.0

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::disk::direct::Kind;
use crate::sprout::{Checksum, Part, Source};

const SEED: Extent = Extent {
    at: Bytes::mib(8),
    len: Bytes::mib(256),
};
const SPROUT: Extent = Extent {
    at: Bytes::mib(264),
    len: Bytes::mib(256),
};

fn sh(script: &str, at: &Path) {
    let out = Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(at)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// A tree with one of everything, in `tree`.
const TREE_SCRIPT: &str = r"
        mkdir -p tree/usr/bin tree/etc/systemd/system tree/home/user tree/dev
        head -c 3000000 /dev/urandom >tree/usr/bin/program; ln tree/usr/bin/program tree/usr/bin/alias
        seq 300000 >tree/usr/text; : >tree/etc/empty; ln -s usr/bin tree/bin; echo hello >tree/home/user/note
        truncate -s 50M tree/usr/sparse; echo end >>tree/usr/sparse
        mknod tree/dev/null c 1 3; mknod tree/dev/disk b 8 0; mkfifo tree/dev/fifo
        chown 1000:1000 tree/home/user tree/home/user/note; chmod 4755 tree/usr/bin/program
        setcap cap_net_raw+ep tree/usr/text
        setfattr -n security.selinux -v system_u:object_r:etc_t:s0 tree/etc
        touch -d '2001-02-03 04:05:06.123456789' tree/usr/text; chmod 555 tree";

fn made(script: &str, source: impl Fn(Bytes) -> Source, checksum: Checksum) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    sh(TREE_SCRIPT, dir.path());
    sh(script, dir.path());
    let (image, stick) = (dir.path().join("image"), dir.path().join("stick"));
    let len = Bytes(fs::metadata(&image).unwrap().len());
    File::create(&stick).unwrap().set_len(600 << 20).unwrap();
    let part = |extent, label: &str| Part {
        number: 1,
        extent,
        partuuid: String::new(),
        label: label.into(),
    };
    let plan = Sprout {
        source: source(len),
        seed: part(SEED, "seed-test"),
        seed_uuid: Uuid::new_v4(),
        checksum,
        within: false,
        sprout: part(SPROUT, "sprout-test"),
        home: Home::Subvolume,
    };
    let medium = Medium::open(&stick, Kind::File).unwrap();
    let grower = Grower {
        plan: &plan,
        host: &Host::look(),
        image: Some(&File::open(&image).unwrap()),
        target: &stick,
        medium: &medium,
        cancel: &AtomicBool::new(false),
    };
    let ok = |stop: Stop| match stop {
        Stop::Failed(error) => format!("{error:#}"),
        Stop::Cancelled => "cancelled".into(),
    };
    let copied = grower.seed(&mut |_| {}).map_err(ok).unwrap();
    let compared = grower.compare(&mut |_| {}).map_err(ok).unwrap();
    assert_eq!(copied, compared);
    let uuid = grower.grow().map_err(ok).unwrap();
    assert_eq!(uuid.len(), 36);

    // Judged by mount(8), and the tree by diff(1).
    sh(
        &format!(
            r"mkdir mnt; cat >judge <<'END'
set -e
seed=$(losetup -f --show -r --offset {} --sizelimit {} stick)
sprout=$(losetup -f --show --offset {} --sizelimit {} stick)
trap 'umount mnt || :; losetup -d $seed $sprout' EXIT
blkid -p -s LABEL -o value $sprout | grep -qx sprout-test
mount -o device=$seed,subvol=@ $sprout mnt
test -f mnt/{}
grep -q subvol=@home mnt/etc/systemd/system/home.mount
test -L mnt/etc/systemd/system/local-fs.target.wants/home.mount
cmp mnt/usr/bin/program tree/usr/bin/program
getcap mnt/usr/text | grep -q cap_net_raw
echo written >mnt/usr/text; rm mnt/usr/bin/alias; sync; umount mnt
mount -o device=$seed,subvol=@image $sprout mnt
diff -r --no-dereference -x dev tree mnt
umount mnt
mount -o device=$seed,subvol=@home $sprout mnt
grep -q hello mnt/user/note; test $(stat -c %u mnt/user/note) = 1000
END
unshare --mount --propagation private bash judge",
            SEED.at,
            SEED.len,
            SPROUT.at,
            SPROUT.len,
            rule::PATH
        ),
        dir.path(),
    );
    let left = || {
        let loops = Command::new("losetup").arg("-a").output().unwrap();
        let loops = String::from_utf8_lossy(&loops.stdout).into_owned();
        loops
            .contains(dir.path().to_str().unwrap())
            .then_some(loops)
    };
    // Whoever scans for filesystems may hold one open for a moment; it goes when the last one closes it.
    let start = Instant::now();
    while let Some(loops) = left() {
        assert!(start.elapsed() < Duration::from_secs(10), "{loops}");
        sleep(Duration::from_millis(50));
    }
}

fn plain(driver: Driver) -> impl Fn(Bytes) -> Source {
    move |len| Source {
        extent: Extent {
            at: Bytes::ZERO,
            len,
        },
        driver,
        nested: None,
    }
}

fn nested(driver: Driver) -> impl Fn(Bytes) -> Source {
    move |len| Source {
        nested: Some(("LiveOS/rootfs.img".into(), driver)),
        ..plain(Driver::Squashfs)(len)
    }
}

#[test]
fn from_squashfs() {
    let script = "mksquashfs tree image -comp zstd -quiet -no-progress";
    made(script, plain(Driver::Squashfs), Checksum::Sha256);
}

#[test]
fn from_erofs() {
    made(
        "mkfs.erofs --quiet -zlz4 image tree",
        plain(Driver::Erofs),
        Checksum::Crc32c,
    );
}

#[test]
fn from_ext4_in_squashfs() {
    let script = "mkdir -p n/LiveOS; truncate -s 128M n/LiveOS/rootfs.img
        mkfs.ext4 -q -d tree n/LiveOS/rootfs.img; mkdir -p tree/lost+found
        mksquashfs n image -quiet -no-progress";
    made(script, nested(Driver::Ext4), Checksum::Xxhash);
}

#[test]
fn from_btrfs_in_squashfs() {
    let script = "mkdir -p n/LiveOS; truncate -s 160M n/LiveOS/rootfs.img
        mkfs.btrfs -q -r tree n/LiveOS/rootfs.img
        mksquashfs n image -quiet -no-progress";
    made(script, nested(Driver::Btrfs), Checksum::Blake2);
}
