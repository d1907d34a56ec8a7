//! What a steward needs of a roster. Built outside the real-time thread: the graph of 5,000 members takes longer than
//! a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::identity::MemberId;
use crate::keys::PairSecret;
use crate::rings::Rings;
use crate::roster::Roster;

/// Who reports about whom, and how they are reached.
#[derive(Clone)]
pub struct Members {
    /// [`Roster::hash`].
    pub(super) roster: u64,
    pub(super) rings: Rings,
    /// Every agent, and the other stewards.
    pub(super) channels: BTreeMap<MemberId, (SocketAddr, PairSecret)>,
    /// The other stewards.
    pub(super) fellows: BTreeSet<MemberId>,
}

impl Members {
    /// Of the steward `own` in `roster`. `pairs` holds the secret of every member and steward that this process can
    /// share one with; others are left out. `port` is that of all agents.
    #[must_use]
    pub fn new(own: MemberId, port: u16, roster: &Roster, pairs: &BTreeMap<MemberId, PairSecret>) -> Self {
        let agents = roster
            .members
            .iter()
            .filter_map(|(id, member)| Some((*id, member.socket(port)?)));
        let fellows = roster.stewards.iter().filter(|steward| steward.id != own);
        let addresses = agents.chain(fellows.clone().map(|steward| (steward.id, steward.address)));
        Self {
            roster: roster.hash(),
            rings: Rings::new(roster),
            channels: addresses
                .filter_map(|(id, address)| Some((id, (address, pairs.get(&id)?.clone()))))
                .collect(),
            fellows: fellows.map(|steward| steward.id).collect(),
        }
    }
}
