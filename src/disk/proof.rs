// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proof that what was read came from the medium: the kernel's own counts.
//!
//! A read that the page cache answers proves nothing about a stick. Two counters tell: the sectors a disk has read
//! (`/sys/dev/block/MAJ:MIN/stat`, third field, 512 bytes each; kernel, Documentation/block/stat.rst), and the bytes
//! a thread has caused to be fetched (`/proc/PID/task/TID/io`, `read_bytes`; proc_pid_io(5)). For a disk the smaller
//! of the two counts, so that neither another program's reads of the disk nor this thread's reads of something else
//! can stand in. For a file there is only the second.

use std::fs;
use std::path::PathBuf;

use super::System;
use super::direct::Medium;
use crate::units::{Bytes, Sector};

/// A count that was begun.
#[derive(Debug)]
pub struct ReadProof {
    disk: Option<(PathBuf, Bytes)>,
    thread: Option<(PathBuf, Bytes)>,
}

impl ReadProof {
    /// Empties the page cache of the medium as far as that can be asked for, and begins to count. To be called on
    /// the thread that will read the medium, which must do all of that reading, and live until the count is asked
    /// for; while a file is read back, it should read nothing else.
    pub fn start(medium: &Medium) -> ReadProof {
        ReadProof::start_in(medium, &System::real())
    }

    fn start_in(medium: &Medium, system: &System) -> ReadProof {
        medium.forget();
        let number = medium.dev().to_string();
        let stat = system.sys.join("dev/block").join(number).join("stat");
        // The link's own text is "PID/task/TID", which means this thread from every thread.
        let task = fs::read_link(system.proc.join("thread-self"));
        let io = task.ok().map(|task| system.proc.join(task).join("io"));
        let begin = |path: PathBuf, count: fn(&str) -> Option<Bytes>| {
            let now = read(&path, count)?;
            Some((path, now))
        };
        ReadProof {
            disk: medium
                .is_disk()
                .then(|| begin(stat, sectors_read))
                .flatten(),
            thread: io.and_then(|io| begin(io, bytes_fetched)),
        }
    }

    /// How many bytes the kernel fetched from the medium since then, at least as far as it can be told; `None` if
    /// it does not count.
    pub fn bytes_from_medium(&self) -> Option<Bytes> {
        let since = |begun: &Option<(PathBuf, Bytes)>, count: fn(&str) -> Option<Bytes>| {
            let (path, before) = begun.as_ref()?;
            Some(read(path, count)? - *before)
        };
        let disk = since(&self.disk, sectors_read);
        let thread = since(&self.thread, bytes_fetched);
        match (disk, thread) {
            (Some(disk), Some(thread)) => Some(disk.min(thread)),
            (one, other) => one.or(other),
        }
    }

    /// Whether the medium gave at least the `read` bytes that were read: only then may they be called verified.
    pub fn covers(&self, read: Bytes) -> bool {
        self.bytes_from_medium().is_some_and(|given| given >= read)
    }
}

fn read(path: &PathBuf, count: fn(&str) -> Option<Bytes>) -> Option<Bytes> {
    count(&fs::read_to_string(path).ok()?)
}

fn sectors_read(stat: &str) -> Option<Bytes> {
    let sectors = stat.split_ascii_whitespace().nth(2)?;
    Some(Sector(sectors.parse().ok()?).bytes())
}

fn bytes_fetched(io: &str) -> Option<Bytes> {
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes:"))?;
    Some(Bytes(line.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_found_in_their_files() {
        let stat = "     100        3     4096      50       10        0        8  1 0 2 3\n";
        assert_eq!(sectors_read(stat), Some(Bytes::mib(2)));
        let io = "rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 7\n";
        assert_eq!(bytes_fetched(io), Some(Bytes(4096)));
        assert_eq!(bytes_fetched("rchar: 9\n"), None);
        assert_eq!(sectors_read("1 2\n"), None);
    }
}
