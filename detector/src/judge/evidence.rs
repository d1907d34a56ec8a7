//! What the observers of one subject said of its present boot: what was heard never expires, silence does.

use std::time::Duration;

use crate::identity::{BootId, MemberId};
use crate::judge::peer::Peer;
use crate::judge::rule::{Silence, Sum, loss_weight};
use crate::message::{Ability, MAX_LOSSES, Report, Sighting};
use crate::offset::{Offset, PeerTime, difference};
use crate::profile::{ACQUAINTANCE, EVIDENCE, MIN_LOSSES, PARTIAL_WINDOWS, Profile, SLOT};
use crate::time::Instant;

/// Two ages that were rounded on the wire speak of the same probe within this time; probes are at least 5 ms apart.
const SAME_PROBE: Duration = Duration::from_micros(10);

/// Where and when a message was sealed, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The sender's incarnation: its times compare with others of the same one only.
    pub(super) incarnation: u64,
    /// Sealing, by the sender's clock.
    pub(super) sealed: PeerTime,
    /// Arrival, by the own clock.
    pub(super) arrived: Instant,
}

/// An observer's newest sign of life from the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    incarnation: u64,
    at: PeerTime,
    /// The least arrival of a report about it, less the age in that report. Needs no offset: also a report that waited,
    /// or an observer that stood still, can only make it later.
    latest: Instant,
}

impl Life {
    /// The latest own time that it can have been.
    #[must_use]
    pub(super) const fn latest(&self) -> Instant {
        self.latest
    }

    /// Of this age when its report was sealed.
    #[must_use]
    pub(super) fn told(origin: &Origin, age: Duration) -> Self {
        Self {
            incarnation: origin.incarnation,
            at: origin.sealed.before(age),
            latest: origin.arrived.before(age),
        }
    }

    /// The newer of the two; of one and the same the tighter bound.
    #[must_use]
    pub(super) fn newer(self, other: Self) -> Self {
        if self.incarnation != other.incarnation {
            return Self {
                latest: self.latest.max(other.latest),
                ..other
            };
        }
        if other.at.since(self.at).max(self.at.since(other.at)) <= SAME_PROBE {
            return Self {
                latest: self.latest.min(other.latest),
                ..self
            };
        }
        if other.at > self.at { other } else { self }
    }
}

/// An observer's newest report: its silence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    origin: Origin,
    ability: Ability,
    /// Of one loss.
    weight: f64,
    /// Sendings since its own newest echo, rising.
    losses: Vec<PeerTime>,
    /// It speaks of another boot than the present one, and heard that, at the latest, then.
    other_heard: Option<Instant>,
}

impl Told {
    /// Of a report that is bound to our boot and configuration. Whatever a peer sent: bounded and rising.
    #[must_use]
    pub(super) fn new(origin: Origin, report: &Report) -> Self {
        let ages = report.losses.iter().take(MAX_LOSSES);
        let mut losses: Vec<PeerTime> = ages.map(|age| origin.sealed.before(*age)).collect();
        losses.sort_unstable();
        Self {
            origin,
            ability: report.ability,
            weight: loss_weight(report.loss),
            losses,
            other_heard: None,
        }
    }

    /// Of a report that knows no boot of the subject, or another one, last `heard` then: no evidence on ours.
    #[must_use]
    pub(super) fn of_other_boot(origin: Origin, heard: Option<Life>) -> Self {
        Self {
            origin,
            ability: Ability::NeverHeard,
            weight: 0.0,
            losses: Vec::new(),
            other_heard: heard.map(|life| life.latest),
        }
    }

    /// Its observer decides by other numbers: it counts as not able.
    pub(super) fn disable(&mut self) {
        self.ability = Ability::NotObserver;
    }

    /// Whether this incarnation of its observer said so.
    #[must_use]
    pub(super) const fn is_by(&self, incarnation: u64) -> bool {
        self.origin.incarnation == incarnation
    }

    /// Whether `other` was sealed later, or by a later incarnation.
    fn is_before(&self, other: &Self) -> bool {
        self.origin.incarnation != other.origin.incarnation || self.origin.sealed < other.origin.sealed
    }

    /// From its first loss to its last: one clock, no mapping.
    fn span(&self) -> Duration {
        match (self.losses.first(), self.losses.last()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => Duration::ZERO,
        }
    }

