// SPDX-License-Identifier: MIT OR Apache-2.0
//! What follows from what was read where marks had been written. No I/O here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::places::BLOCK;
use crate::report::{Exit, StickState, Verdict};
use crate::units::{Bytes, Extent};

/// What is at a place that was marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its mark.
    Own,
    /// Another place's mark, or a part of one.
    Elsewhere,
    /// No mark.
    Lost,
    /// It cannot be read or written.
    Failed(String),
}

/// What a medium is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// It kept every mark where it belongs.
    Genuine,
    /// Addresses from `at` on are those from zero on again.
    Wraps {
        /// Where it wraps around.
        at: Bytes,
        /// How much it really keeps; less than `at` if it also forgets what is between.
        size: Bytes,
    },
    /// What is written from `from` on is forgotten.
    Drops {
        /// The true size.
        from: Bytes,
    },
    /// It forgets what is written at some places, but not from one on.
    Loses {
        /// The first of them.
        first: Bytes,
        /// How many.
        places: usize,
    },
    /// Reading or writing failed at some places; all others are good.
    Fails {
        /// The first of them.
        first: Bytes,
        /// How many.
        places: usize,
        /// What the system said.
        error: String,
    },
}

impl Finding {
    /// How much it really keeps, if that is known to be less than it claims.
    pub fn true_size(&self) -> Option<Bytes> {
        match self {
            Finding::Wraps { size, .. } => Some(*size),
            Finding::Drops { from } => Some(*from),
            _ => None,
        }
    }
}

/// Where what was kept ends, as far as it is known: behind the place `kept` (none: at the very beginning), before the
/// end of the mark at `lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// The last place that kept its mark.
    pub kept: Option<Bytes>,
    /// The first that did not.
    pub lost: Bytes,
}

impl Bracket {
    /// The end of what was kept.
    pub fn size(self) -> Bytes {
        self.kept.map_or(Bytes::ZERO, |kept| kept + BLOCK)
    }
}

/// Displacements of marks that were found elsewhere, folded into the one they are all multiples of; zero if there
/// were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period(pub u64);

impl Period {
    /// A mark of `origin` was found at `at`.
    pub fn add(&mut self, origin: Bytes, at: Bytes) {
        let (mut a, mut b) = (self.0, origin.0.abs_diff(at.0));
        while b != 0 {
            (a, b) = (b, a % b);
        }
        self.0 = a;
    }
}

/// Judges what was seen at places in ascending order, which were marked in descending order. The bracket is where to
/// look closer for the true size.
pub fn judge(looks: &[(Bytes, Seen)], period: Period) -> (Finding, Option<Bracket>) {
    let wraps = period.0 > 0 && period_explains(looks, period.0);
    let end = if wraps { period.0 } else { u64::MAX };
    let below = || looks.iter().filter(|(place, _)| place.0 < end);
    let is_lost = |seen: &Seen| match seen {
        Seen::Lost => true,
        // Of a medium that wraps this was written by a higher place.
        Seen::Elsewhere => !wraps,
        Seen::Own | Seen::Failed(_) => false,
    };
    let lost = below().find(|(_, seen)| is_lost(seen)).map(|(at, _)| *at);
    let bracket = lost.map(|lost| Bracket {
        kept: below()
            .take_while(|(place, _)| *place < lost)
            .filter(|(_, seen)| *seen == Seen::Own)
            .last()
            .map(|(place, _)| *place),
        lost,
    });
    if wraps {
        let at = Bytes(period.0);
        let size = bracket.map_or(at, Bracket::size);
        return (Finding::Wraps { at, size }, bracket);
    }
    if let Some(bracket) = bracket {
        let behind = || looks.iter().filter(|(place, _)| *place >= bracket.lost);
        let places = behind().filter(|(_, seen)| is_lost(seen)).count();
        // Some counterfeits answer well for the last blocks, where the second partition table is.
        if places * 2 >= behind().count() {
            let from = bracket.size();
            return (Finding::Drops { from }, Some(bracket));
        }
        let first = bracket.lost;
        return (Finding::Loses { first, places }, None);
    }
    (fails(looks), None)
}

/// Whether a wrap-around alone explains what was seen: of places that are the same memory then, only the one written
/// last, which is the lowest, can have kept its mark. (A medium that maps everything behind its end to one small
/// buffer displaces marks too.)
fn period_explains(looks: &[(Bytes, Seen)], period: u64) -> bool {
    let own = looks.iter().filter(|(_, seen)| *seen == Seen::Own);
    let mut memory: Vec<u64> = own.map(|(place, _)| place.0 % period).collect();
    memory.sort_unstable();
    memory
        .iter()
        .zip(memory.iter().skip(1))
        .all(|(one, next)| next - one >= BLOCK.0)
}

fn fails(looks: &[(Bytes, Seen)]) -> Finding {
    let mut failed = looks.iter().filter_map(|(place, seen)| match seen {
        Seen::Failed(error) => Some((*place, error)),
        _ => None,
    });
    let Some((first, error)) = failed.next() else {
        return Finding::Genuine;
    };
    Finding::Fails {
        first,
        places: failed.count() + 1,
        error: error.clone(),
    }
}

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// The size that the medium claims.
    pub claimed: Bytes,
    /// What it is.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether everything was written, and not marks alone.
    pub full: bool,
    /// Whether it was left blank.
    pub blank: bool,
    /// How many marks were written.
    pub marks: usize,
    /// Bytes that were read to find this.
    pub read: Bytes,
    /// Whether they came from the medium.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// After a full probe: what is not kept where it belongs, as far as it fits a list.
    pub lost: Vec<Extent>,
    /// Places that are not again as they were.
    pub left: Vec<Bytes>,
}

