//! The network: what of all that is sent arrives, and when.
//!
//! A packet passes its sender's uplink, the path, and its receiver's uplink. Each may lose it: at a rate, in bursts
//! (Gilbert, Elliott: good and bad times of exponential length), by a cut, or by a rule for one pair. Delays are a
//! base and an exponential jitter, so packets overtake each other as they do in life.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// Which socket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The agents' mesh port: probes, echoes, sealed messages.
    Agent,
    /// A steward's.
    Steward,
}

/// One end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The host's index.
    pub host: u32,
    /// The socket.
    pub port: Port,
}

impl End {
    /// The agent of a host.
    #[must_use]
    pub const fn agent(host: u32) -> Self {
        Self {
            host,
            port: Port::Agent,
        }
    }

    /// The steward on a host.
    #[must_use]
    pub const fn steward(host: u32) -> Self {
        Self {
            host,
            port: Port::Steward,
        }
    }
}

/// One-way delay in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// The shortest.
    pub base: u64,
    /// Mean of what is added.
    pub jitter: u64,
    /// The most that is added: a queue is finite.
    pub most: u64,
}

impl Delay {
    /// One data centre: 0.1 ms, and seldom a millisecond more.
    pub const LAN: Self = Self {
        base: 80_000,
        jitter: 30_000,
        most: 2_000_000,
    };

    /// The longest way.
    #[must_use]
    pub const fn longest(&self) -> u64 {
        self.base + self.most
    }
}

/// Outages that come and go by themselves.
#[derive(Clone, Copy, Debug)]
pub struct Bursts {
    /// Mean time between them, in nanoseconds.
    pub good: u64,
    /// Mean length, in nanoseconds.
    pub bad: u64,
    /// What is lost within one, 0 to 1.
    pub loss: f64,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    bursts: Bursts,
    bad: bool,
    until: u64,
}

impl Channel {
    fn loss(&mut self, now: u64, rng: &mut Rng) -> f64 {
        while now >= self.until {
            self.bad = !self.bad;
            let mean = if self.bad {
                self.bursts.bad
            } else {
                self.bursts.good
            };
            self.until += rng.exponential(mean).max(1);
        }
        if self.bad { self.bursts.loss } else { 0.0 }
    }
}

/// A rule for one direction of one pair of hosts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule {
    /// What is lost, 0 to 1.
    pub loss: f64,
    /// Added to the delay, in nanoseconds.
    pub delay: u64,
}

#[derive(Clone, Debug, Default)]
struct Uplink {
    loss_out: f64,
    loss_in: f64,
    dark: bool,
    mesh_closed: bool,
    side: u32,
    outages: Option<Channel>,
}

/// Counts of what was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handed to the network.
    pub sent: u64,
    /// Of those, lost.
    pub lost: u64,
}

/// The network between `n` hosts.
pub struct Network {
    rng: Rng,
    delay: Delay,
    loss: f64,
    uplinks: Vec<Uplink>,
    rules: BTreeMap<(u32, u32), Rule>,
    traffic: Traffic,
}

impl Network {
    /// A network that loses nothing yet.
    #[must_use]
    pub fn new(seed: u64, hosts: usize, delay: Delay) -> Self {
        Self {
            rng: Rng::new(seed, 0x006e_6574),
            delay,
            loss: 0.0,
            uplinks: vec![Uplink::default(); hosts],
            rules: BTreeMap::new(),
            traffic: Traffic::default(),
        }
    }

    /// The delay model.
    #[must_use]
    pub fn delay(&self) -> Delay {
        self.delay
    }

    /// What was offered, and lost.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// From now on every packet is lost with this probability, each way.
    pub fn set_loss(&mut self, loss: f64) {
        self.loss = loss;
    }

    /// What this host sends, and what is sent to it, is lost with these probabilities.
    pub fn set_host_loss(&mut self, host: u32, outgoing: f64, incoming: f64) {
        let uplink = &mut self.uplinks[host as usize];
        (uplink.loss_out, uplink.loss_in) = (outgoing, incoming);
    }

