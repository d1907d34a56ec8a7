//! One subject: everything that is known of its present boot, and what was told of it.

use std::time::Duration;

use detector_common::packet::health;

use crate::identity::{BootId, IncidentId, MemberId};
use crate::judge::evidence::{Origin, Weighed, Witness};
use crate::judge::goodbye::{Parting, Standing};
use crate::judge::look::LookRound;
use crate::judge::returning::Returning;
use crate::judge::suspicion::Suspicion;
use crate::judge::verdict::Signs;
use crate::judgement::{Causes, Evidence, Hold, Verdict};
use crate::message::Farewell;
use crate::offset::PeerTime;
use crate::profile::{AGENT_STALE, PARTIAL_LINGER, REPORT_TAIL, SOCKET_RESTART, quorum};
use crate::time::{Instant, nanos};

/// Boots that are over are remembered so far: observers name them for a while.
const ENDED_BOOTS: usize = 4;

/// The rule held, and nothing held it back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condemnation {
    /// L, when it was judged. The verdict stands until a later sign of life, whether or not observers go on reporting.
    pub(super) sign: Instant,
    /// The same when it was judged first.
    pub(super) silent_since: Instant,
    /// On what.
    pub(super) evidence: Evidence,
}

/// The last greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeted {
    /// Arrival.
    pub(super) at: Instant,
    /// By which agent, and when by its clock.
    pub(super) incarnation: u64,
    /// See there.
    pub(super) sealed: PeerTime,
}

impl Greeted {
    /// Whether a message of the same agent was sealed before this greeting.
    #[must_use]
    pub(super) fn overtook(&self, origin: &Origin) -> bool {
        self.incarnation == origin.incarnation && self.sealed > origin.sealed
    }
}

/// What the remedy is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    /// About which boot.
    pub(super) boot: BootId,
    /// What.
    pub(super) verdict: Verdict,
    /// With `Degraded`.
    pub(super) causes: Causes,
    /// By its own word.
    pub(super) farewell: Option<Farewell>,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// The present boot; 0: never heard.
    pub(super) boot: BootId,
    ended: Vec<BootId>,
    /// Its observers by the steward's own roster, sorted.
    pub(super) witnesses: Vec<Witness>,
    /// Newest sign of life that is no witness's: its own messages, other members' reports.
    pub(super) sign: Option<Instant>,
    /// Its last greeting of this boot.
    pub(super) greeted: Option<Greeted>,
    /// The agent that greeted last, of whichever boot.
    pub(super) agent: Option<u64>,
    /// Its own word on its health, and when that was.
    pub(super) said: Option<(Instant, u32)>,
    /// Its last farewell.
    pub(super) parting: Option<Parting>,
    /// It says through the API that it lives, until then.
    pub(super) says_alive_until: Instant,
    /// Half the evidence.
    pub(super) suspicion: Option<Suspicion>,
    /// Two observers' part of it.
    pub(super) quiet: Option<Suspicion>,
    /// The whole.
    pub(super) condemnation: Option<Condemnation>,
    /// The cause of `Partial` last held then.
    partial_at: Option<Instant>,
    /// The rule held with this L, but its verdict was held back. `Partial` until a later sign of life.
    pub(super) withheld: Option<Instant>,
    /// The rule last held then, by one observer alone.
    pub(super) too_few_at: Option<Instant>,
    /// The suspicion's label.
    pub(super) incident: Option<IncidentId>,
    /// The early warning of this incident was given.
    pub(super) warned: bool,
    /// When a hint or a report with losses came last.
    pub(super) stirred_at: Instant,
    /// The way back.
    pub(super) returning: Returning,
    /// The look that is under way.
    pub(super) look: Option<LookRound>,
    /// What the remedy was told last.
    pub(super) told: Option<Telling>,
    /// The hold on this subject alone that was told last.
    pub(super) held: Option<Hold>,
}

impl Subject {
    /// Nothing known yet.
    #[must_use]
    pub(super) fn new(observers: &[MemberId]) -> Self {
        Self {
            boot: BootId(0),
            ended: Vec::new(),
            witnesses: observers.iter().copied().map(Witness::new).collect(),
            sign: None,
            greeted: None,
            agent: None,
            said: None,
            parting: None,
            says_alive_until: Instant::default(),
            suspicion: None,
            quiet: None,
            condemnation: None,
            partial_at: None,
            withheld: None,
            too_few_at: None,
            incident: None,
            warned: false,
            stirred_at: Instant::default(),
            returning: Returning::default(),
            look: None,
            told: None,
            held: None,
        }
    }

