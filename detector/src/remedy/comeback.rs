//! Step 4: who is heard again gets its marks taken off, after a hold-down that grows with each flap.

use std::time::Duration;

use crate::identity::MemberId;
use crate::incident::Step;
use crate::judgement::Verdict;
use crate::profile::{FLAP_MEMORY, RETURN_HOLD_MAX_FACTOR, RETURN_ROUNDS, WRITE_TIMEOUT};
use crate::remedy::book::Change;
use crate::remedy::calls::Purpose;
use crate::remedy::case::Case;
use crate::remedy::command::{Call, Command, Outcome, Standing};
use crate::remedy::ledger::Progress;
use crate::remedy::object::OwnTaint;
use crate::remedy::{RETRY, Remedy, marks, order};
use crate::time::Instant;

/// A suspicion that led to nothing is forgotten after this time.
const SUSPICION_MEMORY: Duration = Duration::from_secs(10);

/// After the taint is off, a living kubelet has made its pods Ready, and the EndpointSlice controller their endpoints,
/// within this time.
const VERIFY_AFTER: Duration = Duration::from_secs(12);

/// Good rounds that are wanted after this many deaths within [`FLAP_MEMORY`].
fn rounds(deaths: usize) -> u32 {
    let doublings = u32::try_from(deaths.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    RETURN_ROUNDS * factor.clamp(1, RETURN_HOLD_MAX_FACTOR)
}

/// From `enforce` to `observe`, or paused: nobody takes it off, and no pod would come for ever, silently.
pub(super) fn left_taint(node: &str, own: OwnTaint) -> Command {
    let key = own.key();
    Command::Alarm(format!(
        "{node} is back and still bears our taint, and this steward writes nothing: kubectl taint node {node} {key}-"
    ))
}

impl Remedy {
    /// It died once more.
    pub(super) fn flap(&mut self, subject: MemberId, at: Instant) {
        let deaths = self.flaps.entry(subject).or_default();
        deaths.retain(|&death| at.since(death) < FLAP_MEMORY);
        // The factor is at its end long before.
        if deaths.len() < 32 {
            deaths.push(at);
        }
    }

    /// All its observers have heard it, so many rounds in a row.
    pub(super) fn good(&mut self, subject: MemberId, good: u32, at: Instant) {
        let deaths = self.flaps.get(&subject).map_or(0, |deaths| {
            deaths
                .iter()
                .filter(|&&death| at.since(death) < FLAP_MEMORY)
                .count()
        });
        if let Some(case) = self.cases.get_mut(&subject)
            && !case.is_condemned()
            && case.good.is_none()
            && good >= rounds(deaths)
        {
            case.good = Some(at);
        }
    }

    /// One move of the return.
    pub(super) fn step_back(&mut self, subject: MemberId, case: &mut Case, now: Instant) -> bool {
        if now < case.retry {
            return false;
        }
        let is_busy = self.book.is_busy(subject);
        if let Some(entry) = self.book.get(subject)
            && entry.progress != Progress::Revoked
            && !is_busy
            && !self.is_gone(subject)
            && now >= self.revoke_turn(case)
        {
            let mut entry = entry.clone();
            (entry.progress, entry.waits) = (Progress::Revoked, false);
            entry.steward = self.config.own;
            self.book.want(subject, Change::Put(entry));
            return false;
        }
        let gone = self.is_gone(subject);
        let Some(good) = case.good.or(gone.then_some(case.at)) else {
            return false;
        };
        if now < order::turn(good, self.rank) {
            return false;
        }
        if self.is_tainted(subject) && !gone {
            self.untaint(subject, case, now);
        } else if self.book.get(subject).is_some() && !is_busy {
            self.book.want(subject, Change::Remove);
        } else if case.verify.is_some_and(|at| now >= at) {
            self.verify(subject, case, now);
        }
        false
    }

    /// The Node is gone, and the roster knows it too: there is nothing left to return.
    pub(super) fn is_gone(&self, subject: MemberId) -> bool {
        !self.members.is_empty() && !self.members.contains_key(&subject) && !self.nodes.contains_key(&subject)
    }

    /// Whose it is does it at once; another one where the ledger stands still.
    fn revoke_turn(&self, case: &Case) -> Instant {
        let Some((entry, since)) = &case.moved else {
            return Instant::NEVER;
        };
        if entry.steward == self.config.own {
            return *since;
        }
        order::turn((*since).max(case.back) + WRITE_TIMEOUT, self.rank)
    }

    fn untaint(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let Some(node) = self.nodes.get(&subject) else {
            return;
        };
        if case.node_busy {
            return;
        }
        if self.withholds() && node.own_taint(OwnTaint::Dead).is_some() {
            self.commands.push_back(left_taint(&node.name, OwnTaint::Dead));
        }
        case.node_busy = true;
        let call = Call::Taints {
            node: node.name.clone(),
            uid: node.uid.clone(),
            resource_version: node.resource_version.clone(),
            taints: marks::without_taint(&node.taints, OwnTaint::Dead),
        };
        let whom = self.whom(subject, case);
        let guard = whom.guard(Standing::Back, Instant::NEVER);
        self.call(&whom, Some(guard), call, Purpose::Untaint, now);
    }

    /// The taint is off, or it is not.
    pub(super) fn untaint_answered(
        &mut self,
        subject: MemberId,
        case: &mut Case,
        outcome: &Outcome,
        now: Instant,
    ) {
        case.node_busy = false;
        match outcome {
            Outcome::Done(_) => {
                case.verify = Some(now + VERIFY_AFTER);
                let whom = self.whom(subject, case);
                self.record_for(case.incident, case.boot, &whom.node, Step::Returned, now);
                let note = String::from("heard again by all its observers: the taint is off");
                self.announce(&whom, false, "NodeReturned", note, now);
            }
            Outcome::Conflict => self.read_node(subject, case, now),
            _ => case.retry = now + RETRY,
        }
    }

    /// Endpoints that did not come back are told: nobody but the EndpointSlice controller may make one ready.
    fn verify(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let whom = self.whom(subject, case);
        let unready = self.slices.unready_pods(&whom.node);
        let Some(pods) = case.reads.pods.take().filter(|_| !case.reads.listing) else {
            if unready.is_empty() {
                case.verify = None;
            } else if !case.reads.listing {
                self.list_pods(subject, case, now);
            }
            return;
        };
        case.verify = None;
        let missing: Vec<String> = pods
            .iter()
            .filter(|pod| pod.ready && !pod.terminating && unready.contains(&pod.id.uid))
            .map(|pod| pod.id.to_string())
            .collect();
        if !missing.is_empty() {
            let note = format!("back, but not ready as endpoints: {}", missing.join(", "));
            self.alarm(format!("{}: {note}", whom.node));
            self.announce(&whom, true, "EndpointsMissing", note, now);
        }
    }

    /// Whether nothing is left of a case.
    pub(super) fn is_over(&mut self, subject: MemberId, case: &Case, now: Instant) -> bool {
        let untouched = self.book.get(subject).is_none()
            && !self.book.is_busy(subject)
            && !self.is_tainted(subject)
            && !case.node_busy
            && case.verify.is_none();
        let over = untouched
            && match case.verdict {
                None => now >= case.at + SUSPICION_MEMORY,
                // Between early warning and death it may be heard by some: what was fetched is kept.
                Some(Verdict::Partial) if !case.was_condemned => now >= case.at + SUSPICION_MEMORY,
                Some(_) => !case.is_condemned() || self.is_gone(subject),
            };
        if over && case.verdict.is_some() {
            let whom = self.whom(subject, case);
            self.record_for(case.incident, case.boot, &whom.node, Step::Closed, now);
        }
        over
    }

    /// When the return goes on: the first of its times after `now`.
    pub(super) fn back_deadline(&self, subject: MemberId, case: &Case, now: Instant) -> Instant {
        let suspicion = match case.verdict {
            None | Some(Verdict::Partial) => Some(case.at + SUSPICION_MEMORY),
            Some(_) => None,
        };
        let entry = self.book.get(subject);
        let revoke = entry
            .filter(|entry| entry.progress != Progress::Revoked)
            .map(|_| self.revoke_turn(case));
        let back = case.good.map(|good| order::turn(good, self.rank));
        [suspicion, revoke, back, case.verify]
            .into_iter()
            .flatten()
            .filter(|&at| at > now)
            .min()
            .unwrap_or(Instant::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_doubles_with_each_flap_up_to_its_end() {
        assert_eq!([0, 1, 2, 3].map(rounds), [50, 50, 100, 200]);
        assert_eq!(rounds(7), 50 * 64);
        assert_eq!(rounds(1_000), 50 * 64);
    }
}
