// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a stick has the size it claims. Counterfeits answer for addresses that they have no memory for: they write
//! over their beginning (*wrap around*), or forget (*drop*) what is written there.
//!
//! [`quick`] writes marks, reads them back, and puts back what was there. The rules it keeps:
//!
//! * A mark is 4 KiB that could be nothing else: each sector is made from a random key and its own address, so it says
//!   where it was meant to be, wherever it is found ([`mark`]).
//! * What is to be marked is read first; what cannot be read is not marked. Marks are taken back in the opposite order
//!   of writing, which restores a medium under any mapping of addresses, since each step undoes the one before it.
//!   That is done when the user stops, and after every error. Then the places are read again and compared.
//! * Only a kill (or a pulled stick) in between leaves marks behind: some hundred blocks of 4 KiB, none in the first
//!   MiB but the last block of it, which tables leave free, and one at the very end.
//!
//! What is found, for every place of the true end, odd ones too:
//!
//! * Every wrap-around by a multiple of 512 bytes. Marks lie at most one step apart (the square root of the size in
//!   MiB, so that marks and reading cost about the same), and the beginning is searched for marks over more than one
//!   step: of every stretch of one step that is mapped there, one mark is seen, and so is the last block's. By how
//!   much each was displaced gives the size at which the medium wraps.
//! * Every dropped stretch at least one step long, and every dropped tail at whose end not even the last block works;
//!   near powers of two and near the end, where true ends are likely, much shorter ones. Where it begins is then
//!   narrowed down to 8 KiB by more marks between two of the plan's.
//!
//! What is not: a medium with a few bad blocks between marks, one that breaks later, and one with a memory of more
//! than 8 MiB for what was written last. Against smaller ones, 8 MiB at the beginning are read and written again, as
//! they are, between writing the marks and reading them. A reset of the plug is not made: a program cannot do that to
//! every stick. [`full`] writes everything before it reads anything, and finds the first and the last of these too.
//!
//! Reads go past the page cache, and the kernel's count of what came from the medium is the proof, as with
//! everything else that livestick reads back.

pub mod full;
pub mod job;
pub mod mark;
pub mod places;
pub mod quick;
mod storage;
#[cfg(test)]
mod tests;
pub mod verdict;

pub use places::Probe;
pub use storage::Storage;
pub use verdict::{Capacity, Finding};
