//! Calls on their way: what each was for, so that its answer finds its case, and a late one falls away.

use std::collections::{BTreeMap, VecDeque};

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::{Step, Write};
use crate::judgement::Verdict;
use crate::remedy::book;
use crate::remedy::case::Case;
use crate::remedy::command::{Answer, Call, Command, Guard, Outcome, Request, RequestId, Standing};
use crate::remedy::{RETRY, Remedy};
use crate::time::Instant;

/// What a call was for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    ReadLedger,
    Ledger,
    Node,
    /// Beside a look.
    NodeBefore,
    Pods,
    Namespace(String),
    Claim(String, String),
    Taint,
    Untaint,
    DegradedTaint,
    DegradedUntaint,
    Slice(String, String),
    Mark(String),
    Delete(String),
    Condition(Verdict),
    Event,
}

impl Purpose {
    /// How a write is called in the incident.
    const fn write(&self) -> Option<Write> {
        match self {
            Self::Taint => Some(Write::Taint),
            Self::Untaint => Some(Write::Untaint),
            Self::DegradedTaint => Some(Write::DegradedTaint),
            Self::DegradedUntaint => Some(Write::DegradedUntaint),
            Self::Slice(..) => Some(Write::Slice),
            Self::Mark(_) => Some(Write::Mark),
            Self::Delete(_) => Some(Write::Delete),
            Self::Condition(_) => Some(Write::Condition),
            Self::Event => Some(Write::Event),
            // The ledger's are recorded once for each subject in them.
            Self::Ledger
            | Self::ReadLedger
            | Self::Node
            | Self::NodeBefore
            | Self::Pods
            | Self::Namespace(_)
            | Self::Claim(..) => None,
        }
    }
}

/// On whose behalf.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whom {
    pub(super) subject: MemberId,
    pub(super) incident: IncidentId,
    pub(super) boot: BootId,
    pub(super) generation: u64,
    pub(super) node: String,
}

impl Whom {
    /// Nobody's.
    pub(super) const fn nobody() -> Self {
        Self {
            subject: book::nobody(),
            incident: IncidentId(0),
            boot: BootId(0),
            generation: 0,
            node: String::new(),
        }
    }

    /// A guard that wants this standing.
    pub(super) const fn guard(&self, standing: Standing, not_after: Instant) -> Guard {
        Guard {
            subject: self.subject,
            boot: self.boot,
            standing,
            not_after,
        }
    }
}

#[derive(Debug)]
struct Open {
    whom: Whom,
    purpose: Purpose,
    object: String,
}

/// All calls on their way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: u64,
    generation: u64,
    open: BTreeMap<RequestId, Open>,
    withheld: VecDeque<(RequestId, Call)>,
}

impl Calls {
    /// A number that no case had before.
    pub(super) const fn generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// The object of a call, for humans.
fn object(call: &Call) -> String {
    match call {
        Call::ReadLedger | Call::Ledger { .. } => String::from("ledger"),
        Call::ReadNode { name } | Call::ReadNamespace { name } => name.clone(),
        Call::ListPods { node }
        | Call::Taints { node, .. }
        | Call::Condition { node, .. }
        | Call::Event { node, .. } => node.clone(),
        Call::ReadClaim { namespace, name } | Call::Slice { namespace, name, .. } => {
            format!("{namespace}/{name}")
        }
        Call::Mark { pod, .. } | Call::Delete { pod, .. } => pod.to_string(),
    }
}

impl Remedy {
    /// On behalf of a case.
    pub(super) fn whom(&self, subject: MemberId, case: &Case) -> Whom {
        let member = self.members.get(&subject).map(|member| member.name.clone());
        let node = self.nodes.get(&subject).map(|node| node.name.clone());
        let listed = self.book.get(subject).map(|entry| entry.node.clone());
        Whom {
            subject,
            incident: case.incident,
            boot: case.boot,
            generation: case.generation,
            node: node.or(member).or(listed).unwrap_or_default(),
        }
    }

    /// Sends a call off, or withholds it.
    pub(super) fn call(
        &mut self,
        whom: &Whom,
        guard: Option<Guard>,
        call: Call,
        purpose: Purpose,
        now: Instant,
    ) {
        self.calls.last += 1;
        let id = RequestId(self.calls.last);
        let withheld = call.is_write() && self.withholds();
        let object = object(&call);
        if let Some(write) = purpose.write() {
            let step = Step::Decided {
                write,
                object: object.clone(),
                enforced: !withheld,
            };
            self.record_for(whom.incident, whom.boot, &whom.node, step, now);
        }
        let whom = whom.clone();
        let request = Request {
            id,
            incident: whom.incident,
            guard,
            call,
        };
        if withheld {
            self.calls.withheld.push_back((id, request.call.clone()));
            self.commands.push_back(Command::Withheld(request));
        } else {
            self.commands.push_back(Command::Call(request));
        }
        let open = Open {
            whom,
            purpose,
            object,
        };
        self.calls.open.insert(id, open);
    }

