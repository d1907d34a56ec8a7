//! What holds of each subject right now: asked by the remedy when it decides, and by the writer before every try.

use std::collections::BTreeMap;

use crate::identity::{BootId, MemberId};
use crate::judgement::{Causes, Judgement, Verdict};
use crate::remedy::command::{Guard, Standing};
use crate::time::Instant;

/// The newest verdict about each subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    of: BTreeMap<MemberId, (BootId, Verdict, Causes)>,
    paused: bool,
}

impl Default for Verdicts {
    /// None, and paused until the switch was read.
    fn default() -> Self {
        Self {
            of: BTreeMap::new(),
            paused: true,
        }
    }
}

impl Verdicts {
    /// A judgement came. To be told before anything is done about it.
    pub fn note(&mut self, judgement: &Judgement) {
        if let Judgement::Changed {
            subject,
            boot,
            verdict,
            causes,
            ..
        } = *judgement
        {
            self.of.insert(subject, (boot, verdict, causes));
        }
    }

    /// The subject says through the API that this boot lives: a `Dead` is `Partial` until the judge speaks again.
    pub fn says_alive(&mut self, subject: MemberId, boot: BootId) {
        if let Some((of, verdict, _)) = self.of.get_mut(&subject)
            && *of == boot
        {
            *verdict = (*verdict).min(Verdict::Partial);
        }
    }

    /// The switch was turned.
    pub const fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Members that are gone take their verdicts along.
    pub fn keep(&mut self, is_known: impl Fn(MemberId) -> bool) {
        self.of.retain(|&subject, _| is_known(subject));
    }

    /// What holds of this subject.
    #[must_use]
    pub fn get(&self, subject: MemberId) -> Option<(BootId, Verdict)> {
        self.of.get(&subject).map(|(boot, verdict, _)| (*boot, *verdict))
    }

    /// What is wrong with this subject.
    #[must_use]
    pub fn causes(&self, subject: MemberId) -> Causes {
        self.of.get(&subject).map_or(Causes::NONE, |(.., causes)| *causes)
    }

    /// Whether no pod can start on this subject. None: nobody knows, or it is condemned, and more than that is at stake.
    #[must_use]
    pub fn starts_no_pod(&self, subject: MemberId) -> Option<bool> {
        match self.of.get(&subject)? {
            (_, Verdict::Dead | Verdict::Leaving, _) => None,
            (_, Verdict::Degraded, causes) if causes.is_empty() => None,
            (_, Verdict::Degraded, causes) => Some(causes.starts_no_pod()),
            (_, Verdict::Unknown | Verdict::Alive | Verdict::Away | Verdict::Partial, _) => Some(false),
        }
    }