    /// Another roster: who still observes keeps what it said. What others had heard stays a sign of life.
    pub(super) fn reassign(&mut self, observers: &[MemberId]) {
        let old = std::mem::take(&mut self.witnesses);
        for witness in &old {
            if observers.binary_search(&witness.observer).is_err() {
                self.sign = self.sign.max(witness.life.map(|life| life.latest()));
            }
        }
        let kept = |observer: &MemberId| {
            let place = old.binary_search_by_key(observer, |witness| witness.observer);
            place.ok().and_then(|place| old.get(place)).cloned()
        };
        self.witnesses = observers
            .iter()
            .map(|observer| kept(observer).unwrap_or_else(|| Witness::new(*observer)))
            .collect();
    }

    /// This observer, if the own roster assigns it.
    pub(super) fn witness(&mut self, observer: MemberId) -> Option<&mut Witness> {
        let place = self
            .witnesses
            .binary_search_by_key(&observer, |witness| witness.observer)
            .ok()?;
        self.witnesses.get_mut(place)
    }

    /// H.
    #[must_use]
    pub(super) fn quorum(&self) -> usize {
        quorum(self.witnesses.len())
    }

    /// Whether a boot is over, so that observers who still name it are only late.
    #[must_use]
    pub(super) fn is_over(&self, boot: BootId) -> bool {
        self.ended.contains(&boot)
    }

    /// A new boot: what was known of the old one is over, and with it its incident.
    pub(super) fn reboot(&mut self, boot: BootId, now: Instant) {
        self.ended.retain(|ended| *ended != boot);
        if self.boot != BootId(0) {
            if self.ended.len() == ENDED_BOOTS {
                self.ended.remove(0);
            }
            self.ended.push(self.boot);
        }
        let mut fresh = Self::new(&[]);
        fresh.boot = boot;
        fresh.ended = std::mem::take(&mut self.ended);
        fresh.witnesses = std::mem::take(&mut self.witnesses);
        fresh.witnesses.iter_mut().for_each(Witness::forget);
        fresh.returning = std::mem::take(&mut self.returning);
        fresh.returning.rebooted(now);
        fresh.agent = self.agent;
        fresh.told = self.told;
        fresh.held = self.held;
        *self = fresh;
    }

    /// A boot that H of its observers have heard, where the subject's own word is missing: they may be later than it,
    /// when they still name the boot before.
    #[must_use]
    pub(super) fn boot_by_quorum(&self, now: Instant) -> Option<BootId> {
        if self
            .greeted
            .is_some_and(|greeted| now.since(greeted.at) < AGENT_STALE)
        {
            return None;
        }
        let named = |boot: BootId| {
            self.witnesses
                .iter()
                .filter(|witness| witness.boot == boot)
                .count()
        };
        self.witnesses
            .iter()
            .map(|witness| witness.boot)
            .filter(|boot| *boot != BootId(0) && *boot != self.boot && !self.is_over(*boot))
            .find(|boot| named(*boot) >= self.quorum())
    }

    /// H of its observers have heard this boot.
    #[must_use]
    pub(super) fn is_known(&self) -> bool {
        let heard = self
            .witnesses
            .iter()
            .filter(|witness| witness.life.is_some())
            .count();
        heard > 0 && heard >= self.quorum()
    }

    /// Its own word, or what its echoes say of its going: then a reboot, which waits longest.
    #[must_use]
    pub(super) fn farewell(&self, now: Instant) -> Option<Farewell> {
        match &self.parting {
            Some(parting) if parting.standing(now) != Standing::Overdue => Some(parting.farewell),
            _ if self.health() & health::LEAVING != 0 => Some(Farewell::Reboot),
            _ => None,
        }
    }

    /// Whether its agent, at least, is gone by its own word.
    #[must_use]
    pub(super) fn is_parted(&self, now: Instant) -> bool {
        self.farewell(now).is_some()
    }

