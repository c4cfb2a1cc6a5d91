// SPDX-License-Identifier: MIT OR Apache-2.0
//! The persistence screen's state: how large the overlay and /home shall be. Where they go and what fits is asked of
//! [`lay_out`], the planner's own arithmetic.

use super::keys::{Cmd, Field};
use super::known::{ImageFacts, Seed};
use super::room::Room;
use super::sticks::Target;
use crate::plan::encryption;
use crate::plan::layout::Purpose;
use crate::plan::layout::{Ask, LayoutError, Slot, lay_out};
use crate::request::{FsKind, Persistence, Request, Size, Wanted};
use crate::sprout::room::{SMALLEST_SEED, SMALLEST_SPROUT};
use crate::table::GRAIN;
use crate::units::{Bytes, GIB};

/// What a preset is called.
pub const PRESETS: [&str; 5] = [
    "the image as it is",
    "the overlay takes the rest",
    "overlay and /home, half each",
    "overlay a quarter, /home the rest",
    "/home takes the rest",
];

/// The fields, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The presets.
    Preset,
    /// How large one of the two is.
    Size(Purpose),
    /// Which filesystem it has.
    Fs(Purpose),
    /// Whether /home is encrypted.
    Encrypted,
    /// More kernel arguments.
    Arguments,
}

/// The fields in order.
pub const PLACES: [Place; 7] = [
    Place::Preset,
    Place::Size(Purpose::Overlay),
    Place::Fs(Purpose::Overlay),
    Place::Size(Purpose::Home),
    Place::Fs(Purpose::Home),
    Place::Encrypted,
    Place::Arguments,
];

/// One of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How large; none for without.
    pub size: Option<Size>,
    /// Which filesystem; none for the best that the image can mount.
    pub fs: Option<FsKind>,
}

/// The sizes.
#[derive(Clone, Debug, Default)]
pub struct Amounts {
    /// The field that keys go to, of [`PLACES`].
    pub focus: usize,
    /// The preset; none if something was changed by hand.
    pub preset: Option<usize>,
    /// The overlay.
    pub overlay: Part,
    /// Whether it is a sprout instead.
    pub sprout: bool,
    /// The home.
    pub home: Part,
    /// Whether /home is encrypted.
    pub encrypted: bool,
    /// More kernel arguments.
    pub arguments: Field,
    /// A size that is being typed.
    pub typed: Option<Field>,
}

/// What fits, in words or in places.
pub type Layout = Result<Vec<Slot>, String>;

impl Amounts {
    /// Part `what`.
    pub fn part(&self, what: Purpose) -> Part {
        match what {
            Purpose::Overlay | Purpose::Seed | Purpose::Sprout => self.overlay,
            Purpose::Home => self.home,
        }
    }

    fn part_mut(&mut self, what: Purpose) -> &mut Part {
        match what {
            Purpose::Overlay | Purpose::Seed | Purpose::Sprout => &mut self.overlay,
            Purpose::Home => &mut self.home,
        }
    }

    /// The field that keys go to.
    pub fn place(&self) -> Place {
        PLACES.get(self.focus).copied().unwrap_or(Place::Preset)
    }

    /// Whether letters are text.
    pub fn typing(&self) -> bool {
        self.typed.is_some() || self.place() == Place::Arguments
    }

    fn asks(&self, room: &Room) -> Vec<Ask> {
        let ask = |what| {
            let part = self.part(what);
            Some(Ask {
                what: self.made(what),
                size: part.size?,
                smallest: self.smallest(what, room),
            })
        };
        let seed = match &room.sprout {
            Ok((Seed::Made(size), _)) if self.grows() => Some(Ask {
                what: Purpose::Seed,
                size: Size::Fixed(*size),
                smallest: SMALLEST_SEED,
            }),
            _ => None,
        };
        let parts = [Purpose::Overlay, Purpose::Home].into_iter();
        seed.into_iter().chain(parts.filter_map(ask)).collect()
    }

    /// Whether a sprout is wanted.
    pub fn grows(&self) -> bool {
        self.sprout && self.overlay.size.is_some()
    }

