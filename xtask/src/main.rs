//! `cargo xtask`: builds, checks and tests the project. It only dispatches: how a lab is made is known in `tests/lab`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build tool is IO, and tells the terminal what it does"
)]

mod build;
mod cache;
mod ci;
mod command;
mod debian;
mod ebpf;
mod guests;
mod linker;
mod lint;
mod setup;
mod stages;
mod test;
mod toolchain;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use detector_lab::bench::BenchCommand;
use detector_lab::command::LabCommand;
use detector_lab::demo::DemoCommand;

use crate::build::Profile;
use crate::setup::Purpose;
use crate::workspace::Workspace;

/// Builds, checks and tests node-failure-detector.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building and testing need, or names what is missing
    Setup,
    /// Builds the kernel programs, then the detector with them inside
    Build(build::Options),
    /// Checks format, clippy, documentation and dependencies
    Lint,
    /// Builds everything and runs every test: units, simulation, documentation, labs
    Test(test::Options),
    /// A Kubernetes cluster in namespaces of this machine, which stays until it is taken down
    Lab(LabCommand),
    /// One death, from a power cut to the return, with its times
    Demo(DemoCommand),
    /// Measures what the promises are worth on this machine
    Bench(BenchCommand),
    /// What .ci/run runs: setup, lint and test, with a table of the stages at the end
    Ci,
}

fn main() -> ExitCode {
    dispatch(&Cli::parse().task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn dispatch(task: &Task) -> Result<ExitCode> {
    let passed = match task {
        // It starts this program again, inside its namespaces, where there is no checkout to look for.
        Task::Lab(command) => return command.run(),
        Task::Demo(command) => return command.run(|| detector(command.is_cluster(), Profile::Dev)),
        Task::Bench(command) => return command.run(|| detector(command.is_cluster(), Profile::Release)),
        Task::Setup => setup::run(&Workspace::find()?)?,
        Task::Build(options) => build::run(&Workspace::find()?, options)?,
        Task::Lint => lint::run(&Workspace::find()?)?,
        Task::Test(options) => test::run(&Workspace::find()?, options)?,
        Task::Ci => ci::run(&Workspace::find()?)?,
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The detector of this checkout, also on a machine that never built anything; for a cluster with what it is made of.
fn detector(cluster: bool, profile: Profile) -> Result<PathBuf> {
    let workspace = Workspace::find()?;
    let purpose = if cluster { Purpose::Labs } else { Purpose::Mesh };
    setup::install(&workspace, purpose)?;
    build::detector(&workspace, profile)
}
