//! Between the remedies and the API: watches, and a writer that asks the verdict again before each try.

use detector::judgement::Judgement;
use detector::remedy::Remedy;
use detector::remedy::command::{ApiEvent, Command, Outcome, Request};
use detector::remedy::pause;
use detector::time::Instant;

use super::actions::still_until;
use super::seat::{Attempt, Reply, TO_API, TRIES, TRY, WATCH};
use super::{Cluster, Fault, Later, Mishap, Program};

impl Cluster {
    /// The real-time half's word reaches the other half, unless both stand still.
    pub(super) fn told(&mut self, seat: usize, start: u32, judgement: Judgement) {
        self.seats[seat].verdicts.note(&judgement);
        let again = |judgement| Later::Judged {
            seat,
            start,
            judgement,
        };
        self.tell(seat, start, judgement, again, |remedy, judgement, now| {
            remedy.handle_judgement(&judgement, now);
        });
    }

    /// Something for a remedy: now, or when its host and process go on.
    pub(super) fn tell<T>(
        &mut self,
        seat: usize,
        start: u32,
        what: T,
        again: impl FnOnce(T) -> Later,
        tell: impl FnOnce(&mut Remedy, T, Instant),
    ) {
        if self.seats[seat].start != start {
            return;
        }
        if let Some(until) = still_until(&self.world, &self.seats[seat]) {
            let later = again(what);
            if matches!(later, Later::Remedy { .. }) {
                self.seats[seat].wake = until;
            }
            self.later.push(until, later);
            return;
        }
        let now = self.world.clock(self.seats[seat].host);
        if let Some(remedy) = &mut self.seats[seat].remedy {
            tell(remedy, what, now);
            self.settle(seat);
        }
    }

    /// Carries out what a remedy wants, and arms its timer.
    pub(super) fn settle(&mut self, seat: usize) {
        let start = self.seats[seat].start;
        while let Some(command) = self.seats[seat].remedy.as_mut().and_then(Remedy::poll_command) {
            match command {
                Command::Call(request) => self.try_call(Attempt {
                    seat,
                    start,
                    request,
                    tries: 1,
                }),
                Command::Ask(ask) => {
                    let end = self.seats[seat].end();
                    self.world.with(end, |program, now| {
                        if let Program::Steward(steward) = program {
                            steward.handle_ask(&ask, now);
                        }
                    });
                }
                Command::Withheld(_) => {}
                Command::Record(entry) => self.record.entries.push((self.world.now(), seat, entry)),
                Command::Alarm(text) => self.record.alarms.push(text),
            }
        }
        let host = self.seats[seat].host;
        let Some(remedy) = &self.seats[seat].remedy else {
            return;
        };
        let wanted = remedy.poll_timeout();
        if wanted == Instant::NEVER || self.world.host(host).held.contains(&self.world.now()) {
            return;
        }
        let at = self.world.host(host).clock.when(wanted).max(self.world.now());
        if self.seats[seat].wake != at {
            self.seats[seat].wake = at;
            self.later.push(at, Later::Remedy { seat, start });
        }
    }

    /// One try of a call: the guard first.
    fn try_call(&mut self, attempt: Attempt) {
        let now = self.world.now();
        let host = self.seats[attempt.seat].host;
        let local = self.world.clock(host);
        let allowed = attempt
            .request
            .guard
            .as_ref()
            .is_none_or(|guard| self.seats[attempt.seat].verdicts.allow(guard, local));
        if !allowed {
            self.answer(&attempt, Outcome::Stale, now);
        } else if self.reaches_api(host) {
            let jitter = self.rng.below(TO_API / 2);
            self.later
                .push(now + TO_API + jitter, Later::Call(Box::new(attempt)));
        } else if attempt.tries >= TRIES {
            self.answer(&attempt, Outcome::GaveUp("no answer".to_owned()), now + TRY);
        } else {
            let next = Attempt {
                tries: attempt.tries + 1,
                ..attempt
            };
            self.later.push(now + TRY, Later::Retry(Box::new(next)));
        }
    }

    /// A try that nobody answered is over.
    pub(super) fn retry(&mut self, attempt: Attempt) {
        if self.seats[attempt.seat].start != attempt.start {
            return;
        }
        match still_until(&self.world, &self.seats[attempt.seat]) {
            Some(until) => self.later.push(until, Later::Retry(Box::new(attempt))),
            None => self.try_call(attempt),
        }
    }

