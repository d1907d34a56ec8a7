//! The report: numbers about one subject, with their ages.

use crate::message::{Ability, Report};
use crate::time::Instant;

use super::subject::Subject;

/// Everything a steward may know of `subject`, as of `now`.
pub(super) fn report(subject: &Subject, ability: Ability, config: u64, nonce: u64, now: Instant) -> Report {
    Report {
        subject: subject.id,
        boot: subject.boot,
        incident: subject
            .suspicion
            .as_ref()
            .map_or_else(Default::default, |open| open.incident),
        config,
        nonce,
        ability,
        echo: subject.echoed.map(|sent| now - sent),
        sign: (subject.sign != Instant(0)).then(|| now - subject.sign),
        loss: subject.loss.estimate(),
        losses: subject.losses.sendings().map(|sent| now - sent).collect(),
    }
}
