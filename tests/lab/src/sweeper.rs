//! The process that outlives a lab and removes what the kernel does not: cgroups and files.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

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
