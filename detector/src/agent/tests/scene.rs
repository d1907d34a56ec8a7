//! One agent between members that are tables in memory, and stewards that are bare channels.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use detector_common::state::PeerState;

use crate::agent::{Agent, AgentCommand};
use crate::control::{Control, Delivery};
use crate::identity::{BootId, MemberId};
use crate::keys::PairSecret;
use crate::message::Message;
use crate::observer::Arrivals;
use crate::profile::Profile;
use crate::roster::{Member, PublicKey, Roster, StewardEntry};
use crate::time::Instant;

pub(super) const PORT: u16 = 273;
pub(super) const BOOT: BootId = BootId(77);

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn name(node: u8) -> String {
    format!("node-{node}")
}

pub(super) fn member(node: u8) -> MemberId {
    MemberId::of_node(&name(node))
}

pub(super) fn ip(node: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, node])
}

pub(super) fn secret(a: MemberId, b: MemberId) -> PairSecret {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&a.0.min(b.0).to_be_bytes());
    bytes[8..16].copy_from_slice(&a.0.max(b.0).to_be_bytes());
    PairSecret(bytes)
}

pub(super) fn steward(node: u8) -> StewardEntry {
    StewardEntry {
        id: MemberId::of_steward(&name(node)),
        node: name(node),
        address: SocketAddr::new(ip(node), 274),
        key: PublicKey([node; 32]),
    }
}

/// Nodes 1 to `nodes`; stewards on those named.
pub(super) fn roster(nodes: u8, stewards: &[u8]) -> Roster {
    let of = |node: u8| Member {
        name: name(node),
        uid: name(node),
        addresses: vec![ip(node)],
        zone: String::new(),
        key: Some(PublicKey([node; 32])),
        control_plane: false,
        leaving: false,
    };
    Roster {
        members: (1..=nodes).map(|node| (member(node), of(node))).collect(),
        stewards: stewards.iter().copied().map(steward).collect(),
    }
}

pub(super) fn pairs(own: MemberId, roster: &Roster) -> BTreeMap<MemberId, PairSecret> {
    let stewards = roster.stewards.iter().map(|steward| steward.id);
    let all = roster
        .members
        .keys()
        .copied()
        .chain(stewards)
        .filter(|id| *id != own);
    all.map(|id| (id, secret(own, id))).collect()
}

#[derive(Default)]
pub(super) struct Tables(BTreeMap<MemberId, PeerState>);

impl Arrivals for Tables {
    fn state(&self, peer: MemberId) -> Option<PeerState> {
        self.0.get(&peer).cloned()
    }
}

/// The agent of node 1, and everybody's channel to it.
pub(super) struct Scene {
    pub(super) now: Instant,
    pub(super) agent: Agent,
    pub(super) tables: Tables,
    pub(super) others: BTreeMap<SocketAddr, Control>,
    pub(super) got: Vec<(MemberId, Message)>,
    pub(super) told: Vec<AgentCommand>,
}

impl Scene {
    pub(super) fn new(nodes: u8, stewards: &[u8]) -> Self {
        let now = Instant(1_000_000_000_000);
        let roster = roster(nodes, stewards);
        let own = member(1);
        let mut scene = Self {
            now,
            agent: Agent::new(own, BOOT, 5, PORT, Profile::LAN, now),
            tables: Tables(
                (2..=nodes)
                    .map(|node| (member(node), PeerState::default()))
                    .collect(),
            ),
            others: BTreeMap::new(),
            got: Vec::new(),
            told: Vec::new(),
        };
        let members = (2..=nodes).map(|node| (member(node), SocketAddr::new(ip(node), PORT)));
        let stewards = roster
            .stewards
            .iter()
            .map(|steward| (steward.id, steward.address));
        for (id, address) in members.chain(stewards) {
            let mut control = Control::new(id, id.0);
            control.set_peer(own, SocketAddr::new(ip(1), PORT), secret(own, id));
            scene.others.insert(address, control);
        }
        scene.agent.handle_roster(&roster, &pairs(own, &roster), now);
        scene.run(ms(500));
        scene
    }

    /// Virtual time in steps of one millisecond; a datagram takes no time.
    pub(super) fn run(&mut self, time: Duration) {
        for _ in 0..time.as_millis() {
            self.now = self.now + ms(1);
            if self.agent.poll_timeout() <= self.now {
                self.agent.handle_timeout(self.now, &self.tables);
            }
            for control in self.others.values_mut() {
                control.handle_timeout(self.now);
            }
            while self.pass() {}
        }
    }

    pub(super) fn pass(&mut self) -> bool {
        let mut passed = false;
        while let Some(command) = self.agent.poll_command() {
            passed = true;
            let AgentCommand::Datagram(transmit) = command else {
                self.told.push(command);
                continue;
            };
            let Some(control) = self.others.get_mut(&transmit.to) else {
                continue;
            };
            if let Ok(Some(received)) = control.handle_datagram(&transmit.bytes, self.now) {
                let id = if transmit.to.port() == PORT {
                    member(octet(transmit.to))
                } else {
                    steward(octet(transmit.to)).id
                };
                self.got.push((id, received.message));
            }
        }
        for control in self.others.values_mut() {
            while let Some(transmit) = control.poll_transmit() {
                passed = true;
                self.agent.handle_sealed(&transmit.bytes, self.now);
            }
        }
        passed
    }

    /// `from` says something to the agent.
    pub(super) fn say(&mut self, from: SocketAddr, message: &Message) {
        let control = self.others.get_mut(&from).unwrap();
        control.send(member(1), message, Delivery::Once, self.now);
        while self.pass() {}
    }

    pub(super) fn greetings(&self, from: MemberId) -> usize {
        let greeting =
            |(to, message): &&(MemberId, Message)| *to == from && matches!(message, Message::Greeting(_));
        self.got.iter().filter(greeting).count()
    }

    pub(super) fn heard_from(&mut self, node: u8) {
        self.tables.0[&member(node)].heard_at.set(self.now.0);
    }

    pub(super) fn unheard(&self) -> usize {
        self.told
            .iter()
            .filter(|command| **command == AgentCommand::Unheard { boot: BOOT })
            .count()
    }
}

pub(super) fn octet(address: SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => 0,
    }
}

pub(super) fn at(node: u8) -> SocketAddr {
    SocketAddr::new(ip(node), PORT)
}
