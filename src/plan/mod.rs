// SPDX-License-Identifier: MIT OR Apache-2.0
//! What will be done, as data.

pub mod layout;
