//! What our ConfigMaps should hold, against what they hold: pure. Any steward writes it, the first in order at once, the
//! next ones later: level by level, so that a steward that dies half-way is made up for.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::identity::MemberId;
use crate::names;
use crate::remedy::Mode;
use crate::remedy::request::{Http, config_map};
use crate::roster::shard::{self, Shards};
use crate::roster::{MAX_MEMBERS, MAX_STEWARDS, Member, Roster, StewardEntry};
use crate::time::Instant;

/// Changes of Nodes are collected for this time: a rollout changes many.
const BATCH: Duration = Duration::from_millis(200);

/// A steward further back writes so much later.
const TURN: Duration = Duration::from_secs(2);

/// The next try after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// A steward that was heard, and then not for this time, is taken out of the roster.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// One that was never heard, for this time since it was first seen in the list: whoever heard it last is gone too, as
/// after an update of all. Longer, as it may be that its greetings do not arrive here yet.
const NEVER_HEARD: Duration = Duration::from_secs(300);

/// A ConfigMap of ours, as the watch shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapState {
    /// Of this state.
    pub resource_version: String,
    /// The text under the key that is ours; None: there is none.
    pub text: Option<String>,
}

/// One write of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Its name.
    pub name: &'static str,
    /// The version that is changed; None: it is made.
    pub resource_version: Option<String>,
    /// Key and text; None: it is made empty.
    pub data: Option<(&'static str, String)>,
}

