// SPDX-License-Identifier: MIT OR Apache-2.0
//! A FAT filesystem looked over before anybody works with it: the `fatfs` crate follows whatever cluster numbers it
//! reads, computes with them unchecked, and goes round in a loop of them for ever.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format" 1.03 (the BPB, the count of clusters that decides
//! between FAT12, FAT16 and FAT32, entries of the table and of directories).
//!
//! What is proven by [`survey`]: the BPB is consistent and inside the extent; every chain that a directory entry names
//! stays inside the volume, ends, and shares no cluster with another; no file is longer than its chain.

use crate::read::{ReadAt, ReadError};
use crate::units::{Bytes, Extent};

/// How deep directories may lie in each other.
const DEPTH: usize = 16;
/// How many directory entries there may be. A system partition has some dozen.
const ENTRIES: usize = 100_000;
/// How many clusters there may be: a hostile volume must not buy itself hours.
const CLUSTERS: u32 = 8 << 20;

/// What was found out about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Bytes in a cluster.
    pub cluster: u32,
    /// Clusters that are free.
    pub free: u32,
}

/// A part of a volume, and what it is: "/EFI/BOOT/grub.cfg", "the file allocation table".
pub type Piece = (Extent, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

struct Table<'a> {
    disk: &'a dyn ReadAt,
    width: Width,
    /// Where the table starts that counts.
    at: u64,
    /// Clusters of the volume.
    clusters: u32,
    cluster: u32,
    /// Where cluster 2 starts.
    data: u64,
    /// Clusters that belong to a chain already, one bit each.
    seen: Vec<u64>,
    entries: usize,
    /// What lies where, if that is asked for.
    pieces: Option<&'a mut Vec<Piece>>,
    /// The long name whose parts came by last, UTF-16.
    long: Vec<u16>,
    /// The page of the table that was read last.
    page: (u64, Vec<u8>),
}

/// How much of the table is read at once.
const PAGE: u64 = 4096;

fn extent(at: u64, len: u64) -> Extent {
    Extent {
        at: Bytes(at),
        len: Bytes(len),
    }
}

fn wrong(at: u64, why: impl Into<String>) -> ReadError {
    ReadError::malformed("FAT filesystem", Bytes(at), why)
}

