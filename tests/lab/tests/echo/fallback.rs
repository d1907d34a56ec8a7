//! When the kernel gives no echo, the agent's socket does, and says why.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use detector::datapath::{Config, Datapath, EchoChoice, EchoMode, Handled, detach};
use detector_common::packet::health;
use detector_lab::echo::{Asker, Host, PORT, pair_key, probe};
use detector_lab::mounts::BPFFS;
use zerocopy::IntoBytes as _;

use crate::net::{ASKER, BOOT, Net, SUBJECT, best, ensure_best, in_a_net, subject, v4, v6};

fn answered_by_the_socket(net: &Net, host: &Host, why: &str) -> Result<()> {
    let (_host, mode) = net.start(host)?;
    ensure!(mode.starts_with("user: ") && mode.contains(why), "{mode}");
    await_socket(&mut net.asker(v4(3), v4(2))?)
}

/// Asks until the socket answers, and not the kernel, which detaches a link in its own time; no question stays without an
/// answer on the way.
fn await_socket(asker: &mut Asker) -> Result<()> {
    let mut echo = asker.warm_up()?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while echo.health() != health::USER_ECHO {
        ensure!(Instant::now() < deadline, "the hook is still there: {echo:?}");
        // Slower than the bucket of a member fills.
        std::thread::sleep(Duration::from_millis(10));
        echo = asker
            .answered()
            .context("no echo after the hook was taken away")?;
    }
    Ok(())
}

#[test]
fn no_place_for_pins() -> Result<()> {
    in_a_net(|net| {
        let host = Host {
            bpffs: PathBuf::from("/proc/no-such-place"),
            ..subject("auto")
        };
        answered_by_the_socket(net, &host, "/proc/no-such-place: no BPF file system")
    })
}

#[test]
fn no_way_to_any_member() -> Result<()> {
    in_a_net(|net| {
        let host = Host {
            members: vec![(ASKER, "198.51.100.1".parse()?)],
            ..subject("auto")
        };
        answered_by_the_socket(
            net,
            &host,
            "no interface leads to a member: Network is unreachable",
        )
    })
}

#[test]
fn an_interface_without_ethernet_is_left_alone() -> Result<()> {
    in_a_net(|net| {
        net.subject
            .exec(&["ip", "tuntap", "add", "tun0", "mode", "tun"])?;
        net.subject
            .exec(&["ip", "addr", "add", "10.88.0.1/24", "dev", "tun0"])?;
        net.subject.exec(&["ip", "link", "set", "tun0", "up"])?;
        let ids = 100..;
        let addresses = ["10.88.0.2".parse()?, v4(3), v6(3), v4(2)];
        let host = Host {
            members: ids.zip(addresses).collect(),
            ..subject("auto")
        };
        let datapath = net.subject.enter(|| host.open())??;
        let (mode, reason) = datapath.mode();
        ensure!(mode == EchoMode::User, "{reason}");
        ensure!(
            reason.contains("tun0 by user (tun0 is no Ethernet interface (hardware type 65534))"),
            "{reason}"
        );
        let eth0 = format!("eth0 by {}", best().as_str());
        ensure!(reason.contains(&eth0) && !reason.contains("lo by"), "{reason}");
        Ok(())
    })
}

#[test]
fn a_hook_that_was_taken_away_costs_no_echo() -> Result<()> {
    in_a_net(|net| {
        let (_host, _) = net.start(&subject("tc"))?;
        let mut asker = net.asker(v4(3), v4(2))?;
        ensure!(asker.warm_up()?.health() == 0);
        net.subject.enter(|| detach(Path::new(BPFFS)))??;
        await_socket(&mut asker)?;
        let datapath = net.subject.enter(|| subject("tc").open())??;
        ensure_best(datapath.mode())?;
        let echo = asker.answered().context("no echo after the hook was put back")?;
        ensure!(echo.health() == 0, "{echo:?}");
        Ok(())
    })
}

#[test]
fn the_socket_knows_whom_the_agent_before_knew() -> Result<()> {
    in_a_net(|net| {
        drop(net.start(&subject("tc"))?);
        let config = Config {
            port: PORT,
            echo: EchoChoice::User,
            bpffs: BPFFS.into(),
            members: Vec::new(),
        };
        let mut datapath = net.subject.enter(|| Datapath::open(&config))?;
        datapath.set_me(SUBJECT, BOOT, 2)?;
        let mut datagram = probe(ASKER, SUBJECT, 1 << 32).as_bytes().to_vec();
        let handled = datapath.handle_datagram(&mut datagram, 1);
        ensure!(handled == Handled::Reply, "{handled:?}");
        Ok(())
    })
}

#[test]
fn told_to_answer_by_the_socket_an_agent_takes_its_hooks_away() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            drop(net.start(&subject(way))?);
            net.asker(v4(3), v4(2))?.warm_up()?;
            answered_by_the_socket(net, &subject("user"), "asked for")
        })
        .with_context(|| format!("after {way}"))?;
    }
    Ok(())
}

#[test]
fn interfaces_follow_the_members() -> Result<()> {
    in_a_net(|net| {
        let host = Host {
            members: vec![(ASKER, v4(3))],
            ..subject("auto")
        };
        let config = Config {
            port: PORT,
            echo: EchoChoice::Auto,
            bpffs: BPFFS.into(),
            members: Vec::new(),
        };
        let mut datapath = net.subject.enter(|| Datapath::open(&config))?;
        ensure!(
            datapath.mode() == (EchoMode::User, "no member is known yet"),
            "{}",
            datapath.mode().1
        );
        net.subject.enter(|| -> Result<()> {
            datapath.set_me(host.id, host.boot, 1)?;
            datapath.set_peers(&[(ASKER, pair_key(SUBJECT, ASKER))].into())?;
            ensure!(
                datapath.mode()
                    == (
                        EchoMode::User,
                        "no interface leads to a member: no address is known"
                    ),
                "{}",
                datapath.mode().1
            );
            datapath.set_routes(&[v4(3)]);
            ensure_best(datapath.mode())
        })??;
        net.asker(v4(3), v4(2))?.warm_up()?;
        // Made anew, with another index.
        net.reconnect_subject()?;
        net.subject.enter(|| datapath.set_routes(&[v4(3)]))?;
        ensure_best(datapath.mode())?;
        net.asker(v4(3), v4(2))?.warm_up()?;
        let links = std::fs::read_dir(Path::new(BPFFS).join("node-failure-detector"))?
            .filter(|entry| entry.as_ref().is_ok_and(|entry| !entry.path().is_dir()));
        ensure!(
            links.count() == usize::from(best() == EchoMode::Tcx),
            "the link of the interface that is gone was kept"
        );
        Ok(())
    })
}
