//! The kernel's answer to probes, and the agent's own where the kernel gives none (IO).
//!
//! ```text
//!  interface ─▶ (`echo_xdp` ─▶) `echo` ─▶ maps ─┐
//!                     │ (what they leave)       ├─▶ Datapath ─▶ observer
//!  socket ─▶ handle_datagram ─▶ memory ─────────┘
//! ```
//!
//! [`Datapath`] is owned by the real-time thread: its methods make system calls on maps, and wait for nobody. Program,
//! links and maps are pinned and outlive the agent; the next agent takes them over, and `detector cleanup` alone removes
//! them. Whatever the kernel leaves (a hook that was lost, a member its maps do not hold) is answered by the agent's
//! socket through the same order of checks, so that a lost hook kills nobody.

mod attach;
mod carrier;
mod choice;
mod cleanup;
mod front;
mod host_key;
mod load;
mod maps;
mod netlink;
mod pins;
mod user;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;

use detector_common::check::Refusal;
use detector_common::count::Count;
use detector_common::state::{Me, PeerKey, PeerState};

pub use self::carrier::Carrier;
pub use self::choice::{EchoChoice, EchoMode};
pub use self::cleanup::{Removed, cleanup, detach};
pub use self::host_key::{pin_host_key, pinned_host_key};
pub use self::pins::{DEFAULT_BPFFS, pinned_keys};
pub use self::user::Handled;

use crate::keys::record::Corrupt;

use self::attach::Hooks;
use self::load::Kernel;
use self::user::UserTables;

