//! `cargo xtask test`: builds everything in one cargo call, then runs the test programs in an order of our own: units first,
//! labs last and one test at a time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use detector_lab::cache::Cache;
use detector_lab::control_plane::control_plane_binary;
use detector_lab::images::images;
use detector_lab::progress::{Event, Progress};
use serde::Deserialize;

use crate::command::{cargo, limited, words};
use crate::ebpf;
use crate::guests::{self, Guests};
use crate::setup::{self, Purpose};
use crate::stages::{Count, Deadline, Stage, Table};
use crate::workspace::Workspace;

/// No test program may take longer: labs, which boot whole clusters, take a few minutes.
const LONGEST: Duration = Duration::from_secs(30 * 60);

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Leaves out the labs, which need root
    #[arg(long)]
    no_labs: bool,
    /// Runs only what boots guests with other kernels
    #[arg(long, conflicts_with_all = ["no_labs", "filter"])]
    vm: bool,
    #[command(flatten)]
    guests: Guests,
    /// Runs only the tests whose name has this in it
    filter: Option<String>,
}

/// Sets up, builds, tests; ends with `N passed, N failed`. True where nothing failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut table = Table::default();
    let purpose = if options.no_labs {
        Purpose::Build
    } else {
        Purpose::Labs
    };
    table.stage("setup", || setup::install(workspace, purpose));
    stages(workspace, options, &mut table, Deadline::in_minutes(85));
    Ok(table.finish())
}

/// The stages that are the same here and in .ci/run.
pub(crate) fn stages(workspace: &Workspace, options: &Options, table: &mut Table, deadline: Deadline) {
    if !table.stage("kernel programs", || {
        ebpf::build(workspace).map(|()| String::new())
    }) {
        return;
    }
    let mut built = Built::default();
    if !table.stage("build", || {
        built = Built::everything(workspace)?;
        Ok(format!("{} of {} units fresh", built.fresh, built.units))
    }) {
        return;
    }
    if options.vm {
        table.add(guests::run(workspace, &options.guests, &built));
        return;
    }
    if !options.no_labs {
        table.stage("lab parts", lab_parts);
    }
    for group in Group::ORDER {
        if group == Group::Labs && options.no_labs {
            continue;
        }
        table.add(group.run(workspace, options, &built, deadline));
    }
    if !options.no_labs && options.filter.is_none() {
        table.add(guests::run(workspace, &options.guests, &built));
    }
}

/// Finds or builds one part.
type Make = fn(&Cache, &mut Progress) -> Result<PathBuf>;

/// What labs are built from, so that no test's time depends on the cache.
fn lab_parts() -> Result<String> {
    let cache = Cache::open()?;
    let mut notes = Vec::new();
    let parts: [(_, Make); 2] = [("control plane", control_plane_binary), ("images", images)];
    for (name, make) in parts {
        let built = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&built);
        // Only what is not in the cache reports anything.
        let mut progress = Progress::new(move |event| {
            seen.store(true, Ordering::Relaxed);
            if let Event::Begins(text) = event {
                println!("{text}");
            }
        });
        make(&cache, &mut progress)?;
        notes.push(format!(
            "{name} {}",
            if built.load(Ordering::Relaxed) {
                "built"
            } else {
                "hit"
            }
        ));
    }
    Ok(notes.join(", "))
}

/// What runs together; the order is from quick and telling to slow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Units,
    Examples,
    Simulation,
    Labs,
}

impl Group {
    const ORDER: [Self; 4] = [Self::Units, Self::Examples, Self::Simulation, Self::Labs];

    fn name(self) -> &'static str {
        match self {
            Self::Units => "unit tests",
            Self::Examples => "examples in docs",
            Self::Simulation => "simulation",
            Self::Labs => "labs",
        }
    }

    /// The group of a package's test programs.
    fn of(package: &str) -> Self {
        match package {
            "detector-lab" => Self::Labs,
            "detector-sim" => Self::Simulation,
            _ => Self::Units,
        }
    }

    fn run(self, workspace: &Workspace, options: &Options, built: &Built, deadline: Deadline) -> Stage {
        println!("== {}", self.name());
        let started = Instant::now();
        let mut stage = Stage::new(self.name());
        for mut command in self.commands(workspace, options, built) {
            println!("-- {}", words(&command));
            match run_one(&mut command, deadline) {
                Ok(count) => stage.count(count),
                Err(error) => stage.failure(&format!("{error:#}")),
            }
        }
        stage.took(started.elapsed());
        stage
    }

    fn commands(self, workspace: &Workspace, options: &Options, built: &Built) -> Vec<Command> {
        let mut commands: Vec<Command> = if self == Self::Examples {
            let mut doc = cargo();
            doc.args(["test", "--quiet", "--workspace", "--doc", "--"])
                .current_dir(&workspace.root);
            vec![doc]
        } else {
            built
                .tests
                .iter()
                .filter(|test| Self::of(&test.package) == self)
                .map(Program::command)
                .collect()
        };
        for command in &mut commands {
            command
                .args(&options.filter)
                .envs(built.binary("detector").ok().map(|path| ("DETECTOR_BIN", path)));
            if self == Self::Labs {
                command.arg("--test-threads=1");
            }
        }
        commands
    }
}

