//! A cgroup of the cpu controller of version 1: what starves agents.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::layout::Layout;

const CONTROLLER: &str = "/sys/fs/cgroup/cpu";

/// What a group has by default.
pub(super) const ORDINARY: u32 = 1024;
/// The least that the kernel takes.
pub(super) const LEAST: u32 = 2;
/// 64 times an ordinary group.
pub(super) const MUCH: u32 = 65_536;

/// A group of the mesh; the sweeper removes it when its processes are gone.
#[derive(Debug, Clone)]
pub(super) struct CpuGroup {
    path: PathBuf,
}

impl CpuGroup {
    /// Whether this machine has the controller in version 1.
    pub(super) fn is_available() -> bool {
        Path::new(CONTROLLER).join("cpu.shares").exists()
    }

    /// Makes a group with this share of the processors.
    ///
    /// # Errors
    /// When there is no such controller.
    pub(super) fn create(layout: &Layout, name: &str, shares: u32) -> Result<Self> {
        let path = Path::new(CONTROLLER).join(layout.cgroup(name));
        fs::create_dir(&path).with_context(|| format!("{} (cgroup version 1 is needed)", path.display()))?;
        let group = Self { path };
        group.set_shares(shares)?;
        Ok(group)
    }

    /// Gives it another share.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn set_shares(&self, shares: u32) -> Result<()> {
        let path = self.path.join("cpu.shares");
        fs::write(&path, shares.to_string()).with_context(|| format!("{} = {shares}", path.display()))
    }

    /// The list of its processes, to be joined.
    ///
    /// # Errors
    /// When the group is gone.
    pub(super) fn processes(&self) -> Result<File> {
        let path = self.path.join("cgroup.procs");
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }
}
