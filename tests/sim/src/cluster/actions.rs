//! Faults, carried out; processes, started.

use std::rc::Rc;

use detector::agent::{Agent, Neighbours};
use detector::identity::MemberId;
use detector::remedy::{Config, Mode, Remedy};
use detector::rings::Rings;
use detector::roster::Roster;
use detector::steward::Steward;
use detector::time::{Instant, Wall};

use super::seat::EPOCH_MS;
use super::{Cluster, End, Fault, Later, MS, Program};
use crate::host::MESH_PORT;
use crate::members;
use crate::world::World;

impl Cluster {
    pub(super) fn suffer(&mut self, fault: Fault) {
        let now = self.world.now();
        match fault {
            Fault::Crash(host) => {
                self.world.crash(host);
                self.seat_dies_with(host);
                self.kubelets();
            }
            Fault::Boot(host) => {
                let boot = members::boot(&mut self.rng);
                self.world.boot(host, boot);
                self.later.push(now + 300 * MS, Later::StartAgent(host));
                self.kubelets();
            }
            Fault::Goodbye(host, farewell) => {
                self.world.with(End::agent(host), |program, now| {
                    if let Program::Agent(agent) = program {
                        agent.handle_farewell(farewell, now);
                    }
                });
            }
            Fault::KillAgent(host) => self.world.kill(End::agent(host)),
            Fault::StartAgent(host) => self.start_agent(host),
            Fault::Pause(host, length) => {
                self.world.pause(host, length);
                self.kubelet_is_away(host, length);
            }
            Fault::Starve(host, length) => self.world.starve(host, length),
            Fault::Stall(end, length) => self.world.stall(end, length),
            Fault::Lateness(host, lateness) => self.world.set_lateness(host, lateness),
            Fault::Loss(loss) => self.world.network.set_loss(loss),
            Fault::HostLoss(host, outgoing, incoming) => {
                self.world.network.set_host_loss(host, outgoing, incoming);
            }
            Fault::Bursts(host, bursts) => self.world.network.set_bursts(host, bursts, now),
            Fault::Dark(host, dark) => {
                self.world.network.set_dark(host, dark);
                self.kubelets();
            }
            Fault::MeshClosed(host, closed) => self.world.network.set_mesh_closed(host, closed),
            Fault::Side(hosts, side) => {
                for host in hosts {
                    self.world.network.set_side(host, side);
                }
                self.kubelets();
            }
            Fault::Rule(from, to, rule) => self.world.network.set_rule(from, to, rule),
            Fault::Api(open) => self.api_open = open,
            Fault::KillSteward(seat) => self.kill_steward(seat),
            Fault::StartSteward(seat) => self.replace_steward(seat),
            Fault::Roster(host, hosts) => {
                let mut partial = (*self.roster).clone();
                partial
                    .members
                    .retain(|id, _| self.hosts_of.get(id).is_some_and(|host| hosts.contains(host)));
                self.give_roster(host, &partial);
            }
            Fault::TrueRoster => self.spread_roster(),
            Fault::Kubelet(host, up) => {
                self.world.with(End::agent(host), |program, now| {
                    if let Program::Agent(agent) = program {
                        let bits = if up {
                            0
                        } else {
                            detector_common::packet::health::KUBELET_DOWN
                        };
                        agent.handle_health(bits, now);
                    }
                });
            }
        }
    }

    /// Whether this host reaches the API server, which is on side 0 of every partition.
    pub(super) fn reaches_api(&self, host: u32) -> bool {
        let state = self.world.host(host);
        self.api_open
            && state.on
            && !state.held.contains(&self.world.now())
            && self.world.network.is_outside(host)
    }

    /// Tells the API whose kubelet reaches it.
    pub(super) fn kubelets(&mut self) {
        let now = self.world.now();
        let reach: Vec<bool> = (0..self.setup.nodes)
            .map(|host| self.world.host(host).on && self.world.network.is_outside(host))
            .collect();
        if let Some(api) = &mut self.api {
            for (host, reaches) in (0..).zip(reach) {
                api.set_kubelet(&members::name(host), reaches, now);
            }
        }
        self.spread();
    }

    fn kubelet_is_away(&mut self, host: u32, length: u64) {
        let now = self.world.now();
        if let Some(api) = &mut self.api {
            api.set_kubelet(&members::name(host), false, now);
            api.set_kubelet_later(&members::name(host), now + length);
        }
        self.arm_controllers();
    }

    pub(super) fn start_agent(&mut self, host: u32) {
        let state = self.world.host(host);
        if !state.on {
            return;
        }
        let (id, boot, now) = (state.id, state.boot, self.world.clock(host));
        let incarnation = self.rng.word();
        let mut machine = Agent::new(id, boot, incarnation, MESH_PORT, self.setup.profile, now);
        let neighbours = self.neighbours(id, &self.roster, &self.rings);
        machine.handle_neighbours(neighbours, now);
        self.world.me(host, incarnation as u32);
        self.world
            .start(End::agent(host), Program::Agent(Box::new(machine)));
    }

