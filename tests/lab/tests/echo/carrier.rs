//! Whether the links to the members have a carrier: told by the kernel when a cable is pulled, and when it is back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use detector::datapath::Carrier;
use detector_lab::netns::Namespace;

use crate::net::{Net, in_a_net, v4};

/// linkwatch tells up to a second late, and the machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until the kernel's word about the links is this.
async fn told(carrier: &mut Carrier, up: bool) -> Result<()> {
    let told = async {
        while carrier.changed().await? != up {}
        Ok(())
    };
    let told = tokio::time::timeout(LIMIT, told).await;
    told.with_context(|| format!("not told within {} s: up {up}", LIMIT.as_secs()))?
}

fn set(namespace: &Namespace, interface: &str, state: &str) -> Result<()> {
    namespace.exec(&["ip", "link", "set", interface, state])?;
    Ok(())
}

/// With a carrier of the subject's, in its network.
fn with_carrier(net: &Net, body: impl AsyncFnOnce(&mut Carrier) -> Result<()> + Send) -> Result<()> {
    net.subject.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { body(&mut Carrier::open()?).await })
    })?
}

#[test]
fn a_pulled_cable_is_told_and_so_is_its_return() -> Result<()> {
    in_a_net(|net| {
        with_carrier(net, async |carrier| {
            ensure!(carrier.set_members(&[v4(3)]), "down before anything happened");
            for _ in 0..2 {
                // The other end of the subject's cable: its own interface stays up, and has no carrier.
                set(&net.hub, "subject", "down")?;
                told(carrier, false).await?;
                set(&net.hub, "subject", "up")?;
                told(carrier, true).await?;
            }
            // Taken down, and removed: there is no route then.
            set(&net.subject, "eth0", "down")?;
            told(carrier, false).await?;
            set(&net.subject, "eth0", "up")?;
            told(carrier, true).await?;
            net.subject.exec(&["ip", "link", "del", "eth0"])?;
            told(carrier, false).await
        })
    })
}

#[test]
fn one_way_to_a_member_is_enough_and_no_member_is_no_failure() -> Result<()> {
    in_a_net(|net| {
        net.subject
            .exec(&["ip", "link", "add", "second", "type", "veth", "peer", "end"])?;
        net.subject
            .exec(&["ip", "addr", "add", "10.88.0.1/24", "dev", "second"])?;
        set(&net.subject, "second", "up")?;
        set(&net.subject, "end", "up")?;
        let elsewhere = "10.88.0.2".parse()?;
        with_carrier(net, async |carrier| {
            ensure!(carrier.set_members(&[v4(3)]));
            set(&net.hub, "subject", "down")?;
            told(carrier, false).await?;
            ensure!(
                carrier.set_members(&[v4(3), elsewhere]),
                "the second way has a carrier"
            );
            set(&net.subject, "end", "down")?;
            told(carrier, false).await?;
            ensure!(carrier.set_members(&[v4(2)]), "the own address needs no cable");
            ensure!(carrier.set_members(&[]), "nobody is known");
            let unreachable = "198.51.100.1".parse()?;
            ensure!(!carrier.set_members(&[unreachable]), "no route");
            Ok(())
        })
    })
}
