//! `cargo xtask bench detection`: from a power cut to the verdict, idle, loaded and starved.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use detector::incident::Entry;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::lab::Launcher;
use crate::mesh::load::{Kind, Load};
use crate::mesh::{Delay, Mesh, MeshOptions, dead};
use crate::progress::Progress;
use crate::report::Report;

/// From one cut to the next, at most: what has no verdict by then has none.
const LIMIT: Duration = Duration::from_secs(4);
/// Between "all members Alive" and the cut, at least: the newest of them is known for a second.
const SETTLE: Duration = Duration::from_secs(1);
/// The cut comes at a random moment of this time.
const SPREAD: Duration = Duration::from_secs(1);
/// A healed host boots, and is heard by all.
const HEAL_LIMIT: Duration = Duration::from_secs(60);
/// After the last cut the stewards may still say something that is false.
const LAST: Duration = Duration::from_secs(2);
/// Rows with starved agents have so much fewer cuts: hardly any of them comes to a verdict, and all that the machine does
/// beside them stands still meanwhile.
const STARVED_PART: u32 = 10;
/// One row is measured with so much delay each way.
const DELAY: Delay = Delay {
    mean: Duration::from_millis(1),
    jitter: Duration::from_micros(500),
};

/// From a power cut to the verdict.
#[derive(Debug, Args)]
pub struct Detection {
    /// Agents, 2 to 60
    #[arg(long, default_value_t = 9)]
    nodes: u8,
    /// Cuts in each row; a tenth of them where agents are starved
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Also under load: 32 busy loops and 20,000 foreign packets a second; and with starved agents
    #[arg(long)]
    load: bool,
    /// Only with this echo; default: both
    #[arg(long)]
    echo: Option<Echo>,
    /// lan or fast
    #[arg(long, default_value = "lan")]
    profile: String,
    /// Which hosts are cut and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only rows whose name begins so, for example busy/tc
    #[arg(long, default_value = "")]
    only: String,
    /// Where the samples go
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Who answers probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Echo {
    /// The kernel program.
    Tc,
    /// The agent.
    User,
}

impl Echo {
    const fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::User => "user",
        }
    }
}

/// What is measured under one name.
#[derive(Debug, Clone, Copy)]
struct Row {
    kind: Kind,
    echo: Echo,
    delay: Option<Delay>,
}

impl Row {
    fn name(&self) -> String {
        let kind = if self.delay.is_some() {
            "delayed"
        } else {
            self.kind.word()
        };
        format!("{kind}/{}", self.echo.word())
    }
}

/// The samples of a row, in ms from the cut.
#[derive(Debug, Default)]
struct Samples {
    /// When the first probe that counted as lost was sent.
    first_loss: Vec<f64>,
    /// The verdict of the first steward in the order in which they act.
    verdict: Vec<f64>,
    /// The last steward's.
    verdict_last: Vec<f64>,
}

