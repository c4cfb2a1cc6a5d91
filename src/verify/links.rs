// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a look found to the links of the chain.

use crate::chain::{Holds, Link};
use crate::diagnosis::Damage;
use crate::diagnosis::atlas::Atlas;
use crate::diagnosis::verdict::EspSigns;
use crate::digest::hex;
use crate::published::Sum;
use crate::record::{OriginStanding, Record};
use crate::report::{Report, Verdict};
use crate::units::{Bytes, Extent};
use crate::verify::Job;
use crate::verify::region::Region;
use crate::verify::table::Tables;

/// What the links are made from.
pub struct Chain<'a> {
    /// What was looked at, and how.
    pub job: &'a Job<'a>,
    /// The image's range.
    pub extent: Extent,
    /// What the read gave.
    pub region: &'a Region,
    /// What is wrong.
    pub damage: &'a [Damage],
    /// Whether the medium was read.
    pub verdict: &'a Verdict,
    /// What lies where.
    pub atlas: &'a Atlas,
    /// What the EFI system partition shows.
    pub esp: &'a EspSigns,
}

pub(super) fn link(name: &str, holds: Holds, result: String, how: String) -> Link {
    Link {
        name: name.to_owned(),
        holds,
        result,
        how,
    }
}

/// "1 range", "3 ranges".
pub(super) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// Whether what lies there is needed to start.
fn starts(place: &str) -> bool {
    let low = place.to_ascii_lowercase();
    let path = low.trim_start_matches("the directory /");
    [
        "boot/",
        "isolinux",
        "syslinux",
        "efi/",
        "images/",
        "live/vmlinuz",
        "live/initrd",
        "casper/vmlinuz",
        "casper/initrd",
        "arch/boot",
    ]
    .iter()
    .any(|start| path.starts_with(start))
        || low.ends_with("(efi system partition)")
        || low.contains("boot code")
        || low.contains("boot catalogue")
        || low.contains("primary volume descriptor")
        || low.contains("boot record")
}

