//! What stock Kubernetes does after the same cut: quoted from the committed bench, never measured by the demo, as it takes six
//! minutes.

use anyhow::{Context, Result};

use crate::report::Report;

/// What `cargo xtask bench failover` measured on the machine that it names.
const MEASURED: &str = include_str!("../../measured/failover.json");

/// Quoted figures.
#[derive(Debug)]
pub(super) struct Stock(Report);

impl Stock {
    /// The committed ones.
    ///
    /// # Errors
    /// When the document is not one.
    pub(super) fn committed() -> Result<Self> {
        let report = serde_json::from_str(MEASURED).context("tests/lab/measured/failover.json")?;
        Ok(Self(report))
    }

    /// The least and the most of a series, in seconds from the cut; empty where stock Kubernetes does nothing of the kind.
    pub(super) fn span(&self, step: &str) -> String {
        let name = format!("stock/{step}");
        let series = self.0.series.iter().find(|series| series.name == name);
        let samples = series.map_or(&[][..], |series| series.samples_ms.as_slice());
        let least = samples.iter().copied().min_by(f64::total_cmp);
        match (least, samples.iter().copied().max_by(f64::total_cmp)) {
            (Some(least), Some(most)) if most - least >= 1_000.0 => {
                format!("{:.0}–{:.0} s", least / 1e3, most / 1e3)
            }
            (Some(least), Some(_)) => format!("{:.0} s", least / 1e3),
            _ => String::new(),
        }
    }

    /// Where they are from.
    pub(super) fn source(&self) -> String {
        let commit = self.0.commit.get(..12).unwrap_or(&self.0.commit);
        format!(
            "stock Kubernetes, default flags: quoted from tests/lab/measured/failover.json, not measured now ({}, commit {commit})",
            self.0.machine
        )
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::Stock;

    #[test]
    fn the_committed_bench_says_what_stock_does() -> Result<()> {
        let stock = Stock::committed()?;
        for step in ["tainted", "endpoints", "deleted", "ready"] {
            assert!(stock.span(step).ends_with(" s"), "{step}: {:?}", stock.span(step));
        }
        assert_eq!(stock.span("second_look"), "");
        Ok(())
    }
}
