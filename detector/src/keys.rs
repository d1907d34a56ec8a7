//! Keys: one X25519 key a host, one secret a pair, and what is derived from it.
//!
//! ```text
//!  own secret ─┐                     ┌─▶ tag key of probes and echoes (kernel map)
//!              ├─X25519─▶ pair secret┤
//!  peer's key ─┘           (HKDF)    └─▶ sealing key of each direction and pair of incarnations
//! ```
//! A rooted node so holds the secrets of its own pairs only: it can lie about itself, and speak as one observer.

pub mod record;

use std::fmt;

use detector_common::state::PeerKey;
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::StaticSecret;

use crate::identity::MemberId;
use crate::roster::PublicKey;

const PAIR: &[u8] = b"node-failure-detector 1 pair";
const TAG: &[u8] = b"node-failure-detector 1 tag";
const SEAL: &[u8] = b"node-failure-detector 1 seal";

/// A host's (or a steward's) secret. Random bytes; never printed, never sent.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey(pub [u8; 32]);

/// What two members share and nobody else has.
#[derive(Clone, PartialEq, Eq)]
pub struct PairSecret(pub [u8; 32]);

/// The key of one direction between two incarnations: used with each nonce once.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey(pub [u8; 32]);

impl HostKey {
    /// The key that peers know this host by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// The secret shared with the owner of `peer`. About 50 µs.
    ///
    /// None: `peer` is a point of low order, with which everybody would come to the same secret.
    #[must_use]
    pub fn pair(&self, peer: &PublicKey) -> Option<PairSecret> {
        let shared = StaticSecret::from(self.0).diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        if !shared.was_contributory() {
            return None;
        }
        let own = self.public();
        let (low, high) = if own < *peer { (&own, peer) } else { (peer, &own) };
        Some(PairSecret(expand(shared.as_bytes(), &[PAIR, &low.0, &high.0])))
    }
}

impl PairSecret {
    /// The SipHash key of the pair's probes and echoes, the same in both directions.
    #[must_use]
    pub fn tag_key(&self) -> PeerKey {
        let [k0, k1, id] = words(&expand::<24>(&self.0, &[TAG]));
        PeerKey {
            k0,
            k1,
            id: id & u64::from(u16::MAX),
        }
    }

    /// The key of what `sender`, in this incarnation, seals for this incarnation of the other one; 0: not known yet.
    #[must_use]
    pub fn sealing_key(
        &self,
        sender: MemberId,
        sender_incarnation: u64,
        receiver_incarnation: u64,
    ) -> SealingKey {
        let words = [sender.0, sender_incarnation, receiver_incarnation].map(u64::to_be_bytes);
        let [sender, from, to] = &words;
        SealingKey(expand(&self.0, &[SEAL, sender, from, to]))
    }
}

/// HKDF-SHA-256 without salt (RFC 5869), for at most 32 bytes.
fn expand<const N: usize>(secret: &[u8], info: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32, "one block of the hash") };
    let mut out = [0; N];
    let done = Hkdf::<Sha256>::new(None, secret).expand_multi_info(info, &mut out);
    debug_assert!(done.is_ok(), "a block is never too long");
    out
}

fn words(bytes: &[u8; 24]) -> [u64; 3] {
    let mut words = [0; 3];
    for (word, eight) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*eight);
    }
    words
}

macro_rules! unprinted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}
unprinted!(HostKey, PairSecret, SealingKey);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may end at once")]
mod tests {
    use super::HostKey;
    use crate::identity::MemberId;
    use crate::roster::PublicKey;

    #[test]
    fn both_ends_come_to_the_same_keys_and_a_third_does_not() {
        let [a, b, c] = [1, 2, 3].map(|byte| HostKey([byte; 32]));
        let ab = a.pair(&b.public()).unwrap();
        assert_eq!(ab, b.pair(&a.public()).unwrap());
        assert_eq!(ab.tag_key(), b.pair(&a.public()).unwrap().tag_key());
        assert_ne!(ab, a.pair(&c.public()).unwrap());
        assert_ne!(ab.tag_key(), c.pair(&a.public()).unwrap().tag_key());
    }

    /// RFC 7748, section 6.1: Bob.
    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        let bytes = |hex: &str| hex.parse::<PublicKey>().unwrap();
        let secret = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let public = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(HostKey(secret.0).public(), public);
    }

    #[test]
    fn each_direction_and_incarnation_has_its_own_sealing_key() {
        let pair = HostKey([1; 32]).pair(&HostKey([2; 32]).public()).unwrap();
        let keys = [
            pair.sealing_key(MemberId(1), 5, 6),
            pair.sealing_key(MemberId(2), 5, 6),
            pair.sealing_key(MemberId(1), 6, 5),
            pair.sealing_key(MemberId(1), 5, 0),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(index + 1).all(|other| other != key));
        }
    }

    #[test]
    fn a_point_of_low_order_makes_no_pair() {
        assert_eq!(HostKey([1; 32]).pair(&PublicKey([0; 32])), None);
        let one = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            PublicKey(bytes)
        };
        assert_eq!(HostKey([1; 32]).pair(&one), None);
    }

    #[test]
    fn no_secret_is_printed() {
        let key = HostKey([0xab; 32]);
        let pair = key.pair(&HostKey([2; 32]).public()).unwrap();
        let all = format!("{key:?} {pair:?} {:?}", pair.sealing_key(MemberId(1), 1, 1));
        assert_eq!(all, "HostKey(…) PairSecret(…) SealingKey(…)");
    }
}
