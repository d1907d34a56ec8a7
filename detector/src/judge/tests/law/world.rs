//! A model of observers and their reports, simpler than the real ones: each asks every 10 ms, its echoes come or do
//! not, and it reports each 10 to 20 ms, silent or not. Every way to be wrong about times is in it: own clocks that
//! drift, reports, pongs and greetings that are lost, overtaken, or wait; a steward, and observers, that a hypervisor
//! stops with their clocks.

use proptest::prelude::prop_assert;
use proptest::test_runner::TestCaseError;

use super::super::{boot, member, rings};
use crate::identity::{IncidentId, MemberId};
use crate::judge::{Command, Judge};
use crate::judgement::{Judgement, Verdict};
use crate::message::{Ability, Greeting, Message, Report};
use crate::offset::PeerTime;
use crate::profile::Profile;
use crate::time::Instant;

pub(super) const US: u64 = 1_000;
pub(super) const MS: u64 = 1_000_000;
/// True time at which the run begins: far from 0, as clocks run behind it.
pub(super) const BEGIN: u64 = 1_000_000 * MS;
pub(super) const ROUND_TRIP: u64 = MS;
const DEADLINE: u64 = 10 * MS;

/// xorshift64*: small, seeded, enough.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A clock that drifts, and stands still from time to time.
pub(super) struct Clock {
    offset: u64,
    ppm: i64,
    /// From, until: true time.
    pauses: Vec<(u64, u64)>,
}

impl Clock {
    fn stands(&self, at: u64) -> Option<u64> {
        let pause = self
            .pauses
            .iter()
            .find(|(from, until)| (*from..*until).contains(&at));
        pause.map(|(_, until)| *until)
    }

    pub(super) fn read(&self, at: u64) -> u64 {
        let stood: u64 = self
            .pauses
            .iter()
            .map(|(from, until)| at.clamp(*from, *until) - from)
            .sum();
        let ran = at - BEGIN - stood;
        let drift = ran.cast_signed() / 1_000_000 * self.ppm;
        (self.offset + ran).wrapping_add_signed(drift)
    }
}

pub(super) struct Probe {
    pub(super) sent: u64,
    pub(super) echoed: bool,
}

pub(super) struct Observer {
    clock: Clock,
    /// The subject is not heard in these.
    blackouts: Vec<(u64, u64)>,
    loss: u64,
    /// Every message to the steward waits this long, in µs.
    queue: u64,
    jitter: u64,
    reports_lost: u64,
    pub(super) probes: Vec<Probe>,
    next_probe: u64,
    next_report: u64,
    next_greeting: u64,
    /// The look that it has to answer: its nonce, and when it came.
    look: Option<(u64, u64)>,
    /// True sealing time of each report that has arrived.
    pub(super) arrived: Vec<u64>,
}

/// How bad the network is.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    pub(super) queue: u64,
    pub(super) jitter: u64,
    pub(super) reports_lost: u64,
    pub(super) pauses: bool,
}

enum Event {
    ToSteward {
        from: usize,
        sealed: u64,
        message: Message,
        of: u64,
    },
    /// A ping, or a look.
    ToObserver { to: usize, message: Message },
}

pub(super) struct World {
    rng: Rng,
    pub(super) steward: Clock,
    pub(super) observers: Vec<Observer>,
    pub(super) judge: Judge,
    /// By time of arrival.
    events: std::collections::BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) strict: bool,
    pub(super) deads: u64,
}

