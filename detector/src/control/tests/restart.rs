//! A steward and the agents of a large cluster, of which either side starts again at once.

use super::pair::{address, hint, ms};
use crate::control::{Control, Delivery, Transmit};
use crate::identity::MemberId;
use crate::keys::PairSecret;
use crate::time::Instant;

const MEMBERS: u64 = 5_000;
const STEWARD: MemberId = MemberId(1);

/// Datagrams that an end takes before it sends what it has, as its thread does.
const BATCH: usize = 64;

fn member(number: u64) -> MemberId {
    MemberId(1_000 + number)
}

fn secret(number: u64) -> PairSecret {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PairSecret(bytes)
}

fn steward(incarnation: u64) -> Control {
    let mut control = Control::new(STEWARD, incarnation);
    for number in 0..MEMBERS {
        control.set_peer(member(number), address(MemberId(2)), secret(number));
    }
    control
}

fn agent(number: u64, incarnation: u64) -> Control {
    let mut control = Control::new(member(number), incarnation);
    control.set_peer(STEWARD, address(STEWARD), secret(number));
    control
}

struct Cluster {
    steward: Control,
    agents: Vec<Control>,
    now: Instant,
    /// Datagrams under way to the steward.
    wire: Vec<Vec<u8>>,
}

impl Cluster {
    fn hand_to_agents(&mut self) {
        while let Some(Transmit { bytes, .. }) = self.steward.poll_transmit() {
            let to = u64::from_be_bytes(bytes[12..20].try_into().unwrap()) - member(0).0;
            let agent = &mut self.agents[usize::try_from(to).unwrap()];
            let _refused = agent.handle_datagram(&bytes, self.now);
            while let Some(Transmit { bytes, .. }) = agent.poll_transmit() {
                self.wire.push(bytes);
            }
        }
    }

    /// Passes 1 ms, with all that is said in it; how many messages the steward got.
    fn step(&mut self) -> u64 {
        let before = self.steward.counts().received;
        self.now = self.now + ms(1);
        self.steward.handle_timeout(self.now);
        for agent in &mut self.agents {
            agent.handle_timeout(self.now);
            while let Some(Transmit { bytes, .. }) = agent.poll_transmit() {
                self.wire.push(bytes);
            }
        }
        self.hand_to_agents();
        while !self.wire.is_empty() {
            for batch in std::mem::take(&mut self.wire).chunks(BATCH) {
                for bytes in batch {
                    let _refused = self.steward.handle_datagram(bytes, self.now);
                }
                self.hand_to_agents();
            }
        }
        self.steward.counts().received - before
    }

    /// Each agent has one thing to say, every other one 1 ms later; all of it comes within 10 ms.
    fn assert_heard(&mut self) {
        let mut heard = 0;
        for turn in 0..10 {
            for agent in self
                .agents
                .iter_mut()
                .skip(turn)
                .step_by(2)
                .take_while(|_| turn < 2)
            {
                agent.send(STEWARD, &hint(5), Delivery::Reliable, self.now);
            }
            heard += self.step();
        }
        assert_eq!(heard, MEMBERS);
        assert_eq!(self.steward.counts().dropped, 0);
        for (number, agent) in (0..).zip(&self.agents) {
            assert!(self.steward.peer_incarnation(member(number)).is_some());
            assert_eq!(agent.pending(STEWARD), 0);
        }
    }
}

/// Fails when all members share one bucket.
#[test]
fn whoever_starts_again_is_known_within_a_few_milliseconds_also_all_at_once() {
    let mut cluster = Cluster {
        steward: steward(100),
        agents: (0..MEMBERS).map(|number| agent(number, 200)).collect(),
        now: Instant(1_000_000_000),
        wire: Vec::new(),
    };
    cluster.assert_heard();
    // All agents, three times within 30 ms, as in a rollout that crashes.
    for incarnation in 201..204 {
        cluster.agents = (0..MEMBERS).map(|number| agent(number, incarnation)).collect();
        cluster.assert_heard();
        assert_eq!(cluster.steward.peer_incarnation(member(77)), Some(incarnation));
    }
    // The steward.
    cluster.steward = steward(101);
    cluster.assert_heard();
    // Both.
    cluster.steward = steward(102);
    cluster.agents = (0..MEMBERS).map(|number| agent(number, 204)).collect();
    cluster.assert_heard();
}
