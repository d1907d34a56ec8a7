//! Where a mesh keeps its files: one folder, which goes with the mesh.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::layout::Layout;
use crate::sweeper;

/// The sweeper is done when the last process is.
const SWEEP_LIMIT: Duration = Duration::from_secs(20);

/// The folder, and what removes it.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) layout: Layout,
    /// Closed, the sweeper begins.
    sweeper: Option<OwnedFd>,
}

impl Files {
    /// Makes the folder.
    pub(super) fn create(name: &str, launcher: &[String]) -> Result<Self> {
        let layout = Layout::mesh(name)?;
        if layout.root().exists() {
            bail!(
                "{} is there already: another mesh of this name",
                layout.root().display()
            );
        }
        // Keys lie here: for root alone.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(layout.root())?;
        let sweeper = Some(sweeper::start(launcher, &["sweep", "--mesh", name])?);
        Ok(Self { layout, sweeper })
    }

    /// The roster of everybody.
    pub(super) fn roster(&self) -> PathBuf {
        self.layout.root().join("roster.toml")
    }

    /// The copy of the detector.
    pub(super) fn detector(&self) -> PathBuf {
        self.layout.root().join("detector")
    }

    /// A host's state directory: what it sees as `/var/lib/node-failure-detector`.
    pub(super) fn state(&self, host: &str) -> PathBuf {
        self.layout.disk(host).join("lib/node-failure-detector")
    }

    /// The incidents that its steward has recorded.
    pub(super) fn incidents(&self, host: &str) -> PathBuf {
        self.state(host).join("incidents.jsonl")
    }

    /// Where its agent or steward answers `detector status`.
    pub(super) fn socket(&self, host: &str) -> PathBuf {
        self.layout.root().join("status").join(host)
    }

    /// Its agent's or steward's log.
    pub(super) fn log(&self, host: &str) -> PathBuf {
        self.layout.log(&format!("{host}/detector"))
    }

    /// Removes everything and waits until it is gone. The processes must have ended.
    pub(super) fn remove(&mut self) -> Result<()> {
        drop(self.sweeper.take());
        sweeper::await_swept(&self.layout, SWEEP_LIMIT)
    }
}
