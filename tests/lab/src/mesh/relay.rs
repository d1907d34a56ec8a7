//! A wire with a delay: what a host sends goes through this process, from one tap to another, and the way back.
//!
//! The kernels that labs run on may have no netem. A relay of a frame costs some microseconds, and its thread is
//! scheduled as the detector's are, so that load on the machine does not become delay on the wire.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use detector::realtime::thread;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use crate::netns::{self, Namespace};

/// Frames that wait at once beyond this are dropped: a wire that holds a second of a busy network.
const MAX_QUEUE: usize = 65_536;
/// The longest frame of an Ethernet with its header.
const MAX_FRAME: usize = 2_048;
/// Frames taken from one tap before the others have their turn.
const BATCH: usize = 64;

/// How long the way between two hosts takes, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delay {
    /// In the middle.
    pub mean: Duration,
    /// At most so much more or less; frames may overtake each other.
    pub jitter: Duration,
}

/// The process's end of a cable: a tap in the host, and one at the bridge.
#[derive(Debug)]
struct Cable {
    ends: [OwnedFd; 2],
}

/// Carries the frames of all cables until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    cables: Option<Sender<Cable>>,
    wake: Arc<OwnedFd>,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Relay {
    /// Starts a relay whose every passage takes half of the delay: the way between two hosts has two of them.
    pub(super) fn start(delay: Delay, seed: u64) -> Result<Self> {
        let (cables, incoming) = channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let dropped = Arc::new(AtomicU64::new(0));
        let wire = Wire {
            incoming,
            wake: Arc::clone(&wake),
            dropped: Arc::clone(&dropped),
            delay,
            random: SmallRng::seed_from_u64(seed),
            cables: BTreeMap::new(),
            next: 0,
            queue: BinaryHeap::new(),
        };
        let thread = thread::start("relay", true, move |_| wire.run())?;
        Ok(Self {
            cables: Some(cables),
            wake,
            dropped,
            thread: Some(thread),
        })
    }

    /// Connects a host as [`netns::Bridge::connect`] does, by taps instead of a veth pair.
    pub(super) fn connect(&self, hub: &Namespace, host: &Namespace, port: &str, address: &str) -> Result<()> {
        let inside = tap(host, "eth0")?;
        let outside = tap(hub, port)?;
        hub.exec(&["ip", "link", "set", port, "master", "br0", "up"])?;
        netns::add_address(host, "eth0", address)?;
        host.exec(&["ip", "link", "set", "eth0", "up"])?;
        let cable = Cable {
            ends: [inside, outside],
        };
        let sender = self.cables.as_ref().context("the relay was stopped")?;
        sender
            .send(cable)
            .map_err(|_| anyhow::anyhow!("the relay has ended"))?;
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// Frames that found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.cables.take());
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the relay ended early: {error}");
        }
    }
}

/// A tap device inside a namespace, as its owner's end of it; the device goes when the descriptor is closed.
fn tap(namespace: &Namespace, name: &str) -> Result<OwnedFd> {
    namespace
        .enter(|| open_tap(name))?
        .with_context(|| format!("tap {name} in {}", namespace.name()))
}

fn open_tap(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    // SAFETY: ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let kind = libc::IFF_TAP | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(kind).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes one ifreq, which outlives the call.
    let result = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            libc::TUNSETIFF,
            std::ptr::from_mut(&mut request),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// A frame on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    due: Instant,
    /// Of two that are due at once the earlier one leaves first.
    order: u64,
    cable: u64,
    end: usize,
    bytes: Vec<u8>,
}

/// What the thread holds.
struct Wire {
    incoming: Receiver<Cable>,
    wake: Arc<OwnedFd>,
    dropped: Arc<AtomicU64>,
    delay: Delay,
    random: SmallRng,
    cables: BTreeMap<u64, Cable>,
    next: u64,
    queue: BinaryHeap<Reverse<Frame>>,
}

impl Wire {
    /// Until the relay is dropped.
    fn run(mut self) -> io::Result<()> {
        loop {
            loop {
                match self.incoming.try_recv() {
                    Ok(cable) => {
                        self.next += 1;
                        self.cables.insert(self.next, cable);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            self.deliver();
            for (cable, end) in self.wait()? {
                self.take(cable, end);
            }
        }
    }

    /// Sleeps until a frame comes or is due; gives the ends that have something.
    fn wait(&self) -> io::Result<Vec<(u64, usize)>> {
        let ends: Vec<_> = self
            .cables
            .iter()
            .flat_map(|(id, cable)| cable.ends.iter().enumerate().map(|(end, fd)| (*id, end, fd)))
            .collect();
        let mut fds: Vec<_> = ends
            .iter()
            .map(|(_, _, fd)| PollFd::new(*fd, PollFlags::IN))
            .collect();
        fds.push(PollFd::new(&self.wake, PollFlags::IN));
        let limit = self
            .queue
            .peek()
            .map(|Reverse(frame)| frame.due.saturating_duration_since(Instant::now()));
        let limit = limit
            .map(Timespec::try_from)
            .transpose()
            .map_err(io::Error::other)?;
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Emptied; that it may have been empty is no error.
        let _ = rustix::io::read(self.wake.as_fd(), &mut [0; 8]);
        let ready = ends.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((cable, end, _), _)| (*cable, *end)).collect())
    }

    /// Takes what has come to one end of a cable.
    fn take(&mut self, id: u64, end: usize) {
        for _ in 0..BATCH {
            let Some(fd) = self.cables.get(&id).and_then(|cable| cable.ends.get(end)) else {
                return;
            };
            let mut bytes = vec![0; MAX_FRAME];
            match rustix::io::read(fd, bytes.as_mut_slice()) {
                Ok(length) => bytes.truncate(length),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                // One of the two hosts' networks is gone.
                Err(_) => return drop(self.cables.remove(&id)),
            }
            if self.queue.len() >= MAX_QUEUE {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.next += 1;
            let due = Instant::now() + self.passage();
            let frame = Frame {
                due,
                order: self.next,
                cable: id,
                end: 1 - end,
                bytes,
            };
            self.queue.push(Reverse(frame));
        }
    }

    /// Half of the way between two hosts.
    fn passage(&mut self) -> Duration {
        let jitter = self.delay.jitter / 2;
        let least = (self.delay.mean / 2).saturating_sub(jitter);
        least + (jitter * 2).mul_f64(self.random.random::<f64>())
    }

    /// Hands over what is due. A device that is down, or gone, loses it.
    fn deliver(&mut self) {
        let now = Instant::now();
        while self.queue.peek().is_some_and(|Reverse(frame)| frame.due <= now) {
            let Some(Reverse(frame)) = self.queue.pop() else {
                return;
            };
            let end = self
                .cables
                .get(&frame.cable)
                .and_then(|cable| cable.ends.get(frame.end));
            if let Some(fd) = end {
                let _ = rustix::io::write(fd, &frame.bytes);
            }
        }
    }
}
