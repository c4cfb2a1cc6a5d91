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

use crate::table::{GRAIN, Space};
use crate::units::{Bytes, Extent};

/// Sizes are multiples of this.
const SIZE_GRAIN: Bytes = Bytes::mib(1);

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// What the live system remembers of itself.
    Overlay,
    /// People's files.
    Home,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Overlay => "overlay",
            Purpose::Home => "home",
        })
    }
}

/// How large a partition shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// So large.
    Fixed(Bytes),
    /// As large as the others let it be.
    Rest,
}

/// A partition that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

fn advice(largest: &[Largest]) -> String {
    let possible = largest.iter().filter(|l| l.size > Bytes::ZERO);
    let texts: Vec<String> = possible
        .map(|l| format!("{} can be {} at most", l.what, l.size.binary()))
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
        let room = |i| largest(space, &sizes, i).unwrap_or_default();
        let each = asks.iter().enumerate();
        return Err(LayoutError::DoesNotFit {
            need: end - space.from,
            have: space.to - space.from,
            largest: each
                .map(|(i, ask)| Largest {
                    what: ask.what,
                    size: room(i),
                })
                .collect(),
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
