// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `btrfs check` and `btrfs inspect-internal dump-tree` say, line by line.

/// A range of logical addresses, and where its copies are on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) logical: u64,
    pub(super) len: u64,
    /// Profile "single" or "DUP": the copies are equal.
    pub(super) plain: bool,
    pub(super) copies: Vec<u64>,
}

/// Who uses a range of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// The tree, as `-t` takes it.
    pub(super) root: String,
    pub(super) inode: u64,
}

/// A block of data with a wrong checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) logical: u64,
    /// Which copy, from 1 on.
    pub(super) mirror: usize,
}

/// What `btrfs check` says of checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) data: Vec<Bad>,
    pub(super) metadata: Vec<u64>,
}

impl Told {
    pub(super) fn of(said: &str) -> Told {
        let mut told = Told::default();
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["mirror", mirror, "bytenr", logical, "csum", ..] => {
                    if let (Ok(mirror), Ok(logical)) = (mirror.parse(), logical.parse()) {
                        told.data.push(Bad { logical, mirror });
                    }
                }
                ["checksum", "verify", "failed", "on", logical, ..] => {
                    told.metadata.extend(logical.parse::<u64>());
                }
                _ => {}
            }
        }
        told.data.sort_by_key(|bad| (bad.mirror, bad.logical));
        told.data.dedup();
        told
    }
}

/// The key of an item: "item 3 key (30408704 CHUNK_ITEM 7) itemoff …"; names of objects are 0.
pub(super) fn key(line: &str) -> Option<(u64, &str, u64)> {
    let line = line.trim_start();
    if !line.starts_with("item ") {
        return None;
    }
    let (_, rest) = line.split_once(" key (")?;
    let (key, _) = rest.split_once(')')?;
    let mut words = key.split(' ');
    let (own, kind, other) = (words.next()?, words.next()?, words.next()?);
    Some((own.parse().unwrap_or(0), kind, other.parse().unwrap_or(0)))
}

pub(super) fn chunk_line(line: &str, chunks: &mut Vec<Chunk>) {
    if let Some((_, kind, logical)) = key(line) {
        if kind == "CHUNK_ITEM" {
            chunks.push(Chunk {
                logical,
                len: 0,
                plain: false,
                copies: Vec::new(),
            });
        }
        return;
    }
    let Some(chunk) = chunks.last_mut() else {
        return;
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["length", len, "owner", _, "stripe_len", _, "type", kind] => {
            chunk.len = len.parse().unwrap_or(0);
            let profile = kind.rsplit('|').next().unwrap_or_default();
            chunk.plain = matches!(profile, "single" | "DUP" | "DATA" | "METADATA" | "SYSTEM");
        }
        ["stripe", _, "devid", _, "offset", at] if chunk.copies.len() < 2 => {
            chunk.copies.extend(at.parse::<u64>());
        }
        _ => {}
    }
}

/// "extent data backref root FS_TREE objectid 257 offset 0 count 1".
pub(super) fn user(line: &str) -> Option<User> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words
        .windows(3)
        .position(|three| three == ["data", "backref", "root"])?;
    let ["objectid", inode, ..] = words.get(at + 4..)? else {
        return None;
    };
    Some(User {
        root: (*words.get(at + 3)?).to_owned(),
        inode: inode.parse().ok()?,
    })
}

/// Where the copies of what has this logical address are.
pub(super) fn places(chunks: &[Chunk], logical: u64) -> Option<Vec<u64>> {
    let chunk = chunks.iter().find(|chunk| {
        logical
            .checked_sub(chunk.logical)
            .is_some_and(|into| into < chunk.len)
    })?;
    let into = logical - chunk.logical;
    let copies: Option<Vec<u64>> = chunk.copies.iter().map(|at| at.checked_add(into)).collect();
    copies.filter(|copies| chunk.plain && !copies.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_btrfs_check_says_is_made_out() {
        let said = "[5/7] checking csums against data\n\
            checksum verify failed on 30441472 wanted 0xf46c74c9 found 0x89c2cff2\n\
            mirror 1 bytenr 14426112 csum 0x1dd76fa1 expected csum 0xfeaf49eb\n\
            mirror 1 bytenr rubbish csum 0 expected csum 0\n";
        let told = Told::of(said);
        let (logical, mirror) = (14_426_112, 1);
        assert_eq!(told.data, [Bad { logical, mirror }]);
        assert_eq!(told.metadata, [30_441_472]);
    }

    #[test]
    fn addresses_are_those_of_the_chunk_tree() {
        let dump = "\titem 3 key (FIRST_CHUNK_TREE CHUNK_ITEM 30408704) itemoff 15881 itemsize 112\n\
            \t\tlength 33554432 owner 2 stripe_len 65536 type METADATA|DUP\n\
            \t\tnum_stripes 2 sub_stripes 1\n\
            \t\t\tstripe 0 devid 1 offset 38797312\n\
            \t\t\tstripe 1 devid 1 offset 72351744\n";
        let mut chunks = Vec::new();
        for line in dump.lines() {
            chunk_line(line, &mut chunks);
        }
        assert_eq!(
            places(&chunks, 30_441_472),
            Some(vec![38_830_080, 72_384_512])
        );
        assert_eq!(places(&chunks, 30_408_703), None);
        assert_eq!(places(&chunks, 30_408_704 + 33_554_432), None);
        chunks[0].copies = vec![u64::MAX];
        assert_eq!(places(&chunks, 30_441_472), None);
    }
}
