// SPDX-License-Identifier: MIT OR Apache-2.0
//! One verdict over everything that was found, with the next step.

use serde::{Deserialize, Serialize};

use crate::chain::{Holds, Link};
use crate::diagnosis::{Again, Cure, Damage, Kind};
use crate::units::{Bytes, Extent};

/// What explains everything that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nothing is wrong.
    Sound,
    /// Nothing is wrong, but not everything could be proven.
    Unproven,
    /// The medium does not give what it was given, or not every time the same.
    MediumFailing,
    /// A system that mounted the stick wrote to it.
    SystemChanged,
    /// The medium has less room than it says.
    SmallerThanClaimed,
    /// Data lie at each other's places.
    Swapped,
    /// Another image lies there.
    WrittenOver,
    /// Some bytes are wrong; from what is not known.
    Damaged,
    /// Only the user's own filesystems are damaged.
    FilesystemDamaged,
    /// What was wrong was written again, and is right now.
    Cured,
    /// What was written again is still wrong.
    Incurable,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The cause.
    pub cause: Cause,
    /// The same in words.
    pub says: String,
    /// The next step.
    pub next: String,
}

/// What is known of the EFI system partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EspSigns {
    /// Where it is.
    pub extent: Option<Extent>,
    /// Whether every file on it is as it was written.
    pub files_intact: bool,
    /// What a system left there, in words: "its FAT is marked as in use", "the folder .fseventsd".
    pub signs: Vec<String>,
}

/// What the verdict is made from.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// What is not as it should be.
    pub damage: &'a [Damage],
    /// The links.
    pub links: &'a [Link],
    /// The image's range.
    pub image: Bytes,
    /// What the EFI system partition shows.
    pub esp: &'a EspSigns,
    /// Whether a record says what was meant.
    pub recorded: bool,
    /// Where zeros belong, so that nobody sees whether they were lost.
    pub zeros: &'a [Extent],
}

/// With so many wrong chunks up to the end, from one offset on everything is wrong.
const TAIL: usize = 3;

