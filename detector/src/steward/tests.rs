//! A steward and its agents across sealed datagrams, without a network between.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Steward, StewardCommand};
use crate::control::{Control, Delivery};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::judgement::{Ask, Judgement, Verdict};
use crate::keys::PairSecret;
use crate::message::{Ability, Greeting, Message, Report, Sighting};
use crate::profile::Profile;
use crate::roster::{Member, PublicKey, Roster, StewardEntry};
use crate::time::Instant;

const MS: u64 = 1_000_000;
const PORT: u16 = 700;
const AGENTS: usize = 4;
const STEWARD: MemberId = MemberId(1_000);
const FELLOW: MemberId = MemberId(1_001);

fn agent(number: usize) -> MemberId {
    MemberId(number as u64 + 1)
}

fn boot(number: usize) -> BootId {
    BootId(number as u64 + 100)
}

fn pair(one: MemberId, other: MemberId) -> PairSecret {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(one.0 ^ other.0).to_be_bytes());
    PairSecret(secret)
}

fn roster() -> Roster {
    let members = (0..AGENTS).map(|number| {
        let member = Member {
            name: format!("node-{number}"),
            uid: format!("uid-{number}"),
            addresses: vec![IpAddr::V4(Ipv4Addr::new(
                10,
                0,
                0,
                u8::try_from(number).unwrap() + 1,
            ))],
            zone: String::new(),
            key: Some(PublicKey([1; 32])),
            control_plane: false,
            leaving: false,
        };
        (agent(number), member)
    });
    let steward = |id: MemberId, port: u16| StewardEntry {
        id,
        node: String::from("node-0"),
        address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port)),
        key: PublicKey([2; 32]),
    };
    Roster {
        members: members.collect(),
        stewards: vec![steward(STEWARD, 701), steward(FELLOW, 702)],
    }
}

/// A steward that has a verdict on this member to tell, and when that is.
pub(crate) fn greeted_steward() -> (Steward, MemberId, Instant) {
    let mut world = World::new();
    // The handshake.
    world.say(agent(1), &Message::Heard(Vec::new()));
    let now = Instant(world.now);
    let greeting = Message::Greeting(Greeting {
        boot: boot(1),
        config: Profile::LAN.config_hash(),
        roster: 0,
        health: 0,
    });
    let mut agents = world.agents.into_values();
    let (_, mut control) = agents.find(|(id, _)| *id == agent(1)).unwrap();
    control.send(STEWARD, &greeting, Delivery::Once, now);
    while let Some(transmit) = control.poll_transmit() {
        world.steward.handle_sealed(&transmit.bytes, now);
    }
    (world.steward, agent(1), now)
}

struct World {
    now: u64,
    steward: Steward,
    agents: BTreeMap<SocketAddr, (MemberId, Control)>,
    judgements: Vec<Judgement>,
    /// What agents (and the fellow) received.
    received: Vec<(MemberId, Message)>,
}

