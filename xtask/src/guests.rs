//! `cargo xtask test --vm`: what was built is checked on other kernels, in guests.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use detector_lab::cache::Cache;
use detector_lab::progress::Progress;
use detector_vm::kernel::Line;
use detector_vm::matrix;

use crate::stages::{Count, Stage};
use crate::test::Built;
use crate::workspace::Workspace;

#[derive(Args, Default)]
pub(crate) struct Guests {
    /// A kernel to boot: 5.10, 6.1, 6.12, 6.18 or newest; may be given several times
    #[arg(long = "kernel", value_name = "V", requires = "vm")]
    kernels: Vec<Line>,
    /// Every kernel; without it those of .ci/run: 5.10, 6.1 and newest
    #[arg(long, requires = "vm", conflicts_with = "kernels")]
    all: bool,
}

impl Guests {
    fn lines(&self) -> Vec<Line> {
        if self.all {
            Line::ALL.to_vec()
        } else if self.kernels.is_empty() {
            Line::CI.to_vec()
        } else {
            self.kernels.clone()
        }
    }
}

/// Boots the guests; the table is printed, and kept with the consoles in `target/guests`.
pub(crate) fn run(workspace: &Workspace, options: &Guests, built: &Built) -> Stage {
    println!("== guests");
    let started = Instant::now();
    let mut stage = Stage::new("guests");
    match boot(workspace, options, built) {
        Ok(count) => stage.count(count),
        Err(error) => stage.failure(&format!("{error:#}")),
    }
    stage.took(started.elapsed());
    stage
}

fn boot(workspace: &Workspace, options: &Guests, built: &Built) -> Result<Count> {
    let echo = built.test("detector-lab", "echo")?;
    let programs = matrix::Built {
        init: built.binary("guest_init")?.to_owned(),
        echo: echo.executable.clone(),
        programs: vec![built.binary("echo_host")?.to_owned()],
        package: echo.folder.clone(),
    };
    let folder = workspace.target.join("guests");
    let table = matrix::run(
        &options.lines(),
        &programs,
        &Cache::open()?,
        &folder,
        &mut Progress::terminal(),
    )?;
    let artefact = folder.join("matrix.json");
    fs::write(&artefact, serde_json::to_vec_pretty(&table)?)
        .with_context(|| artefact.display().to_string())?;
    println!("\n{table}\n{}kept: {}", table.reasons(), artefact.display());
    let (passed, failed, ignored) = table.counts();
    Ok(Count {
        passed,
        failed,
        ignored,
    })
}
