//! Steps 2 and 3: the pods' marks and their deletes, round by round.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::identity::MemberId;
use crate::incident::Step;
use crate::profile::LATE_PODS;
use crate::remedy::calls::{Purpose, Whom};
use crate::remedy::case::{Case, Work};
use crate::remedy::command::{Answer, Call, Outcome, Standing};
use crate::remedy::ledger::{self, Progress};
use crate::remedy::looks::READ_LASTS;
use crate::remedy::round::{self, NodeRead, Round, Stage};
use crate::remedy::{Remedy, budget};
use crate::time::Instant;

/// When the pods are listed for the `next`-th time after the deletes.
pub(super) fn late_due(since: Instant, next: usize) -> Instant {
    LATE_PODS.get(next).map_or(since, |&wait| since + wait)
}

/// A list that was fetched at an early warning, and waited for the budget or the API, is made anew after this time.
const LIST_LASTS: Duration = Duration::from_secs(2);

impl Remedy {
    /// One move of a round.
    pub(super) fn round(
        &mut self,
        subject: MemberId,
        case: &mut Case,
        entry: &ledger::Entry,
        now: Instant,
    ) -> bool {
        let Work::Round(round) = &case.work else {
            return false;
        };
        match &round.stage {
            Stage::Reading => self.mark(subject, case, now),
            Stage::Marking(open) => {
                let done = open.is_empty();
                if done {
                    self.marked(case, now);
                }
                done
            }
            Stage::Waiting(until) => {
                // The budget is asked again where an announced reboot has kept it waiting.
                let due = now >= *until && budget::counts(entry) && !self.book.is_busy(subject);
                if due {
                    self.look(subject, case, now);
                }
                false
            }
            Stage::Looking {
                overdue, dead_until, ..
            } => {
                let fresh = dead_until.filter(|&until| now <= until);
                if let (Some(not_after), NodeRead::Seen(asked)) = (fresh, round.node)
                    && now.since(asked) <= READ_LASTS
                    && case.is_dead()
                {
                    self.delete(subject, case, not_after, now);
                    return true;
                }
                let again = now >= *overdue;
                if again {
                    self.look(subject, case, now);
                }
                false
            }
            Stage::Deleting(open) => {
                let done = open.is_empty();
                if done {
                    self.deleted(subject, case, now);
                }
                done
            }
        }
    }

    /// Step 2: all marks in one burst.
    fn mark(&mut self, subject: MemberId, case: &mut Case, now: Instant) -> bool {
        case.quiet.extend(case.reads.opted_out());
        if now.since(case.reads.listed) > LIST_LASTS {
            case.reads.pods = None;
        }
        let Some(pods) = case.reads.pods.take() else {
            if !case.reads.listing && now >= case.retry {
                self.list_pods(subject, case, now);
            }
            return false;
        };
        let Some(plan) = round::plan(&pods, &case.reads, &case.settled, &case.marked) else {
            case.reads.pods = Some(pods);
            return false;
        };
        let whom = self.whom(subject, case);
        for (pod, why) in plan.spare {
            *case.spared.entry(why).or_default() += 1;
            case.settled.insert(pod.uid.clone());
            let step = Step::Spared {
                pod: pod.to_string(),
                reason: why.to_owned(),
            };
            self.record_for(case.incident, case.boot, &whom.node, step, now);
        }
        let open = plan.mark.iter().map(|pod| pod.id.uid.clone()).collect();
        let at_ms = self.wall.ms_of(now);
        for pod in plan.mark {
            let guard = whom.guard(Standing::Dead, Instant::NEVER);
            let purpose = Purpose::Mark(pod.id.uid.clone());
            self.call(
                &whom,
                Some(guard),
                Call::Mark { pod: pod.id, at_ms },
                purpose,
                now,
            );
        }
        if let Work::Round(round) = &mut case.work {
            round.doomed = plan.delete;
            round.stage = Stage::Marking(open);
        }
        true
    }

    /// The version that a withheld mark leaves: the one that was read.
    pub(super) fn version_of(&self, subject: MemberId, uid: &str) -> Answer {
        let work = self.cases.get(&subject).map(|case| &case.work);
        match work {
            Some(Work::Round(round)) => round
                .doomed
                .get(uid)
                .map_or(Answer::Nothing, |(_, version)| Answer::Version(version.clone())),
            _ => Answer::Nothing,
        }
    }

