//! Namespaces: isolated, connected over a bridge, and gone with their owner.
#![expect(clippy::disallowed_methods, reason = "a lab is IO: clocks and waits")]

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use detector_lab::netns::{Bridge, Namespace, udp_socket};

fn link_names() -> Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    Ok(text
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect())
}

#[test]
fn two_namespaces_talk_over_a_bridge_until_a_cable_is_pulled() -> Result<()> {
    let before = link_names()?;
    let (hub, one, two) = (
        Namespace::create("hub")?,
        Namespace::create("one")?,
        Namespace::create("two")?,
    );
    let bridge = Bridge::create(&hub, "10.77.0.1/24")?;
    bridge.connect(&one, "one", "10.77.0.2/24")?;
    bridge.connect(&two, "two", "10.77.0.3/24")?;
    let (from, to) = (
        udp_socket(&one, "10.77.0.2:7000")?,
        udp_socket(&two, "10.77.0.3:7000")?,
    );
    to.set_read_timeout(Some(Duration::from_millis(300)))?;
    let mut bytes = [0; 8];

    from.send_to(b"hello", "10.77.0.3:7000")?;
    assert_eq!(to.recv_from(&mut bytes)?, (5, "10.77.0.2:7000".parse()?));

    bridge.set_link("two", false)?;
    from.send_to(b"lost", "10.77.0.3:7000")?;
    assert!(
        to.recv_from(&mut bytes).is_err(),
        "a packet passed a link that is down"
    );
    assert_eq!(
        link_names()?,
        before,
        "the root namespace has other links than before"
    );
    Ok(())
}

#[test]
fn a_command_that_takes_too_long_is_killed() -> Result<()> {
    let namespace = Namespace::create("slow")?;
    let started = Instant::now();
    let mut command = namespace.command("sleep");
    command.arg("100");
    let error = detector_lab::process::output(&mut command, Duration::from_millis(100)).err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(error.is_some_and(|error| error.to_string().contains("killed after 0.1 s")));
    Ok(())
}

#[test]
fn what_a_failed_command_wrote_is_in_the_error() -> Result<()> {
    let namespace = Namespace::create("fails")?;
    let error = namespace
        .exec(&["ip", "link", "show", "nothing"])
        .err()
        .map(|error| format!("{error:#}"));
    assert!(error.is_some_and(|text| text.contains("does not exist") && text.contains("exit code 1")));
    Ok(())
}

#[test]
fn a_spawned_process_ends_with_its_handle() -> Result<()> {
    let namespace = Namespace::create("spawn")?;
    let running = namespace.spawn(&["sleep", "100"])?;
    let path = format!("/proc/{}", running.id());
    let inside = std::fs::read_link(format!("{path}/ns/net"))?;
    assert_ne!(inside, std::fs::read_link("/proc/self/ns/net")?);
    drop(running);
    assert!(!std::path::Path::new(&path).exists());
    assert!(
        Command::new("true").status()?.success(),
        "other commands still run in our own namespace"
    );
    Ok(())
}
