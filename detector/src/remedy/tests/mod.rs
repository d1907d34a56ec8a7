//! The machine as a whole, against an API server in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api;
mod death;
mod degraded;
mod doubts;
mod hands;
mod judge;
mod limits;
mod world;
