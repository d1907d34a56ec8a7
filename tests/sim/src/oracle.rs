//! What is true: every probe with its fate, and whether a verdict keeps the law.
//!
//! The law (design.md): `Dead` implies that every probe which able observers sent to the subject in a window of at
//! least W was lost. Here "able" is what the simulation knows, not what the observer says: its host, its CPUs and its
//! receive path were untroubled, and its way to the steward open. And "lost" is what the network did, or an answer
//! beyond the shortest retransmission timeout.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use detector::profile::{MIN_LOSSES, REPORT_EXPIRY, TIMEOUT_FLOOR};
use detector::time::nanos;

/// How long a probe's fate is kept, in nanoseconds: beyond any window that evidence spans.
const KEEP: u64 = 4_000_000_000;

/// Within this time an observer tells the stewards what it heard: one report interval, a repeated report, the way.
const TOLD_WITHIN: u64 = 45_000_000;

#[derive(Clone, Copy, Debug)]
struct Probe {
    asked: u64,
    observer: u32,
    /// Arrival of its echo at the observer's interface; MAX: none yet.
    echoed: u64,
}

#[derive(Clone, Debug, Default)]
struct Subject {
    probes: VecDeque<Probe>,
    off_since: Option<u64>,
}

/// How a verdict of `Dead` stands to the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// The host is dead.
    Right,
    /// The law is kept, but the host's kernel ran: a pause, a cut, a burst.
    Mistaken,
    /// The law is broken: a defect, always.
    False(String),
}

/// What a verdict is held against.
pub struct Claim<'a> {
    /// The subject's host.
    pub subject: u32,
    /// When it was judged, in the world's time.
    pub at: u64,
    /// W in nanoseconds.
    pub window: u64,
    /// H.
    pub quorum: usize,
    /// What clocks and delays may add or take, in nanoseconds.
    pub tolerance: u64,
    /// Whether the boot that was condemned still runs.
    pub runs: bool,
    /// Whether this host's agent was able in the given time.
    pub able: &'a dyn Fn(u32, Range<u64>) -> bool,
}

/// All probes of the last seconds, and when hosts went off.
#[derive(Clone, Debug)]
pub struct Oracle {
    subjects: Vec<Subject>,
}

impl Oracle {
    /// For this many hosts.
    #[must_use]
    pub fn new(hosts: usize) -> Self {
        Self {
            subjects: vec![Subject::default(); hosts],
        }
    }

    /// When this host lost its power, if it has not come back.
    #[must_use]
    pub fn off_since(&self, host: u32) -> Option<u64> {
        self.subjects[host as usize].off_since
    }

    /// A host lost its power.
    pub fn crashed(&mut self, host: u32, now: u64) {
        self.subjects[host as usize].off_since = Some(now);
    }

    /// It has power again.
    pub fn booted(&mut self, host: u32) {
        self.subjects[host as usize].off_since = None;
    }

    /// A probe left its observer.
    pub fn probe_sent(&mut self, observer: u32, subject: u32, now: u64) {
        let probes = &mut self.subjects[subject as usize].probes;
        if probes.len() >= 128 {
            while probes.front().is_some_and(|probe| probe.asked + KEEP < now) {
                probes.pop_front();
            }
        }
        probes.push_back(Probe {
            asked: now,
            observer,
            echoed: u64::MAX,
        });
    }

    /// Its echo reached the observer's interface.
    pub fn echo_arrived(&mut self, observer: u32, subject: u32, asked: u64, now: u64) {
        let probes = &mut self.subjects[subject as usize].probes;
        let probe = probes
            .iter_mut()
            .rev()
            .take_while(|probe| probe.asked >= asked)
            .find(|probe| probe.asked == asked && probe.observer == observer);
        if let Some(probe) = probe {
            probe.echoed = probe.echoed.min(now);
        }
    }

    /// Holds a verdict of `Dead` against the truth.
    #[must_use]
    pub fn judge(&self, claim: &Claim<'_>) -> Truth {
        match self.law(claim) {
            Err(broken) => Truth::False(broken),
            Ok(()) if claim.runs => Truth::Mistaken,
            Ok(()) => Truth::Right,
        }
    }

