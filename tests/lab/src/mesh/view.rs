//! What agents and stewards say of themselves: `detector status --json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use detector::identity::{BootId, MemberId};
use detector::judge::SubjectStatus;
use detector::judgement::{Hold, Verdict};
use detector::message::Ability;
use detector::status::{self, Question};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A steward's view of the mesh, as far as it is looked at here.
#[derive(Debug, Clone, Deserialize)]
pub struct StewardView {
    /// Its thread's scheduling.
    pub scheduling: String,
    /// Why all verdicts are held back.
    pub hold: Option<Hold>,
    /// The members.
    pub subjects: Vec<SubjectStatus>,
    /// The other stewards.
    pub fellows: Vec<Fellow>,
}

/// Another steward.
#[derive(Debug, Clone, Deserialize)]
pub struct Fellow {
    /// Whether there is a sealed channel to it.
    pub connected: bool,
}

/// An agent's view, as far as it is looked at here.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentView {
    /// What an operator must hear of.
    pub alarm: Option<String>,
    /// Its thread's scheduling.
    pub scheduling: String,
    /// Who answers its probes.
    pub echo_mode: String,
    /// Why.
    pub echo_reason: String,
    /// Whom it asks.
    pub subjects: Vec<Asked>,
}

/// A subject, as an agent sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Asked {
    /// Who.
    pub subject: MemberId,
    /// Smoothed round trip in ms; None: never measured.
    pub rtt_ms: Option<f64>,
    /// Whether its silence would count.
    pub ability: Ability,
}

impl StewardView {
    /// What holds of a member.
    #[must_use]
    pub fn of(&self, member: MemberId) -> Option<&SubjectStatus> {
        self.subjects.iter().find(|subject| subject.subject == member)
    }

    /// What is missing until everybody is known to live, in words; `boots` are those who should.
    pub(super) fn missing(&self, boots: &BTreeMap<MemberId, (String, BootId)>) -> Option<String> {
        if let Some(hold) = self.hold {
            return Some(format!("all verdicts are held back: {hold:?}"));
        }
        if self.fellows.iter().any(|fellow| !fellow.connected) {
            return Some("a steward has no channel to another one".to_owned());
        }
        for (id, (name, boot)) in boots {
            let Some(subject) = self.of(*id) else {
                return Some(format!("{name} is not known"));
            };
            let well = subject.verdict == Verdict::Alive && subject.boot == *boot && !subject.suspected;
            if !well {
                return Some(format!("{name} (boot {boot}): {subject:?}"));
            }
            if subject.heard_by < subject.observers {
                let (heard, all) = (subject.heard_by, subject.observers);
                return Some(format!("{name} is heard by {heard} of {all} observers"));
            }
        }
        None
    }
}

/// Asks the process behind a socket.
pub(super) fn ask<T: DeserializeOwned>(socket: &Path) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("a runtime for one question")?;
    let answer = runtime
        .block_on(status::ask(socket, Question::Status))
        .with_context(|| format!("asking behind {}", socket.display()))?;
    serde_json::from_str(&answer).with_context(|| format!("{answer:?} is not the status that is expected"))
}
