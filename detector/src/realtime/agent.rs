//! IO: the agent's loop on the real-time thread: socket and kernel maps in, probes and datagrams out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use detector_common::packet::Packet;
use serde::Serialize;
use zerocopy::IntoBytes;

use super::mailbox::{Inbox, Outbox};
use super::socket::{MeshSocket, Sent};
use super::thread::Scheduling;
use super::wait::wait;
use super::{BATCH, MAX_DATAGRAM};
use crate::agent::{Agent, AgentCommand, AgentStatus, Event, Neighbours};
use crate::clock;
use crate::datapath::{Datapath, Handled};
use crate::identity::{BootId, MemberId};
use crate::message::Farewell;
use crate::observer::Arrivals;
use crate::time::Instant;

/// How long the goodbye may take: stewards acknowledge it within a round trip, and the kubelet kills after 5 s.
const GOODBYE: Duration = Duration::from_secs(2);

/// What tokio tells the thread.
pub enum ToAgent {
    /// The roster has changed: whom to watch, and where members are reached.
    Roster(Box<Neighbours>, Vec<IpAddr>),
    /// Where members are reached, for an agent that only echoes.
    Routes(Vec<IpAddr>),
    /// Local health, as bits of [`detector_common::packet::health`].
    Health(u32),
    /// Whether a link that probes leave through has a carrier.
    Link(bool),
    /// Say goodbye and end.
    Farewell(Farewell),
    /// Tell [`FromAgent::Status`].
    Status,
}

/// What the thread tells tokio.
pub enum FromAgent {
    /// Nobody asks any more: the API must hear that this boot lives.
    Unheard(BootId),
    /// For the log.
    Event(Event),
    /// The kernel's maps could not be written: the socket answers for those it does not know.
    KernelMaps(String),
    /// The socket fails over and over; it is tried again all the time.
    SocketFault(std::io::Error),
    /// As asked for.
    Status(Box<AgentSnapshot>),
    /// The goodbye is said, and acknowledged or not: the process may end.
    Departed {
        /// Whether every steward has acknowledged it.
        acknowledged: bool,
    },
}

/// Everything that `detector status` shows of an agent.
#[derive(Debug, Serialize)]
pub struct AgentSnapshot {
    /// Who answers probes: tcx, clsact or user.
    pub echo_mode: &'static str,
    /// Why so.
    pub echo_reason: String,
    /// The thread's scheduling.
    pub scheduling: String,
    /// Packets by what became of them: in the kernel, and at the socket.
    pub packets: BTreeMap<&'static str, (u64, u64)>,
    /// Errors at the socket that were skipped: ICMP's answers to earlier datagrams, mostly.
    pub socket_errors: u64,
    /// The error that the socket meets over and over, while it does: nothing is received.
    pub socket_fault: Option<String>,
    /// The machine.
    #[serde(flatten)]
    pub agent: AgentStatus,
}

impl Arrivals for Datapath {
    fn state(&self, peer: MemberId) -> Option<detector_common::state::PeerState> {
        Self::state(self, peer.0)
    }
}

/// The loop's parts.
pub struct AgentLoop {
    /// The machine.
    pub agent: Agent,
    /// Kernel program and maps.
    pub datapath: Datapath,
    /// Own id and boot, for the kernel.
    pub me: (MemberId, BootId),
    /// The mesh socket.
    pub socket: MeshSocket,
    /// From tokio.
    pub inbox: Inbox<ToAgent>,
    /// To tokio.
    pub outbox: Outbox<FromAgent>,
}

