//! IO: the only place where the real-time thread sleeps.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket::MeshSocket;
use crate::clock;
use crate::profile::SLOT;
use crate::time::Instant;

/// Sleeps until the socket or the bell has something, or `until` has come. A socket that fails and fails is not waited
/// for but tried again at the latest after [`SLOT`]: poll would return for it at once, and a real-time thread that never
/// sleeps starves its CPU.
pub fn wait(socket: &MeshSocket, bell: &impl AsFd, until: Instant) {
    let fails = socket.fault().is_some();
    let now = clock::now();
    let until = if fails { until.min(now + SLOT) } else { until };
    let left = until.since(now);
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let bell = PollFd::new(bell, PollFlags::IN);
    // EINTR is as good as a wake-up: everything is looked at afresh anyway.
    if fails {
        let _woken = poll(&mut [bell], Some(&timeout));
        return;
    }
    let mut fds = [PollFd::new(socket, PollFlags::IN), bell];
    let _woken = poll(&mut fds, Some(&timeout));
    let [socket_fd, _] = &fds;
    if socket_fd.revents().contains(PollFlags::ERR) {
        socket.clear_errors();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{SLOT, wait};
    use crate::clock;
    use crate::realtime::mailbox::mailbox;
    use crate::realtime::socket::MeshSocket;
    use crate::time::Instant;
    use socket2::{Domain, Socket, Type};
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::time::Duration;

    /// Nothing that is awaited here takes so long.
    const LONG: Duration = Duration::from_secs(20);

    /// Waits at most [`LONG`] with a bell that does not ring; for how long.
    fn waited(socket: &MeshSocket, until: Instant) -> Duration {
        let (_outbox, inbox) = mailbox::<()>(1).unwrap();
        let began = clock::now();
        wait(socket, &inbox, until);
        clock::now().since(began)
    }

    #[test]
    fn the_deadline_ends_it_not_before_and_at_once_when_it_has_passed() {
        let socket = MeshSocket::bind(0).unwrap();
        let patience = Duration::from_millis(20);
        let until = clock::now() + patience;
        waited(&socket, until);
        assert!(clock::now() >= until);
        assert!(waited(&socket, Instant(0)) < LONG);
    }

    #[test]
    fn a_datagram_ends_it() {
        let socket = MeshSocket::bind(0).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.send_to(b"x", (Ipv4Addr::LOCALHOST, socket.port().unwrap()))
            .unwrap();
        assert!(waited(&socket, clock::now() + LONG) < LONG);
    }

    #[test]
    fn a_post_ends_it() {
        let socket = MeshSocket::bind(0).unwrap();
        let (outbox, inbox) = mailbox(1).unwrap();
        outbox.post(());
        let began = clock::now();
        wait(&socket, &inbox, began + LONG);
        assert!(clock::now().since(began) < LONG);
    }

    /// An ICMP answer is told once: else poll would return at once for ever, and the thread spin.
    #[test]
    fn an_error_that_the_network_reported_ends_one_wait_and_no_more() {
        let socket = MeshSocket::bind(0).unwrap();
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, closed.local_addr().unwrap().port()));
        drop(closed);
        socket.send(nobody, b"x");
        assert!(waited(&socket, clock::now() + LONG) < LONG);
        let patience = Duration::from_millis(20);
        let until = clock::now() + patience;
        waited(&socket, until);
        assert!(clock::now() >= until, "it spins");
    }

    /// poll returns at once for what replaces the socket.
    #[test]
    fn a_socket_that_fails_is_waited_out_and_the_bell_still_heard() {
        let socket = MeshSocket::bind(0).unwrap();
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.replace(&stream).unwrap();
        for _ in 0..2 {
            assert!(socket.receive(&mut [0; 16]).unwrap().is_none());
        }
        let began = clock::now();
        assert!(waited(&socket, began + LONG) >= SLOT);
        assert!(clock::now() < began + LONG);
        let until = clock::now() + SLOT / 4;
        waited(&socket, until);
        assert!(clock::now() >= until, "it spins");
        let (outbox, inbox) = mailbox(1).unwrap();
        outbox.post(());
        // The machine may be busy now and then.
        let rung = || {
            let began = clock::now();
            wait(&socket, &inbox, began + LONG);
            clock::now().since(began) < SLOT
        };
        assert!((0..100).any(|_| rung()));
    }
}
