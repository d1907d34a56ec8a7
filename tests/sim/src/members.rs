//! Who is in a simulated cluster: roster, addresses, and the secrets of its pairs.

use std::collections::{BTreeMap, BTreeSet};

use detector::identity::{BootId, MemberId};
use detector::keys::PairSecret;
use detector::rings::Rings;
use detector::roster::{Member, PublicKey, Roster, StewardEntry};

use crate::host::address;
use crate::network::End;
use crate::rng::{Rng, mix};

/// Up to this many members everybody has everybody's key; beyond it only those who may ever speak to each other.
const ALL_PAIRS: usize = 64;

/// The Node's name of a host.
#[must_use]
pub fn name(host: u32) -> String {
    format!("n{host}")
}

/// The Node's UID of a host.
#[must_use]
pub fn uid(host: u32) -> String {
    format!("uid-{host}")
}

/// The member id of a host's agent.
#[must_use]
pub fn agent_id(host: u32) -> MemberId {
    MemberId::of_node(&uid(host))
}

/// A random boot id.
pub fn boot(rng: &mut Rng) -> BootId {
    BootId(rng.word().max(1))
}

/// The id of a steward's process: its host and its start.
#[must_use]
pub fn steward_id(host: u32, start: u32) -> MemberId {
    MemberId::of_steward(&format!("steward-{host}-{start}"))
}

/// The members on hosts `0..nodes`, in `zones` domains in turn.
#[must_use]
pub fn roster(nodes: u32, zones: u32, stewards: &[(u32, MemberId)]) -> Roster {
    let members = (0..nodes).map(|host| {
        let member = Member {
            name: name(host),
            uid: uid(host),
            addresses: vec![address(End::agent(host)).ip()],
            zone: format!("z{}", host % zones.max(1)),
            key: Some(public_key(agent_id(host))),
            control_plane: false,
            leaving: false,
        };
        (agent_id(host), member)
    });
    let stewards = stewards.iter().map(|(host, id)| StewardEntry {
        id: *id,
        node: name(*host),
        address: address(End::steward(*host)),
        key: public_key(*id),
    });
    Roster {
        members: members.collect(),
        stewards: stewards.collect(),
    }
}

/// A name for a key that nobody computes with: pair secrets come from the seed.
fn public_key(id: MemberId) -> PublicKey {
    let mut bytes = [0; 32];
    for (nth, chunk) in (0_u64..).zip(bytes.as_chunks_mut::<8>().0) {
        *chunk = mix(id.0 ^ nth).to_be_bytes();
    }
    PublicKey(bytes)
}

/// What two members share, without the curve.
#[must_use]
pub fn pair(seed: u64, one: MemberId, other: MemberId) -> PairSecret {
    let (low, high) = (one.min(other), one.max(other));
    let start = mix(seed ^ mix(low.0) ^ mix(high.0).rotate_left(17));
    let mut bytes = [0; 32];
    for (nth, chunk) in (0_u64..).zip(bytes.as_chunks_mut::<8>().0) {
        *chunk = mix(start.wrapping_add(nth)).to_be_bytes();
    }
    PairSecret(bytes)
}

/// The secrets that an agent needs under this roster.
#[must_use]
pub fn agent_pairs(
    seed: u64,
    own: MemberId,
    roster: &Roster,
    rings: &Rings,
) -> BTreeMap<MemberId, PairSecret> {
    let mut peers: BTreeSet<MemberId> = roster.stewards.iter().map(|steward| steward.id).collect();
    if roster.members.len() <= ALL_PAIRS {
        peers.extend(roster.members.keys());
    } else {
        peers.extend(rings.observers(own));
        for subject in rings.subjects(own) {
            peers.insert(*subject);
            peers.extend(rings.observers(*subject));
        }
    }
    peers.remove(&own);
    peers
        .into_iter()
        .map(|peer| (peer, pair(seed, own, peer)))
        .collect()
}

/// The secrets that a steward needs: everybody's.
#[must_use]
pub fn steward_pairs(seed: u64, own: MemberId, roster: &Roster) -> BTreeMap<MemberId, PairSecret> {
    let stewards = roster.stewards.iter().map(|steward| steward.id);
    let members = roster.members.keys().copied();
    let peers = members.chain(stewards).filter(|peer| *peer != own);
    peers.map(|peer| (peer, pair(seed, own, peer))).collect()
}