    #[expect(clippy::unused_self, reason = "one shape for all answers")]
    pub(super) fn mark_answered(&self, case: &mut Case, uid: &str, outcome: Outcome) {
        let Work::Round(Round { stage, doomed, .. }) = &mut case.work else {
            return;
        };
        if let Stage::Marking(open) = stage {
            open.remove(uid);
        }
        match outcome {
            Outcome::Done(answer) => {
                case.marked.insert(uid.to_owned());
                if let (Answer::Version(version), Some(pod)) = (answer, doomed.get_mut(uid)) {
                    pod.1 = version;
                }
            }
            // What is not marked is not deleted; a later list finds it again.
            _ => {
                doomed.remove(uid);
            }
        }
    }

    /// All marks are answered.
    fn marked(&self, case: &mut Case, now: Instant) {
        case.progress = case.progress.max(Progress::Marked);
        let first = self.deletes_due(case);
        if let Work::Round(round) = &mut case.work {
            round.stage = if round.late == 0 {
                Stage::Waiting(first)
            } else if round.doomed.is_empty() {
                Stage::Deleting(BTreeSet::new())
            } else {
                Stage::Waiting(now)
            };
        }
    }

    /// Step 3: all deletes in one burst.
    fn delete(&mut self, subject: MemberId, case: &mut Case, not_after: Instant, now: Instant) {
        let whom = self.whom(subject, case);
        let Work::Round(round) = &mut case.work else {
            return;
        };
        let doomed: Vec<_> = round.doomed.values().cloned().collect();
        round.stage = Stage::Deleting(round.doomed.keys().cloned().collect());
        for (pod, resource_version) in doomed {
            let guard = whom.guard(Standing::Dead, not_after);
            let purpose = Purpose::Delete(pod.uid.clone());
            let call = Call::Delete {
                pod,
                resource_version,
            };
            self.call(&whom, Some(guard), call, purpose, now);
        }
    }

    #[expect(clippy::unused_self, reason = "one shape for all answers")]
    pub(super) fn delete_answered(&self, case: &mut Case, uid: &str, outcome: &Outcome) {
        let Work::Round(Round { stage, doomed, .. }) = &mut case.work else {
            return;
        };
        if let Stage::Deleting(open) = stage {
            open.remove(uid);
        }
        match outcome {
            Outcome::Done(_) => {
                case.deleted += 1;
                case.settled.insert(uid.to_owned());
                doomed.remove(uid);
            }
            Outcome::Missing | Outcome::Refused(_) => {
                case.settled.insert(uid.to_owned());
                doomed.remove(uid);
            }
            // It has changed since our mark, or nobody knows: a later list shows it as it is.
            Outcome::Conflict | Outcome::GaveUp(_) => {
                doomed.remove(uid);
            }
            // The look grew old before its turn came: another look.
            Outcome::Stale => {}
        }
    }

    /// All deletes are answered.
    fn deleted(&mut self, subject: MemberId, case: &mut Case, now: Instant) {
        let Work::Round(round) = &mut case.work else {
            return;
        };
        if !round.doomed.is_empty() {
            round.stage = Stage::Waiting(now);
            return;
        }
        let (late, since) = (round.late, round.since);
        let whom = self.whom(subject, case);
        if late == 0 {
            case.progress = case.progress.max(Progress::Deleted);
            case.work = Work::Between { since: now, next: 0 };
            self.announce_deletes(&whom, case, now);
        } else if late < LATE_PODS.len() {
            case.work = Work::Between { since, next: late };
        } else {
            case.progress = case.progress.max(Progress::Done);
            case.work = Work::Finished;
            self.record_for(case.incident, case.boot, &whom.node, Step::Closed, now);
        }
    }

    fn announce_deletes(&mut self, whom: &Whom, case: &Case, now: Instant) {
        let spared: Vec<String> = case
            .spared
            .iter()
            .map(|(why, pods)| format!("{pods}: {why}"))
            .collect();
        let note = format!(
            "{} pods deleted, {} spared ({})",
            case.deleted,
            case.spared.values().sum::<usize>(),
            spared.join("; ")
        );
        self.announce(whom, true, "PodsDeleted", note, now);
    }

    /// The pods are listed again: some are bound late.
    #[expect(clippy::unused_self, reason = "one shape for all steps")]
    pub(super) fn list_late(&self, case: &mut Case, since: Instant, next: usize, now: Instant) -> bool {
        let due = now >= late_due(since, next);
        if due {
            case.reads.pods = None;
            case.work = Work::Round(Round::new(next + 1, since));
        }
        due
    }
}
