//! One row of the detection bench: a mesh of its own, in which hosts are cut one after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use detector::incident::Entry;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::sharp::Cuts;
use crate::lab::Launcher;
use crate::mesh::load::{Kind, Load};
use crate::mesh::{Death, Delay, Mesh, MeshOptions, STEWARDS, dead};
use crate::progress::Progress;

/// From a cut until it is given up: what has no verdict by then has none.
const LIMIT: Duration = Duration::from_secs(4);
/// Before the first cut: round trips measured while a dozen processes start have had their time to be forgotten.
const WARM_UP: Duration = Duration::from_secs(5);
/// Between "all members Alive" and a cut, at least.
const SETTLE: Duration = Duration::from_secs(1);
/// The cut comes at a random moment of this time.
const SPREAD: Duration = Duration::from_secs(1);
/// A healed host boots, and is heard by all.
const HEAL_LIMIT: Duration = Duration::from_secs(60);
/// After the last cut the stewards may still say something that is false.
const LAST: Duration = Duration::from_secs(2);
/// Who answers probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Echo {
    /// The kernel program.
    Tc,
    /// The agent.
    User,
}

impl Echo {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::User => "user",
        }
    }
}

/// What is measured under one name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) echo: Echo,
    pub(super) delay: Option<Delay>,
}

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) detector: &'a Path,
    pub(super) nodes: u8,
    pub(super) kills: usize,
    pub(super) profile: &'a str,
    pub(super) seed: u64,
    pub(super) verbose: bool,
}

/// What came of it, in ms from the cut.
#[derive(Debug)]
pub(super) struct Samples {
    /// How long the cuts took.
    pub(super) cuts: Cuts,
    /// When the first probe that counted as lost was sent.
    pub(super) first_loss: Vec<f64>,
    /// The verdict of the first steward in the order in which they act.
    pub(super) verdict: Vec<f64>,
    /// The last steward's.
    pub(super) verdict_last: Vec<f64>,
    /// `Dead` about hosts that were not cut.
    pub(super) wrong: Vec<Entry>,
}

impl Row {
    pub(super) fn name(&self) -> String {
        let kind = if self.delay.is_some() {
            "delayed"
        } else {
            self.kind.word()
        };
        format!("{kind}/{}", self.echo.word())
    }

    /// Measures it.
    pub(super) fn measure(&self, plan: Plan<'_>, progress: &mut Progress) -> Result<Samples> {
        let options = MeshOptions {
            nodes: plan.nodes,
            echo: self.echo.word().to_owned(),
            profile: plan.profile.to_owned(),
            delay: self.delay,
            starvable: self.kind == Kind::Starved,
            ..MeshOptions::new("bench", plan.detector.to_owned(), Launcher::xtask()?)
        };
        let mesh = Mesh::up(&options, progress)?;
        check_echo(&mesh, self.echo)?;
        let first = mesh.stewards().next().map(str::to_owned);
        let first = first.context("a mesh without stewards")?;
        let mut run = Run {
            load: Load::new(self.kind, &mesh)?,
            nodes: mesh.nodes().map(str::to_owned).collect(),
            first,
            random: SmallRng::seed_from_u64(plan.seed),
            samples: Samples {
                cuts: Cuts::wanted(plan.kills),
                first_loss: Vec::new(),
                verdict: Vec::new(),
                verdict_last: Vec::new(),
                wrong: Vec::new(),
            },
            verbose: plan.verbose,
            mesh,
        };
        std::thread::sleep(WARM_UP);
        while !run.samples.cuts.are_enough() {
            run.cut(progress)?;
        }
        std::thread::sleep(LAST);
        run.end(progress)
    }
}

/// A row that is being measured.
struct Run {
    load: Load,
    nodes: Vec<String>,
    /// The steward that acts first.
    first: String,
    random: SmallRng,
    samples: Samples,
    verbose: bool,
    mesh: Mesh,
}

impl Run {
    /// One cut, and the way back.
    fn cut(&mut self, progress: &mut Progress) -> Result<()> {
        let index = self.random.random_range(0..self.nodes.len());
        let victim = self.nodes.get(index).context("a mesh without agents")?.clone();
        let wait = SETTLE + SPREAD.mul_f64(self.random.random::<f64>());
        self.mesh.await_ready(HEAL_LIMIT)?;
        self.load.on(self.mesh.address(&victim)?)?;
        std::thread::sleep(wait);
        let started = Instant::now();
        let death = self.mesh.cut(&victim)?;
        let verdicts = self
            .mesh
            .await_verdicts(&death, LIMIT.saturating_sub(started.elapsed()))?;
        self.load.off()?;
        self.mesh.heal(&victim)?;
        let strike = death.strike;
        if !self.samples.cuts.note(strike.started, strike.killed, progress)? {
            return Ok(());
        }
        if verdicts.len() == usize::from(STEWARDS) {
            let times = verdicts.values().map(|entry| death.ms(entry));
            self.samples.verdict_last.extend(times.reduce(f64::max));
        }
        match verdicts.get(&self.first) {
            Some(entry) => self.record(&death, entry, progress)?,
            None => progress.say(format!("{victim}: no verdict within {} s", LIMIT.as_secs())),
        }
        Ok(())
    }

    fn record(&mut self, death: &Death, entry: &Entry, progress: &mut Progress) -> Result<()> {
        self.samples.verdict.push(death.ms(entry));
        let loss = dead(entry).and_then(|evidence| evidence.first_loss_us);
        let sent = loss.map(|age| death.ms_at(entry.at_us.saturating_sub(age)));
        self.samples.first_loss.extend(sent);
        if self.verbose {
            let step = serde_json::to_string(&entry.step)?;
            progress.say(format!("{} after {:.1} ms: {step}", death.node, death.ms(entry)));
        }
        Ok(())
    }

    fn end(mut self, progress: &mut Progress) -> Result<Samples> {
        if let Some(rate) = self.load.foreign_rate() {
            progress.say(format!("{rate:.0} foreign packets a second"));
        }
        if self.mesh.dropped_frames() > 0 {
            progress.say(format!("the relay dropped {} frames", self.mesh.dropped_frames()));
        }
        self.samples.wrong = self.mesh.false_verdicts()?;
        drop(self.load);
        self.mesh.down()?;
        Ok(self.samples)
    }
}

/// Refuses to measure another echo than the one in the series' name.
fn check_echo(mesh: &Mesh, echo: Echo) -> Result<()> {
    for node in mesh.nodes() {
        let view = mesh.agent(node)?;
        let fits = match echo {
            Echo::Tc => ["tcx", "clsact"].contains(&view.echo_mode.as_str()),
            Echo::User => view.echo_mode == "user",
        };
        ensure!(
            fits,
            "{node}: the echo is {} instead of {}: {}",
            view.echo_mode,
            echo.word(),
            view.echo_reason
        );
    }
    Ok(())
}