impl World {
    fn new() -> Self {
        let roster = roster();
        let now = 1_000_000 * MS;
        let mut steward = Steward::new(STEWARD, 17, PORT, Profile::LAN, Instant(now));
        let ids = roster.members.keys().copied().chain([FELLOW]);
        let pairs = ids.map(|id| (id, pair(STEWARD, id))).collect();
        steward.handle_roster(&roster, &pairs, Instant(now));
        let own = roster.stewards[0].address;
        let peer = |id: MemberId, at: SocketAddr| {
            let mut control = Control::new(id, id.0 * 31);
            control.set_peer(STEWARD, own, pair(STEWARD, id));
            (at, (id, control))
        };
        let agents = roster
            .members
            .iter()
            .map(|(id, member)| peer(*id, member.socket(PORT).unwrap()));
        let fellow = peer(FELLOW, roster.stewards[1].address);
        Self {
            now,
            steward,
            agents: agents.chain([fellow]).collect(),
            judgements: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Everything arrives at once.
    fn deliver(&mut self) {
        let now = Instant(self.now);
        loop {
            let mut quiet = true;
            while let Some(command) = self.steward.poll_command() {
                quiet = false;
                match command {
                    StewardCommand::Judged(judgement) => self.judgements.push(judgement),
                    StewardCommand::Fellow(_) => {}
                    StewardCommand::Datagram(transmit) => {
                        let (id, control) = self.agents.get_mut(&transmit.to).unwrap();
                        if let Ok(Some(received)) = control.handle_datagram(&transmit.bytes, now) {
                            if let Message::Ping(number) = received.message {
                                control.send(STEWARD, &Message::Pong(number), Delivery::Once, now);
                            }
                            self.received.push((*id, received.message));
                        }
                    }
                }
            }
            for (_, control) in self.agents.values_mut() {
                while let Some(transmit) = control.poll_transmit() {
                    quiet = false;
                    self.steward.handle_sealed(&transmit.bytes, now);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn say(&mut self, from: MemberId, message: &Message) {
        let now = Instant(self.now);
        let (_, control) = self.agents.values_mut().find(|(id, _)| *id == from).unwrap();
        control.send(STEWARD, message, Delivery::Once, now);
        self.deliver();
    }

    fn run(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds * MS;
        while self.now < until {
            self.now += MS;
            if self.steward.poll_timeout() <= Instant(self.now) {
                self.steward.handle_timeout(Instant(self.now));
            }
            for (_, control) in self.agents.values_mut() {
                control.handle_timeout(Instant(self.now));
            }
            self.deliver();
        }
    }

    /// For so many seconds these agents greet and see each other.
    fn live(&mut self, agents: &[usize], seconds: u64) {
        for _ in 0..seconds {
            for number in agents {
                let greeting = Greeting {
                    boot: boot(*number),
                    config: Profile::LAN.config_hash(),
                    roster: 0,
                    health: 0,
                };
                self.say(agent(*number), &Message::Greeting(greeting));
                let sightings = agents
                    .iter()
                    .filter(|other| *other != number)
                    .map(|other| Sighting {
                        subject: agent(*other),
                        boot: boot(*other),
                        echo: Duration::from_millis(3),
                        agent: Duration::from_millis(50),
                        health: 0,
                    });
                self.say(agent(*number), &Message::Heard(sightings.collect()));
            }
            self.run(1_000);
        }
    }

    fn verdicts(&self, of: usize) -> Vec<Verdict> {
        let changed = |judgement: &Judgement| match judgement {
            Judgement::Changed { subject, verdict, .. } if *subject == agent(of) => Some(*verdict),
            _ => None,
        };
        self.judgements.iter().filter_map(changed).collect()
    }

    /// Agent 0 dies now: the others report it for so long.
    fn crash(&mut self, milliseconds: u64) {
        let echo = self.now;
        while self.now < echo + milliseconds * MS {
            self.run(10);
            let sent = (echo + 10 * MS..self.now - 5 * MS).step_by(5 * 1_000_000);
            let losses: Vec<Duration> = sent.map(|at| Duration::from_nanos(self.now - at)).collect();
            let newest = losses.len().saturating_sub(60);
            for observer in 1..AGENTS {
                let report = Report {
                    subject: agent(0),
                    boot: boot(0),
                    incident: IncidentId(5),
                    config: Profile::LAN.config_hash(),
                    nonce: 0,
                    ability: Ability::Able,
                    echo: Some(Duration::from_nanos(self.now - echo)),
                    sign: None,
                    loss: 0.0,
                    losses: losses[newest..].to_vec(),
                };
                self.say(agent(observer), &Message::Report(report));
            }
        }
    }
}

#[test]
fn sealed_reports_become_verdicts() {
    let mut world = World::new();
    world.live(&[0, 1, 2, 3], 2);
    assert_eq!(world.verdicts(0), [Verdict::Unknown, Verdict::Alive]);
    world.crash(250);
    assert_eq!(world.verdicts(0)[2..], [Verdict::Dead]);
    for number in 1..AGENTS {
        assert_eq!(world.verdicts(number), [Verdict::Unknown, Verdict::Alive]);
    }
    let status = world.steward.status(Instant(world.now));
    assert_eq!(status.hold, None);
    assert_eq!(status.subjects.len(), AGENTS);
    assert_eq!(status.subjects[0].verdict, Verdict::Dead);
    assert!(status.control["received"] > 80);
}

#[test]
fn looks_go_to_the_observers() {
    let mut world = World::new();
    world.live(&[0, 1, 2, 3], 2);
    world.crash(250);
    let ask = Ask::Look {
        subject: agent(0),
        boot: boot(0),
        nonce: 99,
    };
    world.steward.handle_ask(&ask, Instant(world.now));
    world.deliver();
    let looked = world.received.iter().filter_map(|(to, message)| match message {
        Message::Look(look) => Some((*to, look.nonce)),
        _ => None,
    });
    let looked: Vec<_> = looked.collect();
    assert_eq!(looked, [(agent(1), 99), (agent(2), 99), (agent(3), 99)]);
}

#[test]
fn stewards_greet_each_other_and_judge_nothing_by_it() {
    let mut world = World::new();
    let before = world.steward.judge().counters();
    let greeting = Message::Greeting(Greeting {
        boot: BootId(0),
        config: 0,
        roster: 0,
        health: 0,
    });
    world.say(FELLOW, &greeting);
    world.run(3_050);
    let greeted = world.received.iter().filter(|(to, message)| {
        *to == FELLOW && matches!(message, Message::Greeting(Greeting { boot: BootId(0), .. }))
    });
    assert!((3..=5).contains(&greeted.count()));
    let status = world.steward.status(Instant(world.now));
    assert!(status.fellows[0].connected);
    assert_eq!(status.fellows[0].heard_ms, Some(3_050.0));
    assert_eq!(world.steward.judge().counters(), before);
    world.say(FELLOW, &Message::Ping(1));
    assert_eq!(world.steward.status(Instant(world.now)).control["misdirected"], 1);
}

#[test]
fn who_left_the_roster_is_forgotten() {
    let mut world = World::new();
    world.live(&[0, 1, 2, 3], 2);
    let mut smaller = roster();
    smaller.members.remove(&agent(3));
    smaller.stewards.pop();
    let pairs = smaller
        .members
        .keys()
        .map(|id| (*id, pair(STEWARD, *id)))
        .collect();
    world.steward.handle_roster(&smaller, &pairs, Instant(world.now));
    let status = world.steward.status(Instant(world.now));
    assert_eq!((status.subjects.len(), status.fellows.len()), (3, 0));
    assert_eq!(world.steward.control.peers().count(), 3);
    assert_eq!(status.roster, smaller.hash());
}

#[test]
fn a_status_is_plain_data() {
    let world = World::new();
    let status = world.steward.status(Instant(world.now));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["subjects"][0]["verdict"], "Unknown");
}
