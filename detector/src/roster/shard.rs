//! The roster as JSON: in ConfigMaps, members in shards by hash; and whole, as the copy on an agent's disk.
//!
//! A ConfigMap holds 1 MiB, about 4,500 members: one shard is enough to begin with. Every shard says how many there
//! are, so that stewards may go over to more while agents watch: a set of shards counts when it is whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_ADDRESSES, MAX_MEMBERS, MAX_NAME, MAX_STEWARDS, Member, Roster, StewardEntry};
use crate::identity::MemberId;

/// The version of the JSON; a reader refuses another one.
pub const VERSION: u32 = 1;

/// The key of the text in the ConfigMap of a shard.
pub const MEMBERS: &str = "members";

/// The key of the text in the ConfigMap of the stewards.
pub const STEWARDS: &str = "stewards";

/// Shards beyond this hold more than [`MAX_MEMBERS`].
pub const MAX_SHARDS: u32 = 16;

/// The longest text of a shard, in bytes: what fits a ConfigMap.
pub const MAX_SHARD: usize = 1024 * 1024;

/// The longest copy, in bytes.
pub const MAX_COPY: usize = 8 * 1024 * 1024;

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// More bytes than are read.
    #[error("{0} bytes; allowed: at most {1}")]
    TooLarge(usize, usize),
    /// No JSON of this shape.
    #[error("{0}")]
    Json(String),
    /// Written by another version.
    #[error("version {0}; this is version {VERSION}")]
    Version(u32),
    /// More entries, or longer ones, than a roster has; or a shard that does not exist.
    #[error("{0} out of range")]
    Range(&'static str),
}

#[derive(Serialize, Deserialize)]
struct MembersText {
    version: u32,
    shard: u32,
    shards: u32,
    members: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
struct StewardsText {
    version: u32,
    stewards: Vec<StewardEntry>,
}

#[derive(Serialize, Deserialize)]
struct CopyText {
    version: u32,
    members: Vec<Member>,
    stewards: Vec<StewardEntry>,
}

/// The members in `shards` texts (1 to [`MAX_SHARDS`]), in the order of the shards.
#[must_use]
pub fn encode_members(roster: &Roster, shards: u32) -> Vec<String> {
    let shards = shards.clamp(1, MAX_SHARDS);
    let of = |id: MemberId| id.0 % u64::from(shards);
    (0..shards)
        .map(|shard| {
            let here = |(id, _): &(&MemberId, &Member)| of(**id) == u64::from(shard);
            json(&MembersText {
                version: VERSION,
                shard,
                shards,
                members: roster
                    .members
                    .iter()
                    .filter(here)
                    .map(|(_, member)| member.clone())
                    .collect(),
            })
        })
        .collect()
}

/// The stewards, in their order.
#[must_use]
pub fn encode_stewards(roster: &Roster) -> String {
    json(&StewardsText {
        version: VERSION,
        stewards: roster.stewards.clone(),
    })
}

/// The whole roster: equal texts for equal rosters.
#[must_use]
pub fn encode_copy(roster: &Roster) -> String {
    json(&CopyText {
        version: VERSION,
        members: roster.members.values().cloned().collect(),
        stewards: roster.stewards.clone(),
    })
}

/// A roster from [`encode_copy`].
///
/// # Errors
/// See [`Unreadable`].
pub fn decode_copy(text: &str) -> Result<Roster, Unreadable> {
    let copy: CopyText = parse(text, MAX_COPY)?;
    check_version(copy.version)?;
    check_members(&copy.members)?;
    check_stewards(&copy.stewards)?;
    Ok(Roster::new(copy.members, copy.stewards))
}

/// The shards as they come from watches, until they are a roster.
#[derive(Clone, Debug, Default)]
pub struct Shards {
    members: BTreeMap<u32, (u32, Vec<Member>)>,
    stewards: Option<Vec<StewardEntry>>,
}

impl Shards {
    /// A shard as it is now.
    ///
    /// # Errors
    /// See [`Unreadable`]; what was known of this shard goes on counting.
    pub fn handle_members(&mut self, text: &str) -> Result<(), Unreadable> {
        let shard: MembersText = parse(text, MAX_SHARD)?;
        check_version(shard.version)?;
        if shard.shards == 0 || shard.shards > MAX_SHARDS || shard.shard >= shard.shards {
            return Err(Unreadable::Range("shard"));
        }
        check_members(&shard.members)?;
        self.members.insert(shard.shard, (shard.shards, shard.members));
        Ok(())
    }

