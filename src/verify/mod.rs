// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stick compared with what was written to it.