    /// Answers what was withheld as if it had been done. Whether there was something.
    pub(super) fn answer_withheld(&mut self, now: Instant) -> bool {
        let withheld = std::mem::take(&mut self.calls.withheld);
        let any = !withheld.is_empty();
        for (id, call) in withheld {
            let Some(open) = self.calls.open.remove(&id) else {
                continue;
            };
            let subject = open.whom.subject;
            let answer = match call {
                Call::Ledger { .. } => {
                    self.ledger_pretended();
                    continue;
                }
                Call::Taints { .. } => {
                    let pretended = self.pretended.entry(subject).or_default();
                    match open.purpose {
                        Purpose::DegradedTaint => pretended.degraded = Some(true),
                        Purpose::DegradedUntaint => pretended.degraded = Some(false),
                        _ => pretended.taint = Some(open.purpose == Purpose::Taint),
                    }
                    self.counted = false;
                    Answer::Nothing
                }
                Call::Condition { verdict, .. } => {
                    let reason = crate::remedy::marks::reachable(verdict).0;
                    self.pretended.entry(subject).or_default().reachable = Some(reason.into());
                    Answer::Nothing
                }
                Call::Slice {
                    namespace,
                    name,
                    positions,
                    ..
                } => {
                    self.slices.pretend(&namespace, &name, &positions);
                    Answer::Nothing
                }
                Call::Mark { ref pod, .. } => self.version_of(subject, &pod.uid),
                _ => Answer::Nothing,
            };
            self.route(open, Outcome::Done(answer), now);
        }
        any
    }

    /// A call ended.
    pub(super) fn answered(&mut self, id: RequestId, tries: u32, outcome: Outcome, now: Instant) {
        let Some(open) = self.calls.open.remove(&id) else {
            return;
        };
        if matches!(open.purpose, Purpose::Ledger | Purpose::ReadLedger) {
            self.ledger_answered(&open.purpose, tries, outcome, now);
            return;
        }
        if let Some(write) = open.purpose.write() {
            let object = open.object.clone();
            let step = match &outcome {
                Outcome::Done(_) => Step::Written { write, object, tries },
                other => Step::Failed {
                    write,
                    object,
                    reason: failure(other),
                },
            };
            self.record_for(open.whom.incident, open.whom.boot, &open.whom.node, step, now);
            if let Outcome::GaveUp(reason) | Outcome::Refused(reason) = &outcome {
                self.alarm(format!("{write:?} of {}: {reason}", open.object));
            }
        }
        self.route(open, outcome, now);
    }

    fn route(&mut self, open: Open, outcome: Outcome, now: Instant) {
        let subject = open.whom.subject;
        match &outcome {
            Outcome::Done(Answer::Node(node)) => self.node_seen(node.clone(), now),
            Outcome::Done(Answer::Slice(slice)) => self.slices.insert(slice.clone()),
            _ => {}
        }
        if let Purpose::Condition(verdict) = open.purpose {
            self.told(&open.whom, verdict, &outcome, now);
            return;
        }
        if let Purpose::DegradedTaint | Purpose::DegradedUntaint = open.purpose {
            self.degraded_answered(&open.whom, &outcome, now);
            return;
        }
        let Some(mut case) = self.cases.remove(&subject) else {
            return;
        };
        if case.generation == open.whom.generation {
            self.answer(subject, &mut case, open.purpose, outcome, now);
            self.dirty.insert(subject);
        }
        self.cases.insert(subject, case);
    }

    /// The answer to one of the case's calls.
    fn answer(
        &mut self,
        subject: MemberId,
        case: &mut Case,
        purpose: Purpose,
        outcome: Outcome,
        now: Instant,
    ) {
        match purpose {
            Purpose::Taint => self.taint_answered(subject, case, &outcome, now),
            Purpose::Untaint => self.untaint_answered(subject, case, &outcome, now),
            Purpose::Node => {
                case.node_busy = false;
                if !matches!(outcome, Outcome::Done(_)) {
                    case.retry = now + RETRY;
                }
            }
            Purpose::NodeBefore => self.node_before_answered(subject, case, &outcome, now),
            Purpose::Pods => self.pods_answered(subject, case, outcome, now),
            Purpose::Namespace(name) => self.namespace_answered(case, name, &outcome),
            Purpose::Claim(namespace, name) => self.claim_answered(case, namespace, name, &outcome),
            Purpose::Slice(namespace, name) => {
                case.patching.remove(&(namespace, name));
            }
            Purpose::Mark(uid) => self.mark_answered(case, &uid, outcome),
            Purpose::Delete(uid) => self.delete_answered(case, &uid, &outcome),
            Purpose::Event
            | Purpose::Condition(_)
            | Purpose::DegradedTaint
            | Purpose::DegradedUntaint
            | Purpose::Ledger
            | Purpose::ReadLedger => {}
        }
    }
}

/// In words.
fn failure(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(_) => String::from("done"),
        Outcome::Conflict => String::from("changed meanwhile"),
        Outcome::Missing => String::from("not there any more"),
        Outcome::Refused(reason) => format!("refused: {reason}"),
        Outcome::GaveUp(reason) => format!("given up: {reason}"),
        Outcome::Stale => String::from("not tried: what it was decided on does not hold any more"),
    }
}
