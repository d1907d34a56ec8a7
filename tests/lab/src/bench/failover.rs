//! `cargo xtask bench failover`: many cuts in one lab, as series of milliseconds from the cut.
#![expect(clippy::print_stdout, reason = "a table for a terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::sharp::{self, Cuts};
use crate::client::Request;
use crate::failover::round::{Found, Goal, Round, await_alive, heal};
use crate::failover::timeline::Timeline;
use crate::lab::{Lab, Launcher};
use crate::options::{DetectorOptions, Options};
use crate::progress::Progress;
use crate::report::Report;
use crate::workload::{deploy_nginx, spread_nginx};

/// Nodes, pods, stewards: any wait that is not measured.
const LIMIT: Duration = Duration::from_secs(120);
/// From the cut to Ready replacements, where it is our doing.
const OURS_LIMIT: Duration = Duration::from_secs(30);
/// From the cut to not Ready, by the node controller's defaults (40 s, in steps of 5 s).
const STOCK_ENDPOINTS_LIMIT: Duration = Duration::from_secs(90);
/// From the cut to Ready replacements: `tolerationSeconds` is 300 s by default.
const STOCK_WHOLE_LIMIT: Duration = Duration::from_secs(450);
/// Cuts up to endpoints gone, without us.
const STOCK_ENDPOINTS_CUTS: usize = 5;
/// How often the other Service changes in the busy series.
const BUSY_PERIOD: Duration = Duration::from_millis(400);
/// Cuts in each busy series.
const BUSY_CUTS: usize = 5;
/// kube-proxy's `minSyncPeriod` by default, and in the series `busy100`, in ms.
const MIN_SYNC: (u64, u64) = (1_000, 100);

/// The Service that changes in the busy series.
const OTHER: &str = r"
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: other}, ports: [{port: 81}]}
";

/// Cuts nodes of a real cluster, with and without us, and reports milliseconds from the cut.
#[derive(Debug, Args)]
pub struct Failover {
    /// Cuts with us
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Leaves out stock Kubernetes (which takes about twenty minutes) and the busy series
    #[arg(long)]
    skip_stock: bool,
    /// Leaves out the series in which another Service changes all the time
    #[arg(long)]
    skip_busy: bool,
    /// How fast silence is believed: lan or fast
    #[arg(long, default_value = "lan")]
    profile: String,
    /// Writes the report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Failover {
    /// Runs it.
    ///
    /// # Errors
    /// When the lab does not do what it should; what was measured until then is told.
    pub fn run(&self, detector: &Path) -> Result<ExitCode> {
        let mut report = Report::new(
            "failover",
            json!({"nodes": 3, "stewards": 3, "pods": 6, "kills": self.kills, "profile": self.profile,
                "stock": !self.skip_stock, "request_limit_ms": 250, "requests_per_second": 100,
                "cut": sharp::LEGEND, "stock_cut": "none is repeated: there it hardly matters"}),
        );
        let detector = DetectorOptions::enforcing(detector, &self.profile);
        let options = Options {
            detector: Some(detector.clone()),
            ..Options::new(&format!("bench-{}", std::process::id()))
        };
        let lab = Lab::up(&options, &Launcher::xtask()?, &mut Progress::terminal())?;
        deploy_nginx(&lab, LIMIT)?;
        let mut arena = Arena {
            lab: &lab,
            detector,
            cuts: 0,
            false_verdicts: 0,
        };
        let measured = self.measure(&mut arena, &mut report);
        report.false_verdicts = arena.false_verdicts;
        println!("{}", report.table());
        if let Some(path) = &self.json {
            report.write(path)?;
        }
        measured?;
        lab.down()?;
        Ok(ExitCode::SUCCESS)
    }

