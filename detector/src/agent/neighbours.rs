//! What one agent needs of a roster. Built outside the real-time thread: the graph of 5,000 members takes longer than
//! a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use detector_common::state::PeerKey;

use crate::identity::MemberId;
use crate::keys::PairSecret;
use crate::observer::Watch;
use crate::rings::Rings;
use crate::roster::{Roster, StewardEntry};

/// A steward, as an agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StewardHost {
    pub(super) id: MemberId,
    /// The host that its messages come from; None: this one, or nobody can tell, so that they prove nothing about the
    /// own receive path.
    pub(super) host: Option<MemberId>,
}

/// Whom one agent asks, tells, and answers.
#[derive(Clone)]
pub struct Neighbours {
    /// [`Roster::hash`].
    pub(super) roster: u64,
    /// How many members the roster has.
    pub(super) members: usize,
    pub(super) watches: Vec<Watch>,
    /// Who watches this host.
    pub(super) watchers: Vec<MemberId>,
    /// The tag key of every member: whoever is one gets its echo.
    pub(super) keys: BTreeMap<u64, PeerKey>,
    /// With whom control messages are exchanged: stewards, and the other observers of the own subjects.
    pub(super) channels: BTreeMap<MemberId, (SocketAddr, PairSecret)>,
    pub(super) stewards: Vec<StewardHost>,
}

impl Neighbours {
    /// Of `own` in `roster`, whose graph is `rings`. `pairs` holds the secret of every member and steward that this
    /// host can share one with; others are left out. `port` is that of all agents.
    #[must_use]
    pub fn new(
        own: MemberId,
        port: u16,
        roster: &Roster,
        rings: &Rings,
        pairs: &BTreeMap<MemberId, PairSecret>,
    ) -> Self {
        let address = |id: &MemberId| roster.members.get(id)?.socket(port);
        let known = pairs
            .iter()
            .filter(|(id, _)| **id != own && roster.members.contains_key(id));
        let keys: BTreeMap<u64, PeerKey> = known.map(|(id, pair)| (id.0, pair.tag_key())).collect();
        let mut watches = Vec::new();
        let mut colleagues = BTreeSet::new();
        for subject in rings.subjects(own) {
            let (Some(address), Some(key)) = (address(subject), keys.get(&subject.0)) else {
                continue;
            };
            let observers = rings.observers(*subject);
            colleagues.extend(observers.iter().filter(|observer| **observer != own));
            watches.push(Watch {
                id: *subject,
                address,
                key: *key,
                observers: observers.to_vec(),
            });
        }
        let members = colleagues.iter().filter_map(|id| Some((*id, address(id)?)));
        let stewards = roster
            .stewards
            .iter()
            .map(|steward| (steward.id, steward.address));
        let with_secret = |(id, to)| Some((id, (to, pairs.get(&id)?.clone())));
        Self {
            roster: roster.hash(),
            members: roster.members.len(),
            watches,
            watchers: rings.observers(own).to_vec(),
            channels: members.chain(stewards).filter_map(with_secret).collect(),
            keys,
            stewards: roster
                .stewards
                .iter()
                .map(|steward| host_of(steward, roster, own))
                .collect(),
        }
    }
}

/// On which host a steward runs: by the node it names, else by its address.
fn host_of(steward: &StewardEntry, roster: &Roster, own: MemberId) -> StewardHost {
    let ip = steward.address.ip();
    let mut members = roster.members.iter();
    let named = roster.named(&steward.node).map(|(id, _)| id);
    let member = named.or_else(|| {
        members
            .find(|(_, member)| member.addresses.contains(&ip))
            .map(|(id, _)| *id)
    });
    let elsewhere = !ip.is_loopback() && !ip.is_unspecified();
    StewardHost {
        id: steward.id,
        host: member
            .or(elsewhere.then_some(steward.id))
            .filter(|host| *host != own),
    }
}
