//! XDP in front of TC ingress: who answers, and who when XDP is refused or taken away.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use detector::datapath::{EchoMode, detach};
use detector_lab::echo::{Host, probe};
use detector_lab::mounts::BPFFS;
use detector_lab::netns::Namespace;
use zerocopy::IntoBytes as _;

use crate::net::{ASKER, Net, SUBJECT, answered_once, best, in_a_net, subject, v4, v6};

/// The number of XDP programs that an interface says it has.
fn programs(namespace: &Namespace) -> Result<usize> {
    Ok(namespace
        .exec(&["ip", "-details", "link", "show", "dev", "eth0"])?
        .matches("prog/xdp id")
        .count())
}

/// The kernel detaches a link in its own time.
fn await_none(namespace: &Namespace) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while programs(namespace)? != 0 {
        ensure!(Instant::now() < deadline, "XDP is still there");
    }
    Ok(())
}

fn ask_five(net: &Net) -> Result<()> {
    for (from, to) in [(v4(3), v4(2)), (v6(3), v6(2))] {
        answered_once(&mut net.asker(from, to)?)?;
    }
    Ok(())
}

#[test]
fn generic_xdp_answers_before_tc_and_once() -> Result<()> {
    in_a_net(|net| {
        let (_host, mode) = net.start(&subject("xdp"))?;
        ensure!(
            mode == "xdp-generic: eth0 by xdp-generic (eth0 is a virtual interface: native XDP may not send there)",
            "{mode}"
        );
        ensure!(programs(&net.subject)? == 1);
        ask_five(net)
    })
}

#[test]
fn an_xdp_program_of_others_stays_and_tc_answers() -> Result<()> {
    in_a_net(|net| {
        // Ours, from another BPF file system: to this agent it is anybody's.
        let elsewhere = tempfile::tempdir()?;
        let other = Host {
            bpffs: elsewhere.path().to_owned(),
            port: 999,
            ..subject("xdp")
        };
        let (_other, _) = net.start(&other)?;
        let (_host, mode) = net.start(&subject("xdp"))?;
        let tc = best().as_str();
        ensure!(mode.starts_with(&format!("{tc}: eth0 by {tc} (XDP: ")), "{mode}");
        ensure!(programs(&net.subject)? == 1);
        ask_five(net)
    })
}

#[test]
fn xdp_that_is_taken_away_misses_no_echo() -> Result<()> {
    in_a_net(|net| {
        drop(net.start(&subject("xdp"))?);
        let mut asker = net.asker(v4(3), v4(2))?;
        asker.warm_up()?;
        let links = std::fs::read_dir(Path::new(BPFFS).join("node-failure-detector"))?;
        let pins = links
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("xdp-"));
        for pin in pins {
            std::fs::remove_file(pin.path())?;
        }
        for _ in 0..50 {
            let echo = asker.answered().context("no echo after XDP was taken away")?;
            ensure!(echo.health() == 0, "{echo:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        await_none(&net.subject)
    })
}

#[test]
fn a_restarted_agent_keeps_the_link_and_another_way_removes_it() -> Result<()> {
    in_a_net(|net| {
        let shown = || {
            net.subject
                .exec(&["ip", "-details", "link", "show", "dev", "eth0"])
        };
        drop(net.start(&subject("xdp"))?);
        let before = shown()?;
        ensure!(before.contains("prog/xdp id"), "{before}");
        drop(net.start(&subject("xdp"))?);
        ensure!(shown()? == before, "{before}{}", shown()?);
        // Another port is another program: it is exchanged at one stroke.
        let other = Host {
            port: 999,
            ..subject("xdp")
        };
        drop(net.start(&other)?);
        ensure!(shown()? != before && programs(&net.subject)? == 1, "{}", shown()?);
        drop(net.start(&subject("auto"))?);
        await_none(&net.subject)?;
        ask_five(net)
    })
}

#[test]
fn an_observers_xdp_notes_echoes() -> Result<()> {
    in_a_net(|net| {
        drop(net.start(&subject("tc"))?);
        let bpffs = tempfile::tempdir()?;
        let observer = Host {
            id: ASKER,
            members: vec![(SUBJECT, v4(2))],
            bpffs: bpffs.path().to_owned(),
            ..subject("xdp")
        };
        let datapath = net.asker.enter(|| observer.open())??;
        ensure!(datapath.mode().0 == EchoMode::XdpGeneric, "{}", datapath.mode().1);
        let asker = net.asker(v4(3), v4(2))?;
        let first = u64::from(observer.incarnation) << 32;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut sequence = first;
        // Until neighbours are found.
        while datapath
            .state(SUBJECT)
            .is_none_or(|state| state.echoed_highest.get() <= first)
        {
            ensure!(Instant::now() < deadline, "no echo was noted");
            sequence += 1;
            asker.send(probe(ASKER, SUBJECT, sequence).as_bytes())?;
            ensure!(asker.receive()?.is_none(), "an echo came up to the socket");
        }
        drop(datapath);
        net.asker.enter(|| detach(bpffs.path()))??;
        await_none(&net.asker)
    })
}
