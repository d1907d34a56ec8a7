//! What the binary does with the library: tokio, signals, logs, and the way between them and the real-time thread.

pub(crate) mod agent;
pub(crate) mod fixed;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod kubelet;
pub(crate) mod members;
pub(crate) mod steward;
pub(crate) mod table;
pub(crate) mod thread;

use std::io::{IsTerminal, Write};

use anyhow::Context;
use detector::cli::config::Common;
use detector::realtime::thread::lock_memory;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

/// Threads of tokio: its work is small, and the real-time thread needs a core of its own more than tokio does.
const WORKERS: usize = 2;

/// Writes a line to standard output.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).context("standard output")
}

/// Writes a line to standard error, where nothing else can be done.
pub(crate) fn complain(text: &str) {
    let _nobody_reads = writeln!(std::io::stderr().lock(), "{text}");
}

/// For one errand.
pub(crate) fn small_runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio")
}

/// For a role.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("tokio")
}

/// Logs, and memory that is not swapped out under the real-time thread.
pub(crate) fn prepare(common: &Common) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&common.log_filter).context("log: wanted: a filter as of RUST_LOG")?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if common.log_json {
        logs.json().init();
    } else {
        logs.init();
    }
    if let Err(error) = lock_memory() {
        tracing::warn!(%error, "memory is not locked: a page fault may delay a probe (CAP_IPC_LOCK, or a higher RLIMIT_MEMLOCK)");
    }
    Ok(())
}
