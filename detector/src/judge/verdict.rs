//! The table of verdicts: what wins where several hold at once.

use crate::judgement::Verdict;

/// What is known of one boot of a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// H of its observers have heard this boot.
    pub(super) known: bool,
    /// Its agent is stale or overdue, or its kubelet down.
    pub(super) degraded: bool,
    /// Its agent is gone by its own word.
    pub(super) away: bool,
    /// Somebody does not hear it; or the rule's silence is held back.
    pub(super) partial: bool,
    /// It shuts down by its own word.
    pub(super) leaving: bool,
    /// Silence by the rule, and nothing holds the verdict back.
    pub(super) dead: bool,
    /// Silence means nothing: what answered is gone by its own word.
    pub(super) excused: bool,
}

impl Signs {
    /// The verdict.
    #[must_use]
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            Self {
                dead: true,
                excused: false,
                ..
            } => Verdict::Dead,
            Self { leaving: true, .. } => Verdict::Leaving,
            Self {
                partial: true,
                excused: false,
                ..
            } => Verdict::Partial,
            Self { away: true, .. } => Verdict::Away,
            Self { known: false, .. } => Verdict::Unknown,
            Self { degraded: true, .. } => Verdict::Degraded,
            Self { degraded: false, .. } => Verdict::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Signs;
    use crate::judgement::Verdict;

    /// All 128 combinations, held against the precedence that the order of [`Verdict`] documents.
    #[test]
    fn the_later_verdict_wins() {
        for bits in 0..128_u32 {
            let bit = |number: u32| bits & (1 << number) != 0;
            let signs = Signs {
                known: bit(0),
                degraded: bit(1),
                away: bit(2),
                partial: bit(3),
                leaving: bit(4),
                dead: bit(5),
                excused: bit(6),
            };
            let holding = [
                (Verdict::Unknown, true),
                (Verdict::Alive, signs.known),
                (Verdict::Degraded, signs.known && signs.degraded),
                (Verdict::Away, signs.away),
                (Verdict::Partial, signs.partial && !signs.excused),
                (Verdict::Leaving, signs.leaving),
                (Verdict::Dead, signs.dead && !signs.excused),
            ];
            let highest = holding
                .iter()
                .filter(|(_, holds)| *holds)
                .map(|(verdict, _)| *verdict)
                .max();
            assert_eq!(Some(signs.verdict()), highest, "{signs:?}");
        }
    }
}