    /// Looks for a window of able observers' losses that is long enough, and not over for longer than a report takes.
    fn law(&self, claim: &Claim<'_>) -> Result<(), String> {
        let floor = nanos(TIMEOUT_FLOOR);
        let since = claim.at.saturating_sub(claim.window);
        let sealed = claim.at.saturating_sub(nanos(REPORT_EXPIRY));
        let mut able: BTreeMap<u32, Able> = BTreeMap::new();
        let mut run = Run::default();
        let mut best = Run::default();
        for probe in &self.subjects[claim.subject as usize].probes {
            let counted = probe.asked + floor <= claim.at;
            let able = *able.entry(probe.observer).or_insert_with(|| Able {
                losses: (claim.able)(probe.observer, since..sealed),
                echoes: (claim.able)(probe.observer, since..claim.at),
            });
            let in_time = probe.echoed.saturating_sub(probe.asked) <= floor;
            let known = probe.echoed.saturating_add(TOLD_WITHIN) <= claim.at;
            let lost = !in_time && !known;
            if !counted || !(if lost { able.losses } else { able.echoes }) {
                continue;
            }
            if lost {
                run.lose(probe);
                if run.span() >= best.span() {
                    best.clone_from(&run);
                }
            } else if known {
                run = Run::default();
                best = Run::default();
            } else {
                run = Run::default();
            }
        }
        if best.span() + claim.tolerance < claim.window {
            return Err(format!(
                "the longest window in which all probes of able observers were lost is {} µs of {} µs",
                best.span() / 1_000,
                claim.window / 1_000
            ));
        }
        let silent = best.losses.values().filter(|count| **count >= MIN_LOSSES).count();
        if silent < claim.quorum {
            return Err(format!(
                "{silent} able observers lost {MIN_LOSSES} probes each, {} are needed",
                claim.quorum
            ));
        }
        Ok(())
    }
}

/// Whether an observer's word counts. Its last report may be older than what troubles it now, so a loss may count where
/// an echo could not have been told any more.
#[derive(Clone, Copy)]
struct Able {
    losses: bool,
    echoes: bool,
}

/// Losses of all able observers with nothing heard between them.
#[derive(Clone, Debug, Default)]
struct Run {
    first: u64,
    last: u64,
    losses: BTreeMap<u32, usize>,
}

impl Run {
    fn lose(&mut self, probe: &Probe) {
        if self.losses.is_empty() {
            self.first = probe.asked;
        }
        self.last = probe.asked;
        *self.losses.entry(probe.observer).or_default() += 1;
    }

    fn span(&self) -> u64 {
        self.last - self.first
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Oracle, Truth};

    const MS: u64 = 1_000_000;

    /// Five observers ask each 10 ms from 0 on; what is asked in `lost` is lost.
    fn history(lost: std::ops::Range<u64>, until: u64) -> Oracle {
        let mut oracle = Oracle::new(6);
        for at in (0..until).step_by(2) {
            let observer = (at / 2 % 5) as u32 + 1;
            oracle.probe_sent(observer, 0, at * MS);
            if !lost.contains(&at) {
                oracle.echo_arrived(observer, 0, at * MS, at * MS + MS / 2);
            }
        }
        oracle
    }

    fn claim<'a>(at: u64, runs: bool, able: &'a dyn Fn(u32, std::ops::Range<u64>) -> bool) -> Claim<'a> {
        Claim {
            subject: 0,
            at: at * MS,
            window: 120 * MS,
            quorum: 5,
            tolerance: MS,
            runs,
            able,
        }
    }

    #[test]
    fn silence_of_w_is_right_or_mistaken() {
        let able = |_: u32, _: std::ops::Range<u64>| true;
        let oracle = history(500..700, 640);
        assert_eq!(oracle.judge(&claim(640, false, &able)), Truth::Right);
        assert_eq!(oracle.judge(&claim(640, true, &able)), Truth::Mistaken);
    }

    #[test]
    fn shorter_silence_is_false_even_about_the_dead() {
        let able = |_: u32, _: std::ops::Range<u64>| true;
        let oracle = history(500..700, 610);
        assert!(matches!(oracle.judge(&claim(610, false, &able)), Truth::False(_)));
    }

    #[test]
    fn what_was_heard_long_enough_ago_breaks_the_window() {
        let able = |_: u32, _: std::ops::Range<u64>| true;
        let over = history(500..640, 800);
        assert_eq!(over.judge(&claim(660, true, &able)), Truth::Mistaken, "in flight");
        assert!(
            matches!(over.judge(&claim(700, true, &able)), Truth::False(_)),
            "told"
        );
    }

    #[test]
    fn losses_of_troubled_observers_are_none() {
        let oracle = history(500..700, 660);
        let one_is_starved = |observer: u32, _: std::ops::Range<u64>| observer != 3;
        assert!(matches!(
            oracle.judge(&claim(660, false, &one_is_starved)),
            Truth::False(_)
        ));
    }
}
