//! A cluster: agents on all hosts, three stewards, Kubernetes, and a list of things that go wrong.
//!
//! ```text
//!  faults ─▶ world (agents, stewards' real-time halves) ─▶ judgements ─▶ remedy ─▶ writer ─▶ api
//!                          │                                  │                               │
//!                          └────────── oracle ◀───────────────┘◀──────── watch ◀──────────────┘
//! ```
//!
//! The law, and the bounds of rates and queues, are checked as things happen; a run that breaks one panics there.

mod actions;
mod calls;
mod checks;
mod fault;
mod program;
mod record;
mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use detector::identity::MemberId;
use detector::judgement::{Judgement, Verdict};
use detector::profile::Profile;
use detector::rings::Rings;
use detector::roster::Roster;

use crate::api::Api;
use crate::clock::HostClock;
use crate::host::Host;
use crate::members;
use crate::network::{Delay, End, Network};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::world::{Notice, World};

pub use fault::{Fault, Mishap};
pub use program::{Note, Program};
pub use record::{Record, Sentence};
pub use seat::Seat;

use seat::{Attempt, Reply};

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000 * MS;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The same one gives the same run.
    pub seed: u64,
    /// Hosts, each with an agent.
    pub nodes: u32,
    /// Failure domains, in turn.
    pub zones: u32,
    /// The hosts of the stewards. One beyond `nodes` is a host without an agent.
    pub stewards: Vec<u32>,
    /// The numbers of the protocol.
    pub profile: Profile,
    /// The network's.
    pub delay: Delay,
    /// Replicas of a Deployment `web`; None: no Kubernetes, verdicts only.
    pub replicas: Option<usize>,
    /// Clocks drift by up to so many millionths, either way.
    pub drift_ppm: u64,
}

impl Setup {
    /// `nodes` on a LAN, three stewards on the first of them, verdicts only.
    #[must_use]
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self {
            seed,
            nodes,
            zones: 3,
            stewards: (0..3.min(nodes)).collect(),
            profile: Profile::LAN,
            delay: Delay::LAN,
            replicas: None,
            drift_ppm: 50,
        }
    }
}

enum Later {
    Fault(Fault),
    StartAgent(u32),
    Controllers,
    Watch {
        seat: usize,
        start: u32,
    },
    Judged {
        seat: usize,
        start: u32,
        judgement: Judgement,
    },
    Retry(Box<Attempt>),
    Call(Box<Attempt>),
    Reply(Box<Reply>),
    Remedy {
        seat: usize,
        start: u32,
    },
}

/// The whole of it.
pub struct Cluster {
    setup: Setup,
    rng: Rng,
    world: World<Program>,
    later: Queue<Later>,
    api: Option<Api>,
    api_open: bool,
    controllers_at: u64,
    roster: Rc<Roster>,
    rings: Rc<Rings>,
    seats: Vec<Seat>,
    hosts_of: BTreeMap<MemberId, u32>,
    record: Record,
}

