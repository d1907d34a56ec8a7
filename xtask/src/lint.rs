//! `cargo xtask lint`: format, clippy, documentation, dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::install_crate;
use crate::command::{cargo, run as run_command, tool, works};
use crate::workspace::Workspace;

/// A check by its name, and the command that makes it.
pub(crate) type Check = (&'static str, fn(&Workspace) -> Result<Command>);

/// Cheap ones first. Features are the whole workspace's each time, so that dependencies are checked once.
pub(crate) const CHECKS: [Check; 4] = [
    ("format", format),
    ("clippy", clippy),
    ("docs", docs),
    ("deny", deny),
];

/// Makes all checks up to the first that fails.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    for (name, check) in CHECKS {
        println!("== {name}");
        run_command(&mut check(workspace)?)?;
    }
    Ok(true)
}

fn in_workspace(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments).current_dir(&workspace.root);
    command
}

fn format(workspace: &Workspace) -> Result<Command> {
    Ok(in_workspace(workspace, &["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<Command> {
    Ok(in_workspace(
        workspace,
        &["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"],
    ))
}

/// Private items too: the readers are those who work on it.
fn docs(workspace: &Workspace) -> Result<Command> {
    let mut command = in_workspace(
        workspace,
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
    );
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    Ok(command)
}

/// Without the advisory database: that asks for the network each time.
fn deny(workspace: &Workspace) -> Result<Command> {
    let deny = Deny::find(workspace).context("cargo-deny is missing: `cargo xtask setup` builds it")?;
    let mut command = tool(deny.path());
    command
        .args(["check", "bans", "licenses", "sources"])
        .current_dir(&workspace.root);
    Ok(command)
}

/// cargo-deny: bans, licences and sources of dependencies.
pub(crate) struct Deny(PathBuf);

impl Deny {
    /// Reads the fields that deny.toml uses.
    const VERSION: &str = "0.20.2";

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The cache's own, or one on PATH.
    pub(crate) fn find(workspace: &Workspace) -> Option<Self> {
        [Self::root(workspace).join("bin/cargo-deny"), "cargo-deny".into()]
            .into_iter()
            .find(|path| works(tool(path).arg("--version")))
            .map(Self)
    }

    /// Builds it into the cache: two minutes and a half.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        let root = Self::root(workspace);
        install_crate(&root, "cargo-deny", Self::VERSION, &[], |_| {})?;
        Ok(Self(root.join("bin/cargo-deny")))
    }

    fn root(workspace: &Workspace) -> PathBuf {
        workspace.tool(&format!("cargo-deny-{}", Self::VERSION))
    }
}
