//! What is due with one subject, and when: hints, reports, probes.

use std::time::Duration;

use detector_common::packet::{Be64, Packet, kind};

use crate::message::Hint;
use crate::profile::{HINT_INTERVAL, HINT_LOSSES, PROBE_INTERVAL_FEW, REPORT_INTERVAL, REPORT_TAIL};
use crate::time::Instant;

use super::{SETTLED, Subject};
use crate::observer::sequence;

impl Subject {
    /// Whether the others are to be told now, and notes that they are. The first time at once; again only when the own
    /// receive path is proven.
    pub(in crate::observer) fn hint(&mut self, now: Instant) -> Option<Hint> {
        let due = self.hint_due()?;
        let open = self.suspicion.as_mut().filter(|_| due <= now)?;
        open.told = now;
        open.told_now = true;
        Some(Hint {
            subject: self.id,
            boot: self.boot,
            incident: open.incident,
        })
    }

    fn hint_due(&self) -> Option<Instant> {
        let open = self.suspicion.as_ref().filter(|open| !open.resting())?;
        let silent = self.losses.len() >= HINT_LOSSES as usize;
        let again = !open.told_now || self.losses.counted() > 0;
        let next = if open.told == Instant(0) {
            open.told
        } else {
            open.told + HINT_INTERVAL
        };
        (silent && again).then_some(next)
    }

    /// Whether a report is due, and notes that it is made.
    pub(in crate::observer) fn report(&mut self, news: bool, now: Instant) -> bool {
        let Some(open) = self.suspicion.as_mut().filter(|open| !open.resting()) else {
            return false;
        };
        let due = news || open.reported == Instant(0) || now.since(open.reported) >= REPORT_INTERVAL;
        if due {
            open.reported = now;
        }
        due
    }

    /// Ends the suspicion when its time is over.
    pub(in crate::observer) fn close(&mut self, now: Instant) {
        let Some(open) = &mut self.suspicion else { return };
        if open.asked.is_some() && now.since(open.hinted) >= REPORT_TAIL {
            open.asked = None;
        }
        if self.losses.is_empty() && open.asked.is_none() && !open.rested && open.until <= now {
            self.suspicion = None;
        }
    }

    /// The next probe, if it is due, sealed and noted as sent.
    pub(in crate::observer) fn probe(
        &mut self,
        incarnation: u32,
        timeout_cap: Duration,
        now: Instant,
    ) -> Option<Packet> {
        if self.next_probe() > now {
            return None;
        }
        let slot = self.slot_due <= now;
        if slot {
            self.slot_due = self.turn.next(now, self.offset);
        }
        let key_id = u16::try_from(self.key.id & 0xffff).unwrap_or_default();
        let mut packet = Packet::new(kind::PROBE, key_id);
        packet.observer = Be64::new(self.own.0);
        packet.subject = Be64::new(self.id.0);
        packet.heard_boot = Be64::new(self.boot.0);
        packet.sequence = Be64::new(sequence(incarnation, self.ring.next_counter()));
        packet.observer_time = Be64::new(now.0);
        packet.acknowledged = Be64::new(self.acknowledged);
        packet.seal(self.key.key());
        self.ring.push(now, self.rtt.timeout(timeout_cap), slot);
        self.last_sent = now;
        self.resend = false;
        Some(packet)
    }

    /// When the next probe leaves: at most one in [`PROBE_INTERVAL_FEW`], whoever asks for it.
    fn next_probe(&self) -> Instant {
        if self.ring.full() {
            return Instant::NEVER;
        }
        let asked = self
            .looks
            .iter()
            .any(|look| self.resend || self.last_sent < look.asked);
        let wanted = if asked {
            Instant(0)
        } else if self.dense() {
            self.last_sent + self.interval
        } else {
            self.slot_due
        };
        wanted.max(self.last_sent + PROBE_INTERVAL_FEW)
    }

    fn dense(&self) -> bool {
        let open = self.suspicion.as_ref().filter(|open| !open.resting());
        open.is_some_and(|open| open.asked.is_some() || !self.losses.is_empty())
    }

    /// Whether the kernel may have noted something that matters now.
    pub(in crate::observer) fn listening(&self) -> bool {
        self.suspicion.is_some() || !self.looks.is_empty() || self.ring.next_deadline().is_some()
    }

    /// Sets [`Self::due`] after a tick.
    pub(in crate::observer) fn arm(&mut self, window: Duration, now: Instant) {
        self.due = self.next_due(window, now);
    }

    /// The same after anything else: never later than it was, or a late tick would pass unnoticed.
    pub(in crate::observer) fn arm_sooner(&mut self, window: Duration, now: Instant) {
        self.due = self.due.min(self.next_due(window, now));
    }

    /// The earliest of everything that is waited for; not in the past, as how late a tick is, is counted from here.
    fn next_due(&self, window: Duration, now: Instant) -> Instant {
        let mut due = self.next_probe();
        if let Some(deadline) = self.ring.next_deadline() {
            // Overdue and still open: its arrival is being noted at this moment.
            due = due.min(if deadline > now { deadline } else { now + SETTLED });
        }
        if let Some(open) = &self.suspicion {
            if !open.resting() {
                due = due.min(open.reported + REPORT_INTERVAL);
            }
            if open.asked.is_some() {
                due = due.min(open.hinted + REPORT_TAIL);
            }
            due = due.min(if open.rested || !self.losses.is_empty() {
                open.turn()
            } else {
                open.until
            });
        }
        if let Some(hint) = self.hint_due() {
            due = due.min(hint);
        }
        if let Some(asked) = self.looks.iter().map(|look| look.asked).min() {
            due = due.min(asked + window * 2);
        }
        due.max(now)
    }
}
