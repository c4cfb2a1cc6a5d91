// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast a job goes, and how long the rest of it will take. Time is passed in, so that tests can make it up.

use std::time::{Duration, Instant};

use crate::event::{Step, Work};
use crate::units::Bytes;

/// Reading a stick is about this much faster than writing it, as long as nothing is known.
pub const READ_FASTER: f64 = 3.0;

/// Bytes a second of a seed on one busy core, however fast the stick is: it is compressed on the way (measured: 63 MB in
/// 3.3 s).
const SEED: f64 = 19e6;

/// What is known of the speed of a job.
#[derive(Clone, Debug)]
pub struct Pace {
    steps: Vec<Step>,
    /// When the step at work began, and how much of the job was done then.
    began: (Instant, Bytes),
    /// Bytes a second that were written.
    write: Option<f64>,
}

impl Pace {
    /// A job that begins.
    pub fn new(steps: Vec<Step>, now: Instant) -> Pace {
        Pace {
            steps,
            began: (now, Bytes::ZERO),
            write: None,
        }
    }

    /// The steps of the job.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A step begins.
    pub fn started(&mut self, step: usize, now: Instant) {
        let before: Bytes = self.steps.iter().take(step).map(|s| s.bytes).sum();
        self.began = (now, before);
    }

    /// A step is done.
    pub fn finished(&mut self, step: usize, now: Instant) {
        let done = self.steps.get(step);
        if let Some(done) = done.filter(|done| done.work == Work::Copy) {
            self.write = rate(done.bytes, now.saturating_duration_since(self.began.0));
        }
    }

    /// Bytes a second that the copy was written at, once it is done.
    pub fn written(&self) -> Option<f64> {
        self.write
    }

    /// Bytes a second of the step at work, where `done` bytes of the job are done.
    pub fn rate(&self, done: Bytes, now: Instant) -> Option<f64> {
        let (began, before) = self.began;
        rate(done - before, now.saturating_duration_since(began))
    }

    /// How long the rest will take at the speeds known so far.
    pub fn left(&self, step: usize, done: Bytes, now: Instant) -> Option<Duration> {
        let reading = |work: Work| work == Work::ReadBack;
        // Making a filesystem moves few bytes and takes its time, a seed is compressed on the way, and what is compared
        // is unpacked: none of that is a speed of the stick.
        let seeding = |work| matches!(work, Work::Seed | Work::Compare);
        let made = |work| seeding(work) || matches!(work, Work::Format { .. } | Work::Sprout);
        let at_work = self.steps.get(step)?.work;
        if at_work == Work::CheckImage {
            // How fast a file is read says nothing of the stick.
            return None;
        }
        let rate = self.rate(done, now);
        let write = match at_work {
            // Marks tell nothing about how fast an image goes.
            Work::Probe => self.write?,
            work if reading(work) || made(work) => self.write.or(rate)?,
            _ => rate.or(self.write)?,
        };
        let read = match rate {
            Some(rate) if reading(at_work) => rate,
            _ => write * READ_FASTER,
        };
        // At their own pace, once that is known.
        let own = rate.filter(|_| seeding(at_work));
        let mut end = Bytes::ZERO;
        let mut seconds = 0.0;
        for step in &self.steps {
            end += step.bytes;
            let rest = (end - done).min(step.bytes);
            let usual = match step.work {
                Work::ReadBack | Work::Compare => read,
                Work::Seed => write.min(SEED),
                _ => write,
            };
            let pace = own.filter(|_| step.work == at_work).unwrap_or(usual);
            seconds += float(rest) / pace;
        }
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// As a float, for rates.
#[allow(
    clippy::cast_precision_loss,
    reason = "a rate for people needs three digits"
)]
pub fn float(bytes: Bytes) -> f64 {
    bytes.0 as f64
}

/// A rate for people: "23.4 MB/s".
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut at the limits of the integer, which is as good for a rate"
)]
pub fn speed(rate: f64) -> String {
    format!("{}/s", Bytes(rate as u64).decimal())
}

/// Bytes a second, once there is enough to tell.
pub fn rate(bytes: Bytes, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    (seconds > 0.5 && bytes > Bytes::ZERO).then(|| float(bytes) / seconds)
}

/// A time for people: "3 min 05 s".
pub fn duration(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_from_what_was_measured() {
        let step = |work, mib| Step {
            title: String::new(),
            work,
            bytes: Bytes::mib(mib),
        };
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let steps = vec![step(Work::Copy, 100), step(Work::ReadBack, 90)];
        let mut pace = Pace::new(steps, began);
        pace.started(0, began);
        assert_eq!(pace.left(0, Bytes::ZERO, at(1)), None);
        // 10 MiB a second: 5 s of writing are left, and 90 MiB of reading at three times that.
        let left = pace.left(0, Bytes::mib(50), at(5));
        assert_eq!(left, Some(Duration::from_secs(8)));
        pace.finished(0, at(10));
        pace.started(1, at(10));
        let left = pace.left(1, Bytes::mib(145), at(11));
        assert_eq!(left, Some(Duration::from_secs(1)));
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn a_seed_is_no_faster_than_it_is_compressed_and_tells_nothing_of_the_stick() {
        let step = |work, bytes| Step {
            title: String::new(),
            work,
            bytes: Bytes(bytes),
        };
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let steps = vec![
            step(Work::Copy, 380_000_000),
            step(Work::Seed, 190_000_000),
            step(Work::Compare, 190_000_000),
            step(Work::ReadBack, 380_000_000),
        ];
        let mut pace = Pace::new(steps, began);
        pace.started(0, began);
        // 38 MB a second: 5 s of copying, 10 s of compressing, and reading at three times the speed of writing.
        let left = pace.left(0, Bytes(190_000_000), at(5)).unwrap();
        assert_eq!(left.as_secs(), 5 + 10 + 5);
        pace.finished(0, at(10));
        pace.started(1, at(10));
        // The seed is slower than thought, 9.5 MB a second; the rest goes as before.
        let done = Bytes(380_000_000 + 95_000_000);
        let left = pace.left(1, done, at(20)).unwrap();
        assert_eq!(left.as_secs(), 10 + 5);
    }
}
