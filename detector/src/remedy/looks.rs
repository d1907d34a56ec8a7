//! The look before the deletes, and the read of the Node beside it: who is still silent, and what the API says of it.

use std::time::Duration;

use crate::identity::{BootId, MemberId};
use crate::judgement::Ask;
use crate::profile::{FRESH_LOOK, WRITE_TIMEOUT};
use crate::remedy::calls::Purpose;
use crate::remedy::case::{Case, Work};
use crate::remedy::command::{Answer, Call, Command, Outcome};
use crate::remedy::round::{NodeRead, Stage};
use crate::remedy::{Remedy, second_look};
use crate::time::Instant;

/// A read of the Node stands for this time from when it was asked for: longer than a look, as a slow API server needs a
/// try for the answer, and another look is taken then.
pub(super) const READ_LASTS: Duration = WRITE_TIMEOUT.saturating_mul(2);

impl Remedy {
    /// Step 3: a fresh look, as no clock of ours alone authorises a delete.
    pub(super) fn look(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let nonce = self.nonce();
        let whom = self.whom(subject, case);
        if let Work::Round(round) = &mut case.work {
            round.stage = Stage::Looking {
                nonce,
                overdue: now + FRESH_LOOK,
                dead_until: None,
            };
            let reads = match round.node {
                NodeRead::No => true,
                NodeRead::Asked(_) => false,
                NodeRead::Seen(asked) => now.since(asked) > READ_LASTS / 2,
            };
            if reads {
                round.node = NodeRead::Asked(now);
                let name = whom.node.clone();
                self.call(&whom, None, Call::ReadNode { name }, Purpose::NodeBefore, now);
            }
        }
        let boot = case.boot;
        self.commands
            .push_back(Command::Ask(Ask::Look { subject, boot, nonce }));
    }

    /// The read beside a look was answered; what it shows of the Node has been taken up.
    #[expect(clippy::unused_self, reason = "one shape for all answers")]
    pub(super) fn node_before_answered(
        &self,
        subject: MemberId,
        case: &mut Case,
        outcome: &Outcome,
        now: Instant,
    ) {
        let Work::Round(round) = &mut case.work else {
            return;
        };
        let is_it = |outcome: &Outcome| match outcome {
            Outcome::Done(Answer::Node(node)) => MemberId::of_node(&node.uid) == subject,
            _ => false,
        };
        round.node = match round.node {
            NodeRead::Asked(asked) if is_it(outcome) => NodeRead::Seen(asked),
            _ => NodeRead::No,
        };
        if round.node == NodeRead::No && matches!(round.stage, Stage::Looking { .. }) {
            round.stage = Stage::Waiting(now + FRESH_LOOK);
        }
    }

    /// A look was answered.
    pub(super) fn looked(
        &mut self,
        subject: MemberId,
        boot: BootId,
        nonce: u64,
        dead: bool,
        at: Instant,
        now: Instant,
    ) {
        let Some(mut case) = self.cases.remove(&subject) else {
            return;
        };
        let is_dead = boot == case.boot && case.is_dead();
        if let Work::Round(round) = &mut case.work
            && let Stage::Looking {
                nonce: asked,
                dead_until,
                ..
            } = &mut round.stage
            && *asked == nonce
            && is_dead
        {
            let until = second_look::fresh_until(at);
            if dead && now <= until {
                *dead_until = Some(until);
            } else {
                round.stage = Stage::Waiting(now + FRESH_LOOK);
            }
        }
        self.cases.insert(subject, case);
    }
}
