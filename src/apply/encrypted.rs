// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making an encrypted partition: the header by cryptsetup, the data by the same cipher as the kernel's.
//!
//! Rules:
//!
//! * The key is random, and is in this program's memory and in cryptsetup's: it goes there in a file that exists in
//!   memory only. So does the passphrase, as standard input; and so the header comes back, which has both in it, locked.
//! * What cryptsetup made is read before it is used: both headers whole, the identifier the planned one, the data
//!   encrypted in the one way that is known here, and one passphrase, as dear to guess as planned and no dearer than a
//!   machine with 1 GiB can open. Where the data begins is what the header says.
//! * All of the partition is written, and all of it is read back from the medium and decrypted: it has to be what was
//!   made in the scratch file.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::apply::flow::{Stage, Stop, flow};
use crate::apply::program::run_on;
use crate::disk::direct::Medium;
use crate::host::Host;
use crate::luks::cipher::{self, Cipher, Key};
use crate::luks::{self, Keyslot, Segment};
use crate::plan::encryption::{Encryption, HEAD, LANES, LEAST_MEMORY_KIB, MEMORY_KIB, PASSES};
use crate::programs;
use crate::read::Source;
use crate::secret::Passphrase;
use crate::units::{Bytes, Extent};

/// The head of an encrypted partition, and the key of what is behind it.
pub struct Lock {
    /// A file without a name that begins as the partition will.
    header: File,
    /// Where the data begins.
    data: Bytes,
    key: Key,
}

impl Lock {
    /// Has cryptsetup make the header of a new partition.
    pub fn make(
        encryption: &Encryption,
        passphrase: &Passphrase,
        host: &Host,
        cancel: &AtomicBool,
    ) -> Result<Lock, Stop> {
        let key = Key::random().context("asking the kernel for a random key")?;
        let header = in_memory(&[])?;
        // There has to be a little data, too.
        let len = HEAD + HEAD;
        header
            .set_len(len.0)
            .context("sizing the file for the header")?;
        let cryptsetup = host
            .program(programs::CRYPTSETUP.name)
            .context("looking for the program cryptsetup")?;
        let key_file = in_memory(key.bytes())?;
        // Both are opened by their numbers in this process, which has the rights to them.
        let path = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let mut command = Command::new(cryptsetup);
        command
            .args(["luksFormat", "--type", "luks2", "--batch-mode"])
            // Nobody else knows this file; and an ordinary user may not make the directory of the locks.
            .args(["--disable-locks", "--key-file", "-"])
            .args(["--cipher", cipher::NAME])
            .args(["--key-size", &(cipher::KEY * 8).to_string()])
            .args(["--sector-size", &cipher::SECTOR.to_string()])
            .args(["--pbkdf", "argon2id"])
            .args(["--pbkdf-memory", &MEMORY_KIB.to_string()])
            .args(["--pbkdf-force-iterations", &PASSES.to_string()])
            .args(["--pbkdf-parallel", &LANES.to_string()])
            .args(["--volume-key-file", &path(&key_file)])
            .args(["--uuid", &encryption.uuid.to_string()])
            .arg(path(&header));
        run_on(&command, Some(&in_memory(passphrase.bytes())?), cancel)?;
        let source = header.try_clone().context("reading the header")?;
        let Segment { at, .. } = judge(&Source::new(source, len), encryption)?;
        Ok(Lock {
            header,
            data: at,
            key,
        })
    }

    /// The part of `partition` that is encrypted.
    pub fn inside(&self, partition: Extent) -> anyhow::Result<Extent> {
        if partition.len <= self.data {
            bail!("the header leaves no room in the partition; make /home larger");
        }
        Ok(Extent {
            at: partition.at + self.data,
            len: partition.len - self.data,
        })
    }
}

/// A file in memory only, to be read from its beginning.
fn in_memory(bytes: &[u8]) -> anyhow::Result<File> {
    let file = memfd_create("livestick", MemfdFlags::CLOEXEC).context("making a file in memory")?;
    let file = File::from(file);
    // Not `write`: a program reads from where the file was left.
    file.write_all_at(bytes, 0)
        .context("filling a file in memory")?;
    Ok(file)
}

/// Whether what cryptsetup made is what was asked for.
fn judge(made: &Source, encryption: &Encryption) -> anyhow::Result<Segment> {
    let copies = luks::read(made);
    if let Some(fault) = copies.fault() {
        bail!("what cryptsetup made is no LUKS2 partition: {fault}");
    }
    let header = copies.best().context("cryptsetup made no header")?;
    let segment = header.segment().map_err(anyhow::Error::msg)?;
    let as_asked = header.uuid == encryption.uuid.to_string()
        && segment.cipher == cipher::NAME
        && segment.sector == cipher::SECTOR
        && segment.tweak == 0
        && segment.at > Bytes::ZERO
        && segment.at <= HEAD
        && segment.at.align_down(Bytes(4096)) == segment.at;
    if !as_asked {
        bail!(
            "cryptsetup made another kind of LUKS2 partition than it was asked for ({}, sectors of {}, data at byte {})",
            segment.cipher,
            segment.sector,
            segment.at
        );
    }
    let keyslots = header.keyslots().map_err(anyhow::Error::msg)?;
    judge_cost(&keyslots)?;
    Ok(segment)
}

