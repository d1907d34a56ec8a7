//! From a received frame to what becomes of it: the one body of every entry.

use detector_common::check::{Answer, Refusal, Tables, is_sealed, respond};
use detector_common::packet::{Packet, SIZE};

use crate::frame::{Frame, Spoiled};
use crate::headers::{ETHER_IPV4, ETHER_IPV6, Headers, OverIpv4, OverIpv6};

/// A frame that was for us, and accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The frame is now the echo, and leads back to the sender.
    Echo,
    /// An echo: noted, and of no further use.
    Noted,
    /// A sealed control message: for the agent's socket.
    Sealed,
}

/// Why a frame is not ours, or came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// For somebody else.
    Foreign,
    /// For our port, but not acceptable.
    Refused(Refusal),
    /// Accepted, but the echo could not be written.
    Unsent,
}

impl From<Refusal> for Rejected {
    #[inline(always)]
    fn from(cause: Refusal) -> Self {
        Self::Refused(cause)
    }
}

impl From<Spoiled> for Rejected {
    #[inline(always)]
    fn from(_: Spoiled) -> Self {
        Self::Unsent
    }
}

/// Handles one frame. `now` is asked for only when the frame is ours.
///
/// The packet lies on the stack once for both families: the kernel gives 512 bytes.
#[inline(always)]
pub(crate) fn handle<F: Frame, T: Tables>(
    frame: &mut F,
    port: u16,
    tables: &T,
    now: impl FnOnce() -> u64,
) -> Result<Accepted, Rejected> {
    let family = frame.ether_type();
    let (at, payload) = match family {
        ETHER_IPV4 => find::<OverIpv4, F>(frame, port)?,
        ETHER_IPV6 => find::<OverIpv6, F>(frame, port)?,
        _ => return Err(Rejected::Foreign),
    };
    if payload != Some(SIZE) {
        let head: [u8; 2] = frame.load(at).ok_or(Refusal::Length)?;
        return if is_sealed(head) {
            Ok(Accepted::Sealed)
        } else {
            Err(Refusal::Length.into())
        };
    }
    let mut packet: Packet = frame.load(at).ok_or(Refusal::Length)?;
    if is_sealed([packet.version(), packet.kind()]) {
        return Ok(Accepted::Sealed);
    }
    match respond(&mut packet, now(), tables)? {
        Answer::Noted => Ok(Accepted::Noted),
        Answer::Echo => {
            match family {
                ETHER_IPV4 => turn_round::<OverIpv4, F>(frame)?,
                _ => turn_round::<OverIpv6, F>(frame)?,
            }
            frame.replace_packet(at, &packet)?;
            Ok(Accepted::Echo)
        }
    }
}

/// Where the UDP payload begins and how long it is (if the headers agree about that), when the frame is for our port.
#[inline(always)]
fn find<H: Headers, F: Frame>(frame: &F, port: u16) -> Result<(usize, Option<usize>), Rejected> {
    let headers: H = frame.load(0).ok_or(Rejected::Foreign)?;
    if headers.is_plain_udp() && headers.port() == port && frame.is_to_this_host() {
        Ok((size_of::<H>(), headers.payload()))
    } else {
        Err(Rejected::Foreign)
    }
}

#[inline(always)]
fn turn_round<H: Headers, F: Frame>(frame: &mut F) -> Result<(), Spoiled> {
    let mut headers: H = frame.load(0).ok_or(Spoiled)?;
    headers.turn_round();
    frame.replace_headers(&headers)
}

#[cfg(test)]
mod tests;
