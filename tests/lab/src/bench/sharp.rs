//! Cuts whose moment is known: only they count. The others are repeated, and both are reported.

use anyhow::{Result, ensure};

use crate::moment::Moment;
use crate::progress::Progress;
use crate::report::Report;

/// In ms. A cut is done within one, unless somebody else on this machine (another lab, say) holds the kernel's one lock for network
/// devices. Then nobody knows when it was.
pub(crate) const SHARP_MS: f64 = 5.0;
/// So many that are repeated, for each cut that is wanted, are too many.
const MAX_REPEATED: usize = 2;

/// What the series below hold, for a report's configuration.
pub(super) const LEGEND: &str = "how long each cut took, from its beginning, from which all times count; cut_repeated: above 5 ms, not counted";

/// The cuts of one series.
#[derive(Debug)]
pub(super) struct Cuts {
    wanted: usize,
    counted_ms: Vec<f64>,
    repeated_ms: Vec<f64>,
}

impl Cuts {
    pub(super) fn wanted(wanted: usize) -> Self {
        Self {
            wanted,
            counted_ms: Vec::new(),
            repeated_ms: Vec::new(),
        }
    }

    pub(super) fn are_enough(&self) -> bool {
        self.counted_ms.len() >= self.wanted
    }

    /// Takes down how long a cut took, from its first action to its last. False: it does not count.
    pub(super) fn note(&mut self, started: Moment, killed: Moment, progress: &mut Progress) -> Result<bool> {
        let took = killed.ms_since(started);
        if took <= SHARP_MS {
            self.counted_ms.push(took);
            return Ok(true);
        }
        progress.say(format!("a cut took {took:.1} ms: it is repeated"));
        self.repeated_ms.push(took);
        ensure!(
            self.repeated_ms.len() <= self.wanted * MAX_REPEATED,
            "{} cuts took too long: is another lab running?",
            self.repeated_ms.len()
        );
        Ok(false)
    }

    /// Adds the series `NAME/cut` and `NAME/cut_repeated`.
    pub(super) fn report(&self, report: &mut Report, name: &str) {
        report.add(format!("{name}/cut"), self.counted_ms.clone());
        report.add(format!("{name}/cut_repeated"), self.repeated_ms.clone());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn note(cuts: &mut Cuts, took_us: u64) -> Result<bool> {
        let started = Moment {
            monotonic_ns: 1_000_000_000,
            boottime_ns: 0,
            unix_ns: 0,
        };
        let killed = Moment {
            monotonic_ns: started.monotonic_ns + took_us * 1_000,
            ..started
        };
        cuts.note(started, killed, &mut Progress::silent())
    }

    #[test]
    fn slow_cuts_do_not_count_and_are_reported() {
        let mut cuts = Cuts::wanted(2);
        assert!(note(&mut cuts, 500).unwrap());
        assert!(!note(&mut cuts, 225_000).unwrap());
        assert!(!cuts.are_enough());
        assert!(note(&mut cuts, 5_000).unwrap());
        assert!(cuts.are_enough());
        let mut report = Report::new("failover", serde_json::Value::Null);
        cuts.report(&mut report, "ours");
        let series: Vec<_> = report
            .series
            .iter()
            .map(|series| (series.name.as_str(), series.samples_ms.as_slice()))
            .collect();
        assert_eq!(
            series,
            [
                ("ours/cut", [0.5, 5.0].as_slice()),
                ("ours/cut_repeated", &[225.0])
            ]
        );
    }

    #[test]
    fn too_many_slow_cuts_end_the_bench() {
        let mut cuts = Cuts::wanted(1);
        assert!(!note(&mut cuts, 100_000).unwrap());
        assert!(!note(&mut cuts, 100_000).unwrap());
        assert!(note(&mut cuts, 100_000).is_err());
    }
}
