// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sticks that are verified, repaired and read back by the program: sound ones, and ones that were damaged in one place
//! each by other means.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod extracted;
mod filesystems;
mod medium;
mod places;
mod stick;
#[path = "../support/mod.rs"]
mod support;
mod system;
mod unrecorded;