impl Cluster {
    /// Agents start within the first second, at random; stewards at once.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut rng = Rng::new(setup.seed, 0x636c);
        let count = setup
            .stewards
            .iter()
            .map(|host| host + 1)
            .max()
            .unwrap_or(0)
            .max(setup.nodes);
        let hosts = (0..count)
            .map(|host| {
                let drift = rng.below(2 * setup.drift_ppm + 1) as i64 - setup.drift_ppm as i64;
                // Up for up to a month.
                let origin = SECOND + rng.below(2_600_000 * SECOND);
                let clock = HostClock::new(0, origin, drift);
                Host::new(
                    members::agent_id(host),
                    members::name(host),
                    members::boot(&mut rng),
                    clock,
                )
            })
            .collect();
        let network = Network::new(setup.seed, count as usize, setup.delay);
        let seats: Vec<Seat> = setup
            .stewards
            .iter()
            .map(|host| Seat {
                host: *host,
                start: 0,
                id: members::steward_id(*host, 0),
                remedy: None,
                verdicts: detector::remedy::verdicts::Verdicts::default(),
                unseen: VecDeque::new(),
                writes: 0,
                mishap: None,
                wake: u64::MAX,
            })
            .collect();
        let entries: Vec<(u32, MemberId)> = seats.iter().map(|seat| (seat.host, seat.id)).collect();
        let roster = members::roster(setup.nodes, setup.zones, &entries);
        let api = setup.replicas.map(|replicas| {
            let nodes: Vec<(String, String)> = (0..setup.nodes)
                .map(|host| (members::name(host), members::uid(host)))
                .collect();
            let mut api = Api::new(&nodes);
            api.deploy("web", replicas);
            api.take_changes();
            api
        });
        let mut cluster = Self {
            world: World::new(setup.seed, hosts, network),
            rng,
            later: Queue::default(),
            api,
            api_open: true,
            controllers_at: u64::MAX,
            rings: Rc::new(Rings::new(&roster)),
            roster: Rc::new(roster),
            hosts_of: (0..setup.nodes)
                .map(|host| (members::agent_id(host), host))
                .collect(),
            seats,
            record: Record::default(),
            setup,
        };
        for seat in 0..cluster.seats.len() {
            cluster.start_steward(seat);
        }
        for host in 0..cluster.setup.nodes {
            let at = cluster.rng.below(SECOND);
            cluster.later.push(at, Later::StartAgent(host));
        }
        cluster.arm_controllers();
        cluster
    }

    /// This happens at this time.
    pub fn at(&mut self, when: u64, fault: Fault) {
        self.later.push(when, Later::Fault(fault));
    }

    /// Runs until this time of the world.
    pub fn run(&mut self, until: u64) {
        loop {
            let next = self.later.next_at().unwrap_or(u64::MAX).min(until);
            if let Some(notice) = self.world.run(next) {
                self.noticed(notice);
                continue;
            }
            let Some((at, later)) = self.later.pop(until) else {
                break;
            };
            self.happen(later, at);
        }
        self.check_bounds();
    }

    /// Kubernetes goes on until this time; the mesh is left behind, as its stewards are dead.
    ///
    /// # Panics
    /// If one of them is not.
    pub fn run_kubernetes_alone(&mut self, until: u64) {
        assert!(
            self.seats.iter().all(|seat| seat.remedy.is_none()),
            "a steward lives"
        );
        while let Some(api) = &mut self.api
            && api.poll_timeout() <= until
        {
            let at = api.poll_timeout();
            api.handle_timeout(at);
            api.take_changes();
        }
    }

    /// What was judged so far.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Hosts, network, truth.
    #[must_use]
    pub fn world(&self) -> &World<Program> {
        &self.world
    }

    /// Kubernetes.
    ///
    /// # Panics
    /// If the setup has none.
    #[must_use]
    pub fn api(&self) -> &Api {
        self.api.as_ref().expect("the setup has replicas")
    }

    /// The stewards.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// This befalls the steward in this seat right after the API server has carried out its `nth` write from now on.
    pub fn after_write(&mut self, seat: usize, nth: u64, mishap: Mishap) {
        let writes = self.seats[seat].writes;
        self.seats[seat].mishap = Some((writes + nth, mishap));
    }

    /// Whether it has not befallen it yet: there were fewer writes.
    #[must_use]
    pub fn awaits_mishap(&self, seat: usize) -> bool {
        self.seats[seat].mishap.is_some()
    }

    /// The host of a member.
    #[must_use]
    pub fn host_of(&self, member: MemberId) -> Option<u32> {
        self.hosts_of.get(&member).copied()
    }

    /// Whom a host watches by the true roster.
    #[must_use]
    pub fn subjects_of(&self, host: u32) -> Vec<u32> {
        let subjects = self.rings.subjects(members::agent_id(host));
        subjects.iter().filter_map(|id| self.host_of(*id)).collect()
    }

    /// Who watches a host by the true roster.
    #[must_use]
    pub fn observers_of(&self, host: u32) -> Vec<u32> {
        let observers = self.rings.observers(members::agent_id(host));
        observers.iter().filter_map(|id| self.host_of(*id)).collect()
    }

    fn happen(&mut self, later: Later, now: u64) {
        match later {
            Later::Fault(fault) => self.suffer(fault),
            Later::StartAgent(host) => self.start_agent(host),
            Later::Controllers => self.run_controllers(now),
            Later::Watch { seat, start } => self.seen(seat, start),
            Later::Judged {
                seat,
                start,
                judgement,
            } => self.told(seat, start, judgement),
            Later::Retry(attempt) => self.retry(*attempt),
            Later::Call(attempt) => self.call_arrives(&attempt, now),
            Later::Reply(reply) => self.reply_arrives(*reply),
            Later::Remedy { seat, start } => {
                if self.seats[seat].wake == now {
                    self.tell(
                        seat,
                        start,
                        (),
                        |()| Later::Remedy { seat, start },
                        |remedy, (), now| {
                            remedy.handle_timeout(now);
                        },
                    );
                }
            }
        }
    }

    fn noticed(&mut self, notice: Notice<Note>) {
        match notice.note {
            Note::Judged(judgement) => {
                let Some(seat) = self.seats.iter().position(|seat| seat.end() == notice.from) else {
                    return;
                };
                self.write_down(seat, &judgement, notice.at);
                let start = self.seats[seat].start;
                self.told(seat, start, judgement);
            }
            Note::Unheard(boot) => {
                self.record.unheard.push((notice.at, notice.from.host));
                let host = notice.from.host;
                if self.reaches_api(host)
                    && let Some(api) = &mut self.api
                {
                    self.record.says += 1;
                    api.says_alive(&members::name(host), format!("{boot} {}", self.record.says));
                    self.spread();
                }
            }
        }
    }

    fn write_down(&mut self, seat: usize, judgement: &Judgement, at: u64) {
        match judgement {
            Judgement::Changed {
                subject,
                boot,
                verdict,
                evidence,
                ..
            } => {
                let Some(subject) = self.host_of(*subject) else {
                    return;
                };
                let truth = (*verdict == Verdict::Dead).then(|| self.truth(seat, subject, *boot, at));
                self.record.sentences.push(Sentence {
                    at,
                    seat,
                    subject,
                    boot: *boot,
                    verdict: *verdict,
                    evidence: evidence.clone(),
                    truth: truth.clone(),
                });
                self.check_law(truth.as_ref(), seat, subject, at, evidence);
            }
            Judgement::Held { hold, .. } => self.record.holds.push((at, seat, *hold)),
            _ => {}
        }
    }
}