impl Chain<'_> {
    /// Whatever is claimed of the stick without its filesystems.
    pub fn of_stick(&self, tables: &Tables, report: &mut Report) {
        let Some(record) = &self.job.subject.record else {
            self.of_unrecorded(tables, report);
            return;
        };
        report.image = Some(record.image.name.clone());
        report.image_size = Some(record.image.size);
        report.sha256 = Some(hex(&record.image.sha256));
        report.links.push(self.published(Some(record)));
        report.links.extend(self.image_file(record));
        report.links.push(self.image(record));
        report.links.push(self.boot(record));
        report.links.push(self.record(record));
        report.links.push(self.table(tables));
        report.links.extend(self.capacity(record));
    }

    /// What may be claimed where nothing is wrong.
    pub(super) fn sound(&self) -> Holds {
        match self.verdict {
            Verdict::Verified { .. } => Holds::Proven,
            Verdict::NotVerified { .. } => Holds::Unproven,
        }
    }

    /// How it is known.
    pub(super) fn how(&self) -> String {
        match self.verdict {
            Verdict::Verified { proof } => proof.clone(),
            Verdict::NotVerified { reason } => reason.clone(),
        }
    }

    /// The link to what the distribution published.
    pub(super) fn published(&self, record: Option<&Record>) -> Link {
        let name = "published digest";
        if let Some(published) = self.job.published {
            let has = |end: Bytes, sum: &Sum| {
                let mut noted = self.region.at_ends.iter();
                noted.any(|(at, own)| *at == end && own == sum)
            };
            let ends = self.region.at_ends.iter().map(|(end, _)| *end);
            let met = |end: Bytes| published.sums.iter().all(|sum| has(end, sum));
            if !published.sums.is_empty() && ends.into_iter().any(met) {
                let result = format!("what is on the stick has it: {}", published.from);
                return link(name, self.sound(), result, self.how());
            }
            let whole = self.extent.end();
            let other = published.sums.iter().filter(|sum| !has(whole, sum));
            let how: Vec<String> = other
                .map(|sum| {
                    let same =
                        |own: &&(Bytes, Sum)| own.0 == whole && own.1.algorithm == sum.algorithm;
                    let own = self.region.at_ends.iter().find(same);
                    let own = own.map_or(String::new(), |(_, own)| hex(&own.value));
                    format!(
                        "{} {own} instead of {}",
                        sum.algorithm.name(),
                        hex(&sum.value)
                    )
                })
                .collect();
            let result = format!("what is on the stick has another: {}", published.from);
            return link(name, Holds::Broken, result, how.join("; "));
        }
        let Some(record) = record else {
            return link(
                name,
                Holds::NotClaimed,
                "none was given".into(),
                String::new(),
            );
        };
        let (result, how) = match record.image.origin.standing {
            OriginStanding::None => (
                "none was found when it was written",
                "give --checksum to compare",
            ),
            OriginStanding::Listed | OriginStanding::Signed => (
                record.image.origin.words.as_str(),
                "as it was established when the stick was written; give --checksum to compare again",
            ),
        };
        link(name, Holds::NotClaimed, result.to_owned(), how.to_owned())
    }

    /// The image that the stick is compared with.
    fn image_file(&self, record: &Record) -> Option<Link> {
        let image = self.job.image?;
        let name = "image file";
        let expected = hex(&record.image.sha256);
        if let Some(own) = self.region.image.as_ref().filter(|own| **own == expected) {
            let result = format!("it is {}", record.image.name);
            return Some(link(name, Holds::Proven, result, format!("sha256 {own}")));
        }
        let result = format!("another image than was written, {}", record.image.name);
        let how = match &self.region.image {
            Some(own) => format!("sha256 {own} instead of {expected}"),
            None => format!(
                "it has {} bytes instead of {}",
                crate::read::ReadAt::len(image).grouped(),
                record.image.size.grouped()
            ),
        };
        Some(link(name, Holds::Broken, result, how))
    }

    fn in_image(&self) -> impl Iterator<Item = &Damage> {
        let end = self.extent.end();
        self.damage.iter().filter(move |one| one.extent.at < end)
    }

    fn image(&self, record: &Record) -> Link {
        let name = "image";
        let digest = hex(&record.image.sha256);
        let wrong = self.in_image().count();
        if wrong == 0 && self.region.restored == digest {
            let changed: Bytes = record
                .changes
                .iter()
                .map(|change| Bytes(change.after.len() as u64))
                .sum();
            let result = match record.changes.len() {
                0 => "identical to the image, byte for byte".to_owned(),
                ranges => format!(
                    "identical to the image except {}, {} bytes",
                    count(ranges, "range"),
                    changed.grouped()
                ),
            };
            let how = format!(
                "{}; {} and sha256 {}…",
                self.how(),
                count(record.chunks.len(), "chunk digest"),
                &digest[..16]
            );
            return link(name, self.sound(), result, how);
        }
        if wrong == 0 {
            let how = format!("sha256 {} instead of {digest}", self.region.restored);
            let result = "every chunk is as recorded, but together they are not the image".into();
            return link(name, Holds::Broken, result, how);
        }
        let bad = self.region.wrong.len();
        let result = format!(
            "{} of {} not as written",
            bad.max(1),
            count(record.chunks.len(), "chunk")
        );
        let mut how = count(wrong, "damaged range");
        if !self.region.unreadable.is_empty() {
            let bytes: Bytes = self.region.unreadable.iter().map(|(bad, _)| bad.len).sum();
            how = format!("{how}, {} bytes cannot be read", bytes.grouped());
        }
        link(name, Holds::Broken, result, how)
    }

    fn boot(&self, record: &Record) -> Link {
        let name = "boot files";
        let mut wrong: Vec<&str> = Vec::new();
        for one in self.in_image() {
            for place in one.places.iter().filter(|place| starts(place)) {
                if !wrong.contains(&place.as_str()) {
                    wrong.push(place);
                }
            }
        }
        let only_esp = wrong
            .iter()
            .all(|place| place.ends_with("(EFI system partition)"));
        if wrong.is_empty() || (only_esp && self.esp.files_intact) {
            let files = match record.esp.len() {
                0 => String::new(),
                files => format!(", and {} of the EFI system partition", count(files, "file")),
            };
            let result = format!("kernel, initrd and menus are as written{files}");
            let how = if wrong.is_empty() {
                "part of the image".to_owned()
            } else {
                "the partition was changed, but each file has its recorded digest".into()
            };
            return link(name, self.sound(), result, how);
        }
        wrong.truncate(4);
        let result = format!("damaged, or in a damaged chunk: {}", wrong.join(", "));
        link(name, Holds::Broken, result, "part of the image".into())
    }

    fn record(&self, record: &Record) -> Link {
        let name = "record";
        let copies = &self.job.subject.copies;
        let how = format!("written by {}, on {}", record.tool, date(record.written));
        let faults: Vec<String> = copies
            .iter()
            .zip(["first", "second"])
            .filter_map(|(copy, which)| Some(format!("the {which} copy: {}", copy.fault.as_ref()?)))
            .collect();
        if faults.is_empty() {
            let copies = count(copies.len(), "good copie")
                .replace("copie", "copy")
                .replace("copys", "copies");
            let result = format!("{copies}, generation {}", record.generation);
            link(name, self.sound(), result, how)
        } else {
            link(name, Holds::Broken, faults.join("; "), how)
        }
    }

    pub(super) fn table(&self, tables: &Tables) -> Link {
        let name = "partition table";
        let mut faults = tables.faults.clone();
        let of_table = |one: &&Damage| {
            one.exact
                && one.extent.at < Bytes(32768)
                && one.places.iter().any(|place| {
                    place.contains("GPT") || place.contains("MBR") || place.contains("Apple")
                })
        };
        for one in self.in_image().filter(of_table) {
            faults.push(format!("{} is not as written", one.places.join(", ")));
        }
        if faults.is_empty() {
            let how = "its own checksums, and the record".to_owned();
            link(name, self.sound(), tables.what.clone(), how)
        } else {
            link(name, Holds::Broken, faults.join("; "), tables.what.clone())
        }
    }

    fn capacity(&self, record: &Record) -> Option<Link> {
        let (was, now) = (record.medium, self.job.subject.medium.size());
        let how = "the size that the medium reports".to_owned();
        let sizes = format!(
            "{} bytes when it was written, {} now",
            was.grouped(),
            now.grouped()
        );
        match now.cmp(&was) {
            std::cmp::Ordering::Less => Some(link("capacity", Holds::Broken, sizes, how)),
            std::cmp::Ordering::Greater => Some(link(
                "capacity",
                Holds::NotClaimed,
                format!("copied from a smaller stick: {sizes}"),
                how,
            )),
            std::cmp::Ordering::Equal => None,
        }
    }
}

/// Seconds since 1970 as a day.
pub fn date(seconds: u64) -> String {
    let day = super::esp::dos_date(seconds);
    format!("{}-{:02}-{:02}", 1980 + (day >> 9), day >> 5 & 15, day & 31)
}
