//! Whether the links that probes leave through have a carrier: rtnetlink tells when something changed, and is asked what.
//!
//! A loss of carrier may be told up to a second late (linkwatch), so this only explains an observer that hears nobody;
//! what keeps it from accusing is that it must have heard somebody.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::netlink::{Netlink, link_events};

/// Members whose routes are asked for: they share a few interfaces.
const SAMPLE: usize = 16;

/// Messages read at a time: what is left wakes us again.
const BACKLOG: usize = 1_024;

/// The carriers of the interfaces with routes to members.
pub struct Carrier {
    events: AsyncFd<OwnedFd>,
    netlink: Netlink,
    members: Vec<IpAddr>,
}

impl Carrier {
    /// Listens within the current runtime.
    ///
    /// # Errors
    /// No netlink socket can be had.
    pub fn open() -> io::Result<Self> {
        let socket = link_events()?;
        // SAFETY: the descriptor is an `OwnedFd`, which names the same socket for as long as it lives, and it is moved
        // into the registration: it is closed only after it was taken out of the poll set.
        let events = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(io::Error::from)?;
        Ok(Self {
            events,
            netlink: Netlink::open()?,
            members: Vec::new(),
        })
    }

    /// The members whose routes count from now on; whether a link to them is up.
    pub fn set_members(&mut self, members: &[IpAddr]) -> bool {
        self.members = members.iter().take(SAMPLE).copied().collect();
        self.is_up()
    }

    /// Waits for a change of any interface; whether a link to members is up then. Safe to drop half-way.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn changed(&mut self) -> io::Result<bool> {
        let mut ready = self.events.readable().await?;
        let mut message = [0_u8; 4_096];
        // Which interface does not matter, nor whether the kernel had to drop some (ENOBUFS): all are asked.
        let mut read = || rustix::net::recv(ready.get_inner(), message.as_mut_slice(), RecvFlags::DONTWAIT);
        for _ in 0..BACKLOG {
            if matches!(read(), Err(Errno::AGAIN)) {
                break;
            }
        }
        ready.clear_ready();
        drop(ready);
        Ok(self.is_up())
    }

    /// Up as long as one interface to a member runs, and where nothing is known.
    fn is_up(&mut self) -> bool {
        let Self { netlink, members, .. } = self;
        members.is_empty()
            || members.iter().any(|member| match netlink.interface_to(*member) {
                Ok(Some(index)) => netlink.link(index).is_ok_and(|link| link.running),
                // The node's own address.
                Ok(None) => true,
                Err(_) => false,
            })
    }
}
