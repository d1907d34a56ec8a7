//! IO: the mesh socket: UDP, both address families, never blocking, errors told apart.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Probes and echoes leave before bulk traffic of this host (SO_PRIORITY; 7 is the highest without CAP_NET_ADMIN
/// being asked for more).
const PRIORITY: u32 = 6;

/// Room for a stall's worth of datagrams: 200 ms of 20 peers at 1,000 a second.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Errors that one call of [`MeshSocket::receive`] skips: a flood of them must not hold up what is due.
const SKIPPED_AT_ONCE: u32 = 32;

/// Errors in a row, two calls of nothing else, that are no network's any more: what ICMP reports clears by being read.
const FAILING_AFTER: u32 = 2 * SKIPPED_AT_ONCE;

/// Errors that one call of [`MeshSocket::clear_errors`] takes from the queue; what is left makes poll return again.
const CLEARED_AT_ONCE: u32 = 256;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left, or the network's answer says that nobody is there (EHOSTUNREACH): silence counts.
    Left,
    /// It did not leave this host (ENOBUFS, ENETDOWN, EPERM …): its silence is our own fault.
    Kept,
}

/// The mesh socket.
pub struct MeshSocket {
    socket: UdpSocket,
    v6: bool,
    skipped: Cell<u64>,
    /// Errors since there was a datagram, or nothing to receive; and the last one's number.
    in_a_row: Cell<(u32, i32)>,
    /// The present fault was told.
    told: Cell<bool>,
}

