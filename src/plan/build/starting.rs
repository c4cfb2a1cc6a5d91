// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the stick will start: the menus, their arguments, and the media check.

use super::Planner;
use crate::boot::Arguments;
use crate::boot::pause::Pause;
use crate::image::boot_file::{Config, Loader};
use crate::image::initrd::LiveScript;
use crate::image::isomd5;
use crate::patch::{After, Draft, Patch, Why};
use crate::plan::boot::{BootPlan, carry, edit, media_check};
use crate::read::ReadAt;
use crate::refusal::Refusal;
use crate::sprout::{Sprout, rule};

impl Planner<'_> {
    pub(super) fn boot(
        &self,
        draft: &mut Draft<'_>,
        arguments: Vec<String>,
        sprout: Option<&Sprout>,
    ) -> Result<BootPlan, Refusal> {
        let Planner { request, image, .. } = *self;
        let pause = self.pause()?;
        let extra = request.extra_arguments.clone();
        let root = sprout.map(Sprout::root_argument);
        let mut moved = Vec::new();
        let initrd = match sprout {
            None => None,
            Some(sprout) => {
                let archive = rule::initrd(sprout);
                Some(carry(image, draft, &archive, &mut moved)?)
            }
        };
        let within = sprout.is_some_and(|sprout| sprout.within);
        let live = if within {
            self.live_arguments()
        } else {
            Vec::new()
        };
        let files = if arguments.is_empty() && extra.is_empty() && pause.is_none() {
            Vec::new()
        } else {
            let wanted = Arguments {
                persistence: arguments.clone(),
                extra: extra.clone(),
                live: live.clone(),
                replace_root: root.clone(),
                initrd: initrd.clone(),
            };
            edit(image, draft, &wanted, &pause, moved)?
        };
        let mut firmware = Vec::new();
        if image.table.boots_bios() {
            firmware.push("BIOS".to_owned());
        }
        if image.table.boots_uefi() {
            firmware.push("UEFI".to_owned());
        }
        Ok(BootPlan {
            firmware,
            arguments,
            extra,
            live,
            pause,
            root,
            initrd,
            files,
            media_check: media_check(image, draft)?,
        })
    }

    /// What entries need that start the image's own root once that has the seed flag. dracut's live scripts put a
    /// device-mapper snapshot over a plain root image, and a seed is read-only even there; with overlayfs it is a lower
    /// directory. A sprout must not have it: since 060 the argument puts an overlay over any root (dracut
    /// `modules.d/*overlayfs/mount-overlayfs.sh`).
    pub(super) fn live_arguments(&self) -> Vec<String> {
        let facts = self.image.initrd_facts.as_ref();
        let dmsquash = facts.is_some_and(|initrd| initrd.live.contains(&LiveScript::DmsquashLive));
        if !dmsquash {
            return Vec::new();
        }
        match facts.and_then(|initrd| initrd.dracut) {
            // Renamed in 110 (dracut-ng d6872bbd).
            Some(110..) => vec!["rd.overlay=1".into()],
            _ => vec!["rd.live.overlay.overlayfs=1".into()],
        }
    }

    /// How the menus wait: as asked for, as far as there are menus that can.
    fn pause(&self) -> Result<Pause, Refusal> {
        let pause = self.request.pause;
        if pause.total.is_some() && !self.has_isolinux() {
            return Err(Refusal::Impossible {
                what: "a total timeout",
                why: "GRUB has no such thing, and the image has no isolinux menu".into(),
                instead: "leave it out".into(),
            });
        }
        Ok(Pause {
            no_message: pause.no_message && self.has_isolinux(),
            ..pause
        })
    }

    /// What of that needs no doing, for people.
    pub(super) fn pause_note(&self) -> Option<String> {
        let idle = self.request.pause.no_message && !self.has_isolinux();
        idle.then(|| {
            "no message is shown before a menu: GRUB has none, and the image has no isolinux menu"
                .into()
        })
    }

    fn has_isolinux(&self) -> bool {
        let isolinux = |config: &Config| config.is_read() && config.loader == Loader::Isolinux;
        self.image.configs.iter().any(isolinux)
    }

    /// Adds the isomd5sum of the medium as written to the patches.
    pub(super) fn implant(&self, patches: &mut Vec<Patch>) -> Result<(), Refusal> {
        let mut before = vec![0; isomd5::FIELD_LEN];
        let field = isomd5::FIELD;
        self.image
            .bytes()
            .read_exact_at(field.at, &mut before)
            .map_err(|error| self.damaged(&error))?;
        patches.push(Patch {
            at: field.at,
            before,
            after: After::MediaCheck,
            why: Why::MediaCheck,
        });
        patches.sort_by_key(|patch| patch.at);
        Ok(())
    }
}