    /// Whether one link would lose so many in a row by chance no more often than a suspicion arises.
    #[expect(clippy::cast_precision_loss, reason = "at most MAX_LOSSES")]
    fn is_heavy(&self) -> bool {
        self.losses.len() as f64 * self.weight >= EVIDENCE / 2.0
    }

    /// Losses for which `after` holds, which must hold for all later ones.
    fn losses_after(&self, after: impl Fn(PeerTime) -> bool) -> &[PeerTime] {
        let split = self.losses.partition_point(|loss| !after(*loss));
        self.losses.get(split..).unwrap_or_default()
    }

    fn silence(
        &self,
        losses: &[PeerTime],
        first: impl Fn(PeerTime) -> Option<Instant>,
        last: impl Fn(PeerTime) -> Option<Instant>,
    ) -> Option<Silence> {
        Some(Silence {
            losses: losses.len(),
            first: first(*losses.first()?)?,
            last: last(*losses.last()?)?,
            weight: self.weight,
        })
    }

    /// By the ceiling alone: for a suspicion, which decides nothing.
    fn suspected_since(&self, sign: Instant, offset: &Offset) -> Option<Silence> {
        let latest = |time| offset.latest(time);
        let losses = self.losses_after(|loss| latest(loss).is_some_and(|at| at > sign));
        self.silence(losses, latest, latest)
    }

    /// By the bounds that make it least: what counts for `Dead`.
    fn proven_since(&self, sign: Instant, offset: &Offset, now: Instant) -> Option<Silence> {
        let earliest = |time| offset.earliest(time, now);
        let losses = self.losses_after(|loss| earliest(loss).is_some_and(|at| at > sign));
        let own = difference(self.origin.arrived, self.origin.sealed);
        self.silence(losses, |time| Some(time.under(own)), earliest)
    }
}

/// What an observer's echoes say of the subject's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    origin: Origin,
    /// The latest own time at which that echo's probe was sent.
    pub(super) at: Instant,
    /// Age of the agent's stamp then.
    pub(super) agent: Duration,
    /// Health then.
    pub(super) health: u32,
}

/// One observer, as the steward's own roster assigns it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Witness {
    /// Who.
    pub(super) observer: MemberId,
    /// The boot that it named last; 0: none.
    pub(super) boot: BootId,
    /// Of the present boot.
    pub(super) life: Option<Life>,
    /// Of the present boot.
    pub(super) seen: Option<Seen>,
    /// Of the present boot.
    pub(super) told: Option<Told>,
    /// The answer to the look that is under way.
    pub(super) answer: Option<Told>,
}

impl Witness {
    /// Nothing said yet.
    #[must_use]
    pub(super) const fn new(observer: MemberId) -> Self {
        Self {
            observer,
            boot: BootId(0),
            life: None,
            seen: None,
            told: None,
            answer: None,
        }
    }

    /// All that was said is of a boot that is over.
    pub(super) fn forget(&mut self) {
        *self = Self {
            boot: self.boot,
            ..Self::new(self.observer)
        };
    }

    /// It heard the subject, this boot.
    pub(super) fn heard(&mut self, life: Life) {
        self.life = Some(self.life.map_or(life, |old| old.newer(life)));
    }

    /// It sees the subject's agent so.
    pub(super) fn sees(&mut self, origin: &Origin, sighting: &Sighting) {
        let at = origin.arrived.before(sighting.echo);
        let later =
            |seen: Seen| seen.origin.incarnation != origin.incarnation || seen.origin.sealed < origin.sealed;
        if self.seen.is_none_or(later) {
            self.seen = Some(Seen {
                origin: *origin,
                at,
                agent: sighting.agent,
                health: sighting.health,
            });
        }
    }

    /// Its report, unless a later one is here.
    pub(super) fn tells(&mut self, told: Told) {
        if self.told.as_ref().is_none_or(|old| old.is_before(&told)) {
            self.told = Some(told);
        }
    }

    /// Its answer to the look, unless a later one is here.
    pub(super) fn answers(&mut self, told: Told) {
        if self.answer.as_ref().is_none_or(|old| old.is_before(&told)) {
            self.answer = Some(told);
        }
    }
}

/// With what evidence is weighed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    /// The numbers.
    pub(super) profile: &'a Profile,
    /// Silence in a report sealed before does not count: it is expired, or a tick of ours was late since.
    pub(super) silence_from: Instant,
    /// When the look that is under way was asked.
    pub(super) asked_at: Option<Instant>,
    /// This steward listens since.
    pub(super) listens_since: Instant,
    /// Now.
    pub(super) now: Instant,
}