impl Findings<'_> {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        let cause = self.cause();
        let (says, next) = self.words(cause);
        Verdict { cause, says, next }
    }

    /// The links that do not hold.
    fn broken(&self) -> Vec<&str> {
        let broken = self.links.iter().filter(|link| link.holds == Holds::Broken);
        broken.map(|link| link.name.as_str()).collect()
    }

    fn cause(&self) -> Cause {
        let damage = self.damage;
        if damage.is_empty() {
            let broken = self.broken();
            return match () {
                () if broken.iter().any(|name| !is_filesystem(name)) => Cause::Damaged,
                () if !broken.is_empty() => Cause::FilesystemDamaged,
                () if !crate::chain::holds(self.links) => Cause::Unproven,
                () => Cause::Sound,
            };
        }
        let unsteady = |one: &Damage| {
            matches!(one.kind, Kind::Unreadable { .. })
                || matches!(
                    one.again,
                    Again::Different | Again::Unreadable | Again::Right
                )
        };
        if self.wraps() {
            return Cause::SmallerThanClaimed;
        }
        if damage.iter().any(unsteady) {
            return Cause::MediumFailing;
        }
        if self.by_a_system() {
            return Cause::SystemChanged;
        }
        let elsewhere = |one: &Damage| matches!(one.kind, Kind::Elsewhere { .. });
        if damage.iter().all(elsewhere) {
            return Cause::Swapped;
        }
        let wrong = self.wrong_bytes();
        if wrong.0 > self.image.0 / 10 * 9 && self.starts_wrong() {
            return Cause::WrittenOver;
        }
        if self.wrong_to_the_end() {
            return Cause::SmallerThanClaimed;
        }
        if self.in_image().next().is_none() && damage.iter().all(|one| one.cure == Cure::None) {
            return Cause::FilesystemDamaged;
        }
        Cause::Damaged
    }

    fn in_image(&self) -> impl Iterator<Item = &Damage> {
        let size = self.image;
        self.damage.iter().filter(move |one| one.extent.at < size)
    }

    fn wrong_bytes(&self) -> Bytes {
        self.in_image().map(|one| one.extent.len).sum()
    }

    fn starts_wrong(&self) -> bool {
        self.in_image()
            .any(|one| one.extent.at == Bytes::ZERO || one.extent.end() <= Bytes(1 << 20))
    }

    /// Whether data appear again one same distance behind their place, which is the size of the medium then (or the
    /// other way round, where the later write won).
    fn wraps(&self) -> bool {
        let mut distances = self.damage.iter().filter_map(|one| match one.kind {
            Kind::Elsewhere { belongs } => {
                Some(i128::from(belongs.0) - i128::from(one.extent.at.0))
            }
            _ => None,
        });
        let Some(first) = distances.next() else {
            return false;
        };
        let mut count = 1;
        for distance in distances {
            if distance != first {
                return false;
            }
            count += 1;
        }
        count >= TAIL
    }

    /// Whether everything from some offset on is wrong, up to the end of the image, and nothing before it.
    fn wrong_to_the_end(&self) -> bool {
        let mut extents: Vec<Extent> = self.in_image().map(|one| one.extent).collect();
        extents.sort_unstable();
        let from = extents.first().map_or(Bytes::ZERO, |first| first.at);
        let zeros = self.zeros.iter().filter(|zeros| zeros.at > from);
        let wrong: Bytes = extents.iter().chain(zeros).map(|extent| extent.len).sum();
        let tail = self.image - from;
        from > Bytes::ZERO && extents.len() >= TAIL && wrong.0 >= tail.0 / 10 * 9
    }

    /// Whether all that is wrong lies on the EFI system partition, whose files are intact, and whose FAT shows that a
    /// system had it mounted.
    fn by_a_system(&self) -> bool {
        let Some(esp) = self.esp.extent else {
            return false;
        };
        self.esp.files_intact
            && !self.esp.signs.is_empty()
            && self.damage.iter().all(|one| {
                if one.exact {
                    esp.contains(one.extent)
                } else {
                    esp.overlaps(one.extent)
                }
            })
    }

    fn words(&self, cause: Cause) -> (String, String) {
        let curable =
            self.damage.iter().all(|one| one.cure != Cure::None) && !self.broken_filesystem();
        let repair = "run `livestick repair` with the image";
        let (says, next) = match cause {
            Cause::Sound => (
                "the stick is what was written".to_owned(),
                "nothing is to be done".to_owned(),
            ),
            Cause::Unproven => (
                "nothing wrong was found, but not everything could be proven".into(),
                "the table above tells why".into(),
            ),
            Cause::Cured | Cause::Incurable => (String::new(), String::new()),
            Cause::MediumFailing => (
                "the medium is failing: it does not give what was written to it, or not every time".into(),
                "save what is on the stick and replace it; if you repair it first, do not rely on it".into(),
            ),
            Cause::SystemChanged => (
                format!(
                    "a system that mounted the stick changed it after it was written: {}; every file on the EFI system partition is as it was, so it starts as before",
                    self.esp.signs.join(", ")
                ),
                format!("to have it byte for byte again, {repair}"),
            ),
            Cause::SmallerThanClaimed => {
                let from = self.damage.iter().map(|one| one.extent.at).min();
                (
                    format!(
                        "the stick is smaller than it claims: what was written from byte {} on is not there",
                        from.unwrap_or_default().grouped()
                    ),
                    "run `livestick probe` to learn its size, and replace it".into(),
                )
            }
            Cause::Swapped => (
                "data lie at each other's places: the stick (or its controller) mixed up what it was given".into(),
                format!("{repair}, and replace the stick if it happens again"),
            ),
            Cause::WrittenOver => (
                "another image, or something else, was written over the stick".into(),
                "write it again".into(),
            ),
            Cause::FilesystemDamaged => (
                "the image is as it was written, but what was saved on the stick is damaged".into(),
                "save what you can, and write the stick again; `livestick repair` has nothing to put there".into(),
            ),
            Cause::Damaged if self.damage.is_empty() => (
                format!("not as it should be: {}", self.broken().join(", ")),
                "the table above tells why; write the stick again, unless something else was meant".into(),
            ),
            Cause::Damaged if !self.recorded => (
                "the stick is not the image; without a record nobody knows which differences were meant".into(),
                "write it again to be sure".into(),
            ),
            Cause::Damaged => (
                format!(
                    "{}: damaged after writing",
                    match self.damage.len() {
                        1 => "1 range is not what was written, and stays so".into(),
                        many => format!("{many} ranges are not what was written, and stay so"),
                    }
                ),
                format!("{repair}; if it happens again replace the stick"),
            ),
        };
        if !curable
            && matches!(
                cause,
                Cause::Damaged | Cause::Swapped | Cause::SystemChanged
            )
        {
            return (
                says,
                format!(
                    "{next}; what was saved in the overlay or /home cannot be repaired, save what you can"
                ),
            );
        }
        (says, next)
    }

    fn broken_filesystem(&self) -> bool {
        self.broken().iter().any(|name| is_filesystem(name))
    }
}

