//! What is written when, by whom, and what is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::stewards::{FORGOTTEN, NEVER_HEARD, stewards_of};
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
