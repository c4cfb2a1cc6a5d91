// SPDX-License-Identifier: MIT OR Apache-2.0
//! cpio archives in a row, as the kernel takes them.
//!
//! Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`: a header of 110 characters (magic "070701" or
//! "070702", then thirteen fields of eight hexadecimal digits), the name, padding to four, the data, padding to four;
//! "TRAILER!!!" ends an archive. Checksums ("070702") are not verified.

use super::decompress::{Input, Member, Packing};
use super::{Initrd, MAX_FILE};

/// Linux, `PATH_MAX`: the kernel skips entries with longer names.
const MAX_NAME: u64 = 4096;
/// Entries of all archives together; a large initrd has some thousands.
const MAX_ENTRIES: u32 = 1 << 20;

/// Goes through all segments. An error is a reason, in words.
pub(super) fn walk(input: &mut Input<'_>, found: &mut Initrd) -> Result<(), String> {
    let mut entries = MAX_ENTRIES;
    let mut plain_before = false;
    while input.skip_zeros()? {
        let Some(packing) = input.packing()? else {
            let at = input.at();
            return Err(format!(
                "byte {at} begins neither a cpio archive nor a compression that is known here"
            ));
        };
        let merged = plain_before && packing == Packing::None;
        if !merged {
            found.segments.push(packing);
        }
        plain_before = packing == Packing::None;
        let member = Member::new(input, packing)?;
        let mut archive = Archive {
            member,
            at: 0,
            last: None,
        };
        archive.read(found, &mut entries)?;
    }
    if found.segments.is_empty() {
        return Err("it holds no archive".to_owned());
    }
    Ok(())
}

struct Archive<'i, 'a> {
    member: Member<'i, 'a>,
    /// Bytes of archive so far: padding is counted from its start.
    at: u64,
    /// A byte that was read while looking for something else.
    last: Option<u8>,
}

/// The fields of a header that matter.
struct Header {
    mode: u32,
    size: u64,
    name: u64,
}

impl Archive<'_, '_> {
    /// One archive of a plain segment, or all of a compressed one.
    fn read(&mut self, found: &mut Initrd, entries: &mut u32) -> Result<(), String> {
        if self.member.is_plain() {
            while self.entry(found, entries)? {}
            return Ok(());
        }
        // A member may also be empty.
        while self.next_archive()? {
            while self.entry(found, entries)? {}
        }
        Ok(())
    }

    /// Whether an archive begins behind the zeros here, inside a compressed segment.
    fn next_archive(&mut self) -> Result<bool, String> {
        let mut byte = [0];
        loop {
            if self.member.read(&mut byte)? == 0 {
                return Ok(false);
            }
            if byte != [0] {
                self.last = byte.first().copied();
                self.at = 0;
                return Ok(true);
            }
        }
    }

    /// One entry; `false` was the trailer.
    fn entry(&mut self, found: &mut Initrd, entries: &mut u32) -> Result<bool, String> {
        *entries = entries
            .checked_sub(1)
            .ok_or_else(|| format!("more than {MAX_ENTRIES} files"))?;
        let mut head = [0; 110];
        self.fill(&mut head)?;
        let Some(header) = header(&head) else {
            return Err("a cpio archive has another header where a file should begin".to_owned());
        };
        if header.name == 0 || header.name > MAX_NAME {
            return Err(format!("a name of {} bytes in a cpio archive", header.name));
        }
        let mut name = vec![0; usize::try_from(header.name).unwrap_or(0)];
        self.fill(&mut name)?;
        self.pad()?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if name == b"TRAILER!!!" {
            self.skip(header.size)?;
            return Ok(false);
        }
        let path = String::from_utf8_lossy(name);
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let wanted = found.name(path);
        // Of hard links only the last carries the data.
        let regular = header.mode & 0o170_000 == 0o100_000;
        if wanted && regular && header.size > 0 && header.size <= MAX_FILE {
            let mut bytes = vec![0; usize::try_from(header.size).unwrap_or(0)];
            self.fill(&mut bytes)?;
            found.contents(path, &bytes);
        } else {
            self.skip(header.size)?;
        }
        self.pad()?;
        Ok(true)
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), String> {
        self.at += buf.len() as u64;
        let mut done = 0;
        if let (Some(last), Some(first)) = (self.last, buf.first_mut()) {
            *first = last;
            self.last = None;
            done = 1;
        }
        while done < buf.len() {
            let rest = buf.get_mut(done..).unwrap_or_default();
            match self.member.read(rest)? {
                0 if self.member.go_on()? => {}
                0 => return Err("it ends in the middle of a cpio archive".to_owned()),
                len => done += len,
            }
        }
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<(), String> {
        if self.member.is_plain() {
            self.at = self.at.saturating_add(len);
            return self.member.jump(len);
        }
        let mut scrap = [0; 16 << 10];
        let mut rest = len;
        while rest > 0 {
            let step = usize::try_from(rest).unwrap_or(usize::MAX).min(scrap.len());
            self.fill(scrap.get_mut(..step).unwrap_or_default())?;
            rest -= step as u64;
        }
        Ok(())
    }

    fn pad(&mut self) -> Result<(), String> {
        let odd = self.at % 4;
        if odd > 0 {
            self.skip(4 - odd)?;
        }
        Ok(())
    }
}

/// Mode at field 1, size at 6, length of the name at 11.
fn header(head: &[u8; 110]) -> Option<Header> {
    if !matches!(head.get(..6)?, b"070701" | b"070702") {
        return None;
    }
    let field = |index: usize| {
        let digits = head.get(6 + index * 8..14 + index * 8)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    Some(Header {
        mode: field(1)?,
        size: u64::from(field(6)?),
        name: u64::from(field(11)?),
    })
}
