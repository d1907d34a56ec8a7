//! IO: the only place where the real-time thread sleeps.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket::MeshSocket;
use crate::clock;
use crate::time::Instant;

/// Sleeps until the socket or the bell has something, or `until` has come.
pub fn wait(socket: &MeshSocket, bell: &impl AsFd, until: Instant) {
    let left = until.since(clock::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let mut fds = [
        PollFd::new(socket, PollFlags::IN),
        PollFd::new(bell, PollFlags::IN),
    ];
    // EINTR is as good as a wake-up: everything is looked at afresh anyway.
    let _woken = poll(&mut fds, Some(&timeout));
    let [socket_fd, _] = &fds;
    if socket_fd.revents().contains(PollFlags::ERR) {
        socket.clear_errors();
    }
}
