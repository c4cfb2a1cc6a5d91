// SPDX-License-Identifier: MIT OR Apache-2.0
//! Write a live image to a USB stick, give it a memory, and prove what is on it.
//!
//! The way from a command to a stick is one line:
//!
//! ```text
//! Request + facts (image, disk) → plan (pure, printable) → apply → events → report
//! ```
//!
//! Rules that every module keeps:
//!
//! * Nothing is written that the plan did not list, byte range by byte range.
//! * Parsers take bytes, trust no length, and never panic: they run as root on files from the internet.
//! * A byte offset, a 512-byte sector and a 2048-byte block are three types (see [`units`]).
//! * Front ends ([`ui`]) build requests and consume events; they decide nothing.

pub mod aftercare;
pub mod apply;
pub mod boot;
pub mod capacity;
pub mod chain;
pub mod cli;
pub mod command;
pub mod diagnosis;
pub mod digest;
pub mod disk;
pub mod doctor;
pub mod event;
pub mod extract;
pub mod form;
pub mod host;
pub mod image;
pub mod livecd_iso_to_disk;
pub mod luks;
pub mod patch;
pub mod persistence;
pub mod plan;
pub mod privilege;
pub mod programs;
pub mod published;
pub mod read;
pub mod record;
pub mod refusal;
pub mod repair;
pub mod report;
pub mod request;
pub mod secret;
pub mod sprout;
pub mod superblock;
pub mod table;
pub mod ui;
pub mod units;
pub mod verify;
pub mod writer;
