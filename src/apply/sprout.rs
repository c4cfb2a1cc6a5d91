// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making a seed from the image's root tree, proving it equal, and growing the sprout from it.
//!
//! What is made and why it cannot leave anything behind is told in [`crate::sprout`]. Every step attaches its own
//! loop devices and mounts, so that what one step reads was not left in memory by the one before.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::apply::filesystem::OLD_SUPERBLOCKS;
use crate::apply::flow::Stop;
use crate::apply::grow::add_device;
use crate::apply::loopdev::LoopDevice;
use crate::apply::mounted::{Access, Mounted};
use crate::apply::program::{run, run_watched};
use crate::disk::direct::Medium;
use crate::host::Host;
use crate::read::{Source as Bytes512, Window};
use crate::sprout::tree::{self, Survey, TreeError};
use crate::sprout::{Driver, HOME, Home, ROOT, Sprout, TREE, room, rule};
use crate::superblock::{self, Details, Superblock};
use crate::units::{Bytes, Extent};

mod furnishing;

/// What is mounted is the whole filesystem, whatever subvolume it says is to be mounted by default (btrfs(5)).
pub(super) const TOP_LEVEL: &str = "subvolid=5";
/// How the seed is compressed: stronger than what a running system uses, because it is written once.
const SEED_COMPRESSION: &str = "compress-force=zstd:9";

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Stop {
        match error {
            TreeError::Cancelled => Stop::Cancelled,
            error => Stop::Failed(error.into()),
        }
    }
}

/// Makes seed and sprout on a target.
pub struct Grower<'a> {
    /// What is to be made.
    pub plan: &'a Sprout,
    /// Where programs are.
    pub host: &'a Host,
    /// The open image, from which a seed is made; nothing else needs it.
    pub image: Option<&'a File>,
    /// The target's path, for loop devices.
    pub target: &'a Path,
    /// The open target.
    pub medium: &'a Medium,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
}

/// The image's root tree, mounted. Fields go in this order.
struct Original {
    tree: Option<(Mounted, LoopDevice)>,
    outer: Mounted,
    _device: LoopDevice,
}

impl Original {
    fn root(&self) -> &Mounted {
        self.tree.as_ref().map_or(&self.outer, |(tree, _)| tree)
    }
}

