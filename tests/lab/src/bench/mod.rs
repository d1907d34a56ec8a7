//! `cargo xtask bench …`: what the promises are worth on this machine.

mod detection;
pub mod failover;
mod row;
pub(crate) mod sharp;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measures, prints a table, writes the samples as JSON.
#[derive(Debug, Args)]
pub struct BenchCommand {
    /// The detector to measure; default: this checkout's, optimised
    #[arg(long, global = true)]
    detector: Option<PathBuf>,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// From a power cut to the stewards' verdict: agents and three stewards on a static roster
    Detection(detection::Detection),
    /// From a power cut to replacement pods that are Ready, in a real cluster, with us and without
    Failover(failover::Failover),
}

impl BenchCommand {
    /// Whether it needs a Kubernetes cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.bench, Bench::Failover(_))
    }

    /// Does it; `build` gives the detector where none was named.
    ///
    /// # Errors
    /// In words for the user.
    pub fn run(&self, build: impl FnOnce() -> Result<PathBuf>) -> Result<ExitCode> {
        let detector = self.detector.clone().map_or_else(build, Ok)?;
        match &self.bench {
            Bench::Detection(detection) => detection.run(&detector),
            Bench::Failover(failover) => failover.run(&detector),
        }
    }
}
