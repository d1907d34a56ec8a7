//! A host: power, clock, kernel, and what its CPUs and its hypervisor do to it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use detector::identity::{BootId, MemberId};

use crate::clock::HostClock;
use crate::kernel::Kernel;
use crate::network::{End, Port};

/// The agents' mesh port in the simulation.
pub const MESH_PORT: u16 = 870;

/// The stewards' port.
pub const STEWARD_PORT: u16 = 871;

/// What waits in a receive queue that nobody empties: Linux's `net.core.netdev_max_backlog`.
pub const BACKLOG: usize = 1_000;

/// What waits in a socket that nobody reads: Linux's `net.core.rmem_default`, in bytes with the kernel's overhead.
pub const SOCKET_BYTES: usize = 212_992;

/// What the kernel counts for a datagram besides its bytes.
pub const SOCKET_OVERHEAD: usize = 768;

/// Troubles of a host that are remembered.
const TROUBLES: usize = 32;

/// Where an end is reached.
#[must_use]
pub fn address(end: End) -> SocketAddr {
    let [_, b, c, d] = (end.host + 1).to_be_bytes();
    let port = match end.port {
        Port::Agent => MESH_PORT,
        Port::Steward => STEWARD_PORT,
    };
    SocketAddr::from((Ipv4Addr::new(10, b, c, d), port))
}

/// The end at an address; None: nobody is there.
#[must_use]
pub fn end_of(address: SocketAddr) -> Option<End> {
    let SocketAddr::V4(v4) = address else {
        return None;
    };
    let [10, b, c, d] = v4.ip().octets() else {
        return None;
    };
    let port = match v4.port() {
        MESH_PORT => Port::Agent,
        STEWARD_PORT => Port::Steward,
        _ => return None,
    };
    let host = u32::from_be_bytes([0, b, c, d]).checked_sub(1)?;
    Some(End { host, port })
}

/// What waits in a host's receive queue, by its number in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A probe or an echo.
    Packet(u32),
    /// A sealed datagram.
    Datagram(u32),
}

/// One host.
pub struct Host {
    /// The member id of its agent.
    pub id: MemberId,
    /// The Node's name.
    pub name: String,
    /// This boot; it changes with each start.
    pub boot: BootId,
    /// Its monotonic clock.
    pub clock: HostClock,
    /// Its kernel's maps.
    pub kernel: Kernel,
    /// Whether it has power.
    pub on: bool,
    /// From when, and until when, the hypervisor holds it.
    pub held: Range<u64>,
    /// From when, and until when, its softirqs do not run: arrivals wait, userspace goes on.
    pub starved: Range<u64>,
    /// When anything but the network troubled it lately (power, hypervisor, CPU): the oracle's word for "able".
    pub troubles: VecDeque<u64>,
    /// Arrivals that wait.
    pub waiting: VecDeque<Arrival>,
    /// Arrivals that found the queue full.
    pub overflowed: u64,
}

impl Host {
    /// A host that runs, with nothing heard yet.
    #[must_use]
    pub fn new(id: MemberId, name: String, boot: BootId, clock: HostClock) -> Self {
        let kernel = Kernel::default();
        kernel.me.boot.set(boot.0);
        Self {
            id,
            name,
            boot,
            clock,
            kernel,
            on: true,
            held: 0..0,
            starved: 0..0,
            troubles: VecDeque::new(),
            waiting: VecDeque::new(),
            overflowed: 0,
        }
    }

    /// Power on with empty maps.
    pub fn start(&mut self, boot: BootId) {
        self.boot = boot;
        self.kernel = Kernel::default();
        self.kernel.me.boot.set(boot.0);
        self.on = true;
    }

    /// Power off: everything in memory is gone.
    pub fn stop(&mut self) {
        self.on = false;
        self.waiting.clear();
        self.kernel = Kernel::default();
    }

    /// Something troubles it now.
    pub fn trouble(&mut self, now: u64) {
        if self.troubles.len() >= TROUBLES {
            self.troubles.pop_front();
        }
        self.troubles.push_back(now);
    }

    /// Whether arrivals are taken from the wire at once.
    #[must_use]
    pub fn receives(&self, now: u64) -> bool {
        self.on && !self.held.contains(&now) && !self.starved.contains(&now)
    }

    /// Puts an arrival aside; false: the queue is full, and it is lost.
    pub fn put_aside(&mut self, arrival: Arrival) -> bool {
        if self.waiting.len() >= BACKLOG {
            self.overflowed += 1;
            return false;
        }
        self.waiting.push_back(arrival);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{address, end_of};
    use crate::network::{End, Port};

    #[test]
    fn addresses_lead_back_to_their_ends() {
        for host in [0, 1, 255, 256, 9_999] {
            for port in [Port::Agent, Port::Steward] {
                let end = End { host, port };
                assert_eq!(end_of(address(end)), Some(end));
            }
        }
        assert_eq!(end_of("10.0.0.1:1".parse().expect("an address")), None);
        assert_eq!(end_of("10.0.0.0:870".parse().expect("an address")), None);
        assert_eq!(end_of("[::1]:870".parse().expect("an address")), None);
    }
}
