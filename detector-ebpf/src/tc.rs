//! TC ingress: the entry, and the socket buffer as a [`Frame`].

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_csum_diff, bpf_ktime_get_ns, bpf_redirect, bpf_skb_load_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use detector_common::check::Refusal;
use detector_common::count::Count;
use detector_common::packet::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::frame::{Frame, Spoiled};
use crate::maps::{Maps, PORT, count};
use crate::responder::{Accepted, Rejected, handle};

/// Where locally generated control traffic goes first: 7 is `TC_PRIO_CONTROL`.
const PRIORITY_CONTROL: u32 = 7;
/// Where the UDP checksum lies, counted back from the payload.
const CHECKSUM_BEFORE_PAYLOAD: usize = 2;
/// `PACKET_HOST`.
const PACKET_HOST: u32 = 0;

/// Answers probes and notes echoes; everything else goes on to the next program untouched.
#[classifier]
pub(crate) fn echo(ctx: TcContext) -> i32 {
    let mut frame = SocketBuffer(ctx);
    match try_echo(&mut frame) {
        Ok(Accepted::Echo) => {
            count(Count::Echoed);
            frame.send_back()
        }
        Ok(Accepted::Noted) => {
            count(Count::Noted);
            TC_ACT_SHOT
        }
        Ok(Accepted::Sealed) => {
            count(Count::Sealed);
            TC_ACT_UNSPEC
        }
        Err(Rejected::Foreign) => {
            count(Count::Foreign);
            TC_ACT_UNSPEC
        }
        Err(Rejected::Refused(cause)) => {
            count(Count::Refused(cause));
            if is_ours_to_drop(cause) {
                TC_ACT_SHOT
            } else {
                TC_ACT_UNSPEC
            }
        }
        Err(Rejected::Unsent) => {
            count(Count::Unsent);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn try_echo(frame: &mut SocketBuffer) -> Result<Accepted, Rejected> {
    // SAFETY: a helper without arguments.
    handle(frame, PORT.load(), &Maps, || unsafe { bpf_ktime_get_ns() })
}

/// What is authentic is ours to drop. Anything else may belong to whoever uses the port behind this host, and goes on;
/// the agent's socket refuses it once more, or knows better when these maps are behind its roster.
#[inline(always)]
pub(crate) const fn is_ours_to_drop(cause: Refusal) -> bool {
    matches!(cause, Refusal::Rate | Refusal::Stale)
}

struct SocketBuffer(TcContext);

impl SocketBuffer {
    /// Out of the interface it came in by, as urgent as control traffic is.
    #[inline(always)]
    fn send_back(&mut self) -> i32 {
        let skb = self.0.skb.skb;
        // SAFETY: the context is valid while the program runs; the verifier turns these fields into the socket buffer's
        // own and lets TC programs write them. Volatile, as it takes each field by itself only: neighbours are not to
        // be written with one store.
        unsafe {
            ptr::write_volatile(&raw mut (*skb).mark, 0);
            ptr::write_volatile(&raw mut (*skb).priority, PRIORITY_CONTROL);
            ptr::write_volatile(&raw mut (*skb).queue_mapping, 0);
            bpf_redirect((*skb).ifindex, 0) as i32
        }
    }
}

impl Frame for SocketBuffer {
    #[inline(always)]
    fn ether_type(&self) -> u16 {
        u16::from_be(self.0.skb.protocol() as u16)
    }

    #[inline(always)]
    fn is_to_this_host(&self) -> bool {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0.skb.skb).pkt_type == PACKET_HOST }
    }

    #[inline(always)]
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        let mut bytes = MaybeUninit::<T>::uninit();
        // SAFETY: the buffer is `size_of::<T>()` bytes on this stack, and any bytes are a `T`. A frame that ends before
        // is an error, and nothing is read.
        unsafe {
            let end = bpf_skb_load_bytes(
                self.0.as_ptr(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            );
            if end == 0 { Some(bytes.assume_init()) } else { None }
        }
    }

    #[inline(always)]
    fn replace_headers<H: IntoBytes + Immutable>(&mut self, headers: &H) -> Result<(), Spoiled> {
        // Recompute: what the interface summed up over the frame (`CHECKSUM_COMPLETE`) stays true.
        self.0
            .store(0, headers, u64::from(BPF_F_RECOMPUTE_CSUM))
            .map_err(|_| Spoiled)
    }

    #[inline(always)]
    fn replace_packet(&mut self, offset: usize, packet: &Packet) -> Result<(), Spoiled> {
        let mut was: Packet = self.load(offset).ok_or(Spoiled)?;
        let size = size_of::<Packet>() as u32;
        // SAFETY: both buffers are packets on this stack, and `size` is theirs: a multiple of four.
        let difference = unsafe {
            bpf_csum_diff(
                (&raw mut was).cast(),
                size,
                ptr::from_ref(packet).cast_mut().cast(),
                size,
                0,
            )
        };
        let difference = u64::try_from(difference).map_err(|_| Spoiled)?;
        // Incremental: right where the checksum is still to be filled in by the interface (veth, a local sender), where
        // it is there, and where there is none (zero stays zero).
        self.0
            .l4_csum_replace(
                offset - CHECKSUM_BEFORE_PAYLOAD,
                0,
                difference,
                u64::from(BPF_F_MARK_MANGLED_0),
            )
            .map_err(|_| Spoiled)?;
        // The mended checksum makes up for it: nothing to recompute.
        self.0.store(offset, packet, 0).map_err(|_| Spoiled)
    }
}
