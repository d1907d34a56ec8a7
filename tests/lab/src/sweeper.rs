//! The process that outlives a lab and removes what the kernel does not: cgroups and files.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result};

use crate::cgroup;
use crate::layout::Layout;

/// Processes that were killed may write into the folder for so long.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// Starts it. It does its work when the descriptor returned is closed, as it is when this process ends, however it ends.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(launcher: &[String], arguments: &[&str]) -> Result<OwnedFd> {
    let (read, write) = io::pipe()?;
    let (program, first) = launcher.split_first().context("no launcher")?;
    let mut command = Command::new(program);
    command
        .args(first)
        .args(arguments)
        .stdin(read)
        .stdout(Stdio::null());
    // A terminal's Ctrl-C is not for it.
    command.process_group(0);
    command.spawn().context("starting the sweeper")?;
    Ok(write.into())
}

/// Its work: removes what the end of all processes leaves. Never touches a lab that runs.
///
/// # Errors
/// When something of the lab still runs after 20 seconds.
pub(crate) fn sweep(layout: &Layout) -> Result<()> {
    cgroup::remove(&layout.cgroup_prefix())?;
    let deadline = Instant::now() + WRITE_LIMIT;
    loop {
        match fs::remove_dir_all(layout.root()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process on its way out may just have made a file.
            Err(_) if Instant::now() < deadline => std::thread::sleep(LOOK),
            result => return result.with_context(|| format!("removing {}", layout.root().display())),
        }
    }
}

/// Waits until the sweeper has done it; does its work if it has not within `limit`.
///
/// # Errors
/// As [`sweep`].
pub(crate) fn await_swept(layout: &Layout, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    while layout.root().exists() {
        if Instant::now() > deadline {
            return sweep(layout).context("cleaning up what the sweeper did not");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
