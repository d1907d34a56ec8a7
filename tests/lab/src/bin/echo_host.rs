//! A host that only answers: what an agent does with its datapath, and nothing else. Tests kill it.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use detector::clock;
use detector::datapath::Handled;
use detector_lab::echo::Host;

/// A datagram of any size that UDP can carry.
const LARGEST: usize = 65_536;

fn main() -> Result<()> {
    let host = std::env::args().nth(1).context("the host, as JSON")?;
    let host: Host = serde_json::from_str(&host)?;
    let mut datapath = host.open()?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, host.port))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    {
        let (mode, reason) = datapath.mode();
        writeln!(std::io::stdout(), "{}: {reason}", mode.as_str())?;
    }
    let mut bytes = vec![0; LARGEST];
    loop {
        datapath.stamp(clock::now().0)?;
        let (length, from) = match socket.recv_from(&mut bytes) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(datagram) = bytes.get_mut(..length) else {
            continue;
        };
        if datapath.handle_datagram(datagram, clock::now().0) == Handled::Reply {
            socket.send_to(datagram, from)?;
        }
    }
}