    /// The stewards as they are now.
    ///
    /// # Errors
    /// See [`Unreadable`]; the stewards that were known go on counting.
    pub fn handle_stewards(&mut self, text: &str) -> Result<(), Unreadable> {
        let text: StewardsText = parse(text, MAX_SHARD)?;
        check_version(text.version)?;
        check_stewards(&text.stewards)?;
        self.stewards = Some(text.stewards);
        Ok(())
    }

    /// The roster; None: the stewards or a shard are still to come, or the stewards are on their way to another
    /// number of shards.
    #[must_use]
    pub fn roster(&self) -> Option<Roster> {
        let stewards = self.stewards.clone()?;
        let (shards, _) = self.members.get(&0)?;
        let mut all = Vec::new();
        for shard in 0..*shards {
            let (of, members) = self.members.get(&shard)?;
            if of != shards || all.len() + members.len() > MAX_MEMBERS {
                return None;
            }
            all.extend(members.iter().cloned());
        }
        Some(Roster::new(all, stewards))
    }
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and lists: there is no value of ours that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
}

fn parse<'de, T: Deserialize<'de>>(text: &'de str, most: usize) -> Result<T, Unreadable> {
    if text.len() > most {
        return Err(Unreadable::TooLarge(text.len(), most));
    }
    serde_json::from_str(text).map_err(|error| Unreadable::Json(error.to_string()))
}

fn check_version(version: u32) -> Result<(), Unreadable> {
    if version == VERSION {
        Ok(())
    } else {
        Err(Unreadable::Version(version))
    }
}

fn check_members(members: &[Member]) -> Result<(), Unreadable> {
    let fits = |member: &Member| {
        let names = [&member.name, &member.uid, &member.zone];
        names.iter().all(|name| name.len() <= MAX_NAME) && member.addresses.len() <= MAX_ADDRESSES
    };
    if members.len() > MAX_MEMBERS || !members.iter().all(fits) {
        return Err(Unreadable::Range("members"));
    }
    Ok(())
}

fn check_stewards(stewards: &[StewardEntry]) -> Result<(), Unreadable> {
    let fits = |steward: &StewardEntry| steward.id.0 != 0 && steward.node.len() <= MAX_NAME;
    if stewards.len() > MAX_STEWARDS || !stewards.iter().all(fits) {
        return Err(Unreadable::Range("stewards"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may end at once")]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_SHARD, Shards, Unreadable, decode_copy, encode_copy, encode_members, encode_stewards};
    use crate::identity::MemberId;
    use crate::roster::{Member, PublicKey, Roster, StewardEntry};

    fn roster(members: u8, stewards: u8) -> Roster {
        let member = |number: u8| Member {
            name: format!("n{number}"),
            uid: format!("uid-{number}"),
            addresses: vec![[10, 0, 0, number].into()],
            zone: format!("zone-{}", number % 3),
            key: (!number.is_multiple_of(5)).then_some(PublicKey([number; 32])),
            control_plane: number == 1,
            leaving: number == 2,
        };
        let steward = |number: u8| StewardEntry {
            id: MemberId::of_steward(&number.to_string()),
            node: format!("n{number}"),
            address: ([10, 0, 0, number], 274).into(),
            key: PublicKey([100 + number; 32]),
        };
        Roster::new((0..members).map(member), (0..stewards).map(steward).collect())
    }

    fn together(texts: &[String], stewards: &str) -> Option<Roster> {
        let mut shards = Shards::default();
        for text in texts {
            shards.handle_members(text).unwrap();
        }
        shards.handle_stewards(stewards).unwrap();
        shards.roster()
    }

    #[test]
    fn shards_come_together_in_any_number_and_order() {
        let roster = roster(40, 3);
        for shards in [1, 2, 7, 16] {
            let mut texts = encode_members(&roster, shards);
            assert_eq!(texts.len(), shards as usize);
            texts.reverse();
            assert_eq!(together(&texts, &encode_stewards(&roster)), Some(roster.clone()));
            if shards > 1 {
                texts.pop();
                assert_eq!(together(&texts, &encode_stewards(&roster)), None);
            }
        }
    }

    #[test]
    fn a_change_of_the_number_of_shards_counts_when_it_is_whole() {
        let (old, new) = (roster(40, 3), roster(41, 3));
        let mut shards = Shards::default();
        shards.handle_stewards(&encode_stewards(&old)).unwrap();
        for text in encode_members(&old, 2) {
            shards.handle_members(&text).unwrap();
        }
        assert_eq!(shards.roster(), Some(old));
        let texts = encode_members(&new, 3);
        for (text, whole) in texts.iter().zip([false, false, true]) {
            shards.handle_members(text).unwrap();
            assert_eq!(shards.roster().is_some(), whole);
        }
        assert_eq!(shards.roster(), Some(new));
    }

    #[test]
    fn what_is_unreadable_leaves_what_was_known() {
        let roster = roster(5, 1);
        let text = encode_members(&roster, 1).remove(0);
        let mut shards = Shards::default();
        shards.handle_members(&text).unwrap();
        shards.handle_stewards(&encode_stewards(&roster)).unwrap();
        let version = text.replace("\"version\":1", "\"version\":2");
        assert_eq!(shards.handle_members(&version), Err(Unreadable::Version(2)));
        let shard = text.replace("\"shard\":0", "\"shard\":1");
        assert_eq!(shards.handle_members(&shard), Err(Unreadable::Range("shard")));
        let name = text.replace("\"n1\"", &format!("{:?}", "n".repeat(300)));
        assert_eq!(shards.handle_members(&name), Err(Unreadable::Range("members")));
        let long = " ".repeat(MAX_SHARD + 1);
        assert_eq!(
            shards.handle_members(&long),
            Err(Unreadable::TooLarge(MAX_SHARD + 1, MAX_SHARD))
        );
        let key = text.replace("0101", "01zz");
        assert!(matches!(shards.handle_members(&key), Err(Unreadable::Json(_))));
        assert_eq!(shards.roster(), Some(roster));
    }

    #[test]
    fn the_copy_holds_everything_and_the_hash_names_it() {
        let whole = roster(40, 3);
        assert_eq!(decode_copy(&encode_copy(&whole)), Ok(whole.clone()));
        let mut other = whole.clone();
        other.members.values_mut().next().unwrap().zone.push('x');
        assert_ne!(other.hash(), whole.hash());
        assert_ne!(roster(40, 2).hash(), whole.hash());
        assert_eq!(roster(40, 3).hash(), whole.hash());
    }

    #[test]
    fn a_field_of_a_later_version_is_ignored() {
        let text = encode_copy(&roster(2, 1)).replacen("{\"name\"", "{\"later\":1,\"name\"", 1);
        assert_eq!(decode_copy(&text), Ok(roster(2, 1)));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,200}", at in 0_usize..2_000, byte in any::<char>()) {
            let mut shards = Shards::default();
            let _unreadable = (shards.handle_members(&text), shards.handle_stewards(&text), decode_copy(&text));
            let mut spoilt: Vec<char> = encode_copy(&roster(4, 2)).chars().collect();
            let at = at % spoilt.len();
            if let Some(place) = spoilt.get_mut(at) {
                *place = byte;
            }
            let _unreadable = decode_copy(&String::from_iter(spoilt));
        }
    }
}
