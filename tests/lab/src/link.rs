//! Pulls and plugs a cable in microseconds: what a power cut begins with must not wait for a program to start.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};

/// Sets interfaces of the network namespace that it was opened in up or down.
#[derive(Debug)]
pub(crate) struct LinkSwitch {
    socket: OwnedFd,
}

impl LinkSwitch {
    /// For the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: socket(AddressFamily::INET, SocketType::DGRAM, None)?,
        })
    }

    /// Brings an interface up or down.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn set(&self, interface: &str, up: bool) -> io::Result<()> {
        // SAFETY: ifreq is plain data, for which zeros are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        self.call(libc::SIOCGIFFLAGS, &mut request)?;
        let bit = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
        // SAFETY: the kernel has just filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
        self.call(libc::SIOCSIFFLAGS, &mut request)
    }

    fn call(&self, number: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: both requests read and write one ifreq, which outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, std::ptr::from_mut(request)) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
