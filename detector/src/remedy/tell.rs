//! What humans and other controllers see: the Node's condition and Events. On transitions only, level by level: the
//! condition is compared with what stands there, so that a restart repeats nothing and loses nothing.

use std::fmt::Write as _;
use std::time::Duration;

use crate::identity::{BootId, IncidentId, MemberId};
use crate::judgement::Verdict;
use crate::remedy::calls::{Purpose, Whom};
use crate::remedy::command::{Call, Outcome, Standing};
use crate::remedy::{RETRY, Remedy, marks};
use crate::time::Instant;

/// A verdict that does not last so long is not told: a lossy link would write all day.
const LASTS: Duration = Duration::from_secs(1);

/// What moves pods is told at once, but behind the writes that move them.
const BEHIND: Duration = Duration::from_millis(100);

/// A steward further back in the order tells what the ones before it have not told so much later.
pub(super) const TURN: Duration = Duration::from_secs(2);

/// A verdict to be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tell {
    verdict: Verdict,
    since: Instant,
    flight: bool,
}

impl Tell {
    fn wait(&self) -> Duration {
        match self.verdict {
            Verdict::Dead | Verdict::Leaving => BEHIND,
            Verdict::Unknown | Verdict::Alive | Verdict::Degraded | Verdict::Away | Verdict::Partial => LASTS,
        }
    }
}

/// The Event's reason.
const fn event(verdict: Verdict) -> (&'static str, bool) {
    match verdict {
        Verdict::Unknown => ("NodeNotHeardYet", false),
        Verdict::Alive => ("NodeHeard", false),
        Verdict::Degraded => ("NodeDegraded", true),
        Verdict::Away => ("AgentAway", false),
        Verdict::Partial => ("NodePartlyHeard", true),
        Verdict::Leaving => ("NodeLeaving", false),
        Verdict::Dead => ("NodeDead", true),
    }
}

impl Remedy {
    /// Compares what holds with what the Node's condition says: what differs is to be told.
    pub(super) fn compare(&mut self, subject: MemberId, now: Instant) {
        let Some((_, verdict)) = self.verdicts.get(subject) else {
            return;
        };
        let old = self.tells.get(&subject);
        if old.is_some_and(|tell| tell.verdict == verdict) {
            return;
        }
        let flight = old.is_some_and(|tell| tell.flight);
        if flight || self.is_untold(subject, verdict) {
            let tell = Tell {
                verdict,
                since: now,
                flight,
            };
            self.tells.insert(subject, tell);
        } else {
            self.tells.remove(&subject);
        }
    }

    /// When it is told; one that is on its way has its answer to wait for.
    pub(super) fn tell_due(&self, tell: &Tell) -> Instant {
        if tell.flight {
            return Instant::NEVER;
        }
        tell.since + tell.wait() + TURN * self.rank
    }

    /// Whether the Node's condition says something else. One that says nothing is right about a node that is well.
    fn is_untold(&self, subject: MemberId, verdict: Verdict) -> bool {
        match self.reachable(subject) {
            None => !matches!(verdict, Verdict::Unknown | Verdict::Alive | Verdict::Away),
            Some(reason) => reason != marks::reachable(verdict).0,
        }
    }

    /// Writes the conditions that are due.
    pub(super) fn tell(&mut self, now: Instant) {
        let due: Vec<(MemberId, Verdict)> = self
            .tells
            .iter()
            .filter(|(_, tell)| now >= self.tell_due(tell))
            .map(|(&subject, tell)| (subject, tell.verdict))
            .collect();
        for (subject, verdict) in due {
            let untold = self.is_untold(subject, verdict);
            let node = self.nodes.get(&subject);
            let Some(node) = node.filter(|_| untold) else {
                self.tells.remove(&subject);
                continue;
            };
            let (name, uid) = (node.name.clone(), node.uid.clone());
            let case = self.cases.get(&subject);
            let (incident, boot) = case
                .map(|case| (case.incident, case.boot))
                .unwrap_or((IncidentId(0), BootId(0)));
            let whom = Whom {
                subject,
                incident,
                boot,
                generation: 0,
                node: name.clone(),
            };
            if let Some(tell) = self.tells.get_mut(&subject) {
                tell.flight = true;
            }
            let call = Call::Condition {
                node: name,
                uid,
                verdict,
                at_ms: self.wall.ms_of(now),
            };
            let guard = whom.guard(Standing::Exactly(verdict), Instant::NEVER);
            self.call(&whom, Some(guard), call, Purpose::Condition(verdict), now);
        }
    }

    /// A condition was written, or not.
    pub(super) fn told(&mut self, whom: &Whom, verdict: Verdict, outcome: &Outcome, now: Instant) {
        let done = matches!(outcome, Outcome::Done(_));
        let Some(tell) = self.tells.get_mut(&whom.subject) else {
            return;
        };
        tell.flight = false;
        let final_ = matches!(outcome, Outcome::Missing | Outcome::Refused(_));
        if tell.verdict == verdict && (done || final_) {
            self.tells.remove(&whom.subject);
        } else if !done {
            tell.since = now + RETRY;
        }
        if done {
            let (reason, warning) = event(verdict);
            let mut note = String::from(marks::reachable(verdict).0);
            for cause in self.verdicts.causes(whom.subject).iter() {
                // Writing to a String does not fail.
                let _ = write!(note, ", {cause}");
            }
            let _ = write!(note, ": incident {}", whom.incident);
            self.announce(whom, warning, reason, note, now);
        }
    }

    /// An Event about the Node.
    pub(super) fn announce(
        &mut self,
        whom: &Whom,
        warning: bool,
        reason: &'static str,
        note: String,
        now: Instant,
    ) {
        let Some(node) = self.nodes.get(&whom.subject) else {
            return;
        };
        let call = Call::Event {
            node: node.name.clone(),
            uid: node.uid.clone(),
            warning,
            reason,
            note,
            at_ms: self.wall.ms_of(now),
        };
        self.call(whom, None, call, Purpose::Event, now);
    }
}
