//! What the stewards recorded, held against what was done to the hosts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use detector::identity::BootId;
use detector::incident::{Entry, Step};
use detector::judgement::{Evidence, Verdict};

use crate::incidents::Incidents;
use crate::power::Strike;

/// A host that was cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Death {
    /// Its name.
    pub node: String,
    /// The boot that ended.
    pub boot: BootId,
    /// When.
    pub strike: Strike,
}

impl Death {
    /// An entry's time in ms from the cut; all hosts of a mesh have one clock.
    #[must_use]
    pub fn ms(&self, entry: &Entry) -> f64 {
        self.ms_at(entry.at_us)
    }

    /// A time on the stewards' clocks, in µs, as ms from the cut.
    #[must_use]
    pub fn ms_at(&self, at_us: u64) -> f64 {
        (at_us as f64) / 1e3 - (self.strike.started.monotonic_ns as f64) / 1e6
    }

    fn is_of(&self, entry: &Entry) -> bool {
        self.node == entry.node && self.boot == entry.boot
    }
}

/// The evidence of a verdict of `Dead`; None: something else.
#[must_use]
pub fn dead(entry: &Entry) -> Option<&Evidence> {
    match &entry.step {
        Step::Verdict {
            verdict: Verdict::Dead,
            evidence,
            ..
        } => Some(evidence),
        _ => None,
    }
}

/// Entries of all stewards, and the deaths that they may be about.
#[derive(Debug)]
pub(super) struct Record {
    incidents: Vec<Incidents>,
    entries: Vec<Entry>,
    deaths: Vec<Death>,
}

impl Record {
    /// From these incident files.
    pub(super) fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            incidents: files.into_iter().map(Incidents::new).collect(),
            entries: Vec::new(),
            deaths: Vec::new(),
        }
    }

    /// A host was cut.
    pub(super) fn add(&mut self, death: Death) {
        self.deaths.push(death);
    }

    /// Reads on; gives everything so far, by file and then by time.
    pub(super) fn read(&mut self) -> Result<&[Entry]> {
        for incidents in &mut self.incidents {
            self.entries.extend(incidents.poll()?);
        }
        Ok(&self.entries)
    }

    /// Each steward's first verdict of `Dead` about this death, by steward.
    pub(super) fn verdicts(&mut self, death: &Death) -> Result<BTreeMap<String, Entry>> {
        let mut told = BTreeMap::new();
        let about = |entry: &&Entry| death.is_of(entry) && dead(entry).is_some();
        for entry in self.read()?.iter().filter(about) {
            told.entry(entry.steward.clone()).or_insert_with(|| entry.clone());
        }
        Ok(told)
    }

    /// Verdicts of `Dead` about hosts that were not cut before.
    pub(super) fn false_verdicts(&mut self) -> Result<Vec<Entry>> {
        self.read()?;
        let is_true = |entry: &&Entry| {
            let mut deaths = self.deaths.iter();
            deaths.any(|death| death.is_of(entry) && death.ms(entry) >= 0.0)
        };
        let dead = self.entries.iter().filter(|entry| dead(entry).is_some());
        Ok(dead.filter(|entry| !is_true(entry)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use anyhow::Result;
    use detector::identity::{BootId, IncidentId};
    use detector::incident::{Entry, SCHEMA, Step};
    use detector::judgement::{Causes, Evidence, Verdict};

    use super::{Death, Record};
    use crate::moment::Moment;
    use crate::power::Strike;

    fn death(node: &str, boot: u64, ms: u64) -> Death {
        let at = Moment {
            monotonic_ns: ms * 1_000_000,
            boottime_ns: 0,
            unix_ns: 0,
        };
        Death {
            node: node.to_owned(),
            boot: BootId(boot),
            strike: Strike {
                started: at,
                link_down: at,
                killed: at,
            },
        }
    }

    fn told(verdict: Verdict, node: &str, boot: u64, ms: u64) -> Entry {
        Entry {
            v: SCHEMA,
            incident: IncidentId(1),
            node: node.to_owned(),
            boot: BootId(boot),
            steward: "steward-1".to_owned(),
            at_us: ms * 1_000,
            wall_ms: 0,
            step: Step::Verdict {
                verdict,
                causes: Causes::NONE,
                evidence: Evidence::default(),
            },
        }
    }

    #[test]
    fn a_verdict_is_true_of_the_boot_that_was_cut_from_the_cut_on() -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        let (early, late) = (
            told(Verdict::Dead, "node-1", 7, 999),
            told(Verdict::Dead, "node-1", 7, 1_140),
        );
        let (other_boot, other_node) = (
            told(Verdict::Dead, "node-1", 8, 1_140),
            told(Verdict::Dead, "node-2", 7, 1_140),
        );
        let partial = told(Verdict::Partial, "node-2", 7, 1_140);
        for entry in [&early, &late, &other_boot, &other_node, &partial] {
            writeln!(file, "{}", serde_json::to_string(entry)?)?;
        }
        let mut record = Record::new([file.path().to_owned()]);
        let death = death("node-1", 7, 1_000);
        record.add(death.clone());
        assert_eq!(record.false_verdicts()?, [early.clone(), other_boot, other_node]);
        assert!((death.ms(&late) - 140.0).abs() < 1e-6);
        assert_eq!(record.verdicts(&death)?.get("steward-1"), Some(&early));
        Ok(())
    }
}
