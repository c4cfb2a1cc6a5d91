// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the integration tests share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod bench;
pub mod device;
pub mod fake;
pub mod grown;
pub mod lab;
pub mod program;
pub mod stick;
