//! Whether the own receive path works: a silence is the subject's only if somebody else was heard after it.

use crate::identity::MemberId;
use crate::time::Instant;

/// The newest authentic receptions, by host: the newest of all, and the newest from another host than that one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReceivePath {
    newest: (Instant, MemberId),
    other: (Instant, MemberId),
}

impl ReceivePath {
    /// Something authentic from `host` arrived at `at`.
    pub(super) fn note(&mut self, host: MemberId, at: Instant) {
        if host == self.newest.1 {
            self.newest.0 = self.newest.0.max(at);
        } else if at > self.newest.0 {
            self.other = self.newest;
            self.newest = (at, host);
        } else if at > self.other.0 {
            self.other = (at, host);
        }
    }

    /// The newest reception from any host but `subject`; 0: never.
    pub(super) fn proven_until(&self, subject: MemberId) -> Instant {
        if self.newest.1 == subject {
            self.other.0
        } else {
            self.newest.0
        }
    }

    /// Whether receptions after `deadline` are known for every subject: nothing newer needs to be looked up.
    pub(super) fn covers(&self, deadline: Instant) -> bool {
        self.other.0 > deadline
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::ReceivePath;
    use crate::identity::MemberId;
    use crate::time::Instant;

    #[test]
    fn the_subjects_own_packets_prove_nothing_about_its_silence() {
        let (a, b, c) = (MemberId(1), MemberId(2), MemberId(3));
        let mut path = ReceivePath::default();
        assert_eq!(path.proven_until(a), Instant(0));
        path.note(a, Instant(50));
        assert_eq!(path.proven_until(a), Instant(0));
        assert_eq!(path.proven_until(b), Instant(50));
        path.note(b, Instant(40));
        path.note(a, Instant(60));
        assert_eq!(
            (path.proven_until(a), path.proven_until(b)),
            (Instant(40), Instant(60))
        );
        path.note(c, Instant(70));
        path.note(b, Instant(55));
        assert_eq!(
            (path.proven_until(c), path.proven_until(a)),
            (Instant(60), Instant(70))
        );
        assert!(path.covers(Instant(59)) && !path.covers(Instant(60)));
    }

    #[test]
    fn whatever_the_order_of_receptions() {
        let hosts = [MemberId(1), MemberId(2), MemberId(3)];
        for seed in 0..729_usize {
            let mut path = ReceivePath::default();
            let mut newest = [Instant(0); 3];
            let mut digits = seed;
            for step in 0..6_u64 {
                let host = digits % 3;
                digits /= 3;
                let at = Instant((step * 7 + seed as u64 * 13) % 17 + 1);
                newest[host] = newest[host].max(at);
                path.note(hosts[host], at);
            }
            for (index, host) in hosts.iter().enumerate() {
                let expected = (0..3)
                    .filter(|other| *other != index)
                    .map(|other| newest[other])
                    .max();
                assert_eq!(Some(path.proven_until(*host)), expected, "seed {seed}");
            }
        }
    }
}
