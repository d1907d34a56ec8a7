//! Stewards, a judge and an API in virtual time: least that shows who writes what, when, and in which state of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::MemberId;
use crate::incident::{Entry, Step};
use crate::judgement::{Ask, Judgement};
use crate::profile::Profile;
use crate::remedy::command::{ApiEvent, Call, Command, LedgerState, Outcome, Request};
use crate::remedy::ledger::{self, Ledger};
use crate::remedy::object::{Endpoint, Node, OwnTaint, Owner, Pod, PodRef, Slice, Taint};
use crate::remedy::verdicts::Verdicts;
use crate::remedy::{Config, Mode, Remedy, pause};
use crate::roster::{Member, PublicKey, Roster, StewardEntry};
use crate::time::{Instant, Wall};

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What reaches a steward, and when.
#[derive(Clone, Debug)]
pub(super) enum Post {
    Api(ApiEvent),
    Judgement(Judgement),
    /// A try of a write arrives at the API.
    Arrive(Request),
}

pub(super) struct Steward {
    pub(super) remedy: Remedy,
    /// What its writer asks before each try.
    pub(super) verdicts: Verdicts,
    pub(super) alive: bool,
    pub(super) records: Vec<Entry>,
    pub(super) alarms: Vec<String>,
    pub(super) withheld: Vec<(Duration, Call)>,
    pub(super) asks: Vec<Ask>,
}

pub(super) struct World {
    pub(super) now: Instant,
    version: u64,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) pods: BTreeMap<String, (String, Pod)>,
    pub(super) slices: BTreeMap<String, Slice>,
    pub(super) ledger: LedgerState,
    pub(super) stewards: Vec<Steward>,
    posts: BTreeMap<(Instant, u64), (usize, Post)>,
    posted: u64,
    pub(super) members: Vec<Member>,
    /// Subjects that the judge finds silent.
    pub(super) silent: BTreeSet<MemberId>,
    /// When a look last found the subject silent.
    pub(super) looks: BTreeMap<MemberId, Instant>,
    pub(super) writes: Vec<(Duration, usize, Call)>,
    /// How the API answers instead of doing it.
    pub(super) fault: fn(&Call, usize) -> Option<Outcome>,
    /// How marks of the pod with this name are answered instead.
    pub(super) answer_marks_of: Option<(String, Outcome)>,
    /// Whether watches show what is written.
    pub(super) watches: bool,
    pub(super) reads_of_ledger: usize,
    /// Whether the judge answers looks.
    pub(super) answers_looks: bool,
    /// The watch of the pause switch brings nothing.
    pub(super) switch_fails: bool,
    /// The steward that wrote it dies with this write done (counted from 1), its answer lost.
    pub(super) kill_after: Option<usize>,
    pub(super) latency: Duration,
    mode: Mode,
}

pub(super) const START: Instant = Instant(1_000_000_000_000);

pub(super) fn uid(name: &str) -> String {
    format!("uid-{name}")
}

pub(super) fn id(name: &str) -> MemberId {
    MemberId::of_node(&uid(name))
}

impl World {
    /// Nodes `n0`…, stewards on the last of them, two pods of a ReplicaSet and one DaemonSet pod on each node.
    pub(super) fn new(nodes: usize, stewards: usize, mode: Mode) -> Self {
        let mut world = Self {
            now: START,
            version: 100,
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            slices: BTreeMap::new(),
            ledger: LedgerState {
                resource_version: "1".into(),
                text: None,
            },
            stewards: Vec::new(),
            posts: BTreeMap::new(),
            posted: 0,
            members: Vec::new(),
            silent: BTreeSet::new(),
            looks: BTreeMap::new(),
            writes: Vec::new(),
            fault: |_, _| None,
            answer_marks_of: None,
            watches: true,
            reads_of_ledger: 0,
            answers_looks: true,
            switch_fails: false,
            kill_after: None,
            latency: ms(5),
            mode,
        };
        for n in 0..nodes {
            world.add_node(&format!("n{n}"));
        }
        for _ in 0..stewards {
            world.add_steward();
        }
        world
    }

