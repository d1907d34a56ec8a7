//! The headers before our packet, and their way back.
//!
//! Each family is one record, so that a foreign packet costs one load and an echo one store. Options and extension
//! headers are not ours: such packets go on to the agent's socket, which answers all the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `ETH_P_IP`.
pub(crate) const ETHER_IPV4: u16 = 0x0800;
/// `ETH_P_IPV6`.
pub(crate) const ETHER_IPV6: u16 = 0x86dd;

/// `IPPROTO_UDP`.
pub(crate) const PROTOCOL_UDP: u8 = 17;
/// What an echo starts with: as far as Linux itself sends.
const HOP_LIMIT: u8 = 64;
const IPV4_NO_OPTIONS: u8 = 0x45;
/// More fragments, or an offset: all but "don't fragment" and the reserved bit.
const IPV4_FRAGMENT: u16 = 0x3fff;

/// A 16-bit field in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub(crate) struct Be16(u16);

impl Be16 {
    #[inline(always)]
    pub(crate) const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Ethernet {
    destination: [u16; 3],
    source: [u16; 3],
    ether_type: Be16,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Ipv4 {
    version_and_length: u8,
    service: u8,
    total_length: Be16,
    identification: Be16,
    fragment: Be16,
    hop_limit: u8,
    protocol: u8,
    checksum: Be16,
    source: [u16; 2],
    destination: [u16; 2],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Ipv6 {
    version_and_flow: [u16; 2],
    payload_length: Be16,
    next_header: u8,
    hop_limit: u8,
    source: [u16; 8],
    destination: [u16; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Udp {
    source: Be16,
    destination: Be16,
    length: Be16,
    checksum: Be16,
}

/// Bytes of a UDP header.
pub(crate) const UDP_SIZE: usize = size_of::<Udp>();

/// The headers of one family, up to the UDP payload.
pub(crate) trait Headers: FromBytes + IntoBytes + Immutable {
    /// UDP without options, extension headers and fragments.
    fn is_plain_udp(&self) -> bool;
    /// UDP destination port.
    fn port(&self) -> u16;
    /// UDP payload in bytes, where the lengths of both headers agree.
    fn payload(&self) -> Option<usize>;
    /// Turns the headers round: they then lead back to the sender.
    fn turn_round(&mut self);
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OverIpv4 {
    ethernet: Ethernet,
    ip: Ipv4,
    udp: Udp,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OverIpv6 {
    ethernet: Ethernet,
    ip: Ipv6,
    udp: Udp,
}

const _: () = assert!(size_of::<OverIpv4>() == 14 + 20 + 8 && size_of::<OverIpv6>() == 14 + 40 + 8);

impl Udp {
    #[inline(always)]
    fn payload(&self, from_ip: usize) -> Option<usize> {
        let length = usize::from(self.length.get());
        if length == from_ip && length >= UDP_SIZE {
            Some(length - UDP_SIZE)
        } else {
            None
        }
    }

    #[inline(always)]
    fn turn_round(&mut self) {
        (self.source, self.destination) = (self.destination, self.source);
    }
}

impl Ethernet {
    #[inline(always)]
    fn turn_round(&mut self) {
        (self.source, self.destination) = (self.destination, self.source);
    }
}

impl Headers for OverIpv4 {
    #[inline(always)]
    fn is_plain_udp(&self) -> bool {
        self.ip.version_and_length == IPV4_NO_OPTIONS
            && self.ip.protocol == PROTOCOL_UDP
            && self.ip.fragment.get() & IPV4_FRAGMENT == 0
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        self.udp.destination.get()
    }

    #[inline(always)]
    fn payload(&self) -> Option<usize> {
        let after = usize::from(self.ip.total_length.get()).wrapping_sub(size_of::<Ipv4>());
        self.udp.payload(after)
    }

    #[inline(always)]
    fn turn_round(&mut self) {
        self.ethernet.turn_round();
        (self.ip.source, self.ip.destination) = (self.ip.destination, self.ip.source);
        // RFC 1624, eqn. 3, for the one word that changes; a header that came broken goes back broken.
        let was = u16::from_be_bytes([self.ip.hop_limit, self.ip.protocol]);
        let is = u16::from_be_bytes([HOP_LIMIT, self.ip.protocol]);
        let sum = u32::from(!self.ip.checksum.get()) + u32::from(!was) + u32::from(is);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        self.ip.checksum = Be16((!(sum as u16)).to_be());
        self.ip.hop_limit = HOP_LIMIT;
        self.udp.turn_round();
    }
}

impl Headers for OverIpv6 {
    #[inline(always)]
    fn is_plain_udp(&self) -> bool {
        self.ip.next_header == PROTOCOL_UDP
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        self.udp.destination.get()
    }

    #[inline(always)]
    fn payload(&self) -> Option<usize> {
        self.udp.payload(usize::from(self.ip.payload_length.get()))
    }

    #[inline(always)]
    fn turn_round(&mut self) {
        self.ethernet.turn_round();
        (self.ip.source, self.ip.destination) = (self.ip.destination, self.ip.source);
        self.ip.hop_limit = HOP_LIMIT;
        self.udp.turn_round();
    }
}
