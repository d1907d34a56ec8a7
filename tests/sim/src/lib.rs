//! Virtual time: thousands of agents and three stewards in one process.
//!
//! ```text
//!  rng ─▶ clock, queue ─▶ network ─▶ host (kernel) ─▶ process ─▶ world ─▶ oracle
//!                                                                  │
//!  seeds ─▶ scenario ─▶ cluster (machines, faults, api) ◀──────────┘
//! ```
//!
//! The machines are the real ones, and so are the packets, the order of checks and the sealed messages; only clock,
//! network, kernel maps and API server are made of memory. A seed gives the same run bit for bit.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "indices and counts are minted by the world itself; a wrong one shall stop the run"
)]

// Time, chance, and what lies between hosts.
pub mod clock;
pub mod network;
pub mod queue;
pub mod rng;

// Hosts and what runs on them.
pub mod host;
pub mod kernel;
pub mod process;
pub mod world;

// What is true.
pub mod oracle;

// Kubernetes.
pub mod api;

// The real machines, all of them together.
pub mod cluster;
pub mod members;

// How tests run it.
pub mod scenario;
pub mod seeds;
pub mod stats;