impl AgentLoop {
    /// Runs until the goodbye is said.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn run(mut self, scheduling: &Scheduling) -> std::io::Result<()> {
        let mut leave_by: Option<Instant> = None;
        loop {
            // 1. What has arrived, so that it is known before anything is judged.
            self.receive()?;
            if let Some(fault) = self.socket.untold_fault() {
                self.outbox.post(FromAgent::SocketFault(fault));
            }
            // 2. What tokio wants.
            self.inbox.hush();
            while let Some(message) = self.inbox.take() {
                leave_by = self.handle(message, scheduling).or(leave_by);
            }
            // 3. What is due: the stamp first, as it tells that the machine runs.
            let now = clock::now();
            let stamped = self.datapath.stamp(now.0);
            self.tell_failure(stamped);
            self.agent.handle_timeout(now, &self.datapath);
            // 4. What is to be sent.
            self.carry_out();
            if let Some(by) = leave_by
                && (now >= by || !self.agent.is_saying_goodbye())
            {
                self.outbox.post(FromAgent::Departed {
                    acknowledged: !self.agent.is_saying_goodbye(),
                });
                return Ok(());
            }
            // 5. The deadline is armed after all state has changed.
            let until = self.agent.poll_timeout().min(leave_by.unwrap_or(Instant::NEVER));
            wait(&self.socket, &self.inbox, until);
        }
    }

    fn receive(&mut self) -> std::io::Result<()> {
        let mut buffer = [0_u8; MAX_DATAGRAM];
        for _ in 0..BATCH {
            let Some((length, from)) = self.socket.receive(&mut buffer)? else {
                return Ok(());
            };
            let Some(datagram) = buffer.get_mut(..length) else {
                continue;
            };
            let now = clock::now();
            match self.datapath.handle_datagram(datagram, now.0) {
                // An echo that cannot leave is as lost as on the wire: the observer counts.
                Handled::Reply => _ = self.socket.send(from, datagram),
                // Refusals are counted by the channel.
                Handled::Sealed => self.agent.handle_sealed(datagram, now),
                Handled::Noted | Handled::Refused(_) => {}
            }
        }
        Ok(())
    }

    /// Until when to leave, if it is to.
    fn handle(&mut self, message: ToAgent, scheduling: &Scheduling) -> Option<Instant> {
        let now = clock::now();
        match message {
            ToAgent::Roster(neighbours, addresses) => {
                self.datapath.set_routes(&addresses);
                self.agent.handle_neighbours(*neighbours, now);
            }
            ToAgent::Routes(addresses) => self.datapath.set_routes(&addresses),
            ToAgent::Health(bits) => self.agent.handle_health(bits, now),
            ToAgent::Link(up) => self.agent.handle_link(up, now),
            ToAgent::Farewell(farewell) => {
                self.agent.handle_farewell(farewell, now);
                return Some(now + GOODBYE);
            }
            ToAgent::Status => {
                let (mode, reason) = self.datapath.mode();
                let snapshot = AgentSnapshot {
                    echo_mode: mode.as_str(),
                    echo_reason: reason.to_owned(),
                    scheduling: scheduling.to_string(),
                    packets: self
                        .datapath
                        .counters()
                        .map(|counters| counters.by_name())
                        .unwrap_or_default(),
                    socket_errors: self.socket.skipped(),
                    socket_fault: self.socket.fault().map(|fault| fault.to_string()),
                    agent: self.agent.status(now, &self.datapath),
                };
                self.outbox.post(FromAgent::Status(Box::new(snapshot)));
            }
        }
        None
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.agent.poll_command() {
            match command {
                AgentCommand::Probe { to, packet } => self.probe(to, &packet),
                AgentCommand::Datagram(transmit) => _ = self.socket.send(transmit.to, &transmit.bytes),
                AgentCommand::Peers(keys) => {
                    let set = self.datapath.set_peers(&keys);
                    self.tell_failure(set);
                }
                AgentCommand::Health(bits) => {
                    let set = self.datapath.set_health(bits);
                    self.tell_failure(set);
                }
                AgentCommand::Incarnation(incarnation) => {
                    let (id, boot) = self.me;
                    let set = self.datapath.set_me(id.0, boot.0, incarnation);
                    self.tell_failure(set);
                }
                AgentCommand::Unheard { boot } => _ = self.outbox.post(FromAgent::Unheard(boot)),
                AgentCommand::Event(event) => _ = self.outbox.post(FromAgent::Event(event)),
            }
        }
    }

    fn probe(&mut self, to: std::net::SocketAddr, packet: &Packet) {
        if self.socket.send(to, packet.as_bytes()) == Sent::Kept {
            self.agent.handle_unsent(packet, clock::now());
        }
    }

    fn tell_failure(&self, result: Result<(), crate::datapath::Error>) {
        if let Err(error) = result {
            self.outbox.post(FromAgent::KernelMaps(error.reason()));
        }
    }
}
