// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways in which a live system can remember: what has to be on the stick, and what its kernel has to be told.
//!
//! Each way is one file. It answers from facts of the image alone, and what it answers is data: a tree of files to be
//! made, and kernel arguments.

pub mod encrypted_home;
pub mod home;
pub mod overlay;
pub mod tree;
