//! How many datagrams of one claimed sender are opened with a key that must be derived first.
//!
//! A header is in the clear, and anybody can write a member's id into it. So what would need a derivation is counted
//! before it: for each member, of whom there are only as many as the roster has, and for each way by itself. Nothing of
//! a life that is adopted is counted: it opens with the key at hand. Whoever floods one end in a member's name can keep
//! a next life of that member unknown to it for as long as the flood lasts: then its reports are missing.

use detector_common::bucket;
use detector_common::word::Word;

use crate::time::Instant;

/// One attempt each 20 ms: more often no message is repeated.
const INTERVAL_NS: u64 = 20_000_000;

/// Sixteen at once: the repeats of one second after each of two restarts.
const ALLOWANCE_NS: u64 = 15 * INTERVAL_NS;

/// For what a key must be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A hello.
    Hello,
    /// Something for a life of ours that is over.
    OldLife,
    /// Something for our life, by one that is not adopted yet.
    NewLife,
}

/// One member's buckets.
#[derive(Default)]
pub(super) struct Limit {
    hello: Word,
    old_life: Word,
    new_life: Word,
}

impl Limit {
    /// Takes a token; `false`: there is none.
    pub(super) fn allows(&self, attempt: Attempt, now: Instant) -> bool {
        let bucket = match attempt {
            Attempt::Hello => &self.hello,
            Attempt::OldLife => &self.old_life,
            Attempt::NewLife => &self.new_life,
        };
        bucket::take_within(bucket, now.0, INTERVAL_NS, ALLOWANCE_NS)
    }
}
