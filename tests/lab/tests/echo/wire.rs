//! Frames as they are on the wire: addresses and checksums of an echo.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use anyhow::{Context as _, Result, ensure};
use detector_common::packet::{SIZE, kind};
use detector_lab::echo::{PORT, probe};
use detector_lab::frames::Frames;
use detector_lab::netns::Namespace;
use zerocopy::IntoBytes as _;

use crate::net::{ASKER, SUBJECT, in_a_net, subject, v4, v6};

/// Whoever asks from here has no socket: what comes back is seen on the wire only.
const FROM_PORT: u16 = 4_000;
const PROTOCOL_UDP: u16 = 17;

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0)
}

/// Ones' complement sum (RFC 1071) of an even number of bytes.
fn sum(bytes: &[u8]) -> u16 {
    folded(bytes.chunks(2).map(|pair| u32::from(word(pair, 0))).sum())
}

/// The sum over the pseudo header of a UDP datagram.
fn pseudo(addresses: &[u8], length: usize) -> u16 {
    let length = u16::try_from(length).unwrap_or(0);
    folded(u32::from(sum(addresses)) + u32::from(PROTOCOL_UDP) + u32::from(length))
}

/// One family's headers: where its addresses are, and where UDP begins.
#[derive(Clone, Copy)]
struct Family {
    ether_type: u16,
    hop_limit: usize,
    addresses: (usize, usize),
    udp: usize,
}

const IPV4: Family = Family {
    ether_type: 0x0800,
    hop_limit: 22,
    addresses: (26, 34),
    udp: 34,
};
const IPV6: Family = Family {
    ether_type: 0x86dd,
    hop_limit: 21,
    addresses: (22, 54),
    udp: 54,
};

fn hardware_address(namespace: &Namespace) -> Result<[u8; 6]> {
    let shown = namespace.exec(&["ip", "-o", "link", "show", "eth0"])?;
    let text = shown
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let bytes = text
        .context("no hardware address")?
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
    Ok(bytes.as_slice().try_into()?)
}

/// A probe in a frame, with the UDP checksum in full or none at all.
fn frame(family: Family, to: [u8; 6], from: [u8; 6], hop_limit: u8, with_checksum: bool) -> Vec<u8> {
    let datagram = 8 + SIZE;
    let mut bytes = [&to[..], &from[..], &family.ether_type.to_be_bytes()].concat();
    let length = |n: usize| u16::try_from(n).unwrap_or(0).to_be_bytes();
    if family.ether_type == IPV4.ether_type {
        let [high, low] = length(20 + datagram);
        bytes.extend([
            0x45, 0, high, low, 0, 0, 0x40, 0, hop_limit, 17, 0, 0, 10, 77, 0, 3, 10, 77, 0, 2,
        ]);
        let checksum = !sum(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let [high, low] = length(datagram);
        bytes.extend([0x60, 0, 0, 0, high, low, 17, hop_limit]);
        for last in [3, 2] {
            bytes.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    }
    bytes.extend(FROM_PORT.to_be_bytes());
    bytes.extend(PORT.to_be_bytes());
    bytes.extend(length(datagram));
    bytes.extend([0, 0]);
    bytes.extend(probe(ASKER, SUBJECT, (1 << 32) | 1).as_bytes());
    if with_checksum {
        let (from, to) = family.addresses;
        let total = u32::from(pseudo(&bytes[from..to], datagram)) + u32::from(sum(&bytes[family.udp..]));
        let checksum = !folded(total);
        bytes[family.udp + 6..family.udp + 8].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

fn is_echo(bytes: &[u8], family: Family) -> bool {
    bytes.len() == family.udp + 8 + SIZE
        && word(bytes, 12) == family.ether_type
        && word(bytes, family.udp) == PORT
        && bytes[family.udp + 9] == kind::ECHO
}

/// What must be true of every echo, whatever its checksum.
fn check_way_back(asked: &[u8], echo: &[u8], family: Family) -> Result<()> {
    let (from, to) = family.addresses;
    let middle = (from + to) / 2;
    ensure!(
        echo.len() == asked.len(),
        "{} bytes came back for {}",
        echo.len(),
        asked.len()
    );
    ensure!(
        echo[..6] == asked[6..12] && echo[6..12] == asked[..6],
        "hardware addresses"
    );
    ensure!(echo[from..middle] == asked[middle..to], "the echo's source");
    ensure!(echo[middle..to] == asked[from..middle], "the echo's destination");
    ensure!(
        echo[family.hop_limit] == 64,
        "hop limit {}",
        echo[family.hop_limit]
    );
    ensure!(
        word(echo, family.udp + 2) == word(asked, family.udp),
        "the echo's port"
    );
    if family.ether_type == IPV4.ether_type {
        ensure!(sum(&echo[14..34]) == 0xffff, "the IPv4 header's checksum");
    }
    Ok(())
}

#[test]
fn an_echo_is_whole_on_the_wire() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            let host = subject(way);
            let _datapath = net.subject.enter(|| host.open())??;
            let wire = Frames::open(&net.asker, "eth0")?;
            let (to, from) = (hardware_address(&net.subject)?, hardware_address(&net.asker)?);
            for (name, family, hop_limit, with_checksum) in [
                ("IPv4", IPV4, 64, true),
                ("IPv4, another hop limit", IPV4, 7, true),
                ("IPv4 without UDP checksum", IPV4, 255, false),
                ("IPv6", IPV6, 64, true),
                ("IPv6, another hop limit", IPV6, 255, true),
            ] {
                let asked = frame(family, to, from, hop_limit, with_checksum);
                wire.send(&asked)?;
                let echo = wire.receive(|bytes| is_echo(bytes, family)).context(name)?;
                check_way_back(&asked, &echo, family).context(name)?;
                let checksum = word(&echo, family.udp + 6);
                if with_checksum {
                    let (from, to) = family.addresses;
                    let head = u32::from(pseudo(&echo[from..to], 8 + SIZE));
                    let total = folded(head + u32::from(sum(&echo[family.udp..])));
                    ensure!(
                        checksum != 0 && total == 0xffff,
                        "{name}: the UDP checksum is {checksum:#x}"
                    );
                } else {
                    ensure!(checksum == 0, "{name}: a checksum where there was none");
                }
            }
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

#[test]
fn a_checksum_left_to_the_interface_stays_left_to_it() -> Result<()> {
    in_a_net(|net| {
        let host = subject("tc");
        let _datapath = net.subject.enter(|| host.open())??;
        for (family, from, to) in [(IPV4, v4(3), v4(2)), (IPV6, v6(3), v6(2))] {
            let mut asker = net.asker(from, to)?;
            asker.warm_up()?;
            let wire = Frames::open(&net.asker, "eth0")?;
            // From a local socket over veth, which sums up nothing: the field holds the pseudo header's sum, and whoever
            // sends the frame on into the world completes it.
            let question = asker.next_probe();
            asker.send(question.as_bytes())?;
            let echo = wire.receive(|bytes| is_echo(bytes, family))?;
            let (from, to) = family.addresses;
            let head = pseudo(&echo[from..to], 8 + SIZE);
            ensure!(
                word(&echo, family.udp + 6) == head,
                "{:#x}, not {head:#x}",
                word(&echo, family.udp + 6)
            );
        }
        Ok(())
    })
}
