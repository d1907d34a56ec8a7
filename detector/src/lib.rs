//! Finds dead Kubernetes nodes in 0.15 s, by a quorum of their peers, and moves their pods.
//!
//! ```text
//!  wire ──▶ datapath ──▶ observer ──┐                                    (agent: one on each node)
//!           (kernel echo)           ├──▶ control ──▶ wire ──▶ control ──▶ judge ──▶ remedy ──▶ kubernetes
//!  local signs ──▶ agent ───────────┘    (sealed)            (steward: three)   (pure steps)   (writes)
//!                    ▲                                                       │
//!  roster (file, or ConfigMaps that the stewards write) ◀────────────────────┘
//! ```
//!
//! The modules below stand in the order of the data's way. All are pure state machines and plain data — bytes,
//! events and `now` go in, commands come out — but for the IO files, which alone may touch clock, sockets, kernel,
//! API, disk and randomness:
//!
//! | IO | touches |
//! |---|---|
//! | [`clock`] | clocks, boot id, randomness |
//! | [`datapath`] | kernel programs, their maps and pins, rtnetlink |
//! | [`disk`] | the state directory: key, roster's copy, incidents; a static roster's file |
//! | [`local::systemd`], [`local::kubelet`] | the host's own services |
//! | [`status`] | the unix socket of `detector status` |
//! | [`kube`] | the API servers |
//! | [`realtime`] | the mesh socket, the real-time thread, the way to tokio |

// Words that every module speaks.
pub mod identity;
pub mod names;
pub mod profile;
pub mod time;

// Who is a member, and who watches whom.
pub mod rings;
pub mod roster;

// The kernel's echo, and the socket's where the kernel gives none (IO).
pub mod datapath;

// What peers tell each other.
pub mod message;

// How nobody else can: the pairs' keys, sealed datagrams, and what a replay meets.
pub mod control;
pub mod keys;
pub mod seal;

// The agent: asks, and tells what it did not hear.
pub mod agent;
pub mod observer;

// What is decided, and how it is told.
pub mod incident;
pub mod judgement;

// What holds of each member, counted by the stewards.
pub mod judge;
pub mod offset;
pub mod steward;

// What is written, in which order, by whom.
pub mod remedy;

// Kubernetes: watches, and what carries out the writes (IO).
pub mod kube;

// What a node knows of itself.
pub mod local;

// The shells: everything above runs here.
pub mod cli;
pub mod clock;
pub mod disk;
pub mod realtime;
pub mod status;