fn intervals(rng: &mut Rng, count: u64, longest: u64) -> Vec<(u64, u64)> {
    let count = rng.below(count + 1);
    let mut all: Vec<(u64, u64)> = (0..count)
        .map(|_| {
            let from = BEGIN + 1_500 * MS + rng.below(2_000 * MS);
            (from, from + rng.below(longest))
        })
        .collect();
    all.sort_unstable();
    all.dedup_by(|later, earlier| later.0 <= earlier.1);
    all
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather, strict: bool) -> Self {
        let mut rng = Rng(seed.wrapping_mul(2).wrapping_add(1));
        let members = 3 + usize::try_from(rng.below(7)).unwrap();
        let clock = |rng: &mut Rng, pauses: bool| Clock {
            offset: 1_000 * MS + rng.below(1 << 50),
            ppm: i64::try_from(rng.below(200)).unwrap() - 100,
            pauses: if pauses {
                intervals(rng, 2, 600 * MS)
            } else {
                Vec::new()
            },
        };
        let steward = clock(&mut rng, weather.pauses);
        // The whole subject fails in some, single ways to it in others.
        let common = intervals(&mut rng, 3, 500 * MS);
        let observers = (1..members)
            .map(|_| {
                let mut blackouts = common.clone();
                blackouts.extend(intervals(&mut rng, 2, 400 * MS));
                Observer {
                    clock: clock(&mut rng, weather.pauses),
                    blackouts,
                    loss: rng.below(15),
                    queue: if rng.chance(70) {
                        rng.below(2_000)
                    } else {
                        rng.below(weather.queue)
                    },
                    jitter: rng.below(weather.jitter + 1),
                    reports_lost: rng.below(weather.reports_lost + 1),
                    probes: Vec::new(),
                    next_probe: BEGIN + rng.below(10 * MS),
                    next_report: BEGIN + rng.below(20 * MS),
                    next_greeting: BEGIN + rng.below(300 * MS),
                    look: None,
                    arrived: Vec::new(),
                }
            })
            .collect();
        let start = Instant(steward.read(BEGIN));
        let mut judge = Judge::new(MemberId(99_999), Profile::LAN, start);
        judge.set_rings(rings(members), start);
        Self {
            rng,
            steward,
            observers,
            judge,
            events: std::collections::BTreeMap::new(),
            serial: 0,
            strict,
            deads: 0,
        }
    }

    fn post(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// A message of an observer to the steward, sealed now; `of` says which report it is.
    fn send(&mut self, from: usize, message: Message, now: u64) {
        let observer = &self.observers[from];
        if self.rng.below(100) < observer.reports_lost {
            return;
        }
        let jitter = if self.rng.chance(80) {
            3_000
        } else {
            observer.jitter
        };
        let delay = 100 * US + observer.queue * US + self.rng.below(jitter * US);
        let sealed = observer.clock.read(now);
        self.post(
            now + delay,
            Event::ToSteward {
                from,
                sealed,
                message,
                of: now,
            },
        );
    }

    fn observe(&mut self, place: usize, now: u64) {
        let observer = &mut self.observers[place];
        if observer.clock.stands(now).is_some() {
            return;
        }
        if now >= observer.next_probe {
            let dark = observer
                .blackouts
                .iter()
                .any(|(from, until)| (*from..*until).contains(&now));
            // What comes back while its host stands still is lost.
            let back = observer.clock.stands(now + ROUND_TRIP).is_none();
            let echoed = !dark && back && !self.rng.chance(observer.loss);
            observer.probes.push(Probe { sent: now, echoed });
            observer.next_probe = now + 10 * MS;
        }
        if now >= observer.next_greeting {
            observer.next_greeting = now + 300 * MS;
            let greeting = Greeting {
                boot: boot(place + 1),
                config: Profile::LAN.config_hash(),
                roster: 0,
                health: 0,
            };
            self.send(place, Message::Greeting(greeting), now);
        }
        let observer = &mut self.observers[place];
        if now >= observer.next_report {
            observer.next_report = now + 10 * MS + self.rng.below(10 * MS);
            let clock = &observer.clock;
            let age = |sent: u64| std::time::Duration::from_nanos(clock.read(now) - clock.read(sent));
            let settled = |probe: &&Probe| clock.read(now) >= clock.read(probe.sent) + DEADLINE;
            let heard = observer
                .probes
                .iter()
                .rev()
                .find(|probe| probe.echoed && probe.sent + ROUND_TRIP <= now);
            let since = heard.map_or(0, |probe| probe.sent);
            let losses = observer.probes.iter().rev().take(60).rev();
            let losses = losses
                .filter(|probe| !probe.echoed && probe.sent > since)
                .filter(settled);
            // A look asks for the fate of a probe that was sent after it came.
            let decided = |asked: u64| {
                let mut probes = observer.probes.iter().filter(|probe| probe.sent >= asked);
                probes.any(|probe| probe.sent + ROUND_TRIP <= now && probe.echoed || settled(&probe))
            };
            let answered = observer.look.filter(|(_, asked)| decided(*asked));
            let report = Report {
                subject: member(0),
                boot: boot(0),
                incident: IncidentId(7),
                config: Profile::LAN.config_hash(),
                nonce: answered.map_or(0, |(nonce, _)| nonce),
                ability: Ability::Able,
                echo: heard.map(|probe| age(probe.sent)),
                sign: None,
                loss: 0.05,
                losses: losses.map(|probe| age(probe.sent)).collect(),
            };
            if answered.is_some() {
                observer.look = None;
            }
            self.send(place, Message::Report(report), now);
        }
    }

    /// What the steward asks.
    fn asked(&mut self, to: usize, message: Message, now: u64) {
        match (message, self.observers[to].clock.stands(now)) {
            (message, Some(later)) => self.post(later, Event::ToObserver { to, message }),
            (Message::Ping(number), None) => self.send(to, Message::Pong(number), now),
            (Message::Look(look), None) => self.observers[to].look = Some((look.nonce, now)),
            (message, None) => panic!("not asked of an observer: {message:?}"),
        }
    }

    fn drain(&mut self, now: u64) -> Result<(), TestCaseError> {
        while let Some(command) = self.judge.poll_command() {
            match command {
                Command::Send {
                    to,
                    message: message @ (Message::Ping(_) | Message::Look(_)),
                } if to != member(0) => {
                    let to = usize::try_from(to.0).unwrap() - 2;
                    let delay = 100 * US + self.rng.below(300 * US);
                    if !self.rng.chance(self.observers[to].reports_lost) {
                        self.post(now + delay, Event::ToObserver { to, message });
                    }
                }
                Command::Judged(Judgement::Changed {
                    subject,
                    verdict: Verdict::Dead,
                    evidence,
                    ..
                }) if subject == member(0) => {
                    self.deads += 1;
                    let kept = self.law(now);
                    prop_assert!(
                        kept.is_ok(),
                        "{kept:?} at {} ms: {evidence:?}",
                        (now - BEGIN) / MS
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn run(&mut self, until: u64) -> Result<(), TestCaseError> {
        let mut now = BEGIN;
        while now < until {
            now += 500 * US;
            for place in 0..self.observers.len() {
                self.observe(place, now);
            }
            if self.steward.stands(now).is_some() {
                continue;
            }
            while let Some(entry) = self.events.first_entry()
                && entry.key().0 <= now
            {
                match entry.remove() {
                    Event::ToObserver { to, message } => self.asked(to, message, now),
                    Event::ToSteward {
                        from,
                        sealed,
                        message,
                        of,
                    } => {
                        if matches!(message, Message::Report(_)) {
                            self.observers[from].arrived.push(of);
                        }
                        let own = Instant(self.steward.read(now));
                        self.judge
                            .handle_message(member(from + 1), 5, PeerTime(sealed), &message, own);
                        self.drain(now)?;
                    }
                }
            }
            let own = Instant(self.steward.read(now));
            if self.judge.poll_timeout() <= own {
                self.judge.handle_timeout(own);
                self.drain(now)?;
            }
        }
        Ok(())
    }
}
