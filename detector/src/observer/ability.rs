//! Whether the silence that this observer hears may count.

use crate::message::Ability;
use crate::profile::{LATE_TICK, MIN_LOSSES};
use crate::time::Instant;
use std::time::Duration;

use super::subject::Subject;

/// What the observer knows against itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubts {
    late_until: Instant,
    link_up: bool,
    link_until: Instant,
}

impl Doubts {
    pub(super) fn new() -> Self {
        Self {
            late_until: Instant(0),
            link_up: true,
            link_until: Instant(0),
        }
    }

    /// A tick that was armed for `armed` comes at `now`. Whether it was late: it may be this host that stood still.
    pub(super) fn tick(&mut self, armed: Instant, now: Instant, window: Duration) -> bool {
        let late = now.since(armed) >= LATE_TICK;
        if late {
            self.late_until = now + window;
        }
        late
    }

    /// The link's carrier. Whether it changed.
    pub(super) fn link(&mut self, up: bool, now: Instant, window: Duration) -> bool {
        let changed = up != self.link_up;
        if changed {
            self.link_up = up;
            self.link_until = now + window;
        }
        changed
    }

    /// The first reason, in the order of the reasons' numbers, why a silence of `subject` does not count.
    pub(super) fn ability(&self, subject: &Subject, all: &Silence, now: Instant) -> Ability {
        if now < self.late_until {
            Ability::LateTick
        } else if !self.link_up || now < self.link_until {
            Ability::LinkDown
        } else if !subject.ever_heard() {
            Ability::NeverHeard
        } else if all.most(subject.rested()) {
            Ability::MostSilent
        } else {
            Ability::Able
        }
    }
}

/// How many of the own subjects are silent. Never heard ones can fall silent no more, and are left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    fresh: Count,
    old: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    silent: usize,
    all: usize,
}

impl Silence {
    pub(super) fn of<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> Self {
        let mut silence = Self::default();
        for subject in subjects.into_iter().filter(|subject| subject.ever_heard()) {
            let (count, silent) = if subject.rested() {
                (&mut silence.old, true)
            } else {
                (&mut silence.fresh, subject.losses.len() >= MIN_LOSSES)
            };
            count.all += 1;
            count.silent += usize::from(silent);
        }
        silence
    }

    /// More than half. Silences so old that they rested say nothing about this minute, and are left out when a fresh
    /// one is judged. One subject alone has no half: with two nodes the steward holds the verdict.
    fn most(&self, old: bool) -> bool {
        let (silent, all) = if old {
            (self.fresh.silent + self.old.silent, self.fresh.all + self.old.all)
        } else {
            (self.fresh.silent, self.fresh.all)
        };
        all > 1 && silent * 2 > all
    }
}