/// All that was said, weighed at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Weighed {
    /// L: newest sign of life, at the latest.
    pub(super) sign: Option<Instant>,
    /// For a suspicion.
    pub(super) suspicion: Sum,
    /// For the storm guard: also by observers that abstain because most of their subjects are silent.
    pub(super) quiet: Sum,
    /// For `Dead`.
    pub(super) proof: Sum,
    /// Observers that are not able.
    pub(super) unable: usize,
    /// No observer is left that counts, is heard, and may have heard the subject in the W after L without this steward's
    /// knowledge.
    pub(super) complete: bool,
    /// An observer is silent by itself, for longer than a verdict takes.
    pub(super) one_sided: bool,
}

/// Weighs what `witnesses` said. `sign` is the newest other sign of life; `said` picks reports or answers to a look.
///
/// Reports are counted if the own roster assigns the observer (it is a witness), it is able, it is neither suspected
/// nor condemned, and its report is fresh: by the time of its sealing, never by its arrival.
pub(super) fn weigh<'a>(
    witnesses: &'a [Witness],
    sign: Option<Instant>,
    said: impl Fn(&'a Witness) -> Option<&'a Told>,
    peer: impl Fn(MemberId) -> Option<&'a Peer>,
    scale: &Scale<'_>,
) -> Weighed {
    let now = scale.now;
    let lives = witnesses.iter().filter_map(|witness| witness.life);
    let sign = lives.map(|life| life.latest).max().max(sign);
    let since = sign.unwrap_or_default();
    let mut weighed = Weighed {
        sign,
        complete: true,
        ..Weighed::default()
    };
    let proof_until = since + scale.profile.window;
    let asked_since = scale.asked_at.is_some_and(|at| at >= proof_until);
    // Whoever does not get our questions still says each second whom it heard: then its slots of that window are over.
    let slots = SLOT * u32::try_from(witnesses.len()).unwrap_or(u32::MAX);
    let slots_over = proof_until + slots + scale.profile.timeout_cap();
    for witness in witnesses {
        let Some(peer) = peer(witness.observer) else {
            continue;
        };
        let answer = witness
            .answer
            .as_ref()
            .filter(|answer| asked_since && answer.is_by(peer.incarnation));
        if answer.is_some_and(|answer| answer.other_heard.is_some_and(|at| at > since)) {
            weighed.complete = false;
            continue;
        }
        let fresh = |sealed: Option<Instant>| sealed.is_some_and(|at| at >= scale.silence_from);
        let told = said(witness).filter(|told| told.is_by(peer.incarnation));
        let told = told.filter(|told| fresh(peer.offset.latest(told.origin.sealed)));
        let silence = told.and_then(|told| told.suspected_since(since, &peer.offset));
        if let Some((told, silence)) = told.zip(silence)
            && matches!(told.ability, Ability::Able | Ability::MostSilent)
            && !peer.condemned
        {
            weighed.quiet.add(silence);
        }
        if told.is_some_and(|told| told.ability != Ability::Able) || peer.other_config {
            weighed.unable += 1;
            continue;
        }
        if peer.condemned {
            continue;
        }
        if let Some(told) = told {
            if let Some(silence) = silence {
                weighed.suspicion.add(silence);
            }
            weighed.one_sided |= told.losses.len() >= MIN_LOSSES
                && told.span() >= scale.profile.window * PARTIAL_WINDOWS
                && told.is_heavy();
        }
        if peer.suspected {
            continue;
        }
        let proven = told.filter(|told| fresh(peer.offset.earliest(told.origin.sealed, now)));
        let silence = proven.and_then(|told| told.proven_since(since, &peer.offset, now));
        if let Some(silence) = silence {
            weighed.proof.add(silence);
        }
        let proves = silence.is_some_and(|silence| silence.last >= proof_until);
        let seen = witness
            .seen
            .filter(|seen| seen.origin.incarnation == peer.incarnation);
        let sees_nothing = seen
            .and_then(|seen| peer.offset.earliest(seen.origin.sealed, now))
            .is_some_and(|sealed| sealed >= slots_over);
        let never_spoke = witness.life.is_none() && now.since(since) >= ACQUAINTANCE;
        weighed.complete &= proves
            || answer.is_some()
            || sees_nothing
            || never_spoke
            || peer.is_gone(scale.listens_since, now);
    }
    weighed
}
