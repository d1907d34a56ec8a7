//! One subject that is suspected, condemned, or on its way back: what this steward knows of it and does about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::{BootId, IncidentId};
use crate::judgement::{Hold, Verdict};
use crate::message::Farewell;
use crate::remedy::ledger::{self, Progress};
use crate::remedy::object::Pod;
use crate::remedy::policy::Namespace;
use crate::remedy::round::Round;
use crate::time::Instant;

/// What this steward does about a condemned subject, as long as the ledger names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// Another steward's, or nobody's yet.
    Watching,
    /// Step 1: until our taint is answered.
    Tainting,
    /// Tainted. For one that leaves: there is no more to do before it is `Dead`.
    Tainted,
    /// Steps 2 and 3.
    Round(Round),
    /// Until the pods are listed again.
    Between {
        /// When the deletes of the first round were done.
        since: Instant,
        /// Which of [`crate::profile::LATE_PODS`] comes next.
        next: usize,
    },
    /// All done, or nothing that can be done.
    Finished,
}

/// What was read about the pods of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reads {
    /// A list is on its way.
    pub(super) listing: bool,
    /// The newest list, not yet worked on.
    pub(super) pods: Option<Vec<Pod>>,
    /// Of that list.
    pub(super) listed: Instant,
    /// None: on its way.
    pub(super) namespaces: BTreeMap<String, Option<Namespace>>,
    /// By namespace and name, whether it is shared. None: on its way.
    pub(super) claims: BTreeMap<(String, String), Option<bool>>,
}

impl Reads {
    /// Pods (UIDs) that are known to have opted out.
    pub(super) fn opted_out(&self) -> BTreeSet<String> {
        let pods = self.pods.iter().flatten();
        pods.filter(|pod| pod.opted_out || self.namespace(pod) == Some(Namespace::OptedOut))
            .map(|pod| pod.id.uid.clone())
            .collect()
    }

    /// What is known about a pod's namespace; None: not yet.
    pub(super) fn namespace(&self, pod: &Pod) -> Option<Namespace> {
        self.namespaces.get(&pod.id.namespace).copied().flatten()
    }

    /// Whether all claims of a pod are shared; None: not yet known.
    pub(super) fn shared(&self, pod: &Pod) -> Option<bool> {
        let claim = |name: &String| self.claims.get(&(pod.id.namespace.clone(), name.clone()));
        let known: Option<Vec<bool>> = pod
            .claims
            .iter()
            .map(|name| claim(name).copied().flatten())
            .collect();
        known.map(|claims| claims.into_iter().all(|shared| shared))
    }
}

/// One subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// The suspicion's label.
    pub(super) incident: IncidentId,
    /// The boot in question.
    pub(super) boot: BootId,
    /// None: suspected, or found in the ledger or by its taint.
    pub(super) verdict: Option<Verdict>,
    /// It was condemned before, in this boot.
    pub(super) was_condemned: bool,
    /// Of the verdict.
    pub(super) at: Instant,
    /// Wall clock of the verdict.
    pub(super) at_ms: u64,
    /// When our taint of this death was first seen on the Node.
    pub(super) tainted: Option<Instant>,
    /// Of this boot.
    pub(super) goodbye: Option<(Farewell, Instant)>,
    /// Of this boot.
    pub(super) longest_silence: Duration,
    /// Answers to requests of an earlier one fall away.
    pub(super) generation: u64,
    /// What holds it back, as recorded.
    pub(super) hold: Option<Hold>,
    /// This steward wrote the ledger's entry for this verdict.
    pub(super) claimed: bool,
    /// The ledger's entry, and when it last changed, as seen here.
    pub(super) moved: Option<(ledger::Entry, Instant)>,
    /// What is done.
    pub(super) work: Work,
    /// How far this steward has come itself.
    pub(super) progress: Progress,
    /// What was read.
    pub(super) reads: Reads,
    /// When the slices were first patched, and which look is next.
    pub(super) slices: Option<(Instant, usize)>,
    /// Slices with a patch on its way.
    pub(super) patching: BTreeSet<(String, String)>,
    /// A write of the Node's taints, or a read of the Node after one, is on its way.
    pub(super) node_busy: bool,
    /// Nothing of this case is tried again before.
    pub(super) retry: Instant,
    /// Pods (UIDs) that need no more.
    pub(super) settled: BTreeSet<String>,
    /// Pods (UIDs) that bear our mark, by this steward's hand.
    pub(super) marked: BTreeSet<String>,
    /// Pods (UIDs) that are known to have opted out: their endpoints stay.
    pub(super) quiet: BTreeSet<String>,
    /// Deleted so far.
    pub(super) deleted: usize,
    /// Spared so far, by reason.
    pub(super) spared: BTreeMap<&'static str, usize>,
    /// When it was last heard again.
    pub(super) back: Instant,
    /// When the last needed good round came.
    pub(super) good: Option<Instant>,
    /// Untainted: when the endpoints are looked at.
    pub(super) verify: Option<Instant>,
    /// When it wants to be looked at again.
    pub(super) deadline: Instant,
}

impl Case {
    /// A suspicion, or something found.
    pub(super) fn new(incident: IncidentId, boot: BootId, at: Instant, generation: u64) -> Self {
        Self {
            incident,
            boot,
            verdict: None,
            was_condemned: false,
            at,
            at_ms: 0,
            tainted: None,
            goodbye: None,
            longest_silence: Duration::ZERO,
            generation,
            hold: None,
            claimed: false,
            moved: None,
            work: Work::Watching,
            progress: Progress::Leaving,
            reads: Reads::default(),
            slices: None,
            patching: BTreeSet::new(),
            node_busy: false,
            retry: Instant(0),
            settled: BTreeSet::new(),
            marked: BTreeSet::new(),
            quiet: BTreeSet::new(),
            deleted: 0,
            spared: BTreeMap::new(),
            back: at,
            good: None,
            verify: None,
            deadline: Instant::NEVER,
        }
    }

    /// `Dead` or `Leaving`.
    pub(super) fn is_condemned(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Dead | Verdict::Leaving))
    }

    /// `Dead`.
    pub(super) fn is_dead(&self) -> bool {
        self.verdict == Some(Verdict::Dead)
    }

    /// Back to the beginning: what was on its way is forgotten, what was read is read again.
    pub(super) fn restart(&mut self, at: Instant, generation: u64) {
        let mut fresh = Self::new(self.incident, self.boot, at, generation);
        (fresh.verdict, fresh.was_condemned) = (self.verdict, self.was_condemned);
        fresh.at_ms = self.at_ms;
        fresh.tainted = self.tainted.filter(|_| at == self.at);
        fresh.goodbye = self.goodbye;
        fresh.longest_silence = self.longest_silence;
        fresh.hold = self.hold;
        fresh.moved = self.moved.take();
        *self = fresh;
    }
}