/// What went wrong on the way to a kernel echo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary holds no kernel programs.
    #[error("this binary was built without kernel programs (build it with `cargo xtask build`)")]
    NotBuilt,
    /// No place for the pins.
    #[error("{path}: no BPF file system can be mounted there")]
    Bpffs {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The object, its maps or its program were not accepted.
    #[error("loading the kernel program")]
    Load(#[from] aya::EbpfError),
    /// The program was not accepted.
    #[error("loading or attaching the kernel program")]
    Program(#[from] aya::programs::ProgramError),
    /// A map cannot be read or written.
    #[error("the kernel program's maps")]
    Map(#[from] aya::maps::MapError),
    /// A link cannot be used.
    #[error("the kernel program's link")]
    Link(#[from] aya::programs::links::LinkError),
    /// A pin cannot be made.
    #[error("pinning")]
    Pin(#[from] aya::pin::PinError),
    /// The queueing discipline of legacy filters cannot be added.
    #[error("the clsact qdisc")]
    Clsact(#[from] aya::programs::tc::TcError),
    /// Something of the object is missing: it was built from other sources.
    #[error("the kernel object has no {0}")]
    Missing(&'static str),
    /// What is pinned as the host's key is none.
    #[error("the pinned host key {0}")]
    HostKey(&'static str),
    /// The same, as a record.
    #[error("the pinned host key")]
    Record(#[from] Corrupt),
    /// Frames of this interface have no Ethernet header, which the program expects.
    #[error("{name} is no Ethernet interface (hardware type {hardware})")]
    NotEthernet {
        /// The interface.
        name: String,
        /// Its `ARPHRD_` number.
        hardware: u16,
    },
    /// A file or a socket.
    #[error("{what}")]
    Io {
        /// Doing what.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The error with its causes on one line. Of the pages that a verifier writes, the end tells.
    #[must_use]
    pub fn reason(&self) -> String {
        const HEAD: usize = 120;
        const TAIL: usize = 360;
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        let line: Vec<char> = text.replace('\n', " ").chars().collect();
        match (line.get(..HEAD), line.len().checked_sub(TAIL)) {
            (Some(head), Some(from)) if from > HEAD => {
                let tail = line.get(from..).unwrap_or_default();
                format!("{} … {}", String::from_iter(head), String::from_iter(tail))
            }
            _ => String::from_iter(line),
        }
    }
}

/// Where and how to answer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agents' UDP port.
    pub port: u16,
    /// What was asked for.
    pub echo: EchoChoice,
    /// The BPF file system that holds the pins; mounted if it is not.
    pub bpffs: PathBuf,
    /// Addresses of the other members: their routes tell the interfaces. See [`Datapath::set_routes`].
    pub members: Vec<IpAddr>,
}

/// See the head of this module.
pub struct Datapath {
    choice: EchoChoice,
    members: Vec<IpAddr>,
    kernel: Option<Kernel>,
    hooks: Hooks,
    reason: String,
    user: UserTables,
}

impl Datapath {
    /// Loads the program, or takes over what an earlier agent left. Anything that fails leads to the next way, and
    /// [`Self::mode`] tells why. Asked to answer by the socket, it detaches what is there.
    ///
    /// A program whose maps are empty (the first one, or one of another layout) is attached only when it knows whom to
    /// answer: [`Self::set_me`], [`Self::set_peers`]. Until then the program of the agent before goes on, and the socket
    /// answers whom it knew.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        let loaded = match config.echo {
            EchoChoice::User => Err(match detach(&config.bpffs) {
                Ok(_) => "asked for".to_owned(),
                Err(error) => format!(
                    "asked for, but an earlier program cannot be detached: {}",
                    error.reason()
                ),
            }),
            choice => Kernel::load(&config.bpffs, config.port, choice).map_err(|error| error.reason()),
        };
        let (kernel, me, reason) = match loaded {
            Ok((kernel, me)) => (Some(kernel), me, String::new()),
            Err(why) => (None, Me::default(), why),
        };
        let mut user = UserTables::new(me);
        user.set_peers(&pinned_keys(&config.bpffs));
        let mut datapath = Self {
            choice: config.echo,
            members: config.members.clone(),
            kernel,
            hooks: Hooks::default(),
            reason,
            user,
        };
        datapath.attach();
        datapath
    }

    /// How probes are answered now, and why so.
    #[must_use]
    pub fn mode(&self) -> (EchoMode, &str) {
        (self.hooks.mode(), &self.reason)
    }

    /// Attaches wherever the kernel's routes to these addresses lead, and anew where the hook was lost. Nothing is
    /// detached: a route may be away for a moment only. About 3 µs an address.
    pub fn set_routes(&mut self, members: &[IpAddr]) {
        members.clone_into(&mut self.members);
        self.attach();
    }

    fn attach(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        if self.user.me.id.get() == 0 || !kernel.maps.hold_keys() {
            "no member is known yet".clone_into(&mut self.reason);
            return;
        }
        self.hooks.follow_routes(kernel, self.choice, &self.members);
        self.reason = self.hooks.reason();
        kernel.remove_superseded();
    }

    /// Attaches when what was written last was what the program still had to know.
    fn attach_at_last(&mut self) {
        if self.hooks.are_none() {
            self.attach();
        }
    }

    /// Who this node is. Nothing is answered before the id is known.
    ///
    /// # Errors
    /// When the kernel's map cannot be written.
    pub fn set_me(&mut self, id: u64, boot: u64, incarnation: u32) -> Result<(), Error> {
        let me = &self.user.me;
        me.boot.set(boot);
        me.incarnation.set(u64::from(incarnation));
        me.id.set(id);
        self.write_me()?;
        self.attach_at_last();
        Ok(())
    }

    /// The agent's sign of life: monotonic nanoseconds.
    ///
    /// # Errors
    /// When the kernel's map cannot be written.
    pub fn stamp(&mut self, now: u64) -> Result<(), Error> {
        self.user.me.agent_stamp.set(now);
        self.write_me()
    }

    /// Local health, see [`detector_common::packet::health`].
    ///
    /// # Errors
    /// When the kernel's map cannot be written.
    pub fn set_health(&mut self, bits: u32) -> Result<(), Error> {
        self.user.me.health.set(u64::from(bits));
        self.write_me()
    }

    fn write_me(&mut self) -> Result<(), Error> {
        match &mut self.kernel {
            Some(kernel) => kernel.maps.set_me(&self.user.me),
            None => Ok(()),
        }
    }

    /// The members and their pairs' keys: joiners get an empty state, leavers are forgotten, all others keep theirs.
    ///
    /// # Errors
    /// When the kernel's maps cannot take them all (the first error; the rest was done). The agent's socket knows them
    /// all the same.
    pub fn set_peers(&mut self, peers: &BTreeMap<u64, PeerKey>) -> Result<(), Error> {
        self.user.set_peers(peers);
        let written = match &mut self.kernel {
            Some(kernel) => kernel.maps.set_peers(peers),
            None => Ok(()),
        };
        self.attach_at_last();
        written
    }

    /// What was heard of a member, by the kernel and by the socket. `None`: no member, or its state cannot be read.
    #[must_use]
    pub fn state(&self, peer: u64) -> Option<PeerState> {
        let by_socket = self.user.state_of(peer);
        let Some(by_kernel) = self.kernel.as_ref().and_then(|kernel| kernel.maps.state(peer)) else {
            return by_socket.cloned();
        };
        if let Some(by_socket) = by_socket {
            by_kernel.absorb(by_socket);
        }
        Some(by_kernel)
    }

    /// Handles what reached the agent's socket, at `now` (monotonic nanoseconds).
    pub fn handle_datagram(&mut self, datagram: &mut [u8], now: u64) -> Handled {
        self.user.handle(datagram, now)
    }

    /// What became of packets so far: by the kernel (since the program was first loaded), and by the agent's socket.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        let kernel = match &self.kernel {
            Some(kernel) => kernel.maps.counters()?,
            None => BTreeMap::new(),
        };
        Ok(Counters {
            kernel,
            user: self.user.counters().clone(),
        })
    }
}

/// Packets by what became of them. What the kernel refused and could not call its own went on to the socket, and was
/// refused there once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    kernel: BTreeMap<u32, u64>,
    user: BTreeMap<u32, u64>,
}

impl Counters {
    /// By the kernel's program.
    #[must_use]
    pub fn kernel(&self, what: Count) -> u64 {
        self.kernel.get(&what.index()).copied().unwrap_or(0)
    }

    /// By the agent's socket.
    #[must_use]
    pub fn user(&self, what: Count) -> u64 {
        self.user.get(&what.index()).copied().unwrap_or(0)
    }

    /// All that are not zero, by name: the kernel's and the socket's.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&'static str, (u64, u64)> {
        let all = Refusal::ALL.into_iter().map(Count::Refused).chain(Count::OTHERS);
        let counted = all.map(|what| (what.as_str(), (self.kernel(what), self.user(what))));
        counted.filter(|(_, count)| *count != (0, 0)).collect()
    }
}
