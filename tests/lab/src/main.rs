//! The lab as a program of its own: what tests start, and `cargo xtask lab` without xtask.

use std::process::ExitCode;

use clap::Parser;
use detector_lab::command::LabCommand;

/// A Kubernetes cluster in namespaces of this machine.
#[derive(Parser)]
#[command(name = "lab")]
struct Cli {
    #[command(flatten)]
    command: LabCommand,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
