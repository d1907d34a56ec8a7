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

/// What an agent does at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on with this key.
    Keep(HostKey),
    /// Make a key, write it, and only then announce it.
    Make(Reason),
    /// The file is gone, but the pinned maps still hold the pairs' keys: probes and echoes go on with them, nothing is
    /// sealed or announced, and this is an alarm until the file is back or an operator removes the pins
    /// (`detector cleanup`).
    GoOnPinned,
}

/// Why a key is made. All but the first are told loudly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There never was one.
    First,
    /// The key that is there was made for another Node: this is a new member.
    OtherNode {
        /// The UID in the file.
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
    pub fn of(found: Option<KeyRecord>, node_uid: &str, pinned: bool, announced: Option<PublicKey>) -> Self {
        match (found, announced) {
            (Some(record), _) if record.node_uid == node_uid => Self::Keep(record.key),
            (Some(record), _) => Self::Make(Reason::OtherNode {
                former: record.node_uid,
            }),
            (None, _) if pinned => Self::GoOnPinned,
            (None, Some(announced)) => Self::Make(Reason::Lost { announced }),
            (None, None) => Self::Make(Reason::First),
        }
    }

    /// What an operator must hear of.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        match self {
            Self::Keep(_) | Self::Make(Reason::First) => None,
            Self::Make(Reason::OtherNode { former }) => {
                Some(format!("the key on this host was made for Node UID {former}: a new one is made, as this is a new member"))
            }
            Self::Make(Reason::Lost { announced }) => {
                Some(format!("this Node announced the key {announced}, and its file is gone: a new key is made"))
            }
            Self::GoOnPinned => Some(
                "the host's key file is gone while pinned keys exist: going on with those, without control messages; \
                 restore the file, or run `detector cleanup` to start with a new key"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Corrupt, Decision, KeyRecord, MAX_TEXT, Reason};
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
        let announced = PublicKey([5; 32]);
        let other = KeyRecord {
            node_uid: "uid-0".to_owned(),
            ..record()
        };
        let other_node = || {
            Decision::Make(Reason::OtherNode {
                former: "uid-0".to_owned(),
            })
        };
        let keep = || Decision::Keep(record().key);
        let lost = || Decision::Make(Reason::Lost { announced });
        for (found, pinned, known, wanted) in [
            (Some(record()), false, None, keep()),
            (Some(record()), false, Some(announced), keep()),
            (Some(record()), true, None, keep()),
            (Some(record()), true, Some(announced), keep()),
            (Some(other.clone()), false, None, other_node()),
            (Some(other.clone()), false, Some(announced), other_node()),
            (Some(other.clone()), true, None, other_node()),
            (Some(other), true, Some(announced), other_node()),
            (None, true, None, Decision::GoOnPinned),
            (None, true, Some(announced), Decision::GoOnPinned),
            (None, false, Some(announced), lost()),
            (None, false, None, Decision::Make(Reason::First)),
        ] {
            let decision = Decision::of(found, "uid-1", pinned, known);
            assert_eq!(decision, wanted);
            let silent = matches!(decision, Decision::Keep(_) | Decision::Make(Reason::First));
            assert_eq!(decision.alarm().is_none(), silent);
        }
    }
}
