//! What the kernel programs and userspace both say: one definition, no copy.
//!
//! ```text
//!  bytes ─▶ packet ─▶ check ─▶ tag (siphash) ─▶ answer ─▶ state
//!            (wire)    (order of checks over `Tables`)    (words the agent reads)
//! ```
//!
//! Everything here is `no_std`, integers only, and free of any kernel helper: the same [`check::respond`] is
//! called by the TC program, by the agent's own socket where no program could be attached, and by the
//! simulation.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "fields are cut out of words; kernel code has no place for an error that cannot be"
)]

pub mod bucket;
pub mod check;
pub mod count;
pub mod packet;
pub mod siphash;
pub mod state;
pub mod word;
