//! How a lab is told what to do: one JSON line each way over the supervisor's unix socket.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::machine::Power;
use crate::options::DetectorOptions;
use crate::progress::Event;

/// Longer than any request takes, heal with its clean-up included.
const LIMIT: Duration = Duration::from_secs(90);

/// What a lab can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered by [`State`].
    Status,
    /// Power off; answered by [`crate::machine::Cut`].
    Cut(String),
    /// Power on after a cut; answered by the new boot id.
    Heal(String),
    /// Stops every process of a host; answered by their number.
    Pause(String),
    /// Lets them go on.
    Resume(String),
    /// SIGKILL for the agents of a host and nobody else; answered by their number.
    KillAgent(String),
    /// Runs agents and stewards with other arguments.
    Detector(DetectorOptions),
    /// Another `minSyncPeriod` (ms) of every kube-proxy.
    ProxyMinSync(u64),
    /// Ends the lab; answered before it does.
    Down,
}

/// What the supervisor tells the one who started it, a JSON line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// How far it is.
    Progress(Event),
    /// Everything runs.
    Ready,
    /// It gave up, and why.
    Failed(String),
}

/// A lab as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Process id of the supervisor; its network namespace is the control plane's.
    pub supervisor: u32,
    /// Every machine.
    pub hosts: Vec<HostState>,
    /// Components of the control plane, and hollow nodes, that have ended although nobody asked.
    pub ended: Vec<String>,
    /// The client's network namespace, to be opened by [`crate::netns::Namespace::open`].
    pub client: PathBuf,
    /// The program that is every component, kubectl too.
    pub binary: PathBuf,
}

/// A machine of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostState {
    /// `node-1`, `steward-1`.
    pub name: String,
    /// On the lab's network.
    pub address: Ipv4Addr,
    /// Failure domain.
    pub zone: String,
    /// What is run here.
    pub roles: Vec<String>,
    /// On, off, paused.
    pub power: Power,
    /// Of the present, or last, boot.
    pub boot_id: String,
    /// Process id of its first process, seen from outside.
    pub init: u32,
    /// Its network namespace, to be opened by [`crate::netns::Namespace::open`].
    pub network: PathBuf,
}

/// Asks a running lab.
///
/// # Errors
/// When there is none, or it refuses.
pub(crate) fn ask<T: DeserializeOwned>(layout: &Layout, request: &Request) -> Result<T> {
    let socket = layout.socket();
    let stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "no lab {:?} is running (start it by `cargo xtask lab up`)",
            layout.name()
        )
    })?;
    stream.set_read_timeout(Some(LIMIT))?;
    send(&stream, request)?;
    let answer: Result<serde_json::Value, String> = receive(&stream).context("the lab did not answer")?;
    Ok(serde_json::from_value(answer.map_err(|error| anyhow!(error))?)?)
}

/// Whether a supervisor listens there.
pub(crate) fn is_up(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// Writes one line.
pub(crate) fn send(mut stream: &UnixStream, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

/// Reads one line.
pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> Result<T> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
