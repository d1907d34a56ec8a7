//! The roster as a role uses it: from file or API, the copy on disk for outages, and the pairs' secrets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use detector::disk::FileSource;
use detector::identity::MemberId;
use detector::keys::{HostKey, PairSecret};
use detector::kube::agent::MapSource;
use detector::roster::source::{Source, SourceError};
use detector::roster::{PublicKey, Roster};

/// Where rosters come from.
pub(crate) enum AnySource {
    /// A static file.
    File(FileSource),
    /// The stewards' ConfigMaps.
    Maps(MapSource),
}

impl Source for AnySource {
    async fn next(&mut self) -> Result<Roster, SourceError> {
        match self {
            Self::File(source) => source.next().await,
            Self::Maps(source) => source.next().await,
        }
    }
}

/// The secrets of all pairs of this host, kept over rosters: 40 µs of curve work each.
pub(crate) struct Pairs {
    key: HostKey,
    known: BTreeMap<PublicKey, PairSecret>,
}

impl Pairs {
    pub(crate) const fn new(key: HostKey) -> Self {
        Self {
            key,
            known: BTreeMap::new(),
        }
    }

    /// The secrets with everybody in this roster but ourselves.
    pub(crate) fn with(&mut self, roster: &Roster, own: MemberId) -> BTreeMap<MemberId, PairSecret> {
        let members = roster.keyed().map(|(id, _, key)| (id, *key));
        let stewards = roster.stewards.iter().map(|steward| (steward.id, steward.key));
        let wanted: Vec<_> = members.chain(stewards).filter(|(id, _)| *id != own).collect();
        self.known
            .retain(|known, _| wanted.iter().any(|(_, key)| key == known));
        let mut pairs = BTreeMap::new();
        for (id, public) in wanted {
            let secret = match self.known.get(&public) {
                Some(secret) => Some(secret.clone()),
                None => self.key.pair(&public),
            };
            match secret {
                Some(secret) => {
                    self.known.insert(public, secret.clone());
                    pairs.insert(id, secret);
                }
                None => tracing::warn!(member = %id, key = %public, "a public key of low order: left out"),
            }
        }
        pairs
    }
}

/// Where the other members are reached: their routes tell the interfaces.
pub(crate) fn addresses(roster: &Roster, own: MemberId) -> Vec<IpAddr> {
    let others = roster.members.iter().filter(|(id, _)| **id != own);
    others
        .flat_map(|(_, member)| member.addresses.iter().copied())
        .collect()
}
