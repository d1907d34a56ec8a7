//! What the judge says becomes a case, or changes one.

use crate::identity::{BootId, IncidentId, MemberId};
use crate::incident::Step;
use crate::judgement::{Judgement, Verdict};
use crate::remedy::Remedy;
use crate::remedy::case::Case;
use crate::time::Instant;

impl Remedy {
    /// Half the evidence: what a remediation needs is fetched now.
    pub(super) fn warned(
        &mut self,
        subject: MemberId,
        boot: BootId,
        incident: IncidentId,
        at: Instant,
        now: Instant,
    ) {
        if !self.members.contains_key(&subject) {
            return;
        }
        let is_new = self.cases.get(&subject).is_none_or(|case| case.boot != boot);
        if is_new {
            let generation = self.calls.generation();
            let mut case = Case::new(incident, boot, at, generation);
            if let Some(old) = self.cases.remove(&subject) {
                // A verdict that does not condemn goes on: none may follow, and the way back needs one.
                let goes_on = |verdict: &Verdict| !matches!(verdict, Verdict::Dead | Verdict::Leaving);
                case.verdict = old.verdict.filter(goes_on);
                (case.moved, case.back) = (old.moved, old.back);
            }
            self.cases.insert(subject, case);
        }
        self.record(subject, Step::Suspected, at);
        self.prefetch(subject, now);
    }

    /// The verdict about a subject changed.
    pub(super) fn changed(&mut self, subject: MemberId, judgement: &Judgement, now: Instant) {
        let Judgement::Changed {
            boot,
            incident,
            verdict,
            causes,
            evidence,
            at,
            ..
        } = judgement
        else {
            return;
        };
        if !self.members.contains_key(&subject) {
            return;
        }
        self.compare(subject, now);
        let condemned = matches!(verdict, Verdict::Dead | Verdict::Leaving);
        let old = self.cases.remove(&subject);
        let was = old
            .as_ref()
            .filter(|case| case.is_condemned())
            .map(|case| case.boot);
        let mut case = match old {
            None if !condemned => return,
            Some(case) if case.boot == *boot || !condemned => case,
            old => {
                let generation = self.calls.generation();
                let mut case = Case::new(incident.unwrap_or_default(), *boot, *at, generation);
                case.moved = old.and_then(|old| old.moved);
                case
            }
        };
        if was.is_some() && (!condemned || was != Some(*boot)) {
            let node = self.whom(subject, &case).node;
            self.record_for(case.incident, case.boot, &node, Step::Revoked, *at);
        }
        if condemned {
            self.condemn(subject, &mut case, judgement);
        } else {
            if case.is_condemned() || case.verdict.is_none() {
                case.back = *at;
            }
            case.good = None;
        }
        case.verdict = Some(*verdict);
        let (incident, boot) = (case.incident, case.boot);
        let node = self.whom(subject, &case).node;
        self.cases.insert(subject, case);
        let step = Step::Verdict {
            verdict: *verdict,
            causes: *causes,
            evidence: evidence.clone(),
        };
        self.record_for(incident, boot, &node, step, *at);
    }

    /// `Dead` or `Leaving`, whatever was before.
    pub(super) fn condemn(&mut self, subject: MemberId, case: &mut Case, judgement: &Judgement) {
        let Judgement::Changed {
            incident,
            verdict,
            farewell,
            longest_silence,
            at,
            ..
        } = judgement
        else {
            return;
        };
        if !case.is_condemned() && case.was_condemned {
            // A new death: what was done and read for the last one is old.
            case.restart(*at, self.calls.generation());
        }
        case.was_condemned = true;
        case.incident = incident.unwrap_or(case.incident);
        case.longest_silence = *longest_silence;
        if !case.is_condemned() || (*verdict == Verdict::Dead && !case.is_dead()) {
            (case.at, case.at_ms) = (*at, self.wall.ms_of(*at));
        }
        if *verdict == Verdict::Dead && !case.is_dead() {
            self.flap(subject, *at);
        }
        if case.goodbye.is_none() {
            case.goodbye = farewell.map(|farewell| (farewell, *at));
        }
    }
}
