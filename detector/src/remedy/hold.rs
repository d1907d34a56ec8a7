//! What keeps a subject from being acted on, noted once and told.

use crate::identity::MemberId;
use crate::incident::Step;
use crate::judgement::Hold;
use crate::remedy::case::Case;
use crate::remedy::{Remedy, policy};
use crate::time::Instant;

impl Remedy {
    /// What keeps this subject from being acted on by this steward.
    pub(super) fn holds(&self, subject: MemberId) -> Option<Hold> {
        let member = self.members.get(&subject)?;
        if member.name == self.config.own_node {
            return Some(Hold::OwnNode);
        }
        if member.control_plane {
            return Some(Hold::ControlPlane);
        }
        self.nodes.get(&subject).and_then(policy::held_node)
    }

    /// Records a hold once.
    pub(super) fn set_hold(&mut self, subject: MemberId, case: &mut Case, hold: Option<Hold>, now: Instant) {
        if case.hold == hold {
            return;
        }
        case.hold = hold;
        if let Some(hold) = hold {
            let whom = self.whom(subject, case);
            self.record_for(case.incident, case.boot, &whom.node, Step::Held { hold }, now);
            if self.rank == 0 {
                let note = format!("nothing is done about this node: {}", reason(hold));
                self.announce(&whom, true, "RemediationHeld", note, now);
            }
        }
    }
}

/// In words.
pub(super) const fn reason(hold: Hold) -> &'static str {
    match hold {
        Hold::Storm => "too many are suspected at once",
        Hold::Minority => "this steward hears too few",
        Hold::LateTick => "this steward was late itself",
        Hold::TooFewObservers => "one observer cannot condemn",
        Hold::Budget => "as many as allowed are in progress; it waits for its turn",
        Hold::ControlPlane => "control plane: alarm only",
        Hold::OptedOut => "it opted out, or somebody else is at work on it",
        Hold::OwnNode => "it carries the steward that would act",
        Hold::Ledger => "the ledger cannot be read",
    }
}
