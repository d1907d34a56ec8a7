//! One subject as this observer sees it: what was asked, what was heard, what is missing.

mod schedule;

use std::net::SocketAddr;
use std::time::Duration;

use detector_common::state::{PeerKey, PeerState};

use crate::identity::{BootId, IncidentId, MemberId};
use crate::message::{Hint, Sighting};
use crate::profile::{MAX_LOOKS, OUTAGE, PROBE_INTERVAL, REPORT_TAIL, probe_interval};
use crate::time::Instant;

use super::loss::LossEstimate;
use super::losses::{Loss, Losses};
use super::rtt::Rtt;
use super::sent::{Arrived, Fate, Ring};
use super::slot::{Turn, offset};
use super::suspicion::Suspicion;
use super::{Watch, sequence};

/// An arrival is noted word by word; after this time the other words are there too, whichever CPU wrote them.
const SETTLED: Duration = Duration::from_millis(1);

/// A look that waits for the fate of a probe sent after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingLook {
    pub(super) steward: MemberId,
    pub(super) nonce: u64,
    pub(super) asked: Instant,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Subject {
    own: MemberId,
    pub(super) id: MemberId,
    pub(super) address: SocketAddr,
    key: PeerKey,
    /// All its observers, sorted, this one included.
    pub(super) observers: Vec<MemberId>,
    turn: Turn,
    interval: Duration,

    /// As last heard; 0: never.
    pub(super) boot: BootId,
    /// The one before it: a straggler's echo does not bring it back.
    ended: BootId,
    /// Sending of the newest probe whose echo came with this boot.
    pub(super) echoed: Option<Instant>,
    /// The newest authentic sign of any kind; 0: never.
    pub(super) sign: Instant,
    /// In the newest echo: the age of its agent's stamp in ms (high half), its health (low half).
    health: u64,
    offset: Option<u64>,
    acknowledged: u64,
    pub(super) rtt: Rtt,
    pub(super) loss: LossEstimate,

    ring: Ring,
    pub(super) losses: Losses,
    slot_due: Instant,
    last_sent: Instant,
    /// The last probe could not be sent, and a look waits for one.
    resend: bool,
    pub(super) suspicion: Option<Suspicion>,
    pub(super) looks: Vec<PendingLook>,
    /// It has told once where the own sequence must go on: what it says later is not believed.
    raised: bool,
    /// The stewards should hear of it now.
    pub(super) news: bool,
    /// The next time at which anything is to be done.
    pub(super) due: Instant,
}

impl Subject {
    /// None: `own` does not observe it.
    pub(super) fn new(own: MemberId, mut watch: Watch, now: Instant) -> Option<Self> {
        watch.observers.sort_unstable();
        watch.observers.dedup();
        let rank = watch.observers.binary_search(&own).ok()?;
        let k = watch.observers.len();
        let turn = Turn::new(own, watch.id, rank, k);
        let slot_due = turn.first(now, None);
        Some(Self {
            own,
            id: watch.id,
            address: watch.address,
            key: watch.key,
            observers: watch.observers,
            turn,
            interval: probe_interval(k),
            boot: BootId(0),
            ended: BootId(0),
            echoed: None,
            sign: Instant(0),
            health: 0,
            offset: None,
            acknowledged: 0,
            rtt: Rtt::default(),
            loss: LossEstimate::new(turn.period()),
            ring: Ring::default(),
            losses: Losses::new(),
            slot_due,
            last_sent: Instant(0),
            resend: false,
            suspicion: None,
            looks: Vec::with_capacity(MAX_LOOKS),
            raised: false,
            news: false,
            due: slot_due,
        })
    }

    /// The same subject in a newer roster: what was heard stays, unless it moved.
    pub(super) fn update(&mut self, fresh: Self) {
        if self.address != fresh.address {
            self.address = fresh.address;
            self.forget();
        }
        self.key = fresh.key;
        if self.turn.period() != fresh.turn.period() {
            self.loss = LossEstimate::new(fresh.turn.period());
        }
        self.observers = fresh.observers;
        self.turn = fresh.turn;
        self.interval = fresh.interval;
    }

    /// Whether this boot was ever heard.
    pub(super) fn ever_heard(&self) -> bool {
        self.boot != BootId(0)
    }

    /// What its newest echo said; None: this boot was never heard.
    pub(super) fn sighting(&self, now: Instant) -> Option<Sighting> {
        let echoed = self.echoed.filter(|_| self.ever_heard())?;
        Some(Sighting {
            subject: self.id,
            boot: self.boot,
            echo: now - echoed,
            agent: Duration::from_millis(self.health >> 32),
            health: u32::try_from(self.health & u64::from(u32::MAX)).unwrap_or_default(),
        })
    }

