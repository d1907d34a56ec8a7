//! A court: nine members (or others), their words by value, and what the judge makes of them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "a test may panic"
)]

mod bars;
mod degraded;
mod goodbyes;
mod guards;
mod law;
mod looks;
mod mute;
mod reports;
mod speed;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Command, Judge};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::judgement::{Ask, Cause, Evidence, Judgement, Verdict};
use crate::message::{Ability, Greeting, Message, Report, Sighting};
use crate::offset::PeerTime;
use crate::profile::Profile;
use crate::rings::Rings;
use crate::roster::{Member, PublicKey, Roster};
use crate::time::Instant;

const MS: u64 = 1_000_000;
/// The steward's clock at the court's time 0.
const EPOCH: u64 = 1_000_000 * MS;

/// The observers of member 0 of nine.
const OTHERS: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn member(number: usize) -> MemberId {
    MemberId(number as u64 + 1)
}

fn boot(number: usize) -> BootId {
    BootId(1_000 + number as u64)
}

fn rings(members: usize) -> Rings {
    let entry = |number: usize| Member {
        name: format!("node-{number}"),
        uid: format!("uid-{number}"),
        addresses: Vec::new(),
        zone: String::new(),
        key: Some(PublicKey([1; 32])),
        control_plane: false,
        leaving: false,
    };
    let roster = Roster {
        members: (0..members)
            .map(|number| (member(number), entry(number)))
            .collect(),
        stewards: Vec::new(),
    };
    Rings::new(&roster)
}

/// Times are ms since the court opened.
struct Court {
    judge: Judge,
    members: usize,
    now: u64,
    /// These greet, sight everybody they watch, and answer pings.
    awake: BTreeSet<usize>,
    /// These are seen.
    seen: BTreeSet<usize>,
    pongs: bool,
    judgements: Vec<(u64, Judgement)>,
    looks: Vec<(MemberId, u64)>,
    /// Agents that have started again; all others are the fifth.
    incarnations: std::collections::BTreeMap<usize, u64>,
}

impl Court {
    /// Two seconds after everybody has begun to greet and to see everybody.
    fn new(members: usize) -> Self {
        Self::opened(members, Profile::LAN)
    }

    fn opened(members: usize, profile: Profile) -> Self {
        let mut judge = Judge::new(MemberId(99_999), profile, Instant(EPOCH));
        judge.set_rings(rings(members), Instant(EPOCH));
        let mut court = Self {
            judge,
            members,
            now: 0,
            awake: (0..members).collect(),
            seen: (0..members).collect(),
            pongs: true,
            judgements: Vec::new(),
            looks: Vec::new(),
            incarnations: Default::default(),
        };
        court.run_to(2_050);
        court
    }

    fn instant(&self, at: u64) -> Instant {
        Instant(EPOCH + at * MS)
    }

    /// The clock of a member: each its own.
    fn clock(number: usize, at: u64) -> PeerTime {
        PeerTime((number as u64 + 3) * 7_777 * MS + at * MS)
    }

    fn observers(&self, subject: usize) -> Vec<usize> {
        let rings = self.judge.rings.observers(member(subject));
        rings.iter().map(|id| id.0 as usize - 1).collect()
    }

    fn drain(&mut self) {
        while let Some(command) = self.judge.poll_command() {
            match command {
                Command::Judged(judgement) => self.judgements.push((self.now, judgement)),
                Command::Send {
                    to,
                    message: Message::Ping(number),
                } => {
                    let to = to.0 as usize - 1;
                    if self.pongs && self.awake.contains(&to) {
                        self.say(to, Message::Pong(number));
                    }
                }
                Command::Send {
                    to,
                    message: Message::Look(look),
                } => self.looks.push((to, look.nonce)),
                Command::Send { .. } => panic!("nothing else is sent"),
            }
        }
    }

    /// Arrives as soon as it is sealed.
    fn say(&mut self, from: usize, message: Message) {
        self.say_late(from, self.now, message);
    }

    /// Sealed at `sealed`, arrives now.
    fn say_late(&mut self, from: usize, sealed: u64, message: Message) {
        let now = self.instant(self.now);
        let incarnation = self.incarnations.get(&from).copied().unwrap_or(5);
        self.judge.handle_message(
            member(from),
            incarnation,
            Self::clock(from, sealed),
            &message,
            now,
        );
        self.drain();
    }

    fn ask(&mut self, ask: Ask) {
        self.judge.handle_ask(&ask, self.instant(self.now));
        self.drain();
    }

    fn greeting(number: usize) -> Greeting {
        Greeting {
            boot: boot(number),
            config: Profile::LAN.config_hash(),
            roster: 0,
            health: 0,
        }
    }

