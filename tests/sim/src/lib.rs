//! Virtual time: thousands of agents and three stewards in one process.
//!
//! ```text
//!  rng ─▶ clock, queue ─▶ network ─▶ host (kernel) ─▶ process ─▶ world ─▶ oracle
//! ```
//!
//! The machines are the real ones, and so are the packets, the order of checks and the sealed messages; only clock,
//! network, kernel maps and API server are made of memory. A seed gives the same run bit for bit.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "indices and counts are minted by the world itself; a wrong one shall stop the run"
)]

pub mod api;
pub mod clock;
pub mod host;
pub mod kernel;
pub mod network;
pub mod oracle;
pub mod process;
pub mod queue;
pub mod rng;
pub mod stats;
pub mod world;
