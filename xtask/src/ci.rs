//! What `.ci/run` runs: setup, lint, test; every stage, also after one failed.

use std::env;
use std::time::Duration;

use anyhow::Result;

use crate::command::{limited, run as run_command};
use crate::setup::{self, Purpose};
use crate::stages::{Deadline, Stage, Table};
use crate::workspace::Workspace;
use crate::{lint, test};

/// CI gives 90 minutes: what hangs is ended before, so that the table is still printed.
const MINUTES: u64 = 85;

/// True where nothing failed.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let deadline = Deadline::in_minutes(MINUTES);
    let mut table = Table::default();
    // The script had to compile this program first.
    if let Some(seconds) = env::var("DETECTOR_CI_XTASK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        let cache = env::var("DETECTOR_CI_TARGET").unwrap_or_default();
        table.add(Stage::measured("xtask", Duration::from_secs(seconds), &cache));
    }
    table.stage("setup", || setup::install(workspace, Purpose::Labs));
    for (name, check) in lint::CHECKS {
        table.stage(name, || {
            let command = check(workspace)?;
            run_command(&mut limited(&command, deadline.at_most(Duration::MAX)))?;
            Ok(String::new())
        });
    }
    test::stages(workspace, &test::Options::default(), &mut table, deadline);
    Ok(table.finish())
}