    /// Whether its silence is so old that it was given a rest.
    pub(super) fn rested(&self) -> bool {
        self.suspicion.as_ref().is_some_and(|open| open.rested)
    }

    fn resting(&self) -> bool {
        self.suspicion.as_ref().is_some_and(Suspicion::resting)
    }

    /// Takes in what the kernel noted, then judges what is overdue. Whether stewards should hear of it at once.
    pub(super) fn read(&mut self, state: &PeerState, incarnation: u32, now: Instant) -> bool {
        self.sign = self.sign.max(super::heard(state));
        let boot = BootId(state.echoed_boot.get());
        let stamp = Instant(state.echoed_at.get());
        let void = boot == BootId(0) || boot == self.ended;
        // By time of arrival: arrival, sending, sequence. The words beside the arrivals belong to the last of them.
        let mut last: Option<(Instant, Instant, u32)> = None;
        let mut newest = self.echoed;
        let mut overdue = false;
        for (probe, arrived) in self.ring.arrivals(state, incarnation, now) {
            match arrived {
                Arrived::No => overdue |= probe.fate == Fate::Out && probe.deadline() <= now,
                Arrived::At(at) if stamp < at && now < at + SETTLED => {}
                Arrived::At(at) if !void => {
                    if probe.fate == Fate::Out && probe.slot {
                        self.loss.record(false);
                    }
                    probe.fate = Fate::Echoed;
                    self.rtt.sample(at - probe.at);
                    newest = newest.max(Some(probe.at));
                    last = last.max(Some((at, probe.at, probe.counter)));
                }
                Arrived::At(_) | Arrived::Overwritten => {
                    probe.fate = Fate::Void;
                    self.losses.remove(probe.counter);
                }
            }
        }
        let mut news = false;
        if let Some((at, sent, counter)) = last {
            self.offset = Some(offset(state.echoed_offset.get(), at - sent));
            self.health = state.echoed_health.get();
            self.acknowledged = self.acknowledged.max(sequence(incarnation, counter));
            if boot != self.boot {
                let incident = IncidentId::mint(self.own, boot, sequence(incarnation, counter));
                self.begin_boot(boot, incident, now);
                newest = Some(sent);
                news = true;
                overdue = false;
            }
            self.echoed = newest;
            news |= self.heard(now);
        }
        if overdue {
            self.expire(state, incarnation, now);
        }
        news
    }

    /// A new boot: whatever was lost before belongs to a host that is gone.
    fn begin_boot(&mut self, boot: BootId, incident: IncidentId, now: Instant) {
        self.ended = self.boot;
        self.boot = boot;
        self.loss = LossEstimate::new(self.turn.period());
        self.forget();
        self.suspicion = Some(Suspicion::new(incident, now));
    }

    /// There is an echo: clears what it disproves and answers. Whether that was anything.
    fn heard(&mut self, now: Instant) -> bool {
        let Some(echoed) = self.echoed else { return false };
        let mut news = self.losses.keep_after(echoed) || self.rested();
        if self.losses.is_empty() {
            self.loss.thaw();
        }
        if let Some(open) = &mut self.suspicion {
            if news && self.losses.is_empty() {
                open.recovered(now);
            }
            if open.asked.is_some_and(|asked| echoed >= asked) {
                open.asked = None;
                news = true;
            }
        }
        news
    }

    /// Turns what is overdue and has not arrived into losses, oldest first.
    fn expire(&mut self, state: &PeerState, incarnation: u32, now: Instant) {
        let mut lost = [0_u32; detector_common::state::ARRIVALS];
        let overdue = self
            .ring
            .arrivals(state, incarnation, now)
            .filter_map(|(probe, arrived)| {
                let lost = arrived == Arrived::No && probe.fate == Fate::Out && probe.deadline() <= now;
                lost.then_some(probe.counter)
            });
        let count = lost
            .iter_mut()
            .zip(overdue)
            .map(|(place, counter)| *place = counter)
            .count();
        let lost = lost.get_mut(..count).unwrap_or_default();
        lost.sort_unstable();
        for counter in lost.iter() {
            self.lose(*counter, incarnation, now);
        }
    }