    fn measure(&self, arena: &mut Arena<'_>, report: &mut Report) -> Result<()> {
        let (mut cuts, mut ours) = (Cuts::wanted(self.kills), Vec::new());
        let outcome = arena.rounds(&mut cuts, &mut ours);
        if !ours.is_empty() {
            add(report, "ours", &ours);
        }
        cuts.report(report, "ours");
        outcome?;
        if !self.skip_busy && self.kills > 0 {
            for (name, min_sync) in [("busy", MIN_SYNC.0), ("busy100", MIN_SYNC.1)] {
                arena.lab.set_proxy_min_sync(min_sync)?;
                let (cuts, rounds) = arena.busy(BUSY_CUTS.min(self.kills))?;
                report.add(format!("{name}/client_window"), windows(&rounds));
                cuts.report(report, name);
            }
            arena.lab.set_proxy_min_sync(MIN_SYNC.0)?;
        }
        if !self.skip_stock {
            arena.observe();
            let mut goals = vec![(Goal::EndpointsGone, STOCK_ENDPOINTS_LIMIT); STOCK_ENDPOINTS_CUTS];
            goals.push((Goal::Replaced, STOCK_WHOLE_LIMIT));
            arena.stock("stock", &goals, report)?;
            arena.tolerate_nothing()?;
            arena.stock(
                "stock_toleration_0",
                &[(Goal::Replaced, STOCK_WHOLE_LIMIT)],
                report,
            )?;
        }
        Ok(())
    }
}

/// A lab that is cut and healed again and again.
struct Arena<'a> {
    lab: &'a Lab,
    detector: DetectorOptions,
    cuts: usize,
    false_verdicts: usize,
}

impl Arena<'_> {
    /// One cut at a random phase of everybody's periods, and the way back.
    fn round(&mut self, goal: Goal, limit: Duration) -> Result<Found> {
        self.prepare()?;
        let victim = format!("node-{}", self.cuts % 3 + 1);
        self.cuts += 1;
        let round = Round::begin(self.lab, &victim)?;
        std::thread::sleep(phase(self.cuts));
        let found = round.cut(goal, limit)?;
        self.false_verdicts += found.timeline.false_verdicts;
        eprintln!("{:>3} {}", self.cuts, line(&found));
        for (request, before) in &found.late {
            let began = |request: &Request| request.started.ms_since(found.cut.started);
            let same_port = before.as_ref().map_or_else(String::new, |before| {
                format!(", from the port of one that failed at {:.0} ms", began(before))
            });
            eprintln!(
                "    began {:.0} ms after the cut, to {}: {:?} after {:.0} ms{same_port}",
                began(request),
                request.target,
                request.outcome,
                request.took_ms
            );
        }
        heal(self.lab, &victim, LIMIT)?;
        Ok(found)
    }

    /// Rounds until enough cuts count; what a failure leaves was measured.
    fn rounds(&mut self, cuts: &mut Cuts, measured: &mut Vec<Timeline>) -> Result<()> {
        while !cuts.are_enough() {
            let Found { cut, timeline, .. } = self.round(Goal::Replaced, OURS_LIMIT)?;
            if cuts.note(cut.started, cut.killed, &mut Progress::terminal())? {
                measured.push(timeline);
            }
        }
        Ok(())
    }

    /// Rounds without us: they take minutes, so that each counts, however long its cut took.
    fn stock(&mut self, name: &str, goals: &[(Goal, Duration)], report: &mut Report) -> Result<()> {
        let (mut took, mut measured) = (Vec::new(), Vec::new());
        for (goal, limit) in goals {
            let Found { cut, timeline, .. } = self.round(*goal, *limit)?;
            took.push(cut.killed.ms_since(cut.started));
            measured.push(timeline);
        }
        add(report, name, &measured);
        report.add(format!("{name}/cut"), took);
        Ok(())
    }

    /// New stewards, which know of no earlier death: the hold-down of a node that flaps doubles each time. New pods, two a
    /// node.
    fn prepare(&mut self) -> Result<()> {
        let logs = ["--log=info", "--log=detector=info"];
        self.detector
            .steward_args
            .retain(|argument| !logs.contains(&argument.as_str()));
        let log = logs.get(self.cuts % 2).copied().unwrap_or_default();
        self.detector.steward_args.push(log.to_owned());
        self.lab.reconfigure(&self.detector)?;
        spread_nginx(self.lab, LIMIT)?;
        await_alive(self.lab, LIMIT)
    }

    /// From now on stock Kubernetes acts alone.
    fn observe(&mut self) {
        for argument in &mut self.detector.steward_args {
            if argument.starts_with("--mode=") {
                "--mode=observe".clone_into(argument);
            }
        }
    }

    /// Pods that leave a node at once when the node controller taints it.
    fn tolerate_nothing(&self) -> Result<()> {
        let toleration = |key: &str| {
            json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 0})
        };
        let tolerations = [toleration("unreachable"), toleration("not-ready")];
        let patch = json!({"spec": {"template": {"spec": {"tolerations": tolerations}}}}).to_string();
        self.lab
            .kubectl(&["patch", "deployment", "nginx", "-p", &patch])
            .map(drop)
    }

    /// Rounds while another Service changes all the time.
    fn busy(&mut self, wanted: usize) -> Result<(Cuts, Vec<Timeline>)> {
        self.lab.apply(OTHER)?;
        let stop = Arc::new(AtomicBool::new(false));
        let lab = self.lab;
        std::thread::scope(|scope| {
            let until = Arc::clone(&stop);
            let changer = scope.spawn(move || change(lab, &until));
            let (mut cuts, mut rounds) = (Cuts::wanted(wanted), Vec::new());
            let outcome = self.rounds(&mut cuts, &mut rounds);
            stop.store(true, Ordering::Relaxed);
            changer
                .join()
                .map_err(|_| anyhow::anyhow!("the thread that changes a Service panicked"))??;
            // Applied again, the port it has come to would be a second one.
            lab.kubectl(&["delete", "service", "other"])?;
            outcome?;
            Ok((cuts, rounds))
        })
    }
}

