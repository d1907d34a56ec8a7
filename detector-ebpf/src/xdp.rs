//! XDP: the entry, and a frame's bytes as a [`Frame`].

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{bpf_csum_diff, bpf_ktime_get_ns};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use detector_common::count::Count;
use detector_common::packet::{Packet, SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::frame::{Frame, Spoiled};
use crate::headers::{ETHER_IPV4, PROTOCOL_UDP, UDP_SIZE};
use crate::maps::{Maps, PORT, count};
use crate::responder::{Accepted, Rejected, handle};
use crate::tc::is_ours_to_drop;

/// Where the network protocol stands in an Ethernet header.
const ETHER_TYPE_AT: usize = 12;
/// The lowest bit of an address's first byte: broadcast or multicast.
const GROUP: u8 = 1;
/// Where the UDP checksum lies, counted back from the payload.
const CHECKSUM_BEFORE_PAYLOAD: usize = 2;

/// Answers probes and notes echoes before the kernel makes a socket buffer of them. What is left, tagged frames too,
/// goes on to the program at TC ingress, which looks again, and counts it.
#[xdp]
pub(crate) fn echo_xdp(ctx: XdpContext) -> u32 {
    let mut frame = Bytes(ctx);
    // SAFETY: a helper without arguments.
    let handled = handle(&mut frame, PORT.load(), &Maps, || unsafe { bpf_ktime_get_ns() });
    match handled {
        Ok(Accepted::Echo) => {
            count(Count::Echoed);
            XDP_TX
        }
        Ok(Accepted::Noted) => {
            count(Count::Noted);
            XDP_DROP
        }
        Err(Rejected::Refused(cause)) if is_ours_to_drop(cause) => {
            count(Count::Refused(cause));
            XDP_DROP
        }
        Err(Rejected::Unsent) => {
            count(Count::Unsent);
            XDP_DROP
        }
        Ok(Accepted::Sealed) | Err(Rejected::Foreign | Rejected::Refused(_)) => XDP_PASS,
    }
}

/// What a UDP checksum over IPv6 covers beside addresses and datagram (RFC 8200, 8.1).
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Pseudo {
    length: [u8; 4],
    zero: [u8; 3],
    next_header: u8,
}

impl Pseudo {
    /// Where both addresses stand in a frame, one after the other.
    const ADDRESSES_AT: usize = 14 + 8;

    /// For a datagram of so many bytes, its header among them.
    #[inline(always)]
    const fn of_udp(length: usize) -> Self {
        Self {
            length: (length as u32).to_be_bytes(),
            zero: [0; 3],
            next_header: PROTOCOL_UDP,
        }
    }
}

struct Bytes(XdpContext);

/// At an even address.
#[repr(align(8))]
struct Even<T>(MaybeUninit<T>);

impl Bytes {
    /// A place in the frame, if all of it is there. It is copied by words of two bytes: to more no frame is aligned, and
    /// byte by byte the program would not fit its stack.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        const { assert!(size_of::<T>().is_multiple_of(2)) };
        let start = self.0.data() + offset;
        if start + size_of::<T>() > self.0.data_end() {
            None
        } else {
            Some(start as *mut T)
        }
    }

    #[inline(always)]
    fn store<T: IntoBytes + Immutable>(&mut self, offset: usize, value: &T) -> Result<(), Spoiled> {
        let place: *mut u16 = self.at::<T>(offset).ok_or(Spoiled)?.cast();
        // SAFETY: the place lies in the frame, which is this program's alone; frames begin at even addresses, and so do
        // all values and offsets here; `T` has no padding.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(value).cast(), place, size_of::<T>() / 2) };
        Ok(())
    }

    /// The checksum over what lies at `offset`, added to a sum.
    #[inline(always)]
    fn sum<T>(&self, offset: usize, before: u32) -> Result<u32, Spoiled> {
        const { assert!(size_of::<T>().is_multiple_of(4)) };
        let place: *mut T = self.at(offset).ok_or(Spoiled)?;
        // SAFETY: the place lies in the frame, and the size is a multiple of four.
        let sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, place.cast(), size_of::<T>() as u32, before) };
        u32::try_from(sum).map_err(|_| Spoiled)
    }

    /// Summed up in full: at this hook nobody knows what the interface had found out about the frame's own checksum.
    #[inline(always)]
    fn checksum_over_ipv6(&self, payload: usize) -> Result<u16, Spoiled> {
        let mut pseudo = Pseudo::of_udp(UDP_SIZE + SIZE);
        // SAFETY: the record lies on this stack, and its size is a multiple of four.
        let sum = unsafe {
            bpf_csum_diff(
                ptr::null_mut(),
                0,
                (&raw mut pseudo).cast(),
                size_of::<Pseudo>() as u32,
                0,
            )
        };
        let sum = u32::try_from(sum).map_err(|_| Spoiled)?;
        let sum = self.sum::<[u8; 32]>(Pseudo::ADDRESSES_AT, sum)?;
        let sum = self.sum::<[u8; UDP_SIZE + SIZE]>(payload - UDP_SIZE, sum)?;
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        // Zero means "none", which IPv6 does not allow (RFC 8200, 8.1).
        Ok(match !(folded as u16) {
            0 => u16::MAX,
            checksum => checksum,
        })
    }
}

impl Frame for Bytes {
    #[inline(always)]
    fn ether_type(&self) -> u16 {
        self.load::<u16>(ETHER_TYPE_AT).map_or(0, u16::from_be)
    }

    /// The kernel has not compared addresses yet. A frame to another host's address, which only a promiscuous interface
    /// takes in, bears another member's id.
    #[inline(always)]
    fn is_to_this_host(&self) -> bool {
        self.load::<[u8; 2]>(0)
            .is_some_and(|[first, _]| first & GROUP == 0)
    }

    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let place: *const u16 = self.at::<T>(offset)?.cast_const().cast();
        let mut value = Even(MaybeUninit::<T>::uninit());
        // SAFETY: the place lies in the frame; both sides are even addresses (see `store`); any bytes are a `T`.
        unsafe {
            ptr::copy_nonoverlapping(place, value.0.as_mut_ptr().cast(), size_of::<T>() / 2);
            Some(value.0.assume_init())
        }
    }

    #[inline(always)]
    fn replace_headers<H: IntoBytes + Immutable>(&mut self, headers: &H) -> Result<(), Spoiled> {
        self.store(0, headers)
    }

    #[inline(always)]
    fn replace_packet(&mut self, offset: usize, packet: &Packet) -> Result<(), Spoiled> {
        self.store(offset, packet)?;
        // None over IPv4: RFC 768 allows it, and the tag covers more.
        self.store(offset - CHECKSUM_BEFORE_PAYLOAD, &0_u16)?;
        if self.ether_type() != ETHER_IPV4 {
            let checksum = self.checksum_over_ipv6(offset)?;
            self.store(offset - CHECKSUM_BEFORE_PAYLOAD, &checksum)?;
        }
        Ok(())
    }
}