fn u16_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 2)
        .map_or(0, |b| u32::from(u16::from_le_bytes([b[0], b[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

/// Looks over the whole volume.
pub fn survey(disk: &dyn ReadAt) -> Result<Volume, ReadError> {
    look(disk, None)
}

/// What lies where in a volume, as far as it can be followed; files and directories by their paths.
pub fn pieces(disk: &dyn ReadAt) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // What was found before the first contradiction is as good as anything.
    let _ = look(disk, Some(&mut pieces));
    pieces
}

fn look(disk: &dyn ReadAt, mut pieces: Option<&mut Vec<Piece>>) -> Result<Volume, ReadError> {
    let boot = disk.read_vec(Bytes::ZERO, 512)?;
    let sector = u16_at(&boot, 11);
    let per_cluster = u32::from(boot[13]);
    let reserved = u16_at(&boot, 14);
    let tables = u32::from(boot[16]);
    let root_entries = u16_at(&boot, 17);
    let first_nonzero = |short: u32, long: u32| if short == 0 { long } else { short };
    let total = first_nonzero(u16_at(&boot, 19), u32_at(&boot, 32));
    let wide = u16_at(&boot, 22) == 0;
    let table_len = first_nonzero(u16_at(&boot, 22), u32_at(&boot, 36));
    let good = boot[510..] == [0x55, 0xAA]
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && per_cluster.is_power_of_two()
        && reserved > 0
        && matches!(tables, 1 | 2)
        && table_len > 0
        && (u16_at(&boot, 19) == 0) != (u32_at(&boot, 32) == 0)
        && wide == (root_entries == 0)
        && (root_entries * 32).is_multiple_of(sector);
    if !good {
        return Err(wrong(0, "the boot sector describes no FAT volume"));
    }
    if u64::from(total) * u64::from(sector) > disk.len().0 {
        return Err(wrong(32, "the volume is longer than its partition"));
    }
    let table_at = u64::from(reserved);
    let root_at = table_at + u64::from(tables) * u64::from(table_len);
    let data_at = root_at + u64::from(root_entries * 32 / sector);
    let clusters = u64::from(total)
        .checked_sub(data_at)
        .map(|sectors| sectors / u64::from(per_cluster))
        .and_then(|clusters| u32::try_from(clusters).ok())
        .filter(|clusters| (1..=CLUSTERS).contains(clusters))
        .ok_or_else(|| {
            wrong(
                32,
                "the count of sectors leaves no room for files, or too much",
            )
        })?;
    let width = match clusters {
        ..4085 => Width::Twelve,
        4085..65525 => Width::Sixteen,
        _ => Width::ThirtyTwo,
    };
    if wide != (width == Width::ThirtyTwo) {
        return Err(wrong(
            22,
            "the count of clusters contradicts the kind of table",
        ));
    }
    let bits: u64 = match width {
        Width::Twelve => 12,
        Width::Sixteen => 16,
        Width::ThirtyTwo => 32,
    };
    let table_bytes = u64::from(table_len) * u64::from(sector);
    if (u64::from(clusters) + 2) * bits > table_bytes * 8 {
        return Err(wrong(22, "the table is too short for the clusters"));
    }
    if let Some(pieces) = &mut pieces {
        let sectors = |from: u64, to: u64, what: &str| {
            let (at, end) = (from * u64::from(sector), to * u64::from(sector));
            (extent(at, end.saturating_sub(at)), what.to_owned())
        };
        pieces.push(sectors(0, table_at, "the boot sector"));
        pieces.push(sectors(table_at, root_at, "the file allocation table"));
        if !wide {
            pieces.push(sectors(root_at, data_at, "the root directory"));
        }
    }
    let (active, root) = if wide {
        let (active, root) = wide_fields(&boot, tables, reserved)?;
        (active, Some(root))
    } else {
        (0, None)
    };
    let mut table = Table {
        disk,
        width,
        at: (table_at + u64::from(active) * u64::from(table_len)) * u64::from(sector),
        clusters,
        cluster: per_cluster * sector,
        data: data_at * u64::from(sector),
        seen: vec![0; usize::try_from(clusters / 64 + 1).unwrap_or(0)],
        entries: 0,
        pieces,
        long: Vec::new(),
        page: (u64::MAX, Vec::new()),
    };
    if let Some(first) = root {
        table.directory(first, 0, "")?;
    } else {
        let len = usize::try_from(root_entries * 32).unwrap_or(0);
        let bytes = disk.read_vec(Bytes(root_at * u64::from(sector)), len)?;
        table.records(&bytes, root_at * u64::from(sector), 0, "")?;
    }
    Ok(Volume {
        cluster: table.cluster,
        free: table.free()?,
    })
}

/// The fields that only a FAT32 has: the number of the table that counts, and where the root directory begins.
fn wide_fields(boot: &[u8], tables: u32, reserved: u32) -> Result<(u32, u32), ReadError> {
    // Bit 7: only the table of this number is in use.
    let flags = u16_at(boot, 40);
    let active = if flags & 0x80 == 0 { 0 } else { flags & 15 };
    let info = u16_at(boot, 48);
    let backup = u16_at(boot, 50);
    if active >= tables || u16_at(boot, 42) != 0 || info >= reserved || backup >= reserved {
        return Err(wrong(
            40,
            "the FAT32 fields of the boot sector contradict the others",
        ));
    }
    Ok((active, u32_at(boot, 44)))
}

impl Table<'_> {
    /// The byte of the table at `offset`.
    fn byte(&mut self, offset: u64) -> Result<u32, ReadError> {
        let page = offset / PAGE;
        if self.page.0 != page {
            let at = Bytes(self.at + page * PAGE);
            let len = (self.disk.len() - at).0.min(PAGE);
            let bytes = self.disk.read_vec(at, usize::try_from(len).unwrap_or(0))?;
            self.page = (page, bytes);
        }
        let index = usize::try_from(offset % PAGE).unwrap_or(0);
        let byte = self.page.1.get(index).copied();
        byte.map(u32::from)
            .ok_or_else(|| wrong(self.at + offset, "the table leaves the partition"))
    }

    /// What the table says of a cluster.
    fn next(&mut self, number: u32) -> Result<u32, ReadError> {
        let n = u64::from(number);
        Ok(match self.width {
            Width::Twelve => {
                let pair = self.byte(n + n / 2)? | self.byte(n + n / 2 + 1)? << 8;
                if number.is_multiple_of(2) {
                    pair & 0xFFF
                } else {
                    pair >> 4
                }
            }
            Width::Sixteen => self.byte(n * 2)? | self.byte(n * 2 + 1)? << 8,
            Width::ThirtyTwo => {
                let low = self.byte(n * 4)? | self.byte(n * 4 + 1)? << 8;
                let high = self.byte(n * 4 + 2)? | self.byte(n * 4 + 3)? << 8;
                (low | high << 16) & 0x0FFF_FFFF
            }
        })
    }

    /// How many clusters are free.
    fn free(&mut self) -> Result<u32, ReadError> {
        let mut free = 0;
        for number in 2..self.clusters + 2 {
            free += u32::from(self.next(number)? == 0);
        }
        Ok(free)
    }

    /// The clusters of a chain. Bounded: no cluster is met twice in a survey.
    fn chain(&mut self, first: u32) -> Result<Vec<u32>, ReadError> {
        let end = match self.width {
            Width::Twelve => 0xFF8,
            Width::Sixteen => 0xFFF8,
            Width::ThirtyTwo => 0x0FFF_FFF8,
        };
        let mut out = Vec::new();
        let mut number = first;
        while number < end {
            if !(2..self.clusters + 2).contains(&number) {
                return Err(wrong(
                    self.at,
                    format!("cluster {number} is not in the volume"),
                ));
            }
            let (word, bit) = (number / 64, 1_u64 << (number % 64));
            let word = usize::try_from(word)
                .ok()
                .and_then(|w| self.seen.get_mut(w));
            match word {
                Some(word) if *word & bit == 0 => *word |= bit,
                _ => return Err(wrong(self.at, format!("cluster {number} is used twice"))),
            }
            out.push(number);
            number = self.next(number)?;
        }
        Ok(out)
    }

    fn directory(&mut self, first: u32, depth: usize, path: &str) -> Result<(), ReadError> {
        if depth > DEPTH {
            return Err(wrong(self.at, "directories lie too deep in each other"));
        }
        let len = usize::try_from(self.cluster).unwrap_or(0);
        let chain = self.chain(first)?;
        self.piece(&chain, || format!("the directory {path}/"));
        for number in chain {
            let at = self.data + u64::from(number - 2) * u64::from(self.cluster);
            let bytes = self.disk.read_vec(Bytes(at), len)?;
            if !self.records(&bytes, at, depth, path)? {
                break;
            }
        }
        Ok(())
    }

    /// Notes what a chain of clusters is, adjoining ones as one piece.
    fn piece(&mut self, chain: &[u32], name: impl FnOnce() -> String) {
        let (data, cluster) = (self.data, u64::from(self.cluster));
        let Some(pieces) = &mut self.pieces else {
            return;
        };
        let name = name();
        for run in chain.chunk_by(|one, next| one + 1 == *next) {
            let first = u64::from(run.first().map_or(0, |number| number.saturating_sub(2)));
            let extent = extent(data + first * cluster, run.len() as u64 * cluster);
            pieces.push((extent, name.clone()));
        }
    }

    /// Keeps what a record says of a long name: thirteen units, the last part first.
    fn part_of_name(&mut self, record: &[u8]) {
        if record[11] & 0x3F != 0x0F {
            return;
        }
        if record[0] & 0x40 != 0 || self.long.len() > 260 {
            self.long.clear();
        }
        let fields = [&record[1..11], &record[14..26], &record[28..32]];
        let units = fields.iter().flat_map(|field| field.as_chunks::<2>().0);
        let mut part: Vec<u16> = units.map(|pair| u16::from_le_bytes(*pair)).collect();
        part.append(&mut self.long);
        self.long = part;
    }

    /// The name of a file: the long one, if one came by, else that in the record.
    fn name(&mut self, record: &[u8]) -> String {
        let long = std::mem::take(&mut self.long);
        let end = long.iter().position(|unit| matches!(unit, 0 | 0xFFFF));
        let long = String::from_utf16_lossy(&long[..end.unwrap_or(long.len())]);
        if !long.is_empty() {
            return long;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (base, ending) = (text(&record[..8]), text(&record[8..11]));
        if ending.is_empty() {
            base
        } else {
            format!("{base}.{ending}")
        }
    }

    /// Reads the records of a part of a directory; whether more may follow.
    fn records(
        &mut self,
        bytes: &[u8],
        at: u64,
        depth: usize,
        path: &str,
    ) -> Result<bool, ReadError> {
        for (i, record) in bytes.chunks_exact(32).enumerate() {
            let attributes = record[11];
            match record[0] {
                0 => return Ok(false),
                0xE5 => continue,
                _ => {}
            }
            self.entries += 1;
            if self.entries > ENTRIES {
                return Err(wrong(at, "there are too many directory entries"));
            }
            // Parts of long names and the volume's own name have no clusters.
            if attributes & 0x08 != 0 {
                self.part_of_name(record);
                continue;
            }
            let name = format!("{path}/{}", self.name(record));
            let high = match self.width {
                Width::ThirtyTwo => u16_at(record, 20),
                _ => 0,
            };
            let first = high << 16 | u16_at(record, 26);
            let place = at + i as u64 * 32;
            if attributes & 0x10 != 0 {
                if !record.starts_with(b".          ") && !record.starts_with(b"..         ") {
                    self.directory(first, depth + 1, &name)?;
                } else if first != 0 && !(2..self.clusters + 2).contains(&first) {
                    // They can be followed under a long name; 0 stands for the root.
                    return Err(wrong(place, "a directory lies outside the volume"));
                }
                continue;
            }
            let size = u64::from(u32_at(record, 28));
            let chain = match first {
                0 => Vec::new(),
                first => self.chain(first)?,
            };
            self.piece(&chain, || name);
            let held = chain.len() as u64 * u64::from(self.cluster);
            if size > held {
                return Err(wrong(place, "a file is longer than its clusters"));
            }
        }
        Ok(true)
    }
}
