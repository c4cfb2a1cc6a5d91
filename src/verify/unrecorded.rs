// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick without a record: made by dd, by an older livestick, by others. It is compared with an image, with a
//! published digest, or with the sum that is implanted in it; where there is none of these, nothing can be claimed.

use crate::chain::{Holds, Link};
use crate::image::isomd5;
use crate::report::Report;
use crate::units::Bytes;
use crate::verify::links::{Chain, count, link};
use crate::verify::table::Tables;

impl Chain<'_> {
    /// The links of a stick without a record.
    pub(super) fn of_unrecorded(&self, tables: &Tables, report: &mut Report) {
        report.links.push(self.no_record());
        report.links.push(self.published(None));
        if self.job.image.is_some() {
            report.links.push(self.against_image());
        }
        if let Some(passes) = self.region.media {
            report.links.push(self.media_check(passes));
        } else if self.job.image.is_none() && self.job.published.is_none() {
            let result = "there is nothing to compare it with: no record, no implanted sum".into();
            let how = "give the image, or --checksum".into();
            report
                .links
                .push(link("image", Holds::Unproven, result, how));
        }
        let mut table = self.table(tables);
        if table.holds == Holds::Proven {
            // Its checksums hold, but what it should be nobody says.
            "its own checksums".clone_into(&mut table.how);
        }
        report.links.push(table);
    }

    fn no_record(&self) -> Link {
        match &self.job.subject.fault {
            Some(fault) => link("record", Holds::Broken, fault.clone(), String::new()),
            None => link(
                "record",
                Holds::NotClaimed,
                "none: written by another program".into(),
                String::new(),
            ),
        }
    }

    fn against_image(&self) -> Link {
        let digest = self.region.image.clone().unwrap_or_default();
        if self.region.differences.is_empty() && self.region.unreadable.is_empty() {
            let result = "identical to the image, byte for byte".into();
            let how = format!("{}; sha256 {digest}", self.how());
            return link("image", self.sound(), result, how);
        }
        let bytes: Bytes = self.region.differences.iter().map(|range| range.len).sum();
        let result = format!(
            "differs from the image in {}, {} bytes",
            count(self.region.differences.len(), "range"),
            bytes.grouped()
        );
        link("image", Holds::Broken, result, format!("sha256 {digest}"))
    }

    fn media_check(&self, passes: bool) -> Link {
        let name = "media check";
        let blind = format!(
            "blind for the last 30 720 bytes of the volume, all behind it, and the {} bytes that hold the sum; MD5 is no protection against intent",
            isomd5::FIELD_LEN
        );
        if !passes {
            let result = "the sum implanted in the stick does not match it".into();
            return link(name, Holds::Broken, result, blind);
        }
        let result = "the sum implanted in the stick matches".into();
        let how = format!("{}; {blind}", self.how());
        link(name, self.sound(), result, how)
    }
}