/// Runs one test program, shows its output, counts its tests.
fn run_one(command: &mut Command, deadline: Deadline) -> Result<Count> {
    let mut child = limited(command, deadline.at_most(LONGEST))
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", words(command)))?;
    let mut count = Count::default();
    let output = child.stdout.take().context("standard output is a pipe")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("output of a test program")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(Count::parse(&line).unwrap_or_default());
    }
    let status = child.wait().context("wait for a test program")?;
    if !status.success() && count.failed == 0 {
        // Killed, timed out or crashed: it had no time to tell.
        bail!("{} ended early ({status})", words(command));
    }
    Ok(count)
}

/// What the one cargo call built.
#[derive(Default)]
pub(crate) struct Built {
    tests: Vec<Program>,
    /// By name: the detector itself, which labs start, and what tests start.
    binaries: BTreeMap<String, PathBuf>,
    fresh: usize,
    units: usize,
}

/// A test program.
pub(crate) struct Program {
    package: String,
    name: String,
    pub(crate) folder: PathBuf,
    pub(crate) executable: PathBuf,
}

impl Program {
    /// As cargo would start it: in the folder of its package.
    fn command(&self) -> Command {
        let mut command = crate::command::tool(&self.executable);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// A line of cargo's `--message-format=json`, as far as it is read here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    #[serde(default)]
    fresh: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Built {
    fn everything(workspace: &Workspace) -> Result<Self> {
        let mut build = cargo();
        build
            .args([
                "build",
                "--workspace",
                "--all-targets",
                "--message-format=json-render-diagnostics",
            ])
            .current_dir(&workspace.root);
        let mut built = Self::default();
        for line in crate::command::capture(&mut build)?.lines() {
            built.read(serde_json::from_str(line).context("a message of cargo")?)?;
        }
        Ok(built)
    }

    fn read(&mut self, message: Message) -> Result<()> {
        if message.reason != "compiler-artifact" {
            return Ok(());
        }
        self.units += 1;
        self.fresh += usize::from(message.fresh);
        let (Some(executable), Some(target)) = (message.executable, message.target) else {
            return Ok(());
        };
        if message.profile.is_some_and(|profile| profile.test) {
            let folder = message
                .manifest_path
                .parent()
                .context("a manifest lies in a folder")?
                .to_owned();
            let package = package_name(&message.package_id).to_owned();
            self.tests.push(Program {
                package,
                name: target.name,
                folder,
                executable,
            });
        } else if target.kind.iter().any(|kind| kind == "bin") {
            self.binaries.insert(target.name, executable);
        }
        Ok(())
    }

    /// A program by its name.
    pub(crate) fn binary(&self, name: &str) -> Result<&Path> {
        let path = self.binaries.get(name);
        Ok(path.with_context(|| format!("cargo built no program {name}"))?)
    }

    /// A test program by its package and name.
    pub(crate) fn test(&self, package: &str, name: &str) -> Result<&Program> {
        self.tests
            .iter()
            .find(|test| test.package == package && test.name == name)
            .with_context(|| format!("cargo built no test program {name} of {package}"))
    }
}

/// The name in `path+file:///…/tests/lab#detector-lab@0.1.0`, or in `path+file:///…/detector#0.1.0`.
fn package_name(id: &str) -> &str {
    let (path, fragment) = id.split_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _version)) => name,
        None => path.rsplit('/').next().unwrap_or_default(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Built, Group, package_name, run_one};
    use crate::stages::{Count, Deadline};

    #[test]
    fn knows_packages_by_cargos_ids() {
        assert_eq!(
            package_name("path+file:///w/tests/lab#detector-lab@0.1.0"),
            "detector-lab"
        );
        assert_eq!(package_name("path+file:///w/detector#0.1.0"), "detector");
    }

    #[test]
    fn sorts_what_cargo_built() {
        let artifact = |package: &str, kind: &str, name: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/{package}#0.1.0","manifest_path":"/w/{package}/Cargo.toml","target":{{"name":"{name}","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":"/t/{name}-{test}","fresh":{test}}}"#
            )
        };
        let mut built = Built::default();
        for line in [
            artifact("detector", "bin", "detector", false),
            artifact("detector", "bin", "detector", true),
            artifact("detector-lab", "test", "echo", true),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ] {
            built.read(serde_json::from_str(&line).unwrap()).unwrap();
        }
        assert_eq!(
            built.binary("detector").unwrap().to_str(),
            Some("/t/detector-false")
        );
        assert_eq!(
            built.test("detector-lab", "echo").unwrap().folder.to_str(),
            Some("/w/detector-lab")
        );
        assert!(built.test("detector", "echo").is_err() && built.binary("echo").is_err());
        let groups: Vec<_> = built.tests.iter().map(|test| Group::of(&test.package)).collect();
        assert!(groups == [Group::Units, Group::Labs]);
        assert_eq!((built.fresh, built.units), (2, 3));
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn counts_what_a_program_tells_even_if_it_fails() {
        let told = "echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured'; exit 101";
        let count = run_one(&mut shell(told), Deadline::in_minutes(1)).unwrap();
        assert_eq!(
            count,
            Count {
                passed: 2,
                failed: 1,
                ignored: 0
            }
        );
    }

    #[test]
    fn a_program_that_dies_before_it_tells_is_an_error() {
        let error = run_one(&mut shell("kill -9 $$"), Deadline::in_minutes(1)).unwrap_err();
        assert!(error.to_string().contains("ended early"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_the_deadline() {
        let error = run_one(&mut shell("sleep 600"), Deadline::after(Duration::from_secs(1))).unwrap_err();
        assert!(error.to_string().contains("ended early"), "{error}");
    }
}