    /// This host's uplink fails in bursts from `now` on; None: no more.
    pub fn set_bursts(&mut self, host: u32, bursts: Option<Bursts>, now: u64) {
        let until = now + bursts.map_or(0, |bursts| self.rng.exponential(bursts.good));
        self.uplinks[host as usize].outages = bursts.map(|bursts| Channel {
            bursts,
            bad: false,
            until,
        });
    }

    /// Nothing comes from or to this host while it is dark.
    pub fn set_dark(&mut self, host: u32, dark: bool) {
        self.uplinks[host as usize].dark = dark;
    }

    /// A firewall drops what is from or for this host's mesh port; all else, the API too, is open.
    pub fn set_mesh_closed(&mut self, host: u32, closed: bool) {
        self.uplinks[host as usize].mesh_closed = closed;
    }

    /// Hosts on different sides do not reach each other. All are on side 0 to begin with.
    pub fn set_side(&mut self, host: u32, side: u32) {
        self.uplinks[host as usize].side = side;
    }

    /// A rule for one direction; the default one ends it.
    pub fn set_rule(&mut self, from: u32, to: u32, rule: Rule) {
        if rule.loss == 0.0 && rule.delay == 0 {
            self.rules.remove(&(from, to));
        } else {
            self.rules.insert((from, to), rule);
        }
    }

    /// Whether anything can come through now: no cut, no partition, no total rule. What the oracle calls a way.
    #[must_use]
    pub fn is_open(&self, from: u32, to: u32) -> bool {
        let (sender, receiver) = (&self.uplinks[from as usize], &self.uplinks[to as usize]);
        let ruled = self.rules.get(&(from, to)).is_some_and(|rule| rule.loss >= 1.0);
        !sender.dark
            && !receiver.dark
            && sender.side == receiver.side
            && sender.loss_out < 1.0
            && receiver.loss_in < 1.0
            && !ruled
    }

    /// Whether this host reaches what is no host of ours: the API server, on side 0 of every partition.
    #[must_use]
    pub fn is_outside(&self, host: u32) -> bool {
        let uplink = &self.uplinks[host as usize];
        !uplink.dark && uplink.side == 0
    }

    /// Something leaves `from` at `now`: when it arrives, or None where it is lost.
    pub fn carry(&mut self, from: End, to: End, now: u64) -> Option<u64> {
        self.traffic.sent += 1;
        let arrival = self.pass(from, to, now);
        if arrival.is_none() {
            self.traffic.lost += 1;
        }
        arrival
    }

    fn pass(&mut self, from: End, to: End, now: u64) -> Option<u64> {
        let mut extra = 0;
        // Within a host nothing is lost: a steward and the agent beside it.
        if from.host == to.host {
            return Some(now + self.delay.base / 8);
        }
        let rng = &mut self.rng;
        let sender = &mut self.uplinks[from.host as usize];
        let side = sender.side;
        if sender.mesh_closed && from.port == Port::Agent {
            return None;
        }
        if sender.dark || rng.chance(sender.loss_out) {
            return None;
        }
        if let Some(outages) = &mut sender.outages {
            let loss = outages.loss(now, rng);
            if rng.chance(loss) {
                return None;
            }
        }
        let receiver = &mut self.uplinks[to.host as usize];
        if receiver.dark || receiver.side != side || rng.chance(receiver.loss_in) {
            return None;
        }
        if receiver.mesh_closed && to.port == Port::Agent {
            return None;
        }
        if let Some(outages) = &mut receiver.outages {
            let loss = outages.loss(now, rng);
            if rng.chance(loss) {
                return None;
            }
        }
        if !self.rules.is_empty()
            && let Some(rule) = self.rules.get(&(from.host, to.host))
        {
            if rng.chance(rule.loss) {
                return None;
            }
            extra = rule.delay;
        }
        if rng.chance(self.loss) {
            return None;
        }
        let jitter = rng.exponential(self.delay.jitter).min(self.delay.most);
        Some(now + self.delay.base + jitter + extra)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bursts, Delay, End, Network, Rule};