/// Changes the other Service's port until told to stop.
fn change(lab: &Lab, stop: &AtomicBool) -> Result<()> {
    lab.with_cluster(|cluster| {
        let mut port = 1_000;
        while !stop.load(Ordering::Relaxed) {
            port = 1_000 + (port + 1) % 1_000;
            let patch = json!({"spec": {"ports": [{"port": port}]}});
            cluster.request(
                "PATCH",
                "/api/v1/namespaces/default/services/other",
                "application/merge-patch+json",
                &patch,
            )?;
            std::thread::sleep(BUSY_PERIOD);
        }
        Ok(())
    })
}

/// Spreads the cuts over all phases of the periods of detector (20 to 160 ms), proxy (1 s) and node controller (5 s),
/// as a low-discrepancy sequence does.
fn phase(cut: usize) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    Duration::from_secs_f64(5.0 * (cut as f64 * GOLDEN).fract())
}

/// The last failed request, by when it began; a cut that cost none has no window.
fn windows(rounds: &[Timeline]) -> Vec<f64> {
    rounds
        .iter()
        .map(|round| round.client.last_ms.unwrap_or(0.0).max(0.0))
        .collect()
}

type Field = fn(&Timeline) -> Option<f64>;

/// The series of some rounds; where stock Kubernetes acts, the verdict is the node controller's.
pub(crate) fn add(report: &mut Report, name: &str, rounds: &[Timeline]) {
    let verdict: Field = if name.starts_with("stock") {
        |round| round.not_ready
    } else {
        |round| round.verdict
    };
    let fields: [(&str, Field); 9] = [
        ("verdict", verdict),
        ("tainted", |round| round.tainted),
        ("endpoints_first", |round| round.endpoints_first),
        ("endpoints", |round| round.endpoints),
        ("deleted", |round| round.deleted),
        ("created", |round| round.created),
        ("scheduled", |round| round.scheduled),
        ("ready", |round| round.ready),
        // The share of scheduler, kubelet and container runtime, whoever made them start.
        ("ready_after_created", |round| Some(round.ready? - round.created?)),
    ];
    for (field, of) in fields {
        report.add(format!("{name}/{field}"), rounds.iter().filter_map(of).collect());
    }
    report.add(format!("{name}/client_window"), windows(rounds));
}

/// A round in one line.
fn line(found: &Found) -> String {
    let round = &found.timeline;
    let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    format!(
        "{}: cut in {:.1}, verdict {}, not Ready {}, tainted {}, endpoints {} ({}), deleted {}, created {}, Ready {}, last failed request {} ms, {} failed",
        round.victim,
        found.cut.killed.ms_since(found.cut.started),
        ms(round.verdict),
        ms(round.not_ready),
        ms(round.tainted),
        ms(round.endpoints_first),
        ms(round.endpoints),
        ms(round.deleted),
        ms(round.created),
        ms(round.ready),
        ms(round.client.last_ms),
        round.client.failed
    )
}
