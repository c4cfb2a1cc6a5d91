// SPDX-License-Identifier: MIT OR Apache-2.0
//! Partition tables of an isohybrid.

pub mod gpt;
pub mod mbr;