    fn share_lost(network: &mut Network, from: u32, to: u32, packets: u64, every: u64) -> f64 {
        let lost = (0..packets)
            .filter(|n| {
                network
                    .carry(End::agent(from), End::agent(to), n * every)
                    .is_none()
            })
            .count();
        lost as f64 / packets as f64
    }

    #[test]
    fn delays_have_their_base_and_mean() {
        let mut network = Network::new(1, 2, Delay::LAN);
        let n = 100_000;
        let delays: Vec<u64> = (0..n)
            .filter_map(|_| network.carry(End::agent(0), End::agent(1), 0))
            .collect();
        assert_eq!(delays.len(), n);
        assert!(
            delays
                .iter()
                .all(|delay| (Delay::LAN.base..=Delay::LAN.longest()).contains(delay))
        );
        let mean = delays.iter().sum::<u64>() as f64 / n as f64;
        let expected = (Delay::LAN.base + Delay::LAN.jitter) as f64;
        assert!((mean - expected).abs() < expected * 0.02, "mean {mean}");
    }

    #[test]
    fn loss_is_independent_and_each_way() {
        let mut network = Network::new(2, 2, Delay::LAN);
        network.set_loss(0.3);
        assert!((share_lost(&mut network, 0, 1, 100_000, 1_000) - 0.3).abs() < 0.01);
        network.set_loss(0.0);
        network.set_host_loss(1, 0.0, 0.5);
        assert!((share_lost(&mut network, 0, 1, 100_000, 1_000) - 0.5).abs() < 0.01);
        assert!(share_lost(&mut network, 1, 0, 1_000, 1_000) == 0.0);
    }

    #[test]
    fn bursts_have_their_mean_length_and_share() {
        let ms = 1_000_000;
        for bad in [5 * ms, 20 * ms, 100 * ms] {
            let mut network = Network::new(bad, 2, Delay::LAN);
            let bursts = Bursts {
                good: 9 * bad,
                bad,
                loss: 1.0,
            };
            network.set_bursts(1, Some(bursts), 0);
            let step = bad / 50;
            let lost: Vec<bool> = (0..2_000_000)
                .map(|n| network.carry(End::agent(0), End::agent(1), n * step).is_none())
                .collect();
            let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
            assert!((share - 0.1).abs() < 0.01, "share {share}");
            let begun = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            let mean = share * lost.len() as f64 * step as f64 / begun / bad as f64;
            assert!((0.9..1.1).contains(&mean), "mean {mean} of {bad}");
        }
    }

    #[test]
    fn cuts_sides_ports_and_rules() {
        let mut network = Network::new(3, 3, Delay::LAN);
        let steward = End::steward(1);
        network.set_dark(1, true);
        assert!(network.carry(End::agent(0), End::agent(1), 0).is_none() && !network.is_open(1, 0));
        network.set_dark(1, false);
        network.set_side(1, 1);
        assert!(network.carry(End::agent(0), End::agent(1), 0).is_none() && !network.is_open(0, 1));
        network.set_side(1, 0);
        network.set_mesh_closed(1, true);
        assert!(network.carry(End::agent(0), End::agent(1), 0).is_none());
        assert!(network.carry(End::agent(0), steward, 0).is_some());
        assert!(network.carry(End::agent(1), End::agent(0), 0).is_none());
        assert!(network.carry(steward, End::agent(0), 0).is_some());
        network.set_mesh_closed(1, false);
        network.set_rule(0, 1, Rule { loss: 1.0, delay: 0 });
        assert!(network.carry(End::agent(0), End::agent(1), 0).is_none());
        assert!(network.carry(End::agent(1), End::agent(0), 0).is_some());
        network.set_rule(0, 1, Rule::default());
        network.set_rule(
            0,
            2,
            Rule {
                loss: 0.0,
                delay: 1 << 40,
            },
        );
        assert!(
            network
                .carry(End::agent(0), End::agent(2), 0)
                .is_some_and(|at| at > 1 << 40)
        );
        assert!(network.is_open(0, 1));
    }
}
