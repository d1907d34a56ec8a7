//! What goes in and out of the remedy: plain data, compared by value in tests. Nothing here is carried out.

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::Entry;
use crate::judgement::{Ask, Verdict};
use crate::remedy::ledger::Ledger;
use crate::remedy::object::{Node, Pod, PodRef, Slice, Taint};
use crate::time::Instant;

/// One call of the API, as long as this process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the remedy wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Carry it out, and answer with [`ApiEvent::Answered`].
    Call(Request),
    /// `observe`: what `enforce` would have carried out, to the letter. Not to be carried out, not to be answered.
    Withheld(Request),
    /// For the judge.
    Ask(Ask),
    /// For the incident log.
    Record(Entry),
    /// For a human: something is broken that no retry mends.
    Alarm(String),
}

/// One call and what makes it still valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Comes back with the answer.
    pub id: RequestId,
    /// The suspicion it belongs to; 0: none.
    pub incident: IncidentId,
    /// Asked again before every try; None: always valid.
    pub guard: Option<Guard>,
    /// What is called.
    pub call: Call,
}

/// What must still hold when a request leaves. A stale one is answered with [`Outcome::Stale`], untried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// About whom.
    pub subject: MemberId,
    /// About which boot.
    pub boot: BootId,
    /// What must hold of it.
    pub standing: Standing,
    /// No try begins after this time.
    pub not_after: Instant,
}

/// What a [`Guard`] wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This boot is `Dead`.
    Dead,
    /// This boot is `Dead` or `Leaving`.
    Condemned,
    /// The node, whichever boot, is neither.
    Back,
    /// This boot is `Degraded`, and no pod can start there.
    StartsNoPod,
    /// The node, whichever boot, is neither condemned nor like that, as far as is known.
    StartsPods,
    /// The verdict, whichever boot, is this one.
    Exactly(Verdict),
}

/// One call of the API. Each is one request; none waits for another.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// The ledger's newest state.
    ReadLedger,
    /// A Node's newest state.
    ReadNode {
        /// Name.
        name: String,
    },
    /// All pods with this `spec.nodeName`.
    ListPods {
        /// The node's name.
        node: String,
    },
    /// Whether a namespace opted out.
    ReadNamespace {
        /// Name.
        name: String,
    },
    /// Whether a claim is shared.
    ReadClaim {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Step 0: the whole ledger, if it still has this version.
    Ledger {
        /// The version that was changed.
        resource_version: String,
        /// What is to stand there.
        ledger: Ledger,
    },
    /// Steps 1 and 4, and of a degraded node: the whole list of taints, if the Node still has this UID and version.
    Taints {
        /// Node's name.
        node: String,
        /// Node's UID.
        uid: String,
        /// The version that was changed.
        resource_version: String,
        /// All taints: ours added, or taken away; others' as they were.
        taints: Vec<Taint>,
    },
    /// Step 1: these endpoints of one slice are not ready, if each still is of this node.
    Slice {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The node's name, tested at each position.
        node: String,
        /// Positions in the slice, rising.
        positions: Vec<usize>,
    },
    /// Step 2: Ready=False and DisruptionTarget, in one write, if the pod still has this UID.
    Mark {
        /// Which.
        pod: PodRef,
        /// Wall clock in ms since the epoch: transition time.
        at_ms: u64,
    },
    /// Step 3: gracefully, if the pod still has this UID and version: a kubelet that came back has written its status.
    Delete {
        /// Which.
        pod: PodRef,
        /// The version that our mark made.
        resource_version: String,
    },
    /// The Node's condition [`crate::names::REACHABLE`].
    Condition {
        /// Node's name.
        node: String,
        /// Node's UID.
        uid: String,
        /// What is told.
        verdict: Verdict,
        /// Wall clock in ms since the epoch: transition time.
        at_ms: u64,
    },
    /// An Event about the Node.
    Event {
        /// Node's name.
        node: String,
        /// Node's real UID.
        uid: String,
        /// `Normal` or `Warning`.
        warning: bool,
        /// One word.
        reason: &'static str,
        /// A sentence.
        note: String,
        /// Wall clock in ms since the epoch.
        at_ms: u64,
    },
}

impl Call {
    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::ReadLedger
            | Self::ReadNode { .. }
            | Self::ListPods { .. }
            | Self::ReadNamespace { .. }
            | Self::ReadClaim { .. } => false,
            Self::Ledger { .. }
            | Self::Taints { .. }
            | Self::Slice { .. }
            | Self::Mark { .. }
            | Self::Delete { .. }
            | Self::Condition { .. }
            | Self::Event { .. } => true,
        }
    }
}

/// What the API shows.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiEvent {
    /// A Node, from the watch.
    Node(Node),
    /// A Node is gone.
    NodeGone {
        /// Its UID.
        uid: String,
    },
    /// An EndpointSlice, from the watch.
    Slice(Slice),
    /// An EndpointSlice is gone.
    SliceGone {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// The ledger, from the watch.
    Ledger(LedgerState),
    /// The ConfigMap [`crate::names::SETTINGS`], from the watch: its data key `paused`; None: no such key or object.
    Paused(Option<String>),
    /// A [`Command::Call`] came to its end: each does, once.
    Answered {
        /// Which.
        id: RequestId,
        /// Tries it took.
        tries: u32,
        /// How it ended.
        outcome: Outcome,
    },
}

/// The ledger's ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Of this state.
    pub resource_version: String,
    /// The text under [`crate::remedy::ledger::KEY`]; None: never written.
    pub text: Option<String>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// As asked.
    Done(Answer),
    /// 409, or a test of a JSON patch failed: the object has changed.
    Conflict,
    /// 404.
    Missing,
    /// The API server says no, and will again.
    Refused(String),
    /// Tried until the writer gave up: whether it was done is not known.
    GaveUp(String),
    /// The guard did not hold: not tried (again).
    Stale,
}

/// What the API said to a call that was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing that matters.
    Nothing,
    /// To [`Call::ReadLedger`] and [`Call::Ledger`].
    Ledger(LedgerState),
    /// To [`Call::ReadNode`] and [`Call::Taints`].
    Node(Node),
    /// To [`Call::ListPods`].
    Pods(Vec<Pod>),
    /// To [`Call::ReadNamespace`].
    Namespace {
        /// Annotation `remediation: off`.
        opted_out: bool,
    },
    /// To [`Call::ReadClaim`].
    Claim {
        /// ReadWriteMany and nothing less.
        shared: bool,
    },
    /// To [`Call::Slice`].
    Slice(Slice),
    /// To [`Call::Mark`]: the pod's new resourceVersion.
    Version(String),
}
