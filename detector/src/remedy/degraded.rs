//! A degraded node that can start no pod, as its kubelet is down, gets no new ones: our own taint, NoSchedule, after
//! [`DEGRADED_TAINT_AFTER`] without a break, and off again after [`DEGRADED_UNTAINT_AFTER`].
//!
//! What should be is compared with what stands on the Node, by every steward alike and in their order: nothing is
//! remembered but since when either holds. So a steward that starts finds what others left, and two of them that do not
//! agree write at most once in those times. How many nodes may bear it at once: [`super::bound`]. A node that is dead or
//! leaving is the case of other files; its taint of the degraded stays as it is until it is back.

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::Step;
use crate::judgement::{Hold, Judgement};
use crate::profile::{DEGRADED_TAINT_AFTER, DEGRADED_UNTAINT_AFTER};
use crate::remedy::bound::Bound;
use crate::remedy::calls::{Purpose, Whom};
use crate::remedy::comeback::left_taint;
use crate::remedy::command::{Call, Outcome, Standing};
use crate::remedy::found::label;
use crate::remedy::object::OwnTaint;
use crate::remedy::tell::TURN;
use crate::remedy::{RETRY, Remedy, hold, marks};
use crate::time::Instant;

/// What the API server refuses for good is tried again after this many [`RETRY`]: policies and roles are mended by hand.
const REFUSED: u32 = 60;

/// A node that can start no pod, or bears our taint for that.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Degraded {
    /// Minted here, or found in the taint.
    incident: IncidentId,
    /// The boot that can start no pod; 0: found by its taint.
    boot: BootId,
    /// Whether it can start no pod; None: nobody knows, or it is condemned.
    starts_no_pod: Option<bool>,
    /// Since when that holds without a break.
    since: Instant,
    /// Whether it bears the taint, or would.
    tainted: bool,
    /// When that was seen to change.
    changed: Instant,
    /// A write of the taint is on its way.
    flight: bool,
    /// Nothing is tried before.
    retry: Instant,
    /// What holds the taint back, as recorded.
    hold: Option<Hold>,
}

impl Degraded {
    /// When a steward of this rank puts the taint on, or takes it off.
    pub(super) fn due(&self, rank: u32) -> Instant {
        let wait = match (self.starts_no_pod, self.tainted) {
            (Some(true), false) if !self.flight => DEGRADED_TAINT_AFTER,
            (Some(false), true) if !self.flight => DEGRADED_UNTAINT_AFTER,
            _ => return Instant::NEVER,
        };
        let due = self.since.max(self.changed) + wait + TURN * rank;
        due.max(self.retry)
    }

    fn is_over(&self) -> bool {
        self.starts_no_pod != Some(true) && !self.tainted && !self.flight
    }
}

impl Remedy {
    /// The verdict changed.
    pub(super) fn degraded_judged(&mut self, subject: MemberId, judgement: &Judgement, now: Instant) {
        let before = self.degraded.get(&subject);
        let was_so = before.is_some_and(|degraded| degraded.starts_no_pod == Some(true));
        self.look_at_degraded(subject, now);
        if let Judgement::Changed {
            verdict,
            causes,
            evidence,
            at,
            ..
        } = judgement
            && let Some(degraded) = self.degraded.get(&subject)
            && degraded.starts_no_pod == Some(true)
            && !was_so
        {
            let whom = self.whom_degraded(subject, degraded);
            let step = Step::Verdict {
                verdict: *verdict,
                causes: *causes,
                evidence: evidence.clone(),
            };
            self.record_for(whom.incident, whom.boot, &whom.node, step, *at);
        }
    }

    /// Notes what holds of a subject, and what its Node bears.
    pub(super) fn look_at_degraded(&mut self, subject: MemberId, now: Instant) {
        let starts_no_pod = self.verdicts.starts_no_pod(subject);
        let tainted = self.is_tainted_degraded(subject);
        if !self.members.contains_key(&subject) {
            return;
        }
        let node = self.nodes.get(&subject);
        let found = node
            .and_then(|node| node.own_taint(OwnTaint::Degraded))
            .map(label);
        let of = self.verdicts.get(subject).map_or(BootId(0), |(boot, _)| boot);
        let Some(degraded) = self.degraded.get_mut(&subject) else {
            if starts_no_pod == Some(true) || tainted {
                let minted = || IncidentId::mint(self.config.own, of, now.0);
                let degraded = Degraded {
                    incident: found.unwrap_or_else(minted),
                    boot: of,
                    starts_no_pod,
                    since: now,
                    tainted,
                    changed: now,
                    flight: false,
                    retry: Instant(0),
                    hold: None,
                };
                self.degraded.insert(subject, degraded);
            }
            return;
        };
        if starts_no_pod == Some(true) && degraded.boot != of {
            // Another boot: what the one before it lacked is over, whether or not somebody saw an end of it.
            (degraded.boot, degraded.since) = (of, now);
        }
        if degraded.starts_no_pod != starts_no_pod {
            (degraded.starts_no_pod, degraded.since) = (starts_no_pod, now);
            degraded.hold = None;
        }
        if degraded.tainted != tainted {
            (degraded.tainted, degraded.changed) = (tainted, now);
            // Whoever put it on gave the label.
            degraded.incident = found.filter(|_| tainted).unwrap_or(degraded.incident);
        }
        if degraded.is_over() {
            let over = degraded.clone();
            self.degraded.remove(&subject);
            let whom = self.whom_degraded(subject, &over);
            self.record_for(whom.incident, whom.boot, &whom.node, Step::Closed, now);
        }
    }

