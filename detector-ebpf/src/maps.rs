//! The loader's constant; the maps, pinned by name, and the tables that the checks see in them.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use detector_common::check::Tables;
use detector_common::count::Count;
use detector_common::state::{MAX_MEMBERS, Me, PeerKey, PeerState};

/// The agents' port, set by the loader.
#[unsafe(no_mangle)]
pub(crate) static PORT: Global<u16> = Global::new(0);

/// Who this node is.
#[map]
static ME: Array<Me> = Array::pinned(1, 0);

/// The pairs' tag keys by member. Not preallocated: memory follows the roster (3 MiB less in a small cluster), and only
/// userspace, where allocation may fail aloud, ever inserts.
#[map]
static KEYS: HashMap<u64, PeerKey> = HashMap::pinned(MAX_MEMBERS, BPF_F_NO_PREALLOC);

/// What was heard of each member. Userspace inserts and removes; this side only writes words.
#[map]
static STATES: HashMap<u64, PeerState> = HashMap::pinned(MAX_MEMBERS, BPF_F_NO_PREALLOC);

/// Packets by what became of them, see [`Count`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(Count::LEN, 0);

/// Counts one packet.
#[inline(always)]
pub(crate) fn count(what: Count) {
    if let Some(counter) = COUNTERS.get_ptr_mut(what.index()) {
        // SAFETY: the slot is this CPU's own, and programs do not preempt each other on one CPU at these hooks.
        unsafe { *counter += 1 }
    }
}

/// The kernel's maps as [`Tables`].
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn me(&self) -> Option<&Me> {
        ME.get(0)
    }

    #[inline(always)]
    fn key(&self, peer: u64) -> Option<PeerKey> {
        // SAFETY: an element stays readable until this program has ended (RCU). Were a removed one given to another
        // member meanwhile, the tag would be wrong and the packet refused.
        unsafe { KEYS.get(peer) }.copied()
    }

    #[inline(always)]
    fn state(&self, peer: u64) -> Option<&PeerState> {
        // SAFETY: as for the key; all fields are words, and programs read and write each whole (a system call copies the
        // value as bytes, see `Word`). Userspace adds members before it removes any, so that a removed element is not
        // given away while a program may still write its stamps.
        unsafe { STATES.get(peer) }
    }
}