impl MeshSocket {
    /// Binds the port on all addresses, IPv6 and IPv4, or IPv4 alone where the host has no IPv6.
    ///
    /// # Errors
    /// The port is taken, or below 1024 without CAP_NET_BIND_SERVICE.
    pub fn bind(port: u16) -> io::Result<Self> {
        match Self::open(Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Err(error) if no_such_family(&error) => {
                Self::open(Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            }
            opened => opened,
        }
    }

    /// The port that it is bound to, for tests, which leave the choice to the kernel.
    #[cfg(test)]
    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    fn open(domain: Domain, address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        let v6 = domain == Domain::IPV6;
        if v6 {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        // Best effort: a smaller buffer or priority only makes loss likelier under load.
        let _kept = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _kept = socket.set_priority(PRIORITY);
        recv_err(&socket, v6)?;
        socket.bind(&SockAddr::from(address))?;
        Ok(Self {
            socket: socket.into(),
            v6,
            skipped: Cell::new(0),
            in_a_row: Cell::new((0, 0)),
            told: Cell::new(false),
        })
    }

    /// The next datagram; None: nothing waits, or too many errors came first. Any error is skipped and counted: by
    /// IP_RECVERR whoever can send an ICMP message here chooses its number, and it must not end the thread.
    ///
    /// # Errors
    /// The socket itself is no more (EBADF, ENOTSOCK).
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        for _ in 0..SKIPPED_AT_ONCE {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    self.recovered();
                    return Ok(Some((length, canonical(from))));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.recovered();
                    return Ok(None);
                }
                Err(error) if is_no_socket(&error) => return Err(error),
                Err(error) => {
                    self.skipped.set(self.skipped.get() + 1);
                    let (before, _) = self.in_a_row.get();
                    self.in_a_row
                        .set((before.saturating_add(1), error.raw_os_error().unwrap_or_default()));
                }
            }
        }
        Ok(None)
    }

    fn recovered(&self) {
        self.in_a_row.set((0, 0));
        self.told.set(false);
    }

    /// The error that [`Self::receive`] meets and meets, which poll would return for at once: the thread must not wait
    /// for this socket.
    pub fn fault(&self) -> Option<io::Error> {
        let (errors, last) = self.in_a_row.get();
        (errors >= FAILING_AFTER).then(|| io::Error::from_raw_os_error(last))
    }

    /// The same, once for each time that it comes.
    pub fn untold_fault(&self) -> Option<io::Error> {
        let fault = self.fault()?;
        (!self.told.replace(true)).then_some(fault)
    }

    /// Errors skipped by [`Self::receive`] so far.
    pub fn skipped(&self) -> u64 {
        self.skipped.get()
    }

    /// Sends, and tells whether it left.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> Sent {
        let to = if self.v6 { mapped(to) } else { to };
        // An error that the network reported for an earlier datagram, perhaps to another host, is handed to the next
        // call and clears by it: only one that comes again is about this datagram.
        let mut unreachable = false;
        for _ in 0..3 {
            match self.socket.send_to(bytes, to) {
                Ok(_) => return Sent::Left,
                Err(error) if reported_by_network(&error) || error.kind() == ErrorKind::Interrupted => {
                    unreachable = error.kind() == ErrorKind::HostUnreachable;
                }
                Err(_) => return Sent::Kept,
            }
        }
        if unreachable { Sent::Left } else { Sent::Kept }
    }

    /// Puts another file under the socket's descriptor: calls fail from now on, each in that file's way.
    #[cfg(test)]
    pub(super) fn replace(&self, file: &impl AsRawFd) -> io::Result<()> {
        // SAFETY: both descriptors are open; the socket's is closed and made a copy of the other one in one call.
        match unsafe { libc::dup2(file.as_raw_fd(), self.socket.as_raw_fd()) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Empties the error queue, up to a bound, or poll would report it for ever.
    pub fn clear_errors(&self) {
        use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
        let mut byte = [0_u8; 1];
        for _ in 0..CLEARED_AT_ONCE {
            let mut parts = [io::IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
            if recvmsg(
                &self.socket,
                &mut parts,
                &mut RecvAncillaryBuffer::default(),
                flags,
            )
            .is_err()
            {
                return;
            }
        }
    }
}

impl AsFd for MeshSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Without IP_RECVERR a full queue below the socket (ENOBUFS) counts as sent, and so as lost. A dual-stack socket has
/// the IPv4 option as well, where the kernel lets it.
fn recv_err(socket: &Socket, v6: bool) -> io::Result<()> {
    let v4_set = set_on(socket, libc::IPPROTO_IP, libc::IP_RECVERR);
    if v6 {
        set_on(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        v4_set
    }
}

fn set_on(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the kernel reads `size` bytes of `on`, which lives until the call ends.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn no_such_family(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// What makes every further call fail.
fn is_no_socket(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK))
}

/// ICMP's answers to an earlier datagram: all that Linux makes of them (`icmp_err_convert`, `icmpv6_err_convert`).
fn reported_by_network(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EACCES
                | libc::EPROTO
                | libc::EMSGSIZE
        )
    )
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
    use super::{MeshSocket, SKIPPED_AT_ONCE, Sent};
    use socket2::{Domain, Socket, Type};
    use std::fs::File;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

    fn bound() -> (MeshSocket, u16) {
        let socket = MeshSocket::bind(0).unwrap();
        let port = socket.port().unwrap();
        (socket, port)
    }

    fn wait(socket: &MeshSocket) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&second)).unwrap();
    }

    #[test]
    fn both_families_arrive_with_their_own_addresses() {
        let (socket, port) = bound();
        let (peer, peer_port) = bound();
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            assert_eq!(peer.send(SocketAddr::new(ip, port), b"ping"), Sent::Left);
            wait(&socket);
            let mut buffer = [0; 16];
            let (length, from) = socket.receive(&mut buffer).unwrap().unwrap();
            assert_eq!(
                (&buffer[..length], from),
                (&b"ping"[..], SocketAddr::new(ip, peer_port))
            );
        }
        assert!(socket.receive(&mut [0; 16]).unwrap().is_none());
    }

    #[test]
    fn only_what_is_no_socket_ends_receiving() {
        let (socket, _) = bound();
        // ENOTCONN: an error that no network reports.
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.replace(&stream).unwrap();
        for turn in 1..=3 {
            assert!(socket.receive(&mut [0; 16]).unwrap().is_none());
            assert_eq!(socket.skipped(), turn * u64::from(SKIPPED_AT_ONCE));
            assert_eq!(socket.fault().is_some(), turn >= 2);
        }
        socket.replace(&File::open("/dev/null").unwrap()).unwrap();
        let ended = socket.receive(&mut [0; 16]).unwrap_err();
        assert_eq!(ended.raw_os_error(), Some(libc::ENOTSOCK));
    }

    #[test]
    fn a_fault_is_told_once_and_over_when_the_socket_works_again() {
        let (socket, _) = bound();
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let working = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        working.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            socket.replace(&stream).unwrap();
            assert!(socket.untold_fault().is_none());
            for _ in 0..3 {
                assert!(socket.receive(&mut [0; 16]).unwrap().is_none());
            }
            let told = socket.untold_fault().unwrap();
            assert_eq!(told.raw_os_error(), Some(libc::ENOTCONN));
            assert!(socket.untold_fault().is_none() && socket.fault().is_some());
            socket.replace(&working).unwrap();
            assert!(socket.receive(&mut [0; 16]).unwrap().is_none());
            assert!(socket.fault().is_none());
        }
    }

    #[test]
    fn a_port_without_a_listener_is_sent_to_and_does_not_poison_the_socket() {
        let (socket, port) = bound();
        let (peer, _) = bound();
        let closed = { bound().1 };
        for _ in 0..3 {
            assert_eq!(
                peer.send(SocketAddr::from((Ipv4Addr::LOCALHOST, closed)), b"x"),
                Sent::Left
            );
        }
        peer.clear_errors();
        assert_eq!(
            peer.send(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), b"y"),
            Sent::Left
        );
        wait(&socket);
        assert!(socket.receive(&mut [0; 16]).unwrap().is_some());
        assert!(peer.receive(&mut [0; 16]).unwrap().is_none());
    }
}
