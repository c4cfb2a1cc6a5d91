// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sectors as dm-crypt would write them with `aes-xts-plain64` and sectors of 512 bytes.
//!
//! Each sector is encrypted on its own with AES-256 in XTS mode (IEEE 1619). The tweak is the sector's number as 64
//! bits, the lowest byte first, and zeros behind them; numbers count from the start of the data segment (Linux,
//! Documentation/admin-guide/device-mapper/dm-crypt.rst, `plain64`; LUKS2 On-Disk Format 1.1, 3.3, `iv_tweak`).

use aes::Aes256;
use aes::cipher::KeyInit;
use xts_mode::{Xts128, get_tweak_default};
use zeroize::Zeroizing;

use crate::units::Bytes;

/// The name that LUKS has for it.
pub const NAME: &str = "aes-xts-plain64";
/// How much is encrypted as one.
pub const SECTOR: Bytes = Bytes(512);
/// Bytes of a key: two of AES-256.
pub const KEY: usize = 64;
const SECTOR_LEN: usize = 512;

/// A key that everything in a partition is encrypted with: the data's half and the tweak's. It stays in one place in
/// memory, is wiped when it goes away, and has no debug form.
pub struct Key(Box<Zeroizing<[[u8; KEY / 2]; 2]>>);

impl Key {
    /// A new one, from the kernel's random numbers.
    pub fn random() -> std::io::Result<Key> {
        let mut key = Key::zero();
        let bytes = key.0.as_flattened_mut();
        let mut filled = 0;
        while filled < KEY {
            let rest = &mut bytes[filled..];
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(key)
    }

    /// One that is known.
    pub fn known(bytes: &[u8; KEY]) -> Key {
        let mut key = Key::zero();
        key.0.as_flattened_mut().copy_from_slice(bytes);
        key
    }

    /// Its place, to be filled there.
    fn zero() -> Key {
        Key(Box::new(Zeroizing::new([[0; KEY / 2]; 2])))
    }

    /// Its bytes, for the one who has to take them.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }
}

/// A cipher that is ready to work.
pub struct Cipher(Xts128<Aes256>);

impl Cipher {
    /// With this key.
    pub fn new(key: &Key) -> Cipher {
        let [data, tweak] = &**key.0;
        Cipher(Xts128::new(
            Aes256::new(data.into()),
            Aes256::new(tweak.into()),
        ))
    }

    /// Encrypts whole sectors; `at` is the place of the first one in the data segment, and a multiple of [`SECTOR`].
    pub fn encrypt(&self, at: Bytes, sectors: &mut [u8]) {
        let first = u128::from(at.0 / SECTOR.0);
        for (sector, number) in sectors.chunks_exact_mut(SECTOR_LEN).zip(first..) {
            self.0.encrypt_sector(sector, get_tweak_default(number));
        }
    }

    /// The way back.
    pub fn decrypt(&self, at: Bytes, sectors: &mut [u8]) {
        let first = u128::from(at.0 / SECTOR.0);
        for (sector, number) in sectors.chunks_exact_mut(SECTOR_LEN).zip(first..) {
            self.0.decrypt_sector(sector, get_tweak_default(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What OpenSSL decrypts; `number` is the first sector's.
    fn openssl(key: &[u8; KEY], number: u64, sectors: &[u8]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("sectors"), sectors).unwrap();
        std::fs::write(path("key"), key).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/luks-plain");
        let status = Command::new(script)
            .args([path("sectors"), path("key"), "0".into(), path("plain")])
            .arg(number.to_string())
            .status();
        assert!(status.unwrap().success());
        std::fs::read(path("plain")).unwrap()
    }

    #[test]
    fn others_decrypt_what_is_encrypted_here() {
        let mut bytes = [0; KEY];
        for (i, byte) in (0_u8..).zip(&mut bytes) {
            *byte = i.wrapping_mul(37);
        }
        let cipher = Cipher::new(&Key::known(&bytes));
        let plain: Vec<u8> = (0..1536_u32).map(|i| (i % 253) as u8).collect();
        for first in [0, 1, 255, 256, 0x1_0000_0001, u64::MAX / 512 - 2] {
            let at = Bytes(first * 512);
            let mut sectors = plain.clone();
            cipher.encrypt(at, &mut sectors);
            assert_eq!(openssl(&bytes, first, &sectors), plain);
            cipher.decrypt(at, &mut sectors);
            assert_eq!(sectors, plain);
        }
    }

    #[test]
    fn keys_differ() {
        assert_ne!(
            Key::random().unwrap().bytes(),
            Key::random().unwrap().bytes()
        );
    }
}
