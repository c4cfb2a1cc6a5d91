// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reset and detach, judged by the kernel, btrfs-progs and sfdisk: what they do, what they refuse, and what a hostile
//! stick gets from them.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod changed;
mod hostile;
mod life;
