// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot configurations: text to text.

pub mod esp;
pub mod grub;
pub mod isolinux;
