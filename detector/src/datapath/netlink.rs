//! Two questions to the kernel's routing: which way to an address, and what is that interface.
//!
//! Not a netlink library: each request fits one datagram, and so does its answer (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// `XDP_ATTACHED_DRV`.
const IN_DRIVER: u8 = 1;
const RTN_UNICAST: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFF_RUNNING: u32 = 0x40;
const RTMGRP_LINK: u32 = 1;

const HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const LINK_HEADER: usize = 16;
/// An interface with all its statistics is about 2 KiB.
const ANSWER: usize = 16 * 1024;

/// An interface by its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its name now.
    pub(super) name: String,
    /// `ARPHRD_…`: 1 is Ethernet.
    pub(super) hardware: u16,
    /// IFF_RUNNING: it is up and has a carrier.
    pub(super) running: bool,
    /// Made by software: veth, bridge, VLAN, bond …
    pub(super) is_virtual: bool,
    /// The XDP program at it.
    pub(super) xdp: Option<AttachedXdp>,
}

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachedXdp {
    pub(super) program: u32,
    /// In the driver, not generic.
    pub(super) native: bool,
}

/// A socket on which the kernel tells each change of an interface, never blocking.
pub(super) fn link_events() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_LINK))?;
    Ok(socket)
}

/// A socket to the kernel's routing, in the network namespace it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    answer: Vec<u8>,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // The kernel answers within the call that sends; this is for a kernel that does not.
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(100)))?;
        Ok(Self {
            socket,
            sequence: 0,
            answer: vec![0; ANSWER],
        })
    }

    /// The interface through which packets to `to` leave; `None` for the node's own addresses.
    pub(super) fn interface_to(&mut self, to: IpAddr) -> io::Result<Option<u32>> {
        let (family, octets) = match to {
            IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
        };
        let mut body = vec![0; ROUTE_HEADER];
        put(
            &mut body,
            0,
            &[family, u8::try_from(octets.len() * 8).unwrap_or(u8::MAX)],
        );
        push_attribute(&mut body, RTA_DST, &octets);
        let answer = self.ask(RTM_GETROUTE, &body)?;
        // rtm_type is the eighth byte of rtmsg.
        if answer.get(7) != Some(&RTN_UNICAST) {
            return Ok(None);
        }
        let interface = attribute(answer.get(ROUTE_HEADER..).unwrap_or_default(), RTA_OIF);
        interface.and_then(u32_of).map(Some).ok_or_else(malformed)
    }

    /// Name and kind of an interface.
    pub(super) fn link(&mut self, index: u32) -> io::Result<Link> {
        let mut body = vec![0; LINK_HEADER];
        put(&mut body, 4, &index.to_ne_bytes());
        let answer = self.ask(RTM_GETLINK, &body)?;
        let hardware = answer
            .get(2..4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u16::from_ne_bytes);
        let flags = answer.get(8..12).and_then(u32_of).unwrap_or(0);
        let attributes = answer.get(LINK_HEADER..).unwrap_or_default();
        let name = attribute(attributes, IFLA_IFNAME)
            .and_then(|bytes| bytes.split(|byte| *byte == 0).next())
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(str::to_owned);
        match (name, hardware) {
            (Some(name), Some(hardware)) => Ok(Link {
                name,
                hardware,
                running: flags & IFF_RUNNING != 0,
                is_virtual: attribute(attributes, IFLA_LINKINFO).is_some(),
                xdp: attribute(attributes, IFLA_XDP).and_then(attached_xdp),
            }),
            _ => Err(malformed()),
        }
    }

    /// Sends one request and gives its answer's body. An answer to an earlier request, which came too late, is passed
    /// over.
    fn ask(&mut self, kind: u16, body: &[u8]) -> io::Result<&[u8]> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend_from_slice(&length.to_ne_bytes());
        request.extend_from_slice(&kind.to_ne_bytes());
        request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        request.extend_from_slice(&self.sequence.to_ne_bytes());
        request.extend_from_slice(&[0; 4]);
        request.extend_from_slice(body);
        send(&self.socket, &request, SendFlags::empty())?;
        let wanted = self.sequence.to_ne_bytes();
        let length = loop {
            let (length, _) = recv(&self.socket, self.answer.as_mut_slice(), RecvFlags::empty())?;
            if self.answer.get(8..12) == Some(&wanted) {
                break length;
            }
        };
        let answer = self.answer.get(..length).ok_or_else(malformed)?;
        let answered = answer
            .get(4..6)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u16::from_ne_bytes);
        let body = answer.get(HEADER..).ok_or_else(malformed)?;
        if answered == Some(NLMSG_ERROR) {
            let code = body.get(..4).and_then(u32_of).ok_or_else(malformed)?;
            return Err(io::Error::from_raw_os_error(code.cast_signed().wrapping_neg()));
        }
        Ok(body)
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "an answer that is no rtnetlink message",
    )
}

fn put(body: &mut [u8], at: usize, bytes: &[u8]) {
    for (slot, byte) in body.iter_mut().skip(at).zip(bytes) {
        *slot = *byte;
    }
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// Appends an attribute: length, type, value. Values here are multiples of four bytes: no padding.
fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
}

/// Nothing is attached where no program is named.
fn attached_xdp(nested: &[u8]) -> Option<AttachedXdp> {
    Some(AttachedXdp {
        program: attribute(nested, IFLA_XDP_PROG_ID).and_then(u32_of)?,
        native: attribute(nested, IFLA_XDP_ATTACHED) == Some(&[IN_DRIVER]),
    })
}

/// The value of the first attribute of this type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (head, _) = attributes.split_first_chunk::<4>()?;
        let [l0, l1, k0, k1] = *head;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = attributes.get(4..length)?;
        // The two highest bits are flags.
        if u16::from_ne_bytes([k0, k1]) & 0x3fff == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{Netlink, attribute, push_attribute};

    #[test]
    fn attributes_are_found_and_cut_ones_are_not() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 1, &[1, 2, 3, 4]);
        push_attribute(&mut bytes, 4, &[9, 0, 0, 0]);
        assert_eq!(attribute(&bytes, 4), Some([9, 0, 0, 0].as_slice()));
        assert_eq!(attribute(&bytes, 7), None);
        for cut in 0..bytes.len() {
            assert_eq!(attribute(bytes.get(..cut).unwrap(), 4), None, "cut at {cut}");
        }
        // A length that would never move on.
        assert_eq!(attribute(&[0, 0, 9, 0, 0, 0, 9, 0], 4), None);
    }

    #[test]
    fn the_loopback_is_known_and_leads_nowhere() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link(1).unwrap();
        assert_eq!((lo.name.as_str(), lo.hardware), ("lo", 772));
        assert!(lo.running && lo.xdp.is_none());
        assert_eq!(netlink.interface_to("127.0.0.1".parse().unwrap()).unwrap(), None);
        assert!(netlink.link(u32::MAX).is_err());
    }
}
