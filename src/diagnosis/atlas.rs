// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies where on a stick.
