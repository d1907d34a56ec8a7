//! What labs are made of: namespaces, certificates, images, a real control plane.
//!
//! ```text
//! command ─▶ lab ──starts──▶ supervisor ──┬─ components: etcd, API server, controllers   (in the hub's network)
//!   │         │  (JSON over a unix socket)├─ machine: init ─▶ containerd, kubelet, kube-proxy, agent, steward
//!   │         └─ cache: control_plane, images          └─ one a host, in namespaces of its own
//!   └─ client: a hundred requests a second through the NodePorts
//! ```
//! Everything is a child of the supervisor and dies with it; namespaces are held by descriptors and go with their
//! holders; the sweeper, which outlives the supervisor, removes cgroups and files.
#![expect(
    clippy::disallowed_methods,
    reason = "a lab is IO: clocks, threads, processes"
)]

// The parts.
pub mod certificates;
mod cgroup;
mod incidents;
pub mod kubeconfig;
pub mod libraries;
mod link;
pub mod moment;
pub mod mounts;
pub mod netns;
mod power;
pub mod process;
pub mod processes;
pub mod progress;
pub mod requirements;
mod service;
mod signals;
pub mod skip;
mod sweeper;

// The echo's labs.
pub mod echo;
pub mod frames;

// What is built once.
pub mod cache;
pub mod control_plane;
pub mod go;
pub mod images;

// What a lab consists of.
mod components;
pub mod detector;
mod init;
pub mod layout;
pub mod machine;
pub mod options;
pub mod topology;

// A lab without Kubernetes: agents and stewards on a static roster.
pub mod mesh;

// What is measured.
pub mod bench;
pub mod demo;
pub mod report;

// How it is run.
pub mod api;
pub mod audit;
pub mod client;
pub mod command;
pub mod control;
pub mod failover;
pub mod lab;
mod supervisor;
pub mod workload;
