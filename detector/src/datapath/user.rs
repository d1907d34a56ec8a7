//! The same answers from the agent's socket, over tables in its own memory.

use std::collections::BTreeMap;

use detector_common::check::{Answer, Refusal, Tables, is_sealed, respond};
use detector_common::count::Count;
use detector_common::packet::{Packet, health};
use detector_common::state::{Me, PeerKey, PeerState};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// A probe: the datagram is now its echo, to be sent back where it came from.
    Reply,
    /// An echo, noted.
    Noted,
    /// A sealed control message, untouched.
    Sealed,
    /// Without effect.
    Refused(Refusal),
}

/// What the socket knows: the members as the kernel's maps hold them, but states of its own.
#[derive(Debug)]
pub(super) struct UserTables {
    pub(super) me: Me,
    peers: BTreeMap<u64, (PeerKey, PeerState)>,
    counters: BTreeMap<u32, u64>,
}

/// The tables of one datagram: the echo says that the kernel did not answer.
struct AsUser<'a> {
    me: Me,
    peers: &'a BTreeMap<u64, (PeerKey, PeerState)>,
}

impl Tables for AsUser<'_> {
    fn me(&self) -> Option<&Me> {
        Some(&self.me)
    }

    fn key(&self, peer: u64) -> Option<PeerKey> {
        self.peers.get(&peer).map(|(key, _)| *key)
    }

    fn state(&self, peer: u64) -> Option<&PeerState> {
        self.peers.get(&peer).map(|(_, state)| state)
    }
}

impl UserTables {
    /// Goes on as what an earlier agent left as `me`, but for its health: that was for this agent to say anew, and a
    /// shutdown that never came would be told for good.
    pub(super) fn new(me: Me) -> Self {
        me.health.set(0);
        Self {
            me,
            peers: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    pub(super) fn set_peers(&mut self, peers: &BTreeMap<u64, PeerKey>) {
        self.peers.retain(|peer, _| peers.contains_key(peer));
        for (peer, key) in peers {
            let entry = self.peers.entry(*peer);
            entry.or_insert_with(|| (*key, PeerState::default())).0 = *key;
        }
    }

    pub(super) fn state_of(&self, peer: u64) -> Option<&PeerState> {
        self.peers.get(&peer).map(|(_, state)| state)
    }

    pub(super) fn counters(&self) -> &BTreeMap<u32, u64> {
        &self.counters
    }

    pub(super) fn handle(&mut self, datagram: &mut [u8], now: u64) -> Handled {
        let handled = self.check(datagram, now);
        let counter = match handled {
            Handled::Reply => Count::Echoed,
            Handled::Noted => Count::Noted,
            Handled::Sealed => Count::Sealed,
            Handled::Refused(cause) => Count::Refused(cause),
        };
        *self.counters.entry(counter.index()).or_default() += 1;
        handled
    }

    fn check(&self, datagram: &mut [u8], now: u64) -> Handled {
        if let [version, kind, ..] = *datagram
            && is_sealed([version, kind])
        {
            return Handled::Sealed;
        }
        let Ok(mut packet) = Packet::read_from_bytes(datagram) else {
            return Handled::Refused(Refusal::Length);
        };
        let me = self.me.clone();
        me.health.set(me.health.get() | u64::from(health::USER_ECHO));
        let tables = AsUser {
            me,
            peers: &self.peers,
        };
        match respond(&mut packet, now, &tables) {
            Err(cause) => Handled::Refused(cause),
            Ok(Answer::Noted) => Handled::Noted,
            Ok(Answer::Echo) => {
                datagram.copy_from_slice(packet.as_bytes());
                Handled::Reply
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{Handled, UserTables};
    use detector_common::check::Refusal;
    use detector_common::count::Count;
    use detector_common::packet::{Be64, Packet, SIZE, VERSION, health, kind};
    use detector_common::state::{Me, PeerKey};
    use detector_common::word::Word;
    use zerocopy::{FromBytes as _, IntoBytes as _};

    const KEY: PeerKey = PeerKey { k0: 1, k1: 2, id: 3 };

    fn tables() -> UserTables {
        let me = Me {
            id: Word::new(5),
            ..Me::default()
        };
        let mut tables = UserTables::new(me);
        tables.me.health.set(u64::from(health::LEAVING));
        tables.set_peers(&[(7, KEY)].into());
        tables
    }

    fn probe() -> Vec<u8> {
        let mut packet = Packet::new(kind::PROBE, 3);
        packet.observer = Be64::new(7);
        packet.subject = Be64::new(5);
        packet.sequence = Be64::new(1 << 32);
        packet.seal(KEY.key());
        packet.as_bytes().to_vec()
    }

    #[test]
    fn a_probe_is_answered_and_says_by_whom() {
        let mut tables = tables();
        let mut datagram = probe();
        assert_eq!(tables.handle(&mut datagram, 9), Handled::Reply);
        let echo = Packet::read_from_bytes(&datagram).unwrap();
        assert_eq!(
            (echo.kind(), echo.health()),
            (kind::ECHO, health::LEAVING | health::USER_ECHO)
        );
        assert_eq!(tables.state_of(7).unwrap().heard_at.get(), 9);
        assert_eq!(tables.counters().get(&Count::Echoed.index()), Some(&1));
    }

    #[test]
    fn all_but_the_health_of_an_earlier_agent_is_taken_over() {
        let left = [5, 0xb007, 3, 9, u64::from(health::LEAVING | health::KUBELET_DOWN)];
        let tables = UserTables::new(Me::from_words(left));
        assert_eq!(tables.me.to_words(), [5, 0xb007, 3, 9, 0]);
    }

    #[test]
    fn sealed_of_any_length_goes_up_and_other_lengths_are_refused() {
        let mut tables = tables();
        for length in [2, SIZE, 1_400] {
            let mut datagram = vec![0; length];
            if let Some(head) = datagram.get_mut(..2) {
                head.copy_from_slice(&[VERSION, kind::SEALED]);
            }
            assert_eq!(tables.handle(&mut datagram, 9), Handled::Sealed);
        }
        for length in [0, 1, SIZE - 1, SIZE + 1] {
            let mut datagram = probe();
            datagram.resize(length, 0);
            assert_eq!(tables.handle(&mut datagram, 9), Handled::Refused(Refusal::Length));
        }
    }

    #[test]
    fn members_who_stay_keep_their_state_and_leavers_are_unknown() {
        let mut tables = tables();
        assert_eq!(tables.handle(&mut probe(), 9), Handled::Reply);
        tables.set_peers(&[(7, KEY), (8, KEY)].into());
        assert_eq!(tables.state_of(7).unwrap().heard_at.get(), 9);
        tables.set_peers(&[(8, KEY)].into());
        assert_eq!(
            tables.handle(&mut probe(), 10),
            Handled::Refused(Refusal::UnknownPeer)
        );
    }
}
