//! `cargo xtask setup`: what building and testing need is installed, or named.

use anyhow::{Context, Result, bail};
use detector_lab::cache::Cache;
use detector_lab::go::{self, Go};
use detector_lab::progress::Progress;
use detector_lab::requirements;

use crate::command::{cargo, run as run_command, tool, works};
use crate::debian;
use crate::linker::{Linker, find_or_build};
use crate::lint::Deny;
use crate::toolchain::Compiler;
use crate::workspace::Workspace;

/// A compiler with the sources of its library, for machines without a nightly that has them.
const COMPILER: [&str; 2] = ["rustc-web", "rust-web-src"];

/// What is going to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building, and running agents and stewards in namespaces.
    Mesh,
    /// Building, linting, and the tests that any user may run.
    Build,
    /// Labs as well: they need root.
    Labs,
}

/// Everything; true, as what is missing is an error.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    install(workspace, Purpose::Labs).map(|_| true)
}

/// Runs every step, also after one failed: all that is missing is named at once. Gives what the cache had and what was built, as
/// a line for people.
pub(crate) fn install(workspace: &Workspace, purpose: Purpose) -> Result<String> {
    let mut notes = Vec::new();
    let mut missing = String::new();
    packages(workspace, purpose)
        .unwrap_or_else(|error| missing.push_str(&format!("\n  packages: {error:#}")));
    let checks = CHECKS.iter().filter(|_| purpose != Purpose::Mesh);
    let labs = LABS.iter().filter(|_| purpose == Purpose::Labs);
    for (what, step) in BUILD.iter().chain(checks).chain(labs) {
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

/// What Debian has is installed from there.
fn packages(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    if !debian::is_bookworm() {
        return Ok(());
    }
    let mut wanted: Vec<&str> = Vec::new();
    if Compiler::choose().is_err() {
        wanted.extend(COMPILER);
    }
    match purpose {
        Purpose::Mesh => wanted.extend(requirements::MESH_APT),
        Purpose::Build => {}
        Purpose::Labs => {
            wanted.extend(requirements::APT);
            wanted.extend(detector_vm::APT);
            if !Go::within_reach(&Cache::at(&workspace.cache)?) {
                wanted.push(go::APT);
            }
        }
    }
    let missing = debian::missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    debian::install(&missing)
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
const BUILD: [(&str, Step); 2] = [("eBPF compiler", compiler), ("bpf-linker", linker)];
const CHECKS: [(&str, Step); 2] = [("components", components), ("cargo-deny", deny)];
const LABS: [(&str, Step); 2] = [("lab programs", lab_programs), ("Go", go)];

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

fn compiler(_: &Workspace) -> Result<Found> {
    let compiler = Compiler::choose()
        .context("one way to get one: rustup toolchain install nightly --component rust-src")?;
    let version = &compiler.version;
    Ok(Found::plain(format!(
        "{} ({}, LLVM {})",
        compiler.rustc.display(),
        version.release,
        version.llvm_major
    )))
}

fn linker(workspace: &Workspace) -> Result<Found> {
    let compiler = Compiler::choose()
        .ok()
        .context("goes with the compiler that is missing")?;
    let linker = find_or_build(workspace, &compiler)?;
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

fn lab_programs(_: &Workspace) -> Result<Found> {
    requirements::check()?;
    Ok(Found::plain(requirements::APT.join(", ")))
}

/// For the control plane.
fn go(workspace: &Workspace) -> Result<Found> {
    let cache = Cache::at(&workspace.cache)?;
    let found = Go::find(&cache);
    Ok(Found {
        cached: Some(found.is_some()),
        what: match found {
            Some(go) => go,
            None => Go::find_or_fetch(&cache, &mut Progress::terminal())?,
        }
        .to_string(),
    })
}