    /// Begins a look, without answers. The one that had to give way, if any.
    pub(super) fn begin_look(&mut self, look: LookRound) -> Option<LookRound> {
        self.witnesses
            .iter_mut()
            .for_each(|witness| witness.answer = None);
        self.look.replace(look)
    }

    /// The longest silence of which the second look has to know. Where the socket echoes, an agent that starts again is
    /// silent too: it may, although it never was.
    #[must_use]
    pub(super) fn longest_silence(&self, now: Instant) -> Duration {
        let assumed = if self.echoes_by_socket() {
            SOCKET_RESTART
        } else {
            Duration::ZERO
        };
        self.returning.longest_silence(now).max(assumed)
    }

    /// Whether silence means nothing.
    #[must_use]
    pub(super) fn is_excused(&self, now: Instant) -> bool {
        self.parting
            .as_ref()
            .is_some_and(|parting| parting.excuses_silence(self.echoes_by_socket(), now))
    }

    /// What holds of it now.
    #[must_use]
    pub(super) fn telling(&self, now: Instant) -> Telling {
        let verdict = self.signs(now).verdict();
        Telling {
            boot: self.boot,
            verdict,
            causes: match verdict {
                Verdict::Degraded => self.causes(now),
                _ => Causes::NONE,
            },
            farewell: self.farewell(now),
        }
    }

    /// A hint, or a report with losses: of two labels the smaller one is kept.
    pub(super) fn stir(&mut self, incident: IncidentId, now: Instant) {
        self.stirred_at = now;
        if incident != IncidentId(0) {
            self.incident = Some(self.incident.map_or(incident, |known| known.min(incident)));
        }
    }

    /// The suspicion's label; minted here if nobody gave one.
    pub(super) fn label(&mut self, own: MemberId, sign: Instant) -> IncidentId {
        let boot = self.boot;
        *self
            .incident
            .get_or_insert_with(|| IncidentId::mint(own, boot, sign.0))
    }

    /// Why a verdict on it alone is held back.
    #[must_use]
    pub(super) fn own_hold(&self, now: Instant) -> Option<Hold> {
        let lately = self.too_few_at.is_some_and(|at| now.since(at) < PARTIAL_LINGER);
        lately.then_some(Hold::TooFewObservers)
    }

    /// The cause of `Partial` holds now.
    pub(super) fn partial(&mut self, now: Instant) {
        self.partial_at = Some(now);
    }

    /// Everything that the table wants to know.
    #[must_use]
    pub(super) fn signs(&self, now: Instant) -> Signs {
        let farewell = self.farewell(now);
        let leaving = matches!(farewell, Some(Farewell::PowerOff | Farewell::Reboot));
        Signs {
            known: self.is_known(),
            degraded: self.is_degraded(now),
            away: farewell.is_some() && !leaving,
            partial: self.withheld.is_some()
                || self.says_alive_until > now
                || self.partial_at.is_some_and(|at| now.since(at) < PARTIAL_LINGER),
            leaving,
            dead: self.condemnation.is_some(),
            excused: self.is_excused(now),
        }
    }

    /// Whether anything may change with time alone, or with the next report.
    #[must_use]
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.suspicion.is_some()
            || self.look.is_some()
            || self.held.is_some()
            || self.says_alive_until > now
            || self.partial_at.is_some_and(|at| now.since(at) < PARTIAL_LINGER)
            || now.since(self.stirred_at) < REPORT_TAIL
    }

    /// Nobody is silent about it any more: the incident is over.
    pub(super) fn close(&mut self) {
        self.incident = None;
        self.warned = false;
        self.partial_at = None;
    }

    /// What a judgement tells of the evidence.
    #[must_use]
    pub(super) fn evidence(&self, weighed: &Weighed, now: Instant) -> Evidence {
        let ago = |at: Instant| micros(now.since(at));
        Evidence {
            observers: self.witnesses.len(),
            quorum: self.quorum(),
            silent: weighed.proof.silent,
            unable: weighed.unable,
            losses: weighed.proof.losses,
            span_us: weighed.proof.span_us(),
            weight: weighed.proof.weight,
            last_echo_us: weighed.sign.map(ago),
            first_loss_us: weighed.proof.between.map(|(first, _)| ago(first)),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    nanos(duration) / 1_000
}
