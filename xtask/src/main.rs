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
mod linker;
mod lint;
mod setup;
mod stages;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// What .ci/run runs: setup, lint and test, with a table of the stages at the end
    Ci,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Workspace::find().and_then(|workspace| match cli.task {
        Task::Setup => setup::run(&workspace).map(|()| true),
        Task::Build(options) => build::run(&workspace, &options).map(|()| true),
        Task::Lint => lint::run(&workspace).map(|()| true),
        Task::Test(options) => test::run(&workspace, &options),
        Task::Ci => ci::run(&workspace),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
