// SPDX-License-Identifier: MIT OR Apache-2.0
//! A seed that is the image's own root image, where it lies: looked at before the first write, checked on the medium,
//! and made the root of a sprout.

use std::os::fd::AsFd;

use anyhow::Context;
use rustix::fs::RenameFlags;

use crate::apply::flow::Stop;
use crate::apply::mounted::{Access, Mounted};
use crate::apply::program::run;
use crate::apply::sprout::{Grower, TOP_LEVEL, name_of, there};
use crate::sprout::{Driver, HOME, ROOT, TREE, tree};

impl Grower<'_> {
    /// Whether the image's root can be the seed, as far as that shows when it is mounted: where one cannot be, nothing
    /// is written.
    pub fn foresee(&self) -> Result<(), Stop> {
        let image = self.image.context("there is no image to look at")?;
        let place = name_of(image.as_fd());
        let device = self.attach_file(&place, self.plan.source.extent)?;
        let options: Vec<&str> = Driver::Btrfs
            .options()
            .iter()
            .copied()
            .chain([TOP_LEVEL])
            .collect();
        let top = Mounted::new(Driver::Btrfs, device.path(), &options, Access::Read)
            .context("mounting it (is it mounted already, or a stick of this image in use?)")?;
        let judged = self.can_take_over(&top);
        drop(top);
        self.forget(&[&device]);
        judged
    }

    /// Whether [`Grower::take_over`] will find what it needs.
    pub(super) fn can_take_over(&self, top: &Mounted) -> Result<(), Stop> {
        let root = self.tree_of(top)?;
        let mut names = [TREE, ROOT, HOME].into_iter().filter(|_| root.is_empty());
        if let Some(name) = names.find(|name| there(top, name)) {
            return Err(anyhow::anyhow!("its root has something called {name}").into());
        }
        self.has_home(tree::enter(top.root(), &root)?.as_fd())
    }

    /// Compares every checksum of the seed.
    pub fn check_seed(&self) -> Result<(), Stop> {
        let device = self.attach_read_only(self.plan.seed.extent)?;
        let mut check = self.command("btrfs")?;
        check.args(["check", "--readonly", "--check-data-csum"]);
        run(check.arg(device.path()), self.cancel)?;
        Ok(())
    }

    /// The path of the subvolume that is mounted as the image's root: none for the top level.
    fn tree_of(&self, top: &Mounted) -> Result<String, Stop> {
        let said = |words: [&str; 2]| {
            let mut command = self.command("btrfs")?;
            run(command.args(words).arg(top.path()), self.cancel)
        };
        let path = |line: &str| line.split_once(" path ").map(|(_, path)| path.to_owned());
        let default = said(["subvolume", "get-default"])?;
        let root = default.lines().find_map(path).unwrap_or_default();
        let inside = format!("{root}/");
        let below = |other: &String| root.is_empty() || other.starts_with(&inside);
        let list = said(["subvolume", "list"])?;
        if let Some(other) = list.lines().filter_map(path).find(below) {
            return Err(anyhow::anyhow!(
                "it has a subvolume in its root, {}, which a snapshot of the root does not hold",
                other.escape_debug()
            )
            .into());
        }
        Ok(root)
    }

    /// Makes [`TREE`] of the image's root, in a sprout that has just been grown from it. Subvolumes beside the image's
    /// root that have a name which is needed get another one.
    pub(super) fn take_over(&self, top: &Mounted) -> Result<(), Stop> {
        let mut root = self.tree_of(top)?;
        for name in [TREE, ROOT, HOME] {
            if !there(top, name) {
                continue;
            }
            let other = format!("image{name}");
            let at = top.root();
            rustix::fs::renameat_with(at, name, at, &other, RenameFlags::NOREPLACE)
                .with_context(|| format!("renaming {name} of the image"))?;
            if let Some(rest) = root.strip_prefix(name)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                root = format!("{other}{rest}");
            }
        }
        // No link is followed, and nothing above the mount is reached, whatever the image calls its subvolumes.
        let whole = tree::enter(top.root(), &root)?;
        let place = name_of(whole.as_fd());
        self.btrfs(
            &["subvolume", "snapshot", "-r"],
            &[&place, &top.path().join(TREE)],
        )?;
        // What is mounted without a name is the whole, as in a sprout whose seed was made.
        let how = ["subvolume", "set-default", "5"];
        self.btrfs(&how, &[&top.path()])
    }
}
