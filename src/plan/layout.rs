// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the new partitions go: behind the image, in the order they were asked for.
//!
//! Pure arithmetic over what the table allows ([`Space`]). Rules:
//!
//! * Every partition starts at a multiple of 4 MiB.
//! * A size that was asked for is kept if it is a multiple of 1 MiB, and else rounded up to the next one.
//! * One partition may take the rest, wherever it stands in the order: a multiple of 4 MiB.
//! * A refusal says how large each partition could have been.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::Size;
use crate::table::{GRAIN, Space};
use crate::units::{Bytes, Extent, MIB};

/// Sizes are multiples of this.
const SIZE_GRAIN: Bytes = Bytes::mib(1);

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// What the live system remembers of itself.
    Overlay,
    /// The image's root, as a btrfs that others grow from.
    Seed,
    /// What the live system remembers of itself, grown from the seed.
    Sprout,
    /// People's files.
    Home,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Overlay => "overlay",
            Purpose::Seed => "seed",
            Purpose::Sprout => "sprout",
            Purpose::Home => "home",
        })
    }
}

/// A partition that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What for.
    pub what: Purpose,
    /// How large.
    pub size: Size,
    /// Below this it is of no use (the smallest filesystem that can be made).
    pub smallest: Bytes,
}

/// A partition that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// What for.
    pub what: Purpose,
    /// Where.
    pub extent: Extent,
}

/// The largest that a partition can be if the others stay as asked for, and one that takes the rest is as small as it
/// can be; zero if the others do not fit even without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Largest {
    /// What for.
    pub what: Purpose,
    /// How large it could be.
    pub size: Bytes,
}

/// Why partitions have no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The medium is too small.
    #[error("the partitions need {} behind the image, but there are {}{}", need.binary(), have.binary(), advice(largest))]
    DoesNotFit {
        /// Bytes needed behind the image, with what alignment costs.
        need: Bytes,
        /// Bytes there are.
        have: Bytes,
        /// How large each could be, in the order of asking.
        largest: Vec<Largest>,
    },
    /// A partition would be useless.
    #[error("{} for the {what} partition is too small; ask for at least {}", ask.binary(), smallest.binary())]
    TooSmall {
        /// What for.
        what: Purpose,
        /// The size asked for.
        ask: Bytes,
        /// The smallest size of use.
        smallest: Bytes,
    },
    /// Two partitions cannot both take the rest.
    #[error("only one partition can take the rest; give all others a size")]
    TwoRests,
}

/// A size as it can be typed, rounded down: what is promised to fit has to fit.
fn mib(size: Bytes) -> String {
    format!("{} MiB", size.0 / MIB)
}

fn advice(largest: &[Largest]) -> String {
    let possible = largest.iter().filter(|l| l.size > Bytes::ZERO);
    let texts: Vec<String> = possible
        .map(|l| format!("{} can be {} at most", l.what, mib(l.size)))
        .collect();
    if texts.is_empty() {
        return "; use a larger medium, or ask for less".to_owned();
    }
    format!("; {}, all else unchanged", texts.join(", or "))
}

/// Gives each ask its place. A gap that `space` does not list is none.
///
/// Errors: see [`LayoutError`].
pub fn lay_out(space: &Space, asks: &[Ask]) -> Result<Vec<Slot>, LayoutError> {
    let is_rest = |ask: &Ask| ask.size == Size::Rest;
    if asks.iter().filter(|ask| is_rest(ask)).count() > 1 {
        return Err(LayoutError::TwoRests);
    }
    let mut sizes = Vec::with_capacity(asks.len());
    for ask in asks {
        let smallest = ask.smallest.max(SIZE_GRAIN);
        let size = match ask.size {
            Size::Fixed(size) if size < smallest => {
                return Err(LayoutError::TooSmall {
                    what: ask.what,
                    ask: size,
                    smallest,
                });
            }
            Size::Fixed(size) => size.align_up(SIZE_GRAIN),
            Size::Rest => smallest.align_up(GRAIN),
        };
        sizes.push(size);
    }
    let end = stack(space, &sizes, space.from, 0..sizes.len());
    if end > space.to {
        let room = |(i, ask): (usize, &Ask)| {
            let room = largest(space, &sizes, i).unwrap_or_default();
            let room = match ask.size {
                Size::Fixed(_) => room,
                Size::Rest => room.align_down(GRAIN),
            };
            let useful = room >= ask.smallest;
            Largest {
                what: ask.what,
                size: if useful { room } else { Bytes::ZERO },
            }
        };
        return Err(LayoutError::DoesNotFit {
            need: end - space.from,
            have: space.to - space.from,
            largest: asks.iter().enumerate().map(room).collect(),
        });
    }
    if let Some(rest) = asks.iter().position(is_rest) {
        sizes[rest] = largest(space, &sizes, rest)
            .unwrap_or_default()
            .align_down(GRAIN)
            .max(sizes[rest]);
    }
    let mut cursor = space.from;
    let place = |(i, (ask, len)): (usize, (&Ask, &Bytes))| {
        let at = start(space, i, cursor);
        cursor = at + *len;
        let extent = Extent { at, len: *len };
        Slot {
            what: ask.what,
            extent,
        }
    };
    Ok(asks.iter().zip(&sizes).enumerate().map(place).collect())
}