impl Detection {
    /// Measures every row.
    pub(super) fn run(&self, detector: &Path) -> Result<ExitCode> {
        ensure!(self.kills > 0, "--kills 0: at least 1 is needed");
        let mut report = Report::new(
            "detection",
            json!({"nodes": self.nodes, "stewards": crate::mesh::STEWARDS, "kills": self.kills, "profile": self.profile,
                "seed": self.seed, "load": self.load, "delayed": "1 ± 0.5 ms each way",
                "busy": "32 busy loops, 20000 foreign packets a second to the subject",
                "starved": "agents in a cpu cgroup of shares 2 beside 8 of 65536 with a busy loop each"}),
        );
        let mut progress = Progress::terminal();
        let rows: Vec<_> = self.rows().collect();
        ensure!(!rows.is_empty(), "--only {:?}: no row begins so", self.only);
        for row in rows {
            if !row.kind.is_possible() {
                progress.say(format!(
                    "{}: left out, as this machine has no cpu cgroups of version 1",
                    row.name()
                ));
                continue;
            }
            let name = row.name();
            let (samples, wrong) = progress
                .stage(&name, |progress| self.measure(detector, &row, progress))
                .with_context(|| name.clone())?;
            report.add(format!("{name}/first_loss"), samples.first_loss);
            report.add(format!("{name}/verdict"), samples.verdict);
            report.add(format!("{name}/verdict_last"), samples.verdict_last);
            report.false_verdicts += wrong.len();
            for entry in wrong {
                progress.say(format!(
                    "FALSE VERDICT in {name}: {}",
                    serde_json::to_string(&entry)?
                ));
            }
            // After each row, as a long run may be broken off.
            if let Some(path) = &self.json {
                report.write(path)?;
            }
        }
        write!(std::io::stdout(), "{}", report.table()).context("writing to the terminal")?;
        Ok(if report.false_verdicts == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row> + use<'_> {
        let kinds: &[Kind] = if self.load {
            &[Kind::Idle, Kind::Busy, Kind::Starved]
        } else {
            &[Kind::Idle]
        };
        let echoes = [Echo::Tc, Echo::User]
            .into_iter()
            .filter(|echo| self.echo.is_none_or(|only| only == *echo));
        let plain = kinds.iter().flat_map(move |kind| {
            let row = |echo| Row {
                kind: *kind,
                echo,
                delay: None,
            };
            echoes.clone().map(row)
        });
        let delayed = Row {
            kind: Kind::Idle,
            echo: self.echo.unwrap_or(Echo::Tc),
            delay: Some(DELAY),
        };
        plain
            .chain([delayed])
            .filter(|row| row.name().starts_with(&self.only))
    }

    /// One row in a mesh of its own; gives also the false verdicts.
    fn measure(&self, detector: &Path, row: &Row, progress: &mut Progress) -> Result<(Samples, Vec<Entry>)> {
        let options = MeshOptions {
            nodes: self.nodes,
            echo: row.echo.word().to_owned(),
            profile: self.profile.clone(),
            delay: row.delay,
            starvable: row.kind == Kind::Starved,
            ..MeshOptions::new("bench", detector.to_owned(), Launcher::xtask()?)
        };
        let mut mesh = Mesh::up(&options, progress)?;
        check_echo(&mesh, row.echo)?;
        let load = Load::new(row.kind, &mesh)?;
        let nodes: Vec<_> = mesh.nodes().map(str::to_owned).collect();
        let first = mesh.stewards().next().map(str::to_owned).unwrap_or_default();
        let mut random = SmallRng::seed_from_u64(self.seed);
        let mut samples = Samples::default();
        let kills = match row.kind {
            Kind::Starved => self.kills.div_ceil(STARVED_PART),
            Kind::Idle | Kind::Busy => self.kills,
        };
        for kill in 1..=kills {
            let victim = nodes
                .get(random.random_range(0..nodes.len()))
                .context("a mesh without agents")?;
            mesh.await_ready(HEAL_LIMIT)?;
            load.on(mesh.address(victim)?)?;
            std::thread::sleep(SETTLE + SPREAD.mul_f64(random.random::<f64>()));
            let started = Instant::now();
            let death = mesh.cut(victim)?;
            let verdicts = mesh.await_verdicts(&death, LIMIT.saturating_sub(started.elapsed()))?;
            load.off()?;
            let times = verdicts.values().map(|entry| death.ms(entry));
            if verdicts.len() == usize::from(crate::mesh::STEWARDS) {
                samples.verdict_last.extend(times.reduce(f64::max));
            }
            if let Some(entry) = verdicts.get(&first) {
                samples.verdict.push(death.ms(entry));
                let loss = dead(entry).and_then(|evidence| evidence.first_loss_us);
                let sent = loss.map(|age| death.ms_at(entry.at_us.saturating_sub(age)));
                samples.first_loss.extend(sent);
            } else {
                progress.say(format!(
                    "cut {kill} of {kills}: no verdict within {} s",
                    LIMIT.as_secs()
                ));
            }
            if kill < kills {
                mesh.heal(victim)?;
            }
        }
        std::thread::sleep(LAST);
        if let Some(rate) = load.foreign_rate() {
            progress.say(format!("{rate:.0} foreign packets a second"));
        }
        if mesh.dropped_frames() > 0 {
            progress.say(format!("the relay dropped {} frames", mesh.dropped_frames()));
        }
        let wrong = mesh.false_verdicts()?;
        drop(load);
        mesh.down()?;
        Ok((samples, wrong))
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