/// Whether a link is about what users have saved.
fn is_filesystem(link: &str) -> bool {
    matches!(link, "overlay" | "home" | "sprout")
        || link
            .strip_prefix("partition ")
            .is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MIB;

    fn chunk(index: u64, kind: Kind, again: Again) -> Damage {
        Damage {
            extent: Extent {
                at: Bytes(index * MIB),
                len: Bytes(MIB),
            },
            exact: false,
            partition: None,
            places: Vec::new(),
            kind,
            again,
            cure: Cure::Image,
        }
    }

    fn cause(damage: &[Damage], esp: &EspSigns) -> Cause {
        let links = [];
        let findings = Findings {
            damage,
            links: &links,
            image: Bytes::mib(100),
            esp,
            recorded: true,
            zeros: &[],
        };
        let verdict = findings.verdict();
        assert!(!verdict.says.is_empty() && !verdict.next.is_empty());
        verdict.cause
    }

    #[test]
    fn causes_are_told_apart() {
        let none = EspSigns::default();
        let same = |index, kind| chunk(index, kind, Again::Same);
        assert_eq!(cause(&[], &none), Cause::Sound);
        assert_eq!(cause(&[same(3, Kind::Other)], &none), Cause::Damaged);
        let twice = chunk(3, Kind::Other, Again::Different);
        assert_eq!(cause(&[twice], &none), Cause::MediumFailing);
        let gone = same(3, Kind::Unreadable { why: "EIO".into() });
        assert_eq!(cause(&[gone], &none), Cause::MediumFailing);
        let belongs = |to: u64| Kind::Elsewhere {
            belongs: Bytes(to * MIB),
        };
        let swapped = [same(3, belongs(9)), same(9, belongs(3))];
        assert_eq!(cause(&swapped, &none), Cause::Swapped);
        let wrapped: Vec<_> = (0..5).map(|i| same(i, belongs(i + 64))).collect();
        assert_eq!(cause(&wrapped, &none), Cause::SmallerThanClaimed);
        let tail: Vec<_> = (60..100).map(|i| same(i, Kind::Zeros)).collect();
        assert_eq!(cause(&tail, &none), Cause::SmallerThanClaimed);
        let all: Vec<_> = (0..100).map(|i| same(i, Kind::Other)).collect();
        assert_eq!(cause(&all, &none), Cause::WrittenOver);
    }

    #[test]
    fn a_system_is_blamed_only_where_its_traces_are() {
        let mut esp = EspSigns {
            extent: Some(Extent {
                at: Bytes::mib(3),
                len: Bytes::mib(4),
            }),
            files_intact: true,
            signs: vec!["the folder .fseventsd".into()],
        };
        let inside = [chunk(4, Kind::Other, Again::Same)];
        assert_eq!(cause(&inside, &esp), Cause::SystemChanged);
        let outside = [inside[0].clone(), chunk(20, Kind::Other, Again::Same)];
        assert_eq!(cause(&outside, &esp), Cause::Damaged);
        esp.files_intact = false;
        assert_eq!(cause(&inside, &esp), Cause::Damaged);
    }
}
