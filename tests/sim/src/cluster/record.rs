//! What was judged, beside what was true.

use detector::identity::BootId;
use detector::incident::Entry;
use detector::judgement::{Evidence, Hold, Verdict};

use super::MS;
use crate::oracle::Truth;

/// One changed verdict of one steward.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// World's time.
    pub at: u64,
    /// The steward's seat.
    pub seat: usize,
    /// The subject's host.
    pub subject: u32,
    /// Which boot.
    pub boot: BootId,
    /// What.
    pub verdict: Verdict,
    /// On what.
    pub evidence: Evidence,
    /// With `Dead`: how it stands to the truth.
    pub truth: Option<Truth>,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Verdicts in order.
    pub sentences: Vec<Sentence>,
    /// Holds told (storm, minority, late ticks, budget), by seat and time.
    pub holds: Vec<(u64, usize, Option<Hold>)>,
    /// Signs through the API: time and host.
    pub unheard: Vec<(u64, u32)>,
    /// How many of those reached the API.
    pub says: u64,
    /// The incident log of all stewards: time, seat, entry.
    pub entries: Vec<(u64, usize, Entry)>,
    /// Alarms of the remedies.
    pub alarms: Vec<String>,
}

impl Record {
    /// `Dead` about this host from `since` on, by anybody: the first.
    #[must_use]
    pub fn first_dead(&self, subject: u32, since: u64) -> Option<&Sentence> {
        self.sentences.iter().find(|sentence| {
            sentence.subject == subject && sentence.verdict == Verdict::Dead && sentence.at >= since
        })
    }

    /// How long after `since` it was, in ms.
    #[must_use]
    pub fn dead_after(&self, subject: u32, since: u64) -> Option<u64> {
        let dead = self.first_dead(subject, since)?;
        Some((dead.at - since) / MS)
    }

    /// How often anybody said `Dead`.
    #[must_use]
    pub fn deads(&self) -> usize {
        self.of(Verdict::Dead).count()
    }

    /// How many of those were mistaken.
    #[must_use]
    pub fn mistaken(&self) -> usize {
        self.of(Verdict::Dead)
            .filter(|sentence| sentence.truth == Some(Truth::Mistaken))
            .count()
    }

    /// All sentences with this verdict.
    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Sentence> {
        self.sentences
            .iter()
            .filter(move |sentence| sentence.verdict == verdict)
    }

    /// The last verdict of this seat about this host; None: none was ever told.
    #[must_use]
    pub fn last(&self, seat: usize, subject: u32) -> Option<Verdict> {
        let of = self.sentences.iter().rev();
        of.clone()
            .find(|sentence| sentence.seat == seat && sentence.subject == subject)
            .map(|sentence| sentence.verdict)
    }
}