    pub(super) fn start_steward(&mut self, seat: usize) {
        let (host, id) = (self.seats[seat].host, self.seats[seat].id);
        if !self.world.host(host).on {
            return;
        }
        let now = self.world.clock(host);
        let mut machine = Steward::new(id, self.rng.word(), MESH_PORT, self.setup.profile, now);
        let pairs = members::steward_pairs(self.setup.seed, id, &self.roster);
        machine.handle_roster(&self.roster, &pairs, now);
        let end = self.seats[seat].end();
        self.world.start(end, Program::Steward(Box::new(machine)));
        if self.api.is_some() {
            self.start_remedy(seat, now);
        }
    }

    fn start_remedy(&mut self, seat: usize, now: Instant) {
        let config = Config {
            own: self.seats[seat].id,
            own_node: members::name(self.seats[seat].host),
            mode: Mode::Enforce,
            profile: self.setup.profile,
            seed: self.rng.word(),
        };
        let wall = Wall {
            at: now,
            ms: EPOCH_MS + self.world.now() / MS,
        };
        let mut remedy = Remedy::new(config, wall);
        remedy.set_roster(&self.roster, now);
        self.seats[seat].remedy = Some(remedy);
        for event in self.api().snapshot() {
            self.watch(seat, event);
        }
        self.settle(seat);
    }

    fn seat_dies_with(&mut self, host: u32) {
        for seat in 0..self.seats.len() {
            if self.seats[seat].host == host {
                self.kill_steward(seat);
            }
        }
    }

    pub(super) fn kill_steward(&mut self, seat: usize) {
        let end = self.seats[seat].end();
        self.world.kill(end);
        let state = &mut self.seats[seat];
        state.remedy = None;
        state.start += 1;
        state.wake = u64::MAX;
        state.mishap = None;
        state.unseen.clear();
    }

    fn replace_steward(&mut self, seat: usize) {
        let state = &mut self.seats[seat];
        state.id = members::steward_id(state.host, state.start);
        state.verdicts = detector::remedy::verdicts::Verdicts::default();
        state.writes = 0;
        let entries: Vec<_> = self.seats.iter().map(|seat| (seat.host, seat.id)).collect();
        self.roster = Rc::new(members::roster(self.setup.nodes, self.setup.zones, &entries));
        self.rings = Rc::new(Rings::new(&self.roster));
        self.start_steward(seat);
        self.spread_roster();
    }

    /// Everybody holds the true roster.
    fn spread_roster(&mut self) {
        let roster = Rc::clone(&self.roster);
        for host in 0..self.setup.nodes {
            self.give_roster(host, &roster);
        }
        for seat in 0..self.seats.len() {
            let (end, id) = (self.seats[seat].end(), self.seats[seat].id);
            let pairs = members::steward_pairs(self.setup.seed, id, &roster);
            self.world.with(end, |program, now| {
                if let Program::Steward(steward) = program {
                    steward.handle_roster(&roster, &pairs, now);
                }
            });
            let now = self.world.clock(self.seats[seat].host);
            if let Some(remedy) = &mut self.seats[seat].remedy {
                remedy.set_roster(&roster, now);
            }
            self.settle(seat);
        }
    }

    fn give_roster(&mut self, host: u32, roster: &Roster) {
        let rings = if *roster == *self.roster {
            Rc::clone(&self.rings)
        } else {
            Rc::new(Rings::new(roster))
        };
        let neighbours = self.neighbours(members::agent_id(host), roster, &rings);
        self.world.with(End::agent(host), |program, now| {
            if let Program::Agent(agent) = program {
                agent.handle_neighbours(neighbours, now);
            }
        });
    }

    fn neighbours(&self, own: MemberId, roster: &Roster, rings: &Rings) -> Neighbours {
        let pairs = members::agent_pairs(self.setup.seed, own, roster, rings);
        Neighbours::new(own, MESH_PORT, roster, rings, &pairs)
    }
}

/// A steward's host may stand still, or its process: until when.
pub(super) fn still_until(world: &World<Program>, seat: &super::Seat) -> Option<u64> {
    let now = world.now();
    let held = &world.host(seat.host).held;
    let held = if held.contains(&now) { held.end } else { 0 };
    let stalled = world.process(seat.end()).map_or(0, |running| {
        if running.stalled.contains(&now) {
            running.stalled.end
        } else {
            0
        }
    });
    Some(held.max(stalled)).filter(|until| *until > now)
}
