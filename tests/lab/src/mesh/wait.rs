//! What a mesh's owner waits for, by what the stewards say and what they recorded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use detector::identity::MemberId;
use detector::incident::Entry;
use detector::judge::SubjectStatus;

use super::{Death, Mesh, Role, STEWARDS};
use crate::power::Power;
use crate::service::last_lines;

/// How often a wait asks the stewards.
const LOOK: Duration = Duration::from_millis(50);
/// How often a wait for a verdict reads the files: times are in them, so this only delays what follows.
const GLANCE: Duration = Duration::from_millis(10);

impl Mesh {
    /// Waits until every steward says that all members that are on are Alive in their present boot, heard by all their
    /// observers.
    ///
    /// # Errors
    /// When it is not so within the limit: what is missing, and the last lines of the log that may tell why.
    pub fn await_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let Some((host, missing)) = self.missing()? else {
                return Ok(());
            };
            if Instant::now() > deadline {
                bail!(
                    "not ready after {} s: {host}: {missing}\n{}",
                    limit.as_secs_f32(),
                    last_lines(&self.files.log(&host), 12)
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until every steward says this of a member.
    ///
    /// # Errors
    /// When it is not so within the limit: what the last look saw.
    pub fn await_each(
        &mut self,
        node: &str,
        limit: Duration,
        is_so: impl Fn(&SubjectStatus) -> bool,
    ) -> Result<()> {
        let member = MemberId::of_node(node);
        let deadline = Instant::now() + limit;
        loop {
            let names: Vec<_> = self.stewards().map(str::to_owned).collect();
            let mut seen = Vec::new();
            for name in names {
                seen.push(self.steward(&name)?.of(member).copied());
            }
            if seen.iter().all(|status| status.as_ref().is_some_and(&is_so)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{node} after {} s: {seen:#?}",
                limit.as_secs_f32()
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until every steward has declared this death, or the limit is over; gives the verdicts by steward.
    ///
    /// # Errors
    /// When the incidents cannot be read.
    pub fn await_verdicts(&mut self, death: &Death, limit: Duration) -> Result<BTreeMap<String, Entry>> {
        let deadline = Instant::now() + limit;
        loop {
            let told = self.record.verdicts(death)?;
            if told.len() >= usize::from(STEWARDS) || Instant::now() > deadline {
                return Ok(told);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Who says that something is missing until all that is on lives, and what; None: nothing.
    fn missing(&mut self) -> Result<Option<(String, String)>> {
        for host in &mut self.hosts {
            host.check(&self.files)?;
        }
        let on = self.hosts.iter().filter(|host| host.power != Power::Off);
        let agents = on.filter(|host| host.place.role == Role::Agent);
        let boots = agents
            .map(|host| {
                let name = host.place.name.clone();
                (MemberId::of_node(&name), (name, host.boot))
            })
            .collect();
        for steward in self.stewards() {
            let missing = match self.steward(steward) {
                Ok(view) => view.missing(&boots),
                // It may not listen yet.
                Err(error) => Some(format!("{error:#}")),
            };
            if let Some(missing) = missing {
                return Ok(Some((steward.to_owned(), missing)));
            }
        }
        Ok(None)
    }
}
