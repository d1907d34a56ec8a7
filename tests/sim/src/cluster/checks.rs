//! What must hold whatever happens: the law, and the bounds.

use std::ops::Range;

use detector::identity::BootId;
use detector::judgement::Evidence;
use detector::profile::{OBSERVERS, quorum};
use detector::remedy::budget;
use detector::remedy::ledger::Ledger;
use detector::remedy::object::OwnTaint;
use detector::time::nanos;

use super::{Cluster, MS};
use crate::api::NodeObject;
use crate::oracle::{Claim, Truth};

/// The most packets that an agent may send in a second for each subject, when all of them are silent: asked every
/// 5 ms, each loss told to three stewards, and every 20 ms to seven other observers.
const AGENT_RATE_PER_SUBJECT: u32 = 200 + 200 * 3 + 50 * 7;

/// And besides: greetings, answers to pings and looks, handshakes.
const AGENT_RATE: u32 = 400;

/// Of a steward: pings, looks and acknowledgements for each member.
const STEWARD_RATE_PER_MEMBER: u32 = 300;

impl Cluster {
    pub(super) fn truth(&self, seat: usize, subject: u32, boot: BootId, at: u64) -> Truth {
        let steward = self.seats[seat].host;
        let host = self.world.host(subject);
        let able = |observer: u32, time: Range<u64>| {
            self.world.untroubled(observer, time) && self.world.network.is_open(observer, steward)
        };
        let observers = OBSERVERS.min(self.setup.nodes as usize - 1);
        self.world.oracle.judge(&Claim {
            subject,
            at,
            window: nanos(self.setup.profile.window),
            quorum: quorum(observers),
            // Clocks are known to the least delay, and drift by what a ping's renewal leaves.
            tolerance: self.setup.delay.base + MS,
            runs: host.on && host.boot == boot,
            able: &able,
        })
    }

    /// The law.
    pub(super) fn check_law(
        &self,
        truth: Option<&Truth>,
        seat: usize,
        subject: u32,
        at: u64,
        evidence: &Evidence,
    ) {
        if let Some(Truth::False(broken)) = truth {
            panic!(
                "FALSE VERDICT at {:.3} ms by steward {seat} about n{subject}: {broken}; {evidence:?}",
                at as f64 / MS as f64
            );
        }
    }

    /// At most a tenth of the nodes, and at least one, is in progress by the ledger.
    pub(super) fn check_budget(&self) {
        let Some(api) = &self.api else {
            return;
        };
        let ledger =
            Ledger::parse(api.ledger().text.as_deref()).expect("stewards write ledgers that they can read");
        let open = ledger
            .entries
            .iter()
            .filter(|entry| budget::counts(entry))
            .count();
        let allowed = (self.setup.nodes as usize / 10).max(1);
        assert!(
            open <= allowed,
            "{open} condemnations in progress, {allowed} are allowed: {ledger:?}"
        );
    }

    /// At most a tenth of the nodes, and at least one, bears our taint of the degraded.
    pub(super) fn check_degraded(&self) {
        let Some(api) = &self.api else {
            return;
        };
        let bears = |object: &&NodeObject| object.node.own_taint(OwnTaint::Degraded).is_some();
        let bear = api.nodes().filter(bears).count();
        let allowed = (self.setup.nodes as usize / 10).max(1);
        assert!(
            bear <= allowed,
            "{bear} nodes bear the taint of the degraded, {allowed} may"
        );
    }

    /// Rates and queues.
    pub(super) fn check_bounds(&self) {
        for end in self.world.ends() {
            let Some(running) = self.world.process(end) else {
                continue;
            };
            let bound = match running.machine {
                super::Program::Agent(_) => {
                    let subjects = self.subjects_of(end.host).len() as u32;
                    AGENT_RATE + subjects.max(1) * AGENT_RATE_PER_SUBJECT
                }
                super::Program::Steward(_) => STEWARD_RATE_PER_MEMBER * self.setup.nodes.max(3),
            };
            assert!(
                running.busiest <= bound,
                "{end:?} sent {} packets in one second, {bound} are allowed",
                running.busiest
            );
        }
    }
}
