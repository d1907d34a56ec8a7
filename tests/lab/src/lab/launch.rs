//! The program that becomes a lab's supervisor, and how whoever brought the lab up holds it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::control::Notice;
use crate::layout::Layout;
use crate::progress::Progress;
use crate::service::last_lines;
use crate::{process, requirements};

/// How a program that links this library is called to become a lab's supervisor or a host's init.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// What comes before [`super::LabCommand`]'s words: `lab` for xtask.
    pub prefix: Vec<String>,
}

impl Launcher {
    /// This program, which understands `lab …`: for xtask.
    ///
    /// # Errors
    /// When the program's path is not known.
    pub fn xtask() -> Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            prefix: vec!["lab".to_owned()],
        })
    }

    /// The words that start it.
    pub(crate) fn words(&self) -> Vec<String> {
        std::iter::once(self.program.display().to_string())
            .chain(self.prefix.iter().cloned())
            .collect()
    }

    /// The program `lab` of this package: for tests, which know it as `env!("CARGO_BIN_EXE_lab")`.
    #[must_use]
    pub fn program(path: &str) -> Self {
        Self {
            program: path.into(),
            prefix: Vec::new(),
        }
    }
}

/// The supervisor, and the pipe whose end ends it.
#[derive(Debug)]
pub(super) struct Owned {
    child: Child,
    lifeline: ChildStdin,
}

impl Owned {
    /// Starts it in a process group of its own: a terminal's Ctrl-C reaches the owner, whose end it sees.
    pub(super) fn start(layout: &Layout, launcher: &Launcher) -> Result<Self> {
        fs::create_dir_all(layout.root().join("logs"))?;
        let log = fs::File::create(layout.log("supervisor"))?;
        let mut command = Command::new(&launcher.program);
        command
            .args(&launcher.prefix)
            .args(["supervise", layout.name()])
            .process_group(0);
        command
            .env_remove("KUBECONFIG")
            .env("PATH", requirements::PATH)
            .current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", launcher.program.display()))?;
        let lifeline = child.stdin.take().context("no pipe to the supervisor")?;
        Ok(Self { child, lifeline })
    }

    /// Passes the supervisor's progress on until the lab is ready.
    pub(super) fn follow(&mut self, layout: &Layout, progress: &mut Progress) -> Result<()> {
        let stdout = self.child.stdout.take().context("no pipe from the supervisor")?;
        for line in BufReader::new(stdout).lines() {
            match serde_json::from_str(&line?)? {
                Notice::Progress(event) => progress.report(event),
                Notice::Ready => return Ok(()),
                Notice::Failed(error) => bail!("the lab did not come up: {error}"),
            }
        }
        bail!(
            "the lab's supervisor ended\n{}",
            last_lines(&layout.log("supervisor"), 12)
        )
    }

    /// Lets it go on when this process ends.
    pub(super) fn detach(mut self) -> Result<()> {
        self.lifeline.write_all(b"s").context("the lab has ended")
    }

    /// Ends it: by its lifeline, or after `limit` by force.
    pub(super) fn end(mut self, limit: Duration) -> Result<()> {
        drop(self.lifeline);
        if process::wait_for(&mut self.child, limit)?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}
