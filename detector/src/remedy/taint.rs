//! Step 1, the taint of the dead: without it replacements would land there.

use crate::identity::MemberId;
use crate::remedy::calls::Purpose;
use crate::remedy::case::{Case, Work};
use crate::remedy::command::{Answer, Call, Outcome, Standing};
use crate::remedy::ledger::Progress;
use crate::remedy::object::{OwnTaint, Taint};
use crate::remedy::{RETRY, Remedy, marks};
use crate::time::Instant;

impl Remedy {
    /// Puts it on: the whole list, bound to the version that was read.
    pub(super) fn taint(&mut self, subject: MemberId, case: &mut Case, now: Instant) -> bool {
        if self.is_tainted(subject) {
            // One of an earlier death may have been there before: the ledger was answered just now.
            case.tainted.get_or_insert(now);
            case.work = Work::Tainted;
            return true;
        }
        let Some(node) = self.nodes.get(&subject) else {
            return false;
        };
        if case.node_busy || now < case.retry {
            return false;
        }
        case.node_busy = true;
        let call = Call::Taints {
            node: node.name.clone(),
            uid: node.uid.clone(),
            resource_version: node.resource_version.clone(),
            taints: marks::with_taint(&node.taints, OwnTaint::Dead, case.incident),
        };
        let whom = self.whom(subject, case);
        let guard = whom.guard(Standing::Condemned, Instant::NEVER);
        self.call(&whom, Some(guard), call, Purpose::Taint, now);
        false
    }

    /// The taint was answered.
    pub(super) fn taint_answered(
        &mut self,
        subject: MemberId,
        case: &mut Case,
        outcome: &Outcome,
        now: Instant,
    ) {
        case.node_busy = false;
        match outcome {
            Outcome::Done(Answer::Node(_) | Answer::Nothing) => {}
            Outcome::Conflict => self.read_node(subject, case, now),
            Outcome::Missing | Outcome::Refused(_) => {
                // Without the taint replacements would land there: nothing that follows is done.
                case.work = Work::Finished;
                case.progress = Progress::Done;
            }
            Outcome::Done(_) | Outcome::GaveUp(_) | Outcome::Stale => case.retry = now + RETRY,
        }
    }

    /// Notes when the taint of this death is first seen, whoever wrote it: since then at the latest the API answers.
    pub(super) fn see_taint(&self, subject: MemberId, case: &mut Case, now: Instant) {
        if case.tainted.is_some() || !case.is_condemned() {
            return;
        }
        let entry = self.book.get(subject).filter(|entry| entry.boot == case.boot);
        let incidents = [Some(case.incident), entry.map(|entry| entry.incident)];
        let is_of_this_death = |taint: &Taint| {
            let incident = taint.value.as_deref().and_then(|label| label.parse().ok());
            OwnTaint::Dead.is(taint) && incident.is_some() && incidents.contains(&incident)
        };
        let node = self.nodes.get(&subject);
        if node.is_some_and(|node| node.taints.iter().any(is_of_this_death)) {
            case.tainted = Some(now);
        }
    }

    /// Reads the Node again: somebody changed it, perhaps to say that it lives.
    pub(super) fn read_node(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let whom = self.whom(subject, case);
        case.node_busy = true;
        let name = whom.node.clone();
        self.call(&whom, None, Call::ReadNode { name }, Purpose::Node, now);
    }
}
