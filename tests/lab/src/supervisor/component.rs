//! A process that the supervisor itself holds.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{self, Running};
use crate::service::{Service, last_lines};

/// A process of the control plane, or a hollow node.
pub(super) struct Component {
    pub(super) service: Service,
    running: Running,
    since: Instant,
}

impl Component {
    /// Starts it.
    pub(super) fn start(service: Service) -> Result<Self> {
        let running = Running::start(service.command()?)?;
        Ok(Self {
            service,
            running,
            since: Instant::now(),
        })
    }

    /// How long it has run.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Fails with its last words when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.running.child().try_wait()? {
            let lines = last_lines(&self.service.log, 12);
            bail!("{} ended: {}\n{lines}", self.service.name, process::ended(status));
        }
        Ok(())
    }
}
