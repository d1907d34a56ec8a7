//! What runs in userspace on a host: a machine behind a socket and one thread, which may be late.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

use detector::time::Instant;
use detector_common::packet::Packet;

use crate::host::{SOCKET_BYTES, SOCKET_OVERHEAD};
use crate::kernel::Kernel;

/// What a process does.
pub enum Output<N> {
    /// Sends a probe from its socket.
    Probe {
        /// Where the subject is asked.
        to: SocketAddr,
        /// Sealed.
        packet: Packet,
    },
    /// Sends a datagram from its socket.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Sealed.
        bytes: Vec<u8>,
    },
    /// Tells the world above (verdicts, signs through the API).
    Note(N),
}

/// A machine with the four verbs, as its host sees it. Times are the host's own clock.
pub trait Process {
    /// What it tells the world above.
    type Note;

    /// A datagram came from this address.
    fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant);

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant, kernel: &Kernel);

    /// The next thing to do.
    fn poll_output(&mut self, kernel: &mut Kernel) -> Option<Output<Self::Note>>;

    /// When it wants to be woken.
    fn poll_timeout(&self) -> Instant;
}

/// A process in its place: its socket's queue, its wake, its stalls.
pub struct Running<P> {
    /// The machine.
    pub machine: P,
    /// The world's time of the wake that counts; others are stale.
    pub wake: u64,
    /// The time of its own clock that this wake is for.
    pub wanted: Instant,
    /// From when, and until when, it gets no CPU.
    pub stalled: Range<u64>,
    socket: VecDeque<(SocketAddr, Vec<u8>)>,
    queued: usize,
    /// Datagrams that found the socket full.
    pub overflowed: u64,
    second: u64,
    sent: u32,
    /// The most packets it has sent within one second.
    pub busiest: u32,
}

impl<P> Running<P> {
    /// A process that has just started.
    #[must_use]
    pub fn new(machine: P) -> Self {
        Self {
            machine,
            wake: u64::MAX,
            wanted: Instant::NEVER,
            stalled: 0..0,
            socket: VecDeque::new(),
            queued: 0,
            overflowed: 0,
            second: 0,
            sent: 0,
            busiest: 0,
        }
    }

    /// Leaves a datagram in the socket, or drops it where it is full.
    pub fn enqueue(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let size = bytes.len() + SOCKET_OVERHEAD;
        if self.queued + size > SOCKET_BYTES {
            self.overflowed += 1;
            return;
        }
        self.queued += size;
        self.socket.push_back((from, bytes));
    }

    /// Whether datagrams wait in its socket.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        !self.socket.is_empty()
    }

    /// Reads the oldest datagram of the socket.
    pub fn dequeue(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let (from, bytes) = self.socket.pop_front()?;
        self.queued -= bytes.len() + SOCKET_OVERHEAD;
        Some((from, bytes))
    }

    /// Counts one packet sent at the world's time `now`.
    pub fn count(&mut self, now: u64) {
        let second = now / 1_000_000_000;
        if second != self.second {
            (self.second, self.sent) = (second, 0);
        }
        self.sent += 1;
        self.busiest = self.busiest.max(self.sent);
    }
}
