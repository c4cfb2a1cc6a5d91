//! Superblocks.
