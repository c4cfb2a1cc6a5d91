// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an image is, read only.

pub mod eltorito;
pub mod erofs;
pub mod ext4;
pub mod initrd;
pub mod iso9660;
pub mod isomd5;
pub mod root;
pub mod squashfs;
