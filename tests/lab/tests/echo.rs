//! The kernel's echo on real interfaces: a subject and an asker in namespaces of their own, on a bridge.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use detector_common::packet::health;
use detector_lab::echo::{Asker, Host, PORT};
use detector_lab::mounts::{BPFFS, in_own_mounts};
use detector_lab::netns::{Bridge, Namespace, add_address};

const HOST: &str = env!("CARGO_BIN_EXE_echo_host");

const SUBJECT: u64 = 0x5b;
const ASKER: u64 = 0xa5;
const BOOT: u64 = 0xb007;

fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn v6(last: u16) -> IpAddr {
    IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, last])
}

/// Two hosts on a bridge, `eth0` each, with addresses of both families: the subject has .2, the asker .3.
struct Net {
    hub: Namespace,
    subject: Namespace,
    asker: Namespace,
}

impl Net {
    fn create() -> Result<Self> {
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

    fn asker(&self, from: IpAddr, to: IpAddr) -> Result<Asker> {
        Asker::bind(&self.asker, (ASKER, from), (SUBJECT, to))
    }
}

fn subject(echo: &str) -> Host {
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

/// Each way to echo, with what the host says about it and the health bit of its echoes.
const WAYS: [(&str, &str, u32); 3] = [
    ("tc", "tcx: eth0 by tcx", 0),
    ("clsact", "clsact: eth0 by clsact (asked for)", 0),
    ("user", "user: asked for", health::USER_ECHO),
];

#[test]
fn every_way_answers_over_both_families() -> Result<()> {
    for (way, says, bits) in WAYS {
        in_own_mounts(|| {
            let net = Net::create()?;
            let (_host, mode) = subject(way).start(Path::new(HOST), &net.subject)?;
            ensure!(mode == says, "{way}: {mode}");
            for (from, to) in [(v4(3), v4(2)), (v6(3), v6(2))] {
                let mut asker = net.asker(from, to)?;
                asker.warm_up()?;
                let echo = asker.ask()?.context("the second question was not answered")?;
                ensure!(
                    (echo.boot.get(), echo.health()) == (BOOT, bits),
                    "{way}: {echo:?}"
                );
                ensure!(echo.agent_age_ms() < 1_000, "{way}: {echo:?}");
            }
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}