    /// Does what is due.
    pub(super) fn tend_degraded(&mut self, now: Instant) {
        let due = self.degraded.iter();
        let due = due.filter(|(_, degraded)| degraded.due(self.rank) <= now);
        let due: Vec<MemberId> = due.map(|(&subject, _)| subject).collect();
        if due.is_empty() {
            return;
        }
        let mut bound = self.degraded_bound();
        for subject in due {
            let Some(mut degraded) = self.degraded.remove(&subject) else {
                continue;
            };
            if degraded.tainted {
                self.write_degraded(subject, &mut degraded, false, now);
            } else {
                let zone = self.members.get(&subject).map(|member| member.zone.clone());
                let zone = zone.unwrap_or_default();
                let hold = self.holds(subject).or_else(|| bound.hold(&zone));
                self.hold_degraded(subject, &mut degraded, hold, now);
                if hold.is_some() {
                    degraded.retry = now + RETRY;
                } else {
                    bound.add_tainted(&zone);
                    self.write_degraded(subject, &mut degraded, true, now);
                }
            }
            self.degraded.insert(subject, degraded);
        }
    }

    /// Counts anew what the bound wants to know.
    fn degraded_bound(&self) -> Bound {
        let mut bound = Bound::default();
        for (subject, member) in &self.members {
            if member.control_plane || self.is_tainted(*subject) {
                continue;
            }
            bound.add_node(&member.zone);
            let Some(degraded) = self.degraded.get(subject) else {
                continue;
            };
            let bears = degraded.tainted || degraded.flight;
            if bears || degraded.starts_no_pod == Some(true) {
                bound.add_degraded();
            }
            if bears {
                bound.add_tainted(&member.zone);
            }
        }
        bound
    }

    /// Records a hold once.
    fn hold_degraded(
        &mut self,
        subject: MemberId,
        degraded: &mut Degraded,
        hold: Option<Hold>,
        now: Instant,
    ) {
        if degraded.hold == hold {
            return;
        }
        degraded.hold = hold;
        let Some(hold) = hold else {
            return;
        };
        let whom = self.whom_degraded(subject, degraded);
        self.record_for(whom.incident, whom.boot, &whom.node, Step::Held { hold }, now);
        if self.rank == 0 {
            let why = match hold {
                Hold::Storm => "so are too many at once",
                Hold::Budget => "as many as allowed are tainted; it waits for its turn",
                _ => hold::reason(hold),
            };
            let note = format!("not tainted, although no pod can start there: {why}");
            self.announce(&whom, true, "RemediationHeld", note, now);
        }
    }

    /// The whole list of taints, bound to the version that was read.
    fn write_degraded(&mut self, subject: MemberId, degraded: &mut Degraded, on: bool, now: Instant) {
        let Some(node) = self.nodes.get(&subject) else {
            degraded.retry = now + RETRY;
            return;
        };
        let own = OwnTaint::Degraded;
        if !on && self.withholds() && node.own_taint(own).is_some() {
            self.commands.push_back(left_taint(&node.name, own));
        }
        let (taints, purpose, standing) = if on {
            let taints = marks::with_taint(&node.taints, own, degraded.incident);
            (taints, Purpose::DegradedTaint, Standing::StartsNoPod)
        } else {
            let taints = marks::without_taint(&node.taints, own);
            (taints, Purpose::DegradedUntaint, Standing::StartsPods)
        };
        let call = Call::Taints {
            node: node.name.clone(),
            uid: node.uid.clone(),
            resource_version: node.resource_version.clone(),
            taints,
        };
        degraded.flight = true;
        let whom = self.whom_degraded(subject, degraded);
        let guard = whom.guard(standing, Instant::NEVER);
        self.call(&whom, Some(guard), call, purpose, now);
    }

    /// The taint is on or off, or it is not. A Node that somebody changed meanwhile comes with the watch.
    pub(super) fn degraded_answered(&mut self, whom: &Whom, outcome: &Outcome, now: Instant) {
        let Some(degraded) = self.degraded.get_mut(&whom.subject) else {
            return;
        };
        degraded.flight = false;
        degraded.retry = match outcome {
            Outcome::Missing | Outcome::Refused(_) => now + RETRY * REFUSED,
            _ => now + RETRY,
        };
        self.look_at_degraded(whom.subject, now);
        if !matches!(outcome, Outcome::Done(_)) {
            return;
        }
        let note = format!("incident {}", whom.incident);
        if self.is_tainted_degraded(whom.subject) {
            let causes = self.verdicts.causes(whom.subject);
            let causes: Vec<String> = causes.iter().map(|cause| cause.to_string()).collect();
            let note = format!("no pod can start there ({}): {note}", causes.join(", "));
            self.announce(whom, true, "NodeTainted", note, now);
        } else {
            let note = format!("pods can start there again, as far as is known: {note}");
            self.announce(whom, false, "NodeUntainted", note, now);
        }
    }

    fn whom_degraded(&self, subject: MemberId, degraded: &Degraded) -> Whom {
        let name = self.nodes.get(&subject).map(|node| &node.name);
        let name = name.or_else(|| self.members.get(&subject).map(|member| &member.name));
        Whom {
            subject,
            incident: degraded.incident,
            boot: degraded.boot,
            generation: 0,
            node: name.cloned().unwrap_or_default(),
        }
    }
}
