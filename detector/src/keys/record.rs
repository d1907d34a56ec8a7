//! The host's key as it lies on disk, and what an agent does with what it finds there.
//!
//! A new key under an old name would look to every peer like an impostor, or pass for one: so nothing is ever re-keyed
//! in silence.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::HostKey;
use crate::roster::{MAX_NAME, PublicKey};

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 4_096;

const VERSION: u32 = 1;

/// A key, and the Node that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The Node's UID; with a static roster the member's name.
    pub node_uid: String,
    /// The secret.
    pub key: HostKey,
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Corrupt {
    /// Too long, no JSON, or fields that are missing, unknown or of another type.
    #[error("not a key file of version {VERSION}")]
    Shape,
    /// Another version.
    #[error("version {0}; this is version {VERSION}")]
    Version(u32),
    /// The secret is no secret.
    #[error("secret: 64 hexadecimal digits are wanted")]
    Secret,
    /// The Node's UID is empty or too long.
    #[error("node_uid: 1-{MAX_NAME} characters are wanted")]
    NodeUid,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    node_uid: String,
    secret: String,
}

impl KeyRecord {
    /// As it lies on disk.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = Text {
            version: VERSION,
            node_uid: self.node_uid.clone(),
            // The same 32 bytes in hexadecimal as of a public key.
            secret: PublicKey(self.key.0).to_string(),
        };
        let json = serde_json::to_string(&text).unwrap_or_default();
        json + "\n"
    }

    /// From [`Self::encode`]. No error repeats what was read: it may be the secret.
    ///
    /// # Errors
    /// See [`Corrupt`].
    pub fn decode(text: &str) -> Result<Self, Corrupt> {
        if text.len() > MAX_TEXT {
            return Err(Corrupt::Shape);
        }
        let text: Text = serde_json::from_str(text).map_err(|_| Corrupt::Shape)?;
        if text.version != VERSION {
            return Err(Corrupt::Version(text.version));
        }
        if text.node_uid.is_empty() || text.node_uid.len() > MAX_NAME {
            return Err(Corrupt::NodeUid);
        }
        let secret: PublicKey = text.secret.parse().map_err(|_| Corrupt::Secret)?;
        if secret.0 == [0; 32] {
            return Err(Corrupt::Secret);
        }
        Ok(Self {
            node_uid: text.node_uid,
            key: HostKey(secret.0),
        })
    }
}

/// What an agent before this one left in the kernel, which forgets it with the host's boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// Nothing: this is the first agent of this boot, or `detector cleanup` was run.
    Nothing,
    /// The host's key.
    Key(KeyRecord),
    /// Pairs' keys; but the host's is not there, or cannot be believed.
    PairsAlone,
}

/// What an agent does at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on with the key in the file.
    Keep {
        /// The key.
        key: HostKey,
        /// Another one, that this Node was known by until now: somebody has put this file there.
        former: Option<PublicKey>,
    },
    /// The file is gone. Go on with the key that is pinned, and write the file again.
    Restore(HostKey),
    /// The file is gone, and of the pins only the pairs' keys are left: the kernel and the socket echo on with those.
    /// What seals is derived from the host's key, so nothing can be told to stewards, and an observer whose reports nobody
    /// believes need not ask: it rests. An alarm until an operator restores the file, or removes the pins
    /// (`detector cleanup`).
    EchoOnly,
    /// Make a key, write it, and only then announce it.
    Make(Reason),
}

/// Why a key is made. All but the first are told loudly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There never was one.
    First,
    /// The key that is there was made for another Node: this is a new member.
    OtherNode {
        /// The UID with that key.
        former: String,
    },
    /// The file is gone and so are the pins (a reboot, a new disk), but this Node had announced a key.
    Lost {
        /// The key that peers still know.
        announced: PublicKey,
    },
}

impl Decision {
    /// From what is on disk, in the kernel and in the Node's annotation.
    #[must_use]
    pub fn of(file: Option<KeyRecord>, pinned: Pinned, announced: Option<PublicKey>, node_uid: &str) -> Self {
        let other = |record: KeyRecord| {
            Self::Make(Reason::OtherNode {
                former: record.node_uid,
            })
        };
        match (file, pinned) {
            (Some(record), _) if record.node_uid != node_uid => other(record),
            (Some(record), pinned) => {
                let used = match pinned {
                    Pinned::Key(pinned) if pinned.node_uid == node_uid => Some(pinned.key.public()),
                    _ => None,
                };
                let public = record.key.public();
                let known = [used, announced].into_iter().flatten();
                Self::Keep {
                    key: record.key,
                    former: known.into_iter().find(|known| *known != public),
                }
            }
            (None, Pinned::Key(record)) if record.node_uid != node_uid => other(record),
            (None, Pinned::Key(record)) => Self::Restore(record.key),
            (None, Pinned::PairsAlone) => Self::EchoOnly,
            (None, Pinned::Nothing) => {
                Self::Make(announced.map_or(Reason::First, |announced| Reason::Lost { announced }))
            }
        }
    }

