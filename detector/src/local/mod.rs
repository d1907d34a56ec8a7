//! What a node knows of itself: the kubelet's health, and why the agent is told to end.

pub mod farewell;
pub mod kubelet;
pub mod systemd;
