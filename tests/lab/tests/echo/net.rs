//! The network of the echo's tests.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use detector::datapath::EchoMode;
use detector_lab::echo::{Asker, Host, PORT};
use detector_lab::mounts::{BPFFS, in_own_mounts};
use detector_lab::netns::{Bridge, Namespace, add_address};
use detector_lab::process::Running;

/// The host that answers.
pub(crate) const SUBJECT: u64 = 0x5b;
/// The host that asks.
pub(crate) const ASKER: u64 = 0xa5;
/// The subject's boot id.
pub(crate) const BOOT: u64 = 0xb007;

pub(crate) fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

pub(crate) fn v6(last: u16) -> IpAddr {
    IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, last])
}

/// The subject, which knows the asker.
pub(crate) fn subject(echo: &str) -> Host {
    Host {
        id: SUBJECT,
        boot: BOOT,
        incarnation: 1,
        echo: echo.to_owned(),
        port: PORT,
        bpffs: BPFFS.into(),
        members: vec![(ASKER, v4(3))],
    }
}

/// Two hosts on a bridge, `eth0` each, with addresses of both families: the subject has .2, the asker .3.
pub(crate) struct Net {
    pub(crate) hub: Namespace,
    pub(crate) subject: Namespace,
    pub(crate) asker: Namespace,
}

/// Runs a test in a network and with mounts of its own.
pub(crate) fn in_a_net(body: impl FnOnce(&Net) -> Result<()> + Send) -> Result<()> {
    in_own_mounts(|| body(&Net::create()?))
}

/// Why this kernel has no tcx (it came with 6.6), where it has none.
pub(crate) fn no_tcx() -> Option<String> {
    let queried = SchedClassifier::query_tcx("lo", TcAttachType::Ingress);
    queried.err().map(|error| error.to_string())
}

/// The best way to echo that this kernel has.
pub(crate) fn best() -> EchoMode {
    if no_tcx().is_none() {
        EchoMode::Tcx
    } else {
        EchoMode::Clsact
    }
}

/// Whether a host says that its one interface has the best way there is; where that is not tcx, also why.
pub(crate) fn ensure_best((mode, reason): (EchoMode, &str)) -> Result<()> {
    let says = match best() {
        EchoMode::Tcx => reason == "eth0 by tcx",
        _ => reason.starts_with("eth0 by clsact ("),
    };
    ensure!(mode == best() && says, "{mode:?}: {reason}");
    Ok(())
}

/// Each question gets one echo, from the kernel.
pub(crate) fn answered_once(asker: &mut Asker) -> Result<()> {
    asker.warm_up()?;
    for _ in 0..5 {
        let echo = asker.answered().context("no echo")?;
        ensure!(echo.health() == 0, "{echo:?}");
    }
    let second = asker.receive()?;
    ensure!(second.is_none(), "a second answer: {second:?}");
    Ok(())
}

impl Net {
    pub(crate) fn create() -> Result<Self> {
        let net = Self {
            hub: Namespace::create("hub")?,
            subject: Namespace::create("subject")?,
            asker: Namespace::create("asker")?,
        };
        let bridge = Bridge::create(&net.hub, "10.77.0.1/24")?;
        bridge.connect(&net.subject, "subject", "10.77.0.2/24")?;
        bridge.connect(&net.asker, "asker", "10.77.0.3/24")?;
        add_address(&net.subject, "eth0", "fd77::2/64")?;
        add_address(&net.asker, "eth0", "fd77::3/64")?;
        Ok(net)
    }

    /// Removes the subject's interface and makes it anew.
    pub(crate) fn reconnect_subject(&self) -> Result<()> {
        self.subject.exec(&["ip", "link", "del", "eth0"])?;
        Bridge::existing(&self.hub).connect(&self.subject, "subject", "10.77.0.2/24")?;
        // Its hardware address is another one.
        self.asker.exec(&["ip", "neigh", "flush", "dev", "eth0"])?;
        Ok(())
    }

    /// Starts the subject as a process of its own; the second is what it says about its echo.
    pub(crate) fn start(&self, host: &Host) -> Result<(Running, String)> {
        host.start(Path::new(env!("CARGO_BIN_EXE_echo_host")), &self.subject)
    }

    pub(crate) fn asker(&self, from: IpAddr, to: IpAddr) -> Result<Asker> {
        Asker::bind(&self.asker, (ASKER, from), (SUBJECT, to))
    }

    /// A socket that waits two seconds at most.
    pub(crate) fn bind(&self, namespace: &Namespace, address: IpAddr, port: u16) -> Result<UdpSocket> {
        let socket = namespace.enter(|| UdpSocket::bind((address, port)))??;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(socket)
    }
}
