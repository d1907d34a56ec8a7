//! One sealed datagram: a clear header that is authenticated, and ChaCha20-Poly1305 over the rest (RFC 8439).
//!
//! ```text
//!  0  version u8 · kind u8 · zero u16          28  receiver's incarnation u64 (0: not known)
//!  4  sender u64                               36  counter u64 = nonce
//! 12  receiver u64                             44  ciphertext, then its tag of 16 bytes
//! 20  sender's incarnation u64
//! ```

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use detector_common::packet::{VERSION, kind};

use crate::identity::MemberId;
use crate::keys::SealingKey;

/// Bytes of the clear header.
pub const HEADER: usize = 44;

/// Bytes of the tag.
pub const TAG: usize = 16;

/// The longest datagram: fits the smallest MTU of IPv6 less the headers of a tunnel.
pub const MAX_DATAGRAM: usize = 1_200;

/// The longest plaintext.
pub const MAX_PLAINTEXT: usize = MAX_DATAGRAM - HEADER - TAG;

/// The clear header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sealed it.
    pub sender: MemberId,
    /// For whom.
    pub receiver: MemberId,
    /// One life of the sender: random, drawn at its start.
    pub sender_incarnation: u64,
    /// The life of the receiver for which it is sealed; 0: the sender does not know it.
    pub receiver_incarnation: u64,
    /// Counts what the sender sealed in this life for this receiver: never the same twice.
    pub counter: u64,
}

/// Why bytes are no sealed datagram of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Shorter than header and tag, or longer than [`MAX_DATAGRAM`].
    Length,
    /// Another version, kind, or something where zeroes must be.
    Version,
}

impl Header {
    /// As it stands at the head of the datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [
            self.sender.0,
            self.receiver.0,
            self.sender_incarnation,
            self.receiver_incarnation,
            self.counter,
        ];
        let (head, rest) = bytes.split_at_mut(4);
        head.copy_from_slice(&[VERSION, kind::SEALED, 0, 0]);
        for (field, word) in rest.chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// The header of a datagram, and its ciphertext with the tag.
    ///
    /// # Errors
    /// See [`Unreadable`]; nothing is authentic yet.
    pub fn decode(datagram: &[u8]) -> Result<(Self, &[u8]), Unreadable> {
        if datagram.len() > MAX_DATAGRAM || datagram.len() < HEADER + TAG {
            return Err(Unreadable::Length);
        }
        let (header, sealed) = datagram.split_first_chunk::<HEADER>().ok_or(Unreadable::Length)?;
        let (head, words) = header.split_at(4);
        if head != [VERSION, kind::SEALED, 0, 0] {
            return Err(Unreadable::Version);
        }
        let (words, _) = words.as_chunks::<8>();
        let [sender, receiver, from, to, counter] = words else {
            return Err(Unreadable::Length);
        };
        let header = Self {
            sender: MemberId(u64::from_be_bytes(*sender)),
            receiver: MemberId(u64::from_be_bytes(*receiver)),
            sender_incarnation: u64::from_be_bytes(*from),
            receiver_incarnation: u64::from_be_bytes(*to),
            counter: u64::from_be_bytes(*counter),
        };
        Ok((header, sealed))
    }
}

/// Seals `plaintext` (at most [`MAX_PLAINTEXT`] bytes) under this header. None: it is too long.
#[must_use]
pub fn seal(key: &SealingKey, header: &Header, plaintext: &[u8]) -> Option<Vec<u8>> {
    if plaintext.len() > MAX_PLAINTEXT {
        return None;
    }
    let head = header.encode();
    let mut datagram = Vec::with_capacity(HEADER + plaintext.len() + TAG);
    datagram.extend(head);
    datagram.extend(plaintext);
    let body = datagram.get_mut(HEADER..)?;
    let tag = cipher(key)
        .encrypt_inout_detached(&nonce(header.counter), &head, body.into())
        .ok()?;
    datagram.extend(tag);
    Some(datagram)
}

/// Opens what follows the header. None: it is not what the owner of `key` sealed under this header.
#[must_use]
pub fn open(key: &SealingKey, header: &Header, sealed: &[u8]) -> Option<Vec<u8>> {
    let (body, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut plaintext = body.to_vec();
    cipher(key)
        .decrypt_inout_detached(
            &nonce(header.counter),
            &header.encode(),
            plaintext.as_mut_slice().into(),
            &(*tag).into(),
        )
        .ok()?;
    Some(plaintext)
}

fn cipher(key: &SealingKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(key.0))
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    let (_, low) = nonce.split_at_mut(4);
    low.copy_from_slice(&counter.to_be_bytes());
    nonce.into()
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end at once"
)]
mod tests {
    use super::{HEADER, Header, MAX_DATAGRAM, MAX_PLAINTEXT, TAG, Unreadable, open, seal};
    use crate::identity::MemberId;
    use crate::keys::SealingKey;

    const KEY: SealingKey = SealingKey([7; 32]);

    fn header() -> Header {
        Header {
            sender: MemberId(1),
            receiver: MemberId(2),
            sender_incarnation: 3,
            receiver_incarnation: 4,
            counter: 5,
        }
    }

    #[test]
    fn sealed_and_opened() {
        let datagram = seal(&KEY, &header(), b"words").unwrap();
        assert_eq!(datagram.len(), HEADER + 5 + TAG);
        let (read, sealed) = Header::decode(&datagram).unwrap();
        assert_eq!(read, header());
        assert_eq!(open(&KEY, &read, sealed).unwrap(), b"words");
    }

    #[test]
    fn every_byte_is_authenticated() {
        let datagram = seal(&KEY, &header(), b"words").unwrap();
        for at in 0..datagram.len() {
            let mut forged = datagram.clone();
            forged[at] ^= 1;
            let opened = Header::decode(&forged)
                .ok()
                .and_then(|(header, sealed)| open(&KEY, &header, sealed));
            assert_eq!(opened, None, "byte {at}");
        }
        let (read, sealed) = Header::decode(&datagram).unwrap();
        assert_eq!(open(&SealingKey([8; 32]), &read, sealed), None);
    }

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        let datagram = seal(&KEY, &header(), &[]).unwrap();
        for end in 0..datagram.len() {
            assert_eq!(Header::decode(&datagram[..end]), Err(Unreadable::Length));
        }
        assert!(Header::decode(&datagram).is_ok());
        let longest = seal(&KEY, &header(), &[0; MAX_PLAINTEXT]).unwrap();
        assert_eq!(longest.len(), MAX_DATAGRAM);
        assert!(Header::decode(&longest).is_ok());
        assert_eq!(seal(&KEY, &header(), &[0; MAX_PLAINTEXT + 1]), None);
        assert_eq!(Header::decode(&[3; MAX_DATAGRAM + 1]), Err(Unreadable::Length));
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        let datagram = seal(&KEY, &header(), b"words").unwrap();
        for at in 0..4 {
            let mut other = datagram.clone();
            other[at] ^= 0x10;
            assert_eq!(Header::decode(&other), Err(Unreadable::Version));
        }
    }
}
