// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal interface: what its screens look like, what no key can do, and what a real terminal shows and is left
//! as.

// What is not a test function here is still test code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asked;
mod driven;
mod errands;
mod given_back;
mod hidden;
mod limits;
mod made_up;
mod password;
mod property;
mod readme;
mod screens;
mod sticks;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod threads;
