// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys and signatures, by gpg.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::program::{command, text};

/// A home of gpg with one key.
pub struct Signer {
    /// Short enough for the agent's socket.
    home: TempDir,
    pub print: String,
}

impl Signer {
    pub fn new(owner: &str) -> Signer {
        Signer::made(owner, "never", &[])
    }

    /// Whose key was good for a year, long ago.
    pub fn expired(owner: &str) -> Signer {
        Signer::made(owner, "1y", &LONG_AGO)
    }

    /// Whose key is good, and was so long ago.
    pub fn old(owner: &str) -> Signer {
        Signer::made(owner, "never", &LONG_AGO)
    }

    fn made(owner: &str, expires: &str, when: &[&str]) -> Signer {
        let home = TempDir::new_in("/tmp").unwrap();
        let mut signer = Signer {
            home,
            print: String::new(),
        };
        let make = ["--quick-generate-key", owner, "ed25519", "sign", expires];
        signer.gpg(&[when, &make].concat());
        let listed = signer.gpg(&["--with-colons", "--list-keys"]);
        let listed = String::from_utf8(listed).unwrap();
        let print = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
        signer.print = print.unwrap().replace(':', "");
        signer
    }

    /// Runs gpg and gives what it puts out.
    pub fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let output = command("gpg")
            .env("GNUPGHOME", self.home.path())
            .args(["--batch", "--yes", "--quiet", "--passphrase", ""])
            .args(["--pinentry-mode", "loopback"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {args:?}: {said}");
        output.stdout
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A file with the key.
    pub fn keyring(&self, options: &[&str]) -> PathBuf {
        let path = self.path("exported");
        fs::write(&path, self.gpg(&[options, &["--export"]].concat())).unwrap();
        path
    }

    /// `content` in a frame.
    pub fn clear(&self, content: &str, options: &[&str]) -> String {
        let path = self.path("content");
        fs::write(&path, content).unwrap();
        let args = [options, &["--output", "-", "--clearsign", text(&path)]].concat();
        String::from_utf8(self.gpg(&args)).unwrap()
    }

    /// A signature of a file.
    pub fn detached(&self, file: &Path, options: &[&str]) -> Vec<u8> {
        self.gpg(&[options, &["--output", "-", "--detach-sign", text(file)]].concat())
    }

    /// Revokes the key with the certificate that gpg makes with every key.
    pub fn revoke(&self) {
        let made = self.path(&format!("openpgp-revocs.d/{}.rev", self.print));
        let certificate = fs::read_to_string(made).unwrap();
        // A colon keeps it from being used by accident.
        let certificate = certificate.replace(":-----BEGIN", "-----BEGIN");
        let path = self.path("revoke");
        fs::write(&path, certificate).unwrap();
        self.gpg(&["--import", text(&path)]);
    }
}

/// When the key of [`Signer::expired`] was good.
pub const LONG_AGO: [&str; 2] = ["--faked-system-time", "20150101T000000"];

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "all"])
            .output();
    }
}
