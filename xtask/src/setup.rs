//! `cargo xtask setup`: what building and testing need is installed, or named.

use anyhow::{Result, bail};

use crate::command::{cargo, run as run_command, tool, works};
use crate::debian;
use crate::linker::{Linker, find_or_build};
use crate::lint::Deny;
use crate::toolchain::Compiler;
use crate::workspace::Workspace;

/// A compiler with the sources of its library, for machines without a nightly that has them.
const COMPILER: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Runs every step, also after one failed: all that is missing is named at once.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    install(workspace).map(|_| ())
}

/// As [`run`]; gives what the cache had and what was built, as a line for people.
pub(crate) fn install(workspace: &Workspace) -> Result<String> {
    let mut notes = Vec::new();
    let mut missing = String::new();
    for (what, step) in STEPS {
        match step(workspace) {
            Ok(Found { cached, what: found }) => {
                println!("{what}: {found}");
                notes.extend(cached.map(|hit| format!("{what} {}", if hit { "hit" } else { "built" })));
            }
            Err(error) => missing.push_str(&format!("\n  {what}: {error:#}")),
        }
    }
    if !missing.is_empty() {
        bail!("missing:{missing}");
    }
    Ok(notes.join(", "))
}

struct Found {
    /// For what lives in the cache: whether it was there already.
    cached: Option<bool>,
    what: String,
}

impl Found {
    fn plain(what: impl Into<String>) -> Self {
        Self {
            cached: None,
            what: what.into(),
        }
    }
}

/// Finds or installs one thing.
type Step = fn(&Workspace) -> Result<Found>;

/// In the order in which one needs the other.
const STEPS: [(&str, Step); 5] = [
    ("components", components),
    ("packages", packages),
    ("eBPF compiler", compiler),
    ("bpf-linker", linker),
    ("cargo-deny", deny),
];

fn components(_: &Workspace) -> Result<Found> {
    for component in ["clippy", "rustfmt"] {
        let subcommand = if component == "rustfmt" { "fmt" } else { component };
        if works(cargo().args([subcommand, "--version"])) {
            continue;
        }
        if !works(tool("rustup").arg("--version")) {
            bail!("{component} is not installed, and there is no rustup to add it");
        }
        run_command(tool("rustup").args(["component", "add", component]))?;
    }
    Ok(Found::plain("clippy, rustfmt"))
}

fn packages(_: &Workspace) -> Result<Found> {
    let mut wanted: Vec<&str> = Vec::new();
    let without_compiler = Compiler::choose().err();
    if without_compiler.is_some() {
        wanted.extend(COMPILER);
    }
    if !debian::is_bookworm() {
        return match without_compiler {
            None => Ok(Found::plain("none needed")),
            Some(error) => bail!(
                "{error:#}\n  install one: rustup toolchain install nightly --component rust-src (only Debian 12's \
                 packages are known here by name)"
            ),
        };
    }
    let missing = debian::missing(&wanted)?;
    if !missing.is_empty() {
        debian::install(&missing)?;
    }
    Ok(Found::plain(format!("{} installed now", missing.len())))
}

fn compiler(_: &Workspace) -> Result<Found> {
    let compiler = Compiler::choose()?;
    let version = &compiler.version;
    Ok(Found::plain(format!(
        "{} ({}, LLVM {})",
        compiler.rustc.display(),
        version.release,
        version.llvm_major
    )))
}

fn linker(workspace: &Workspace) -> Result<Found> {
    let linker = find_or_build(workspace, &Compiler::choose()?)?;
    Ok(Found {
        cached: Some(matches!(linker, Linker::Found(_))),
        what: linker.path().display().to_string(),
    })
}

fn deny(workspace: &Workspace) -> Result<Found> {
    let (deny, cached) = match Deny::find(workspace) {
        Some(deny) => (deny, true),
        None => (Deny::build(workspace)?, false),
    };
    Ok(Found {
        cached: Some(cached),
        what: deny.path().display().to_string(),
    })
}