/// Where partition `i` starts if the one before it ends at `cursor`.
fn start(space: &Space, i: usize, cursor: Bytes) -> Bytes {
    let gap = space.gaps.get(i).copied().unwrap_or_default();
    (cursor + gap).align_up(GRAIN)
}

/// Where the last of the partitions in `range` ends if the first may start at `from`.
fn stack(space: &Space, sizes: &[Bytes], from: Bytes, range: std::ops::Range<usize>) -> Bytes {
    range.fold(from, |cursor, i| start(space, i, cursor) + sizes[i])
}

/// The largest size of partition `i`, if those before and after it keep theirs.
fn largest(space: &Space, sizes: &[Bytes], i: usize) -> Option<Bytes> {
    let before = stack(space, sizes, space.from, 0..i);
    let at = start(space, i, before);
    // Those after it need the same length wherever a multiple of the grain is before them.
    let after = stack(space, sizes, Bytes::ZERO, i + 1..sizes.len());
    let end = Bytes(space.to.0.checked_sub(after.0)?);
    let grain = if after == Bytes::ZERO {
        SIZE_GRAIN
    } else {
        GRAIN
    };
    Some(Bytes(end.align_down(grain).0.checked_sub(at.0)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::MIB;

    fn space(from: u64, to: u64, gaps: &[u64]) -> Space {
        Space {
            from: Bytes(from),
            to: Bytes(to),
            gaps: gaps.iter().map(|gap| Bytes(*gap)).collect(),
        }
    }

    fn ask(what: Purpose, size: Size, smallest: u64) -> Ask {
        let smallest = Bytes::mib(smallest);
        Ask {
            what,
            size,
            smallest,
        }
    }

    fn mib(mib: u64) -> Size {
        Size::Fixed(Bytes::mib(mib))
    }

    #[test]
    fn what_was_asked_for_is_kept_and_the_rest_is_all_that_is_left() {
        let space = space(2_099_000_000, 4 << 30, &[]);
        let asks = [
            ask(Purpose::Overlay, mib(701), 16),
            ask(Purpose::Home, Size::Rest, 16),
        ];
        let slots = lay_out(&space, &asks).unwrap();
        let seen: Vec<_> = slots
            .iter()
            .map(|s| (s.what, s.extent.at.0 / MIB, s.extent.len.0 / MIB))
            .collect();
        assert_eq!(
            seen,
            [(Purpose::Overlay, 2004, 701), (Purpose::Home, 2708, 1388)]
        );
        let odd = [ask(Purpose::Home, Size::Fixed(Bytes(100 * MIB + 1)), 16)];
        assert_eq!(
            lay_out(&space, &odd).unwrap()[0].extent.len,
            Bytes::mib(101)
        );
    }

    #[test]
    fn refusals_say_what_would_be_possible() {
        let space = space(1000 * MIB, 2000 * MIB + 7, &[]);
        let asks = [
            ask(Purpose::Overlay, mib(900), 16),
            ask(Purpose::Home, mib(102), 16),
        ];
        let refused = lay_out(&space, &asks).unwrap_err();
        let largest = |what, size| Largest {
            what,
            size: Bytes::mib(size),
        };
        assert_eq!(
            refused,
            LayoutError::DoesNotFit {
                need: Bytes::mib(1002),
                have: Bytes(1000 * MIB + 7),
                largest: vec![largest(Purpose::Overlay, 896), largest(Purpose::Home, 100)],
            }
        );
        assert_eq!(
            refused.to_string(),
            "the partitions need 1002.0 MiB behind the image, but there are 1000.0 MiB; overlay can be 896 MiB at \
             most, or home can be 100 MiB at most, all else unchanged"
        );
        let asks = [
            ask(Purpose::Overlay, mib(995), 16),
            ask(Purpose::Home, Size::Rest, 32),
        ];
        let LayoutError::DoesNotFit { largest: each, .. } = lay_out(&space, &asks).unwrap_err()
        else {
            panic!("it does not fit");
        };
        assert_eq!(
            each,
            [largest(Purpose::Overlay, 968), largest(Purpose::Home, 0)]
        );
        let small = [ask(Purpose::Home, mib(15), 16)];
        assert!(matches!(
            lay_out(&space, &small),
            Err(LayoutError::TooSmall { .. })
        ));
        let rests = [ask(Purpose::Home, Size::Rest, 1); 2];
        assert_eq!(lay_out(&space, &rests), Err(LayoutError::TwoRests));
        assert_eq!(lay_out(&space, &[]), Ok(Vec::new()));
    }

    fn any_ask() -> impl Strategy<Value = Ask> {
        let size = prop_oneof![
            3 => (1..3000 * MIB).prop_map(|size| Size::Fixed(Bytes(size))),
            1 => Just(Size::Rest),
            1 => any::<u64>().prop_map(|size| Size::Fixed(Bytes(size))),
        ];
        let what = prop_oneof![Just(Purpose::Overlay), Just(Purpose::Home)];
        (what, size, 0..64_u64).prop_map(|(what, size, smallest)| ask(what, size, smallest))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_layout_is_sound(
            from in 0..5000 * MIB,
            room in 0..9000 * MIB,
            gaps in prop::collection::vec(prop_oneof![Just(0), Just(GRAIN.0)], 0..5),
            asks in prop::collection::vec(any_ask(), 0..5),
        ) {
            let space = space(from, from + room, &gaps);
            match lay_out(&space, &asks) {
                Ok(slots) => {
                    prop_assert_eq!(slots.len(), asks.len());
                    let mut free = space.from;
                    for (i, (slot, ask)) in slots.iter().zip(&asks).enumerate() {
                        let gap = gaps.get(i).copied().unwrap_or(0);
                        prop_assert_eq!(slot.what, ask.what);
                        prop_assert!(slot.extent.at.0 >= free.0 + gap);
                        prop_assert!(slot.extent.at.0.is_multiple_of(GRAIN.0));
                        prop_assert!(slot.extent.len.0.is_multiple_of(MIB));
                        prop_assert!(slot.extent.len >= ask.smallest.max(Bytes(1)));
                        if let Size::Fixed(size) = ask.size {
                            prop_assert!(slot.extent.len >= size);
                            prop_assert!(slot.extent.len.0 - size.0 < MIB);
                        }
                        // What alignment and gaps cost is less than one unit each.
                        prop_assert!(slot.extent.at.0 - free.0 - gap < GRAIN.0);
                        free = slot.extent.end();
                    }
                    prop_assert!(free <= space.to);
                    if asks.iter().any(|ask| ask.size == Size::Rest) {
                        // A multiple of the unit more would not have fitted.
                        prop_assert!(space.to.0 - free.0 < 2 * GRAIN.0);
                        let rest = asks.iter().position(|ask| ask.size == Size::Rest).unwrap();
                        let mut more = asks.clone();
                        more[rest].size = Size::Fixed(slots[rest].extent.len + GRAIN);
                        prop_assert!(lay_out(&space, &more).is_err());
                    }
                }
                Err(LayoutError::DoesNotFit { need, have, largest }) => {
                    prop_assert!(need > have);
                    // Each promise holds, and nothing larger was possible.
                    for (i, promise) in largest.iter().enumerate() {
                        let mut fitting = asks.clone();
                        if promise.size > Bytes::ZERO {
                            fitting[i].size = Size::Fixed(promise.size);
                            prop_assert!(lay_out(&space, &fitting).is_ok());
                            fitting[i].size = Size::Fixed(promise.size + GRAIN);
                            prop_assert!(lay_out(&space, &fitting).is_err());
                        } else {
                            fitting[i].size = Size::Fixed(asks[i].smallest.max(SIZE_GRAIN));
                            let refused = lay_out(&space, &fitting).is_err();
                            prop_assert!(refused || asks[i].size == Size::Rest);
                        }
                    }
                }
                Err(LayoutError::TooSmall { ask, smallest, .. }) => prop_assert!(ask < smallest),
                Err(LayoutError::TwoRests) => {
                    prop_assert!(asks.iter().filter(|ask| ask.size == Size::Rest).count() > 1);
                }
            }
        }
    }
}