    fn lose(&mut self, counter: u32, incarnation: u32, now: Instant) {
        let Some(probe) = self.ring.get_mut(counter) else {
            return;
        };
        probe.fate = Fate::Lost;
        let probe = *probe;
        if !self.ever_heard() {
            return;
        }
        let since_echo = self.echoed.is_none_or(|echoed| probe.at > echoed);
        if since_echo {
            self.loss.freeze();
        }
        if since_echo && !self.resting() {
            if self.losses.is_empty() {
                let incident = IncidentId::mint(self.own, self.boot, sequence(incarnation, counter));
                let open = self
                    .suspicion
                    .get_or_insert_with(|| Suspicion::new(incident, now));
                open.begin_run(now);
            }
            self.losses.push(Loss {
                sent: probe.at,
                deadline: probe.deadline(),
                counter,
                counted: false,
            });
        }
        let outage = self.echoed.is_some_and(|echoed| probe.at.since(echoed) >= OUTAGE);
        if probe.slot && !outage {
            self.loss.record(true);
        }
    }

    /// Gives up all evidence of silence, counted or on its way.
    pub(super) fn forget(&mut self) {
        self.losses.clear();
        self.ring.void();
    }

    /// The probe of this counter did not leave.
    pub(super) fn unsent(&mut self, counter: u32) -> bool {
        let probe = self.ring.get_mut(counter).filter(|probe| probe.fate == Fate::Out);
        let found = probe.map(|probe| probe.fate = Fate::Void).is_some();
        self.resend |= found;
        found
    }

    /// Another observer finds it silent. Whether that is obeyed: a hint makes an observer ask at most as often as a
    /// loss of its own does.
    pub(super) fn hinted(&mut self, hint: &Hint, now: Instant) -> bool {
        let label = IncidentId(hint.incident.0.max(1));
        let open = self.suspicion.get_or_insert_with(|| Suspicion::new(label, now));
        if open.hinted != Instant(0) && now.since(open.hinted) < PROBE_INTERVAL {
            return false;
        }
        if !open.join(now) {
            return false;
        }
        open.incident = open.incident.min(label);
        open.hinted = now;
        open.asked.get_or_insert(now);
        open.until = open.until.max(now + REPORT_TAIL);
        true
    }

    /// A steward looks; it repeats the question until it has the answer. Whether an older look had to give way.
    pub(super) fn looked(&mut self, look: PendingLook) -> bool {
        let same = |other: &PendingLook| other.steward == look.steward && other.nonce == look.nonce;
        if self.looks.iter().any(same) {
            return false;
        }
        if let Some(open) = &mut self.suspicion {
            open.wake(look.asked);
        }
        self.looks.retain(|other| other.steward != look.steward);
        let full = self.looks.len() >= MAX_LOOKS;
        if full {
            self.looks.remove(0);
        }
        self.looks.push(look);
        full
    }

    /// Removes and returns a look that can be answered: an echo to a probe sent after it came, or such a probe counts
    /// as lost in a silence of at least `window`; at the latest two windows after it.
    pub(super) fn answerable(&mut self, window: Duration, now: Instant) -> Option<PendingLook> {
        let mut sendings = self.losses.sendings();
        let first = sendings.next();
        let last = sendings.last().or(first);
        let ready = |look: &PendingLook| {
            self.echoed.is_some_and(|echoed| echoed >= look.asked)
                || last
                    .zip(first)
                    .is_some_and(|(last, first)| last >= look.asked && last - first >= window)
                || now.since(look.asked) >= window * 2
        };
        let place = self.looks.iter().position(ready)?;
        Some(self.looks.remove(place))
    }

    /// Starts or ends a rest when it is time to.
    pub(super) fn rest(&mut self, now: Instant) {
        let running = !self.losses.is_empty();
        if let Some(open) = self.suspicion.as_mut().filter(|open| running || open.rested)
            && open.rest(now)
        {
            self.losses.clear();
        }
    }

    /// A new steward knows nothing yet: what is silent is told to it from the beginning.
    pub(super) fn rouse(&mut self, now: Instant) {
        if let Some(open) = &mut self.suspicion {
            open.rested = false;
            open.wake(now);
            open.begin_run(now);
        }
    }

    /// `highest` is the highest sequence of this host that the subject has seen. Above what this process sent, it is
    /// of an earlier one, and to the subject the probes of this process are replays until their sequence goes on
    /// above it: the incarnation that does. Believed once, as every change costs the evidence on all subjects.
    pub(super) fn go_on_above(&mut self, highest: u64, incarnation: u32) -> u32 {
        if self.raised || highest <= sequence(incarnation, self.ring.newest()) {
            return incarnation;
        }
        self.raised = true;
        let seen = u32::try_from(highest >> 32).unwrap_or(u32::MAX);
        if seen == u32::MAX {
            // No incarnation is above that one; its counters are.
            self.ring
                .raise(u32::try_from(highest & u64::from(u32::MAX)).unwrap_or(u32::MAX));
        }
        seen.saturating_add(1)
    }
}
