//! Whole frames on an interface, to see checksums and addresses as they are on the wire.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Frames {
    socket: OwnedFd,
}

impl Frames {
    /// Opens it for all protocols.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace
            .enter(|| open(interface))?
            .with_context(|| format!("a packet socket on {interface}"))?;
        Ok(Self { socket })
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// When the interface does not take it whole.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = rustix::net::send(&self.socket, frame, rustix::net::SendFlags::empty())?;
        anyhow::ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }

    /// The next frame that satisfies `wanted`, within a second.
    ///
    /// # Errors
    /// When none comes.
    pub fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut bytes = vec![0; 2_048];
        while Instant::now() < deadline {
            match rustix::net::recv(
                &self.socket,
                bytes.as_mut_slice(),
                rustix::net::RecvFlags::empty(),
            ) {
                Ok((length, _)) => {
                    let frame = bytes.get(..length).unwrap_or_default();
                    if wanted(frame) {
                        return Ok(frame.to_vec());
                    }
                }
                Err(rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("no such frame within a second")
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "constants of C, in the width that its structures have for them"
)]
fn open(interface: &str) -> io::Result<OwnedFd> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no pointers; the descriptor is checked before it is owned.
    let socket = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            i32::from(all),
        )
    };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made, and that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
    // SAFETY: all bytes zero are a valid address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all;
    address.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address lives through the call, and the length is its size.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(Duration::from_millis(100)),
    )?;
    Ok(socket)
}
