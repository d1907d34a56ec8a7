//! What a mesh is to be.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::places::{Family, MAX_NODES};
use super::relay::Delay;
use crate::lab::Launcher;

/// What to bring up.
#[derive(Debug, Clone)]
pub struct MeshOptions {
    /// Tells meshes of one machine apart: 1 to 24 of a-z, 0-9 and hyphens.
    pub name: String,
    /// Agents, 2 to 60; stewards are always three.
    pub nodes: u8,
    /// The program; the mesh copies it, so that a build meanwhile changes nothing.
    pub detector: PathBuf,
    /// How this program is started again as a host's first process.
    pub launcher: Launcher,
    /// Addresses.
    pub family: Family,
    /// `--echo` of every agent.
    pub echo: String,
    /// `--profile` of everybody.
    pub profile: String,
    /// Delay on the way between every two hosts, each way.
    pub delay: Option<Delay>,
    /// Whether all agents share a cpu cgroup, to be starved in it.
    pub starvable: bool,
}

impl MeshOptions {
    /// Nine agents, IPv4, the detector's defaults.
    #[must_use]
    pub fn new(name: &str, detector: PathBuf, launcher: Launcher) -> Self {
        Self {
            name: format!("{name}-{}", std::process::id()),
            nodes: 9,
            detector,
            launcher,
            family: Family::V4,
            echo: "auto".to_owned(),
            profile: "lan".to_owned(),
            delay: None,
            starvable: false,
        }
    }

    /// Refuses what cannot be brought up.
    pub(super) fn check(&self) -> Result<()> {
        if !(2..=MAX_NODES).contains(&self.nodes) {
            bail!("nodes {}: 2 to {MAX_NODES} are allowed", self.nodes);
        }
        if !self.detector.is_file() {
            bail!(
                "{} is not there: `cargo xtask build` makes it",
                self.detector.display()
            );
        }
        Ok(())
    }
}
