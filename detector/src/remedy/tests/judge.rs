//! The judge of these tests: it says what a test has it say, and answers looks by whom it finds silent.

use std::time::Duration;

use super::world::{Post, World, id, ms};
use crate::identity::{BootId, IncidentId};
use crate::judgement::{Ask, Cause, Causes, Evidence, Judgement, Verdict};
use crate::message::Farewell;
use crate::time::Instant;

pub(super) const BOOT: BootId = BootId(0xb007);
pub(super) const INCIDENT: IncidentId = IncidentId(0x1c);

/// A verdict, as the judge tells it.
pub(super) fn changed(
    name: &str,
    boot: BootId,
    verdict: Verdict,
    causes: Causes,
    farewell: Option<Farewell>,
    at: Instant,
) -> Judgement {
    let condemned = matches!(verdict, Verdict::Dead | Verdict::Leaving);
    Judgement::Changed {
        subject: id(name),
        boot,
        incident: condemned.then_some(INCIDENT),
        verdict,
        causes,
        evidence: Evidence::default(),
        farewell,
        longest_silence: Duration::ZERO,
        at,
    }
}

impl World {
    /// Tells all stewards.
    pub(super) fn judge(&mut self, judgement: &Judgement) {
        for n in 0..self.stewards.len() {
            self.post(n, Duration::ZERO, Post::Judgement(judgement.clone()));
        }
    }

    /// Early warning and, 60 ms later, the verdict.
    pub(super) fn kill_node(&mut self, name: &str) {
        self.silent.insert(id(name));
        self.judge(&Judgement::EarlyWarning {
            subject: id(name),
            boot: BOOT,
            incident: INCIDENT,
            at: self.now,
        });
        self.run(ms(60));
        self.verdict(name, Verdict::Dead, None);
    }

    pub(super) fn verdict(&mut self, name: &str, verdict: Verdict, farewell: Option<Farewell>) {
        if verdict == Verdict::Dead {
            self.silent.insert(id(name));
        } else {
            self.silent.remove(&id(name));
        }
        self.judge(&changed(name, BOOT, verdict, Causes::NONE, farewell, self.now));
    }

    /// `Degraded`, because of these.
    pub(super) fn degrade(&mut self, name: &str, causes: &[Cause]) {
        let causes = causes.iter().copied().collect();
        self.judge(&changed(name, BOOT, Verdict::Degraded, causes, None, self.now));
    }

    pub(super) fn good(&mut self, name: &str, rounds: u32) {
        self.judge(&Judgement::Good {
            subject: id(name),
            boot: BOOT,
            rounds,
            at: self.now,
        });
    }

    /// A steward asks.
    pub(super) fn ask(&mut self, n: usize, ask: &Ask) {
        self.stewards[n].asks.push(ask.clone());
        match *ask {
            Ask::Look { subject, boot, nonce } => {
                let dead = self.silent.contains(&subject);
                if dead {
                    self.looks.insert(subject, self.now + ms(20));
                }
                let looked = Judgement::Looked {
                    subject,
                    boot,
                    nonce,
                    dead,
                    evidence: Evidence::default(),
                    at: self.now + ms(20),
                };
                if self.answers_looks {
                    self.post(n, ms(20), Post::Judgement(looked));
                }
            }
            Ask::SaysAlive { subject, boot } => {
                self.stewards[n].verdicts.says_alive(subject, boot);
                self.silent.remove(&subject);
            }
            Ask::Condemned(_) => {}
        }
    }
}
