//! A host's kernel: the maps of the echo program in memory, and the real order of checks over them.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use detector::identity::MemberId;
use detector::observer::Arrivals;
use detector_common::check::{Answer, Refusal, Tables, respond};
use detector_common::packet::Packet;
use detector_common::state::{Me, PeerKey, PeerState};

struct Peer {
    id: u64,
    key: PeerKey,
    /// Made at the first packet: most members of a large roster never speak to each other.
    state: OnceCell<Box<PeerState>>,
}

/// The pinned maps: they outlive the agent, not the boot.
#[derive(Default)]
pub struct Kernel {
    /// Who this host is.
    pub me: Me,
    /// Sorted by id.
    peers: Vec<Peer>,
    /// Refused packets by cause.
    pub refused: [u64; Refusal::ALL.len()],
}

impl Kernel {
    /// The agent's command: exactly these members have a key; what was heard of those that stay is kept.
    pub fn set_peers(&mut self, keys: &BTreeMap<u64, PeerKey>) {
        let mut known: BTreeMap<u64, Peer> = std::mem::take(&mut self.peers)
            .into_iter()
            .map(|peer| (peer.id, peer))
            .collect();
        self.peers = keys
            .iter()
            .map(|(id, key)| Peer {
                id: *id,
                key: *key,
                state: known.remove(id).map(|peer| peer.state).unwrap_or_default(),
            })
            .collect();
    }

    /// What was heard of this member; None: no member, or nothing yet.
    #[must_use]
    pub fn heard(&self, peer: u64) -> Option<&PeerState> {
        self.find(peer)?.state.get().map(|state| &**state)
    }

    /// A packet comes in at the host's time `now`. An echo to send is left in `packet`.
    ///
    /// # Errors
    /// Those of [`respond`], which are counted here as the kernel counts them.
    pub fn receive(&mut self, packet: &mut Packet, now: u64) -> Result<Answer, Refusal> {
        let answer = respond(packet, now, &*self);
        if let Err(refusal) = answer {
            self.refused[refusal as usize] += 1;
        }
        answer
    }

    fn find(&self, peer: u64) -> Option<&Peer> {
        let index = self.peers.binary_search_by_key(&peer, |entry| entry.id).ok()?;
        self.peers.get(index)
    }
}

impl Tables for Kernel {
    fn me(&self) -> Option<&Me> {
        Some(&self.me)
    }

    fn key(&self, peer: u64) -> Option<PeerKey> {
        self.find(peer).map(|entry| entry.key)
    }

    fn state(&self, peer: u64) -> Option<&PeerState> {
        self.find(peer)
            .map(|entry| &**entry.state.get_or_init(Box::default))
    }
}

impl Arrivals for Kernel {
    fn state(&self, peer: MemberId) -> Option<PeerState> {
        self.find(peer.0)
            .map(|entry| entry.state.get_or_init(Box::default).as_ref().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use detector_common::check::{Answer, Refusal};
    use detector_common::packet::{Be64, Packet, kind};
    use detector_common::state::PeerKey;

    use super::Kernel;

    const KEY: PeerKey = PeerKey { k0: 1, k1: 2, id: 3 };

    fn host(id: u64, peer: u64) -> Kernel {
        let mut kernel = Kernel::default();
        kernel.me.id.set(id);
        kernel.me.boot.set(id * 10);
        kernel.me.incarnation.set(5);
        kernel.set_peers(&BTreeMap::from([(peer, KEY)]));
        kernel
    }

    fn probe(sequence: u64) -> Packet {
        let mut packet = Packet::new(kind::PROBE, 3);
        packet.observer = Be64::new(1);
        packet.subject = Be64::new(2);
        packet.sequence = Be64::new(5 << 32 | sequence);
        packet.observer_time = Be64::new(1_000);
        packet.seal(KEY.key());
        packet
    }

    #[test]
    fn a_probe_becomes_an_echo_that_its_observer_notes() {
        let (mut observer, mut subject) = (host(1, 2), host(2, 1));
        let mut packet = probe(1);
        assert_eq!(subject.receive(&mut packet, 77), Ok(Answer::Echo));
        assert_eq!(observer.receive(&mut packet, 2_000), Ok(Answer::Noted));
        let heard = observer.heard(2).expect("an echo came");
        assert_eq!(heard.echoed_boot.get(), 20);
        assert_eq!(heard.echoed_at.get(), 2_000);
        assert_eq!(heard.echoed_offset.get(), 77_u64.wrapping_sub(2_000));
    }

    #[test]
    fn a_member_that_goes_is_forgotten_and_one_that_stays_is_not() {
        let mut subject = host(2, 1);
        let mut packet = probe(1);
        assert_eq!(subject.receive(&mut packet, 77), Ok(Answer::Echo));
        subject.set_peers(&BTreeMap::from([(1, KEY), (9, KEY)]));
        assert_eq!(subject.heard(1).expect("kept").heard_at.get(), 77);
        subject.set_peers(&BTreeMap::from([(9, KEY)]));
        assert_eq!(subject.receive(&mut probe(2), 78), Err(Refusal::UnknownPeer));
        assert_eq!(subject.refused[Refusal::UnknownPeer as usize], 1);
    }
}
