//! `cargo xtask bench detection`: from a power cut to the verdict, idle, loaded and starved.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use super::row::{Echo, Plan, Row};
use super::sharp;
use crate::mesh::load::Kind;
use crate::mesh::{Delay, STEWARDS};
use crate::progress::Progress;
use crate::report::Report;

/// One row is measured with so much delay each way.
const DELAY: Delay = Delay {
    mean: Duration::from_millis(1),
    jitter: Duration::from_micros(500),
};
/// Rows with starved agents have so much fewer cuts: hardly any of them comes to a verdict, and all that the machine does
/// beside them stands still meanwhile.
const STARVED_PART: usize = 10;

/// From a power cut to the verdict.
#[derive(Debug, Args)]
pub(super) struct Detection {
    /// Agents, 2 to 60
    #[arg(long, default_value_t = 9)]
    nodes: u8,
    /// Cuts in each row; a tenth of them where agents are starved
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Also under load: 32 busy loops and 20,000 foreign packets a second; and with starved agents
    #[arg(long)]
    load: bool,
    /// Only with this echo; default: both
    #[arg(long)]
    echo: Option<Echo>,
    /// lan or fast
    #[arg(long, default_value = "lan")]
    profile: String,
    /// Which hosts are cut and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only rows whose name begins so, for example busy/tc
    #[arg(long, default_value = "")]
    only: String,
    /// A line for each cut: the first steward's verdict, with its evidence
    #[arg(long)]
    verbose: bool,
    /// Where the samples go
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Detection {
    /// Measures every row.
    pub(super) fn run(&self, detector: &Path) -> Result<ExitCode> {
        ensure!(self.kills > 0, "--kills 0: at least 1 is needed");
        let rows: Vec<_> = self.rows().collect();
        ensure!(!rows.is_empty(), "--only {:?}: no row begins so", self.only);
        let mut report = Report::new("detection", self.config());
        let mut progress = Progress::terminal();
        for row in rows {
            let name = row.name();
            if !row.kind.is_possible() {
                progress.say(format!(
                    "{name}: left out, as this machine has no cpu cgroups of version 1"
                ));
                continue;
            }
            let plan = self.plan(detector, row.kind);
            let samples = progress
                .stage(&name, |progress| row.measure(plan, progress))
                .with_context(|| name.clone())?;
            report.add(format!("{name}/first_loss"), samples.first_loss);
            report.add(format!("{name}/verdict"), samples.verdict);
            report.add(format!("{name}/verdict_last"), samples.verdict_last);
            samples.cuts.report(&mut report, &name);
            report.false_verdicts += samples.wrong.len();
            for entry in samples.wrong {
                progress.say(format!(
                    "FALSE VERDICT in {name}: {}",
                    serde_json::to_string(&entry)?
                ));
            }
            // After each row, as a long run may be broken off.
            if let Some(path) = &self.json {
                report.write(path)?;
            }
        }
        write!(std::io::stdout(), "{}", report.table()).context("writing to the terminal")?;
        Ok(if report.false_verdicts == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "nodes": self.nodes,
            "stewards": STEWARDS,
            "kills": self.kills,
            "profile": self.profile,
            "seed": self.seed,
            "busy": "32 busy loops, 20000 foreign packets a second to the subject",
            "starved": "agents in a cpu cgroup of shares 2 beside 8 of 65536 with a busy loop each; a tenth of the kills",
            "delayed": "1 ± 0.5 ms each way between every two hosts",
            "verdict": "of the steward that acts first; verdict_last: of the last of the three",
            "cut": sharp::LEGEND,
        })
    }

    fn plan<'a>(&'a self, detector: &'a Path, kind: Kind) -> Plan<'a> {
        Plan {
            detector,
            nodes: self.nodes,
            kills: match kind {
                Kind::Starved => self.kills.div_ceil(STARVED_PART),
                Kind::Idle | Kind::Busy => self.kills,
            },
            profile: &self.profile,
            seed: self.seed,
            verbose: self.verbose,
        }
    }

    fn rows(&self) -> impl Iterator<Item = Row> + use<'_> {
        let kinds: &[Kind] = if self.load {
            &[Kind::Idle, Kind::Busy, Kind::Starved]
        } else {
            &[Kind::Idle]
        };
        let echoes = [Echo::Tc, Echo::User]
            .into_iter()
            .filter(|echo| self.echo.is_none_or(|only| only == *echo));
        let plain = kinds.iter().flat_map(move |kind| {
            let row = |echo| Row {
                kind: *kind,
                echo,
                delay: None,
            };
            echoes.clone().map(row)
        });
        let delayed = Row {
            kind: Kind::Idle,
            echo: self.echo.unwrap_or(Echo::Tc),
            delay: Some(DELAY),
        };
        plain
            .chain([delayed])
            .filter(|row| row.name().starts_with(&self.only))
    }
}
