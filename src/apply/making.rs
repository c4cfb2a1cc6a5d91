// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a job makes behind the image: filesystems, or a seed and its sprout.

use std::fs;
use std::sync::atomic::Ordering;

use anyhow::anyhow;

use super::Job;
use crate::apply::ending::End;
use crate::apply::filesystem::Maker;
use crate::apply::flow::Stop;
use crate::apply::sprout::Grower;
use crate::disk::direct::Medium;
use crate::event::Work;
use crate::report::Made;
use crate::sprout::Sprout;
use crate::units::Bytes;

impl<'a> Job<'a> {
    /// Looks at a root image that shall be the seed, before anything is written.
    pub(super) fn foresee(&self, image: &fs::File, medium: &Medium) -> Result<(), End> {
        let Some(sprout) = self.plan.sprout.as_ref().filter(|sprout| sprout.within) else {
            return Ok(());
        };
        let looked = self.grower(sprout, image, medium).foresee();
        looked.map_err(|stop| match stop {
            Stop::Cancelled => End::Cancelled,
            Stop::Failed(error) => End::Refused(
                error
                    .context("no sprout can grow from the image's root; use --persistence overlay"),
            ),
        })
    }

    fn grower<'b>(&self, plan: &'b Sprout, image: &'b fs::File, medium: &'b Medium) -> Grower<'b>
    where
        'a: 'b,
    {
        Grower {
            plan,
            host: self.host,
            image: Some(image),
            target: &self.plan.target.path,
            medium,
            cancel: self.cancel,
        }
    }

    /// Makes seed and sprout, where there are to be.
    pub(super) fn sprout(&mut self, image: &fs::File, medium: &Medium) -> Result<Vec<Made>, End> {
        let plan = self.plan;
        let Some(sprout) = &plan.sprout else {
            return Ok(Vec::new());
        };
        if sprout.within {
            return self.sprout_within(sprout, image, medium);
        }
        let grower = self.grower(sprout, image, medium);
        let room = sprout.seed.extent.len;
        self.start(Work::Seed);
        let mut taken = Bytes::ZERO;
        let mut seen = |now: Bytes| {
            let now = now.min(room).max(taken);
            self.progress((now - taken).index().unwrap_or(0));
            taken = now;
        };
        let survey = grower.seed(&mut seen);
        let survey = survey.map_err(|stop| self.ended(stop, "making the seed"))?;
        self.finish();

        self.start(Work::Compare);
        let mut compared = Bytes::ZERO;
        let mut seen = |len: Bytes| {
            // The step's bytes are those of the partition; what is compared is unpacked.
            let part = |done: Bytes| {
                let share = u128::from(done.0) * u128::from(room.0);
                u64::try_from(share / u128::from(survey.bytes.0.max(1))).unwrap_or(room.0)
            };
            let (before, after) = (part(compared), part(compared + len).min(room.0));
            compared += len;
            self.progress(Bytes(after.saturating_sub(before)).index().unwrap_or(0));
        };
        let equal = grower.compare(&mut seen);
        let equal = equal.map_err(|stop| self.ended(stop, "checking the seed"))?;
        self.finish();

        let filesystem = format!("btrfs ({}, zstd)", sprout.checksum);
        let seed = Made {
            purpose: "seed".into(),
            size: room,
            filesystem: filesystem.clone(),
            uuid: sprout.seed_uuid.to_string(),
            checked_by: format!(
                "btrfs check, and all {} files compared with the image's",
                equal.entries
            ),
        };
        let grown = self.grown(&grower, sprout, filesystem)?;
        Ok(vec![seed, grown])
    }

    /// Grows the sprout from the image's own root, whose checksums are all compared first.
    fn sprout_within(
        &mut self,
        sprout: &Sprout,
        image: &fs::File,
        medium: &Medium,
    ) -> Result<Vec<Made>, End> {
        let grower = self.grower(sprout, image, medium);
        self.start(Work::Compare);
        let checked = grower.check_seed();
        checked.map_err(|stop| self.ended(stop, "checking the seed"))?;
        self.finish();
        let filesystem = format!("btrfs ({})", sprout.checksum);
        let seed = Made {
            purpose: "seed".into(),
            size: sprout.seed.extent.len,
            filesystem: format!("{filesystem}, the image's own root"),
            uuid: sprout.seed_uuid.to_string(),
            checked_by: "btrfs check of every checksum".into(),
        };
        let grown = self.grown(&grower, sprout, filesystem)?;
        Ok(vec![seed, grown])
    }

    /// Grows the sprout from a seed that is there.
    fn grown(
        &mut self,
        grower: &Grower<'_>,
        sprout: &Sprout,
        filesystem: String,
    ) -> Result<Made, End> {
        self.start(Work::Sprout);
        let uuid = grower.grow();
        let uuid = uuid.map_err(|stop| self.ended(stop, "growing the sprout"))?;
        self.finish();
        Ok(Made {
            purpose: "sprout".into(),
            size: sprout.sprout.extent.len,
            filesystem,
            uuid,
            checked_by: "mounting it".into(),
        })
    }

    /// Why a program ended: Ctrl-C can reach it before it has a process group of its own.
    fn ended<C>(&self, stop: Stop, what: C) -> Stop
    where
        C: std::fmt::Display + Send + Sync + 'static,
    {
        match stop {
            Stop::Failed(_) if self.cancel.load(Ordering::Relaxed) => Stop::Cancelled,
            Stop::Failed(error) => Stop::Failed(error.context(what)),
            stop @ Stop::Cancelled => stop,
        }
    }

    /// Makes the filesystems behind the image.
    pub(super) fn filesystems(&mut self, medium: &Medium) -> Result<Vec<Made>, End> {
        let plan = self.plan;
        let maker = Maker {
            host: self.host,
            target: &plan.target.path,
            medium,
            cancel: self.cancel,
        };
        let mut all = Vec::new();
        let lock = self.lock.take();
        for (partition, filesystem) in plan.filesystems.iter().enumerate() {
            self.start(Work::Format { partition });
            let made = match (&filesystem.encryption, &lock) {
                (None, _) => maker.make(filesystem),
                (Some(_), Some(lock)) => {
                    maker.make_encrypted(filesystem, lock, &mut |len| self.progress(len))
                }
                (Some(_), None) => Err(Stop::Failed(anyhow!("its key was not made"))),
            };
            let what = format!("making the {} filesystem", filesystem.purpose);
            let checked_by = made.map_err(|stop| self.ended(stop, what))?;
            medium.flush()?;
            all.push(Made {
                purpose: filesystem.purpose.to_string(),
                size: filesystem.extent.len,
                filesystem: filesystem.describe(),
                uuid: filesystem.outside().1.to_string(),
                checked_by: checked_by.to_owned(),
            });
            self.finish();
        }
        Ok(all)
    }
}