impl Capacity {
    /// How `livestick probe` ends.
    pub fn exit(&self) -> Exit {
        match (&self.finding, &self.verdict) {
            (Finding::Genuine, _) if !self.left.is_empty() => Exit::WriteFailed,
            (Finding::Genuine, Verdict::NotVerified { .. }) => Exit::NotVerified,
            (Finding::Genuine, Verdict::Verified { .. }) => Exit::Verified,
            (Finding::Fails { .. }, _) => Exit::WriteFailed,
            _ => Exit::Counterfeit,
        }
    }

    /// What the medium is after the probe.
    pub fn state(&self) -> StickState {
        match (self.full, self.blank, self.left.is_empty()) {
            (true, true, _) => StickState::Blank,
            (true, false, _) | (false, _, false) => StickState::Unknown,
            (false, _, true) if self.marks == 0 => StickState::Untouched,
            (false, _, true) => StickState::Restored,
        }
    }

    /// What was found, and the next move, in one sentence.
    pub fn sentence(&self) -> String {
        let size = |bytes: Bytes| format!("{} ({})", bytes.decimal(), bytes.binary());
        let claimed = size(self.claimed);
        match &self.finding {
            Finding::Genuine if self.full => {
                format!("it keeps every byte of the {claimed} it claims")
            }
            Finding::Genuine => format!(
                "it keeps all {} marks over the {claimed} it claims",
                self.marks
            ),
            Finding::Wraps { at, size: real } if at == real => format!(
                "it is not what it claims to be: it claims {claimed} and has {}, for from byte {at} on it writes over its own beginning; return it",
                size(*real)
            ),
            Finding::Wraps { at, size: real } => format!(
                "it is not what it claims to be: it claims {claimed} and has {}, forgets what is behind, and from byte {at} on writes over its own beginning; return it",
                size(*real)
            ),
            Finding::Drops { from } => format!(
                "it is not what it claims to be: it claims {claimed} and has {}, for from byte {from} on it forgets what is written; return it",
                size(*from)
            ),
            Finding::Loses { first, places } => format!(
                "it does not keep what is written at {places} places, the first at byte {first}; return it, or replace it"
            ),
            Finding::Fails {
                first,
                places,
                error,
            } => format!(
                "it fails at {places} places, the first at byte {first} ({error}); replace it"
            ),
        }
    }

    /// What is to be said of places that are not as they were.
    pub fn left_behind(&self) -> Option<String> {
        let first = self.left.first()?;
        Some(format!(
            "at {} places, the first at byte {first}, what was there could not be put back",
            self.left.len()
        ))
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "capacity   {}", self.sentence())?;
        let read = self.read.grouped();
        match &self.verdict {
            Verdict::Verified { proof } => writeln!(
                f,
                "           {read} bytes read from the medium, past the caches; {proof}"
            )?,
            Verdict::NotVerified { reason } => {
                writeln!(f, "           {read} bytes read, not verified: {reason}")?;
            }
        }
        for lost in &self.lost {
            let (at, end) = (lost.at.grouped(), lost.end().grouped());
            let size = lost.len.binary();
            writeln!(f, "           lost: bytes {at} to {end}, {size}")?;
        }
        let left = self.left_behind();
        let now = left.unwrap_or_else(|| self.state().to_string());
        writeln!(f, "           {now}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(seen: &[Seen]) -> Vec<(Bytes, Seen)> {
        (1..).map(Bytes::mib).zip(seen.iter().cloned()).collect()
    }

    #[test]
    fn what_is_seen_is_judged() {
        use Seen::{Elsewhere, Lost, Own};
        let fail = || Seen::Failed("no luck".into());
        let judged = |seen: &[Seen], period| judge(&looks(seen), Period(period)).0;
        assert_eq!(judged(&[Own, Own, Own], 0), Finding::Genuine);
        let from = Bytes::mib(1) + BLOCK;
        assert_eq!(judged(&[Own, Lost, Lost, Own], 0), Finding::Drops { from });
        let first = Bytes::mib(2);
        assert_eq!(
            judged(&[Own, Lost, Own, Own], 0),
            Finding::Loses { first, places: 1 }
        );
        let from = Bytes::ZERO;
        assert_eq!(judged(&[Lost, Lost], 0), Finding::Drops { from });
        let failing = judged(&[Own, fail(), fail()], 0);
        assert!(matches!(failing, Finding::Fails { places: 2, .. }));
        assert!(matches!(judged(&[fail(), Lost], 0), Finding::Drops { .. }));
        let at = Bytes::mib(2);
        assert_eq!(
            judged(&[Own, Own, Elsewhere, Elsewhere], at.0),
            Finding::Wraps { at, size: at }
        );
        // Nothing that wraps at 1 MiB keeps two marks at whole MiB.
        assert!(matches!(
            judged(&[Own, Own, Elsewhere, Elsewhere], 1 << 20),
            Finding::Drops { from } if from == Bytes::mib(2) + BLOCK
        ));
    }

    #[test]
    fn a_period_is_what_all_displacements_have_in_common() {
        let mut period = Period::default();
        for (origin, at) in [(30, 0), (5, 26), (7, 7)] {
            period.add(Bytes(origin), Bytes(at));
        }
        assert_eq!(period, Period(3));
    }
}