impl Publish {
    /// As HTTP.
    #[must_use]
    pub fn http(&self) -> Http {
        let mut body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.name, "namespace": names::NAMESPACE},
        });
        if let (Some((key, text)), Some(body)) = (&self.data, body.as_object_mut()) {
            body.insert("data".into(), json!({*key: text}));
        }
        let Some(version) = &self.resource_version else {
            return Http {
                method: "POST",
                path: format!("/api/v1/namespaces/{}/configmaps", names::NAMESPACE),
                content_type: Some("application/json"),
                body,
            };
        };
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), json!(version));
        }
        Http {
            method: "PATCH",
            path: config_map(self.name),
            content_type: Some("application/merge-patch+json"),
            body,
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Publisher {
    own: StewardEntry,
    mode: Mode,
    members: BTreeMap<MemberId, Member>,
    synced: bool,
    /// The members' text, made when it is first wanted after a change: thousands of them are hundreds of kilobytes.
    text: OnceLock<Option<String>>,
    /// None inside: the watch says that there is no such object.
    maps: BTreeMap<&'static str, Option<MapState>>,
    stewards: Vec<StewardEntry>,
    heard: BTreeMap<MemberId, Instant>,
    /// When those in the list were first seen there.
    listed: BTreeMap<MemberId, Instant>,
    /// When what is wanted last changed.
    since: Instant,
    flight: Option<&'static str>,
    retry: Instant,
    changed: bool,
}

impl Publisher {
    /// A steward that has seen nothing yet. In `observe` it makes no ledger: nothing is written there.
    #[must_use]
    pub const fn new(own: StewardEntry, mode: Mode) -> Self {
        Self {
            own,
            mode,
            members: BTreeMap::new(),
            synced: false,
            text: OnceLock::new(),
            maps: BTreeMap::new(),
            stewards: Vec::new(),
            heard: BTreeMap::new(),
            listed: BTreeMap::new(),
            since: Instant(0),
            flight: None,
            retry: Instant(0),
            changed: false,
        }
    }

    /// A Node, new or changed.
    pub fn handle_member(&mut self, member: Member, now: Instant) {
        let id = MemberId::of_node(&member.uid);
        if self.members.get(&id) == Some(&member) || self.members.len() >= MAX_MEMBERS {
            return;
        }
        // A Node that was made again under its name before its end was seen.
        self.members.retain(|_, other| other.name != member.name);
        self.members.insert(id, member);
        self.touch(now);
    }

    /// A Node is gone.
    pub fn handle_member_gone(&mut self, uid: &str, now: Instant) {
        if self.members.remove(&MemberId::of_node(uid)).is_some() {
            self.touch(now);
        }
    }

    /// All Nodes have been seen once.
    pub fn handle_synced(&mut self, now: Instant) {
        if !self.synced {
            self.synced = true;
            self.touch(now);
        }
    }

    /// One of our ConfigMaps.
    pub fn handle_map(&mut self, name: &'static str, state: Option<MapState>, now: Instant) {
        if name == names::STEWARDS {
            let text = state.as_ref().and_then(|state| state.text.as_deref());
            let stewards = text.map(stewards_of).unwrap_or_default();
            if stewards != self.stewards {
                self.stewards = stewards;
                self.changed = true;
                let before = std::mem::take(&mut self.listed);
                let of = |entry: &StewardEntry| (entry.id, before.get(&entry.id).copied().unwrap_or(now));
                self.listed = self.stewards.iter().map(of).collect();
            }
        }
        if self.maps.get(name) != Some(&state) {
            self.maps.insert(name, state);
            self.since = self.since.max(now);
        }
    }

    /// Another steward greeted.
    pub fn handle_heard(&mut self, steward: MemberId, now: Instant) {
        self.heard.insert(steward, now);
    }

    /// A write ended.
    pub fn handle_written(&mut self, name: &'static str, done: bool, now: Instant) {
        if self.flight == Some(name) {
            self.flight = None;
        }
        // Until the watch shows it: what is written again has an old version, and is refused.
        self.retry = now + if done { BATCH } else { RETRY };
    }

    fn touch(&mut self, now: Instant) {
        self.since = now;
        self.changed = true;
        self.text = OnceLock::new();
    }

    /// Members and stewards as this steward sees them, if it has seen all and they changed since the last call.
    pub fn take_roster(&mut self) -> Option<Roster> {
        (self.synced && std::mem::take(&mut self.changed)).then(|| self.roster())
    }

    fn roster(&self) -> Roster {
        Roster::new(self.members.values().cloned(), self.stewards.clone())
    }

    fn members_text(&self) -> Option<&str> {
        let make = || shard::encode_members(&self.roster(), 1).into_iter().next();
        self.text.get_or_init(make).as_deref()
    }

    fn rank(&self) -> u32 {
        let place = self.stewards.iter().position(|entry| entry.id == self.own.id);
        u32::try_from(place.unwrap_or(self.stewards.len())).unwrap_or(u32::MAX)
    }

    /// The next write, if its turn has come.
    pub fn poll(&mut self, now: Instant) -> Option<Publish> {
        if self.flight.is_some() || now < self.retry {
            return None;
        }
        let publish = self
            .wanted(now)
            .filter(|(at, _)| now >= *at)
            .map(|(_, publish)| publish)?;
        self.flight = Some(publish.name);
        Some(publish)
    }

    /// When [`Self::poll`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        if self.flight.is_some() {
            return Instant::NEVER;
        }
        let others = self.stewards.iter().filter(|entry| **entry != self.own);
        let forgotten = others
            .map(|entry| self.silent_from(entry.id))
            .filter(|&at| at > now)
            .min();
        let wanted = self.wanted(now).map(|(at, _)| at.max(self.retry));
        forgotten
            .into_iter()
            .chain(wanted)
            .min()
            .unwrap_or(Instant::NEVER)
    }

    /// What should be written, and from when on by this steward.
    fn wanted(&self, now: Instant) -> Option<(Instant, Publish)> {
        let turn = self.since + TURN * self.rank();
        // Oneself: at once.
        if let Some(state) = self.maps.get(names::STEWARDS) {
            let wanted = self.wanted_stewards(now);
            if wanted != self.stewards || state.as_ref().is_none_or(|state| state.text.is_none()) {
                let own = self.stewards.iter().any(|entry| entry == &self.own);
                let text = shard::encode_stewards(&Roster::new([], wanted));
                let at = if own { turn } else { now };
                return Some((
                    at,
                    publish(names::STEWARDS, state.as_ref(), Some((shard::STEWARDS, text))),
                ));
            }
        }
        if self.mode == Mode::Enforce
            && let Some(None) = self.maps.get(names::LEDGER)
        {
            return Some((turn, publish(names::LEDGER, None, None)));
        }
        let state = self.maps.get(names::ROSTER).filter(|_| self.synced)?;
        let text = self.members_text()?;
        let held = state.as_ref().and_then(|state| state.text.as_deref());
        if held == Some(text) || text.len() > shard::MAX_SHARD {
            return None;
        }
        Some((
            turn + BATCH,
            publish(
                names::ROSTER,
                state.as_ref(),
                Some((shard::MEMBERS, text.to_owned())),
            ),
        ))
    }

    /// From when on a steward counts as silent, if it is not heard until then.
    fn silent_from(&self, steward: MemberId) -> Instant {
        let listed = self.listed.get(&steward).map(|&listed| listed + NEVER_HEARD);
        let heard = self.heard.get(&steward).map(|&heard| heard + FORGOTTEN);
        heard.or(listed).unwrap_or(Instant::NEVER)
    }

    /// The stewards without those that this one has replaced or that have fallen silent, and with oneself.
    fn wanted_stewards(&self, now: Instant) -> Vec<StewardEntry> {
        let silent = |entry: &StewardEntry| now >= self.silent_from(entry.id);
        let stays = |entry: &&StewardEntry| {
            **entry == self.own
                || (entry.id != self.own.id && entry.address != self.own.address && !silent(entry))
        };
        let mut wanted: Vec<StewardEntry> = self.stewards.iter().filter(stays).cloned().collect();
        if !wanted.contains(&self.own) {
            // The oldest strangers make room.
            while wanted.len() >= MAX_STEWARDS {
                wanted.remove(0);
            }
            wanted.push(self.own.clone());
        }
        wanted
    }
}

