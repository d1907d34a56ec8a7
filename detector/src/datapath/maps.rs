//! The pinned maps, as userspace sees them.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::SchedClassifier;
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
        let keys = HashMap::try_from(Map::HashMap(open(1, KEYS)?))?;
        let states = HashMap::try_from(Map::HashMap(open(2, STATES)?))?;
        let counters = PerCpuArray::try_from(Map::PerCpuArray(open(3, COUNTERS)?))?;
        Ok(Self {
            me,
            keys,
            states,
            counters,
            ids,
        })
    }

    /// Whether a program works on these very maps, and not on ones whose pins were removed.
    pub(super) fn are_of(&self, program: &SchedClassifier) -> Result<bool, Error> {
        let used = program.info()?.map_ids()?;
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
        self.keys.keys().next().is_some_and(|key| key.is_ok())
    }

    pub(super) fn state(&self, peer: u64) -> Option<PeerState> {
        let words = self.states.get(&peer, 0).ok()?;
        Some(PeerState::from_words(&words))
    }

    /// Joiners first: an element that a leaver gives free must not be given away while a program still writes to it.
    /// A state comes before its key, and goes after it, so that nothing is answered without one.
    pub(super) fn set_peers(&mut self, peers: &BTreeMap<u64, PeerKey>) -> Result<(), Error> {
        let mut first_error = Ok(());
        let mut note = |done: Result<(), MapError>| {
            if first_error.is_ok() {
                first_error = done;
            }
        };
        let empty = [0; PeerState::WORDS];
        for (peer, key) in peers {
            if self.states.get(peer, 0).is_err() {
                note(self.states.insert(peer, empty, ONLY_IF_ABSENT));
            }
            let words = key.to_words();
            if !matches!(self.keys.get(peer, 0), Ok(present) if present == words) {
                note(self.keys.insert(peer, words, 0));
            }
        }
        let leavers = |known: Vec<u64>| known.into_iter().filter(|peer| !peers.contains_key(peer));
        for peer in leavers(self.keys.keys().filter_map(Result::ok).collect()) {
            note(self.keys.remove(&peer));
        }
        for peer in leavers(self.states.keys().filter_map(Result::ok).collect()) {
            note(self.states.remove(&peer));
        }
        Ok(first_error?)
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
