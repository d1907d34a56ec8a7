//! What `detector status` shows of the channels: plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Control, Counts, Refused};
use crate::identity::MemberId;
use crate::time::Instant;

/// The channel to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PeerStatus {
    /// Who.
    pub id: MemberId,
    /// Whether there is a sealed channel to it.
    pub connected: bool,
    /// Since its last message, in ms; None: none came.
    pub heard_ms: Option<f64>,
}

impl Control {
    /// A snapshot of the channel to `peer`.
    #[must_use]
    pub fn peer_status(&self, peer: MemberId, now: Instant) -> PeerStatus {
        let channel = self.channels.get(&peer);
        let heard = channel.and_then(|channel| channel.heard);
        PeerStatus {
            id: peer,
            connected: self.peer_incarnation(peer).is_some(),
            heard_ms: heard.map(|at| (now - at).as_secs_f64() * 1e3),
        }
    }
}

impl Counts {
    /// All of them by name, refusals by cause among them.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let refused = Refused::ALL.map(|cause| (format!("refused_{cause}"), self.refused(cause)));
        [
            ("received", self.received),
            ("sent", self.sent),
            ("repeated", self.repeated),
            ("hellos", self.hellos),
            ("replaced", self.replaced),
            ("given_up", self.given_up),
            ("dropped", self.dropped),
            ("misdirected", self.misdirected),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into_iter()
        .chain(refused)
        .collect()
    }
}
