//! Each rule by what it must never let happen. The first line of a test names the way to condemn a healthy host that
//! it closes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that breaks its own premise may panic"
)]

mod ability;
mod bounds;
mod evidence;
mod lives;
mod losses;
mod world;
