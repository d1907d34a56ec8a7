//! What the API shows of Nodes: signs of life, and what earlier stewards left.

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::Step;
use crate::judgement::{Ask, Verdict};
use crate::remedy::case::Case;
use crate::remedy::command::Command;
use crate::remedy::object::{Node, OwnTaint, Taint};
use crate::remedy::{Remedy, book};
use crate::time::Instant;

/// The incident that one of our taints names.
pub(super) fn label(ours: &Taint) -> IncidentId {
    let label = ours.value.as_deref().and_then(|label| label.parse().ok());
    label.unwrap_or_default()
}

impl Remedy {
    /// A Node as it is now.
    pub(super) fn node_seen(&mut self, node: Node, now: Instant) {
        let subject = MemberId::of_node(&node.uid);
        let old = self.nodes.get(&subject);
        if old.is_some_and(|old| book::is_older(&node.resource_version, &old.resource_version)) {
            return;
        }
        // A word that was there when we came may be an old one.
        let is_news = old.is_some_and(|old| old.alive != node.alive);
        let word = node.alive.clone().filter(|_| is_news);
        let was_tainted = self.is_tainted(subject);
        self.nodes.insert(subject, node);
        if let Some(word) = word {
            self.says_alive(subject, &word, now);
        }
        if self.cases.contains_key(&subject) {
            self.dirty.insert(subject);
        }
        if self.is_tainted(subject) != was_tainted {
            self.counted = false;
        }
        self.look_at_node(subject, now);
    }

    /// What the Node bears of ours, or would, beside what holds.
    pub(super) fn look_at_node(&mut self, subject: MemberId, now: Instant) {
        self.find_taint(subject, now);
        self.compare(subject, now);
        self.look_at_degraded(subject, now);
    }

    /// A Node wrote on itself that it lives: one that hears no probes but reaches the API is not dead.
    pub(super) fn says_alive(&mut self, subject: MemberId, word: &str, now: Instant) {
        let Some(boot) = word
            .split_whitespace()
            .next()
            .and_then(|word| word.parse::<BootId>().ok())
        else {
            return;
        };
        self.verdicts.says_alive(subject, boot);
        if let Some(case) = self.cases.get_mut(&subject)
            && case.boot == boot
            && case.is_condemned()
        {
            case.verdict = Some(Verdict::Partial);
            (case.back, case.good) = (now, None);
            self.record(subject, Step::Revoked, now);
        }
        self.commands
            .push_back(Command::Ask(Ask::SaysAlive { subject, boot }));
    }

    pub(super) fn node_gone(&mut self, uid: &str) {
        let subject = MemberId::of_node(uid);
        self.nodes.remove(&subject);
        self.pretended.remove(&subject);
        self.tells.remove(&subject);
        self.degraded.remove(&subject);
        self.dirty.insert(subject);
        self.counted = false;
    }

    /// What earlier stewards left: a taint. One that is off in pretence stays on the Node, and is done with.
    fn find_taint(&mut self, subject: MemberId, now: Instant) {
        let node = self.nodes.get(&subject).filter(|_| self.is_tainted(subject));
        if let Some(ours) = node.and_then(|node| node.own_taint(OwnTaint::Dead)) {
            self.find(subject, label(ours), BootId(0), now);
        }
    }

    /// What earlier stewards left: entries of the ledger.
    pub(super) fn find_entries(&mut self, now: Instant) {
        let listed = self
            .book
            .entries()
            .map(|entry| (entry.subject, entry.incident, entry.boot));
        for (subject, incident, boot) in listed.collect::<Vec<_>>() {
            self.find(subject, incident, boot, now);
        }
    }

    /// A case that was found, not judged: a verdict of before counts only for its return.
    pub(super) fn find(&mut self, subject: MemberId, incident: IncidentId, boot: BootId, now: Instant) {
        if self.cases.contains_key(&subject) {
            return;
        }
        let mut case = Case::new(incident, boot, now, self.calls.generation());
        let verdict = self.verdicts.get(subject).map(|(_, verdict)| verdict);
        case.verdict = verdict.filter(|verdict| !matches!(verdict, Verdict::Dead | Verdict::Leaving));
        self.cases.insert(subject, case);
        self.dirty.insert(subject);
    }
}