    /// What an operator must hear of.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        Some(match self {
            Self::Keep { former: None, .. } | Self::Make(Reason::First) => return None,
            Self::Keep {
                key,
                former: Some(former),
            } => format!(
                "this Node was known by the key {former}, and its key file holds {}: going on with the file's",
                key.public()
            ),
            Self::Restore(_) => "the host's key file was gone: going on with the key that is pinned in the kernel, and the \
                                 file is written again (to have a new key instead, remove it, then run `detector cleanup`)"
                .to_owned(),
            Self::EchoOnly => "the host's key file is gone, and only the pairs' keys are pinned: probes are answered with \
                               those, but this agent observes nobody and tells the stewards nothing; restore the file, or \
                               run `detector cleanup` to have a new key, and start the agent again"
                .to_owned(),
            Self::Make(Reason::OtherNode { former }) => format!(
                "the key on this host was made for Node UID {former}: a new one is made, as this is a new member"
            ),
            Self::Make(Reason::Lost { announced }) => {
                format!("this Node announced the key {announced}, and its file is gone: a new key is made")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Corrupt, Decision, KeyRecord, MAX_TEXT, Pinned, Reason};
    use crate::keys::HostKey;
    use crate::roster::PublicKey;

    fn record() -> KeyRecord {
        KeyRecord {
            node_uid: "uid-1".to_owned(),
            key: HostKey([0xab; 32]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(KeyRecord::decode(&record().encode()), Ok(record()));
    }

    #[test]
    fn what_is_corrupt_says_so_and_never_repeats_the_secret() {
        let text = record().encode();
        let cases = [
            (String::new(), Corrupt::Shape),
            (text.trim_end().trim_end_matches('}').to_owned(), Corrupt::Shape),
            (text.replace("secret", "sceret"), Corrupt::Shape),
            (
                text.replace("\"version\":1", "\"version\":2"),
                Corrupt::Version(2),
            ),
            (text.replace("uid-1", ""), Corrupt::NodeUid),
            (text.replace("abab", "ab"), Corrupt::Secret),
            (text.replace("abab", "abzz"), Corrupt::Secret),
            (text.replace("ab", "00"), Corrupt::Secret),
            (" ".repeat(MAX_TEXT) + &text, Corrupt::Shape),
        ];
        for (text, wanted) in cases {
            let corrupt = KeyRecord::decode(&text);
            assert_eq!(corrupt, Err(wanted), "{text}");
        }
    }

    /// Every combination, by value: a change of these rules must be a change of this table.
    #[test]
    fn nothing_is_re_keyed_in_silence() {
        let own = record().key.public();
        let foreign = PublicKey([5; 32]);
        let of_other_node = || KeyRecord {
            node_uid: "uid-0".to_owned(),
            ..record()
        };
        let other_key = || KeyRecord {
            key: HostKey([0xcd; 32]),
            ..record()
        };
        let other_node = || {
            Decision::Make(Reason::OtherNode {
                former: "uid-0".to_owned(),
            })
        };
        let keep = |former| Decision::Keep {
            key: record().key,
            former,
        };
        let pins = || {
            [
                Pinned::Nothing,
                Pinned::PairsAlone,
                Pinned::Key(record()),
                Pinned::Key(other_key()),
                Pinned::Key(of_other_node()),
            ]
        };
        let of = |file, pinned, announced| Decision::of(file, pinned, announced, "uid-1");

        // The file is there: it decides, and what contradicts it is told.
        for pinned in pins() {
            let used = (pinned == Pinned::Key(other_key())).then(|| other_key().key.public());
            for (announced, known) in [(None, None), (Some(own), None), (Some(foreign), Some(foreign))] {
                let decision = of(Some(record()), pinned.clone(), announced);
                assert_eq!(decision, keep(used.or(known)), "{pinned:?} {announced:?}");
            }
            for announced in [None, Some(own)] {
                assert_eq!(of(Some(of_other_node()), pinned.clone(), announced), other_node());
            }
        }
        // It is gone: what is pinned decides.
        for announced in [None, Some(own), Some(foreign)] {
            let lost = announced.map_or(Reason::First, |announced| Reason::Lost { announced });
            let decisions = [
                Decision::Make(lost),
                Decision::EchoOnly,
                Decision::Restore(record().key),
                Decision::Restore(other_key().key),
                other_node(),
            ];
            for (pinned, wanted) in pins().into_iter().zip(decisions) {
                assert_eq!(
                    of(None, pinned.clone(), announced),
                    wanted,
                    "{pinned:?} {announced:?}"
                );
            }
        }
    }

    #[test]
    fn only_what_is_as_it_was_is_not_told() {
        let key = || record().key;
        let announced = PublicKey([5; 32]);
        let silent = [
            Decision::Keep {
                key: key(),
                former: None,
            },
            Decision::Make(Reason::First),
        ];
        assert!(silent.iter().all(|decision| decision.alarm().is_none()));
        let secret = PublicKey(key().0).to_string();
        for loud in [
            Decision::Keep {
                key: key(),
                former: Some(announced),
            },
            Decision::Restore(key()),
            Decision::EchoOnly,
            Decision::Make(Reason::Lost { announced }),
            Decision::Make(Reason::OtherNode {
                former: "uid-0".to_owned(),
            }),
        ] {
            let alarm = loud.alarm().unwrap_or_default();
            assert!(!alarm.is_empty() && !alarm.contains(&secret), "{loud:?}: {alarm}");
        }
    }
}