    /// The API server has it, whatever has become of its sender.
    pub(super) fn call_arrives(&mut self, attempt: &Attempt, now: u64) {
        let Request { call, .. } = &attempt.request;
        let Some(api) = &mut self.api else {
            return;
        };
        let outcome = api.call(call, now);
        let carried_out = call.is_write() && matches!(outcome, Outcome::Done(_));
        self.spread();
        self.check_budget();
        self.check_degraded();
        let alive = self.seats[attempt.seat].start == attempt.start;
        if carried_out && alive {
            self.seats[attempt.seat].writes += 1;
            self.mishaps(attempt.seat);
        }
        let jitter = self.rng.below(TO_API / 2);
        self.answer(attempt, outcome, now + TO_API + jitter);
    }

    fn mishaps(&mut self, seat: usize) {
        let Some((nth, mishap)) = self.seats[seat].mishap else {
            return;
        };
        if self.seats[seat].writes != nth {
            return;
        }
        self.seats[seat].mishap = None;
        let (host, end) = (self.seats[seat].host, self.seats[seat].end());
        match mishap {
            Mishap::Kill => self.kill_steward(seat),
            Mishap::KillAll => (0..self.seats.len()).for_each(|seat| self.kill_steward(seat)),
            Mishap::Stall(length) => self.world.stall(end, length),
            Mishap::Pause(length) => self.suffer(Fault::Pause(host, length)),
        }
    }

    fn answer(&mut self, attempt: &Attempt, outcome: Outcome, at: u64) {
        let reply = Reply {
            seat: attempt.seat,
            start: attempt.start,
            id: attempt.request.id,
            tries: attempt.tries,
            outcome,
        };
        self.later.push(at, Later::Reply(Box::new(reply)));
    }

    pub(super) fn reply_arrives(&mut self, reply: Reply) {
        let (seat, start) = (reply.seat, reply.start);
        let again = |reply| Later::Reply(Box::new(reply));
        self.tell(seat, start, reply, again, |remedy, reply, now| {
            remedy.handle_api(
                ApiEvent::Answered {
                    id: reply.id,
                    tries: reply.tries,
                    outcome: reply.outcome,
                },
                now,
            );
        });
    }

    /// Watch events on their way to all stewards.
    pub(super) fn spread(&mut self) {
        let Some(api) = &mut self.api else {
            return;
        };
        for event in api.take_changes() {
            for seat in 0..self.seats.len() {
                if self.seats[seat].remedy.is_some() {
                    self.watch(seat, event.clone());
                }
            }
        }
        self.arm_controllers();
    }

    /// One watch event on its way to one steward.
    pub(super) fn watch(&mut self, seat: usize, event: ApiEvent) {
        self.seats[seat].unseen.push_back(event);
        let start = self.seats[seat].start;
        let at = self.world.now() + WATCH;
        self.later.push(at, Later::Watch { seat, start });
    }

    /// The oldest event that the steward has not seen: a cut delays it, as a watch goes on where it was.
    pub(super) fn seen(&mut self, seat: usize, start: u32) {
        if self.seats[seat].start != start {
            return;
        }
        let now = self.world.now();
        let still = still_until(&self.world, &self.seats[seat]);
        let cut = (!self.reaches_api(self.seats[seat].host)).then_some(now + TRY);
        if let Some(until) = still.or(cut) {
            self.later.push(until, Later::Watch { seat, start });
            return;
        }
        let Some(event) = self.seats[seat].unseen.pop_front() else {
            return;
        };
        let local = self.world.clock(self.seats[seat].host);
        if let ApiEvent::Paused(value) = &event {
            self.seats[seat]
                .verdicts
                .pause(pause::is_paused(value.as_deref()));
        }
        if let Some(remedy) = &mut self.seats[seat].remedy {
            remedy.handle_api(event, local);
            self.settle(seat);
        }
    }

    pub(super) fn run_controllers(&mut self, now: u64) {
        self.controllers_at = u64::MAX;
        if let Some(api) = &mut self.api {
            api.handle_timeout(now);
        }
        self.spread();
    }

    pub(super) fn arm_controllers(&mut self) {
        let Some(api) = &self.api else {
            return;
        };
        let at = api.poll_timeout();
        if at < self.controllers_at {
            self.controllers_at = at;
            self.later.push(at, Later::Controllers);
        }
    }
}
