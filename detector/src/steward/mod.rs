//! The steward: what the real-time thread of `detector steward` runs.
//!
//! ```text
//!  datagrams ─▶ control (sealed) ─▶ judge ─▶ StewardCommand::Judged ─▶ (tokio) remedy
//!                   ▲                │  ▲                                  │
//!                   └─ looks, pings ─┘  └───────────── Ask ◀───────────────┘
//!                   └─ greetings among stewards
//! ```

mod members;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::control::{Control, Delivery, Received, Transmit};
use crate::identity::{BootId, MemberId};
use crate::judge::{Command, Judge};
use crate::judgement::{Ask, Judgement};
use crate::keys::PairSecret;
use crate::message::{Greeting, Message};
use crate::offset::PeerTime;
use crate::profile::{GREETING, Profile};
use crate::roster::Roster;
use crate::time::Instant;

pub use members::Members;
pub use status::StewardStatus;

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum StewardCommand {
    /// Send this datagram.
    Datagram(Transmit),
    /// For the remedy.
    Judged(Judgement),
    /// Another steward greeted: its entry in the roster is not stale.
    Fellow(MemberId),
}

/// See the head of this file.
pub struct Steward {
    own: MemberId,
    port: u16,
    config: u64,
    control: Control,
    judge: Judge,
    /// The other stewards.
    fellows: BTreeSet<MemberId>,
    roster: u64,
    greeting_due: Instant,
    commands: VecDeque<StewardCommand>,
}

impl Steward {
    /// `incarnation`: random, new with every start of the process. `port`: of all agents.
    #[must_use]
    pub fn new(own: MemberId, incarnation: u64, port: u16, profile: Profile, now: Instant) -> Self {
        Self {
            own,
            port,
            config: profile.config_hash(),
            control: Control::new(own, incarnation),
            judge: Judge::new(own, profile, now),
            fellows: BTreeSet::new(),
            roster: 0,
            greeting_due: now,
            commands: VecDeque::with_capacity(32),
        }
    }

    /// A new roster, all at once. For large ones build the [`Members`] elsewhere.
    pub fn handle_roster(&mut self, roster: &Roster, pairs: &BTreeMap<MemberId, PairSecret>, now: Instant) {
        let members = Members::new(self.own, self.port, roster, pairs);
        self.handle_members(members, now);
    }

    /// What is new of a new roster.
    pub fn handle_members(&mut self, members: Members, now: Instant) {
        self.control.set_peers(members.channels);
        self.fellows = members.fellows;
        for fellow in &self.fellows {
            self.control.connect(*fellow, now);
        }
        self.roster = members.roster;
        self.judge.set_rings(members.rings, now);
        self.collect(now);
    }

    /// A datagram of kind [`detector_common::packet::kind::SEALED`].
    pub fn handle_sealed(&mut self, datagram: &[u8], now: Instant) {
        if let Ok(Some(received)) = self.control.handle_datagram(datagram, now) {
            self.receive(&received, now);
            self.collect(now);
        }
    }

    fn receive(&mut self, received: &Received, now: Instant) {
        if !self.fellows.contains(&received.from) {
            let sealed = PeerTime(received.sender_time.0);
            self.judge.handle_message(
                received.from,
                received.incarnation,
                sealed,
                &received.message,
                now,
            );
            return;
        }
        self.commands.push_back(StewardCommand::Fellow(received.from));
        if !matches!(received.message, Message::Greeting(_)) {
            self.control.count_misdirected();
        }
    }

    /// What the remedy asks.
    pub fn handle_ask(&mut self, ask: &Ask, now: Instant) {
        self.judge.handle_ask(ask, now);
        self.collect(now);
    }

    /// The last verdict on this subject could not be handed on: it is told again.
    pub fn handle_untold(&mut self, subject: MemberId) {
        self.judge.untold(subject);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.judge.poll_timeout() <= now {
            self.judge.handle_timeout(now);
        }
        if self.greeting_due <= now {
            self.greeting_due = now + GREETING;
            let greeting = Message::Greeting(Greeting {
                boot: BootId(0),
                config: self.config,
                roster: self.roster,
                health: 0,
            });
            for fellow in &self.fellows {
                self.control.send(*fellow, &greeting, Delivery::Once, now);
            }
        }
        self.control.handle_timeout(now);
        self.collect(now);
    }

    /// Carries out what the judge wants. Everything of it is asked again where no answer comes.
    fn collect(&mut self, now: Instant) {
        while let Some(command) = self.judge.poll_command() {
            match command {
                Command::Judged(judgement) => self.commands.push_back(StewardCommand::Judged(judgement)),
                Command::Send { to, message } => self.control.send(to, &message, Delivery::Once, now),
            }
        }
    }

    /// The next thing to do: judgements, then datagrams.
    pub fn poll_command(&mut self) -> Option<StewardCommand> {
        let command = self.commands.pop_front();
        command.or_else(|| self.control.poll_transmit().map(StewardCommand::Datagram))
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.greeting_due
            .min(self.judge.poll_timeout())
            .min(self.control.poll_timeout())
    }

    /// What it knows of the members.
    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::greeted_steward;
