//! A process that a host's init keeps running.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What to run, and where its output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// Unique on its host.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Set beside PATH; nothing is inherited.
    pub(crate) environment: Vec<(String, String)>,
    /// Standard output and error are appended here.
    pub(crate) log: PathBuf,
    /// Whether it is started again when it ends; else only when the list is read again.
    pub(crate) restart: bool,
}

impl Service {
    /// A service without an environment of its own.
    pub(crate) fn new(name: &str, log: &Path, argv: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.to_owned(),
            argv: argv.into_iter().collect(),
            environment: Vec::new(),
            log: log.to_owned(),
            restart: true,
        }
    }

    /// The same, left alone when it ends.
    pub(crate) fn once(self) -> Self {
        Self {
            restart: false,
            ..self
        }
    }

    /// As a command that dies with the thread that starts it.
    pub(crate) fn command(&self) -> std::io::Result<std::process::Command> {
        let (program, arguments) = self.argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", crate::requirements::PATH);
        command.envs(self.environment.iter().cloned());
        command
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        crate::process::die_with_parent(&mut command);
        Ok(command)
    }
}

/// The end of a log, for an error message.
pub(crate) fn last_lines(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    format!(
        "last lines of {}:\n{}",
        log.display(),
        all.get(from..).unwrap_or_default().join("\n")
    )
}
