//! What a lab is to be: one value that goes through a file to the supervisor.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::topology::{Host, MAX_HOLLOW, MAX_REAL, STEWARDS};

/// What to bring up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Tells labs of one machine apart.
    pub name: String,
    /// Real nodes: kubelet, containerd, kube-proxy, agent; 0 to 30.
    pub real: u8,
    /// Hollow nodes: kubelets without containers, which only fill the API; 0 to 500.
    pub hollow: u16,
    /// 1, or 2: the second one runs on the last real node, is behind the same service address, and dies with its node.
    pub api_servers: u8,
    /// What to run as agents and stewards, if anything.
    pub detector: Option<DetectorOptions>,
    /// Whether the stewards have hosts of their own, even where there are enough nodes.
    pub stewards_apart: bool,
    /// kube-proxy's `nftables.minSyncPeriod` in ms (Kubernetes' default is 1000).
    pub proxy_min_sync_ms: u64,
}

/// How agents and stewards run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorOptions {
    /// The program; the lab copies it, so that a build meanwhile changes nothing.
    pub binary: PathBuf,
    /// Further arguments of every agent.
    pub agent_args: Vec<String>,
    /// Further arguments of every steward, for example `--mode enforce`.
    pub steward_args: Vec<String>,
}

impl DetectorOptions {
    /// A profile (`lan`, `fast`), and stewards that write.
    #[must_use]
    pub fn enforcing(binary: &Path, profile: &str) -> Self {
        let profile = format!("--profile={profile}");
        Self {
            binary: binary.to_owned(),
            agent_args: vec![profile.clone()],
            steward_args: vec![profile, "--mode=enforce".to_owned()],
        }
    }
}

impl Options {
    /// Three real nodes, one API server, no detector.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            real: 3,
            hollow: 0,
            api_servers: 1,
            detector: None,
            stewards_apart: false,
            proxy_min_sync_ms: 1000,
        }
    }

    /// Refuses what cannot be brought up.
    ///
    /// # Errors
    /// Field, value and range.
    pub fn check(&self) -> Result<()> {
        if self.real > MAX_REAL {
            bail!("--real {}: 0 to {MAX_REAL} are allowed", self.real);
        }
        if self.hollow > MAX_HOLLOW {
            bail!("--hollow {}: 0 to {MAX_HOLLOW} are allowed", self.hollow);
        }
        if !(1..=2).contains(&self.api_servers) {
            bail!("--api-servers {}: 1 or 2 are allowed", self.api_servers);
        }
        if self.api_servers == 2 && self.real == 0 {
            bail!("--api-servers 2: the second one runs on a real node, so --real must be at least 1");
        }
        Ok(())
    }

    /// The real nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Host> + use<> {
        (1..=self.real).map(Host::Node)
    }

    /// The node that carries the second API server.
    #[must_use]
    pub fn second_api_server(&self) -> Option<Host> {
        (self.api_servers == 2).then_some(Host::Node(self.real))
    }

    /// The hosts that run a steward: the first nodes, or hosts of their own where those are too few or unwanted.
    #[must_use]
    pub fn steward_hosts(&self) -> Vec<Host> {
        let apart = self.stewards_apart || self.real < STEWARDS;
        let host = if apart { Host::Steward } else { Host::Node };
        (1..=STEWARDS)
            .filter(|_| self.detector.is_some())
            .map(host)
            .collect()
    }

    /// Every machine of the lab that can be cut.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        let mut hosts: Vec<_> = self.nodes().chain(self.steward_hosts()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}