    fn add_node(&mut self, name: &str) {
        self.members.push(Member {
            name: name.into(),
            uid: uid(name),
            addresses: Vec::new(),
            zone: String::new(),
            key: None,
            control_plane: false,
            leaving: false,
        });
        self.nodes.insert(
            name.into(),
            Node {
                name: name.into(),
                uid: uid(name),
                resource_version: "10".into(),
                taints: vec![Taint {
                    key: "other".into(),
                    value: None,
                    effect: "NoSchedule".into(),
                    time_added: None,
                }],
                ..Node::default()
            },
        );
        for (pod, kind) in [
            ("web-a", "ReplicaSet"),
            ("web-b", "ReplicaSet"),
            ("agent", "DaemonSet"),
        ] {
            self.add_pod(name, pod, kind);
        }
        let endpoints = ["web-a", "web-b"].map(|pod| {
            Some(Endpoint {
                node: name.into(),
                pod: Some(uid(&format!("{name}-{pod}"))),
                ready: true,
            })
        });
        let slice = Slice {
            namespace: "shop".into(),
            name: format!("web-{name}"),
            endpoints: endpoints.to_vec(),
        };
        self.slices.insert(slice.name.clone(), slice);
    }

    pub(super) fn add_pod(&mut self, node: &str, name: &str, kind: &str) {
        let name = format!("{node}-{name}");
        let pod = Pod {
            id: PodRef {
                namespace: "shop".into(),
                name: name.clone(),
                uid: uid(&name),
            },
            resource_version: "20".into(),
            owner: Some(Owner {
                api_version: "apps/v1".into(),
                kind: kind.into(),
                uid: kind.into(),
            }),
            ready: true,
            ..Pod::default()
        };
        self.pods.insert(uid(&name), (node.into(), pod));
    }

    pub(super) fn roster(&self) -> Roster {
        let place = |n: usize| format!("n{}", self.nodes.len() - 1 - n);
        let steward = |n: usize| StewardEntry {
            id: MemberId(n as u64 + 1),
            node: place(n),
            address: ([127, 0, 0, 1], 1).into(),
            key: PublicKey([0; 32]),
        };
        Roster {
            members: self
                .members
                .iter()
                .map(|member| (MemberId::of_node(&member.uid), member.clone()))
                .collect(),
            stewards: (0..self.stewards.len()).map(steward).collect(),
        }
    }

    /// A new process; it sees the world as it is.
    pub(super) fn add_steward(&mut self) -> usize {
        let n = self.stewards.len();
        let config = Config {
            own: MemberId(n as u64 + 1),
            own_node: format!("n{}", self.nodes.len().saturating_sub(1 + n)),
            mode: self.mode,
            profile: Profile::LAN,
            seed: n as u64,
        };
        let wall = Wall {
            at: START,
            ms: 1_767_225_600_000,
        };
        self.stewards.push(Steward {
            remedy: Remedy::new(config, wall),
            verdicts: Verdicts::default(),
            alive: true,
            records: Vec::new(),
            alarms: Vec::new(),
            withheld: Vec::new(),
            asks: Vec::new(),
        });
        let roster = self.roster();
        for steward in &mut self.stewards {
            steward.remedy.set_roster(&roster, self.now);
        }
        let mut shown: Vec<ApiEvent> = self.nodes.values().cloned().map(ApiEvent::Node).collect();
        shown.extend(self.slices.values().cloned().map(ApiEvent::Slice));
        for event in shown {
            self.post(n, Duration::ZERO, Post::Api(event));
        }
        self.post(n, Duration::ZERO, Post::Api(ApiEvent::Paused(None)));
        n
    }

    pub(super) fn post(&mut self, to: usize, after: Duration, post: Post) {
        self.posted += 1;
        self.posts.insert((self.now + after, self.posted), (to, post));
    }

