//! Who somebody is: ids are hashes, so that packets have a fixed size and no name is trusted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// First eight bytes (big-endian) of the SHA-256 of a string.
fn hash64(domain: &str, text: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(domain)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if text.len() != 16 {
                    return Err(format!("{text:?} is not an id: 16 hexadecimal digits are wanted"));
                }
                let word = u64::from_str_radix(text, 16);
                word.map(Self).map_err(|_| format!("{text:?} is not an id: 16 hexadecimal digits are wanted"))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}

hex_id! {
    /// A member (agent) or a steward: never 0. Agents: hash of the Node's UID, or of the name in a static roster.
    MemberId
}

hex_id! {
    /// One boot of a host: hash of `/proc/sys/kernel/random/boot_id`. 0: never heard.
    BootId
}

hex_id! {
    /// One suspicion, from its first loss to its end. A label: nothing is decided by it.
    IncidentId
}

impl MemberId {
    /// The agent on the Node with this UID.
    #[must_use]
    pub fn of_node(uid: &str) -> Self {
        Self(hash64("node", uid).max(1))
    }

    /// The steward whose process drew this random instance name.
    #[must_use]
    pub fn of_steward(instance: &str) -> Self {
        Self(hash64("steward", instance).max(1))
    }
}

impl BootId {
    /// From the kernel's text, trimmed.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(hash64("boot", text.trim()).max(1))
    }
}

impl IncidentId {
    /// Minted by the observer that opens the suspicion, from its first lost probe.
    #[must_use]
    pub fn mint(observer: MemberId, boot: BootId, sequence: u64) -> Self {
        Self(hash64("incident", &format!("{observer} {boot} {sequence}")).max(1))
    }
}
