//! The responder over bytes: what is ours, what is not, and how an echo's headers look.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use super::{Accepted, Rejected, handle};
use crate::frame::{Frame, Spoiled};
use detector_common::check::{Refusal, Tables};
use detector_common::packet::{Be64, Packet, SIZE, VERSION, kind};
use detector_common::state::{Me, PeerKey, PeerState};
use detector_common::word::Word;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const PORT: u16 = 273;
const OBSERVER: u64 = 7;
const SUBJECT: u64 = 5;
const KEY: PeerKey = PeerKey { k0: 1, k1: 2, id: 3 };

struct Bytes {
    frame: Vec<u8>,
    to_this_host: bool,
    read_only: bool,
}

impl Bytes {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Spoiled> {
        if self.read_only {
            return Err(Spoiled);
        }
        self.frame[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Frame for Bytes {
    fn ether_type(&self) -> u16 {
        word(&self.frame, 12)
    }
    fn is_to_this_host(&self) -> bool {
        self.to_this_host
    }
    fn load<T: FromBytes>(&self, offset: usize) -> Option<T> {
        T::read_from_bytes(self.frame.get(offset..offset + size_of::<T>())?).ok()
    }
    fn replace_headers<H: IntoBytes + Immutable>(&mut self, headers: &H) -> Result<(), Spoiled> {
        self.write(0, headers.as_bytes())
    }
    fn replace_packet(&mut self, offset: usize, packet: &Packet) -> Result<(), Spoiled> {
        self.write(offset, packet.as_bytes())
    }
}

struct Node {
    me: Me,
    state: PeerState,
}

impl Tables for Node {
    fn me(&self) -> Option<&Me> {
        Some(&self.me)
    }
    fn key(&self, peer: u64) -> Option<PeerKey> {
        (peer == OBSERVER).then_some(KEY)
    }
    fn state(&self, peer: u64) -> Option<&PeerState> {
        (peer == OBSERVER).then_some(&self.state)
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The ones' complement sum of an IPv4 header: 0xffff when its checksum is right.
fn sum(header: &[u8]) -> u16 {
    let total: u32 = header.chunks(2).map(|pair| u32::from(word(pair, 0))).sum();
    u16::try_from((total & 0xffff) + (total >> 16)).unwrap_or(0)
}

fn probe() -> Packet {
    let mut packet = Packet::new(kind::PROBE, 3);
    packet.observer = Be64::new(OBSERVER);
    packet.subject = Be64::new(SUBJECT);
    packet.sequence = Be64::new(1 << 32);
    packet.seal(KEY.key());
    packet
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 7];

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    set_word(&mut bytes, 0, 4_000);
    set_word(&mut bytes, 2, PORT);
    set_word(&mut bytes, 4, u16::try_from(8 + payload.len()).unwrap_or(0));
    bytes.extend_from_slice(payload);
    bytes
}

fn over_ipv4(payload: &[u8], hop_limit: u8) -> Vec<u8> {
    let udp = udp(payload);
    let mut ip = vec![0; 20];
    ip[0] = 0x45;
    set_word(&mut ip, 2, u16::try_from(20 + udp.len()).unwrap_or(0));
    set_word(&mut ip, 6, 0x4000);
    (ip[8], ip[9]) = (hop_limit, 17);
    ip[12..20].copy_from_slice(&[10, 0, 0, 7, 10, 0, 0, 5]);
    let checksum = !sum(&ip);
    set_word(&mut ip, 10, checksum);
    [&MACS[..], &[8, 0], &ip, &udp].concat()
}

fn over_ipv6(payload: &[u8]) -> Vec<u8> {
    let udp = udp(payload);
    let mut ip = vec![0; 40];
    ip[0] = 0x60;
    set_word(&mut ip, 4, u16::try_from(udp.len()).unwrap_or(0));
    (ip[6], ip[7]) = (17, 255);
    (ip[23], ip[39]) = (7, 5);
    [&MACS[..], &[0x86, 0xdd], &ip, &udp].concat()
}

fn run(frame: Vec<u8>) -> (Result<Accepted, Rejected>, Vec<u8>) {
    let mut bytes = Bytes {
        frame,
        to_this_host: true,
        read_only: false,
    };
    let handled = handle_one(&mut bytes);
    (handled, bytes.frame)
}

fn handle_one(bytes: &mut Bytes) -> Result<Accepted, Rejected> {
    let me = Me {
        id: Word::new(SUBJECT),
        ..Me::default()
    };
    let node = Node {
        me,
        state: PeerState::default(),
    };
    handle(bytes, PORT, &node, || 99)
}

#[test]
fn an_echo_leads_back_whence_the_probe_came() {
    for hop_limit in [1, 63, 64, 65, 128, 255] {
        let asked = over_ipv4(probe().as_bytes(), hop_limit);
        assert_eq!(sum(&asked[14..34]), 0xffff, "the test's own checksum");
        let (handled, frame) = run(asked.clone());
        assert_eq!(handled, Ok(Accepted::Echo));
        assert_eq!(frame.len(), asked.len());
        assert_eq!(frame[..12], [&MACS[6..], &MACS[..6]].concat());
        assert_eq!(
            (sum(&frame[14..34]), frame[22]),
            (0xffff, 64),
            "hop limit {hop_limit}"
        );
        assert_eq!(frame[26..34], [10, 0, 0, 5, 10, 0, 0, 7]);
        assert_eq!((word(&frame, 34), word(&frame, 36)), (PORT, 4_000));
        assert_eq!(frame[43], kind::ECHO);
    }
    let asked = over_ipv6(probe().as_bytes());
    let (handled, frame) = run(asked.clone());
    assert_eq!(handled, Ok(Accepted::Echo));
    assert_eq!(frame.len(), asked.len());
    assert_eq!((frame[37], frame[53], frame[21]), (5, 7, 64));
    assert_eq!(frame[63], kind::ECHO);
}

#[test]
fn what_is_not_ours_is_foreign_and_untouched() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Vec<u8>, Change); 9] = [
        ("ARP", over_ipv4(probe().as_bytes(), 64), |f| {
            set_word(f, 12, 0x0806);
        }),
        ("TCP", over_ipv4(probe().as_bytes(), 64), |f| f[23] = 6),
        ("another port", over_ipv4(probe().as_bytes(), 64), |f| {
            set_word(f, 36, 53);
        }),
        ("options", over_ipv4(probe().as_bytes(), 64), |f| f[14] = 0x46),
        ("first fragment", over_ipv4(probe().as_bytes(), 64), |f| {
            f[20] = 0x20;
        }),
        ("later fragment", over_ipv4(probe().as_bytes(), 64), |f| f[21] = 1),
        ("cut", over_ipv4(&[], 64), |f| f.truncate(41)),
        ("IPv6 fragment", over_ipv6(probe().as_bytes()), |f| f[20] = 44),
        ("another IPv6 port", over_ipv6(probe().as_bytes()), |f| {
            set_word(f, 56, 53);
        }),
    ];
    for (name, mut frame, change) in cases {
        change(&mut frame);
        assert_eq!(run(frame.clone()), (Err(Rejected::Foreign), frame), "{name}");
    }
    let frame = over_ipv4(probe().as_bytes(), 64);
    let mut broadcast = Bytes {
        frame,
        to_this_host: false,
        read_only: false,
    };
    assert_eq!(handle_one(&mut broadcast), Err(Rejected::Foreign));
}

#[test]
fn lengths_that_lie_are_refused() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change); 5] = [
        ("UDP shorter", |f| set_word(f, 38, 103)),
        ("UDP longer", |f| set_word(f, 38, 105)),
        ("IP shorter", |f| set_word(f, 16, 123)),
        ("IP longer", |f| set_word(f, 16, 125)),
        ("the frame ends before", |f| f.truncate(137)),
    ];
    for (name, change) in cases {
        let mut frame = over_ipv4(probe().as_bytes(), 64);
        change(&mut frame);
        let refused = Err(Rejected::Refused(Refusal::Length));
        assert_eq!(run(frame.clone()), (refused, frame), "{name}");
    }
    for length in [0, 1, SIZE - 1, SIZE + 1, 1_400] {
        let (handled, _) = run(over_ipv6(&vec![0; length]));
        assert_eq!(handled, Err(Rejected::Refused(Refusal::Length)), "{length} bytes");
    }
}

#[test]
fn sealed_messages_of_any_length_pass() {
    for length in [2, SIZE, 1_400] {
        let mut payload = vec![0; length];
        payload[..2].copy_from_slice(&[VERSION, kind::SEALED]);
        for frame in [over_ipv4(&payload, 64), over_ipv6(&payload)] {
            assert_eq!(
                run(frame.clone()),
                (Ok(Accepted::Sealed), frame),
                "{length} bytes"
            );
        }
    }
}

#[test]
fn an_echo_that_cannot_be_written_is_not_sent() {
    let frame = over_ipv4(probe().as_bytes(), 64);
    let mut bytes = Bytes {
        frame,
        to_this_host: true,
        read_only: true,
    };
    assert_eq!(handle_one(&mut bytes), Err(Rejected::Unsent));
}
