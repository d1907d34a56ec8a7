//! One cut in milliseconds: from what stewards recorded, a watcher saw and a client suffered. Pure.

use std::collections::{BTreeMap, BTreeSet};

use detector::incident::{Entry, Step, Write};
use detector::judgement::{Evidence, Verdict};
use serde::{Deserialize, Serialize};

use super::sightings::{Sighting, What};
use crate::client::{ErrorWindow, Request};
use crate::moment::Moment;

/// The node controller's taint for a node that it has not heard of.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What was found out about a cut. All times are in ms from its first action; None: it did not happen, or was not seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Who was cut.
    pub victim: String,
    /// The newest probe that anybody saw echoed was sent; negative: before the cut.
    pub last_echo: Option<f64>,
    /// The first probe that counts as lost was sent.
    pub first_loss: Option<f64>,
    /// The first steward's verdict.
    pub verdict: Option<f64>,
    /// The Node was seen not to be Ready: the node controller's verdict.
    pub not_ready: Option<f64>,
    /// What the verdict rests on.
    pub evidence: Option<Evidence>,
    /// The API server has answered the write of our taint; without it, that of the node controller was seen.
    pub tainted: Option<f64>,
    /// For the first time no endpoint of the node was ready.
    pub endpoints_first: Option<f64>,
    /// From then on none was: a controller may have made one ready again for a while.
    pub endpoints: Option<f64>,
    /// The second look found it dead.
    pub second_look: Option<f64>,
    /// The last of its pods was seen to be deleted.
    pub deleted: Option<f64>,
    /// As many new pods as it had were seen.
    pub created: Option<f64>,
    /// All of them had a node.
    pub scheduled: Option<f64>,
    /// All of them were Ready.
    pub ready: Option<f64>,
    /// How many pods it had.
    pub pods: usize,
    /// What the client suffered.
    pub client: ErrorWindow,
    /// Verdicts of `Dead` about anybody else.
    pub false_verdicts: usize,
}

impl Timeline {
    /// Puts it together.
    #[must_use]
    pub fn new(
        victim: &str,
        cut: Moment,
        entries: &[Entry],
        seen: &[Sighting],
        requests: &[Request],
    ) -> Self {
        let mut timeline = Self {
            victim: victim.to_owned(),
            client: ErrorWindow::since(cut, requests),
            ..Self::default()
        };
        timeline.read_entries(cut, entries);
        timeline.read_nodes(cut, seen);
        (timeline.endpoints_first, timeline.endpoints) = endpoints_gone(victim, cut, seen);
        timeline.read_pods(cut, seen);
        timeline
    }

    fn read_entries(&mut self, cut: Moment, entries: &[Entry]) {
        for entry in entries {
            let at = ms(cut, entry);
            match &entry.step {
                Step::Verdict {
                    verdict: Verdict::Dead,
                    evidence,
                    ..
                } => {
                    if entry.node != self.victim || at < 0.0 {
                        self.false_verdicts += 1;
                    } else if self.verdict.is_none() {
                        self.verdict = Some(at);
                        self.last_echo = evidence.last_echo_us.map(|ago| at - ago as f64 / 1e3);
                        self.first_loss = evidence.first_loss_us.map(|ago| at - ago as f64 / 1e3);
                        self.evidence = Some(evidence.clone());
                    }
                }
                Step::Written {
                    write: Write::Taint, ..
                } if entry.node == self.victim && at >= 0.0 => {
                    self.tainted.get_or_insert(at);
                }
                Step::Looked { dead: true, .. } if entry.node == self.victim && at >= 0.0 => {
                    self.second_look.get_or_insert(at);
                }
                _ => {}
            }
        }
    }

    /// What the node controller does where nobody else did.
    fn read_nodes(&mut self, cut: Moment, seen: &[Sighting]) {
        for Sighting { at, what } in seen {
            let at = at.ms_since(cut);
            let What::Node { name, taints, ready } = what else {
                continue;
            };
            if *name != self.victim || at < 0.0 {
                continue;
            }
            if !ready {
                self.not_ready.get_or_insert(at);
            }
            if self.tainted.is_none() && taints.iter().any(|key| key == UNREACHABLE) {
                self.tainted = Some(at);
            }
        }
    }

    fn read_pods(&mut self, cut: Moment, seen: &[Sighting]) {
        let pods = || {
            seen.iter().filter_map(|Sighting { at, what }| match what {
                What::Pod(pod) => Some((at.ms_since(cut), pod)),
                _ => None,
            })
        };
        let before: BTreeSet<_> = pods()
            .filter(|(at, _)| *at < 0.0)
            .map(|(_, pod)| &pod.uid)
            .collect();
        let mine: BTreeSet<_> = pods()
            .filter(|(at, pod)| *at < 0.0 && pod.node.as_ref() == Some(&self.victim) && !pod.leaving)
            .map(|(_, pod)| &pod.uid)
            .collect();
        self.pods = mine.len();
        let mut deleted = BTreeMap::new();
        let (mut created, mut scheduled, mut ready) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (at, pod) in pods().filter(|(at, _)| *at >= 0.0) {
            if mine.contains(&pod.uid) && pod.leaving {
                deleted.entry(&pod.uid).or_insert(at);
            }
            if before.contains(&pod.uid) {
                continue;
            }
            created.entry(&pod.uid).or_insert(at);
            if pod.node.is_some() {
                scheduled.entry(&pod.uid).or_insert(at);
            }
            if pod.ready {
                ready.entry(&pod.uid).or_insert(at);
            }
        }
        self.deleted = all_of(mine.len(), &deleted);
        self.created = all_of(mine.len(), &created);
        self.scheduled = all_of(mine.len(), &scheduled);
        self.ready = all_of(mine.len(), &ready);
    }
}