    fn sightings(&self, observer: usize) -> Vec<Sighting> {
        let subjects = self.judge.rings.subjects(member(observer)).iter();
        subjects
            .filter(|subject| self.seen.contains(&(subject.0 as usize - 1)))
            .map(|subject| Sighting {
                subject: *subject,
                boot: boot(subject.0 as usize - 1),
                echo: ms(10),
                agent: ms(50),
                health: 0,
            })
            .collect()
    }

    /// Time passes: the judge is called when it wants to be, whoever is awake greets and sees each second.
    fn run_to(&mut self, until: u64) {
        while self.now < until {
            let due = self.judge.poll_timeout().0.saturating_sub(EPOCH).div_ceil(MS);
            let next_second = (self.now / 1_000 + 1) * 1_000;
            self.now = due
                .max(self.now + u64::from(due <= self.now))
                .min(next_second)
                .min(until);
            if self.judge.poll_timeout() <= self.instant(self.now) {
                self.judge.handle_timeout(self.instant(self.now));
                self.drain();
            }
            if self.now == next_second {
                for number in self.awake.clone() {
                    self.say(number, Message::Greeting(Self::greeting(number)));
                    let sightings = self.sightings(number);
                    self.say(number, Message::Heard(sightings));
                }
            }
        }
    }

    /// What an able observer reports now that asked each 10 ms, had its last echo from `echo`, and lost everything
    /// sent from `lost_from` to `lost_to`.
    fn report(&self, subject: usize, echo: u64, lost_from: u64, lost_to: u64) -> Report {
        Report {
            subject: member(subject),
            boot: boot(subject),
            incident: IncidentId(77),
            config: Profile::LAN.config_hash(),
            nonce: 0,
            ability: Ability::Able,
            echo: Some(ms(self.now - echo)),
            sign: None,
            loss: 0.0,
            losses: (lost_from..=lost_to)
                .step_by(10)
                .map(|at| ms(self.now - at))
                .collect(),
        }
    }

    /// From now on `silent` lose everything; they report each 10 ms until `until`. Others say nothing.
    fn silence(&mut self, subject: usize, silent: &[usize], until: u64) {
        self.silence_but(subject, silent, until, |_, report| Some(report));
    }

    /// The same; `change` makes another report of each, or none.
    fn silence_but(
        &mut self,
        subject: usize,
        silent: &[usize],
        until: u64,
        change: impl Fn(usize, Report) -> Option<Report>,
    ) {
        let echo = self.now;
        while self.now < until {
            self.run_to(self.now + 10);
            for (turn, observer) in (0..).zip(silent) {
                let first = echo + 12 + turn;
                if self.now >= first + 6 {
                    let last = self.now - 6;
                    let report = self.report(subject, echo, first, last);
                    if let Some(report) = change(*observer, report) {
                        self.say(*observer, Message::Report(report));
                    }
                }
            }
        }
    }

    /// A host loses its power: all of its observers go silent about it.
    fn crash(&mut self, subject: usize, until: u64) {
        self.awake.remove(&subject);
        self.seen.remove(&subject);
        let silent = self.observers(subject);
        self.silence(subject, &silent, until);
    }

    fn verdict(&self, subject: usize) -> Verdict {
        let status = self.judge.status(self.instant(self.now));
        let mut of = status.filter(|status| status.subject == member(subject));
        of.next().unwrap().verdict
    }

    /// Verdicts that were told of one subject, with their times.
    fn told(&self, of: usize) -> Vec<(u64, Verdict)> {
        let changed = |(at, judgement): &(u64, Judgement)| match judgement {
            Judgement::Changed { subject, verdict, .. } if *subject == member(of) => Some((*at, *verdict)),
            _ => None,
        };
        self.judgements.iter().filter_map(changed).collect()
    }

    fn verdicts(&self, of: usize) -> Vec<Verdict> {
        self.told(of).into_iter().map(|(_, verdict)| verdict).collect()
    }

    /// The causes that were told with them, from the first `Degraded` on.
    fn causes(&self, of: usize) -> Vec<Vec<Cause>> {
        let judgements = self
            .judgements
            .iter()
            .filter_map(|(_, judgement)| match judgement {
                Judgement::Changed {
                    subject,
                    verdict,
                    causes,
                    ..
                } if *subject == member(of) => Some((*verdict, causes.iter().collect())),
                _ => None,
            });
        let from_the_first = judgements.skip_while(|(verdict, _)| *verdict != Verdict::Degraded);
        from_the_first.map(|(_, causes)| causes).collect()
    }

    fn died(&self, of: usize) -> bool {
        self.verdicts(of).contains(&Verdict::Dead)
    }

    fn evidence(&self, of: usize, about: Verdict) -> Evidence {
        let found = self
            .judgements
            .iter()
            .rev()
            .find_map(|(_, judgement)| match judgement {
                Judgement::Changed {
                    subject,
                    verdict,
                    evidence,
                    ..
                } if *subject == member(of) && *verdict == about => Some(evidence.clone()),
                _ => None,
            });
        found.unwrap()
    }
}
