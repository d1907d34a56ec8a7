//! The channels of two peers, over a wire that may lose, keep, repeat and change what goes over it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end at once"
)]

mod chance;
mod delivery;
mod hostile;
mod pair;
mod restart;
