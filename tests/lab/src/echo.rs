//! Both ends of an echo for tests: a host that answers in a process of its own, and one who asks.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use detector::clock;
use detector::datapath::{Config, Datapath, EchoChoice};
use detector_common::packet::{Be64, Packet, SIZE, kind};
use detector_common::state::PeerKey;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::netns::Namespace;
use crate::process::Running;

/// The port of these tests.
pub const PORT: u16 = 273;

/// How long one waits for what should not come, and for what should.
const QUIET: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(5);

/// A host of these tests: everything that `echo_host` must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Member id.
    pub id: u64,
    /// Boot id.
    pub boot: u64,
    /// The agent's incarnation.
    pub incarnation: u32,
    /// `auto`, `xdp`, `tc`, `clsact` or `user`.
    pub echo: String,
    /// UDP port.
    pub port: u16,
    /// The BPF file system.
    pub bpffs: PathBuf,
    /// The other members.
    pub members: Vec<(u64, IpAddr)>,
}

impl Host {
    /// Opens the datapath as an agent does, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no such echo, the maps cannot be written, or the binary holds no kernel programs.
    pub fn open(&self) -> Result<Datapath> {
        let echo = match self.echo.as_str() {
            "auto" => EchoChoice::Auto,
            "tc" => EchoChoice::Tc,
            "xdp" => EchoChoice::Xdp,
            "clsact" => EchoChoice::Clsact,
            "user" => EchoChoice::User,
            other => bail!("no such echo: {other}"),
        };
        let mut datapath = Datapath::open(&Config {
            port: self.port,
            echo,
            bpffs: self.bpffs.clone(),
            members: self.members.iter().map(|(_, address)| *address).collect(),
        });
        ensure!(
            !datapath.mode().1.contains("built without kernel programs"),
            "the detector was built without kernel programs: run `cargo xtask test`, which builds them first"
        );
        datapath.stamp(clock::now().0)?;
        datapath.set_me(self.id, self.boot, self.incarnation)?;
        let keys = self.members.iter().map(|(id, _)| (*id, pair_key(self.id, *id)));
        datapath.set_peers(&keys.collect())?;
        Ok(datapath)
    }

    /// Starts this host as a process of its own in a namespace, and waits until it answers; the second is what it says
    /// about its echo.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, program: &Path, namespace: &Namespace) -> Result<(Running, String)> {
        let mut running = self.spawn(program, namespace)?;
        let output = running.child().stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the host ended before it was ready");
        Ok((running, line.trim().to_owned()))
    }

    /// Starts this host without waiting.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(&self, program: &Path, namespace: &Namespace) -> Result<Running> {
        let mut command = namespace.command(program);
        command.arg(serde_json::to_string(self)?).stdout(Stdio::piped());
        Running::start(command)
    }
}

/// The tag key of a pair of members, the same from both sides.
#[must_use]
pub fn pair_key(one: u64, other: u64) -> PeerKey {
    let (low, high) = (one.min(other), one.max(other));
    PeerKey {
        k0: low.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        k1: high ^ 0x5bd1_e995_97f4_a7c1,
        id: (low ^ high) & 0xffff,
    }
}

/// A sealed probe with this sequence, sent now.
#[must_use]
pub fn probe(observer: u64, subject: u64, sequence: u64) -> Packet {
    let key = pair_key(observer, subject);
    let mut packet = Packet::new(kind::PROBE, u16::try_from(key.id).unwrap_or(0));
    packet.observer = Be64::new(observer);
    packet.subject = Be64::new(subject);
    packet.sequence = Be64::new(sequence);
    packet.observer_time = Be64::new(clock::now().0);
    packet.seal(key.key());
    packet
}

/// One who asks from a bare socket, without a kernel program of its own.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    observer: u64,
    subject: u64,
    to: SocketAddr,
    sequence: u64,
    /// Questions that nobody waits for any more.
    given_up: BTreeSet<u64>,
}