    /// What a watch shows to everybody.
    pub(super) fn show(&mut self, event: &ApiEvent) {
        if !self.watches {
            return;
        }
        for n in 0..self.stewards.len() {
            self.post(n, ms(1), Post::Api(event.clone()));
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..200_000 {
            let post = self
                .posts
                .first_key_value()
                .map_or(Instant::NEVER, |(&(at, _), _)| at);
            let timers = self.stewards.iter().filter(|steward| steward.alive);
            let timer = timers
                .map(|steward| steward.remedy.poll_timeout().max(self.now))
                .min()
                .unwrap_or(Instant::NEVER);
            let next = post.min(timer);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if post <= timer {
                if let Some((_, (to, post))) = self.posts.pop_first() {
                    self.deliver(to, post);
                }
            } else {
                for n in 0..self.stewards.len() {
                    self.with(n, |remedy, now| remedy.handle_timeout(now));
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    fn deliver(&mut self, to: usize, post: Post) {
        match post {
            Post::Api(ApiEvent::Paused(_)) if self.switch_fails => {}
            Post::Api(event) => {
                if let (ApiEvent::Paused(value), Some(steward)) = (&event, self.stewards.get_mut(to)) {
                    steward.verdicts.pause(pause::is_paused(value.as_deref()));
                }
                self.with(to, |remedy, now| remedy.handle_api(event, now));
            }
            Post::Judgement(judgement) => {
                if let Some(steward) = self.stewards.get_mut(to) {
                    steward.verdicts.note(&judgement);
                }
                self.with(to, |remedy, now| remedy.handle_judgement(&judgement, now));
            }
            Post::Arrive(request) => self.arrive(to, &request),
        }
    }

    fn with(&mut self, n: usize, handle: impl FnOnce(&mut Remedy, Instant)) {
        let now = self.now;
        let Some(steward) = self.stewards.get_mut(n).filter(|steward| steward.alive) else {
            return;
        };
        handle(&mut steward.remedy, now);
        while let Some(command) = self
            .stewards
            .get_mut(n)
            .and_then(|steward| steward.remedy.poll_command())
        {
            self.obey(n, command);
        }
    }

    fn obey(&mut self, n: usize, command: Command) {
        let at = self.now - START;
        let half = self.latency / 2;
        let Some(steward) = self.stewards.get_mut(n) else {
            return;
        };
        match command {
            Command::Call(request) => self.post(n, half, Post::Arrive(request)),
            Command::Withheld(request) => steward.withheld.push((at, request.call)),
            Command::Record(entry) => steward.records.push(entry),
            Command::Alarm(alarm) => steward.alarms.push(alarm),
            Command::Ask(ask) => self.ask(n, &ask),
        }
    }

    fn arrive(&mut self, n: usize, request: &Request) {
        let Some(steward) = self.stewards.get(n).filter(|steward| steward.alive) else {
            return;
        };
        let allowed = request
            .guard
            .is_none_or(|guard| steward.verdicts.allow(&guard, self.now));
        let outcome = if allowed {
            (self.fault)(&request.call, self.writes.len()).unwrap_or_else(|| self.carry_out(n, &request.call))
        } else {
            Outcome::Stale
        };
        let half = self.latency / 2;
        let answered = ApiEvent::Answered {
            id: request.id,
            tries: 1,
            outcome,
        };
        self.post(n, half, Post::Api(answered));
        if request.call.is_write() && allowed && self.kill_after == Some(self.writes.len()) {
            self.kill_after = None;
            if let Some(steward) = self.stewards.get_mut(n) {
                steward.alive = false;
            }
        }
    }

    pub(super) fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(super) fn entries(&self) -> Vec<ledger::Entry> {
        Ledger::parse(self.ledger.text.as_deref())
            .map(|ledger| ledger.entries)
            .unwrap_or_default()
    }

    /// Which pods of a node are on their way out.
    pub(super) fn terminating(&self, node: &str) -> Vec<&str> {
        let pods = self
            .pods
            .values()
            .filter(|(on, pod)| on == node && pod.terminating);
        pods.map(|(_, pod)| pod.id.name.as_str()).collect()
    }

    /// Writes about pods, nodes and slices, by their kind: the order of the remediation.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.writes.iter().filter_map(|(.., call)| kind(call)).collect()
    }

    pub(super) fn count(&self, wanted: &str) -> usize {
        self.kinds().into_iter().filter(|&kind| kind == wanted).count()
    }
}

pub(super) fn kind(call: &Call) -> Option<&'static str> {
    match call {
        Call::Ledger { .. } => Some("ledger"),
        Call::Taints { taints, .. } if taints.iter().any(|taint| OwnTaint::Dead.is(taint)) => Some("taint"),
        Call::Taints { taints, .. } if taints.iter().any(Taint::is_ours) => Some("degraded"),
        Call::Taints { .. } => Some("untaint"),
        Call::Slice { .. } => Some("slice"),
        Call::Mark { .. } => Some("mark"),
        Call::Delete { .. } => Some("delete"),
        _ => None,
    }
}

/// The steps of all incidents, without their times.
pub(super) fn steps(steward: &Steward) -> Vec<Step> {
    steward.records.iter().map(|entry| entry.step.clone()).collect()
}