impl Grower<'_> {
    /// Makes the seed; `seen` is told how many bytes of its room are taken by now. Gives what the tree holds.
    pub fn seed(&self, seen: &mut dyn FnMut(Bytes)) -> Result<Survey, Stop> {
        let original = self.original()?;
        let most = room::most(self.plan.seed.extent.len);
        let survey = tree::survey(original.root().root(), most, self.cancel)
            .map_err(|error| in_image(error.into()))?;
        self.blank(self.plan.seed.extent)?;
        let device = self.attach(self.plan.seed.extent)?;
        let mut mkfs = self.command("mkfs.btrfs")?;
        mkfs.args(["--quiet", "--force", "--nodiscard"])
            .args(["--metadata", "single", "--data", "single"])
            .args(["--csum", self.plan.checksum.name()])
            .args(["--label", &self.plan.seed.label])
            .args(["--uuid", &self.plan.seed_uuid.to_string()]);
        run(mkfs.arg(device.path()), self.cancel)?;
        let seed = Mounted::new(
            Driver::Btrfs,
            device.path(),
            &[SEED_COMPRESSION],
            Access::Write,
        )?;
        self.btrfs(&["subvolume", "create"], &[&seed.path().join(TREE)])?;
        let mut copy = self.command("cp")?;
        copy.args(["-a", "-T", "--sparse=always"])
            .arg(original.root().path().join("."))
            .arg(seed.path().join(TREE));
        let copied = run_watched(&copy, None, self.cancel, &mut || {
            seen(Bytes(seed.used()));
        });
        match copied {
            Err(Stop::Failed(error)) if error.to_string().contains("No space left on device") => {
                return Err(anyhow::anyhow!(
                    "the root tree of {} does not fit into the {} that the seed was given; use --persistence overlay",
                    survey.bytes.binary(),
                    self.plan.seed.extent.len.binary()
                )
                .into());
            }
            copied => copied?,
        };
        seed.sync()?;
        seen(Bytes(seed.used()));
        drop(seed);
        let mut tune = self.command("btrfstune")?;
        run(tune.args(["-S", "1"]).arg(device.path()), self.cancel)?;
        self.let_go(device)?;
        Ok(survey)
    }

    /// Proves that the seed holds the image's tree, and that every checksum in it is right; `seen` is told how many
    /// bytes of files were compared.
    pub fn compare(&self, seen: &mut dyn FnMut(Bytes)) -> Result<Survey, Stop> {
        let device = self.attach_read_only(self.plan.seed.extent)?;
        let mut check = self.command("btrfs")?;
        check.args(["check", "--readonly", "--check-data-csum"]);
        run(check.arg(device.path()), self.cancel)?;
        let original = self.original()?;
        let seed = Mounted::new(Driver::Btrfs, device.path(), &[], Access::Read)?;
        let copy = tree::enter(seed.root(), TREE)?;
        let survey = tree::compare(original.root().root(), copy.as_fd(), seen, self.cancel);
        let survey = survey.map_err(|error| match Stop::from(error) {
            Stop::Failed(error) => {
                Stop::Failed(error.context("comparing the seed with the image's root tree"))
            }
            stop @ Stop::Cancelled => stop,
        })?;
        drop((copy, seed));
        self.let_go(device)?;
        Ok(survey)
    }

    /// Grows the sprout; gives its identifier, which the kernel made up. What was in its place is gone only when it is
    /// known that the seed is there and that one can grow from it.
    pub fn grow(&self) -> Result<String, Stop> {
        let seed = self.attach_read_only(self.plan.seed.extent)?;
        let found = superblock(&seed, self.plan.seed.extent)?;
        let known = found.uuid.as_deref() == Some(&self.plan.seed_uuid.to_string());
        if !known || !matches!(found.details, Details::Btrfs { seeding: true, .. }) {
            return Err(anyhow::anyhow!("the seed is not what was made: {found:?}").into());
        }
        let sprout = Mounted::new(
            Driver::Btrfs,
            seed.path(),
            &["compress=zstd", TOP_LEVEL],
            Access::ReadFirst,
        )?;
        self.can_grow(&sprout)?;
        self.blank(self.plan.sprout.extent)?;
        let device = self.attach(self.plan.sprout.extent)?;
        add_device(sprout.root(), device.path())?;
        sprout.make_writable()?;
        if self.plan.within {
            self.take_over(&sprout)?;
        }
        self.snapshot(&sprout, ROOT)?;
        let root = tree::enter(sprout.root(), ROOT)?;
        self.furnish(root.as_fd())?;
        if self.plan.home == Home::Subvolume {
            self.fill_home(&sprout, root.as_fd(), HOME)?;
        }
        drop(root);
        // Last: one whose growing was cut short has its seed's label, and is known by that.
        self.btrfs(
            &["filesystem", "label"],
            &[&sprout.path(), Path::new(&self.plan.sprout.label)],
        )?;
        sprout.sync()?;
        drop(sprout);
        self.forget(&[&device, &seed]);
        drop(seed);
        self.let_go(device)?;
        self.look()
    }

    /// Whether a sprout can grow from a seed that is mounted, as far as that shows before anything is written.
    fn can_grow(&self, seed: &Mounted) -> Result<(), Stop> {
        if self.plan.within {
            return self.can_take_over(seed);
        }
        if let Some(name) = [ROOT, HOME].iter().find(|name| there(seed, name)) {
            return Err(anyhow::anyhow!("the seed has something called {name}").into());
        }
        let tree = tree::enter(seed.root(), TREE)?;
        self.has_home(tree.as_fd())
    }

    /// Whether the image's tree has the directory that becomes a subvolume.
    pub(super) fn has_home(&self, tree: BorrowedFd<'_>) -> Result<(), Stop> {
        if self.plan.home == Home::Subvolume && tree::enter(tree, "home").is_err() {
            return Err(anyhow::anyhow!("its /home is no directory").into());
        }
        Ok(())
    }

    /// Makes the writable snapshot `name` of the image's tree.
    pub(super) fn snapshot(&self, sprout: &Mounted, name: &str) -> Result<(), Stop> {
        let tree = tree::enter(sprout.root(), TREE)?;
        let (from, to) = (name_of(tree.as_fd()), sprout.path().join(name));
        self.btrfs(&["subvolume", "snapshot"], &[&from, &to])
    }

    /// Makes the subvolume `name` with what the image has in its `/home`, and with the attributes of that.
    pub(super) fn fill_home(
        &self,
        sprout: &Mounted,
        root: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), Stop> {
        // By descriptors: a link in the image would lead to this machine's files.
        let from = tree::enter(root, "home")?;
        self.btrfs(&["subvolume", "create"], &[&sprout.path().join(name)])?;
        let to = tree::enter(sprout.root(), name)?;
        let mut copy = self.command("cp")?;
        copy.args(["-a", "-T"]).arg(name_of(from.as_fd()).join("."));
        run(copy.arg(name_of(to.as_fd()).join(".")), self.cancel)?;
        Ok(())
    }

    /// Reads back what the sprout says of itself, and mounts it as the booted system will.
    fn look(&self) -> Result<String, Stop> {
        let seed = self.attach_read_only(self.plan.seed.extent)?;
        let device = self.attach_read_only(self.plan.sprout.extent)?;
        let found = superblock(&device, self.plan.sprout.extent)?;
        let grown = matches!(
            found.details,
            Details::Btrfs { seeding: false, devices: 2, checksum }
                if checksum == Some(self.plan.checksum.in_superblock())
        );
        if !grown || found.label.as_ref() != Some(&self.plan.sprout.label) {
            return Err(anyhow::anyhow!("the sprout is not what was made: {found:?}").into());
        }
        let with = format!("device={}", seed.path().display());
        let options = [with.as_str(), TOP_LEVEL];
        let sprout = Mounted::new(Driver::Btrfs, device.path(), &options, Access::Read)?;
        let root = tree::enter(sprout.root(), ROOT)?;
        let rule = open(root.as_fd(), rule::PATH, OFlags::RDONLY)
            .with_context(|| format!("reading /{} of the sprout", rule::PATH))?;
        drop((rule, root, sprout));
        self.forget(&[&device, &seed]);
        found
            .uuid
            .context("reading the identifier of the sprout")
            .map_err(Stop::from)
    }

    /// Mounts the image's root tree.
    fn original(&self) -> anyhow::Result<Original> {
        let source = &self.plan.source;
        let mounted = || {
            let image = self
                .image
                .context("there is no image to make a seed from")?;
            let place = name_of(image.as_fd());
            let device = self.attach_file(&place, source.extent)?;
            let options = source.driver.options();
            let outer = Mounted::new(source.driver, device.path(), options, Access::Read)?;
            let tree = match &source.nested {
                None => None,
                Some((path, driver)) => {
                    let file = open(outer.root(), path, OFlags::RDONLY | OFlags::NONBLOCK)
                        .with_context(|| format!("opening {path}"))?;
                    let size = File::from(file.try_clone()?).metadata()?;
                    if !size.is_file() {
                        bail!("{path} is no file");
                    }
                    let whole = Extent {
                        at: Bytes::ZERO,
                        len: Bytes(size.len()),
                    };
                    let device = self.attach_file(&name_of(file.as_fd()), whole)?;
                    let options = driver.options();
                    let tree = Mounted::new(*driver, device.path(), options, Access::Read)?;
                    Some((tree, device))
                }
            };
            Ok(Original {
                tree,
                outer,
                _device: device,
            })
        };
        mounted().context("mounting the image's root tree")
    }

    /// Makes the start of a partition zeros, so that nothing takes what was here before for a filesystem.
    fn blank(&self, extent: Extent) -> anyhow::Result<()> {
        self.medium
            .write_at(extent.at, &vec![0; OLD_SUPERBLOCKS])
            .context("blanking the start of a partition")
    }

    pub(super) fn attach(&self, extent: Extent) -> anyhow::Result<LoopDevice> {
        LoopDevice::attach(&self.program("losetup")?, self.target, extent)
    }

    pub(super) fn attach_read_only(&self, extent: Extent) -> anyhow::Result<LoopDevice> {
        self.attach_file(self.target, extent)
    }

    pub(super) fn attach_file(&self, file: &Path, extent: Extent) -> anyhow::Result<LoopDevice> {
        LoopDevice::attach_read_only(&self.program("losetup")?, file, extent)
    }

    /// Flushes and detaches a device, and empties the medium's own cache of it.
    pub(super) fn let_go(&self, device: LoopDevice) -> anyhow::Result<()> {
        device.flush()?;
        drop(device);
        self.medium.flush()?;
        Ok(())
    }

    /// Tells the kernel that these devices are no part of any btrfs any more: their names will be others' soon.
    pub(super) fn forget(&self, devices: &[&LoopDevice]) {
        for device in devices {
            // A kernel before 5.1 cannot, and what is still known of a device that is gone does no harm.
            let how = &["device", "scan", "--forget"];
            let _ = self.btrfs(how, &[device.path()]);
        }
    }

    pub(super) fn btrfs(&self, words: &[&str], paths: &[&Path]) -> Result<(), Stop> {
        let mut command = self.command("btrfs")?;
        run(command.args(words).args(paths), self.cancel)?;
        Ok(())
    }

    pub(super) fn command(&self, name: &str) -> anyhow::Result<Command> {
        Ok(Command::new(self.program(name)?))
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.host
            .program(name)
            .with_context(|| format!("looking for the program {name}"))
    }
}

/// What is on a device that is attached to `extent`.
pub(super) fn superblock(device: &LoopDevice, extent: Extent) -> anyhow::Result<Superblock> {
    let file = File::open(device.path()).context("opening a loop device")?;
    let source = Bytes512::new(file, extent.len);
    let whole = Extent {
        at: Bytes::ZERO,
        len: extent.len,
    };
    superblock::identify(&Window::new(&source, whole))?.context("there is no superblock")
}

/// Whether something has this name at the top of a mounted filesystem.
pub(super) fn there(top: &Mounted, name: &str) -> bool {
    rustix::fs::statat(top.root(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn in_image(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(error) => Stop::Failed(error.context("looking through the image's root tree")),
        stop @ Stop::Cancelled => stop,
    }
}

/// The name of an open file for the programs that this process starts.
pub(super) fn name_of(file: BorrowedFd<'_>) -> PathBuf {
    let process = rustix::process::getpid().as_raw_nonzero();
    PathBuf::from(format!("/proc/{process}/fd/{}", file.as_raw_fd()))
}

/// Opens a file below `top`; no link is followed.
fn open(top: BorrowedFd<'_>, path: &str, flags: OFlags) -> anyhow::Result<OwnedFd> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = tree::enter(top, parent)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&parent, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests;
