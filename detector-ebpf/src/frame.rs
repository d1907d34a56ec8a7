//! What the responder needs of a packet in flight: TC's socket buffer, or XDP's bare bytes.

use detector_common::packet::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A received frame, from its link-layer header on.
pub(crate) trait Frame {
    /// The network protocol, as in the Ethernet header (host order).
    fn ether_type(&self) -> u16;

    /// Sent to this host alone: no broadcast, multicast, or foreign unicast.
    fn is_to_this_host(&self) -> bool;

    /// The bytes at `offset`, or nothing if the frame ends before.
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T>;

    /// Replaces all headers, from the frame's first byte on.
    ///
    /// # Errors
    /// The kernel has no memory for it: the frame is spoiled.
    fn replace_headers<H: IntoBytes + Immutable>(&mut self, headers: &H) -> Result<(), Spoiled>;

    /// Replaces the packet that lies at `offset`, and mends the UDP checksum before it.
    ///
    /// # Errors
    /// As for the headers.
    fn replace_packet(&mut self, offset: usize, packet: &Packet) -> Result<(), Spoiled>;
}

/// The frame could not be written, and may be half changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spoiled;
