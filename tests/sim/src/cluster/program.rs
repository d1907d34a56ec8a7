//! The real machines as processes of a host.

use std::net::SocketAddr;

use detector::agent::{Agent, AgentCommand};
use detector::identity::BootId;
use detector::judgement::Judgement;
use detector::steward::{Steward, StewardCommand};
use detector::time::Instant;

use crate::kernel::Kernel;
use crate::process::{Output, Process};

/// What a machine tells beyond the mesh.
pub enum Note {
    /// A steward's real-time half, to its other half.
    Judged(Judgement),
    /// An agent whom no probe reaches tells the API that it lives.
    Unheard(BootId),
}

/// Agent or steward.
pub enum Program {
    /// Of a node.
    Agent(Box<Agent>),
    /// The real-time half.
    Steward(Box<Steward>),
}

impl Process for Program {
    type Note = Note;

    fn handle_datagram(&mut self, _from: SocketAddr, bytes: &[u8], now: Instant) {
        // A refusal is counted by the machine itself.
        match self {
            Self::Agent(agent) => agent.handle_sealed(bytes, now),
            Self::Steward(steward) => steward.handle_sealed(bytes, now),
        }
    }

    fn handle_timeout(&mut self, now: Instant, kernel: &Kernel) {
        match self {
            Self::Agent(agent) => {
                kernel.me.agent_stamp.set(now.0);
                agent.handle_timeout(now, kernel);
            }
            Self::Steward(steward) => steward.handle_timeout(now),
        }
    }

    fn poll_output(&mut self, kernel: &mut Kernel) -> Option<Output<Note>> {
        match self {
            Self::Agent(agent) => loop {
                match agent.poll_command()? {
                    AgentCommand::Probe { to, packet } => return Some(Output::Probe { to, packet }),
                    AgentCommand::Datagram(transmit) => {
                        return Some(Output::Datagram {
                            to: transmit.to,
                            bytes: transmit.bytes,
                        });
                    }
                    AgentCommand::Incarnation(incarnation) => {
                        kernel.me.incarnation.set(u64::from(incarnation));
                    }
                    AgentCommand::Peers(keys) => kernel.set_peers(&keys),
                    AgentCommand::Health(bits) => kernel.me.health.set(u64::from(bits)),
                    AgentCommand::Unheard { boot } => return Some(Output::Note(Note::Unheard(boot))),
                    AgentCommand::Event(_) => {}
                }
            },
            Self::Steward(steward) => loop {
                match steward.poll_command()? {
                    StewardCommand::Datagram(transmit) => {
                        return Some(Output::Datagram {
                            to: transmit.to,
                            bytes: transmit.bytes,
                        });
                    }
                    StewardCommand::Judged(judgement) => return Some(Output::Note(Note::Judged(judgement))),
                    StewardCommand::Fellow(_) => {}
                }
            },
        }
    }

    fn poll_timeout(&self) -> Instant {
        match self {
            Self::Agent(agent) => agent.poll_timeout(),
            Self::Steward(steward) => steward.poll_timeout(),
        }
    }
}
