//! What can go wrong with a host, short of its network.

use std::ops::Range;
use std::time::Duration;

use detector::identity::BootId;
use detector::profile::LATE_TICK;
use detector::time::nanos;

use super::{Event, World, place};
use crate::host::Arrival;
use crate::network::{End, Port};
use crate::process::Process;

/// A wake that is late by this troubles its host for certain: whichever timer it was for, the observer's own was due
/// within a slot of it.
pub(super) const TROUBLING: Duration = LATE_TICK.saturating_mul(2);

/// Arrivals that wait are taken up this far apart.
const DRAIN_STEP: u64 = 2_000;

/// Userspace that gets the CPU late, now and then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    /// Share of wakes that come late.
    pub share: f64,
    /// By up to this, uniform, in nanoseconds.
    pub most: u64,
}

impl<P: Process> World<P> {
    /// Power off, in one stroke.
    pub fn crash(&mut self, host: u32) {
        self.trouble(host);
        self.hosts[host as usize].stop();
        self.oracle.crashed(host, self.now);
        for port in [Port::Agent, Port::Steward] {
            self.processes[place(End { host, port })] = None;
        }
    }

    /// Power on: a new boot with an empty kernel, and nothing running yet.
    pub fn boot(&mut self, host: u32, boot: BootId) {
        self.hosts[host as usize].start(boot);
        self.oracle.booted(host);
        self.trouble(host);
    }

    /// The hypervisor holds a host: everything on it stands still, its clock too.
    pub fn pause(&mut self, host: u32, length: u64) {
        self.trouble(host);
        let now = self.now;
        let state = &mut self.hosts[host as usize];
        state.clock.stop(now);
        state.held = now..state.held.end.max(now + length);
        self.queue.push(state.held.end, Event::GoOn(host));
    }

    /// The host's softirqs get no CPU: arrivals wait, userspace goes on.
    pub fn starve(&mut self, host: u32, length: u64) {
        self.trouble(host);
        let state = &mut self.hosts[host as usize];
        state.starved = self.now..state.starved.end.max(self.now + length);
        self.queue.push(state.starved.end, Event::GoOn(host));
    }

    /// A process gets no CPU; the kernel goes on answering.
    pub fn stall(&mut self, end: End, length: u64) {
        if end.port == Port::Agent {
            self.trouble(end.host);
        }
        let until = self.now + length;
        if let Some(running) = &mut self.processes[place(end)] {
            running.stalled = self.now..until;
            running.wake = until;
            self.queue.push(until, Event::Wake(end));
        }
    }

    /// From now on the wakes on this host are late like this.
    pub fn set_lateness(&mut self, host: u32, lateness: Lateness) {
        self.lateness[host as usize] = lateness;
        self.trouble(host);
    }

    /// Whether this host's agent could see and tell all that happened to it in this time.
    #[must_use]
    pub fn untroubled(&self, host: u32, time: Range<u64>) -> bool {
        let state = &self.hosts[host as usize];
        let end = End::agent(host);
        let overlaps = |begin: u64, until: u64| begin < time.end && until > time.start;
        state.on
            && !overlaps(state.held.start, state.held.end)
            && !overlaps(state.starved.start, state.starved.end)
            && !state.troubles.iter().any(|at| time.contains(at))
            && self.processes[place(end)].as_ref().is_some_and(|running| {
                let Range { start, end } = running.stalled;
                !overlaps(start, end) || end - start < nanos(TROUBLING)
            })
    }

    pub(super) fn trouble(&mut self, host: u32) {
        let now = self.now;
        self.hosts[host as usize].trouble(now);
    }

    /// The hypervisor lets go, or the softirqs run again.
    pub(super) fn go_on(&mut self, host: u32) {
        self.trouble(host);
        let now = self.now;
        let state = &mut self.hosts[host as usize];
        if !state.on {
            return;
        }
        if !state.held.contains(&now) {
            state.clock.go_on(now);
        }
        if !state.receives(now) {
            return;
        }
        let waiting: Vec<Arrival> = state.waiting.drain(..).collect();
        for (nth, arrival) in waiting.into_iter().enumerate() {
            self.queue
                .push(now + nth as u64 * DRAIN_STEP, Event::Arrive(arrival));
        }
        for port in [Port::Agent, Port::Steward] {
            self.arm(End { host, port });
        }
    }
}