impl Asker {
    /// Asks from the agents' port of an address in a namespace.
    ///
    /// # Errors
    /// When it is taken.
    pub fn bind(
        namespace: &Namespace,
        (observer, from): (u64, IpAddr),
        (subject, to): (u64, IpAddr),
    ) -> Result<Self> {
        let socket = namespace.enter(|| UdpSocket::bind((from, PORT)))??;
        socket.set_read_timeout(Some(QUIET))?;
        let to = SocketAddr::new(to, PORT);
        Ok(Self {
            socket,
            observer,
            subject,
            to,
            sequence: 1 << 32,
            given_up: BTreeSet::new(),
        })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The next probe, not sent yet.
    pub fn next_probe(&mut self) -> Packet {
        self.sequence += 1;
        probe(self.observer, self.subject, self.sequence)
    }

    /// Sends bytes to the subject's port.
    ///
    /// # Errors
    /// When the socket refuses.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        // An ICMP error of an earlier datagram is reported by the next call, which then has not sent.
        if self.socket.send_to(bytes, self.to).is_err() {
            self.socket.send_to(bytes, self.to)?;
        }
        Ok(())
    }

    /// The next datagram that comes within 5 s: whoever answers may be an ordinary process on a busy machine.
    ///
    /// # Errors
    /// When the socket fails, or nothing comes.
    pub fn await_datagram(&self) -> Result<Vec<u8>> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let received = self.receive();
        self.socket.set_read_timeout(Some(QUIET))?;
        received?.context("no answer")
    }

    /// The next datagram that comes within 200 ms: for what should not come.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; 65_536];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => {
                ensure!(
                    from == self.to,
                    "a datagram from {from}, which is not the subject"
                );
                bytes.truncate(length);
                Ok(Some(bytes))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::WouldBlock
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks once and gives the echo that comes within 5 s, checked to be authentic and of this question.
    ///
    /// # Errors
    /// When something else comes back, or nothing.
    pub fn answered(&mut self) -> Result<Packet> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let echo = self.ask();
        self.socket.set_read_timeout(Some(QUIET))?;
        echo?.context("no answer")
    }

    /// The same within 200 ms: for questions that may stay without an answer. The echo of an earlier one, which was given
    /// up, is passed over.
    ///
    /// # Errors
    /// When something else comes back.
    pub fn ask(&mut self) -> Result<Option<Packet>> {
        let question = self.next_probe();
        self.send(question.as_bytes())?;
        while let Some(bytes) = self.receive()? {
            let echo = self.check(&bytes)?;
            if self.given_up.remove(&echo.sequence.get()) {
                continue;
            }
            ensure!(
                (echo.sequence, echo.observer_time) == (question.sequence, question.observer_time),
                "the echo of another question"
            );
            return Ok(Some(echo));
        }
        self.given_up.insert(question.sequence.get());
        Ok(None)
    }

    fn check(&self, bytes: &[u8]) -> Result<Packet> {
        ensure!(
            bytes.len() <= SIZE,
            "a reply longer than its question: {} bytes",
            bytes.len()
        );
        let echo = Packet::read_from_bytes(bytes)
            .ok()
            .context("a reply of another length")?;
        let key = pair_key(self.observer, self.subject);
        ensure!(echo.kind() == kind::ECHO, "a reply of kind {}", echo.kind());
        ensure!(
            echo.tag.get() == echo.expected_tag(key.key()),
            "a reply whose tag is wrong"
        );
        Ok(echo)
    }

    /// Asks until there is an echo, for 10 seconds at most: neighbours must be found first.
    ///
    /// # Errors
    /// When nothing comes.
    pub fn warm_up(&mut self) -> Result<Packet> {
        for _ in 0..50 {
            if let Some(echo) = self.ask()? {
                return Ok(echo);
            }
        }
        bail!("no echo from {} in 10 seconds", self.to)
    }
}