    /// What a field's part becomes on the stick.
    fn made(&self, what: Purpose) -> Purpose {
        match what {
            Purpose::Overlay if self.sprout => Purpose::Sprout,
            what => what,
        }
    }

    /// How a part is called.
    pub fn label(&self, what: Purpose) -> &'static str {
        match self.made(what) {
            Purpose::Overlay | Purpose::Seed => "overlay",
            Purpose::Sprout => "sprout",
            Purpose::Home => "/home",
        }
    }

    /// Below this `what` is of no use.
    fn smallest(&self, what: Purpose, room: &Room) -> Bytes {
        let header = match what {
            Purpose::Home if self.encrypted => encryption::HEAD,
            Purpose::Overlay if self.sprout => return SMALLEST_SPROUT,
            _ => Bytes::ZERO,
        };
        room.smallest(self.part(what).fs) + header
    }

    /// Whether what is encrypted could be opened at boot, or why not: as the plan would say it.
    fn unlockable(&self, room: &Room) -> Result<(), String> {
        if !self.encrypted || self.home.size.is_none() {
            return Ok(());
        }
        room.encryption.clone()?;
        let why = "what asks for the passphrase at boot lies in an overlay";
        if self.grows() {
            return Err(format!(
                "{why}, and a sprout has none: choose another filesystem for it, or do not encrypt /home"
            ));
        }
        if self.overlay.size.is_none() {
            return Err(format!("{why}: give it a size, or do not encrypt /home"));
        }
        Ok(())
    }

    /// Where the partitions would be.
    pub fn layout(&self, room: &Room) -> Layout {
        let asks = self.asks(room);
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        self.unlockable(room)?;
        let space = room.space(self.grows(), asks.len())?;
        lay_out(space, &asks).map_err(|error| error.to_string())
    }

    /// How large `what` is at present: zero without.
    pub fn size_of(&self, what: Purpose, room: &Room) -> Bytes {
        match self.part(what).size {
            None => Bytes::ZERO,
            Some(Size::Fixed(size)) => size,
            Some(Size::Rest) => {
                let slots = self.layout(room).unwrap_or_default();
                let slot = slots.iter().find(|slot| slot.what == self.made(what));
                slot.map_or(Bytes::ZERO, |slot| slot.extent.len)
            }
        }
    }

    /// The smallest and the largest that `what` can be, all else unchanged; none if it cannot be at all.
    pub fn limits(&self, what: Purpose, room: &Room) -> Option<(Bytes, Bytes)> {
        if room.mountable.is_empty() {
            return None;
        }
        let mut more = self.clone();
        // What no medium has: the refusal says what would have been possible.
        more.part_mut(what).size = Some(Size::Fixed(Bytes(u64::MAX >> 8)));
        let asks = more.asks(room);
        let refused = lay_out(room.space(more.grows(), asks.len()).ok()?, &asks).err()?;
        let LayoutError::DoesNotFit { largest, .. } = refused else {
            return None;
        };
        let made = self.made(what);
        let largest = largest.iter().find(|each| each.what == made)?.size;
        let smallest = self.smallest(what, room);
        (largest >= smallest).then_some((smallest, largest))
    }

    /// Chooses a preset.
    pub fn choose(&mut self, preset: usize, room: &Room) {
        let part = |share: u64| {
            let size = Bytes(room.free().0 / share).align_down(GRAIN);
            let size = size.max(room.smallest(None));
            Some(Size::Fixed(size))
        };
        let (overlay, home) = match preset {
            1 => (Some(Size::Rest), None),
            2 => (part(2), Some(Size::Rest)),
            3 => (part(4), Some(Size::Rest)),
            4 => (None, Some(Size::Rest)),
            _ => (None, None),
        };
        self.overlay.size = overlay;
        self.home.size = home;
        self.preset = Some(preset);
    }

    /// Makes the sizes fit another image or target: a preset is taken anew, sizes given by hand stay.
    pub fn adapt(&mut self, room: &Room, fresh: bool) {
        self.typed = None;
        if room.mountable.is_empty() {
            self.choose(0, room);
            self.focus = 0;
            self.overlay.fs = None;
            self.sprout = false;
            self.home.fs = None;
            self.encrypted = false;
            return;
        }
        for what in [Purpose::Overlay, Purpose::Home] {
            let part = self.part_mut(what);
            part.fs = part.fs.filter(|fs| room.mountable.contains(fs));
        }
        self.encrypted &= room.encryption.is_ok();
        self.sprout = match &room.sprout {
            Err(_) => false,
            // No byte of the root is stored twice.
            Ok((Seed::Within, _)) if fresh => true,
            Ok(_) => self.sprout,
        };
        match self.preset {
            Some(preset) if !fresh => self.choose(preset, room),
            None if !fresh => {}
            _ => {
                let possible = self.limits(Purpose::Overlay, room).is_some();
                self.choose(usize::from(possible), room);
            }
        }
    }

    /// Takes a command; `Ok(false)` if it was none for this screen, an error to be read.
    pub fn command(&mut self, cmd: Cmd, room: &Room) -> Result<bool, String> {
        if self.typed.is_some() {
            return self.typed_command(cmd, room);
        }
        let place = self.place();
        if place == Place::Arguments && self.arguments.take(cmd) {
            return Ok(true);
        }
        let cmd = if place == Place::Arguments {
            cmd
        } else {
            cmd.moving()
        };
        match cmd {
            Cmd::Up | Cmd::Previous => self.step(-1),
            Cmd::Down | Cmd::Next => self.step(1),
            Cmd::Home => self.focus = 0,
            Cmd::End => self.focus = PLACES.len() - 1,
            cmd => return self.change(place, cmd, room),
        }
        Ok(true)
    }

    fn step(&mut self, by: isize) {
        let last = PLACES.len() - 1;
        self.focus = self.focus.saturating_add_signed(by).min(last);
    }

    fn change(&mut self, place: Place, cmd: Cmd, room: &Room) -> Result<bool, String> {
        let possible = !room.mountable.is_empty();
        match (place, cmd) {
            (Place::Preset, Cmd::Left | Cmd::Right) if possible => {
                let count = PRESETS.len();
                let next = match (self.preset, cmd) {
                    (Some(at), Cmd::Right) => (at + 1) % count,
                    (Some(at), _) => (at + count - 1) % count,
                    (None, _) => 0,
                };
                self.choose(next, room);
            }
            (Place::Fs(what), Cmd::Left | Cmd::Right) if possible => {
                self.next_fs(what, cmd == Cmd::Right, room);
            }
            (Place::Encrypted, Cmd::Left | Cmd::Right | Cmd::Char(' ')) if possible => {
                if !self.encrypted {
                    room.encryption.clone()?;
                }
                self.encrypted = !self.encrypted;
            }
            (Place::Size(what), cmd) if possible => return self.resize(what, cmd, room),
            (Place::Arguments, _) => return Ok(false),
            (_, Cmd::Left | Cmd::Right) => {
                return Err("this image cannot be made to remember; it is written as it is".into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn next_fs(&mut self, what: Purpose, forward: bool, room: &Room) {
        // "The best", then each by name; an overlay can be a sprout instead.
        let kinds = room.mountable.len() + 1;
        let can = what == Purpose::Overlay && room.sprout.is_ok();
        let count = kinds + usize::from(can);
        let grown = can && self.sprout;
        let part = self.part_mut(what);
        let at = if grown {
            kinds
        } else {
            part.fs
                .and_then(|fs| room.mountable.iter().position(|kind| *kind == fs))
                .map_or(0, |at| at + 1)
        };
        let next = if forward { at + 1 } else { at + count - 1 } % count;
        part.fs = next
            .checked_sub(1)
            .and_then(|index| room.mountable.get(index).copied());
        if what == Purpose::Overlay {
            self.sprout = next == kinds;
        }
    }

    fn resize(&mut self, what: Purpose, cmd: Cmd, room: &Room) -> Result<bool, String> {
        let large = room.free().0 >= 8 * GIB;
        let (fine, coarse) = if large {
            (Bytes::mib(128), Bytes(GIB))
        } else {
            (Bytes::mib(16), Bytes::mib(128))
        };
        let now = self.size_of(what, room);
        let wanted = match cmd {
            Cmd::Left => now.saturating_sub(fine).align_up(fine).min(now),
            Cmd::Right => (now + fine).align_down(fine),
            Cmd::FarLeft | Cmd::PageDown => now.saturating_sub(coarse),
            Cmd::FarRight | Cmd::PageUp => now + coarse,
            Cmd::Char('r') => {
                self.take_rest(what, room);
                return Ok(true);
            }
            Cmd::Delete | Cmd::Erase | Cmd::Char('x' | '-') => Bytes::ZERO,
            Cmd::Char(c) if c.is_ascii_digit() => {
                self.typed = Some(Field::new(c));
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.preset = None;
        let Some((smallest, largest)) = self.limits(what, room) else {
            self.part_mut(what).size = None;
            return Err(format!("there is no room for {}", name(self.made(what))));
        };
        let growing = wanted > now;
        self.part_mut(what).size = if growing {
            Some(Size::Fixed(wanted.clamp(smallest, largest)))
        } else if wanted < smallest {
            None
        } else {
            Some(Size::Fixed(wanted.min(largest)))
        };
        Ok(true)
    }

    /// `what` takes the rest; if the other did, it gets the size that `what` had.
    fn take_rest(&mut self, what: Purpose, room: &Room) {
        let other = match what {
            Purpose::Overlay | Purpose::Seed | Purpose::Sprout => Purpose::Home,
            Purpose::Home => Purpose::Overlay,
        };
        self.preset = None;
        if self.part(other).size == Some(Size::Rest) {
            let had = self.size_of(what, room);
            let smallest = self.smallest(other, room);
            self.part_mut(other).size = Some(Size::Fixed(had.max(smallest)));
        }
        self.part_mut(what).size = Some(Size::Rest);
    }

    fn typed_command(&mut self, cmd: Cmd, room: &Room) -> Result<bool, String> {
        let Some(field) = &mut self.typed else {
            return Ok(false);
        };
        if field.take(cmd) {
            return Ok(true);
        }
        match cmd {
            Cmd::Back => self.typed = None,
            Cmd::Enter | Cmd::Next | Cmd::Down | Cmd::Up | Cmd::Previous => {
                let text = field.text.trim().to_owned();
                let Place::Size(what) = self.place() else {
                    return Ok(false);
                };
                if text.is_empty() || text == "0" {
                    self.part_mut(what).size = None;
                } else {
                    let size: Size = text.parse().map_err(|error| format!("{error}"))?;
                    if size == Size::Rest {
                        self.take_rest(what, room);
                    } else {
                        self.part_mut(what).size = Some(size);
                    }
                }
                self.preset = None;
                self.typed = None;
                if cmd != Cmd::Enter {
                    return self.command(cmd, room);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The request that all this amounts to.
    pub fn request(&self, image: &ImageFacts, target: &Target) -> Request {
        let wanted = |part: Part| {
            Some(Wanted {
                size: part.size?,
                fs: part.fs,
            })
        };
        let arguments = self.arguments.text.split_whitespace();
        Request {
            image: image.path.clone(),
            target: target.path.clone(),
            create: target.create,
            overlay: wanted(self.overlay),
            persistence: self.overlay.size.map(|_| {
                if self.sprout {
                    Persistence::Sprout
                } else {
                    Persistence::Overlay
                }
            }),
            csum: crate::sprout::Checksum::default(),
            home: wanted(self.home),
            encrypt_home: self.encrypted && self.home.size.is_some(),
            extra_arguments: arguments.map(Into::into).collect(),
            unmount: target.unmount,
            allow_disk: target.allow.clone(),
            probe: target.probe,
            ..Request::default()
        }
    }
}

/// How a part is called in a sentence.
pub fn name(what: Purpose) -> &'static str {
    match what {
        Purpose::Overlay | Purpose::Seed => "the overlay",
        Purpose::Sprout => "the sprout",
        Purpose::Home => "/home",
    }
}
