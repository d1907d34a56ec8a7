//! Members behind a VLAN of the host's interface: tagged frames reach both interfaces, and are answered once.

use anyhow::{Context as _, Result, ensure};
use detector_lab::echo::Host;
use detector_lab::netns::{Namespace, add_address};
use detector_lab::skip::skipped;

use crate::net::{ASKER, Net, answered_once, in_a_net, subject, v4};

/// The VLAN's own network.
fn tagged(last: u8) -> std::net::IpAddr {
    std::net::IpAddr::from([10, 78, 0, last])
}

/// Adds VLAN 100 to a host's `eth0`; `None` where the kernel has none.
fn add_vlan(namespace: &Namespace, last: u8) -> Result<Option<String>> {
    let add = [
        "ip", "link", "add", "link", "eth0", "name", "vlan100", "type", "vlan", "id", "100",
    ];
    if let Err(error) = namespace.exec(&add) {
        return Ok(Some(format!("{error:#}")));
    }
    add_address(namespace, "vlan100", &format!("10.78.0.{last}/24"))?;
    add_address(namespace, "vlan100", &format!("fd78::{last}/64"))?;
    namespace.exec(&["ip", "link", "set", "vlan100", "up"])?;
    Ok(None)
}

/// Runs a test in a network with VLAN 100 beside the untagged one; notes it as skipped where there is no VLAN.
fn with_vlan(check: &str, body: impl FnOnce(&Net) -> Result<()> + Send) -> Result<()> {
    in_a_net(|net| {
        for (namespace, last) in [(&net.subject, 2), (&net.asker, 3)] {
            if let Some(why) = add_vlan(namespace, last)? {
                return skipped(check, "vlan", &why);
            }
        }
        body(net)
    })
}

#[test]
fn members_in_a_vlan_are_answered_there() -> Result<()> {
    with_vlan("vlan::members_in_a_vlan_are_answered_there", |net| {
        for way in ["tc", "clsact"] {
            let host = Host {
                members: vec![(ASKER, tagged(3))],
                ..subject(way)
            };
            let (_host, mode) = net.start(&host)?;
            ensure!(mode.contains("vlan100 by") && !mode.contains("eth0 by"), "{mode}");
            answered_once(&mut net.asker(tagged(3), tagged(2))?).with_context(|| format!("echo by {way}"))?;
            let v6 = |last| std::net::IpAddr::from([0xfd78, 0, 0, 0, 0, 0, 0, last]);
            answered_once(&mut net.asker(v6(3), v6(2))?).with_context(|| format!("IPv6, echo by {way}"))?;
        }
        Ok(())
    })
}

/// The tag of a frame is taken off before TC ingress, and kept beside it, as where the network card does so: the hook on
/// the card sees a plain probe, and its answer must go back into the VLAN.
#[test]
fn a_tag_that_the_card_took_off_is_put_back() -> Result<()> {
    with_vlan("vlan::a_tag_that_the_card_took_off_is_put_back", |net| {
        for way in ["tc", "clsact"] {
            let host = Host {
                members: vec![(ASKER, v4(3)), (ASKER + 1, tagged(9)), (ASKER, tagged(3))],
                ..subject(way)
            };
            let (_host, mode) = net.start(&host)?;
            ensure!(mode.contains("eth0 by") && mode.contains("vlan100 by"), "{mode}");
            answered_once(&mut net.asker(tagged(3), tagged(2))?).with_context(|| format!("tagged, {way}"))?;
            answered_once(&mut net.asker(v4(3), v4(2))?).with_context(|| format!("untagged, {way}"))?;
        }
        Ok(())
    })
}
