//! The members and the stewards: one value, the same on every node that holds the same version.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::MemberId;

pub mod file;
pub mod shard;
pub mod source;

/// Members beyond this are no cluster but an attack on our memory.
pub const MAX_MEMBERS: usize = 10_000;

/// Stewards beyond this are a mistake: three are enough.
pub const MAX_STEWARDS: usize = 16;

/// Addresses of one member beyond this are not kept.
pub const MAX_ADDRESSES: usize = 8;

/// The longest name, UID or zone: that of a Kubernetes object.
pub const MAX_NAME: usize = 253;

/// A public X25519 key, in hexadecimal where it is text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// One node with, or still without, an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The Node's name.
    pub name: String,
    /// The Node's UID; in a static roster the name.
    pub uid: String,
    /// InternalIPs, in the Node's order; the first is where it is asked.
    pub addresses: Vec<IpAddr>,
    /// Failure domain: label `topology.kubernetes.io/zone`, or empty.
    #[serde(default)]
    pub zone: String,
    /// Its agent's key. None: no agent has been there yet, so it can be neither asked nor judged.
    pub key: Option<PublicKey>,
    /// Control-plane node: alarm only.
    #[serde(default)]
    pub control_plane: bool,
    /// On its way out (deletionTimestamp, autoscaler or shutdown mark): watched, never acted on.
    #[serde(default)]
    pub leaving: bool,
}

/// One steward: on the host's network of a node, with a port of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StewardEntry {
    /// Hash of its instance.
    pub id: MemberId,
    /// The node that carries it: when that node is suspected, this steward acts last.
    pub node: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Lives in its memory, new with each start.
    pub key: PublicKey,
}

/// Everybody. Kept sorted by id, so that two equal rosters are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Members by id.
    pub members: BTreeMap<MemberId, Member>,
    /// Stewards in the order in which they act.
    pub stewards: Vec<StewardEntry>,
}

impl Member {
    /// Where its agent is asked; None: it has no address.
    #[must_use]
    pub fn socket(&self, port: u16) -> Option<SocketAddr> {
        let first = self.addresses.first()?;
        Some(SocketAddr::new(*first, port))
    }
}

impl Roster {
    /// Members in any order, by the ids that their UIDs give; stewards as they stand.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = Member>, stewards: Vec<StewardEntry>) -> Self {
        let by_id = |member: Member| (MemberId::of_node(&member.uid), member);
        Self {
            members: members.into_iter().map(by_id).collect(),
            stewards,
        }
    }

    /// The member of this name. Names are unique among Nodes at one time.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(MemberId, &Member)> {
        let found = self.members.iter().find(|(_, member)| member.name == name);
        found.map(|(id, member)| (*id, member))
    }

    /// The steward with this id.
    #[must_use]
    pub fn steward(&self, id: MemberId) -> Option<&StewardEntry> {
        self.stewards.iter().find(|steward| steward.id == id)
    }

    /// The members that can be asked, with their keys.
    pub fn keyed(&self) -> impl Iterator<Item = (MemberId, &Member, &PublicKey)> {
        self.members
            .iter()
            .filter_map(|(id, member)| Some((*id, member, member.key.as_ref()?)))
    }

    /// Names this roster: equal for equal rosters, in every version.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let digest = Sha256::digest(shard::encode_copy(self));
        let first = digest.first_chunk::<8>();
        first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a public key: 64 hexadecimal digits are wanted");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
