//! The pinned maps, as userspace sees them.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::ProgramInfo;
use detector_common::count::Count;
use detector_common::state::{Me, PeerKey, PeerState};

use super::Error;
use super::pins::Pins;

const ME: &str = "ME";
pub(super) const KEYS: &str = "KEYS";
const STATES: &str = "STATES";
const COUNTERS: &str = "COUNTERS";

/// `BPF_NOEXIST`.
const ONLY_IF_ABSENT: u64 = 1;

/// The maps of one program.
pub(super) struct KernelMaps {
    me: Array<MapData, [u64; Me::WORDS]>,
    keys: HashMap<MapData, u64, [u64; PeerKey::WORDS]>,
    states: HashMap<MapData, u64, [u64; PeerState::WORDS]>,
    counters: PerCpuArray<MapData, u64>,
    ids: [u32; 4],
    /// Members in the maps: all who have a state, with their keys. Spares the real-time thread a walk through the maps at
    /// each change of the roster.
    known: BTreeMap<u64, Option<PeerKey>>,
}

impl KernelMaps {
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        let mut ids = [0; 4];
        let mut open = |slot: usize, name: &str| -> Result<MapData, MapError> {
            let data = MapData::from_pin(pins.map(name))?;
            if let Some(id) = ids.get_mut(slot) {
                *id = data.info()?.id();
            }
            Ok(data)
        };
        let me = Array::try_from(Map::Array(open(0, ME)?))?;
        let keys: HashMap<_, _, [u64; PeerKey::WORDS]> = HashMap::try_from(Map::HashMap(open(1, KEYS)?))?;
        let states: HashMap<_, _, [u64; PeerState::WORDS]> =
            HashMap::try_from(Map::HashMap(open(2, STATES)?))?;
        let counters = PerCpuArray::try_from(Map::PerCpuArray(open(3, COUNTERS)?))?;
        let key_of = |peer: u64| (peer, keys.get(&peer, 0).ok().map(PeerKey::from_words));
        let known = states.keys().filter_map(Result::ok).map(key_of).collect();
        Ok(Self {
            me,
            keys,
            states,
            counters,
            ids,
            known,
        })
    }

    /// Whether a program works on these very maps, and not on ones whose pins were removed.
    pub(super) fn are_of(&self, program: &ProgramInfo) -> Result<bool, Error> {
        let used = program.map_ids()?;
        Ok(used.is_some_and(|used| self.ids.iter().all(|id| used.contains(id))))
    }

    pub(super) fn me(&self) -> Result<Me, Error> {
        Ok(Me::from_words(self.me.get(&0, 0)?))
    }

    pub(super) fn set_me(&mut self, me: &Me) -> Result<(), Error> {
        Ok(self.me.set(0, me.to_words(), 0)?)
    }

    /// Whether any member could be answered.
    pub(super) fn hold_keys(&self) -> bool {
        self.known.values().any(Option::is_some)
    }

    pub(super) fn state(&self, peer: u64) -> Option<PeerState> {
        let words = self.states.get(&peer, 0).ok()?;
        Some(PeerState::from_words(&words))
    }

    /// Joiners first: an element that a leaver gives free must not be given away while a program still writes to it.
    /// A state comes before its key, and goes after it, so that nothing is answered without one. What fails is tried again
    /// by the next call.
    pub(super) fn set_peers(&mut self, peers: &BTreeMap<u64, PeerKey>) -> Result<(), Error> {
        let mut first_error = Ok(());
        let mut note = |done: Result<(), MapError>| {
            if first_error.is_ok() {
                first_error = done;
            }
        };
        for (peer, key) in peers {
            if self.known.get(peer) != Some(&Some(*key)) {
                note(self.add(*peer, *key));
            }
        }
        let leavers: Vec<u64> = self
            .known
            .keys()
            .copied()
            .filter(|peer| !peers.contains_key(peer))
            .collect();
        for peer in leavers {
            note(self.remove(peer));
        }
        Ok(first_error?)
    }

    fn add(&mut self, peer: u64, key: PeerKey) -> Result<(), MapError> {
        if !self.known.contains_key(&peer) {
            self.states.insert(peer, [0; PeerState::WORDS], ONLY_IF_ABSENT)?;
            self.known.insert(peer, None);
        }
        self.keys.insert(peer, key.to_words(), 0)?;
        self.known.insert(peer, Some(key));
        Ok(())
    }

    fn remove(&mut self, peer: u64) -> Result<(), MapError> {
        if self.known.get(&peer).is_some_and(Option::is_some) {
            self.keys.remove(&peer)?;
            self.known.insert(peer, None);
        }
        self.states.remove(&peer)?;
        self.known.remove(&peer);
        Ok(())
    }

    /// Each counter over all CPUs.
    pub(super) fn counters(&self) -> Result<BTreeMap<u32, u64>, Error> {
        let sum = |index: u32| -> Result<(u32, u64), Error> {
            let values = self.counters.get(&index, 0)?;
            Ok((index, values.iter().sum()))
        };
        (0..Count::LEN).map(sum).collect()
    }
}