fn publish(name: &'static str, state: Option<&MapState>, data: Option<(&'static str, String)>) -> Publish {
    Publish {
        name,
        resource_version: state.map(|state| state.resource_version.clone()),
        data,
    }
}

/// The stewards in a text; none where it is not understood: they will enter themselves again.
fn stewards_of(text: &str) -> Vec<StewardEntry> {
    let mut shards = Shards::default();
    let nobody = shard::encode_members(&Roster::default(), 1);
    let read = shards
        .handle_stewards(text)
        .and_then(|()| nobody.iter().try_for_each(|text| shards.handle_members(text)));
    if let Err(error) = read {
        tracing::error!(%error, map = names::STEWARDS, "the list of stewards is not understood and written anew");
    }
    shards.roster().map(|roster| roster.stewards).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::roster::PublicKey;

    const T: Instant = Instant(1_000_000_000_000);

    fn steward(n: u8) -> StewardEntry {
        StewardEntry {
            id: MemberId(u64::from(n)),
            node: format!("n{n}"),
            address: ([10, 0, 0, n], 274).into(),
            key: PublicKey([n; 32]),
        }
    }

    fn member(name: &str) -> Member {
        Member {
            name: name.into(),
            uid: format!("uid-{name}"),
            addresses: vec![],
            zone: String::new(),
            key: None,
            control_plane: false,
            leaving: false,
        }
    }

    fn stewards(list: &[StewardEntry]) -> Option<MapState> {
        Some(MapState {
            resource_version: "5".into(),
            text: Some(shard::encode_stewards(&Roster::new([], list.to_vec()))),
        })
    }

    /// All that is there: an empty ledger, a roster without text, and these stewards.
    fn publisher(own: u8, list: &[StewardEntry]) -> Publisher {
        let mut publisher = Publisher::new(steward(own), Mode::Enforce);
        publisher.handle_map(names::STEWARDS, stewards(list), T);
        publisher.handle_map(names::LEDGER, Some(MapState::default()), T);
        publisher.handle_map(names::ROSTER, Some(MapState::default()), T);
        publisher
    }

    fn listed(publish: &Publish) -> Vec<u64> {
        let (_, text) = publish.data.as_ref().unwrap();
        stewards_of(text).iter().map(|entry| entry.id.0).collect()
    }

    #[test]
    fn a_steward_enters_itself_and_puts_out_whose_place_it_took() {
        let mut replaced = steward(9);
        replaced.address = steward(2).address;
        let mut publisher = publisher(2, &[replaced, steward(1)]);
        let publish = publisher.poll(T).unwrap();
        assert_eq!(listed(&publish), [1, 2]);
        assert_eq!(publish.resource_version.as_deref(), Some("5"));
        assert_eq!(publisher.poll(T), None, "one at a time");
        publisher.handle_map(names::STEWARDS, stewards(&[steward(1), steward(2)]), T);
        publisher.handle_written(names::STEWARDS, true, T);
        assert_eq!(publisher.poll(T + RETRY), None);
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_not_understood_written_anew() {
        let mut publisher = Publisher::new(steward(1), Mode::Enforce);
        assert_eq!(publisher.poll(T), None, "nothing is known yet");
        publisher.handle_map(names::STEWARDS, None, T);
        let publish = publisher.poll(T).unwrap();
        assert_eq!(
            (publish.resource_version.clone(), publish.http().method),
            (None, "POST")
        );
        let nonsense = Some(MapState {
            resource_version: "8".into(),
            text: Some("nonsense".into()),
        });
        publisher.handle_map(names::STEWARDS, nonsense, T);
        publisher.handle_written(names::STEWARDS, false, T);
        assert_eq!(listed(&publisher.poll(T + RETRY).unwrap()), [1]);
        publisher.handle_map(names::STEWARDS, stewards(&[steward(1)]), T);
        publisher.handle_map(names::LEDGER, None, T);
        publisher.handle_written(names::STEWARDS, true, T);
        let ledger = publisher.poll(T + RETRY).unwrap();
        assert_eq!((ledger.name, ledger.data), (names::LEDGER, None));
    }

    #[test]
    fn observe_makes_no_ledger() {
        for (mode, makes) in [(Mode::Observe, false), (Mode::Enforce, true)] {
            let mut publisher = Publisher::new(steward(1), mode);
            publisher.handle_map(names::STEWARDS, stewards(&[steward(1)]), T);
            publisher.handle_map(names::LEDGER, None, T);
            assert_eq!(publisher.poll(T).is_some(), makes, "{mode:?}");
        }
    }

    #[test]
    fn the_first_writes_the_roster_and_the_second_only_if_it_does_not() {
        let both = [steward(1), steward(2)];
        for (own, wait) in [(1, Duration::ZERO), (2, TURN)] {
            let mut publisher = publisher(own, &both);
            publisher.handle_member(member("a"), T);
            assert_eq!(
                publisher.poll(T + TURN * 5),
                None,
                "not before all Nodes were seen"
            );
            publisher.handle_synced(T);
            let at = publisher.poll_timeout(T);
            assert_eq!(at, T + wait + BATCH);
            let publish = publisher.poll(at).unwrap();
            let (key, text) = publish.data.clone().unwrap();
            assert_eq!((publish.name, key), (names::ROSTER, shard::MEMBERS));
            let shown = MapState {
                resource_version: "6".into(),
                text: Some(text),
            };
            publisher.handle_map(names::ROSTER, Some(shown), at);
            publisher.handle_written(names::ROSTER, true, at);
            assert_eq!(publisher.poll(at + TURN * 5), None, "what stands there is right");
            publisher.handle_member_gone("uid-a", at + TURN * 5);
            assert!(publisher.poll_timeout(at + TURN * 5) < Instant::NEVER);
        }
    }

    #[test]
    fn a_steward_that_fell_silent_is_put_out_and_one_never_heard_later() {
        let all = [steward(1), steward(2), steward(3)];
        let mut publisher = publisher(1, &all);
        publisher.handle_heard(MemberId(2), T);
        assert_eq!(publisher.poll_timeout(T), T + FORGOTTEN);
        assert_eq!(publisher.poll((T + FORGOTTEN).before(BATCH)), None);
        assert_eq!(listed(&publisher.poll(T + FORGOTTEN).unwrap()), [1, 3]);

        // Seen in the list since T, whatever else changes in it.
        let at = T + FORGOTTEN;
        publisher.handle_written(names::STEWARDS, true, at);
        publisher.handle_map(names::STEWARDS, stewards(&[steward(1), steward(3)]), at);
        assert_eq!(publisher.poll_timeout(at), T + NEVER_HEARD);
        assert_eq!(publisher.poll((T + NEVER_HEARD).before(BATCH)), None);
        assert_eq!(listed(&publisher.poll(T + NEVER_HEARD).unwrap()), [1]);
    }

    #[test]
    fn a_steward_that_is_heard_late_stays() {
        let mut publisher = publisher(1, &[steward(1), steward(2)]);
        let late = (T + NEVER_HEARD).before(BATCH);
        publisher.handle_heard(MemberId(2), late);
        assert_eq!(publisher.poll(T + NEVER_HEARD), None);
        assert_eq!(publisher.poll_timeout(T + NEVER_HEARD), late + FORGOTTEN);
    }

    #[test]
    fn the_roster_is_given_when_it_changed() {
        let mut publisher = publisher(1, &[steward(1)]);
        publisher.handle_member(member("a"), T);
        assert_eq!(publisher.take_roster(), None, "not all Nodes were seen");
        publisher.handle_synced(T);
        let roster = publisher.take_roster().unwrap();
        assert_eq!((roster.members.len(), roster.stewards.len()), (1, 1));
        assert_eq!(publisher.take_roster(), None);
        publisher.handle_member(member("a"), T);
        assert_eq!(publisher.take_roster(), None, "nothing has changed");
        let mut again = member("a");
        again.uid = "uid-new".into();
        publisher.handle_member(again, T);
        assert_eq!(
            publisher.take_roster().unwrap().members.len(),
            1,
            "one Node a name"
        );
    }

    #[test]
    fn the_members_are_written_out_once_a_change() {
        let mut publisher = publisher(1, &[steward(1)]);
        publisher.handle_synced(T);
        publisher.handle_member(member("a"), T);
        let at = T + BATCH;
        assert!(publisher.text.get().is_none(), "not for each of a long list");
        assert_eq!(publisher.poll_timeout(at), at);
        let first = publisher.text.get().unwrap().clone().unwrap();
        let place = publisher.members_text().unwrap().as_ptr();
        publisher.handle_member(member("a"), at);
        publisher.handle_heard(MemberId(7), at);
        assert_eq!(publisher.poll_timeout(at), at);
        assert_eq!(
            publisher.members_text().unwrap().as_ptr(),
            place,
            "nothing has changed"
        );
        publisher.handle_member(member("b"), at);
        let publish = publisher.poll(at + BATCH).unwrap();
        let (_, text) = publish.data.unwrap();
        assert!(text.contains("uid-b") && !first.contains("uid-b"));
        publisher.handle_member_gone("uid-b", at);
        assert_eq!(publisher.members_text(), Some(first.as_str()));
    }

    #[test]
    fn a_write_is_bound_to_the_version_it_changes() {
        let patch = Publish {
            name: names::STEWARDS,
            resource_version: Some("7".into()),
            data: Some(("stewards", "x".into())),
        };
        let http = patch.http();
        assert_eq!(http.method, "PATCH");
        assert_eq!(http.body.pointer("/metadata/resourceVersion"), Some(&json!("7")));
        assert_eq!(http.body.pointer("/data/stewards"), Some(&json!("x")));
    }
}