    /// Whether a request with this guard may be tried now. A subject without a verdict is neither dead nor back.
    #[must_use]
    pub fn allow(&self, guard: &Guard, now: Instant) -> bool {
        if self.paused || now > guard.not_after {
            return false;
        }
        let Some((boot, verdict)) = self.get(guard.subject) else {
            return false;
        };
        let condemned = matches!(verdict, Verdict::Dead | Verdict::Leaving);
        match guard.standing {
            Standing::Dead => boot == guard.boot && verdict == Verdict::Dead,
            Standing::Condemned => boot == guard.boot && condemned,
            Standing::Back => !condemned,
            Standing::StartsNoPod => boot == guard.boot && self.starts_no_pod(guard.subject) == Some(true),
            Standing::StartsPods => self.starts_no_pod(guard.subject) == Some(false),
            Standing::Exactly(wanted) => verdict == wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::{Cause, Evidence};
    use std::time::Duration;

    const SUBJECT: MemberId = MemberId(7);
    const BOOT: BootId = BootId(1);

    fn verdicts(boot: BootId, verdict: Verdict) -> Verdicts {
        because(boot, verdict, Causes::NONE)
    }

    fn because(boot: BootId, verdict: Verdict, causes: Causes) -> Verdicts {
        let mut verdicts = Verdicts::default();
        verdicts.pause(false);
        verdicts.note(&Judgement::Changed {
            subject: SUBJECT,
            boot,
            incident: None,
            verdict,
            causes,
            evidence: Evidence::default(),
            farewell: None,
            longest_silence: Duration::ZERO,
            at: Instant(1),
        });
        verdicts
    }

    fn guard(standing: Standing) -> Guard {
        Guard {
            subject: SUBJECT,
            boot: BOOT,
            standing,
            not_after: Instant(100),
        }
    }

    fn allowed(verdicts: &Verdicts, standing: Standing) -> bool {
        verdicts.allow(&guard(standing), Instant(100))
    }

    #[test]
    fn each_standing_wants_its_verdicts() {
        use Verdict::{Alive, Away, Dead, Degraded, Leaving, Partial, Unknown};
        for verdict in [Unknown, Alive, Degraded, Away, Partial, Leaving, Dead] {
            let now = verdicts(BOOT, verdict);
            assert_eq!(allowed(&now, Standing::Dead), verdict == Dead);
            assert_eq!(
                allowed(&now, Standing::Condemned),
                matches!(verdict, Dead | Leaving)
            );
            assert_eq!(allowed(&now, Standing::Back), !matches!(verdict, Dead | Leaving));
            assert!(allowed(&now, Standing::Exactly(verdict)));
            assert!(!allowed(&now, Standing::StartsNoPod));
            assert_eq!(
                allowed(&now, Standing::StartsPods),
                !matches!(verdict, Dead | Leaving | Degraded)
            );
        }
    }

    #[test]
    fn a_node_without_a_kubelet_starts_no_pod() {
        let degraded = |boot, causes| because(boot, Verdict::Degraded, causes);
        let kubelet = Causes::NONE.with(Cause::Kubelet);
        for (now, starts_no_pod) in [
            (degraded(BOOT, kubelet), Some(true)),
            (degraded(BOOT, Causes::NONE.with(Cause::Agent)), Some(false)),
            (degraded(BOOT, Causes::NONE.with(Cause::Key)), Some(false)),
            (degraded(BOOT, kubelet.with(Cause::Key)), Some(true)),
            (degraded(BOOT, Causes::NONE), None),
        ] {
            assert_eq!(now.starts_no_pod(SUBJECT), starts_no_pod, "{now:?}");
            assert_eq!(allowed(&now, Standing::StartsNoPod), starts_no_pod == Some(true));
            assert_eq!(allowed(&now, Standing::StartsPods), starts_no_pod == Some(false));
        }
        let another = degraded(BootId(2), kubelet);
        assert!(!allowed(&another, Standing::StartsNoPod), "of another boot");
        let nobody = Verdicts::default();
        assert!(!allowed(&nobody, Standing::StartsNoPod) && !allowed(&nobody, Standing::StartsPods));
    }

    #[test]
    fn another_boot_a_late_hour_a_pause_and_a_stranger_allow_nothing() {
        let dead = verdicts(BOOT, Verdict::Dead);
        assert!(allowed(&dead, Standing::Dead));
        assert!(!allowed(&verdicts(BootId(2), Verdict::Dead), Standing::Dead));
        assert!(!dead.allow(&guard(Standing::Dead), Instant(101)));
        let mut paused = dead;
        paused.pause(true);
        assert!(!allowed(&paused, Standing::Dead));
        let unread = Verdicts {
            paused: Verdicts::default().paused,
            ..paused.clone()
        };
        assert!(
            !allowed(&unread, Standing::Dead),
            "paused until the switch was read"
        );
        let mut nobody = Verdicts::default();
        nobody.pause(false);
        assert!(!allowed(&nobody, Standing::Dead) && !allowed(&nobody, Standing::Back));
    }

    #[test]
    fn a_word_through_the_api_lifts_the_death_of_that_boot_only() {
        let mut dead = verdicts(BOOT, Verdict::Dead);
        dead.says_alive(SUBJECT, BootId(2));
        assert!(allowed(&dead, Standing::Dead));
        dead.says_alive(SUBJECT, BOOT);
        assert!(!allowed(&dead, Standing::Dead));
        assert!(allowed(&dead, Standing::Exactly(Verdict::Partial)));
        let mut alive = verdicts(BOOT, Verdict::Alive);
        alive.says_alive(SUBJECT, BOOT);
        assert!(
            allowed(&alive, Standing::Exactly(Verdict::Alive)),
            "and makes nothing worse"
        );
    }
}