/// Milliseconds from the cut to an entry.
#[must_use]
pub fn ms(cut: Moment, entry: &Entry) -> f64 {
    (i128::from(entry.at_us) * 1_000 - i128::from(cut.monotonic_ns)) as f64 / 1e6
}

/// When as many as wanted had happened.
fn all_of(wanted: usize, times: &BTreeMap<&String, f64>) -> Option<f64> {
    let mut times: Vec<_> = times.values().copied().collect();
    times.sort_unstable_by(f64::total_cmp);
    times.get(wanted.checked_sub(1)?).copied()
}

/// When the last ready endpoint of the node was seen to go: first, and for good.
fn endpoints_gone(victim: &str, cut: Moment, seen: &[Sighting]) -> (Option<f64>, Option<f64>) {
    let mut now: BTreeMap<&String, usize> = BTreeMap::new();
    let (mut first, mut gone) = (None, None);
    let mut had = false;
    for Sighting { at, what } in seen {
        let What::Slice { name, ready } = what else {
            continue;
        };
        now.insert(name, ready.get(victim).copied().unwrap_or_default());
        if now.values().sum::<usize>() > 0 {
            (had, gone) = (true, None);
        } else if had && gone.is_none() {
            gone = Some(at.ms_since(cut));
            first = first.or(gone);
        }
    }
    (first, gone)
}

#[cfg(test)]
mod tests {
    use detector::identity::{BootId, IncidentId};
    use detector::incident::SCHEMA;
    use detector::judgement::Causes;

    use super::super::sightings::PodSeen;
    use super::*;

    fn moment(ms: u64) -> Moment {
        Moment {
            monotonic_ns: ms * 1_000_000,
            boottime_ns: 0,
            unix_ns: 0,
        }
    }

    fn entry(ms: u64, node: &str, step: Step) -> Entry {
        Entry {
            v: SCHEMA,
            incident: IncidentId(1),
            node: node.to_owned(),
            boot: BootId(1),
            steward: "node-1".to_owned(),
            at_us: ms * 1_000,
            wall_ms: 0,
            step,
        }
    }

    fn dead() -> Step {
        Step::Verdict {
            verdict: Verdict::Dead,
            causes: Causes::NONE,
            evidence: Evidence {
                last_echo_us: Some(150_000),
                ..Evidence::default()
            },
        }
    }

    fn pod(ms: u64, uid: &str, node: Option<&str>, ready: bool, leaving: bool) -> Sighting {
        let pod = PodSeen {
            uid: uid.to_owned(),
            name: uid.to_owned(),
            node: node.map(str::to_owned),
            ready,
            leaving,
        };
        Sighting {
            at: moment(ms),
            what: What::Pod(pod),
        }
    }

    fn slice(ms: u64, ready: usize) -> Sighting {
        Sighting {
            at: moment(ms),
            what: What::Slice {
                name: "s".to_owned(),
                ready: BTreeMap::from([("node-2".to_owned(), ready), ("node-1".to_owned(), 2)]),
            },
        }
    }

    #[test]
    fn times_count_from_the_cut_and_to_the_last_of_several() {
        let entries = [
            entry(1_140, "node-2", dead()),
            entry(1_150, "node-2", dead()),
            entry(1_200, "node-3", dead()),
        ];
        let seen = [
            pod(500, "a", Some("node-2"), true, false),
            pod(500, "b", Some("node-2"), true, false),
            pod(500, "c", Some("node-1"), true, false),
            slice(600, 2),
            slice(1_150, 0),
            slice(1_400, 1), // recomputed from a pod that is still Ready
            slice(1_450, 0),
            pod(2_150, "a", Some("node-2"), false, true),
            pod(2_160, "b", Some("node-2"), false, true),
            pod(2_170, "d", None, false, false),
            pod(2_180, "d", Some("node-1"), false, false),
            pod(2_190, "e", Some("node-3"), false, false),
            pod(2_900, "d", Some("node-1"), true, false),
        ];
        let timeline = Timeline::new("node-2", moment(1_000), &entries, &seen, &[]);
        assert_eq!((timeline.verdict, timeline.last_echo), (Some(140.0), Some(-10.0)));
        assert_eq!(timeline.false_verdicts, 1);
        assert_eq!(
            (timeline.endpoints_first, timeline.endpoints),
            (Some(150.0), Some(450.0))
        );
        assert_eq!((timeline.pods, timeline.deleted), (2, Some(1_160.0)));
        assert_eq!(
            (timeline.created, timeline.scheduled, timeline.ready),
            (Some(1_190.0), Some(1_190.0), None)
        );
    }

    #[test]
    fn what_the_node_controller_does_is_told_apart() {
        let node = |ms, ready, taints: &[&str]| Sighting {
            at: moment(ms),
            what: What::Node {
                name: "node-2".to_owned(),
                taints: taints.iter().map(|key| (*key).to_owned()).collect(),
                ready,
            },
        };
        let seen = [
            node(900, true, &[]),
            node(41_000, false, &[]),
            node(41_007, false, &[UNREACHABLE]),
        ];
        let timeline = Timeline::new("node-2", moment(1_000), &[], &seen, &[]);
        assert_eq!(
            (timeline.not_ready, timeline.tainted),
            (Some(40_000.0), Some(40_007.0))
        );
    }
}
