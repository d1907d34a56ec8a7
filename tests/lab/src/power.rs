//! A host's power, and how it is cut.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::link::LinkSwitch;
use crate::moment::Moment;
use crate::process::{self, Running};

/// The kernel ends the last process of a host within this time after it was told.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// In which state a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Runs.
    On,
    /// Its power was cut: no process, no link.
    Off,
    /// Every process is stopped; its kernel goes on.
    Paused,
}

/// When a power cut did what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Just before the first action: the zero of every measurement.
    pub started: Moment,
    /// The link is down.
    pub link_down: Moment,
    /// The signal that kills every process is on its way.
    pub killed: Moment,
    /// The last process is gone.
    pub gone: Moment,
}

/// The cut itself, in the order of the fields of [`Cut`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strike {
    /// Just before the first action: the zero of every measurement.
    pub started: Moment,
    /// The link is down.
    pub link_down: Moment,
    /// The signal that kills every process is on its way.
    pub killed: Moment,
}

/// Cuts the power of a host: the link behind `port` goes down, and all its processes are killed in one stroke, with the
/// first one.
///
/// # Errors
/// When there is no such port.
pub(crate) fn strike(switch: &LinkSwitch, port: &str, first: Pid) -> Result<Strike> {
    let started = Moment::now();
    switch.set(port, false).context("taking the link down")?;
    let link_down = Moment::now();
    kill_process(first, Signal::KILL)?;
    Ok(Strike {
        started,
        link_down,
        killed: Moment::now(),
    })
}

/// Waits until nothing of a host that was struck is left.
///
/// # Errors
/// When something is still there after 20 s.
pub(crate) fn await_end(host: &str, init: &mut Running) -> Result<Moment> {
    // Its end is reported when all others of its PID namespace are gone.
    if process::wait_for(init.child(), GONE_LIMIT)?.is_none() {
        bail!(
            "processes of {host} are still there {} s after they were killed",
            GONE_LIMIT.as_secs()
        );
    }
    Ok(Moment::now())
}

/// Both.
///
/// # Errors
/// When there is no such port, or something of the host is still there after 20 s.
pub(crate) fn cut(switch: &LinkSwitch, port: &str, init: &mut Running) -> Result<Cut> {
    let Strike {
        started,
        link_down,
        killed,
    } = strike(switch, port, init.pid())?;
    Ok(Cut {
        started,
        link_down,
        killed,
        gone: await_end(port, init)?,
    })
}
