//! `cargo xtask demo`: one death, from beginning to end, with its times.

mod cluster;
mod mesh;
mod stock;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Brings a lab up, cuts a node's power, and shows what happens when.
#[derive(Debug, Args)]
pub struct DemoCommand {
    /// Agents and three stewards on a static roster: no Kubernetes, no Go
    #[arg(long)]
    without_kubernetes: bool,
    /// The detector to show; default: this checkout's
    #[arg(long)]
    detector: Option<PathBuf>,
    /// Agents, 2 to 60
    #[arg(long, default_value_t = 9, requires = "without_kubernetes")]
    nodes: u8,
    /// lan or fast
    #[arg(long, default_value = "lan")]
    profile: String,
    /// Where the times go
    #[arg(long)]
    json: Option<PathBuf>,
}

impl DemoCommand {
    /// Whether it needs a Kubernetes cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        !self.without_kubernetes
    }

    /// Does it; `build` gives the detector where none was named.
    ///
    /// # Errors
    /// In words for the user.
    pub fn run(&self, build: impl FnOnce() -> Result<PathBuf>) -> Result<ExitCode> {
        let detector = self.detector.clone().map_or_else(build, Ok)?;
        if self.without_kubernetes {
            mesh::run(self, &detector)
        } else {
            cluster::run(self, &detector)
        }
    }
}
