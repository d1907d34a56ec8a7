//! What a bench or a demo measured: one JSON document, and a table for people. All times are in ms from the cut.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process;

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which bench: `detection`, `failover`, `demo`.
    pub bench: String,
    /// The commit that was measured; `-dirty` behind it: with changes.
    pub commit: String,
    /// Processors, memory and kernel.
    pub machine: String,
    /// What was asked for.
    pub config: Value,
    /// The series, in the order in which they were measured.
    pub series: Vec<Series>,
    /// Verdicts of `Dead` about hosts that were not cut.
    pub false_verdicts: usize,
}

/// One series of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// For example `idle/tc/verdict`.
    pub name: String,
    /// How many samples there are.
    pub n: usize,
    /// Median; None: no samples.
    pub p50_ms: Option<f64>,
    /// 99th percentile, by nearest rank.
    pub p99_ms: Option<f64>,
    /// The largest.
    pub max_ms: Option<f64>,
    /// As measured, in order.
    pub samples_ms: Vec<f64>,
}

impl Report {
    /// An empty report of this checkout on this machine.
    #[must_use]
    pub fn new(bench: &str, config: Value) -> Self {
        Self {
            bench: bench.to_owned(),
            commit: commit().unwrap_or_else(|_| "unknown".to_owned()),
            machine: machine(),
            config,
            series: Vec::new(),
            false_verdicts: 0,
        }
    }

    /// Adds a series.
    pub fn add(&mut self, name: impl Into<String>, samples_ms: Vec<f64>) {
        self.series.push(Series::new(name, samples_ms));
    }

    /// Writes the document.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.document()?).with_context(|| format!("writing {}", path.display()))
    }

    /// A line for each field and each series: what is committed can be compared.
    fn document(&self) -> Result<String> {
        let mut lines = Vec::new();
        for (name, value) in [
            ("bench", serde_json::to_string(&self.bench)?),
            ("commit", serde_json::to_string(&self.commit)?),
            ("machine", serde_json::to_string(&self.machine)?),
            ("config", serde_json::to_string(&self.config)?),
            ("series", list(&self.series)?),
            ("false_verdicts", self.false_verdicts.to_string()),
        ] {
            lines.push(format!("  \"{name}\": {value}"));
        }
        Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
    }

    /// The table, with a line for each series.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self
            .series
            .iter()
            .map(|series| series.name.len())
            .max()
            .unwrap_or(0);
        let mut text = format!(
            "{:<width$}      n      p50      p99      max  ms from the cut\n",
            self.bench
        );
        for series in &self.series {
            let mut line = format!("{:<width$} {:>6}", series.name, series.n);
            for value in [series.p50_ms, series.p99_ms, series.max_ms] {
                let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
                let _infallible = write!(line, " {value:>8}");
            }
            text.push_str(&line);
            text.push('\n');
        }
        let _infallible = writeln!(
            text,
            "false verdicts: {}\n{}, commit {}",
            self.false_verdicts, self.machine, self.commit
        );
        text
    }
}

impl Series {
    /// With its order statistics.
    #[must_use]
    pub fn new(name: impl Into<String>, samples_ms: Vec<f64>) -> Self {
        // Microseconds are more than the clocks agree on.
        let samples_ms: Vec<_> = samples_ms
            .into_iter()
            .map(|sample| (sample * 1e3).round() / 1e3)
            .collect();
        let mut sorted = samples_ms.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            name: name.into(),
            n: sorted.len(),
            p50_ms: percentile(&sorted, 50),
            p99_ms: percentile(&sorted, 99),
            max_ms: sorted.last().copied(),
            samples_ms,
        }
    }
}

fn list(series: &[Series]) -> Result<String> {
    let lines: Vec<_> = series
        .iter()
        .map(|one| Ok(format!("\n    {}", serde_json::to_string(one)?)))
        .collect::<Result<_>>()?;
    Ok(format!("[{}\n  ]", lines.join(",")))
}

/// By nearest rank, of sorted samples.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        process::output(&mut command, Duration::from_secs(20))
    };
    let mut commit = git(&["rev-parse", "HEAD"])?.trim().to_owned();
    if !git(&["status", "--porcelain", "--untracked-files=no"])?
        .trim()
        .is_empty()
    {
        commit.push_str("-dirty");
    }
    Ok(commit)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let model =
        field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{processors} processors ({model}), {} GiB, Linux {}",
        memory_kib.div_ceil(1 << 20),
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Report, Series};

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let series = Series::new("x", (1..=100).rev().map(f64::from).collect());
        assert_eq!(
            (series.n, series.p50_ms, series.p99_ms, series.max_ms),
            (100, Some(50.0), Some(99.0), Some(100.0))
        );
        let one = Series::new("x", vec![7.0]);
        assert_eq!((one.p50_ms, one.p99_ms), (Some(7.0), Some(7.0)));
        assert_eq!(Series::new("x", Vec::new()).p50_ms, None);
    }

    #[test]
    fn the_document_has_the_fields_that_are_promised() -> anyhow::Result<()> {
        let mut report = Report::new("detection", json!({"kills": 1}));
        report.add("idle/tc/verdict", vec![140.125]);
        let document: serde_json::Value = serde_json::from_str(&report.document()?)?;
        assert_eq!(serde_json::from_value::<Report>(document.clone())?, report);
        let fields = |value: &serde_json::Value| -> Vec<String> {
            value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect()
        };
        assert_eq!(
            fields(&document),
            ["bench", "commit", "config", "false_verdicts", "machine", "series"]
        );
        let series = document.pointer("/series/0").cloned().unwrap_or_default();
        assert_eq!(
            fields(&series),
            ["max_ms", "n", "name", "p50_ms", "p99_ms", "samples_ms"]
        );
        assert_eq!(series.pointer("/samples_ms/0"), Some(&json!(140.125)));
        assert!(
            report
                .table()
                .contains("idle/tc/verdict      1    140.1    140.1    140.1"),
            "{}",
            report.table()
        );
        Ok(())
    }
}
