//! Child processes with deadlines, which never outlive the lab.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

use crate::signals;

/// Lets the kernel kill the command's process when the *thread* that spawns it ends, however it ends; and gives it the
/// usual signal mask, as a lab's own processes block what they read from a descriptor.
pub fn die_with_parent(command: &mut Command) {
    let prepare = || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        signals::unblock_all()
    };
    // SAFETY: the closure makes two system calls and allocates nothing, which is all that is allowed after a fork.
    unsafe { command.pre_exec(prepare) };
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// When it cannot be started, fails (the error holds what it wrote), or takes longer than `limit` (it is killed).
pub fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let shown = shown(command);
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
    let status = wait_for(&mut child, limit)?;
    let (out, err) = (text(&mut stdout)?, text(&mut stderr)?);
    match status {
        Some(status) if status.success() => Ok(out),
        Some(status) => bail!("{shown}: {}\n{}{}", ended(status), out, err),
        None => {
            child.kill()?;
            child.wait()?;
            bail!("{shown}: killed after {} s\n{out}{err}", limit.as_secs_f32())
        }
    }
}

/// Waits for a child's end for at most `limit`; `None` when it still runs.
///
/// # Errors
/// When the kernel refuses a pidfd.
pub fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let fd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    let limit = Timespec::try_from(limit)?;
    loop {
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(child.wait()?)),
            // A signal: the wait begins again, so that a limit is at least what it says.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How a process ended, in words.
#[must_use]
pub fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A process that is killed and reaped when this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", shown(&command)))?;
        Ok(Self { child })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The same, to be signalled.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The child itself: its pipes, `try_wait`.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process has already ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// All that was written to a file that a child shared.
fn text(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
