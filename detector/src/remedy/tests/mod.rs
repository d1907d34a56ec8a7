//! The machine as a whole, against an API server in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod death;
mod hands;
mod limits;
mod world;