/// Whether one passphrase opens it, and trying one costs what was asked for. cryptsetup takes less memory and fewer
/// threads where the machine has less.
fn judge_cost(keyslots: &[Keyslot]) -> anyhow::Result<()> {
    let [slot] = keyslots else {
        bail!("cryptsetup made {} keyslots, and not one", keyslots.len());
    };
    let within = |number: Option<u64>, least: u32, most: u32| {
        number.is_some_and(|number| (u64::from(least)..=u64::from(most)).contains(&number))
    };
    let as_asked = slot.kdf == "argon2id"
        && slot.key == cipher::KEY as u64
        && within(slot.memory, LEAST_MEMORY_KIB, MEMORY_KIB)
        && within(slot.passes, PASSES, PASSES)
        && within(slot.lanes, 1, LANES);
    if !as_asked {
        let told = |number: Option<u64>| number.map_or("no".into(), |number| number.to_string());
        bail!(
            "cryptsetup made trying a passphrase cost something else than it was asked for ({}, {} KiB, {} passes, {} threads); write it on a machine with more memory, or without --home-encrypt",
            slot.kdf,
            told(slot.memory),
            told(slot.passes),
            told(slot.lanes)
        );
    }
    Ok(())
}

/// A partition that becomes an encrypted one.
pub struct Place<'a> {
    /// The open target.
    pub medium: &'a Medium,
    /// Where on it.
    pub partition: Extent,
    /// Set when the user wants to stop.
    pub cancel: &'a AtomicBool,
}

impl Place<'_> {
    /// Writes the header, and all of `scratch` encrypted behind it; then reads all of it back.
    pub fn fill(
        &self,
        lock: &Lock,
        scratch: &File,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), Stop> {
        let start = self.partition.at;
        let inside = lock.inside(self.partition)?;
        let head = Extent {
            at: start,
            len: lock.data,
        };
        let cipher = Cipher::new(&lock.key);
        let from = |file: &File, at: Bytes, chunk: &mut [u8]| {
            file.read_exact_at(chunk, at.0)
                .with_context(|| format!("reading the scratch file at byte {at}"))
        };
        let mut write = |at: Bytes, chunk: &[u8]| {
            self.medium
                .write_at(at, chunk)
                .context("filling the partition")?;
            progress(chunk.len());
            Ok(())
        };
        flow(
            head,
            |at, chunk| from(&lock.header, at - start, chunk),
            Vec::new(),
            |at, buffer, len| write(at, &buffer[..len]),
            self.cancel,
        )?;
        let encrypt: Stage<'_> = Box::new(|at, chunk| {
            cipher.encrypt(at - inside.at, chunk);
            Ok(())
        });
        flow(
            inside,
            |at, chunk| from(scratch, at - inside.at, chunk),
            vec![encrypt],
            |at, buffer, len| write(at, &buffer[..len]),
            self.cancel,
        )?;
        self.medium.flush().map_err(anyhow::Error::from)?;
        self.read_back(&lock.header, head, None, progress)?;
        self.read_back(scratch, inside, Some(&cipher), progress)
    }

    /// Compares what the medium has in `extent` with what is in `truth`.
    fn read_back(
        &self,
        truth: &File,
        extent: Extent,
        cipher: Option<&Cipher>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), Stop> {
        let mut right = Vec::new();
        let compare: Stage<'_> = Box::new(move |at, chunk| {
            if let Some(cipher) = cipher {
                cipher.decrypt(at - extent.at, chunk);
            }
            right.resize(chunk.len(), 0);
            truth
                .read_exact_at(&mut right, (at - extent.at).0)
                .context("reading the scratch file")?;
            if right != chunk {
                bail!(
                    "reading back {} bytes at byte {at}: not what was written",
                    chunk.len()
                );
            }
            Ok(())
        });
        flow(
            extent,
            |at, chunk| {
                self.medium
                    .read_at(at, chunk)
                    .context("reading the partition back")?;
                Ok(())
            },
            vec![compare],
            |_, _, len| {
                progress(len);
                Ok(())
            },
            self.cancel,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cost_that_was_asked_for_is_taken() {
        let good = Keyslot {
            key: 64,
            kdf: "argon2id".into(),
            passes: Some(4),
            memory: Some(256 << 10),
            lanes: Some(2),
        };
        let with = |change: fn(&mut Keyslot)| {
            let mut slot = good.clone();
            change(&mut slot);
            judge_cost(&[slot])
        };
        assert!(with(|_| ()).is_ok());
        assert!(with(|slot| slot.memory = Some(64 << 10)).is_ok());
        for change in [
            |slot: &mut Keyslot| slot.kdf = "pbkdf2".into(),
            |slot: &mut Keyslot| slot.kdf = "argon2i".into(),
            |slot: &mut Keyslot| slot.key = 32,
            |slot: &mut Keyslot| slot.memory = None,
            // More than a machine with 1 GiB opens; so little that guessing is cheap.
            |slot: &mut Keyslot| slot.memory = Some(1 << 20),
            |slot: &mut Keyslot| slot.memory = Some(32 << 10),
            |slot: &mut Keyslot| slot.passes = Some(1),
            |slot: &mut Keyslot| slot.passes = Some(400),
            |slot: &mut Keyslot| slot.lanes = Some(16),
        ] {
            let why = with(change).unwrap_err().to_string();
            assert!(why.contains("something else"), "{why}");
        }
        assert!(judge_cost(&[]).is_err());
        assert!(judge_cost(&[good.clone(), good]).is_err());
    }
}
